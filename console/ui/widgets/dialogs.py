"""Questions: a choice between a few answers, or a form with a few fields, and how typed sizes and times are read.

Dialogs fit a terminal of 30x15, every answer has a key, and the first answer counts. A dialog opens as soon as it is
asked for and fills in what a server has to say when that comes, so that keys typed ahead meet the dialog for which they
were meant. Text that makes no sense raises a `UsageError` that says what would.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic, TypeVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Label, OptionList, Static
from textual.widgets.option_list import Option

from console import quantities
from console.choices import MOST_PARALLEL
from console.errors import ConsoleError, UsageError
from console.formatting import byte_size, duration
from console.ui.background import title_and_text
from console.ui.widgets.filter_line import OrderedInput

if TYPE_CHECKING:
    from console.records.runners import Limits


T = TypeVar("T")


class Dialog(ModalScreen[None], Generic[T]):
    """Calls `answered` once, with None where the person left with escape: before the next key is looked at, which a
    result that Textual hands on would come behind."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "back", "Back", tooltip="Close without answering."),
    ]

    def __init__(self, title: str, answered: Callable[[T | None], object]) -> None:
        super().__init__()
        self._title = title
        self._answered = answered
        self._is_answered = False

    def answer(self, value: T | None) -> None:
        """Close, and hand the answer on. A second answer, of the same bunch of keys say, counts for nothing."""
        if not self._is_answered and self.is_current:
            self._is_answered = True
            self.dismiss()
            self._answered(value)

    async def takes(self, event: events.Event) -> bool:
        """Whether a key or a pasted text is meant for this dialog, or for what comes behind it. A dialog that is about
        to close by itself holds it until that is known."""
        return True

    def action_back(self) -> None:
        self.answer(None)


@dataclass(frozen=True, slots=True)
class Choice(Generic[T]):
    """One answer: the key that gives it, its text, and its value."""

    key: str
    text: str
    value: T


class ChoiceDialog(Dialog[T]):
    """Asks for one of a few answers."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "choose", "Choose", priority=True, show=False),
        Binding("j", "next", show=False),
        Binding("k", "previous", show=False),
    ]

    def __init__(
        self, title: str, text: str, choices: Sequence[Choice[T]], answered: Callable[[T | None], object]
    ) -> None:
        super().__init__(title, answered)
        self._text = text
        self._choices = choices

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog") as dialog:
            dialog.border_title = Content(self._title)
            with VerticalScroll(classes="dialog--text", can_focus=False):
                yield Static(self._text, markup=False)
            yield OptionList(*(Option(_entry(choice)) for choice in self._choices), compact=True)

    def on_mount(self) -> None:
        """The first answer is the harmless one."""
        self.set_focus(self.query_one(OptionList))

    def ask(self, text: str, choices: Sequence[Choice[T]]) -> None:
        """Ask this instead, now that it is known what to ask; not where the person has left."""
        if self._is_answered:
            return
        self._text, self._choices = text, choices
        self.query_one(Static).update(Content(text))
        options = self.query_one(OptionList)
        options.clear_options().add_options(Option(_entry(choice)) for choice in choices)
        options.highlighted = 0

    def press(self, character: str) -> bool:
        """Answer with the key of an answer; False where the key is none."""
        for choice in self._choices:
            if character == choice.key:
                self.answer(choice.value)
                return True
        return False

    @on(OptionList.OptionSelected)
    def _selected(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        self.answer(self._choices[event.option_index].value)

    def action_choose(self) -> None:
        chosen = self.query_one(OptionList).highlighted
        if chosen is not None:
            self.answer(self._choices[chosen].value)

    def action_next(self) -> None:
        self.query_one(OptionList).action_cursor_down()

    def action_previous(self) -> None:
        self.query_one(OptionList).action_cursor_up()


def _entry(choice: Choice[Any]) -> Content:
    return Content.assemble((f" {choice.key} ", "bold"), f" {choice.text}")


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a form. `read` makes the value of the text, or raises `ConsoleError` that says what was expected.

    `text` is None where it is not known yet: `FormDialog.fill` brings it.
    """

    name: str
    label: str
    text: str | None
    read: Callable[[str], Any]


