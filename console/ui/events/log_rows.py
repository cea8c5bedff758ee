"""The lines of the event log, and of one document's history, as rows of a list.

Which entries of the buffer are shown is decided here (the filter, and holding still), and how an event looks as a
line. Only the entries on the screen are kept unpacked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import isfinite
from time import monotonic
from typing import Final, TypeAlias

from bson import Int64
from rich.cells import cell_len

from console.events.buffer import CAPACITY, EventBuffer, Search
from console.events.changes import FieldChange, changes, summary
from console.events.event import ChangeEvent
from console.events.feed_items import FeedItem, FeedState, Gap, Lookup, Snapshot
from console.events.filter import FieldsOnlyClause, Filter
from console.events.text import value_text
from console.formatting import byte_rate, byte_size, count, visible
from console.ui.widgets.cells import Column, Cut, Span, Tone
from console.ui.widgets.list_view import Key, RowSource


@dataclass(frozen=True, slots=True)
class Notice:
    """A line that is no event: a gap in the history, the connection lost or found again. `at` is UTC."""

    kind: str
    text: str
    at: datetime


Entry: TypeAlias = ChangeEvent | Notice

SUMMARY_CELLS: Final = 400
# What a runner writes twice a second while it sends, and nobody asked for.
PROGRESS_FIELDS: Final = frozenset({"current", "percentage", "rate", "sent", "lease", "updated_at"})
WITHOUT_PROGRESS: Final = Filter((FieldsOnlyClause(PROGRESS_FIELDS),))
# Of an upload: what matters comes first, as the record has it, and numbers as people read them.
UPLOAD_FIELDS: Final = (
    *("status", "requested", "error", "current", "percentage", "size", "priority", "attempts", "finished_at"),
    *("checksum", "etag", "version_id", "key", "multipart", "started_at", "sent", "rate", "lease", "updated_at"),
)
_RANKS: Final = {name: rank for rank, name in enumerate(UPLOAD_FIELDS)}
_IN_WORDS: Final[Mapping[str, Callable[[float], str]]] = {
    "current": byte_size,
    "size": byte_size,
    "sent": byte_size,
    "rate": lambda rate: byte_rate(rate) or "0",
    "percentage": lambda percentage: f"{percentage:.0f}%",
}

TIME: Final = Column("time", "Time", 8, 12, rank=1, share=1)
CLUSTER_TIME: Final = Column("cluster", "Cluster time", 13, 18, rank=1, share=1)
SIGN: Final = Column("sign", "", 1, 1, rank=0)
OPERATION: Final = Column("operation", "Event", 7, 13, rank=4, share=1)
NAMESPACE: Final = Column("namespace", "Namespace", 12, 40, rank=5, share=2, cut=Cut.START)
DOCUMENT: Final = Column("document", "Document", 12, 40, rank=2, share=3, cut=Cut.ALIKE)
CHANGES: Final = Column("changes", "Changed", 24, 2_000, rank=0, share=8)

# After the time.
ONE_NAMESPACE: Final = (SIGN, OPERATION, DOCUMENT, CHANGES)
SEVERAL_NAMESPACES: Final = (SIGN, OPERATION, NAMESPACE, DOCUMENT, CHANGES)

SIGNS: Final[Mapping[str, tuple[str, Tone]]] = {
    "insert": ("+", Tone.GOOD),
    "update": ("~", Tone.ACCENT),
    "replace": ("=", Tone.WARNING),
    "delete": ("-", Tone.BAD),
}
# Collections, databases and the stream itself.
_OTHER: Final = ("#", Tone.WARNING)
NOTICE_SIGNS: Final[Mapping[str, tuple[str, Tone]]] = {
    "connected": ("●", Tone.GOOD),
    "snapshot": ("●", Tone.GOOD),
    "reconnecting": ("◌", Tone.WARNING),
    "ended": ("■", Tone.WARNING),
    "gap": ("!", Tone.BAD),
}

DROPPED: Final = "This event is no longer in the log: newer ones have taken its room."


def operation_sign(event: ChangeEvent) -> tuple[str, Tone]:
    """The sign of an event's operation, and its tone."""
    return SIGNS.get(event.operation, _OTHER)


