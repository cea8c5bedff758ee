"""The change feed: one change stream, read in a thread of its own and handed over in batches.

It starts with a snapshot and then the stream, without a hole. After an error it resumes behind its last token; where
history is lost it takes a new snapshot and shows the gap. An event that cannot be read is read with more care each
time (one by one, then without its documents), so that it alone is lost. No cursor is left on the server. Error codes:
https://github.com/mongodb/mongo/blob/master/src/mongo/base/error_codes.yml
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum
from typing import Any, Final

import pymongo
from bson import Timestamp
from bson.raw_bson import RawBSONDocument
from pymongo import MongoClient
from pymongo.change_stream import ChangeStream
from pymongo.client_session import ClientSession
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import OperationFailure, PyMongoError
from pymongo.read_concern import ReadConcern

from console.bson_decoding import RAW_CODEC, decode, decoded
from console.events.event import ChangeEvent, join_fragments
from console.events.feed_items import FeedItem, FeedState, Gap, Snapshot
from console.events.since import Start
from console.events.text import value_text
from console.formatting import visible
from console.records.connection import (
    AUTHENTICATION_FAILED,
    NOT_A_REPLICA_SET,
    UNAUTHORIZED,
    WIRE_VERSION_5_0,
    Document,
    describe_error,
)
from console.stream.server import Abilities, end_streams_of_the_dead, history, image_options, mark_of_process

_BATCH: Final = 1000

# What an event has that may be too large: all but who it is.
_DOCUMENTS: Final = ["fullDocument", "fullDocumentBeforeChange", "updateDescription"]


class ReadLevel(IntEnum):
    """How carefully the stream is read: one by one up to the event in the way, then that one without its documents."""

    NONE = 0
    ONE_BY_ONE = 1
    WITHOUT_IMAGES = 2
    KEY_ONLY = 3


class ReadMode:
    """What a stream is asked for, and how that changes when an event cannot be read. For one thread.

    A stream holds for one `step`: where it has changed, another one has to be opened. With `images`, events bring
    their documents, and those that are too large come split from servers that can do it.
    """

    def __init__(self, *, images: bool, before: bool = True) -> None:
        self.step = ReadLevel.NONE
        self._images = images
        self._before = before
        self._is_older = False
        self._may_split = images
        self._opens_again = True

    def step_down(self, since: datetime | None, *, was_open: bool) -> Gap | None:
        """An event could not be read: a step more, as long as there is one. Then there is no way past the event, and
        all since the last one that could be read, at `since`, is a gap.

        What an open stream cannot read may be the event after the next: PyMongo reads two where one is asked for
        (`CommandCursor.batch_size`). Opening it again gives the next one, or fails for its sake.
        """
        if self.step == ReadLevel.ONE_BY_ONE and was_open and self._opens_again:
            self._opens_again = False  # until an event has come: else it might go on so for ever
            return None
        self._opens_again = True
        if self.step < ReadLevel.KEY_ONLY:
            self.step = ReadLevel(self.step + 1)
            return None
        self.reset()
        reason = "an event of over 16 MiB, and others with it: it cannot be passed by"
        return Gap(reason, since=since, until=datetime.now(UTC))

    def passed(self, event: ChangeEvent) -> Gap | None:
        """An event was read. If it had to do without its documents it was the one in the way: a gap that says so."""
        self._opens_again = True
        if self.step < ReadLevel.WITHOUT_IMAGES:
            return None
        self.reset()
        key = value_text(event.document_id) if event.document_key is not None else ""
        name = " ".join(filter(None, (event.operation, visible(event.namespace), key)))
        return Gap(f"an event of over 16 MiB, shown without its documents: {name}")

    def reset(self) -> None:
        """Nothing is in the way: read on as usual."""
        self.step = ReadLevel.NONE

    def stop_splitting(self) -> bool:
        """Ask no more for split events; whether they were asked for until now."""
        did_split, self._may_split = self._may_split, False
        return did_split

    def stop_post_images(self) -> bool:
        """Ask for documents as servers before 6.0 give them; whether that was otherwise until now."""
        did_ask, self._is_older = self._images and not self._is_older, True
        return did_ask

    def shape(
        self, pipeline: Sequence[Mapping[str, Any]], can: Abilities
    ) -> tuple[list[Mapping[str, Any]], dict[str, Any]]:
        """The pipeline and the options of a stream that is read as carefully as now."""
        stages = [*pipeline]
        options: dict[str, Any] = {"batch_size": _BATCH if self.step == ReadLevel.NONE else 1}
        if self._images and self.step < ReadLevel.WITHOUT_IMAGES:
            wire_version = min(can.wire_version, WIRE_VERSION_5_0) if self._is_older else can.wire_version
            options |= image_options(wire_version, before=self._before)
        if self.step == ReadLevel.KEY_ONLY:
            stages.append({"$unset": _DOCUMENTS})
        if self._may_split and can.splits:
            stages.append({"$changeStreamSplitLargeEvent": {}})  # it has to be the last stage
        return stages, options


INVALID_RESUME_TOKEN: Final = 260
HISTORY_TOO_SHORT: Final = 286
HISTORY_LOST: Final = frozenset({222, INVALID_RESUME_TOKEN, 280, HISTORY_TOO_SHORT})
"""CloseChangeStream, InvalidResumeToken, ChangeStreamFatalError (a token that this stream cannot find),
ChangeStreamHistoryLost: after the last token there is nothing to be had."""
TOKEN_REFUSED: Final = frozenset({INVALID_RESUME_TOKEN, 280})
"""Also said of a good token: one that this stream's filter, or its collection, leaves out."""
BAD_VALUE: Final = 2
EVENT_TOO_LARGE: Final = 10334
"""BSONObjectTooLarge: both documents together are over 16 MiB."""
FATAL: Final = frozenset({UNAUTHORIZED, AUTHENTICATION_FAILED, NOT_A_REPLICA_SET})
_PASSING: Final = frozenset({50, 133, 134, 211, 262})
"""MaxTimeMSExpired, FailedToSatisfyReadPreference, ReadConcernMajorityNotAvailableYet, KeyNotFound,
ExceededTimeLimit: a server that is just starting says these, too."""


