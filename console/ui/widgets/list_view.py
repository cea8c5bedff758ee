"""The one list of the console: files, uploads, events and watches are all drawn by it.

It has the cursor, marks, scrolling and following the end, and draws only the lines (and of these only the part) that
changed, so that little goes over a slow line. What a row holds comes from a `RowSource`. It scrolls by itself and not
through Textual's `ScrollView`: changing a virtual size there lays out and repaints the whole screen with every new
row.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, Protocol, TypeAlias, runtime_checkable

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from console.ui.widgets.cells import (
    Column,
    Cut,
    Fitted,
    Span,
    Tone,
    differences,
    fit_columns,
    fit_spans,
    highlighted,
    padded,
    spans_length,
)
from console.ui.widgets.key_map import named

WHEEL_ROWS: Final = 3
MARK_SIGN: Final = "●"
CURSOR_SIGN: Final = "▌"
GUTTER: Final = 2
_KEPT: Final = 500  # lines as they were made
# Component classes of the application, not of each widget: those would be styled anew whenever the focus moves.
TONE_CLASSES: Final = frozenset(f"lines--{tone}" for tone in Tone)


class LinesWidget(Widget):
    """Subclasses say what line `y` is (`make_line`) and call `redraw` when something changed."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._lines: dict[int, Strip] = {}
        self._looks: dict[tuple[str, ...], Style] = {}

    def make_line(self, y: int) -> Strip:
        """The line at that height, exactly as wide as the widget."""
        raise NotImplementedError

    def redraw(self) -> None:
        """Draw the lines that differ from what is on the screen."""
        if not self.is_mounted or not self.size:
            return
        for y in range(self.size.height):
            new = self.make_line(y)
            old = self._lines.get(y)
            if old is not new and old != new:
                self.refresh(Region(0, y, self.size.width, 1))
            self._lines[y] = new

    def render_line(self, y: int) -> Strip:
        line = self._lines.get(y)
        if line is None:
            line = self._lines[y] = self.make_line(y)
        return line

    def on_resize(self) -> None:
        """Nothing of what was drawn is still right. Textual calls the handlers of all base classes: subclasses have
        `resized` instead, so that all is drawn once."""
        self._lines.clear()
        self.resized()

    def resized(self) -> None:
        """The widget has another size: draw it."""
        self.redraw()

    def notify_style_update(self) -> None:
        super().notify_style_update()
        # The component styles are settled only after this: lines are made again when they are painted.
        self._looks.clear()
        self._lines.clear()
        self.refresh()

    def look(self, *names: str) -> Style:
        """The style of the widget with these component classes on top, in their order."""
        style = self._looks.get(names)
        if style is None:
            style = self.rich_style
            for name in names:
                of = self.app if name in TONE_CLASSES else self
                style += of.get_component_styles(name).partial_rich_style
            self._looks[names] = style
        return style

    def strip(self, spans: Iterable[Span]) -> Strip:
        """Spans as a line, as wide as the widget."""
        line = Strip(self.segments(spans))
        return line.adjust_cell_length(self.size.width, self.look(f"lines--{Tone.PLAIN}"))

    def segments(self, spans: Iterable[Span], *over: str) -> list[Segment]:
        """Spans with their looks; `over` are component classes on top of the tones."""
        segments: list[Segment] = []
        for text, tone in spans:
            # Blanks show no colour: joined to what is before them they cost no escape sequence of their own.
            if segments and (text.isspace() or segments[-1].style is self.look(f"lines--{tone}", *over)):
                last = segments.pop()
                segments.append(Segment(last.text + text, last.style))
            elif text:
                segments.append(Segment(text, self.look(f"lines--{tone}", *over)))
        return segments


Key: TypeAlias = Hashable


class RowSource(Protocol):
    """What a list shows. Rows have a key that stays the same while their place changes."""

    @property
    def columns(self) -> Sequence[Column]:
        """Which columns there are; asked again when the width changes or another source is shown."""

    def __len__(self) -> int: ...

    def key(self, index: int) -> Key:
        """What identifies the row."""

    def index_of(self, key: Key) -> int | None:
        """Where the row with that key is now, None where it is gone."""

    def cell(self, index: int, column: str, width: int) -> Sequence[Span]:
        """The text of one cell, already `visible()`; it is cut and padded to `width` afterwards."""

    def whole(self, index: int) -> Sequence[Span] | None:
        """The text of a row that has no columns, None for one that has."""
        return None

    def may_mark(self, index: int) -> bool:
        """Whether actions on several rows can include this one."""
        return False

    def empty_text(self) -> str:
        """What is said where there is no row."""