def notice_spans(notice: Notice) -> list[Span]:
    """A line that is no event: time, sign, word, and what there is to say."""
    sign, tone = NOTICE_SIGNS.get(notice.kind, ("!", Tone.WARNING))
    return [
        Span(f"{local_time(notice.at):%H:%M:%S}", Tone.MUTED),
        Span(f" {sign} {notice.kind}", tone),
        Span(f"  {visible(notice.text)}"),
    ]


def event_time(event: ChangeEvent) -> datetime | None:
    """When it happened, in the zone of whoever looks."""
    return local_time(event.time) if event.time is not None else None


def local_time(moment: datetime) -> datetime:
    """A time in the zone of whoever looks; as it is where that would be before year 1 or after 9999."""
    try:
        return moment.astimezone()
    except (ValueError, OverflowError, OSError):
        return moment


def cluster_time_text(event: ChangeEvent) -> str:
    """The time that orders events of the deployment, as its seconds since 1970 and the number within the second."""
    return value_text(event.cluster_time) if event.cluster_time is not None else ""


def document_name(event: ChangeEvent) -> str:
    """The name people know a document by: its file's, else its key."""
    for image in (event.after, event.before):
        name = image.get("filename") if image is not None else None
        if isinstance(name, str) and name:
            return visible(name)
    if event.document_key is None:
        return ""
    if len(event.document_key) == 1:
        return value_text(event.document_id, 80)
    return value_text(event.document_key, 80)


def event_cell(event: ChangeEvent, column: str, width: int) -> Sequence[Span]:
    """The content of one cell but the changes, which are `changes_spans` (they are worth keeping)."""
    match column:
        case "time":
            moment = event_time(event)
            if moment is None:
                return [Span("")]
            milliseconds = f".{moment.microsecond // 1000:03d}" if width >= 12 else ""
            return [Span(f"{moment:%H:%M:%S}{milliseconds}", Tone.MUTED)]
        case "cluster":
            return [Span(cluster_time_text(event), Tone.MUTED)]
        case "sign":
            return [Span(*operation_sign(event))]
        case "operation":
            return [Span(visible(event.operation), operation_sign(event)[1])]
        case "namespace":
            return [Span(visible(event.namespace), Tone.MUTED)]
        case "document":
            return [Span(document_name(event))]
    return [Span("")]


def changes_spans(event: ChangeEvent) -> list[Span]:
    """What changed: each field's name muted, its values not; those of an upload in the order in which they matter."""
    spans = list(_field_spans(event)) if event.operation in ("update", "replace") else []
    return spans or [Span(summary(event, SUMMARY_CELLS), Tone.MUTED)]


def _field_spans(event: ChangeEvent) -> Iterator[Span]:
    room = SUMMARY_CELLS
    found: Iterable[FieldChange] = changes(event)
    if is_upload := any(image is not None and "percentage" in image for image in (event.after, event.before)):
        found = sorted(found, key=lambda change: _RANKS.get(str(change.path[0]) if change.path else "", len(_RANKS)))
    for number, change in enumerate(found):
        if room <= 0:
            return
        text = (_upload_text(change) if is_upload else None) or change.text()
        path, blank, values = text.partition(" ")
        yield Span(f"{'  ' if number else ''}{path}{blank}", Tone.MUTED)
        yield Span(values)
        room -= cell_len(text) + 2


def _upload_text(change: FieldChange) -> str | None:
    """A number of an upload's as people read it; exact ones are in the detail."""
    name = str(change.path[0]) if len(change.path) == 1 else ""
    in_words, numbers = _IN_WORDS.get(name), (change.before, change.after)
    if in_words is None or not all(type(number) in (int, Int64, float) and isfinite(number) for number in numbers):
        return None
    return f"{name} {in_words(change.before)}→{in_words(change.after)}"


