"""The change feed: one change stream, read in a thread of its own, handed over in batches.

Owns the start (snapshot, then stream, without a hole), resuming behind the last token, and telling of gaps and of
the connection's state. Not here: which errors end it (`stream_errors`), how it gets past an event that cannot be read
(`careful_reading`), what an event means (`events`) or what is drawn of it.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, cast

from bson import Timestamp
from bson.errors import BSONError
from pymongo import MongoClient
from pymongo.change_stream import ChangeStream
from pymongo.client_session import ClientSession
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import OperationFailure, PyMongoError

from console.events.decoding import EVENT_CODEC
from console.events.event import ChangeEvent, join_fragments
from console.events.feed_items import FeedItem, FeedState, Gap, Snapshot
from console.events.since import Start
from console.formatting import visible
from console.records.careful_reading import Care
from console.records.connection import NOT_A_REPLICA_SET, Document, words
from console.records.history import history
from console.records.stream_errors import (
    EVENT_TOO_LARGE,
    FATAL,
    HISTORY_LOST,
    HISTORY_TOO_SHORT,
    INVALID_RESUME_TOKEN,
    code_of,
    is_fatal,
)
from console.records.stream_options import Abilities

FeedTarget = Collection[Document] | Database[Document] | MongoClient[Document]

_AWAIT_MILLISECONDS: Final = 2000
_FIRST_PAUSE: Final = 0.1  # seconds between attempts, doubled each time …
_LONGEST_PAUSE: Final = 2.0  # … up to this

SnapshotReader = Callable[[ClientSession], Sequence[Mapping[str, Any]]]


class ChangeFeed:
    """Reads one change stream until closed. Thread-safe; `take` is for one consumer.

    `snapshot` reads the documents that the events begin with, in the session that it is given. `capacity` bounds the
    items that wait to be taken; when they are not, the reader waits and the server keeps the events, as far as its
    oplog reaches. `images=False` asks for no documents, which is a third of the cost; `expanded` asks for the events
    of collections and indexes that are made and changed as well (6.0 and later). Events over 16 MiB come whole from
    servers that can split them (6.0.9, 7.0), from others without their documents, followed by a `Gap` that says so.
    Without a snapshot, a feed whose place the oplog has let go of begins again with the oldest that there is.
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
        expanded: bool = False,
        capacity: int = 20_000,
    ) -> None:
        self._target = _with_codec(target)
        self._client = _client_of(target)
        self._pipeline = [dict(stage) for stage in pipeline]
        self._snapshot = snapshot
        self._expanded = expanded
        self._capacity = capacity
        self.error: PyMongoError | None = None
        self._read = start or Start()
        self._position = self._read
        self._items: deque[tuple[FeedItem, Start]] = deque()
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self._has_opened = False  # at all, and the stream that is read now
        self._is_open = False
        self._told: FeedState | None = None
        self._pause = _FIRST_PAUSE
        self._care = Care(images=images)
        self._taken_up: Mapping[str, Any] | None = None
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

    def close(self, timeout: float = 0.0) -> None:
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
            except (PyMongoError, BSONError) as error:
                if self._closing.is_set():
                    return
                if isinstance(error, BSONError) or code_of(error) == EVENT_TOO_LARGE:
                    self._take_care(error)
                elif not is_fatal(error, has_opened=self._has_opened):
                    self._recover(error)
                elif code_of(error) not in FATAL and self._care.stop_splitting():
                    continue  # a server that should know the stage, and perhaps does not
                else:
                    self._end(error, words(error))
                    return
            except Exception as error:  # noqa: BLE001 - of the snapshot's reader, say: nobody else would ever hear of it
                message = visible(f"{type(error).__name__}: {error}")
                self._end(PyMongoError(message), message)
                return

    def _end(self, error: PyMongoError, message: str) -> None:
        self.error = error
        self._put_state(connected=False, message=message, ended=True)

    def _recover(self, error: PyMongoError) -> None:
        """Decide where to go on, and wait a moment."""
        if code_of(error) == INVALID_RESUME_TOKEN and self._read.token not in (None, self._taken_up):
            # Behind an invalidate event that the pipeline keeps from us, PyMongo resumes by itself with `resumeAfter`,
            # which its token does not allow. `_open` takes up there with `startAfter`.
            self._taken_up = self._read.token
            return
        if code_of(error) in HISTORY_LOST:
            lost = Gap(words(error), since=self._last_seen, until=datetime.now(UTC))
            self._put(lost, self._oldest() if code_of(error) == HISTORY_TOO_SHORT else Start())
            self._care.relax()
        else:
            self._put_state(connected=False, message=words(error))
        self._closing.wait(self._pause)
        self._pause = min(_LONGEST_PAUSE, self._pause * 2)

    def _oldest(self) -> Start:
        """Where to begin when the place is lost: with a new snapshot, or with the oldest event that there is."""
        known = history(self._client) if self._snapshot is None else None
        if known is None or (self._read.time is not None and known.reaches(self._read.time)):
            return Start()
        return Start(at=known.begins)

    def _take_care(self, error: PyMongoError | BSONError) -> None:
        """Go on more carefully; where that is of no use, begin anew with what happens from now on."""
        if (gap := self._care.worsen(error, self._last_seen, was_open=self._is_open)) is not None:
            self._put(gap, Start())
            self._closing.wait(_LONGEST_PAUSE)

    def _follow(self) -> None:
        """Open the stream and read it until it breaks, ends (invalidate) or the feed is closed."""
        self._is_open = False
        if self._read == Start():
            self._take_snapshot()
        with self._open() as stream:
            self._has_opened = self._is_open = True
            self._put_state(connected=True)
            fragments: list[Mapping[str, Any]] = []
            begun_with = self._care.step
            if (token := stream.resume_token) is not None:
                self._advance(Start(token=token))
            while stream.alive and not self._closing.is_set() and self._care.step == begun_with:
                raw = stream.try_next()
                self._pause = _FIRST_PAUSE
                if raw is not None:
                    fragments.append(raw)
                    if _is_whole(raw):
                        self._put_event(ChangeEvent.from_raw(join_fragments(fragments)))
                        fragments.clear()
                elif not fragments:
                    self._care.relax()
                    if (token := stream.resume_token) is not None:
                        self._advance(Start(token=token))

    def _put_event(self, event: ChangeEvent) -> None:
        self._last_seen = event.time or self._last_seen
        self._put(event, Start(token=event.token))
        if (gap := self._care.passed(event)) is not None:
            self._put(gap)

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
        can = Abilities.of(self._client)
        pipeline, options = self._care.shape(self._pipeline, can)
        if self._expanded and can.expands:
            options["show_expanded_events"] = True
        if self._read.token is not None:
            # `startAfter` takes every token, `resumeAfter` all but that of an invalidate event (manual, "Resume").
            options["start_after"] = self._read.token
        else:
            options["start_at_operation_time"] = self._read.at
        return self._target.watch(pipeline, max_await_time_ms=_AWAIT_MILLISECONDS, **options)


def _is_whole(raw: Mapping[str, Any]) -> bool:
    """Whether this is a whole event, or the last fragment of one (manual, "$changeStreamSplitLargeEvent")."""
    part = raw.get("splitEvent")
    return not isinstance(part, Mapping) or part.get("fragment") == part.get("of")


def _with_codec(target: FeedTarget) -> FeedTarget:
    """The target, read so that no value of BSON raises. A client has its own codec, which `connect` sees to."""
    if isinstance(target, MongoClient):
        return target
    return cast(FeedTarget, target.with_options(codec_options=EVENT_CODEC))


def _client_of(target: FeedTarget) -> MongoClient[Document]:
    if isinstance(target, MongoClient):
        return target
    return target.client if isinstance(target, Database) else target.database.client