@runtime_checkable
class VersionedRows(Protocol):
    """A source that can tell cheaply whether a row still looks as it did: its lines are kept, and not made again."""

    def version(self, index: int) -> object:
        """A value that is another one whenever a cell of the row is, at the same widths."""


class RowsView(LinesWidget, can_focus=True):
    """A list of rows with a cursor."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"rows--head", "rows--cursor", "rows--blurred", "rows--marked"}
    BINDINGS: ClassVar[list[BindingType]] = named(
        "lists",
        [
            Binding("down,j", "move(1)", "Down", show=False, tooltip="Move down one row."),
            Binding("up,k", "move(-1)", "Up", show=False, tooltip="Move up one row."),
            Binding("pagedown,ctrl+f", "page(1)", "Page down", show=False, tooltip="Move down one page."),
            Binding("pageup,ctrl+b", "page(-1)", "Page up", show=False, tooltip="Move up one page."),
            Binding("enter", "activate", "Open", tooltip="Open the row under the cursor."),
            Binding("home,g", "first", "First", show=False, tooltip="Go to the first row."),
            Binding("end,G", "last", "Last", show=False, tooltip="Go to the last row; a log follows its end again."),
        ],
    )

    @dataclass
    class CursorMoved(Message):
        rows: RowsView

    @dataclass
    class HeadClicked(Message):
        rows: RowsView
        column: str

    @dataclass
    class FollowingChanged(Message):
        """The list began to follow its end, or stopped."""

        rows: RowsView
        following: bool

    def __init__(
        self,
        source: RowSource,
        *,
        follow: bool = False,
        activated: Callable[[Key], None] | None = None,
        id: str | None = None,
    ) -> None:
        """`activated` is called with the key of a row on enter or a double click: at once, for the keys that follow."""
        super().__init__(id=id)
        self._activated = activated
        self.source = source
        self._versions = source if isinstance(source, VersionedRows) else None
        # What a person did: the cursor's place, the first place that is seen, the marked rows, the words looked for
        # (case-folded), and the column that rows are sorted by with whether its largest value comes first.
        self.cursor = 0
        self.top = 0
        self.marks: set[Key] = set()
        self.words: tuple[str, ...] = ()
        self.sorted_by: tuple[str, bool] | None = None
        self._moved = False  # until somebody moves the cursor the list shows its beginning
        # Whether the cursor stays on the last row as rows come, and whether this list ever does so.
        self.following = follow
        self._follows = follow
        # What is on the screen: the key under the cursor, those of all lines, and the thumb of the scroll bar.
        self._cursor_key: Key | None = None
        self._keys: dict[int, Key] = {}
        self._thumb = range(0)
        # Columns: as they fit the width, what the longest content of each took so far, and where names differ from
        # those most alike (of the rows that were compared last).
        self._fitted: list[Fitted] = []
        self._held: dict[str, int] = {}
        self._differences: dict[Key, int] = {}
        self._compared: list[tuple[Key, str]] = []
        # Lines as they were made, with all that they were made of.
        self._made: dict[Key, tuple[tuple[object, ...], Strip]] = {}
        self._has_size = False

    # ---- what others ask of the list

    @property
    def cursor_key(self) -> Key | None:
        """The key of the row that is seen under the cursor, None where there is none.

        The source may have changed since it was drawn: what a key press means is the row that the person sees.
        """
        return self._cursor_key

    @property
    def enter_word(self) -> str:
        """What enter does with the row under the cursor, for the line of keys."""
        return "Open"

    @property
    def page_rows(self) -> int:
        return max(1, self.size.height - 1)

    def reload(self) -> None:
        """The source changed: find the cursor's row again and draw what differs."""
        if self.following:
            self.cursor = max(0, len(self.source) - 1)
        elif self._moved:
            self._find_again()
        self._update_view()

    def show(self, source: RowSource, *, cursor: Key | None = None) -> None:
        """Show another source, with the cursor on the row of that key or on the first."""
        self.source = source
        self._versions = source if isinstance(source, VersionedRows) else None
        self.top = 0
        self._moved = cursor is not None
        place = source.index_of(cursor) if cursor is not None else None
        self.cursor = place or 0
        self.fit_again()

    def fit_again(self) -> None:
        """Other rows are shown, or other columns: measure what they hold."""
        self._held.clear()
        self._fit()
        self._update_view()

    def move_to(self, index: int) -> None:
        """Put the cursor on a row and bring it into view."""
        count = len(self.source)
        self._moved = True
        self.cursor = max(0, min(index, count - 1))
        if self._follows:
            self._follow(self.cursor >= count - 1)
        self._update_view()

    # ---- keys and mouse

    def action_move(self, rows: int) -> None:
        self._find_again()
        self.move_to(self.cursor + rows)

    def action_page(self, pages: int) -> None:
        self._find_again()
        self.move_to(self.cursor + pages * max(1, self.page_rows - 1))

    def action_first(self) -> None:
        self.move_to(0)

    def action_last(self) -> None:
        self.move_to(len(self.source) - 1)

    def action_activate(self) -> None:
        key = self.cursor_key
        if key is not None and self._activated is not None:
            self._activated(key)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Scroll without moving the cursor out of view."""
        event.stop()
        self._scroll(WHEEL_ROWS)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        event.stop()
        self._scroll(-WHEEL_ROWS)

    def on_click(self, event: events.Click) -> None:
        """Choose a row; on the scroll bar, go to that part of the list."""
        event.stop()
        if event.x >= self.size.width - 1 and self._scrolls:
            share = max(0, event.y - 1) / max(1, self.size.height - 2)
            self.move_to(round(share * (len(self.source) - 1)))
            return
        if event.y == 0:
            for column, x, width in self._fitted:
                if x <= event.x - GUTTER < x + width:
                    self.post_message(self.HeadClicked(self, column.key))
            return
        key = self._keys.get(event.y)
        index = self.source.index_of(key) if key is not None else None
        if index is not None:
            self.move_to(index)
            if event.chain == 2:
                self.action_activate()

    # ---- inside

    def _find_again(self) -> None:
        """Put the cursor where its row is now, and the view along with it."""
        place = self.source.index_of(self._cursor_key) if self._cursor_key is not None else None
        if place is not None:
            if self.top > 0:
                self.top += place - self.cursor
            self.cursor = place

    @property
    def _scrolls(self) -> bool:
        return len(self.source) > self.page_rows

    def _scroll(self, rows: int) -> None:
        bottom = max(0, len(self.source) - self.page_rows)
        self._moved = True
        self.top = max(0, min(self.top + rows, bottom))
        self.cursor = max(self.top, min(self.cursor, self.top + self.page_rows - 1))
        if self._follows:
            self._follow(self.top >= bottom)
            if self.following:
                self.cursor = max(0, len(self.source) - 1)
        self._update_view()

    def _follow(self, following: bool) -> None:
        if following != self.following:
            self.following = following
            self.post_message(self.FollowingChanged(self, following))

    def _update_view(self) -> None:
        """Bring cursor and view back into the list, tell of a move, draw."""
        count = len(self.source)
        self.cursor = max(0, min(self.cursor, count - 1))
        self.top = max(self.cursor - self.page_rows + 1, min(self.top, self.cursor))
        self.top = max(0, min(self.top, count - self.page_rows))
        key = self.source.key(self.cursor) if count else None
        if key != self._cursor_key:
            self._cursor_key = key
            self.post_message(self.CursorMoved(self))
        self._thumb = self._thumb_lines(count)
        self.redraw()

    def _fit(self) -> None:
        self._made.clear()
        self._differences.clear()
        self._compared = []
        self._fitted = fit_columns(self.source.columns, max(0, self.size.width - GUTTER - 1), self._held or None)

    def redraw(self) -> None:
        """Draw the lines that differ; columns grow with what is seen to need more room."""
        if self.size and self._measure():
            self._fit()
        self._compare()
        super().redraw()

    def _seen(self) -> range:
        return range(max(0, self.top), min(len(self.source), self.top + self.page_rows))

    def _measure(self) -> bool:
        """Look what rows hold that were not measured yet; whether columns are to be fitted again."""
        before = dict(self._held)
        for index in self._seen():
            key = self.source.key(index)
            made = self._made.get(key)
            if made is not None and self._versions is not None and made[0][0] == self._versions.version(index):
                continue
            if self.source.whole(index) is not None:
                continue
            for column in self.source.columns:
                held = self._held.get(column.key, 0)
                if held < column.maximum:
                    self._held[column.key] = max(
                        held, min(column.maximum, spans_length(self.source.cell(index, column.key, column.maximum)))
                    )
        return self._held != before

    def _compare(self) -> None:
        """Where the names that are seen, and have no room, differ from those that are most alike."""
        names = next((each for each in self._fitted if each.column.cut is Cut.ALIKE), None)
        if names is None or self._held.get(names.column.key, 0) <= names.width:
            return
        texts = [
            (self.source.key(index), "".join(span.text for span in self.source.cell(index, names.column.key, 0)[-1:]))
            for index in self._seen()
        ]
        if texts != self._compared:
            self._compared = texts
            places = differences([text for _, text in texts])
            self._differences = {key: place for (key, _), place in zip(texts, places, strict=True)}

    def resized(self) -> None:
        if not self._has_size:  # nothing was seen yet: what is above the cursor is worth seeing as well
            self._has_size, self.top = bool(self.size), 0
        self._fit()
        self._update_view()

    def notify_style_update(self) -> None:
        self._made.clear()
        super().notify_style_update()

    def make_line(self, y: int) -> Strip:
        """One line of the screen: the heading, a row, or nothing."""
        index = self.top + y - 1
        if y == 0:
            return Strip(self.segments([*self._head(), Span(" ")], "rows--head"))
        self._keys.pop(y, None)
        if index >= len(self.source):
            words = self.source.empty_text() if y == 2 and not len(self.source) else ""
            return self.strip([Span(padded("  " + words, self.size.width), Tone.MUTED)])
        key = self._keys[y] = self.source.key(index)
        if self._versions is None:
            return self._row_line(index, key, y)
        state = (
            *(self._versions.version(index), self._scrollbar(y)),
            *(key in self.marks, index == self.cursor, self.has_focus),
            *(self._differences.get(key, 0), self.words),
        )
        made = self._made.get(key)
        if made is None or made[0] != state:
            if len(self._made) > _KEPT:
                self._made.clear()
            made = self._made[key] = (state, self._row_line(index, key, y))
        return made[1]

    def _row_line(self, index: int, key: Key, y: int) -> Strip:
        over = [
            *(["rows--marked"] if key in self.marks else []),
            *(["rows--cursor" if self.has_focus else "rows--blurred"] if index == self.cursor else []),
        ]
        return Strip([*self.segments(self._row(index), *over), *self.segments([self._scrollbar(y)])])

    def _head(self) -> list[Span]:
        words = (padded(self._heading(each), each.width, right=each.column.right) for each in self._fitted)
        return [Span(padded("  " + " ".join(words), self.size.width - 1), Tone.MUTED)]

    def _heading(self, fitted: Fitted) -> str:
        """The title of a column, with an arrow where rows are sorted by it."""
        column, _, width = fitted
        if self.sorted_by is None or self.sorted_by[0] != column.key:
            return column.heading(width)
        arrow = "↓" if self.sorted_by[1] else "↑"
        title = column.heading(max(0, width - 1))
        return f"{title if len(title) < width else title[: max(0, width - 1)]}{arrow}"

    def _row(self, index: int) -> list[Span]:
        on_cursor = index == self.cursor and self.has_focus
        marked = self.source.key(index) in self.marks
        spans = [Span(CURSOR_SIGN if on_cursor else " ", Tone.ACCENT), Span(MARK_SIGN if marked else " ", Tone.WARNING)]
        whole = self.source.whole(index)
        if whole is not None:
            return [*spans, *fit_spans(whole, max(0, self.size.width - GUTTER - 1))]
        used = GUTTER
        differs = self._differences.get(self.source.key(index), 0)
        for number, (column, x, width) in enumerate(self._fitted):
            if number:
                spans.append(Span(" "))
            cell = self.source.cell(index, column.key, width)
            if self.words and column.cut is not Cut.END:
                found = _first_found(cell[-1].text, self.words)
                if found >= 0:
                    # What is before it may go; a match at the beginning stays there anyway.
                    cut, place = (Cut.ALIKE, found) if found else (Cut.MIDDLE, 0)
                else:
                    cut, place = column.cut, differs
                fitted = fit_spans(cell, width, right=column.right, cut=cut, differs=place)
                spans += highlighted(fitted, self.words)
            else:
                spans += fit_spans(cell, width, right=column.right, cut=column.cut, differs=differs)
            used = GUTTER + x + width
        spans.append(Span(" " * max(0, self.size.width - 1 - used)))
        return spans

    def _scrollbar(self, y: int) -> Span:
        return Span("▐", Tone.MUTED) if y in self._thumb else Span(" ")

    def _thumb_lines(self, count: int) -> range:
        """Which lines the thumb of the scroll bar takes; none where all rows are seen."""
        rows = self.page_rows
        if count <= rows:
            return range(0)
        length = max(1, rows * rows // count)
        start = 1 + round((rows - length) * self.top / max(1, count - rows))
        return range(start, start + length)


def _first_found(text: str, words: Sequence[str]) -> int:
    """The place of the first of the words in a text, -1 where there is none."""
    folded = text.casefold()
    places = [place for word in words if (place := folded.find(word)) >= 0]
    return min(places, default=-1)
