"""Labels and values in full, wrapped to the width, to scroll through and to copy.

What it shows is asked for again now and then, so that a record that changes is seen to change. Copying goes to the
clipboard of the person's own terminal, also over SSH (OSC 52); the terminal does not say whether it took a text, so
the notice says how long it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, Final, TypeAlias

from rich.cells import cell_len
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from console.ui.widgets.cells import Column, Span, head
from console.ui.widgets.list_view import Key

_COLUMNS: Final = (Column("text", "", 1, 100_000, rank=0, share=1),)


class TextRows:
    """Lines to scroll through. The text is `visible()` but for its line ends."""

    columns: Sequence[Column] = _COLUMNS

    def __init__(self, text: str, width: int, words: str = "") -> None:
        self.text = text
        self._lines = list(wrapped(text, max(1, width)))
        self._words = words

    def __len__(self) -> int:
        return len(self._lines)

    def key(self, index: int) -> Key:
        """The line's number."""
        return index

    def index_of(self, key: Key) -> int | None:
        """The number itself, while there is such a line."""
        return key if isinstance(key, int) and key < len(self._lines) else None

    def whole(self, index: int) -> Sequence[Span] | None:
        """Every line goes across."""
        return [Span(self._lines[index])]

    def may_mark(self, index: int) -> bool:
        """Lines are not marked."""
        return False

    def empty_text(self) -> str:
        """Why there is no text."""
        return self._words

    def cell(self, index: int, column: str, width: int) -> Sequence[Span]:
        """The line."""
        return [Span(self._lines[index])]


def folded(text: str, width: int) -> Iterator[str]:
    """The lines of a text, broken at blanks where there are any, in at most `width` cells."""
    for line in text.split("\n"):
        rest = line
        while cell_len(rest) > width:
            part = head(rest, width) or rest[:1]
            blank = part.rfind(" ")
            if blank > 0 and not rest[len(part) :].startswith(" "):
                part = part[:blank]
            yield part
            rest = rest[len(part) :].removeprefix(" ")
        yield rest


def wrapped(text: str, width: int) -> Iterator[str]:
    """The lines of a text, those that are too long continued on the next; joined by nothing they are the text again."""
    for line in text.split("\n"):
        rest = line
        while True:
            part = head(rest, width) or rest[:1]
            yield part
            rest = rest[len(part) :]
            if not rest:
                break


# Many terminals take at most 100,000 bytes of base64, which is what xterm's and hterm's authors settled on.
USUAL_BYTES: Final = 74_994
MOST_BYTES: Final = 1024 * 1024


def copy(app: App[Any], text: str, words: str) -> None:
    """Copy a text and say so; `words` name what it is (`the event`)."""
    size = len(text.encode("utf-8", "surrogatepass"))
    if size > MOST_BYTES:
        message = f"{words} has {size:,} bytes: more than a terminal takes. Save it to a file instead."
        app.notify(message, title="Not copied", severity="warning", markup=False)
        return
    app.copy_to_clipboard(text)
    if size > USUAL_BYTES:
        message = f"{words}, {size:,} bytes: many terminals take at most {USUAL_BYTES:,}."
        app.notify(message, title="Sent to the clipboard", severity="warning", markup=False)
    else:
        app.notify(f"{words}, {len(text):,} characters", title="Copied", markup=False)


REFRESH_SECONDS: Final = 0.5

LABEL: Final = 13

Lines: TypeAlias = Sequence[tuple[str, str]]


class TextScreen(ModalScreen[None]):
    """Lines of label and value; values are `visible()` but for their line ends, and wrap under themselves."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,enter,q", "dismiss", "Back", tooltip="Close."),
        Binding("y", "copy", "Copy", tooltip="Copy it all to your terminal's clipboard (OSC 52)."),
        Binding("down,j", "scroll(1)", "Down", show=False, tooltip="Scroll down."),
        Binding("up,k", "scroll(-1)", "Up", show=False, tooltip="Scroll up."),
    ]

    def __init__(self, title: str, lines: Lines | Callable[[], Lines], copied: Callable[[], str] | None = None) -> None:
        super().__init__()
        self._title = title
        self._lines = lines if callable(lines) else lambda: lines
        self._copied = copied
        self._shown: tuple[Lines, int] = ((), 0)
        self._labels = Static(classes="text--labels", markup=False)

    def compose(self) -> ComposeResult:
        """A scrolling text."""
        with VerticalScroll(classes="dialog detail") as dialog:
            dialog.border_title = Content(self._title)
            dialog.border_subtitle = "y copies · escape closes"
            yield self._labels

    def on_mount(self) -> None:
        """Show, and go on showing what changes."""
        self._show()
        self.set_interval(REFRESH_SECONDS, self._show)

    def on_resize(self) -> None:
        """Wrap again."""
        self.call_after_refresh(self._show)

    def _show(self) -> None:
        lines, width = self._lines(), self._labels.size.width
        if (lines, width) != self._shown and width > LABEL:
            self._shown = (lines, width)
            self._labels.update(Content("\n").join(_laid_out(lines, width - LABEL)))

    def action_scroll(self, lines: int) -> None:
        """Scroll by lines."""
        self.query_one(VerticalScroll).scroll_relative(y=lines, animate=False)

    def action_copy(self) -> None:
        """Copy what is shown, or the record behind it."""
        text = (
            self._copied() if self._copied is not None else "\n".join(" ".join(line).strip() for line in self._shown[0])
        )
        copy(self.app, text, "the record")


def _laid_out(lines: Lines, width: int) -> Iterator[Content]:
    for label, value in lines:
        for number, part in enumerate(folded(value, width)):
            yield Content.assemble((f"{label if number == 0 else '':<{LABEL}}", "$muted"), part)