def code_of(error: PyMongoError) -> int | None:
    """The server's code, where it was the server that refused."""
    return error.code if isinstance(error, OperationFailure) else None


def is_fatal(error: PyMongoError, *, has_opened: bool) -> bool:
    """Whether the server will go on refusing: it does so by nature, or did from the start (a wrong pipeline, say)."""
    if not isinstance(error, OperationFailure) or error.code in HISTORY_LOST | _PASSING:
        return False
    return error.code in FATAL or not (has_opened or error.has_error_label("ResumableChangeStreamError"))


FeedTarget = Collection[Document] | Database[Document] | MongoClient[Any]

_AWAIT_MILLISECONDS: Final = 2000
_FIRST_PAUSE: Final = 0.1  # seconds between attempts, doubled each time …
_LONGEST_PAUSE: Final = 2.0  # … up to this

_FAREWELL_SECONDS: Final = 1.0

# In a burst events wait to be taken, and decoded they are eight times as large as their bytes. Of what waits, so many
# are kept decoded, at most so many bytes wait at all, and so many are handed over at once.
_KEPT_DECODED: Final = 200
_MOST_WAITING_BYTES: Final = 4 * 1024 * 1024
_MOST_TAKEN_BYTES: Final = 2 * 1024 * 1024

SnapshotReader = Callable[[ClientSession], Sequence[Mapping[str, Any]]]


@dataclass(frozen=True, slots=True)
class Interest:
    """Which events somebody needs (a `$match` expression) and what of them: paths of fields besides `_id`."""

    match: Mapping[str, Any]
    fields: Sequence[str]


def pipeline_for(*interests: Interest) -> list[dict[str, Any]]:
    """What the server sends to a process in which there are these interests."""
    fields = sorted({field for interest in interests for field in interest.fields})
    # The server takes no field beside one that holds it.
    outer = [field for field in fields if not any(field.startswith(f"{other}.") for other in fields)]
    match = [dict(interest.match) for interest in interests]
    return [{"$match": match[0] if len(match) == 1 else {"$or": match}}, {"$project": dict.fromkeys(outer, 1)}]


