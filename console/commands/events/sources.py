"""Where `events` reads from: a change stream of any namespace or a recording, filtered, bounded, and recorded on its
way.

    --match 'op:update,replace ns:orders -field:updated_at'
    --match '{"operationType": "insert", "fullDocument.total": {"$gt": 100}}'

`--match` is divided between the server and us. `--until`, `--limit` and `--record` hold for streams and replays
alike.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Lock
from typing import Any, Final, NamedTuple, Protocol, TypeAlias

from bson import Timestamp
from pymongo.errors import OperationFailure, PyMongoError

from console.cli.selection import read_match
from console.errors import ConsoleError, MongoUnsuitable, UsageError
from console.events.event import ChangeEvent
from console.events.feed_items import FeedItem, FeedState, Gap
from console.events.filter import Filter, FilterError, parse_filter
from console.events.recording import BadLine, Recorder, StreamName, last_token, recorded_files, replay
from console.events.since import Start, is_before, parse_since, token_time
from console.formatting import visible
from console.records.connection import (
    NOT_A_REPLICA_SET,
    UNAUTHORIZED,
    Connection,
    check,
    connect,
    describe_error,
    explain,
)
from console.settings import Settings
from console.stream.feed import ChangeFeed, FeedTarget
from console.stream.server import ImagesOf, enable, history, images_of

Stages = list[dict[str, Any]]


def read_server_match(line: str | None) -> tuple[Stages, Filter]:
    """The stages that have the server send less, and what is left to be decided here.

    An expression alone goes to the server as it is, with all operators that the server knows.

    Raises:
        UsageError: it is neither.
    """
    if not line:
        return [], Filter()
    try:
        return parse_filter(line).server_part()
    except FilterError as error:
        complaint = error
    if line.lstrip().startswith("{"):
        try:
            return [{"$match": read_match(line)}], Filter()
        except UsageError:
            pass  # it is not an expression alone; the complaint says more, and where
    raise _refused(complaint) from complaint


def read_local_match(line: str | None) -> Filter:
    """All of it decided here, where there is no server. Raises `UsageError`."""
    try:
        return parse_filter(line or "")
    except FilterError as error:
        raise _refused(error) from error


def _is_of_token(error: OperationFailure) -> bool:
    """Whether the server could not read a resume token: it says so with codes of whatever met the end of it first."""
    words = str(error).lower()
    return error.code in _WRONG_TOKEN or any(each in words for each in ("token", "keystring", "past end of buffer"))


def _refused(error: FilterError) -> UsageError:
    return UsageError(f"--match: {error.message}", advice=error.advice)


ALL: Final = "*"
_WRONG_NAMESPACE: Final = (73, 166)  # InvalidNamespace, CommandNotSupportedOnView: also of time series
_NAMESPACE_ADVICE: Final = "Give a collection, a database or '*'; for a view, the collection behind it."
_WRONG_TOKEN: Final = (9, 15, 40647, 40649, 50811)  # no hexadecimal, too short, no text: server, resume_token.cpp
_HISTORY_ADVICE: Final = "Give a later time, or enlarge the oplog (replSetResizeOplog)."


class EventInput(Protocol):
    """Items as they come. Satisfies `ui.backend.EventSource`."""

    @property
    def title(self) -> str: ...

    @property
    def position(self) -> Start:
        """After all that `feed_take` gave."""

    @property
    def is_at_end(self) -> bool:
        """Whether all was given that will ever come."""

    def feed_take(self, timeout_seconds: float) -> list[FeedItem]:
        """What came, waiting for the first; raises `ConsoleError` where nothing will come any more."""

    def feed_close(self) -> None:
        """End it; a second time nothing happens."""

    def is_past(self, moment: datetime) -> bool:
        """Whether everything before that moment was given, also where nothing has happened since."""


class Place(NamedTuple):
    """Where an earlier reader left off. The token of another stream (`is_own` False) tells a time.
    `file`: where it was kept."""

    token: Mapping[str, Any]
    is_own: bool
    file: str = ""


class OwnEvents:
    """Which events a stream of this namespace and this filter has, as far as that can be told without the server."""

    def __init__(self, namespace: str, match: str | None) -> None:
        self._namespace = namespace
        self._match = match or ""
        self._filter: Filter | None
        try:
            self._filter = read_local_match(match)
        except UsageError:  # operators that only the server knows
            self._filter = None

    def may_have(self, event: ChangeEvent) -> bool:
        """Whether the event is one of the stream; False also where only the server knows."""
        is_here = self._namespace in (ALL, event.namespace, event.namespace.partition(".")[0]) or not event.namespace
        return is_here and self._filter is not None and self._filter.matches(event)

    def stream(self, settings: Settings) -> StreamName:
        """What its place is called by in a file. Raises `ConfigurationError`."""
        connection = connect(settings.mongodb)
        connection.close()
        return StreamName(connection.address, self._namespace, self._match)


def namespace_of(namespace: str | None, settings: Settings) -> str:
    """What is read: what was asked for, else the collection of uploads."""
    return namespace or f"{settings.mongodb.database}.{settings.mongodb.collection}"


@dataclass(frozen=True, slots=True)
class WatchedNamespace:
    """What is to be read: `namespace` is "db", "db.collection" or "*" (None: the collection of uploads).

    `place` is where an earlier reader left off; it goes before `since`. `match` decides what is read at all.
    """

    namespace: str | None = None
    since: str | None = None
    match: str | None = None
    place: Place | None = None


class LiveSource:
    def __init__(self, settings: Settings, watched: WatchedNamespace) -> None:
        """Connect and begin to read.

        Raises:
            ConsoleError: the server is away or has no change streams; an option makes no sense; the oplog does not
                reach back far enough.
        """
        self._name = namespace_of(watched.namespace, settings)
        stages, self._filter = read_server_match(watched.match)
        self._has_match = bool(stages)
        start = parse_since(watched.since, datetime.now(UTC)) if watched.since is not None else None
        self._is_dated = watched.place is None and start is not None
        self._resume_file = watched.place.file if watched.place is not None else ""
        self._has_opened = False
        self._is_connected = False
        with ExitStack() as stack:
            self._connection = connect(settings.mongodb)
            stack.callback(self._connection.close)
            target = _target(self._connection, self._name)
            check(self._connection)
            if self._name == ALL:
                stream = connect(settings.mongodb, raw=True)
                stack.callback(stream.close)
                target = stream.client
            behind = ""
            if watched.place is not None:
                start, behind = _resumed(watched.place)
            elif start is not None:
                start = _within_history(self._connection, start)
            self._feed = ChangeFeed(target, pipeline=stages, start=start, behind=behind, expanded=True)
            self._resources = stack.pop_all()
        what = visible("all databases" if self._name == ALL else self._name)
        only = f", only {visible(watched.match)}" if watched.match else ""
        self.title = f"{what} on {self._connection.address}{only}"
        self._feed.start()

    @property
    def position(self) -> Start:
        return self._feed.position

    @property
    def is_at_end(self) -> bool:
        return False

    def feed_take(self, timeout_seconds: float) -> list[FeedItem]:
        taken = self._feed.take(timeout_seconds)
        if not taken and self._feed.error is not None:
            raise self._explain(self._feed.error)
        for item in taken:
            self._note(item)
        return [item for item in taken if not isinstance(item, ChangeEvent) or self._filter.matches(item)]

    def feed_close(self) -> None:
        self._feed.close(timeout=0)
        self._resources.close()

    def is_past(self, moment: datetime) -> bool:
        """Whether the stream has been read up to that time of the server's clock.

        Its place tells once anything at all has happened since (an idle server writes into its oplog every ten
        seconds). Sooner than that: nothing that happens from now on is before the server's clock, and everything
        that has happened is read when the place is at its last write.
        """
        reached = self._feed.position.time
        if reached is None:
            return False
        if reached.time >= moment.timestamp():
            return True
        if not self._is_connected or self._connection.clock.now() < moment:
            return False
        try:
            hello = self._connection.client.admin.command("hello")
        except PyMongoError:
            return False
        written = hello.get("lastWrite", {}).get("opTime", {}).get("ts")  # not of a sharded cluster
        clock = hello.get("localTime")  # UTC, without saying so
        if not isinstance(written, Timestamp) or not isinstance(clock, datetime):
            return False
        return clock.replace(tzinfo=UTC) >= moment + timedelta(seconds=1) and reached >= written

    def images_of(self, namespace: str) -> ImagesOf:
        try:
            return images_of(self._connection.client, namespace)
        except PyMongoError as error:
            raise self._explain(error) from error

    def enable_images(self, namespace: str) -> None:
        try:
            enable(self._connection.client, namespace)
        except PyMongoError as error:
            raise self._explain(error, f"change options of {visible(namespace)}", "dbAdmin") from error

    def _note(self, item: FeedItem) -> None:
        if isinstance(item, FeedState):
            self._is_connected = item.connected
            self._has_opened = self._has_opened or item.connected
        elif isinstance(item, Gap) and self._is_dated and not self._has_opened:
            raise UsageError(f"--since: {visible(item.reason)}", advice=_HISTORY_ADVICE)

    def _explain(self, error: PyMongoError, action: str = "", role: str = "read") -> ConsoleError:
        if not isinstance(error, OperationFailure):
            return explain(error, self._connection)
        if error.code == UNAUTHORIZED and "requires authentication" not in str(error):
            return self._no_right(error, action or f"watch {visible(self._name)}", role)
        if not self._has_opened and error.code in _WRONG_NAMESPACE:
            return UsageError(f"--namespace {visible(self._name)}: {describe_error(error)}", advice=_NAMESPACE_ADVICE)
        if not self._has_opened and self._is_dated and error.code in _WRONG_TOKEN:
            return UsageError(
                f"--since: {describe_error(error)}", advice="Give the _id of an event of this deployment, or a time."
            )
        if not self._has_opened and self._resume_file and _is_of_token(error):
            return UsageError(
                f"--resume-file {visible(self._resume_file)}: MongoDB does not take the resume token in it: "
                f"{describe_error(error)}",
                advice="Remove the file to begin with what happens from now on, or go back to a time with --since.",
            )
        if self._has_match and not self._has_opened and error.code not in (UNAUTHORIZED, NOT_A_REPLICA_SET):
            return UsageError(f"--match: {describe_error(error)}")
        return explain(error, self._connection)

    def _no_right(self, error: OperationFailure, action: str, role: str) -> MongoUnsuitable:
        database = self._name.partition(".")[0]
        grant = (
            "{role: 'readAnyDatabase', db: 'admin'}" if self._name == ALL else f"{{role: '{role}', db: '{database}'}}"
        )
        return MongoUnsuitable(
            f"The user may not {action} at {self._connection.address}: {describe_error(error)}",
            advice=f"Let an administrator run: db.grantRolesToUser(USER, [{visible(grant)}]).",
        )


def _target(connection: Connection, name: str) -> FeedTarget:
    """The client for "*", a database for "db", a collection for "db.collection"."""
    if name == ALL:
        return connection.client
    database, dot, collection = name.partition(".")
    try:
        if database and not dot:
            return connection.client[database]
        if database and collection:
            return connection.client[database][collection]
    except PyMongoError as error:
        raise UsageError(f"--namespace {visible(name)}: {describe_error(error)}") from error
    raise UsageError(
        f"--namespace: {visible(name)} is not a valid namespace", advice="Expected db, db.collection, or '*' for all."
    )


def _resumed(place: Place) -> tuple[Start, str]:
    """Where to begin, and the token up to which events are left out."""
    time = token_time(place.token)
    if place.is_own or time is None:
        return Start(token=place.token), ""
    return Start(at=time), str(place.token["_data"])


def _within_history(connection: Connection, start: Start) -> Start:
    """The start, if the oplog reaches back to it; where we may not look, the stream itself will tell.

    A deployment younger than that has all its history: then it begins at its first entry.
    """
    known = history(connection.client) if start.time is not None else None
    if known is None or start.time is None or known.begins <= start.time:
        return start
    if known.is_whole and start.token is None:
        return Start(at=known.begins)
    # The next whole second, so that it can be typed.
    oldest = Timestamp(known.begins.time + 1, 0).as_datetime()
    raise UsageError(f"--since: the oldest time available is {oldest:%Y-%m-%dT%H:%M:%SZ}", advice=_HISTORY_ADVICE)


class Bounded:
    """A source up to a moment (the first that is no longer wanted) or up to a number of events."""

    def __init__(self, source: EventInput, until: datetime | None, limit: int | None) -> None:
        self._source = source
        self._until = until
        self._left = limit
        self._cut_at: Start | None = None
        self._is_at_end = False
        self.title = source.title

    @property
    def position(self) -> Start:
        """After all that was given, which may be less than was taken."""
        return self._cut_at or self._source.position

    @property
    def is_at_end(self) -> bool:
        return self._is_at_end or self._source.is_at_end

    def feed_take(self, timeout_seconds: float) -> list[FeedItem]:
        if self._cut_at is not None:
            return []
        place = self._source.position
        given: list[FeedItem] = []
        items = self._source.feed_take(timeout_seconds)
        for item in items:
            if isinstance(item, ChangeEvent):
                if self._left == 0 or not self._is_wanted(item):
                    self._is_at_end, self._cut_at = True, place
                    return given
                place = Start(token=item.token)
                self._left = self._left - 1 if self._left is not None else None
            given.append(item)
        if self._left == 0:
            self._is_at_end, self._cut_at = True, place
        elif self._until is not None and not items:
            self._is_at_end = self._source.is_past(self._until)
        return given

    def feed_close(self) -> None:
        self._source.feed_close()

    def is_past(self, moment: datetime) -> bool:
        return self._source.is_past(moment)

    def _is_wanted(self, event: ChangeEvent) -> bool:
        return self._until is None or is_before(event, self._until)


class Recorded:
    """A source of which everything is recorded before anybody sees it."""

    def __init__(self, source: EventInput, path: Path, is_own: Callable[[ChangeEvent], bool] | None = None) -> None:
        """`is_own`, where the stream is resumed: which events an earlier reader of it may have recorded that it had not
        written when it was killed.

        Raises `UsageError` where the file cannot be written.
        """
        self._recorder = Recorder(path)
        self._writing = Lock()  # a screen takes in a thread of its own
        last = _last_recorded(path, is_own) if is_own is not None else None
        self._has_up_to = str(last["_data"]) if last is not None else ""
        self._source = source
        self.title = source.title

    @property
    def position(self) -> Start:
        return self._source.position

    @property
    def is_at_end(self) -> bool:
        return self._source.is_at_end

    def feed_take(self, timeout_seconds: float) -> list[FeedItem]:
        """What came. Raises also `RecordingFailed`."""
        items = self._source.feed_take(timeout_seconds)
        with self._writing:
            self._recorder.write(self._new(items))
        return items

    def feed_close(self) -> None:
        self._source.feed_close()
        with self._writing:
            self._recorder.close()

    def is_past(self, moment: datetime) -> bool:
        return self._source.is_past(moment)

    def _new(self, items: list[FeedItem]) -> Iterator[ChangeEvent | Gap]:
        for item in items:
            # Tokens of one stream order as text (see `events.resume_file`).
            if isinstance(item, Gap) or (isinstance(item, ChangeEvent) and str(item.token["_data"]) > self._has_up_to):
                yield item


def _last_recorded(path: Path, is_own: Callable[[ChangeEvent], bool]) -> Mapping[str, Any] | None:
    for file in reversed(recorded_files(path)):
        if file.stat().st_size:
            descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
            try:
                return last_token(descriptor, is_own)
            finally:
                os.close(descriptor)
    return None


_CHUNK: Final = 500

_Paced: TypeAlias = tuple[float, FeedItem | None]


class ReplaySource:
    """A recording, at `speed` times its own pace; 0 as fast as it is taken."""

    def __init__(self, path: Path, speed: float = 0.0, match: str | None = None) -> None:
        """Raises `UsageError`: there is no such file, or the filter makes no sense."""
        recorded_files(path)
        self.speed = speed
        self.title = f"recording {visible(str(path))}"
        self._filter = read_local_match(match)
        self._items = self._paced(replay(path), speed)
        self._waiting: _Paced | None = None
        self._has_ended = False

    @property
    def position(self) -> Start:
        return Start()

    @property
    def is_at_end(self) -> bool:
        return self._has_ended

    def feed_take(self, timeout_seconds: float) -> list[FeedItem]:
        """What is due; at the end a `FeedState` that says so, then nothing.

        It takes no longer where nothing passes the filter: whoever reads looks at signals only in between.
        """
        until = time.monotonic() + timeout_seconds
        taken: list[FeedItem] = []
        if self._has_ended:
            time.sleep(timeout_seconds)
        while not self._has_ended and len(taken) < _CHUNK:
            found = self._waiting or next(self._items, None)
            self._waiting = None
            if found is None:
                self._has_ended = True
                taken.append(FeedState(connected=False, message="end of the recording", ended=True))
                break
            due, item = found
            now = time.monotonic()
            if item is None:
                if now >= until:
                    break
                continue
            if due > now and (taken or due > until):
                self._waiting = (due, item)
                if not taken:
                    time.sleep(max(0.0, until - now))
                break
            time.sleep(max(0.0, due - now))
            taken.append(item)
        return taken

    def feed_close(self) -> None:
        self._has_ended = True

    def is_past(self, moment: datetime) -> bool:
        return False

    def _paced(self, items: Iterator[ChangeEvent | Gap | BadLine], speed: float) -> Iterator[_Paced]:
        """Each item with the moment (monotonic) at which it is due; None for one that does not pass."""
        begun = time.monotonic()
        first: datetime | None = None
        due = begun
        for item in items:
            if isinstance(item, BadLine):
                yield due, Gap(str(item))
                continue
            moment = item.time if isinstance(item, ChangeEvent) else None
            if speed and moment is not None:
                first = first or moment
                due = max(due, begun + (moment - first).total_seconds() / speed)
            passes = not isinstance(item, ChangeEvent) or self._filter.matches(item)
            yield due, item if passes else None