KEPT: Final = 500
# A slice of looking at older entries: keys are served between slices, so it is short however large events are.
SLICE_SECONDS: Final = 0.015
_STEP: Final = 20


class LogRows(RowSource):
    """A filtered view of the buffer; the key of a row is the number of its entry, which never changes."""

    def __init__(self, capacity: int = CAPACITY, *, hides_progress: bool = False) -> None:
        self.buffer: EventBuffer[Notice] = EventBuffer(capacity)
        self.filter = Filter()
        self.hides_progress = hides_progress
        self._view = self.buffer.view(self._passing)
        self._held_at: int | None = None
        self.shows_cluster_time = False
        self._entries: dict[int, Entry] = {}
        self._spans: dict[int, list[Span]] = {}

    # ---- what comes in

    def add(self, items: Iterable[FeedItem], now: datetime) -> None:
        """Take in what a feed brought: events, and notices of the rest."""
        self.buffer.append(
            item if isinstance(item, ChangeEvent) else _notice(item, now)
            for item in items
            if not isinstance(item, Lookup)  # only for who shows documents
        )

    # ---- what is shown of it

    @property
    def is_held(self) -> bool:
        return self._held_at is not None

    def hold(self, held: bool) -> None:
        """Stand still, while the buffer goes on; or go on."""
        self._held_at = self.buffer.total if held else None

    def select(self, wanted: Filter) -> None:
        """Show what passes this filter; older entries are looked at by `scan`."""
        self.filter = wanted
        self._view = self.buffer.view(self._passing)
        self.scan()

    @property
    def _passing(self) -> Filter:
        return self.filter + WITHOUT_PROGRESS if self.hides_progress else self.filter

    @property
    def hidden_progress(self) -> int:
        """How many events are not shown because they tell of progress alone, as far as they were looked at."""
        return len(self.buffer) - len(self._view) - self._view.unseen if self.hides_progress and not self.filter else 0

    def scan(self) -> int:
        """Look at a slice of the entries that came before the filter. Returns how many are still unseen."""
        ends = monotonic() + SLICE_SECONDS
        while (unseen := self._view.scan(_STEP)) and monotonic() < ends:
            pass
        return unseen

    @property
    def unseen(self) -> int:
        """How many entries that came before the filter have still to be looked at."""
        return self._view.unseen if self._passing else 0

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
        return self._view[index]

    def index_of(self, key: Key) -> int | None:
        if not isinstance(key, int):
            return None
        place = self._view.position(key)
        return place if place < len(self) and self._view[place] == key else None

    def entry(self, number: int) -> Entry:
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
        entry = self.entry(self._view[index])
        return notice_spans(entry) if isinstance(entry, Notice) else None

    def empty_text(self) -> str:
        return "no event passes the filter" if self.filter else "no events yet"

    def cell(self, index: int, column: str, width: int) -> Sequence[Span]:
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


class HistoryRows(RowSource):
    """Events by their numbers in the buffer; only those on the screen are unpacked."""

    columns: Sequence[Column] = (TIME, SIGN, OPERATION, CHANGES)

    def __init__(self, buffer: EventBuffer[Notice], numbers: Sequence[int]) -> None:
        self._buffer = buffer
        self._numbers = [number for number in numbers if number in buffer]

    def __len__(self) -> int:
        return len(self._numbers)

    def key(self, index: int) -> Key:
        return self._numbers[index]

    def index_of(self, key: Key) -> int | None:
        return self._numbers.index(key) if key in self._numbers else None

    def empty_text(self) -> str:
        return "this event is not about one document"

    def cell(self, index: int, column: str, width: int) -> Sequence[Span]:
        number = self._numbers[index]
        if number not in self._buffer:
            return [Span("")]
        event = self._buffer[number]
        if not isinstance(event, ChangeEvent):
            return [Span("")]
        return changes_spans(event) if column == "changes" else event_cell(event, column, width)
