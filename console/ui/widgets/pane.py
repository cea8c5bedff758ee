"""What the three panes have in common: a frame with title and counts, the list inside, the filter line under it, the
keys that mean the same everywhere, and the question before a key acts on marked rows that are not shown.

The title is drawn here and is not Textual's border title: setting that one repaints the whole pane, and counts change
often.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, TypeVar

from rich.cells import cell_len
from rich.segment import Segment
from textual import events
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.message import Message
from textual.strip import Strip
from textual.widgets import Input

from console.formatting import visible
from console.ui.widgets.cells import Cut, shorten
from console.ui.widgets.dialogs import Choice, ChoiceDialog
from console.ui.widgets.filter_line import FilterLine
from console.ui.widgets.key_map import named
from console.ui.widgets.list_view import Key, LinesWidget, RowSource, RowsView

LEAST_WHERE: Final = 8


class TitleLine(LinesWidget):
    """`╭─ Uploads ─────────── 3 marked ─╮`; heavy lines with the class `-focused`."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"title--name", "title--counts"}

    def __init__(self, title: str) -> None:
        super().__init__()
        self.title = title
        self.where = ""
        self.keeps_where = False
        self.counts: tuple[str, ...] = ("",)

    def show(self, title: str, counts: str | Sequence[str], where: str = "", *, keeps_where: bool = False) -> None:
        """Show other words (plain text, already `visible()`).

        `where` is a path that loses its beginning when cut; its end is always there if `keeps_where`. Of several
        `counts` the first that has room is shown.
        """
        forms = (counts,) if isinstance(counts, str) else tuple(counts)
        if (title, forms, where) != (self.title, self.counts, self.where):
            self.title, self.counts, self.where, self.keeps_where = title, forms, where, keeps_where
            self.redraw()

    def make_line(self, y: int) -> Strip:
        width = self.size.width
        left, line, right = "┏━┓" if self.has_class("-focused") else "╭─╮"
        title, counts = self._fit(max(0, width - 8))
        used = cell_len(title) + 4 + (cell_len(counts) + 3 if counts else 1)
        frame = self.look()
        segments = [
            Segment(left + line, frame),
            Segment(f" {title} ", self.look("title--name")),
            Segment(line * (width - used - 1), frame),
        ]
        if counts:
            segments += [Segment(f" {counts} ", self.look("title--counts")), Segment(line, frame)]
        segments.append(Segment(right, frame))
        return Strip(segments).crop_extend(0, width, frame)

    def _fit(self, room: int) -> tuple[str, str]:
        """What stands at the left and at the right in so many cells.

        What can be left out of the counts goes first. A path that is kept says what the rows are better than the name
        before it, which goes next; any other path goes before the name. Half of the line is for the counts.
        """
        least = min(LEAST_WHERE, cell_len(self.where))
        kept = least if self.keeps_where else 0
        for place, counts in enumerate(self.counts):
            space = room - cell_len(counts) - 1
            beside = space - cell_len(self.title) - 1
            if beside >= (kept or -1):
                where = shorten(self.where, beside, Cut.START) if beside >= least else ""
                return f"{self.title} {where}".rstrip(), counts
            if place and 0 < kept <= space:
                return shorten(self.where, space, Cut.START), counts
        counts = shorten(self.counts[-1], max(room // 2, room - (kept or cell_len(self.title)) - 1))
        space = room - cell_len(counts) - 1
        return shorten(self.where, space, Cut.START) if kept else shorten(self.title, space), counts


def count_forms(parts: Sequence[tuple[int, str]]) -> list[str]:
    """Parts in one text, and shorter ones: as with columns, what has the highest rank goes first, and rank 0 never."""
    kept = list(parts)
    forms = [" · ".join(words for _, words in kept)]
    for rank in sorted({rank for rank, _ in parts if rank}, reverse=True):
        kept = [part for part in kept if part[0] != rank]
        if kept:
            forms.append(" · ".join(words for _, words in kept))
    return forms


class PaneRows(RowsView):
    """The list of a pane, with marks and the keys that work on them."""

    BINDINGS: ClassVar[list[BindingType]] = named(
        "lists",
        [
            Binding("space", "mark", "Mark", tooltip="Mark the row and move on; keys then act on all marked rows."),
            Binding("asterisk", "mark_all", "Mark all", show=False, tooltip="Mark all rows shown, or none if all are."),
        ],
    )

    @dataclass
    class MarksChanged(Message):
        rows: PaneRows

    def action_mark(self) -> None:
        key = self.cursor_key
        place = self.source.index_of(key) if key is not None else None
        if key is not None and place is not None and self.source.may_mark(place):
            self.marks ^= {key}
            self.post_message(self.MarksChanged(self))
        self.action_move(1)
        self.redraw()

    def action_mark_all(self) -> None:
        """Mark every row shown, or none where all of them are."""
        shown = {self.source.key(i) for i in range(len(self.source)) if self.source.may_mark(i)}
        if shown <= self.marks:
            self.marks -= shown
        else:
            self.marks |= shown
        self.post_message(self.MarksChanged(self))
        self.redraw()

    def clear_marks(self) -> None:
        """The only way in which marks go while their rows stay: a key pressed again means the same rows."""
        if self.marks:
            self.marks = set()
            self.post_message(self.MarksChanged(self))
            self.redraw()


class Pane(Vertical):
    """A framed list with a title line and a filter line."""

    NAME: ClassVar[str] = ""
    FILTER_HINT: ClassVar[str] = "words to look for"
    # Actions that the line of keys names before all others.
    FIRST_KEYS: ClassVar[Sequence[str]] = ()
    BINDINGS: ClassVar[list[BindingType]] = named(
        "lists",
        [
            Binding(
                "slash", "filter", "Filter", priority=True, tooltip="Show only rows with all the words, as you type."
            ),
            Binding("escape", "back", "Clear", show=False, tooltip="Clear the filter; then the marks."),
        ],
    )

    def __init__(self, source: RowSource, *, follow: bool = False, id: str | None = None) -> None:
        super().__init__(id=id)
        self.rows = self.make_rows(source, follow)
        self.title_line = TitleLine(self.NAME)
        self.filter_line = FilterLine(self.FILTER_HINT, self.filter_changed, self.focus_list)

    def make_rows(self, source: RowSource, follow: bool) -> RowsView:
        """The list widget of this pane."""
        return PaneRows(source, follow=follow, activated=self.row_activated)

    def row_activated(self, key: Key) -> None:
        """Enter or a double click on a row."""
        raise NotImplementedError

    def compose(self) -> ComposeResult:
        yield self.title_line
        with Vertical(classes="pane--body"):
            yield from self.compose_body()

    def compose_body(self) -> Iterator[RowsView | FilterLine]:
        yield self.rows
        yield self.filter_line

    def on_descendant_focus(self) -> None:
        self._show_focus()

    def on_descendant_blur(self) -> None:
        self._show_focus()

    def _show_focus(self) -> None:
        focused = self.screen.focused
        self.title_line.set_class(focused is not None and self in focused.ancestors, "-focused")

    def focus_list(self) -> None:
        """Put the focus where keys act on rows; at once, for the keys that follow."""
        self.screen.set_focus(self.rows)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Keys that open a line come before all others, but where they are typed into one."""
        return action not in ("filter", "find") or not isinstance(self.screen.focused, Input)

    def action_filter(self) -> None:
        self.filter_line.open()

    def action_back(self) -> None:
        """Undo the last narrowing: the filter first, then the marks."""
        if self.filter_line.text:
            self.filter_line.clear()
        elif isinstance(self.rows, PaneRows):
            self.rows.clear_marks()

    def filter_changed(self, text: str) -> None:
        """The filter is another one."""
        raise NotImplementedError

    def on_click(self, event: events.Click) -> None:
        event.stop()
        self.focus_list()


SHOWN_NAMES: Final = 3

T = TypeVar("T")


def marks_text(marked: int, hidden: int) -> str:
    """`3 marked, 1 hidden`."""
    return f"{marked:,} marked" + (f", {hidden:,} hidden" if hidden else "")


def marks_sign(marked: int, hidden: int) -> str:
    """The same where there is little room, with the sign that marked rows have."""
    return f"●{marked:,}" + (f", {hidden:,} hidden" if hidden else "")


def ask_which(
    app: App[Any], title: str, marked: tuple[T, ...], hidden: Mapping[T, str], act: Callable[[tuple[T, ...]], object]
) -> None:
    """Ask which of the marked rows are meant, and act on these; `hidden` has the names of those that are not shown."""
    shown = tuple(row for row in marked if row not in hidden)

    def answered(meant: tuple[T, ...] | None) -> None:
        if meant:
            act(meant)

    choices: list[Choice[tuple[T, ...]]] = [Choice("n", "No", ())]
    if shown:
        choices.append(
            Choice("s", "Only the one shown" if len(shown) == 1 else f"Only the {len(shown):,} shown", shown)
        )
    if len(marked) > 1:
        choices.append(Choice("a", f"All {len(marked):,} marked", marked))
    else:
        choices.append(Choice("y", "Yes, though it is not shown", marked))
    app.push_screen(ChoiceDialog(title, _text(list(hidden.values()), len(marked)), choices, answered))


def _text(hidden: Sequence[str], marked: int) -> str:
    names = [visible(name) for name in hidden[:SHOWN_NAMES]]
    if len(hidden) > SHOWN_NAMES:
        names.append(f"and {len(hidden) - SHOWN_NAMES:,} more")
    if marked == 1:
        return f"Marked, and not shown here:\n{names[0]}"
    how_many = f"All {marked:,}" if len(hidden) == marked else f"{len(hidden):,} of them"
    return "\n".join([f"{how_many} {'is' if len(hidden) == 1 else 'are'} not shown here:", *names])
