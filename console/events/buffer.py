"""The last events of a stream in bounded memory, with filtered views and the history of each document.

Owns what is kept of an event (its BSON, compressed: one event is nearly the same bytes as those before it), numbering,
dropping the oldest, and views that grow with the buffer. Which events pass is in `filter`; drawing is the
screen's.

Every entry has a number for ever, from 0 in the order of arrival; positions shift as the oldest are dropped, numbers
never do. For one thread.
"""

from __future__ import annotations

import sys
import zlib
from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar
from weakref import WeakSet

import bson
from bson.errors import BSONError

from console.bson_decoding import EVENT_CODEC
from console.events.bson_values import fingerprint
from console.events.event import ChangeEvent
from console.events.filter import Filter

CAPACITY: Final = 100_000
MAX_BYTES: Final = 96 * 1024 * 1024
_ENTRY_BYTES: Final = 300  # what an entry costs besides its BSON: objects, indexes
# A large one is in memory several times while it comes, and what it took then is not all given back.
_LARGE_BYTES: Final = 8 * 1024
_LARGE_COSTS: Final = 4
_NOT_BSON: Final = b"\xff"
# Each event is compressed with some that came before it as the dictionary, which is chosen anew after so many.
_SAMPLE_EVENTS: Final = 8
_SAMPLE_BYTES: Final = 16 * 1024
_SAMPLE_LASTS: Final = 1_000

N = TypeVar("N")  # lines of the log that are no events: gaps, lost connections; every filter lets them pass


class EventBuffer(Generic[N]):
    """At most `capacity` entries, and at most about `max_bytes` of memory; the oldest go first, and are counted."""

    def __init__(self, capacity: int = CAPACITY, max_bytes: int = MAX_BYTES) -> None:
        self._capacity = max(1, capacity)
        self._max_bytes = max_bytes
        self._bytes = 0
        self._entries: deque[_Kept | _Line[N]] = deque()
        self._first = 0
        self._latest: dict[bytes, int] = {}
        self._views: WeakSet[BufferView[N]] = WeakSet()
        self._packer = _Packer()
        self.namespaces: set[str] = set()

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def first(self) -> int:
        """The number of the oldest entry held, which is how many were dropped."""
        return self._first

    @property
    def total(self) -> int:
        """How many entries ever came; the number that the next one gets."""
        return self._first + len(self._entries)

    def append(self, entries: Iterable[ChangeEvent | N]) -> None:
        """Take entries in; costs the same however many are held."""
        for entry in entries:
            kept = self._keep(entry) if isinstance(entry, ChangeEvent) else _Line(entry)
            number = self.total
            self._entries.append(kept)
            self._bytes += kept.size
            for view in self._views:
                view._appended(number, entry)
            while len(self._entries) > self._capacity or (self._bytes > self._max_bytes and len(self._entries) > 1):
                self._let_go()

    def __contains__(self, number: int) -> bool:
        return self._first <= number < self.total

    def __getitem__(self, number: int) -> ChangeEvent | N:
        """The entry of that number. Raises KeyError where it is not held (any more)."""
        return self._entry(number).unpacked()

    def view(self, wanted: Filter) -> BufferView[N]:
        """A view of what passes; it grows with the buffer, and looks at what is held already when it is scanned."""
        view = BufferView(self, wanted)
        self._views.add(view)
        return view

    def history(self, event: ChangeEvent) -> list[int]:
        """The numbers of all events held of the same document, oldest first; empty for an event of no document."""
        identity = _identity(event)
        latest = self._latest.get(identity) if identity is not None else None
        return [] if latest is None else [*self._chain(latest)][::-1]

    def _chain(self, number: int) -> Iterator[int]:
        while number >= self._first:
            yield number
            entry = self._entry(number)
            number = entry.previous if isinstance(entry, _Kept) else -1

    def _entry(self, number: int) -> _Kept | _Line[N]:
        if number not in self:
            raise KeyError(number)
        return self._entries[number - self._first]

    def _keep(self, event: ChangeEvent) -> _Kept:
        identity = _identity(event)
        namespace = sys.intern(event.namespace)
        self.namespaces.add(namespace)
        previous = -1
        if identity is not None:
            previous = self._latest.get(identity, -1)
            if previous >= 0:
                # The same object for all events of a document.
                before = self._entry(previous)
                identity = before.identity if isinstance(before, _Kept) else identity
            self._latest[identity or b""] = self.total
        packed, sample = self._packer.pack(event)
        return _Kept(packed, sample, sys.intern(event.operation), namespace, identity, previous)

    def _let_go(self) -> None:
        gone = self._entries.popleft()
        self._bytes -= gone.size
        if isinstance(gone, _Kept) and gone.identity is not None and self._latest.get(gone.identity) == self._first:
            del self._latest[gone.identity]
        self._first += 1
        for view in self._views:
            view._let_go(self._first)


