"""The uploads that the table holds, kept up to date by the change feed.

Owns which documents are held. Pure: feed items go in, rows come out; applying an item twice does no harm. Not here: in
what order they are shown (`held_uploads`), how a row looks (`upload_cells`), keys and messages (`uploads`).

The collection may have a hundred thousand documents; the table holds a window. Waiting and finished uploads are held
from the beginning of their order to a frontier; documents after it come by pages, as the cursor gets there. A filter
has its own pages, of what matches it.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Hashable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from math import inf
from typing import Final

from console.events.event import ChangeEvent
from console.events.feed_items import SNAPSHOT_WINDOW, FeedItem, Snapshot
from console.models import read_upload
from console.ui.backend import Document, PageGroup, PageQuery
from console.ui.frontiers import Frontiers, draw_back, is_near, last_frontier
from console.ui.held_uploads import HeldUploads, matches, patched
from console.ui.upload_order import FINISHED, WAITING, Order, Row, newest, order_of, rank_of_status, row_key

CAPACITY: Final = 5_000
PAGE: Final = 500
WAITING_RESERVE: Final = 200
# How many rows may be held only because the filter found them behind the frontiers.
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
        self._frontiers: Frontiers = {}
        # What matches the filter is held up to these, and behind the frontiers only because it does.
        self._matching: Frontiers = {}
        self._unasked: set[int] = set()
        self._found: set[Hashable] = set()
        # What the feed said of documents that are not held, while a page is under way that may have them as they were.
        self._missed: dict[Hashable, Document | None] | None = None
        self._looked_at: int | None = None
        self._least = 0

    @property
    def total(self) -> int:
        """How many uploads there are: those held, or where these are not all, as many as were counted."""
        return max(len(self._rows), self.counted) if self._frontiers else len(self._rows)

    def news_above(self, place: int) -> int:
        """How many of the rows before that place run, or are fresh."""
        self._sorted()
        return sum(self._places.get(key, place) < place for key in self.fresh | self._uploading.keys())

    def filter(self, text: str, marked: AbstractSet[Hashable] = frozenset()) -> None:
        """Show only rows that have every word of `text` in name, destination, host, status or error.

        What only the last filter found is let go, but for marked rows: keys shall still act on them.
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
        self._search_anew()

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

    def extend(self, query: PageQuery, documents: Sequence[Document]) -> None:
        """Take over a page, the answer to a query that `wanted_page` gave."""
        missed, self._missed = self._missed, None
        rank = _GROUPS[query.group]
        frontiers = self._matching if query.text else self._frontiers
        frontier = frontiers.get(rank)
        # (No page is awaited where a snapshot came meanwhile.)
        if missed is None or frontier is None or query.after != frontier.after or query.text not in ("", self.text):
            return  # the table has become another one since it asked
        # One may come twice, where its place in the order changed while the page was read.
        found = {row_key(document.get("_id")): document for document in documents}
        rows = {key: read_upload(document) for key, document in found.items()}
        following = last_frontier(rows.values(), rank) if len(documents) >= query.limit else None
        del frontiers[rank]
        if following is not None and following.order > frontier.order:
            frontiers[rank] = following
        for key, row in rows.items():
            if key not in self._rows:
                self._hold(key, row, found[key])
                if query.text:
                    self._found.add(key)
        if query.text:
            self._unasked.discard(rank)
        for key, newer in missed.items():
            if newer is None:
                self._forget(key)
            else:
                self._put(newer)
        self._keep_bounds()

    def wanted_page(self, cursor: int) -> PageQuery | None:
        """The query for what is missing near the cursor, None where all is there that could be seen.

        Whoever asks for it hands the answer to `extend`, and asks again only then.
        """
        view = self._sorted()
        self._missed = None
        self.is_cut = False
        rank_seen = int(self._place_of(view[cursor])[0]) if cursor < len(view) else FINISHED
        self._looked_at = max(rank_seen, WAITING) if rank_seen <= FINISHED else FINISHED
        for group, rank in _GROUPS.items():
            frontier = (self._matching if self._words else self._frontiers).get(rank)
            if frontier is None:
                continue
            edges: list[Order] = [(rank, -inf), (rank + 1, -inf)]
            start, group_end = (bisect_left(view, edge, key=self._place_of) for edge in edges)
            end = bisect_right(view, frontier.order, key=self._place_of)
            is_due = rank in self._unasked if self._words else rank == WAITING and end - start < WAITING_RESERVE
            if not is_due and not is_near(rank, cursor, end, group_end):
                continue
            if is_due or self._has_room(rank):
                # What comes is not cut again in favour of the other group; what starts next is wanted all the same.
                self._looked_at = self._looked_at if is_due else rank
                self._missed = {}
                return PageQuery(group, frontier.after, self.text if self._words else "", PAGE)
            self.is_cut = True
        return None

    # ---- inside

    def _place_of(self, key: Hashable) -> Order:
        return self._orders[key]

    def _count(self, rank: int) -> int:
        return sum(order[0] == rank for order in self._orders.values())

    def _replace(self, documents: Sequence[Document]) -> None:
        for held in (self._documents, self._rows, self._orders, self._uploading):
            held.clear()
        for told in (self._frontiers, self._found, self.fresh):
            told.clear()
        self._missed = None
        for document in documents:
            self._put(document)
        for rank in _GROUPS.values():
            if sum(rank_of_status(document.get("status")) == rank for document in documents) >= SNAPSHOT_WINDOW:
                draw_back(self._frontiers, rank, last_frontier(self._rows.values(), rank))
        self._search_anew()
        self._stale = True

    def _search_anew(self) -> None:
        self._matching = dict(self._frontiers)
        self._unasked = set(self._frontiers)

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
        frontier = self._frontiers.get(int(order[0]))
        return frontier is not None and order > frontier.order

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
            draw_back(self._matching, rank, self._frontiers[rank])
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
        frontier = last_frontier([self._rows[members[kept - 1][1]]], rank)
        for _, key in members[kept:]:
            self._forget(key)
        draw_back(self._frontiers, rank, frontier)
        if self._words:
            draw_back(self._matching, rank, frontier)