class FormDialog(Dialog[Mapping[str, Any]]):
    """Asks for a few values. A field that was not known when the person accepted, and not typed into, has none."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "accept", "Accept", priority=True, show=False),
        Binding("down,tab", "go(1)", "Next field", priority=True, show=False),
        Binding("up,shift+tab", "go(-1)", "Previous field", priority=True, show=False),
    ]

    def __init__(
        self,
        title: str,
        fields: Sequence[Field],
        answered: Callable[[Mapping[str, Any] | None], object],
        hint: str = "enter accepts, escape cancels",
    ) -> None:
        super().__init__(title, answered)
        self._fields = fields
        self._hint = hint
        self._unknown = {field.name for field in fields if field.text is None}

    def compose(self) -> ComposeResult:
        with VerticalScroll(classes="dialog", can_focus=False) as dialog:
            dialog.border_title = Content(self._title)
            for field in self._fields:
                yield Label(field.label, markup=False)
                yield OrderedInput(
                    field.text or "",
                    placeholder="asking…" if field.text is None else "",
                    compact=True,
                    id=f"field-{field.name}",
                    classes="dialog--input",
                )
            yield Static(self._hint, id="dialog-hint", markup=False)

    def on_mount(self) -> None:
        self._go_to(0)

    def fill(self, texts: Mapping[str, str]) -> None:
        """What is known now; a field that somebody types into keeps what was typed."""
        if self._is_answered:
            return
        for name in self._unknown & texts.keys():
            self._unknown.discard(name)
            line = self._input(name)
            if not line.value:
                line.value = texts[name]
                line.select_all()

    def _input(self, name: str) -> OrderedInput:
        return self.query_one(f"#field-{name}", OrderedInput)

    def _go_to(self, place: int) -> None:
        """Typing replaces what is there: a letter that comes right behind the key that led here, too."""
        line = self._input(self._fields[place].name)
        self.set_focus(line)
        line.select_all()

    def action_go(self, steps: int) -> None:
        names = [f"field-{field.name}" for field in self._fields]
        here = names.index(str(self.focused.id)) if self.focused is not None and self.focused.id in names else 0
        self._go_to((here + steps) % len(names))

    def action_accept(self) -> None:
        values = self.read_fields()
        if values is not None:
            self.answer(values)

    def read_fields(self) -> dict[str, Any] | None:
        """The values of all fields; what cannot be read is said, and gives none."""
        values: dict[str, Any] = {}
        for place, field in enumerate(self._fields):
            text = self._input(field.name).value
            if field.name in self._unknown and not text:
                continue
            try:
                values[field.name] = field.read(text)
            except ConsoleError as error:
                self.say(title_and_text(error)[1], is_wrong=True)
                self._go_to(place)
                return None
        return values

    def say(self, words: str, *, is_wrong: bool = False) -> None:
        """Say something in the last line."""
        line = self.query_one("#dialog-hint", Static)
        line.update(Content(words))
        line.set_class(is_wrong, "-wrong")


# S3 presigned links of Signature Version 4 live at most a week ("expiration", AWS S3 User Guide).
LONGEST_LINK_SECONDS: Final = 7 * 86_400
DEFAULT_LINK_SECONDS: Final = 3_600


def _rate(text: str) -> int:
    try:
        return quantities.read_rate(text)
    except ValueError:
        raise UsageError(f"expected a rate such as 20 MiB/s, or none: {text}") from None


def _lifetime(text: str) -> int:
    try:
        seconds = int(quantities.read_seconds(text))
    except ValueError:
        raise UsageError(f"expected a time such as 30m, 12h or 7d: {text}") from None
    if not 1 <= seconds <= LONGEST_LINK_SECONDS:
        raise UsageError(f"S3 takes from 1s to {duration(LONGEST_LINK_SECONDS)} for a link: {text}")
    return seconds


def _parallel(text: str) -> int | None:
    try:
        return quantities.read_parallel(text)
    except ValueError:
        raise UsageError(f"expected auto, or a number from 1 to {MOST_PARALLEL}: {text}") from None


def limit_fields() -> list[Field]:
    """The form for what all uploads share; named as the fields of `Limits`."""
    return [
        Field("bandwidth", "Bandwidth of this console, all uploads together", None, _rate),
        Field("uploads", "Uploads at the same time", None, _parallel),
        Field("parts", "Parts at the same time", None, _parallel),
    ]


def limit_texts(limits: Limits) -> dict[str, str]:
    """What stands in its fields."""
    rate = f"{byte_size(limits.bandwidth)}/s" if limits.bandwidth else "none"
    return {"bandwidth": rate, "uploads": str(limits.uploads or "auto"), "parts": str(limits.parts or "auto")}


def lifetime_fields() -> list[Field]:
    """The form for a download link."""
    return [Field("seconds", "The link works for", duration(DEFAULT_LINK_SECONDS), _lifetime)]