class BufferView(Generic[N]):
    """The numbers of the entries that pass a filter, in order.

    What is in the buffer when the view is made is looked at by `scan`, newest first, in slices, so that the end of the
    log is there at once and a screen stays alive; what comes later is looked at as it comes.
    """

    def __init__(self, buffer: EventBuffer[N], wanted: Filter) -> None:
        self.filter = wanted
        self._buffer = buffer
        self._head, self._body = wanted.head(), wanted.body()
        self._numbers: deque[int] = deque()
        self._unseen_end = buffer.total if wanted else buffer.first

    def __len__(self) -> int:
        """How many entries pass, of those looked at."""
        return len(self._numbers) if self.filter else len(self._buffer)

    def __getitem__(self, position: int) -> int:
        """The number of the entry at a position from 0. Raises IndexError."""
        if self.filter:
            return self._numbers[position]
        return range(self._buffer.first, self._buffer.total)[position]

    def position(self, number: int) -> int:
        """The position of the first entry that passes with this number or a later one; the length if there is none."""
        if self.filter:
            return bisect_left(self._numbers, number)
        return min(max(0, number - self._buffer.first), len(self._buffer))

    @property
    def unseen(self) -> int:
        """How many entries `scan` has still to look at."""
        return max(0, self._unseen_end - self._buffer.first)

    def scan(self, most: int = 1_000) -> int:
        """Look at up to `most` older entries. Returns how many are still `unseen`."""
        for number in range(self._unseen_end - 1, max(self._unseen_end - most, self._buffer.first) - 1, -1):
            if self._passes(number, self._head, self._body):
                self._numbers.appendleft(number)
            self._unseen_end = number
        return self.unseen

    def search(self, wanted: Filter, start: int, *, backwards: bool = False, most: int = 1_000) -> Search:
        """Look for the next entry of the view that passes `wanted` too, after (or before) the number `start`."""
        head, body = wanted.head(), wanted.body()
        at = self.position(start) - 1 if backwards else self.position(start + 1)
        for _ in range(most):
            if not 0 <= at < len(self):
                return Search(None, None)
            number = self[at]
            if self._passes(number, head, body, notices=False):
                return Search(number, None)
            start = number
            at += -1 if backwards else 1
        return Search(None, start)

    def _passes(self, number: int, head: Filter, body: Filter, *, notices: bool = True) -> bool:
        entry = self._buffer._entry(number)
        if isinstance(entry, _Line):
            return notices
        return head.matches(entry) and (not body or body.matches(entry.unpacked()))

    def _appended(self, number: int, entry: ChangeEvent | N) -> None:
        if self.filter and (not isinstance(entry, ChangeEvent) or self.filter.matches(entry)):
            self._numbers.append(number)

    def _let_go(self, first: int) -> None:
        while self._numbers and self._numbers[0] < first:
            self._numbers.popleft()


@dataclass(frozen=True, slots=True)
class Search:
    """What a slice of a search found: a number, or where to go on from, or (neither) that there is no more."""

    number: int | None
    resume: int | None


@dataclass(frozen=True, slots=True)
class _Line(Generic[N]):
    """An entry that is no event, as it came."""

    line: N
    size = _ENTRY_BYTES

    def unpacked(self) -> N:
        return self.line


@dataclass(frozen=True, slots=True)
class _Kept:
    """What is kept of an event. `identity` is namespace, NUL and the BSON of the `_id`; `previous` the number of the
    event before of the same document, -1 for none. It is a `filter.Head`."""

    packed: bytes | ChangeEvent
    sample: bytes
    operation: str
    namespace: str
    identity: bytes | None
    previous: int

    @property
    def size(self) -> int:
        held = len(self.packed) if isinstance(self.packed, bytes) else len(repr(self.packed.raw))
        return _ENTRY_BYTES + (held if held <= _LARGE_BYTES else held * _LARGE_COSTS)

    @property
    def document_id(self) -> Any:
        bare = self.identity.partition(b"\0")[2] if self.identity is not None else None
        if bare is None or bare.startswith(_NOT_BSON):
            return self.unpacked().document_id
        return bson.decode(bare, EVENT_CODEC)[""]

    def unpacked(self) -> ChangeEvent:
        if isinstance(self.packed, ChangeEvent):
            return self.packed
        raw = zlib.decompressobj(zdict=self.sample).decompress(self.packed)
        return ChangeEvent.from_raw(bson.decode(raw, EVENT_CODEC))


def _identity(event: ChangeEvent) -> bytes | None:
    if event.document_key is None or "_id" not in event.document_key:
        return None
    return event.namespace.encode("utf-8", "backslashreplace") + b"\0" + fingerprint(event.document_id)


class _Packer:
    """Compresses events. Names of fields and most values are those of an event before: with some of these as the
    dictionary an event takes a fourth of the bytes, and half of the time."""

    def __init__(self) -> None:
        self._recent: deque[bytes] = deque(maxlen=_SAMPLE_EVENTS)
        self._sample = b""
        self._empty = zlib.compressobj(1)
        self._packed = self._lasts = 0

    def pack(self, event: ChangeEvent) -> tuple[bytes | ChangeEvent, bytes]:
        """What is kept of the event, and the dictionary that it is read with."""
        try:
            raw = bson.encode(event.raw)
        except (BSONError, UnicodeError, OverflowError, RecursionError):  # of a recording that somebody edited
            return event, b""
        if self._packed >= self._lasts and self._recent:
            self._choose_sample()
        self._packed += 1
        self._recent.append(raw[:_SAMPLE_BYTES])
        compressor = self._empty.copy()
        return compressor.compress(raw) + compressor.flush(), self._sample

    def _choose_sample(self) -> None:
        self._sample = b"".join(self._recent)[-_SAMPLE_BYTES:]
        self._empty = zlib.compressobj(1, zdict=self._sample)
        # The first ones are soon replaced: there is more to choose from.
        self._lasts = min(_SAMPLE_LASTS, 2 * self._packed + 1)
        self._packed = 0
