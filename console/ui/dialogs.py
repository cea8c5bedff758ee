"""Questions: a choice between a few answers, or a form with a few fields.

Owns the two dialogs. They fit a terminal of 30x15, and every answer has a key. Not here: what is asked and why.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, Label, OptionList, Static
from textual.widgets.option_list import Option

from console.errors import ConsoleError
from console.ui.blocking import words
from console.ui.ordered_input import OrderedInput

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Choice(Generic[T]):
    """One answer: the key that gives it, its words, and its value."""

    key: str
    words: str
    value: T


class ChoiceDialog(ModalScreen[T | None], Generic[T]):
    """Asks for one of a few answers; None where the person left with escape."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "back", "Back", tooltip="Close without answering."),
        Binding("j", "next", show=False),
        Binding("k", "previous", show=False),
    ]

    def __init__(self, title: str, text: str, choices: Sequence[Choice[T]]) -> None:
        super().__init__()
        self._title = title
        self._text = text
        self._choices = choices
        self._is_answered = False

    def compose(self) -> ComposeResult:
        """The question over its answers."""
        with Vertical(classes="dialog") as dialog:
            dialog.border_title = Content(self._title)
            with VerticalScroll(classes="dialog--text", can_focus=False):
                yield Static(self._text, markup=False)
            yield OptionList(*(Option(_entry(choice)) for choice in self._choices), compact=True)

    def on_mount(self) -> None:
        """The first answer is the harmless one."""
        self.query_one(OptionList).focus()

    def on_key(self, event: Any) -> None:
        """An answer's own key."""
        for choice in self._choices:
            if event.character == choice.key:
                event.stop()
                self._answer(choice.value)
                return

    @on(OptionList.OptionSelected)
    def _selected(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        self._answer(self._choices[event.option_index].value)

    def action_back(self) -> None:
        """No answer."""
        self._answer(None)

    def _answer(self, value: T | None) -> None:
        """The first counts: keys of a bunch may still come when it is given, and would answer for the screen below."""
        if not self._is_answered:
            self._is_answered = True
            self.dismiss(value)

    def action_next(self) -> None:
        """Next answer."""
        self.query_one(OptionList).action_cursor_down()

    def action_previous(self) -> None:
        """Previous answer."""
        self.query_one(OptionList).action_cursor_up()


def _entry(choice: Choice[Any]) -> Content:
    return Content.assemble((f" {choice.key} ", "bold"), f" {choice.words}")


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a form. `read` makes the value of the text, or raises `ConsoleError` that says what was expected."""

    name: str
    label: str
    text: str
    read: Callable[[str], Any]


class FormDialog(ModalScreen[Mapping[str, Any] | None]):
    """Asks for a few values; None where the person left with escape."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", "Back", tooltip="Close without changing anything."),
        Binding("down", "app.focus_next", "Next field", show=False),
        Binding("up", "app.focus_previous", "Previous field", show=False),
    ]

    def __init__(self, title: str, fields: Sequence[Field], hint: str = "enter accepts, escape cancels") -> None:
        super().__init__()
        self._title = title
        self._fields = fields
        self._hint = hint

    def compose(self) -> ComposeResult:
        """A label and an input for each field, and one line for what is wrong."""
        with VerticalScroll(classes="dialog", can_focus=False) as dialog:
            dialog.border_title = Content(self._title)
            for field in self._fields:
                yield Label(field.label, markup=False)
                field_input = OrderedInput(field.text, compact=True, id=f"field-{field.name}", classes="dialog--input")
                field_input.cursor_blink = False
                yield field_input
            yield Static(self._hint, id="dialog-words", markup=False)

    def on_mount(self) -> None:
        """Type at once."""
        self.query(Input).first().focus()

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        event.stop()
        values: dict[str, Any] = {}
        for field in self._fields:
            field_input = self.query_one(f"#field-{field.name}", Input)
            try:
                values[field.name] = field.read(field_input.value)
            except ConsoleError as error:
                line = self.query_one("#dialog-words", Static)
                line.update(Content(words(error)[1]))
                line.add_class("-wrong")
                field_input.focus()
                return
        self.dismiss(values)
