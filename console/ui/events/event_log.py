"""The event log: every change event as it arrives, one line each, newest at the bottom.

This module has the pane: following the end, holding still, filtering, searching. Which lines there are and how they
look is in `log_rows`, an event in full in `event_detail`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import ClassVar, Final

from textual import on
from textual.binding import Binding, BindingType
from textual.timer import Timer

from console.events.buffer import CAPACITY
from console.events.event import ChangeEvent
from console.events.feed_items import FeedItem
from console.events.filter import Filter, FilterError, KeyClause, Word, parse_filter
from console.formatting import visible
from console.ui.events.log_rows import DROPPED, LogRows
from console.ui.feed_pump import Throttle
from console.ui.widgets.filter_line import FilterLine
from console.ui.widgets.key_map import named
from console.ui.widgets.list_view import Key, RowSource, RowsView
from console.ui.widgets.pane import Pane

DRAW_SECONDS: Final = 0.3  # a multiple of the table's: see `ui.feed_pump`
# So many that came between two drawings, and have no room on the screen, are told of.
FLOOD: Final = 100
PAUSE_SECONDS: Final = 0.005  # between two slices of a scan or a search


class EventLog(Pane):
    """The pane at the bottom, and the whole of the inspector."""

    NAME = "Events"
    FIRST_KEYS = ("activate", "upload", "filter", "find", "only_document", "hold")
    FILTER_HINT = "op:update key:… field:status text, -not, or a match expression {…}"
    BINDINGS: ClassVar[list[BindingType]] = named(
        "events",
        [
            Binding("space", "hold", "Hold", tooltip="Hold the view still, or release it; events are still read."),
            Binding(
                "slash",
                "filter",
                "Filter",
                priority=True,
                tooltip="Show only events that match: words, op:update and more.",
                id="lists.filter",
            ),
            Binding("escape", "back", "Clear", show=False, tooltip="Clear the filter.", id="lists.clear"),
            Binding("f", "find", "Find", priority=True, tooltip="Find an event without hiding the others."),
            Binding("n", "search(1)", "Next", show=False, tooltip="Next match, further down."),
            Binding("N", "search(-1)", "Previous", show=False, tooltip="Previous match, further up."),
            Binding(
                "i", "only_document", "This document", tooltip="Show only the events of the document under the cursor."
            ),
            Binding(
                "u", "upload", "Upload", tooltip="Go to the upload of the event under the cursor; escape comes back."
            ),
            Binding(
                "p", "progress", "Progress", tooltip="Show also updates that only tell how far an upload is, or not."
            ),
            Binding("t", "clock", "Time", show=False, tooltip="Switch between time of day and cluster time."),
            Binding("x", "clear_filter", "Clear filter", show=False, tooltip="Clear the filter."),
        ],
    )

    def __init__(
        self,
        now: Callable[[], datetime],
        *,
        opened: Callable[[int], None],
        capacity: int = CAPACITY,
        hides_progress: bool = False,
        to_upload: Callable[[ChangeEvent], object] | None = None,
        id: str | None = None,
    ) -> None:
        """`opened` is called with the number in the buffer of an event that is to be shown in full, `to_upload` with
        an event whose upload is."""
        self._to_upload = to_upload
        self._opened = opened
        self.log_rows = LogRows(capacity, hides_progress=hides_progress)
        self._may_hide_progress = hides_progress
        super().__init__(self.log_rows, follow=True, id=id)
        self.find_line = FilterLine("words to look for, or a filter", self._find_typed, self._find, sign="find")
        self._now = now
        self._throttle = Throttle(self, self.draw, DRAW_SECONDS)
        self._seen = 0
        self._passed = 0
        self._searched = Filter()
        self._several = False
        self._search: Timer | None = None
        self._is_scanning = False
        # Where the person stood before the filter, and where the last drawing left the cursor: another row since then
        # was the person's wish, and the place is forgotten.
        self._place: int | None = None
        self._is_placing = False
        self._placed: Key | None = None

    def make_rows(self, source: RowSource, follow: bool) -> RowsView:
        """Events are not marked: space holds the view."""
        return RowsView(source, follow=follow, activated=self.row_activated)

    def compose_body(self) -> Iterator[RowsView | FilterLine]:
        yield from super().compose_body()
        yield self.find_line

    # ---- what arrives

    def add(self, items: Iterable[FeedItem]) -> None:
        self.log_rows.add(items, self._now())
        self._throttle.mark()

    def draw(self) -> None:
        if not self.screen.is_current:
            return
        self._see_move()
        if self._several != (len(self.log_rows.buffer.namespaces) > 1):
            self._several = not self._several
            self.rows.show(self.log_rows, cursor=self.rows.cursor_key)
        if self._place is not None and self._is_placing:
            self._return_to(self._place)
        self.rows.reload()
        self._placed = self.rows.cursor_key
        self.update_title()

    def _see_move(self) -> None:
        if self.rows.following or self.rows.cursor_key != self._placed:
            self._place = None

    def _return_to(self, number: int) -> None:
        """Put the cursor on that entry, or near it, as long as older ones may still come that are nearer.

        Not as somebody who moves there: the last row of what was looked at so far is not the end of the log.
        """
        shown = self.log_rows
        if len(shown):
            self.rows.show(shown, cursor=shown.key(shown.nearest(number)))
        self._is_placing = bool(shown.unseen)

    def update_title(self) -> None:
        rows, buffer = self.log_rows, self.log_rows.buffer
        stands = rows.is_held or not self.rows.following
        if not stands:
            passed = rows.newer_than(self._seen) - self.rows.page_rows
            self._passed += passed if passed >= FLOOD else 0
            self._seen = buffer.total
        parts = [f"{len(rows):,} of {len(buffer):,}" if rows.filter else f"{len(buffer):,}"]
        if hidden := rows.hidden_progress:
            parts.append(f"{hidden:,} of progress hidden (p)")
        if buffer.first:
            parts.append(f"{buffer.first:,} older gone")
        if self._passed:
            parts.append(f"{self._passed:,} scrolled past")
        if rows.unseen:
            parts.append(f"{rows.unseen:,} to scan")
        if rows.is_held:
            parts.append("held")
        if new := rows.newer_than(self._seen) if stands else 0:
            parts.append(f"+{new:,} new")
        self.title_line.show(self.NAME, " · ".join(parts))

    @on(RowsView.FollowingChanged)
    def _following_changed(self, message: RowsView.FollowingChanged) -> None:
        message.stop()
        if not message.following:
            self._passed = 0  # whoever scrolls up looks at what scrolled past
        self.update_title()

    def action_clock(self) -> None:
        self.log_rows.shows_cluster_time = not self.log_rows.shows_cluster_time
        self.rows.show(self.log_rows, cursor=self.rows.cursor_key)

    def action_progress(self) -> None:
        self.log_rows.hides_progress = not self.log_rows.hides_progress
        self._select(self.log_rows.filter)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Other people's collections have no progress, and hold no uploads."""
        there_is = {"progress": self._may_hide_progress, "upload": self._to_upload is not None}
        return super().check_action(action, parameters) and there_is.get(action, True)

    def action_upload(self) -> None:
        """Go to the upload of the event under the cursor."""
        number = self.rows.cursor_key
        event = self._event_of(number)
        if event is not None and self._to_upload is not None:
            self._to_upload(event)
        elif isinstance(number, int) and number in self.log_rows.buffer:
            self.notify("this line is not about an upload", title="Upload", markup=False)

    def action_hold(self) -> None:
        self.log_rows.hold(not self.log_rows.is_held)
        self.draw()

    # ---- filter

    def filter_changed(self, text: str) -> None:
        """Show what passes; a line that is no filter yet leaves the last one in force and says what is wrong."""
        try:
            wanted = parse_filter(text)
        except FilterError as error:
            self.filter_line.show_error(error.message)
            return
        self.filter_line.show_error("")
        self._select(wanted)

    def _select(self, wanted: Filter) -> None:
        number = self.rows.cursor_key
        self._see_move()
        if self._place is None and isinstance(number, int) and not self.rows.following:
            self._place = self._placed = number
        self._is_placing = True
        self.log_rows.select(wanted)
        self.draw()
        if not self._is_scanning:
            self._is_scanning = True
            self._scan()

    def _scan(self) -> None:
        """Look at what came before the filter, slice by slice; one chain of slices however fast one types."""
        self._is_scanning = bool(self.log_rows.scan())
        if self._is_scanning:
            self.set_timer(PAUSE_SECONDS, self._scan)
        self._throttle.mark()

    def action_clear_filter(self) -> None:
        self.filter_line.clear()

    def action_only_document(self) -> None:
        event = self._event_of(self.rows.cursor_key)
        text = next(iter(KeyClause((Word(""),)).texts(event)), "") if event is not None else ""
        if text:
            clause = KeyClause((Word(text, in_quotes=True),))
            self.filter_line.show((self.log_rows.filter + Filter((clause,))).text)

    def _event_of(self, number: Key | None) -> ChangeEvent | None:
        """The event of that number; None for a notice, and (which is said) for what the log has dropped."""
        if not isinstance(number, int):
            return None
        if number not in self.log_rows.buffer:
            self.notify(DROPPED, title="Event", severity="warning", markup=False)
            return None
        entry = self.log_rows.entry(number)
        return entry if isinstance(entry, ChangeEvent) else None

    # ---- search

    def action_find(self) -> None:
        self.find_line.open()

    def _find_typed(self, text: str) -> None:
        try:
            self._searched = parse_filter(text)
        except FilterError as error:
            self.find_line.show_error(error.message)
        else:
            self.find_line.show_error("")

    def _find(self) -> None:
        self.focus_list()
        if self.find_line.text:
            # The newest is at the bottom: the first one found is the last that happened.
            self.action_search(-1)

    def action_search(self, steps: int) -> None:
        number = self.rows.cursor_key
        if self._search is not None:
            self._search.stop()  # it was on its way to an event that is not wanted any more
        if self._searched and isinstance(number, int):
            self._look(number, steps < 0)

    def _look(self, start: int, backwards: bool) -> None:
        found = self.log_rows.search(self._searched, start, backwards=backwards)
        place = self.log_rows.index_of(found.number) if found.number is not None else None
        if place is not None:
            self.rows.move_to(place)
        elif found.resume is not None:
            resume = found.resume
            self._search = self.set_timer(PAUSE_SECONDS, lambda: self._look(resume, backwards))
        else:
            where = "above" if backwards else "below"
            self.notify(f"nothing {where}: {visible(self._searched.text)}", title="Find", markup=False)

    def row_activated(self, key: Key) -> None:
        if self._event_of(key) is not None and isinstance(key, int):
            self._opened(key)
