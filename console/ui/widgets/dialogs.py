"""Questions: a choice between a few answers, or a form with a few fields, and how typed sizes and times are read.

Both dialogs fit a terminal of 30x15, and every answer has a key. Text that makes no sense raises a `UsageError` that
says what would.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic, TypeVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, Label, OptionList, Static
from textual.widgets.option_list import Option

from console.errors import ConsoleError, UsageError
from console.formatting import byte_size, duration
from console.ui.background import title_and_text
from console.ui.widgets.filter_line import OrderedInput

if TYPE_CHECKING:
    from console.records.runners import Limits


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
                line.update(Content(title_and_text(error)[1]))
                line.add_class("-wrong")
                field_input.focus()
                return
        self.dismiss(values)


# S3 presigned links of Signature Version 4 live at most a week ("expiration", AWS S3 User Guide).
LONGEST_LINK_SECONDS: Final = 7 * 86_400
DEFAULT_LINK_SECONDS: Final = 3_600
MOST_PARALLEL: Final = 256

_SIZE: Final = re.compile(r"(\d+(?:[.,]\d+)?)\s*([kmgt]?)(i?b?)(?:/s)?", re.IGNORECASE | re.ASCII)
_POWERS: Final = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
_TIME: Final = re.compile(r"(\d+)\s*([smhdw])", re.IGNORECASE | re.ASCII)
_SECONDS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}


def read_rate(text: str) -> int:
    """Bytes per second: `20 MiB/s`, `500k`, `1.5g`; nothing, `0` or `none` for no limit. Units are binary."""
    entered = text.strip().casefold()
    if entered in ("", "0", "none", "no limit"):
        return 0
    match = _SIZE.fullmatch(entered)
    if match is None:
        raise UsageError(f"expected a rate such as 20 MiB/s, or none: {text}")
    return int(float(match[1].replace(",", ".")) * 1024 ** _POWERS[match[2].casefold()])


def read_seconds(text: str) -> int:
    """A link's lifetime: `90m`, `24h`, `7d`, `1h 30m`."""
    entered = text.strip()
    parts = _TIME.findall(entered)
    if not parts or _TIME.sub("", entered).strip():
        raise UsageError(f"expected a time such as 30m, 12h or 7d: {text}")
    seconds = sum(int(number) * _SECONDS[unit.casefold()] for number, unit in parts)
    if not 1 <= seconds <= LONGEST_LINK_SECONDS:
        raise UsageError(f"S3 takes from 1s to {duration(LONGEST_LINK_SECONDS)} for a link: {text}")
    return seconds


def read_parallel(text: str) -> int | None:
    """How many at once: 1 to 256; None for `auto`."""
    entered = text.strip()
    if entered.casefold() == "auto":
        return None
    if not (entered.isascii() and entered.isdecimal()) or not 1 <= int(entered) <= MOST_PARALLEL:
        raise UsageError(f"expected auto, or a number from 1 to {MOST_PARALLEL}: {text}")
    return int(entered)


def limit_fields(limits: Limits) -> list[Field]:
    """The form for what all uploads share."""
    rate = f"{byte_size(limits.bandwidth)}/s" if limits.bandwidth else "none"
    return [
        Field("bandwidth", "Bandwidth of this console, all uploads together", rate, read_rate),
        Field("uploads", "Uploads at the same time", _parallel(limits.uploads), read_parallel),
        Field("parts", "Parts at the same time", _parallel(limits.parts), read_parallel),
    ]


def _parallel(number: int | None) -> str:
    return "auto" if number is None else str(number)


def read_limits(values: Mapping[str, Any]) -> Limits:
    """The answer to `limit_fields`."""
    from console.records.runners import Limits

    return Limits(values["bandwidth"], values["uploads"], values["parts"])


def lifetime_fields() -> list[Field]:
    """The form for a download link."""
    return [Field("seconds", "The link works for", duration(DEFAULT_LINK_SECONDS), read_seconds)]
