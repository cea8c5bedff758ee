"""The uploads that the table holds: a window of the collection, kept up to date by the change feed.

The collection may have a hundred thousand documents. Running and paused uploads are all held; waiting and finished
ones from the beginning of their order to a bound, and those behind it come by pages as the cursor gets there. A
filter has its own pages. Order: running, paused, waiting as they will start, finished with the newest first,
unreadable. Pure: feed items go in, rows come out, and applying an item twice does no harm.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import UTC, datetime
from math import inf
from typing import Any, Final, TypeAlias

from bson import ObjectId

from console.bson_decoding import lean
from console.events.bson_values import fingerprint
from console.events.event import ChangeEvent
from console.events.feed_items import SNAPSHOT_WINDOW, FeedItem, Lookup, Snapshot
from console.models import UnreadableUpload, Upload, UploadStatus, read_upload
from console.ui.backend import Document, PageGroup, PageQuery
from console.upload_filter import asks_state, host_of, is_today, job_of, midnight, states_of

Row: TypeAlias = Upload | UnreadableUpload
Order: TypeAlias = tuple[float, ...]

RUNNING, PAUSED, WAITING, FINISHED, UNREADABLE = range(5)
_RANKS: Final[Mapping[UploadStatus, int]] = {
    UploadStatus.UPLOADING: RUNNING,
    UploadStatus.PAUSED: PAUSED,
    UploadStatus.PENDING: WAITING,
    UploadStatus.COMPLETED: FINISHED,
    UploadStatus.FAILED: FINISHED,
    UploadStatus.CANCELLED: FINISHED,
}
_WORDS: Final = frozenset(status.value for status in _RANKS)


def row_key(document_id: Any) -> Hashable:
    """An `_id` as a key: itself where it is one of ours, else its BSON. To Python 1 and true are the same key, two NaN
    are not, and a document is none."""
    return document_id if type(document_id) is ObjectId else fingerprint(document_id)


def rank_of_status(status: Any) -> int | None:
    """The group in which MongoDB finds a document with that `status`; None for what is no word of ours."""
    return _RANKS.get(UploadStatus(status)) if type(status) is str and status in _WORDS else None


def order_of(row: Row) -> Order:
    """Where a row stands: running, paused, waiting as they will start, finished with the newest first, unreadable."""
    if isinstance(row, UnreadableUpload):
        return (UNREADABLE, 0.0)
    rank = _RANKS[row.status]
    number = int.from_bytes(row.id.binary)
    if rank == WAITING:
        return (rank, -row.priority, _stamp(row.created_at), number)
    if rank == FINISHED:
        return (rank, -_stamp(row.finished_at), -number)
    return (rank, _stamp(row.started_at or row.created_at), number)


def _stamp(moment: datetime | None) -> float:
    if moment is None:
        return -math.inf
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()


def newest(items: Sequence[FeedItem]) -> list[FeedItem]:
    """The same items without states of a document that a later one of them replaces: only the last is worth reading."""
    wanted: list[FeedItem] = []
    newer: set[Hashable] = set()
    for item in reversed(items):
        if not isinstance(item, ChangeEvent) or item.document_key is None:
            newer.clear()  # a snapshot, or the end of the collection
        elif (key := row_key(item.document_id)) in newer:
            continue
        elif item.after is not None or item.operation == "delete":
            newer.add(key)
        wanted.append(item)
    return wanted[::-1]


SortValue: TypeAlias = tuple[float, str, str]


class HeldUploads:
    """Documents, in order, filtered."""

    def __init__(self) -> None:
        self.text = ""
        self._words: list[str] = []
        self._documents: dict[Hashable, Document] = {}
        self._rows: dict[Hashable, Row] = {}
        self._orders: dict[Hashable, Order] = {}
        self._uploading: dict[Hashable, Upload] = {}
        self._by: Callable[[Row], SortValue] | None = None
        self._is_descending = False
        self._ordered: list[Hashable] = []
        self._view: list[Hashable] = []
        self._places: dict[Hashable, int] = {}
        self._stale = False

    # ---- what the table shows

    def __len__(self) -> int:
        return len(self._shown())

    def key(self, index: int) -> Hashable:
        return self._shown()[index]

    def index_of(self, key: Hashable) -> int | None:
        self._shown()
        return self._places.get(key)

    def sort(self, by: Callable[[Row], SortValue] | None, *, descending: bool = False) -> None:
        """Show what is held in another order than that of the records; None for that one again."""
        self._by, self._is_descending = by, descending
        self._stale = True

    @property
    def is_sorted(self) -> bool:
        return self._by is not None

    def row(self, key: Hashable) -> Row | None:
        """The row with that key, shown or not."""
        return self._rows.get(key)

    def document(self, key: Hashable) -> Document | None:
        """The document as it was delivered."""
        return self._documents.get(key)

    def uploading(self) -> Iterable[Upload]:
        """Those that are being sent, in no order."""
        return self._uploading.values()

    def rows(self) -> Iterable[Row]:
        """All that is held, in no order."""
        return self._rows.values()

    @property
    def held(self) -> int:
        """How many documents are held, filtered out or not."""
        return len(self._rows)

    # ---- for those who know which documents to hold

    def _hold(self, key: Hashable, row: Row, document: Document) -> None:
        order = order_of(row)
        shown_again = self._orders.get(key) != order or bool(self.text) or self._by is not None
        self._documents[key], self._rows[key], self._orders[key] = document, row, order
        if isinstance(row, Upload) and row.status is UploadStatus.UPLOADING:
            self._uploading[key] = row
        else:
            self._uploading.pop(key, None)
        self._stale = self._stale or shown_again

    def _forget(self, key: Hashable) -> None:
        if self._rows.pop(key, None) is not None:
            self._stale = True
        self._documents.pop(key, None)
        self._orders.pop(key, None)
        self._uploading.pop(key, None)

    def _shown(self) -> list[Hashable]:
        self._sorted()
        return self._view

    def _sorted(self) -> list[Hashable]:
        """What is shown, in the order of the records."""
        if self._stale:
            words = self._words
            keys = [key for key, row in self._rows.items() if matches(row, words)] if words else list(self._rows)
            self._ordered = self._view = sorted(keys, key=self._orders.__getitem__)
            if (by := self._by) is not None:
                self._view = sorted(keys, key=lambda key: by(self._rows[key]), reverse=self._is_descending)
            self._places = {key: place for place, key in enumerate(self._view)}
            self._stale = False
        return self._ordered


def matches(row: Row, words: Iterable[str]) -> bool:
    """Whether a row has all of the (case-folded) words, or is what they say."""
    if isinstance(row, UnreadableUpload):
        text = f"{row.id} {row.problem} unreadable"
        return all(map(text.casefold().__contains__, words))
    code = row.error.code if row.error is not None else ""
    text = "\n".join((row.path, row.destination, row.host, row.status, row.source, code)).casefold()
    return all(_is_it(row, word) if ":" in word and asks_state(word) else word in text for word in words)


def _is_it(row: Upload, word: str) -> bool:
    if (states := states_of(word)) is not None:
        return row.status in states
    if is_today(word):
        return _stamp(row.updated_at) >= midnight().timestamp()
    if (job := job_of(word)) is not None:
        return row.batch == job
    return row.host.casefold() == host_of(word)


def patched(document: Document, update: Mapping[str, Any]) -> Document:
    """The document behind an update that came without its image; the next image makes good what cannot be patched."""
    fields = dict(document)
    for path, value in (update.get("updatedFields") or {}).items():
        name, *inner = path.split(".")
        if inner and isinstance(fields.get(name), Mapping) and len(inner) == 1:
            fields[name] = {**fields[name], inner[0]: value}
        elif not inner:
            fields[name] = value
    for path in update.get("removedFields") or ():
        fields.pop(path, None)
    return fields


# How near the last row before it the cursor comes before the rows behind it are asked for.
NEAR_ROWS: Final = 100

After: TypeAlias = tuple[int, datetime, ObjectId] | tuple[datetime | None, ObjectId]


@dataclass(frozen=True, slots=True)
class PageBound:
    """All rows of a group up to `order` are held; `after` asks for the others, as `PageQuery` has it."""

    order: Order
    after: After


PageBounds: TypeAlias = dict[int, PageBound]


def last_page_bound(rows: Iterable[Row], rank: int) -> PageBound | None:
    """The bound of a page at the last of these rows in the group; None where nothing can be asked for behind them."""
    placed = [(order_of(row), row) for row in rows if isinstance(row, Upload)]
    order, row = max(
        (entry for entry in placed if entry[0][0] == rank), key=lambda entry: entry[0], default=(None, None)
    )
    if order is None or row is None:
        return None
    return PageBound(order, _after(row, rank))


def _after(row: Upload, rank: int) -> After:
    if rank == WAITING:
        return (row.priority, row.created_at, row.id)
    return (row.finished_at, row.id)


def draw_back(page_bounds: PageBounds, rank: int, page_bound: PageBound | None) -> None:
    """No more than up to there is held any longer."""
    held = page_bounds.get(rank)
    if page_bound is not None and (held is None or page_bound.order < held.order):
        page_bounds[rank] = page_bound


def is_near(rank: int, cursor: int, end: int, group_end: int) -> bool:
    """Whether the rows behind the bound of a page (its last row is before `end`) could soon be seen from the cursor.

    What follows the finished ones is the end of the table; a cursor far in what follows the waiting ones is elsewhere.
    """
    return cursor >= end - NEAR_ROWS and (rank == FINISHED or cursor < group_end + NEAR_ROWS)


CAPACITY: Final = 5_000
PAGE: Final = 500
WAITING_RESERVE: Final = 200
# How many rows may be held only because the filter found them behind the bounds of the pages.
MOST_FOUND: Final = 2_000

_GROUPS: Final[Mapping[PageGroup, int]] = {PageGroup.WAITING: WAITING, PageGroup.FINISHED: FINISHED}
# The collection as a whole is gone, or is another one.
_ENDS: Final = frozenset({"drop", "dropDatabase", "rename", "invalidate"})


class UploadRows(HeldUploads):
    """The window of documents."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        super().__init__()
        self.capacity = capacity
        self.is_cut = False  # more follows what is seen, and there is no room for it
        self.counted = 0  # how many the collection has, as far as somebody counted them
        # What the feed brought since the table was last looked at from its beginning.
        self.fresh: set[Hashable] = set()
        self._page_bounds: PageBounds = {}
        # What matches the filter is held up to these, and behind the bounds of the pages only because it does.
        self._matching: PageBounds = {}
        self._unasked: set[int] = set()
        self._found: set[Hashable] = set()
        # What the feed said of documents that are not held, while a page is under way that may have them as they were.
        self._missed: dict[Hashable, Document | None] | None = None
        self._looked_at: int | None = None
        self._least = 0

    @property
    def total(self) -> int:
        """How many uploads there are: those held, or where these are not all, as many as were counted."""
        return max(len(self._rows), self.counted) if self._page_bounds else len(self._rows)

    @property
    def is_searching(self) -> bool:
        """Whether more may match the filter than what is held: nobody has looked yet."""
        return bool(self._words and self._unasked)

    def news_above(self, place: int) -> int:
        """How many of the rows before that place run, or are fresh."""
        self._sorted()
        return sum(self._places.get(key, place) < place for key in self.fresh | self._uploading.keys())

    def filter(self, text: str, marked: AbstractSet[Hashable] = frozenset()) -> None:
        """Show only rows that have every word of `text` in name, destination, host, status or error.

        What only the last filter found is dropped, but for marked rows: keys shall still act on them.
        """
        self.text, self._words = text, text.casefold().split()
        self._stale = True
        found, self._found = self._found, set()
        for key in found - marked:
            if not self._is_behind(self._orders[key]):
                continue
            # A few stay while somebody types, so that the table does not flicker; many are asked for again.
            if self._words and len(found) <= PAGE and matches(self._rows[key], self._words):
                self._found.add(key)
            else:
                self._forget(key)
        self._search_again()

    # ---- what the feed and the pages bring

    def apply_all(self, items: Sequence[FeedItem]) -> None:
        """Take over what came together: of several states of a document only the last is read."""
        for item in newest(items):
            self.apply(item)

    def apply(self, item: FeedItem) -> None:
        """Take over a snapshot or an event; whatever else a feed hands over changes no row."""
        if isinstance(item, Snapshot):
            self._replace(item.documents)
        elif isinstance(item, Lookup):
            for document in item.documents:
                self._put(document)
        elif isinstance(item, ChangeEvent):
            self._apply_event(item)

    def extend(self, query: PageQuery, documents: Sequence[Document]) -> None:
        """Take over a page, the answer to a query that `wanted_page` gave."""
        missed, self._missed = self._missed, None
        # No page is awaited where a snapshot came meanwhile.
        if missed is None or not self._still_wants(query):
            return
        # One may come twice, where its place in the order changed while the page was read.
        found = {row_key(document.get("_id")): document for document in documents}
        rows = {key: read_upload(document) for key, document in found.items()}
        self._move_bound(query, rows.values(), is_full=len(documents) >= query.limit)
        for key, row in rows.items():
            if key not in self._rows:
                self._hold(key, row, found[key])
                if query.text:
                    self._found.add(key)
        for key, newer in missed.items():
            if newer is None:
                self._forget(key)
            else:
                self._put(newer)
        self._keep_bounds()

    def _still_wants(self, query: PageQuery) -> bool:
        """Whether the table is still the one that asked."""
        page_bound = self._bounds_of(query.text).get(_GROUPS[query.group])
        return page_bound is not None and query.after == page_bound.after and query.text in ("", self.text)

    def _move_bound(self, query: PageQuery, rows: Iterable[Row], *, is_full: bool) -> None:
        """Move the bound that was asked at to the end of the page, or take it away where nothing follows."""
        rank = _GROUPS[query.group]
        page_bounds = self._bounds_of(query.text)
        page_bound = page_bounds.pop(rank)
        following = last_page_bound(rows, rank) if is_full else None
        if following is not None and following.order > page_bound.order:
            page_bounds[rank] = following
        if query.text:
            self._unasked.discard(rank)

    def _bounds_of(self, text: str) -> PageBounds:
        return self._matching if text else self._page_bounds

    def wanted_page(self, cursor: int) -> PageQuery | None:
        """The query for what is missing near the cursor, None where all is there that could be seen.

        Whoever asks for it hands the answer to `extend`, and asks again only then.
        """
        view = self._sorted()
        if self.is_sorted:
            cursor = len(view)  # what is not held yet may come before all others
        self._missed = None
        self.is_cut = False
        self._looked_at = self._group_at(view, cursor)
        for group, rank in _GROUPS.items():
            page_bound = (self._matching if self._words else self._page_bounds).get(rank)
            if page_bound is None:
                continue
            is_due, is_seen_soon = self._need(view, cursor, rank, page_bound)
            if is_due or (is_seen_soon and self._has_room(rank)):
                # What comes is not cut again in favour of the other group; what starts next is wanted all the same.
                self._looked_at = self._looked_at if is_due else rank
                self._missed = {}
                return PageQuery(group, page_bound.after, self.text if self._words else "", PAGE)
            self.is_cut = self.is_cut or is_seen_soon
        return None

    # ---- inside

    def _group_at(self, view: Sequence[Hashable], cursor: int) -> int:
        """The long group that is seen at the cursor, or the one nearest to it."""
        rank = int(self._place_of(view[cursor])[0]) if cursor < len(view) else FINISHED
        return max(rank, WAITING) if rank <= FINISHED else FINISHED

    def _need(self, view: Sequence[Hashable], cursor: int, rank: int, page_bound: PageBound) -> tuple[bool, bool]:
        """Whether more of a group is due wherever the cursor is, and whether it could soon be seen from there."""
        edges: list[Order] = [(rank, -inf), (rank + 1, -inf)]
        start, group_end = (bisect_left(view, edge, key=self._place_of) for edge in edges)
        end = bisect_right(view, page_bound.order, key=self._place_of)
        is_due = rank in self._unasked if self._words else rank == WAITING and end - start < WAITING_RESERVE
        return is_due, is_near(rank, cursor, end, group_end)

    def _place_of(self, key: Hashable) -> Order:
        return self._orders[key]

    def _count(self, rank: int) -> int:
        return sum(order[0] == rank for order in self._orders.values())

    def _replace(self, documents: Sequence[Document]) -> None:
        for held in (self._documents, self._rows, self._orders, self._uploading):
            held.clear()
        for told in (self._page_bounds, self._found, self.fresh):
            told.clear()
        self._missed = None
        for document in documents:
            self._put(document)
        for rank in _GROUPS.values():
            if sum(rank_of_status(document.get("status")) == rank for document in documents) >= SNAPSHOT_WINDOW:
                draw_back(self._page_bounds, rank, last_page_bound(self._rows.values(), rank))
        self._search_again()
        self._stale = True

    def _search_again(self) -> None:
        self._matching = dict(self._page_bounds)
        self._unasked = set(self._page_bounds)

    def _apply_event(self, event: ChangeEvent) -> None:
        if event.operation in _ENDS:
            self._replace([])
        elif event.document_key is None:
            return
        elif event.operation == "delete":
            self._forget(row_key(event.document_id))
            self._miss(row_key(event.document_id), None)
        elif event.after is not None:
            key = row_key(event.document_id)
            is_new = key not in self._rows
            self._put(event.after)
            if is_new and key in self._rows:
                self.fresh.add(key)
        elif event.operation == "update":
            document = self._documents.get(row_key(event.document_id))
            if document is not None and event.update is not None:
                self._put(patched(document, event.update))

    def _put(self, document: Document) -> None:
        document = lean(document)
        key = row_key(document.get("_id"))
        row = read_upload(document)
        # A row that is held stays, wherever it goes: keys act on rows that somebody sees or has marked.
        if key not in self._rows and self._is_left_to_pages(key, row):
            self._miss(key, document)
            return
        if self._missed is not None:
            self._missed.pop(key, None)
        self._hold(key, row, document)
        self._keep_bounds()

    def _forget(self, key: Hashable) -> None:
        super()._forget(key)
        self._found.discard(key)
        self.fresh.discard(key)

    def _miss(self, key: Hashable, document: Document | None) -> None:
        if self._missed is not None:
            self._missed[key] = document

    def _is_behind(self, order: Order) -> bool:
        page_bound = self._page_bounds.get(int(order[0]))
        return page_bound is not None and order > page_bound.order

    def _is_left_to_pages(self, key: Hashable, row: Row) -> bool:
        """Whether a document is not to be held, or not yet: it comes with its page."""
        order = order_of(row)
        if not self._is_behind(order):
            return False
        rank = int(order[0])
        searched = self._matching.get(rank)
        if not self._words or (searched is not None and order > searched.order) or not matches(row, self._words):
            return True
        if len(self._found) >= MOST_FOUND:
            draw_back(self._matching, rank, self._page_bounds[rank])
            return True
        self._found.add(key)
        return False

    @property
    def _others(self) -> int:
        """How many are held for another reason than the filter."""
        return len(self._rows) - len(self._found)

    def _has_room(self, rank: int) -> bool:
        """Whether a page more of a group can be held, where the other one is cut for it."""
        if self._words:
            return len(self._found) + PAGE <= MOST_FOUND
        spare = sum(max(0, self._count(other) - WAITING_RESERVE) for other in _GROUPS.values() if other != rank)
        return self._others - spare <= self.capacity

    def _keep_bounds(self) -> None:
        if self._others > max(self.capacity, self._least) + PAGE:
            self._shrink()

    def _shrink(self) -> None:
        """Let go of the ends of the long groups: first of the one that nobody looks at, else of the longer one."""
        for rank in sorted(_GROUPS.values(), key=lambda rank: (rank == self._looked_at, -self._count(rank))):
            if rank != self._looked_at or self._others > self.capacity + PAGE:
                self._cut(rank, self._others - self.capacity)
        # What cannot be cut (what runs, what is paused) is not tried again with every document.
        self._least = self._others

    def _cut(self, rank: int, surplus: int) -> None:
        members = sorted(
            (order, key) for key, order in self._orders.items() if order[0] == rank and key not in self._found
        )
        kept = max(WAITING_RESERVE, len(members) - max(0, surplus))
        if kept >= len(members):
            return
        page_bound = last_page_bound([self._rows[members[kept - 1][1]]], rank)
        for _, key in members[kept:]:
            self._forget(key)
        draw_back(self._page_bounds, rank, page_bound)
        if self._words:
            draw_back(self._matching, rank, page_bound)
