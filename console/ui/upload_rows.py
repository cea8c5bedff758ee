"""The uploads that the table holds, kept up to date by the change feed.

Owns which documents are held, their order, and the text filter. Pure: feed items go in, rows come out; applying an item
twice does no harm. Not here: how a row looks (`upload_cells`), keys and messages (`uploads`).

The collection may have a hundred thousand documents; the table holds a window. Waiting and finished uploads are held
from the beginning of their order to a frontier; documents after it come by pages, as the cursor gets there.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final

from bson import ObjectId

from console.events.event import ChangeEvent
from console.events.feed_items import SNAPSHOT_WINDOW, FeedItem, Snapshot
from console.models import UnreadableUpload, Upload, UploadStatus, read_upload
from console.ui.backend import Document, PageGroup, PageQuery
from console.ui.upload_order import FINISHED, RANK_WORDS, WAITING, Order, Row, newest, order_of, row_key

CAPACITY: Final = 5_000
PAGE: Final = 500
WAITING_RESERVE: Final = 200

_GROUPS: Final[Mapping[PageGroup, int]] = {PageGroup.WAITING: WAITING, PageGroup.FINISHED: FINISHED}
# The collection as a whole is gone, or is another one.
_ENDS: Final = frozenset({"drop", "dropDatabase", "rename", "invalidate"})


class UploadRows:
    """The window of documents, in order, filtered."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self.capacity = capacity
        self.text = ""
        self._documents: dict[Hashable, Document] = {}
        self._rows: dict[Hashable, Row] = {}
        self._orders: dict[Hashable, Order] = {}
        self._frontiers: dict[int, Order] = {}
        self._found: set[Hashable] = set()
        self._uploading: dict[Hashable, Upload] = {}
        self._view: list[Hashable] = []
        self._places: dict[Hashable, int] = {}
        self._stale = False

    # ---- what the table shows

    def __len__(self) -> int:
        return len(self._sorted())

    def key(self, index: int) -> Hashable:
        """The key of the row at that place."""
        return self._sorted()[index]

    def index_of(self, key: Hashable) -> int | None:
        """Where that row is, None where it is not shown."""
        self._sorted()
        return self._places.get(key)

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

    def filter(self, text: str) -> None:
        """Show only rows that have every word of `text` in name, destination, host, status or error."""
        self.text = text
        self._stale = True
        if not text:
            found, self._found = self._found, set()
            for key in found:
                row = self._rows.get(key)
                if row is not None and self._behind_frontier(order_of(row)):
                    self._forget(key)

    # ---- what the feed and the pages bring

    def apply_all(self, items: Sequence[FeedItem]) -> None:
        """Take over what came together: of several states of a document only the last is read."""
        for item in newest(items):
            self.apply(item)

    def apply(self, item: FeedItem) -> None:
        """Take over a snapshot or an event; whatever else a feed hands over changes no row."""
        if isinstance(item, Snapshot):
            self._replace(item.documents)
        elif isinstance(item, ChangeEvent):
            self._apply_event(item)

    def extend(self, query: PageQuery, documents: list[Document]) -> None:
        """Take over a page, the answer to a query that `wanted_page` or `wanted_matches` gave."""
        rank = _GROUPS[query.group]
        frontier = self._frontiers.get(rank)
        if query.text:
            self._found.update(row_key(document.get("_id")) for document in documents)
        else:
            self._frontiers.pop(rank, None)
        held = len(self._rows)
        for document in documents:
            if row_key(document.get("_id")) not in self._rows:
                self._put(document)
        # A page that brought nothing new cannot be followed by another: there is nothing to continue after.
        if not query.text and len(documents) >= query.limit and len(self._rows) > held:
            self._set_frontier(rank)
        elif query.text and frontier is not None:
            self._frontiers[rank] = frontier

    def wanted_page(self, cursor: int) -> PageQuery | None:
        """The query for what is missing near the cursor, None where all is there that could be seen."""
        self._sorted()
        for group, rank in _GROUPS.items():
            frontier = self._frontiers.get(rank)
            if frontier is None or self.text:
                continue
            at_end = cursor >= len(self._view) - WAITING_RESERVE // 2
            if at_end or (group is PageGroup.WAITING and self._count(rank) < WAITING_RESERVE):
                return PageQuery(group, self._after(rank), limit=PAGE)
        return None

    def wanted_matches(self) -> list[PageQuery]:
        """Queries for rows after the frontiers that match the filter."""
        if not self.text:
            return []
        return [
            PageQuery(group, self._after(rank), self.text, PAGE)
            for group, rank in _GROUPS.items()
            if rank in self._frontiers
        ]

    # ---- inside

    def _count(self, rank: int) -> int:
        return sum(order[0] == rank for order in self._orders.values())

    def _replace(self, documents: Sequence[Document]) -> None:
        for held in (self._documents, self._rows, self._orders, self._frontiers, self._found, self._uploading):
            held.clear()
        counts = dict.fromkeys(_GROUPS.values(), 0)
        for document in documents:
            self._put(document)
            rank = RANK_WORDS.get(document.get("status"))
            if rank in counts:
                counts[rank] += 1
        for rank, count in counts.items():
            if count >= SNAPSHOT_WINDOW:
                self._set_frontier(rank)
        self._stale = True

    def _set_frontier(self, rank: int) -> None:
        """More of that group may follow the last one held."""
        orders = [order for order in self._orders.values() if order[0] == rank]
        if orders:
            self._frontiers[rank] = max(orders)

    def _apply_event(self, event: ChangeEvent) -> None:
        if event.operation in _ENDS:
            self._replace([])
        elif event.document_key is None:
            return
        elif event.operation == "delete":
            self._forget(row_key(event.document_id))
        elif event.after is not None:
            self._put(event.after)
        elif event.operation == "update":
            self._patch(event)

    def _patch(self, event: ChangeEvent) -> None:
        """An update without its post-image, on what is held; the next image makes good what cannot be patched."""
        document = self._documents.get(row_key(event.document_id))
        if document is None or event.update is None:
            return
        fields = dict(document)
        for path, value in (event.update.get("updatedFields") or {}).items():
            name, *inner = path.split(".")
            if inner and isinstance(fields.get(name), Mapping) and len(inner) == 1:
                fields[name] = {**fields[name], inner[0]: value}
            elif not inner:
                fields[name] = value
        for path in event.update.get("removedFields") or ():
            fields.pop(path, None)
        self._put(fields)

    def _put(self, document: Document) -> None:
        key = row_key(document.get("_id"))
        row = read_upload(document)
        order = order_of(row)
        if key not in self._found and self._behind_frontier(order):
            self._forget(key)
            return
        shown_anew = self._orders.get(key) != order or bool(self.text)
        self._documents[key], self._rows[key], self._orders[key] = document, row, order
        if isinstance(row, Upload) and row.status is UploadStatus.UPLOADING:
            self._uploading[key] = row
        else:
            self._uploading.pop(key, None)
        self._stale = self._stale or shown_anew
        if len(self._rows) > self.capacity + PAGE:
            self._shrink()

    def _forget(self, key: Hashable) -> None:
        if self._rows.pop(key, None) is not None:
            self._stale = True
        self._documents.pop(key, None)
        self._orders.pop(key, None)
        self._uploading.pop(key, None)
        self._found.discard(key)

    def _behind_frontier(self, order: Order) -> bool:
        frontier = self._frontiers.get(int(order[0]))
        return frontier is not None and order > frontier

    def _shrink(self) -> None:
        """Let go of the end of the longer of the two long groups."""
        surplus = len(self._rows) - self.capacity
        by_rank = {
            rank: sorted((order, key) for key, order in self._orders.items() if order[0] == rank)
            for rank in _GROUPS.values()
        }
        rank, members = max(by_rank.items(), key=lambda entry: len(entry[1]))
        kept = max(1, len(members) - surplus)
        if kept >= len(members):
            return
        for _, key in members[kept:]:
            self._forget(key)
        self._frontiers[rank] = members[kept - 1][0]

    def _after(self, rank: int) -> tuple[int, datetime, ObjectId] | tuple[datetime | None, ObjectId] | None:
        frontier = self._frontiers.get(rank)
        last = next((row for key, row in self._rows.items() if self._orders[key] == frontier), None)
        if not isinstance(last, Upload):
            return None
        if rank == WAITING:
            return (last.priority, last.created_at, last.id)
        return (last.finished_at, last.id)

    def _sorted(self) -> list[Hashable]:
        if self._stale:
            words = self.text.casefold().split()
            keys = [key for key, row in self._rows.items() if matches(row, words)] if words else list(self._rows)
            self._view = sorted(keys, key=self._orders.__getitem__)
            self._places = {key: place for place, key in enumerate(self._view)}
            self._stale = False
        return self._view


def matches(row: Row, words: Iterable[str]) -> bool:
    """Whether a row has all of the (case-folded) words."""
    if isinstance(row, UnreadableUpload):
        text = f"{row.id} {row.problem} unreadable"
    else:
        code = row.error.code if row.error is not None else ""
        text = "\n".join((row.path, row.destination, row.host, row.status, row.source, code))
    return all(map(text.casefold().__contains__, words))
