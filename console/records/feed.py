"""The change feed: one change stream, read in a thread of its own, handed over in batches.

Owns the start (snapshot, then stream, without a hole), resuming behind the last token, and telling of gaps and of
the connection's state. Not here: what an event means (`events`) or what is drawn of it.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
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
from console.events.since import Start
from console.formatting import visible
from console.records.connection import (
    AUTHENTICATION_FAILED,
    NOT_A_REPLICA_SET,
    UNAUTHORIZED,
    WIRE_VERSION_6_0,
    Document,
    words,
)

FeedTarget = Collection[Document] | Database[Document] | MongoClient[Document]

# Server error codes: https://github.com/mongodb/mongo/blob/master/src/mongo/base/error_codes.yml
# CloseChangeStream, InvalidResumeToken, ChangeStreamFatalError (a token that this stream cannot find),
# ChangeStreamHistoryLost: behind the last token there is nothing to be had.
_HISTORY_LOST: Final = frozenset({222, 260, 280, 286})
_FATAL: Final = frozenset({UNAUTHORIZED, AUTHENTICATION_FAILED, NOT_A_REPLICA_SET})
# MaxTimeMSExpired, FailedToSatisfyReadPreference, ReadConcernMajorityNotAvailableYet, KeyNotFound,
# ExceededTimeLimit: a server that is just starting says these, too.
_PASSING: Final = frozenset({50, 133, 134, 211, 262})
_EVENT_TOO_LARGE: Final = 10334  # BSONObjectTooLarge: both documents together are over 16 MiB

_AWAIT_MILLISECONDS: Final = 500
_BATCH: Final = 1000
_FIRST_PAUSE: Final = 0.1  # seconds between attempts, doubled each time …
_LONGEST_PAUSE: Final = 2.0  # … up to this

SnapshotReader = Callable[[ClientSession], Sequence[Mapping[str, Any]]]


def image_options(wire_version: int) -> dict[str, str]:
    """What a stream is asked for so that events carry their documents.

    `updateLookup` gives a document as it is now, not as the event left it: only where there is nothing better.
    `whenAvailable` and not `required`, which ends the stream at the first image that has expired.
    """
    if wire_version < WIRE_VERSION_6_0:
        return {"full_document": "updateLookup"}
    return {"full_document": "whenAvailable", "full_document_before_change": "whenAvailable"}


class ChangeFeed:
    """Reads one change stream until closed. Thread-safe; `take` is for one consumer.

    `snapshot` reads the documents that the events begin with, in the session that it is given. `capacity` bounds the
    items that wait to be taken; when they are not, the reader waits and the server keeps the events, as far as its
    oplog reaches. `images=False` asks for no documents, which is a third of the cost.
    `error` is what ended the feed for good; its last item then is a `FeedState` that has `ended`.
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
        self._snapshot = snapshot
        self._images = images
        self._capacity = capacity
        self.error: PyMongoError | None = None
        self._read = start or Start()
        self._position = self._read
        self._items: deque[tuple[FeedItem, Start]] = deque()
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self._has_opened = False
        self._told: FeedState | None = None
        self._pause = _FIRST_PAUSE
        self._batch = _BATCH
        self._spares_images = False
        self._last_seen: datetime | None = None
        self._thread = threading.Thread(target=self._run, name="change-feed", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    @property
    def position(self) -> Start:
        """Where a feed would have to start to go on behind all that `take` has given.

        It moves also while no event matches, so that a consumer who keeps it is not left behind by the oplog.
        """
        with self._changed:
            return self._position

    def take(self, timeout: float, most: int = 5_000) -> list[FeedItem]:
        """All items that have come, at most `most`; waits up to `timeout` seconds for the first."""
        with self._changed:
            self._changed.wait_for(lambda: self._items or self._closing.is_set(), timeout)
            taken = [self._items.popleft() for _ in range(min(most, len(self._items)))]
            if taken:
                self._position = taken[-1][1]
                self._changed.notify_all()
        return [item for item, _ in taken]

    def close(self, timeout: float = 1.0) -> None:
        """End the thread, waiting at most `timeout` seconds for it; what it waits for may take longer in an outage."""
        self._closing.set()
        with self._changed:
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join(timeout)

    def _put(self, item: FeedItem, read: Start | None = None) -> None:
        """Hand over an item; `read` is where the stream stands behind it."""
        with self._changed:
            while len(self._items) >= self._capacity and not self._closing.is_set():
                self._changed.wait()
            self._read = read or self._read
            self._items.append((item, self._read))
            self._changed.notify_all()

    def _put_state(self, *, connected: bool, message: str = "", ended: bool = False) -> None:
        state = FeedState(connected, message, ended)
        if state != self._told:
            self._told = state
            self._put(state)

    def _advance(self, read: Start) -> None:
        """The stream has gone on without an event."""
        with self._changed:
            self._read = read
            if not self._items:
                self._position = read

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                self._follow()
            except PyMongoError as error:
                if self._closing.is_set():
                    return
                if self._is_fatal(error):
                    self._end(error, words(error))
                    return
                self._recover(error)
            except Exception as error:  # noqa: BLE001 - of the snapshot's reader, say: nobody else would ever hear of it
                message = visible(f"{type(error).__name__}: {error}")
                self._end(PyMongoError(message), message)
                return

    def _is_fatal(self, error: PyMongoError) -> bool:
        """The server will go on refusing: it does so by nature, or did from the start (a wrong pipeline, say)."""
        if not isinstance(error, OperationFailure) or error.code in _HISTORY_LOST | _PASSING | {_EVENT_TOO_LARGE}:
            return False
        return error.code in _FATAL or not (self._has_opened or error.has_error_label("ResumableChangeStreamError"))

    def _end(self, error: PyMongoError, message: str) -> None:
        self.error = error
        self._put_state(connected=False, message=message, ended=True)

    def _recover(self, error: PyMongoError) -> None:
        """Decide where to go on, and wait a moment."""
        code = error.code if isinstance(error, OperationFailure) else None
        if code == _EVENT_TOO_LARGE and self._images and not self._spares_images:
            # One by one up to the event, then the event without its documents.
            self._spares_images = self._batch == 1
            self._batch = 1
            return
        if code in _HISTORY_LOST or code == _EVENT_TOO_LARGE:
            self._put(Gap(words(error), since=self._last_seen, until=datetime.now(UTC)), Start())
            self._read, self._spares_images, self._batch = Start(), False, _BATCH
        else:
            self._put_state(connected=False, message=words(error))
        self._closing.wait(self._pause)
        self._pause = min(_LONGEST_PAUSE, self._pause * 2)

    def _follow(self) -> None:
        """Open the stream and read it until it breaks, ends (invalidate) or the feed is closed."""
        if self._read == Start():
            self._take_snapshot()
        with self._open() as stream:
            self._has_opened = True
            self._put_state(connected=True)
            while stream.alive and not self._closing.is_set():
                raw = stream.try_next()
                self._pause = _FIRST_PAUSE
                if raw is None:
                    if (token := stream.resume_token) is not None:
                        self._advance(Start(token=token))
                    continue
                event = ChangeEvent.from_raw(raw)
                self._last_seen = event.time or self._last_seen
                self._put(event, Start(token=event.token))
                if self._spares_images:
                    self._spares_images, self._batch = False, _BATCH
                    return

    def _take_snapshot(self) -> None:
        """Read the documents after noting the operation time, so that the stream begins before any later change."""
        with self._client.start_session(causal_consistency=True) as session:
            self._client.admin.command("ping", session=session)
            noted = session.operation_time
            if noted is None:
                raise OperationFailure("the server tells no operation time: no replica set", NOT_A_REPLICA_SET)
            # What happened at the noted time is in the snapshot: the read waits for it (causal consistency).
            behind = Start(at=Timestamp(noted.time, noted.inc + 1))
            if self._snapshot is None:
                self._advance(behind)
            else:
                self._put(Snapshot(self._snapshot(session)), behind)

    def _open(self) -> ChangeStream[Document]:
        options: dict[str, Any] = {"max_await_time_ms": _AWAIT_MILLISECONDS, "batch_size": self._batch}
        if self._images and not self._spares_images:
            options |= image_options(self._client.admin.command("hello").get("maxWireVersion", 0))
        if self._read.token is not None:
            # `startAfter` takes every token, `resumeAfter` all but that of an invalidate event (manual, "Resume").
            options["start_after"] = self._read.token
        else:
            options["start_at_operation_time"] = self._read.at
        return self._target.watch(self._pipeline, **options)


def _client_of(target: FeedTarget) -> MongoClient[Document]:
    if isinstance(target, MongoClient):
        return target
    return target.client if isinstance(target, Database) else target.database.client
