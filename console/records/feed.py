"""The change feed: one change stream, read in a thread of its own, handed over in batches.

Owns the start (snapshot, then stream, without a hole), resuming behind the last token, and telling of gaps and of
the connection's state. Not here: what an event means (`events`) or what is drawn of it.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from bson import Timestamp
from pymongo import MongoClient
from pymongo.change_stream import ChangeStream
from pymongo.client_session import ClientSession
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import OperationFailure, PyMongoError

from console.events.event import ChangeEvent
from console.events.feed_items import FeedItem, FeedState, Gap, Snapshot
from console.records.connection import (
    AUTHENTICATION_FAILED,
    NOT_A_REPLICA_SET,
    UNAUTHORIZED,
    WIRE_VERSION_6_0,
    Document,
)

FeedTarget = Collection[Document] | Database[Document] | MongoClient[Document]

_HISTORY_LOST: Final = frozenset(
    {286, 280, 260, 222}
)  # ChangeStreamHistoryLost, FatalError, InvalidResumeToken, Closed
_FATAL: Final = frozenset({UNAUTHORIZED, AUTHENTICATION_FAILED, NOT_A_REPLICA_SET})
_AWAIT_MILLISECONDS: Final = 500
_BATCH: Final = 1000


SnapshotReader = Callable[[ClientSession], Sequence[Mapping[str, Any]]]


@dataclass(frozen=True, slots=True)
class Start:
    """Where the stream begins: behind a resume token, at a cluster time, or (both None) now."""

    token: Mapping[str, Any] | None = None
    at: Timestamp | None = None


class ChangeFeed:
    """Reads one change stream until closed. Thread-safe; `take` is for one consumer.

    `capacity` bounds the items that wait to be taken; when they are not, the reader waits and the server keeps the
    events, as far as its oplog reaches. `images=False` asks for no documents, which is a third of the cost.
    `error` is what ended the feed for good.
    """

    def __init__(
        self,
        target: FeedTarget,
        *,
        pipeline: Sequence[Mapping[str, Any]] = (),
        start: Start | None = None,
        snapshot: SnapshotReader | None = None,
        images: bool = True,
        capacity: int = 20_000,
    ) -> None:
        self._target = target
        self._client = _client_of(target)
        self._pipeline = [dict(stage) for stage in pipeline]
        self._start = start or Start()
        self._snapshot = snapshot
        self._images = images
        self._capacity = capacity
        self._invalidated = False
        self._last_seen: datetime | None = None
        self.error: PyMongoError | None = None
        self._items: deque[FeedItem] = deque()
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="change-feed", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    @property
    def position(self) -> Start:
        """Where a feed would have to start to go on behind what this one has read."""
        return self._start

    def take(self, timeout: float, most: int = 5_000) -> list[FeedItem]:
        """All items that have come, at most `most`; waits up to `timeout` seconds for the first."""
        with self._changed:
            self._changed.wait_for(lambda: self._items or self._closing.is_set(), timeout)
            batch = [self._items.popleft() for _ in range(min(most, len(self._items)))]
            self._changed.notify_all()
        return batch

    def close(self, timeout: float = 5.0) -> None:
        """End the thread, waiting at most `timeout` seconds for it."""
        self._closing.set()
        with self._changed:
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join(timeout)

    def _put(self, item: FeedItem) -> None:
        with self._changed:
            self._changed.wait_for(lambda: len(self._items) < self._capacity or self._closing.is_set())
            self._items.append(item)
            self._changed.notify_all()

    def _run(self) -> None:
        pause = 0.1
        while not self._closing.is_set():
            try:
                self._follow()
                pause = 0.1
            except PyMongoError as error:
                if self._closing.is_set():
                    return
                code = error.code if isinstance(error, OperationFailure) else None
                if code in _FATAL:
                    self.error = error
                    self._put(FeedState(connected=False, message=_words(error), ended=True))
                    return
                if code in _HISTORY_LOST:
                    self._put(Gap(_words(error), since=self._last_seen, until=datetime.now(UTC)))
                    self._start = Start()
                    continue
                self._put(FeedState(connected=False, message=_words(error)))
                self._closing.wait(pause)
                pause = min(2.0, pause * 2)

    def _follow(self) -> None:
        """Open the stream and read it until it breaks, ends (invalidate) or the feed is closed."""
        if self._start.token is None and self._start.at is None:
            self._start = Start(at=self._take_snapshot())
        with self._open() as stream:
            self._put(FeedState(connected=True))
            while stream.alive and not self._closing.is_set():
                raw = stream.try_next()
                if raw is not None:
                    event = ChangeEvent.from_raw(raw)
                    self._last_seen = event.time or self._last_seen
                    self._invalidated = event.operation == "invalidate"
                    self._put(event)
                if stream.resume_token is not None:
                    self._start = Start(token=stream.resume_token)

    def _take_snapshot(self) -> Timestamp:
        """Read the documents after noting the operation time, so that the stream begins before any later change."""
        with self._client.start_session(causal_consistency=True) as session:
            self._client.admin.command("ping", session=session)
            noted = session.operation_time
            if noted is None:
                raise OperationFailure("the server tells no operation time: no replica set", NOT_A_REPLICA_SET)
            if self._snapshot is not None:
                self._put(Snapshot(self._snapshot(session)))
        # What happened at the noted time is in the snapshot: the read waited for it (causal consistency).
        return Timestamp(noted.time, noted.inc + 1)

    def _open(self) -> ChangeStream[Document]:
        options: dict[str, Any] = {"max_await_time_ms": _AWAIT_MILLISECONDS, "batch_size": _BATCH}
        if self._images:
            modern = self._client.admin.command("hello").get("maxWireVersion", 0) >= WIRE_VERSION_6_0
            options["full_document"] = "whenAvailable" if modern else "updateLookup"
            if modern:
                options["full_document_before_change"] = "whenAvailable"
        if self._start.token is not None:
            options["start_after" if self._invalidated else "resume_after"] = self._start.token
        else:
            options["start_at_operation_time"] = self._start.at
        return self._target.watch(self._pipeline, **options)


def _words(error: PyMongoError) -> str:
    """The driver's message without the dump of topology and command that follows it."""
    return str(error).split(", full error:")[0].split(", Timeout:")[0]


def _client_of(target: FeedTarget) -> MongoClient[Document]:
    if isinstance(target, MongoClient):
        return target
    return target.client if isinstance(target, Database) else target.database.client
