"""The lines of the event log as rows of a list.

Owns what of the buffer is shown (the filter, and holding still), and the few entries that are kept unpacked because
they are on the screen. Not here: what is held and for how long (`console.events.buffer`), the pane (`event_log`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from time import monotonic
from typing import Final

from console.events.buffer import CAPACITY, EventBuffer, Search
from console.events.event import ChangeEvent
from console.events.feed_items import FeedItem, FeedState, Gap, Snapshot
from console.events.filters import Filter
from console.formatting import count, visible
from console.ui.cells import Span, Tone
from console.ui.columns import Column
from console.ui.event_cells import (
    CLUSTER_TIME,
    ONE_NAMESPACE,
    SEVERAL_NAMESPACES,
    TIME,
    Entry,
    Notice,
    changes_spans,
    event_cell,
    local_time,
    notice_spans,
)
from console.ui.row_source import Key

KEPT: Final = 500
# A slice of looking at older entries: keys are served between slices, so it is short however large events are.
SLICE_SECONDS: Final = 0.015
_STEP: Final = 20


class LogRows:
    """A filtered view of the buffer; the key of a row is the number of its entry, which never changes."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self.buffer: EventBuffer[Notice] = EventBuffer(capacity)
        self.filter = Filter()
        self._view = self.buffer.view(self.filter)
        self._held_at: int | None = None
        self.shows_cluster_time = False
        self._entries: dict[int, Entry] = {}
        self._spans: dict[int, list[Span]] = {}

    # ---- what comes in

    def add(self, items: Iterable[FeedItem], now: datetime) -> None:
        """Take in what a feed brought: events, and notices of the rest."""
        self.buffer.append(item if isinstance(item, ChangeEvent) else _notice(item, now) for item in items)

    # ---- what is shown of it

    @property
    def is_held(self) -> bool:
        """Whether the view stands still."""
        return self._held_at is not None

    def hold(self, held: bool) -> None:
        """Stand still, while the buffer goes on; or go on."""
        self._held_at = self.buffer.total if held else None

    def select(self, wanted: Filter) -> None:
        """Show what passes this filter; older entries are looked at by `scan`."""
        self.filter = wanted
        self._view = self.buffer.view(wanted)
        self.scan()

    def scan(self) -> int:
        """Look at a slice of the entries that came before the filter. Returns how many are still unseen."""
        ends = monotonic() + SLICE_SECONDS
        while (unseen := self._view.scan(_STEP)) and monotonic() < ends:
            pass
        return unseen

    @property
    def unseen(self) -> int:
        """How many entries that came before the filter have still to be looked at."""
        return self._view.unseen if self.filter else 0

    def search(self, wanted: Filter, start: int, *, backwards: bool) -> Search:
        """Look at a slice of the view for the next entry that passes `wanted` too."""
        ends = monotonic() + SLICE_SECONDS
        while True:
            found = self._view.search(wanted, start, backwards=backwards, most=_STEP)
            if found.resume is None or monotonic() >= ends:
                return found
            start = found.resume

    def newer_than(self, number: int) -> int:
        """How many entries that pass the filter came since that number would have been given."""
        return len(self._view) - self._view.position(number)

    def nearest(self, number: int) -> int:
        """The place of that entry, or of the next one that is shown."""
        return min(self._view.position(number), max(0, len(self) - 1))

    # ---- as a source of rows

    @property
    def columns(self) -> Sequence[Column]:
        """With the namespace only where there are several."""
        time = CLUSTER_TIME if self.shows_cluster_time else TIME
        return (time, *(SEVERAL_NAMESPACES if len(self.buffer.namespaces) > 1 else ONE_NAMESPACE))

    def _has_one_database(self) -> bool:
        """Whether the database need not be said. What concerns none, or all of it, has no name then either."""
        return len({name.partition(".")[0] for name in self.buffer.namespaces if name}) == 1

    def __len__(self) -> int:
        return len(self._view) if self._held_at is None else self._view.position(self._held_at)

    def key(self, index: int) -> Key:
        """The number of the entry."""
        return self._view[index]

    def index_of(self, key: Key) -> int | None:
        """Where that entry is shown."""
        if not isinstance(key, int):
            return None
        place = self._view.position(key)
        return place if place < len(self) and self._view[place] == key else None

    def entry(self, number: int) -> Entry:
        """The entry of that number."""
        entry = self._entries.get(number)
        if entry is None:
            if len(self._entries) > KEPT:
                self._entries.clear()
                self._spans.clear()
            entry = self._entries[number] = self.buffer[number]
        return entry

    def version(self, index: int) -> object:
        """Entries never change; how much of them is said, does."""
        return self._view[index], self.shows_cluster_time, len(self.buffer.namespaces)

    def whole(self, index: int) -> Sequence[Span] | None:
        """Notices go across."""
        entry = self.entry(self._view[index])
        return notice_spans(entry) if isinstance(entry, Notice) else None

    def may_mark(self, index: int) -> bool:
        """Events are not marked."""
        return False

    def empty_words(self) -> str:
        """Why nothing is shown."""
        return "no event passes the filter" if self.filter else "no events yet"

    def cell(self, index: int, column: str, width: int) -> Sequence[Span]:
        """One cell of one event."""
        number = self._view[index]
        entry = self.entry(number)
        if isinstance(entry, Notice):
            return [Span("")]
        if column == "document" and entry.document_key is None and len(self.buffer.namespaces) == 1:
            return [Span(visible(entry.namespace), Tone.MUTED)]  # it has no column of its own
        if column == "namespace" and self._has_one_database():
            return [Span(visible(entry.namespace.partition(".")[2]), Tone.MUTED)]
        if column != "changes":
            return event_cell(entry, column, width)
        spans = self._spans.get(number)
        if spans is None:
            spans = self._spans[number] = changes_spans(entry)
        return spans


def _notice(item: Snapshot | Gap | FeedState, now: datetime) -> Notice:
    match item:
        case Snapshot(documents):
            return Notice("snapshot", f"{count(len(documents), 'document')} read; their events follow", now)
        case Gap(reason, since, until):
            times = f" ({_clock(since)} to {_clock(until)})" if since is not None or until is not None else ""
            return Notice("gap", f"{reason}{times}", now)
        case FeedState(connected, message, ended):
            word = "connected" if connected else "ended" if ended else "reconnecting"
            return Notice(word, message, now)


def _clock(moment: datetime | None) -> str:
    return f"{local_time(moment):%H:%M:%S}" if moment is not None else "?"