@dataclass(frozen=True, slots=True)
class _Waiting:
    """What waits to be taken: an item, or an event as its bytes. `read` is where the stream stands behind it."""

    item: FeedItem | bytes
    read: Start
    size: int

    def unpacked(self) -> FeedItem:
        return ChangeEvent.from_raw(decode(self.item)) if isinstance(self.item, bytes) else self.item


class ChangeFeed:
    """Reads one change stream until closed. Thread-safe; `take` is for one consumer.

    `behind` is a token's `_data`: events up to it are left out. `snapshot` reads the documents that the events begin
    with, in the session that it is given. `capacity` bounds the items that wait to be taken, besides a bound on their
    bytes; when they are not, the reader waits and the server keeps the events, as far as its oplog reaches; with 0
    there are none to be taken, and only listeners hear of them. `images=False` asks for no documents, which is a third
    of the cost, and `before=False` for those after a change alone; `expanded` asks for the events of collections and
    indexes that are made and changed as well (6.0 and later). Events over 16 MiB come whole from
    servers that can split them (6.0.9, 7.0), from others without their documents, followed by a `Gap` that says so.
    Without a snapshot, a feed whose place the oplog has no more begins again with the oldest that there is.
    `error` is what ended the feed for good; its last item then is a `FeedState` that has `ended`.
    """

    def __init__(
        self,
        target: FeedTarget,
        *,
        pipeline: Sequence[Mapping[str, Any]] = (),
        start: Start | None = None,
        behind: str = "",
        snapshot: SnapshotReader | None = None,
        images: bool = True,
        before: bool = True,
        expanded: bool = False,
        capacity: int = 20_000,
    ) -> None:
        self._target = _raw(target)
        self._client = _client_of(target)
        self._pipeline = [dict(stage) for stage in pipeline]
        self._snapshot = snapshot
        self._expanded = expanded
        self._capacity = capacity
        self.error: PyMongoError | None = None
        self._read = start or Start()
        self._position = self._read
        self._is_nudged = False
        self._items: deque[_Waiting] = deque()
        self._waiting_bytes = 0
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self._is_started = False
        self._has_opened = False  # at all, and the stream that is read now
        self._is_open = False
        self._reported: FeedState | None = None
        self._has_tidied = False
        self._pause = _FIRST_PAUSE
        self._read_mode = ReadMode(images=images, before=before)
        self._passed_by = behind
        self._listeners: list[Callable[[FeedItem], None]] = []
        self._session: ClientSession | None = None
        self._taken_up: Mapping[str, Any] | None = None
        self._last_seen: datetime | None = None
        self._thread = threading.Thread(target=self._run, name="change-feed", daemon=True)

    def attach(self, listener: Callable[[FeedItem], None]) -> None:
        """Have a listener called for all items as well, in the thread that reads: it must neither wait nor raise.

        So the stream of a process is shared by all in it who listen.
        """
        self._listeners.append(listener)

    @property
    def is_connected(self) -> bool:
        """Whether it reads its stream, as it last said: whoever attaches now hears of all that comes."""
        return self._reported is not None and self._reported.connected

    def start(self) -> None:
        """Begin to read; a second time nothing happens."""
        if not self._is_started:
            self._is_started = True
            self._thread.start()

    @property
    def position(self) -> Start:
        """Where a feed would have to start to go on behind all that `take` has given.

        It moves also while no event matches, so that a consumer who keeps it is not left behind by the oplog.
        """
        with self._changed:
            return self._position

    def nudge(self) -> None:
        """Let `take` return at once, for whoever has something else to look at."""
        with self._changed:
            self._is_nudged = True
            self._changed.notify_all()

    def take(self, timeout: float, most: int = 500) -> list[FeedItem]:
        """The items that have come, at most `most`; waits up to `timeout` seconds for the first."""
        taken: list[_Waiting] = []
        size = 0
        with self._changed:
            self._changed.wait_for(lambda: self._items or self._closing.is_set() or self._is_nudged, timeout)
            self._is_nudged = False
            while self._items and len(taken) < most and size < _MOST_TAKEN_BYTES:
                taken.append(self._items.popleft())
                size += taken[-1].size
            if taken:
                self._waiting_bytes -= size
                self._position = taken[-1].read
                self._changed.notify_all()
        return [waiting.unpacked() for waiting in taken]

    def close(self, timeout: float = 0.0) -> None:
        """End the stream, on the server too, which gets a second for its answer, and the thread, waiting at most
        `timeout` seconds for that; in an outage what it waits for may take longer."""
        self._closing.set()
        with self._changed:
            self._changed.notify_all()
        if self._thread.is_alive():
            self._end_session()
            self._thread.join(timeout)

    def _end_session(self) -> None:
        """Have the server drop the cursor, for which a thread may be waiting right now.

        A cursor without its client would stay for ten minutes, with all that the server reads for it. One that waits
        for an event notices only when it has waited long enough (mongod 6.0), whether its client is still there or not:
        so there is nothing to wait for here.
        """
        session = self._session
        if session is None or not self._client.topology_description.has_writable_server():
            return
        with suppress(PyMongoError), pymongo.timeout(_FAREWELL_SECONDS):
            self._client.admin.command("killSessions", [session.session_id])

    def _put(self, item: FeedItem, read: Start | None = None, raw: bytes = b"", size: int = 0) -> None:
        """Hand over an item; `read` is where the stream stands behind it, `raw` its bytes if it came in one piece, and
        `size` how many they are."""
        with self._changed:
            while self._is_full() and not self._closing.is_set():
                self._changed.wait()
            self._read = read or self._read
            if self._capacity:
                kept = raw if raw and len(self._items) >= _KEPT_DECODED else item
                self._items.append(_Waiting(kept, self._read, size))
                self._waiting_bytes += size
                self._changed.notify_all()
            else:
                self._position = self._read
        for listener in self._listeners:
            listener(item)

    def _is_full(self) -> bool:
        if not self._capacity:
            return False
        return len(self._items) >= self._capacity or self._waiting_bytes >= _MOST_WAITING_BYTES

    def _put_state(self, *, connected: bool, message: str = "", ended: bool = False) -> None:
        state = FeedState(connected, message, ended)
        if state != self._reported:
            self._reported = state
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
                if code_of(error) == EVENT_TOO_LARGE:
                    self._take_care(error)
                elif not is_fatal(error, has_opened=self._has_opened):
                    self._recover(error)
                elif code_of(error) not in FATAL and self._read_mode.stop_splitting():
                    continue  # a server that should know the stage, and perhaps does not
                elif (
                    code_of(error) == BAD_VALUE and "fullDocument" in str(error) and self._read_mode.stop_post_images()
                ):
                    continue  # it runs as an older version than it is (featureCompatibilityVersion)
                else:
                    self._end(error, describe_error(error))
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
        if self._falls_back_to_time(error):
            return
        if code_of(error) in HISTORY_LOST:
            lost = Gap(describe_error(error), since=self._last_seen, until=datetime.now(UTC))
            self._put(lost, self._oldest() if code_of(error) == HISTORY_TOO_SHORT else Start())
            self._read_mode.reset()
        else:
            self._put_state(connected=False, message=describe_error(error))
        self._closing.wait(self._pause)
        self._pause = min(_LONGEST_PAUSE, self._pause * 2)

    def _falls_back_to_time(self, error: PyMongoError) -> bool:
        """Where the token is one of another stream (another filter, another collection), begin at its time, and leave
        out what comes up to it: tokens of a deployment order as text (see `events.recording`).
        """
        token = self._read.token
        if code_of(error) not in TOKEN_REFUSED or token is None or (time_of := self._read.time) is None:
            return False
        self._passed_by = str(token["_data"])
        self._read = Start(at=time_of)
        return True

    def _oldest(self) -> Start:
        """Where to begin when the place is lost: with a new snapshot, or with the oldest event that there is."""
        known = history(self._client) if self._snapshot is None else None
        if known is None or (self._read.time is not None and known.reaches(self._read.time)):
            return Start()
        return Start(at=known.begins)

    def _take_care(self, error: PyMongoError) -> None:
        """Go on more carefully; where that is of no use, begin again with what happens from now on."""
        if (gap := self._read_mode.step_down(self._last_seen, was_open=self._is_open)) is not None:
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
            size = 0
            begun_with = self._read_mode.step
            self._advance_to(stream)
            self._end_streams_of_the_dead()
            while stream.alive and not self._closing.is_set() and self._read_mode.step == begun_with:
                raw = stream.try_next()
                self._pause = _FIRST_PAUSE
                if raw is not None:
                    fragments.extend(decoded([raw]))
                    packed = bytes(raw.raw) if isinstance(raw, RawBSONDocument) else b""
                    size += len(packed)
                    if _is_whole(fragments[-1]):
                        alone = packed if len(fragments) == 1 else b""
                        self._put_event(ChangeEvent.from_raw(join_fragments(fragments)), alone, size)
                        fragments.clear()
                        size = 0
                elif not fragments:
                    self._read_mode.reset()
                    self._advance_to(stream)
        if not self._closing.is_set() and self._read_mode.step == begun_with and self._snapshot is not None:
            # Invalidated: another collection has taken its place, or none. Its documents came without events.
            self._take_snapshot(self._read)

    def _end_streams_of_the_dead(self) -> None:
        """Once, when this one is there already."""
        if not self._has_tidied:
            self._has_tidied = True
            with suppress(PyMongoError):  # it may not: they go by themselves, later
                end_streams_of_the_dead(self._client)

    def _advance_to(self, stream: ChangeStream[Any]) -> None:
        if (token := stream.resume_token) is not None:
            self._advance(Start(token=dict(token)))

    def _put_event(self, event: ChangeEvent, raw: bytes, size: int) -> None:
        self._last_seen = event.time or self._last_seen
        if str(event.token.get("_data")) <= self._passed_by:
            return
        self._passed_by = ""
        self._put(event, Start(token=event.token), raw, size)
        if (gap := self._read_mode.passed(event)) is not None:
            self._put(gap)

    def _take_snapshot(self, goes_on: Start | None = None) -> None:
        """Read the documents after noting the operation time, so that the stream begins before any later change; or
        `goes_on` where it was, and brings changes that the snapshot has already."""
        with self._client.start_session(causal_consistency=True) as session:
            self._client.admin.command("ping", session=session)
            noted = session.operation_time
            if noted is None:
                raise OperationFailure("the server tells no operation time: no replica set", NOT_A_REPLICA_SET)
            # What happened at the noted time is in the snapshot: the read waits for it (causal consistency).
            behind = goes_on or Start(at=Timestamp(noted.time, noted.inc + 1))
            if self._snapshot is None:
                self._advance(behind)
            else:
                self._put(Snapshot(self._snapshot(session)), behind)

    @contextmanager
    def _open(self) -> Iterator[ChangeStream[Any]]:
        """A stream in a session of its own, by which it can be ended from another thread."""
        with self._client.start_session(causal_consistency=False) as session:
            self._session = session
            try:
                with self._watch(session) as stream:
                    yield stream
            finally:
                self._session = None

    def _watch(self, session: ClientSession) -> ChangeStream[Any]:
        can = Abilities.of(self._client)
        pipeline, options = self._read_mode.shape(self._pipeline, can)
        if self._expanded and can.expands:
            options["show_expanded_events"] = True
        if self._read.token is not None:
            # `startAfter` takes every token, `resumeAfter` all but that of an invalidate event (manual, "Resume").
            options["start_after"] = self._read.token
        else:
            options["start_at_operation_time"] = self._read.at
        options |= {"max_await_time_ms": _AWAIT_MILLISECONDS, "session": session, "comment": mark_of_process()}
        return self._target.watch(pipeline, **options)


def _is_whole(raw: Mapping[str, Any]) -> bool:
    """Whether this is a whole event, or the last fragment of one (manual, "$changeStreamSplitLargeEvent")."""
    part = raw.get("splitEvent")
    return not isinstance(part, Mapping) or part.get("fragment") == part.get("of")


def _raw(target: FeedTarget) -> Collection[RawBSONDocument] | Database[RawBSONDocument] | MongoClient[Any]:
    """The target, read as bytes. A client has its own codec: see `connect`."""
    if isinstance(target, MongoClient):
        return target
    return target.with_options(codec_options=RAW_CODEC, read_concern=ReadConcern())  # the URI may name another


def _client_of(target: FeedTarget) -> MongoClient[Document]:
    if isinstance(target, MongoClient):
        return target
    return target.client if isinstance(target, Database) else target.database.client
