"""Labels and values in full, wrapped to the width, to scroll through and to copy.

What it shows is asked for again now and then, so that a record that changes is seen to change. Copying goes to the
clipboard of the person's own terminal, also over SSH (OSC 52); the terminal does not say whether it took a text, so
the notice says how long it was.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from typing import Any, ClassVar, Final, TypeAlias

from textual import events
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.geometry import Size
from textual.screen import ModalScreen
from textual.strip import Strip

from console.ui.widgets.cells import Column, Span, Tone, head
from console.ui.widgets.list_view import WHEEL_ROWS, Key, LinesWidget

# Letters.
LONG_LINE: Final = 20_000

_COLUMNS: Final = (Column("text", "", 1, 100_000, rank=0, share=1),)


class WrappedText:
    """The lines of a text in so many cells. A very long line is cut up only where somebody looks at it."""

    def __init__(self, text: str, width: int, *, at_blanks: bool = False) -> None:
        self._blocks: list[tuple[str, int]] = []
        self._ends: list[int] = []
        end = 0
        for line in text.split("\n"):
            if len(line) > LONG_LINE:
                # Letters that are not ASCII take at most two cells each; to measure millions of them takes seconds.
                step = width if line.isascii() else max(1, width // 2)
                end += -(-len(line) // step)
                self._blocks.append((line, step))
                self._ends.append(end)
                continue
            for part in folded(line, width) if at_blanks else wrapped(line, width):
                end += 1
                self._blocks.append((part, 0))
                self._ends.append(end)

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, place: int) -> str:
        block = bisect_right(self._ends, place)
        line, step = self._blocks[block]
        if not step:
            return line
        start = (place - (self._ends[block - 1] if block else 0)) * step
        return line[start : start + step]


class TextRows:
    """Lines to scroll through. The text is `visible()` but for its line ends."""

    columns: Sequence[Column] = _COLUMNS

    def __init__(self, text: str, width: int, words: str = "") -> None:
        self.text = text
        self._lines = WrappedText(text, max(1, width))
        self._words = words

    def __len__(self) -> int:
        return len(self._lines)

    def key(self, index: int) -> Key:
        return index

    def index_of(self, key: Key) -> int | None:
        return key if isinstance(key, int) and key < len(self._lines) else None

    def whole(self, index: int) -> Sequence[Span] | None:
        return [Span(self._lines[index])]

    def may_mark(self, index: int) -> bool:
        return False

    def empty_text(self) -> str:
        return self._words

    def cell(self, index: int, column: str, width: int) -> Sequence[Span]:
        return [Span(self._lines[index])]


def folded(text: str, width: int) -> Iterator[str]:
    """The lines of a text, broken at blanks where there are any, in at most `width` cells."""
    for line in text.split("\n"):
        start, length = 0, len(line)
        while True:
            end = _end(line, start, width)
            if end >= length:
                break
            blank = line.rfind(" ", start + 1, end) if line[end] != " " else -1
            yield line[start : blank if blank > 0 else end]
            start = blank + 1 if blank > 0 else end + (line[end] == " ")
        yield line[start:]


def wrapped(text: str, width: int) -> Iterator[str]:
    """The lines of a text, those that are too long continued on the next; joined by nothing they are the text again."""
    for line in text.split("\n"):
        start, length = 0, len(line)
        while True:
            end = _end(line, start, width)
            yield line[start:end]
            if end >= length:
                break
            start = end


def _end(line: str, start: int, width: int) -> int:
    """Where the piece of a line ends that begins at `start`; at least one character further on."""
    if len(line) - start <= width // 2:
        return len(line)
    if line.isascii():
        return min(len(line), start + width)
    part = line[start : start + width]  # none takes less than one cell, but for those that join the one before
    return start + max(1, len(head(part, width)))


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


class TextView(LinesWidget, can_focus=True):
    """Lines of label and value to scroll through; values wrap under themselves. Only what is seen is drawn."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down,j", "scroll(1)", "Down", show=False, tooltip="Scroll down."),
        Binding("up,k", "scroll(-1)", "Up", show=False, tooltip="Scroll up."),
        Binding("pagedown,ctrl+f", "page(1)", "Page down", show=False, tooltip="Scroll down one page."),
        Binding("pageup,ctrl+b", "page(-1)", "Page up", show=False, tooltip="Scroll up one page."),
        Binding("home,g", "ends(0)", "First", show=False, tooltip="Go to the first line."),
        Binding("end,G", "ends(1)", "Last", show=False, tooltip="Go to the last line."),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._values: Lines = ()
        self._laid_out: list[tuple[str, WrappedText]] = []
        self._ends: list[int] = []
        self._width = 0
        self.top = 0

    def show(self, values: Lines) -> None:
        """Show these, from where the view is."""
        self._values = values
        if width := self._width or self.size.width:  # else it is laid out as soon as there is a width
            self._lay_out(width)
        self.refresh(layout=True)
        self._update_view()

    def _lay_out(self, width: int) -> None:
        self._width = width
        self._laid_out = [
            (label, WrappedText(value, max(1, width - LABEL - 1), at_blanks=True)) for label, value in self._values
        ]
        self._ends = list(accumulate(len(value) for _, value in self._laid_out))

    @property
    def _count(self) -> int:
        return self._ends[-1] if self._ends else 0

    def _line(self, place: int) -> tuple[str, str]:
        if place >= self._count:
            return "", ""
        number = bisect_right(self._ends, place)
        label, value = self._laid_out[number]
        line = place - (self._ends[number - 1] if number else 0)
        return (label if line == 0 else ""), value[line]

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """As many lines as there are; the dialog has a maximum."""
        if width != self._width:
            self._lay_out(width)
        return max(1, self._count)

    def resized(self) -> None:
        if self.size.width != self._width:
            self._lay_out(self.size.width)
        self._update_view()

    def make_line(self, y: int) -> Strip:
        label, text = self._line(self.top + y)
        rows, count = self.size.height, self._count
        bar = " "
        if count > rows:
            length = max(1, rows * rows // count)
            start = round((rows - length) * self.top / (count - rows))
            bar = "▐" if start <= y < start + length else " "
        line = Strip(self.segments([Span(f"{label:<{LABEL}}", Tone.MUTED), Span(text)]))
        line = line.adjust_cell_length(max(0, self.size.width - 1), self.look(f"lines--{Tone.PLAIN}"))
        return Strip([*line, *self.segments([Span(bar, Tone.MUTED)])])

    def _update_view(self) -> None:
        self.top = max(0, min(self.top, self._count - self.size.height))
        self.redraw()

    def action_scroll(self, lines: int) -> None:
        self.top += lines
        self._update_view()

    def action_page(self, pages: int) -> None:
        self.action_scroll(pages * max(1, self.size.height - 1))

    def action_ends(self, end: int) -> None:
        self.top = end * self._count
        self._update_view()

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        event.stop()
        self.action_scroll(WHEEL_ROWS)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        event.stop()
        self.action_scroll(-WHEEL_ROWS)


class TextScreen(ModalScreen[None]):
    """Lines of label and value; values are `visible()` but for their line ends."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,enter,q", "dismiss", "Back", tooltip="Close."),
        Binding("y", "copy", "Copy", tooltip="Copy it all to your terminal's clipboard (OSC 52)."),
    ]

    def __init__(self, title: str, lines: Lines | Callable[[], Lines], copied: Callable[[], str] | None = None) -> None:
        super().__init__()
        self._title = title
        self._lines = lines if callable(lines) else lambda: lines
        self._copied = copied
        self._shown: Lines = ()
        self._view = TextView()

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog detail") as dialog:
            dialog.border_title = Content(self._title)
            dialog.border_subtitle = "y copies · escape closes"
            yield self._view

    def on_mount(self) -> None:
        self.set_focus(self._view)
        self._show()
        self.set_interval(REFRESH_SECONDS, self._show)

    def _show(self) -> None:
        lines = self._lines()
        if lines != self._shown:
            self._shown = lines
            self._view.show(lines)

    def action_copy(self) -> None:
        """Copy what is shown, or the record behind it."""
        text = self._copied() if self._copied is not None else "\n".join(" ".join(line).strip() for line in self._shown)
        copy(self.app, text, "the record")
