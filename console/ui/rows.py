"""The one list of the console: files, uploads and events are all drawn by it.

Owns the cursor, marks, scrolling, following the end, mouse and keys, and drawing only the lines (and of these only the
part) that changed, so that little goes over a slow line. Not here: what a row holds (a `RowSource` says it), which
columns fit (`columns`). The widget scrolls by itself instead of through Textual's `ScrollView`: changing a virtual
size there lays out and repaints the whole screen with every row that arrives.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, Protocol, TypeAlias

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from console.ui.cells import Span, Tone, fit_spans, padded, shorten
from console.ui.columns import Column, Fitted, fit_columns

WHEEL_ROWS: Final = 3
MARK_SIGN: Final = "●"
CURSOR_SIGN: Final = "▌"
GUTTER: Final = 2

Key: TypeAlias = Hashable


class RowSource(Protocol):
    """What a list shows. Rows have a key that stays the same while their place changes."""

    columns: Sequence[Column]

    def __len__(self) -> int: ...

    def key(self, index: int) -> Key:
        """What identifies the row."""
        ...

    def index_of(self, key: Key) -> int | None:
        """Where the row with that key is now, None where it is gone."""
        ...

    def cell(self, index: int, column: str, width: int) -> Sequence[Span]:
        """The text of one cell, already `visible()`; it is cut and padded to `width` afterwards."""
        ...

    def empty_words(self) -> str:
        """What is said where there is no row."""
        ...


class RowsView(Widget, can_focus=True):
    """A list of rows with a cursor."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "rows--head",
        "rows--cursor",
        "rows--marked",
        "rows--scrollbar",
        "rows--thumb",
        *(f"rows--{tone}" for tone in Tone),
    }
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down,j", "move(1)", "Down", show=False, tooltip="Move down one row."),
        Binding("up,k", "move(-1)", "Up", show=False, tooltip="Move up one row."),
        Binding("pagedown,ctrl+f", "page(1)", "Page down", show=False, tooltip="Move down one page."),
        Binding("pageup,ctrl+b", "page(-1)", "Page up", show=False, tooltip="Move up one page."),
        Binding("home,g", "first", "First", show=False, tooltip="Go to the first row."),
        Binding("end,G", "last", "Last", show=False, tooltip="Go to the last row; a log follows its end again."),
    ]

    @dataclass
    class Activated(Message):
        """Enter or a double click on a row."""

        rows: RowsView
        key: Key

    @dataclass
    class CursorMoved(Message):
        """The cursor stands on another row."""

        rows: RowsView

    @dataclass
    class FollowingChanged(Message):
        """The list began to follow its end, or stopped."""

        rows: RowsView
        following: bool

    def __init__(self, source: RowSource, *, follow: bool = False, id: str | None = None) -> None:
        super().__init__(id=id)
        self.source = source
        self.marks: set[Key] = set()
        self.cursor = 0
        self.top = 0
        self.following = follow
        self._follows = follow
        self._cursor_key: Key | None = None
        self._fitted: list[Fitted] = []
        self._lines: dict[int, Strip] = {}
        self._styles: dict[tuple[Tone | str, bool, bool], Style] = {}

    # ---- what others ask of the list

    @property
    def cursor_key(self) -> Key | None:
        """The key of the row under the cursor, None where there is no row."""
        return self.source.key(self.cursor) if self.cursor < len(self.source) else None

    @property
    def page_rows(self) -> int:
        """How many rows are visible at once."""
        return max(1, self.size.height - 1)

    def reload(self) -> None:
        """The source changed: find the cursor's row again and draw what differs."""
        count = len(self.source)
        place = self.source.index_of(self._cursor_key) if self._cursor_key is not None else None
        if self.following:
            self.cursor = max(0, count - 1)
        elif place is not None:
            if self.top > 0:
                self.top += place - self.cursor
            self.cursor = place
        self._settle()

    def show(self, source: RowSource, *, cursor: Key | None = None) -> None:
        """Show another source, with the cursor on the row of that key or on the first."""
        self.source = source
        self.top = 0
        place = source.index_of(cursor) if cursor is not None else None
        self.cursor = place or 0
        self._fit()
        self._settle()

    def move_to(self, index: int) -> None:
        """Put the cursor on a row and bring it into view."""
        count = len(self.source)
        self.cursor = max(0, min(index, count - 1))
        if self._follows:
            self._follow(self.cursor >= count - 1)
        self._settle()

    def redraw(self) -> None:
        """Draw the lines that differ from what is on the screen, each from its first to its last difference."""
        if not self.is_mounted or not self.size:
            return
        for y in range(self.size.height):
            new = self._line(y)
            old = self._lines.get(y)
            if old is None:
                self.refresh(Region(0, y, self.size.width, 1))
            elif old != new:
                start, end = _difference(old, new)
                self.refresh(Region(start, y, end - start, 1))
            self._lines[y] = new

    # ---- keys and mouse

    def action_move(self, rows: int) -> None:
        """Move the cursor by rows."""
        self.move_to(self.cursor + rows)

    def action_page(self, pages: int) -> None:
        """Move the cursor by pages."""
        self.move_to(self.cursor + pages * max(1, self.page_rows - 1))

    def action_first(self) -> None:
        """Move to the first row."""
        self.move_to(0)

    def action_last(self) -> None:
        """Move to the last row."""
        self.move_to(len(self.source) - 1)

    def action_activate(self) -> None:
        """Say that the row under the cursor was chosen."""
        key = self.cursor_key
        if key is not None:
            self.post_message(self.Activated(self, key))

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Scroll without moving the cursor out of view."""
        event.stop()
        self._scroll(WHEEL_ROWS)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Scroll without moving the cursor out of view."""
        event.stop()
        self._scroll(-WHEEL_ROWS)

    def on_click(self, event: events.Click) -> None:
        """Choose a row; on the scroll bar, go to that part of the list."""
        event.stop()
        if event.x >= self.size.width - 1 and self._scrolls:
            share = event.y / max(1, self.size.height - 1)
            self.move_to(round(share * (len(self.source) - 1)))
            return
        index = self.top + event.y - 1
        if event.y >= 1 and index < len(self.source):
            self.move_to(index)
            if event.chain == 2:
                self.action_activate()

    # ---- inside

    @property
    def _scrolls(self) -> bool:
        return len(self.source) > self.page_rows

    def _scroll(self, rows: int) -> None:
        bottom = max(0, len(self.source) - self.page_rows)
        self.top = max(0, min(self.top + rows, bottom))
        self.cursor = max(self.top, min(self.cursor, self.top + self.page_rows - 1))
        if self._follows:
            self._follow(self.top >= bottom)
            if self.following:
                self.cursor = max(0, len(self.source) - 1)
        self._settle()

    def _follow(self, following: bool) -> None:
        if following != self.following:
            self.following = following
            self.post_message(self.FollowingChanged(self, following))

    def _settle(self) -> None:
        """Bring cursor and view back into the list, tell of a move, draw."""
        count = len(self.source)
        self.cursor = max(0, min(self.cursor, count - 1))
        self.top = max(self.cursor - self.page_rows + 1, min(self.top, self.cursor))
        self.top = max(0, min(self.top, count - self.page_rows))
        key = self.cursor_key
        if key != self._cursor_key:
            self._cursor_key = key
            self.post_message(self.CursorMoved(self))
        self.redraw()

    def _fit(self) -> None:
        self._fitted = fit_columns(self.source.columns, max(0, self.size.width - GUTTER - 1))

    def on_resize(self) -> None:
        """Fit the columns to the new width."""
        self._lines.clear()
        self._fit()
        self._settle()

    def on_focus(self) -> None:
        """The cursor looks different with the focus."""
        self._restyle()

    def on_blur(self) -> None:
        """The cursor looks different without the focus."""
        self._restyle()

    def notify_style_update(self) -> None:
        """Another theme: forget the looks that were worked out."""
        super().notify_style_update()
        self._restyle()

    def _restyle(self) -> None:
        self._styles.clear()
        self.redraw()

    def render_line(self, y: int) -> Strip:
        """One line of the screen: the heading, a row, or nothing."""
        line = self._lines.get(y)
        if line is None:
            line = self._lines[y] = self._line(y)
        return line

    def _line(self, y: int) -> Strip:
        width = self.size.width
        if y == 0:
            segments = self._head_segments()
        else:
            index = self.top + y - 1
            if index < len(self.source):
                segments = self._row_segments(index)
            else:
                words = self.source.empty_words() if y == 2 and not len(self.source) else ""
                text = padded("  " + shorten(words, width - 3), width - 1)
                segments = [Segment(text, self._style(Tone.MUTED))]
        segments.append(self._scrollbar_segment(y))
        return Strip(segments).adjust_cell_length(width, self._style(Tone.PLAIN))

    def _head_segments(self) -> list[Segment]:
        style = self._style("head")
        parts = ["  "]
        for place, (column, _, width) in enumerate(self._fitted):
            parts.append((" " if place else "") + padded(column.title, width, right=column.right))
        text = "".join(parts)
        return [Segment(padded(text, self.size.width - 1), style)]

    def _row_segments(self, index: int) -> list[Segment]:
        on_cursor = index == self.cursor
        marked = self.source.key(index) in self.marks
        blank = self._style(Tone.PLAIN, on_cursor, marked)
        sign = CURSOR_SIGN if on_cursor and self.has_focus else " "
        segments = [
            Segment(sign, self._style(Tone.ACCENT, on_cursor, marked)),
            Segment(MARK_SIGN if marked else " ", self._style(Tone.ACCENT, on_cursor, marked)),
        ]
        used = GUTTER
        for place, (column, x, width) in enumerate(self._fitted):
            if place:
                segments.append(Segment(" ", blank))
            spans = fit_spans(self.source.cell(index, column.key, width), width, right=column.right, cut=column.cut)
            segments += [Segment(text, self._style(tone, on_cursor, marked)) for text, tone in spans]
            used = GUTTER + x + width
        segments.append(Segment(" " * max(0, self.size.width - 1 - used), blank))
        return segments

    def _scrollbar_segment(self, y: int) -> Segment:
        count = len(self.source)
        if y == 0 or not self._scrolls:
            return Segment(" ", self._style("head" if y == 0 else Tone.PLAIN))
        rows = self.page_rows
        length = max(1, rows * rows // count)
        start = round((rows - length) * self.top / max(1, count - rows))
        on_thumb = start <= y - 1 < start + length
        return Segment("┃" if on_thumb else "│", self._style("thumb" if on_thumb else "scrollbar"))

    def _style(self, tone: Tone | str, on_cursor: bool = False, marked: bool = False) -> Style:
        look = (tone, on_cursor, marked)
        style = self._styles.get(look)
        if style is None:
            style = self.rich_style + self.get_component_rich_style(f"rows--{tone}", partial=True)
            if marked:
                style += self.get_component_rich_style("rows--marked", partial=True)
            if on_cursor:
                style += self.get_component_rich_style("rows--cursor", partial=True)
            self._styles[look] = style
        return style


def _difference(old: Strip, new: Strip) -> tuple[int, int]:
    """First and last cell (half-open) in which two lines of the same width differ, to whole segments."""
    before, after = list(old), list(new)
    start = 0
    while before and after and before[0] == after[0]:
        start += before.pop(0).cell_length
        after.pop(0)
    end = new.cell_length
    while before and after and before[-1] == after[-1]:
        end -= before.pop().cell_length
        after.pop()
    return start, max(start + 1, end)
