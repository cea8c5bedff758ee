"""What the three panes of the console have in common.

Owns the frame with its title, the list inside, the filter line under it, and the keys that mean the same everywhere.
Not here: what is listed and what its own keys do (`browser`, `uploads`, `event_log`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.message import Message
from textual.widgets import Input

from console.ui.filter_line import FilterLine
from console.ui.row_source import Key, RowSource
from console.ui.rows import RowsView
from console.ui.title_line import TitleLine


class PaneRows(RowsView):
    """The list of a pane, with marks and the keys that work on them."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "mark", "Mark", tooltip="Mark the row and move on; keys then act on all marked rows."),
        Binding("asterisk", "mark_all", "Mark all", show=False, tooltip="Mark all rows shown, or none if all are."),
    ]

    @dataclass
    class MarksChanged(Message):
        """Other rows are marked now."""

        rows: PaneRows

    def action_mark(self) -> None:
        """Mark the row under the cursor, or unmark it, and move on."""
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
        """Mark nothing."""
        self.unmark(set(self.marks))

    def unmark(self, keys: Iterable[Key]) -> None:
        """Mark those rows no longer."""
        if gone := self.marks.intersection(keys):
            self.marks -= gone
            self.post_message(self.MarksChanged(self))
            self.redraw()


class Pane(Vertical):
    """A framed list with a title line and a filter line."""

    NAME: ClassVar[str] = ""
    FILTER_HINT: ClassVar[str] = "words to look for"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "filter", "Filter", priority=True, tooltip="Show only rows with all the words, as you type."),
        Binding("escape", "back", "Clear", show=False, tooltip="Clear the filter; then the marks."),
    ]

    def __init__(self, source: RowSource, *, follow: bool = False, id: str | None = None) -> None:
        super().__init__(id=id)
        self.rows = self.make_rows(source, follow)
        self.title_line = TitleLine(self.NAME)
        self.filter_line = FilterLine(self.FILTER_HINT, self.filter_changed, self.focus_list)

    def make_rows(self, source: RowSource, follow: bool) -> RowsView:
        """The list widget of this pane."""
        return PaneRows(source, follow=follow)

    def compose(self) -> ComposeResult:
        """Title, then list and filter in the frame."""
        yield self.title_line
        with Vertical(classes="pane--body"):
            yield from self.compose_body()

    def compose_body(self) -> Iterator[RowsView | FilterLine]:
        """What the frame holds."""
        yield self.rows
        yield self.filter_line

    def on_descendant_focus(self) -> None:
        """The frame shows where the keys go."""
        self._show_focus()

    def on_descendant_blur(self) -> None:
        """Keys go elsewhere, or to another part of this pane."""
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
        """Type a filter."""
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
        """A click on the frame means the list."""
        event.stop()
        self.focus_list()
