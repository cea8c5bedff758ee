"""What `events` reads: a change stream of any namespace, or a recording, as one source of feed items.

Owns opening either from the command's options. Not here: lines and screens (`events`).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Protocol

from pymongo.errors import PyMongoError

from console.commands.selection import read_match
from console.config import Settings
from console.errors import UsageError
from console.events.event import EVENT_CODEC, ChangeEvent
from console.events.feed_items import FeedItem, FeedState, Gap
from console.events.recording import BadLine, Recorder, replay
from console.events.since import Start, parse_since
from console.formatting import visible
from console.records.connection import Connection, check, connect, explain
from console.records.feed import ChangeFeed, FeedTarget

ALL: Final = "*"
_CHUNK: Final = 500


class Source(Protocol):
    """Items as they come. Satisfies `ui.backend.EventSource`."""

    @property
    def title(self) -> str:
        """What is watched, for people."""
        ...

    @property
    def position(self) -> Start:
        """Behind all that `feed_take` gave."""
        ...

    def feed_take(self, timeout_seconds: float) -> list[FeedItem]:
        """What came, waiting for the first; raises `ConsoleError` where nothing will come any more."""
        ...

    def feed_close(self) -> None:
        """End it; a second time nothing happens."""
        ...


@dataclass(frozen=True, slots=True)
class Watched:
    """What is to be read: `namespace` is "db", "db.collection" or "*" (None: the collection of uploads)."""

    namespace: str | None = None
    since: str | None = None
    match: str | None = None
    token: Any = None
    record: Path | None = None


class LiveSource:
    """A change stream."""

    def __init__(self, settings: Settings, watched: Watched) -> None:
        """Connect and begin to read.

        Raises:
            ConsoleError: the server is away or has no change streams; an option makes no sense; the oplog does not
                reach back far enough.
        """
        start = Start(token=watched.token) if watched.token is not None else None
        if start is None and watched.since is not None:
            start = parse_since(watched.since, datetime.now(UTC))
        pipeline = [{"$match": read_match(watched.match)}] if watched.match else []
        self._connection = connect(settings.mongodb)
        self._recorder = Recorder(watched.record) if watched.record else None
        try:
            check(self._connection)
            if start is not None:
                start = _within_history(self._connection, start)
            name = watched.namespace or f"{settings.mongodb.database}.{settings.mongodb.collection}"
            self._feed = ChangeFeed(_target(self._connection, name), pipeline=pipeline, start=start)
        except BaseException:
            self._connection.close()
            raise
        self.title = f"{visible('all databases' if name == ALL else name)} on {self._connection.address}"
        self._feed.start()

    @property
    def position(self) -> Start:
        """Behind all that was taken."""
        return self._feed.position

    def feed_take(self, timeout_seconds: float) -> list[FeedItem]:
        """What came; recorded before anybody sees it."""
        items = self._feed.take(timeout_seconds)
        if not items and self._feed.error is not None:
            raise explain(self._feed.error, self._connection)
        if self._recorder is not None:
            self._recorder.write(item for item in items if isinstance(item, ChangeEvent | Gap))
        return items

    def feed_close(self) -> None:
        """End the stream and the connection."""
        self._feed.close(timeout=0)
        self._connection.close()
        if self._recorder is not None:
            self._recorder.close()


class ReplaySource:
    """A recording, at `speed` times its own pace; 0 as fast as it is taken."""

    def __init__(self, path: Path, speed: float = 0.0) -> None:
        self.title = f"recording {visible(str(path))}"
        self._items = _paced(replay(path), speed)
        self._waiting: tuple[float, FeedItem] | None = None
        self._ended = False

    @property
    def position(self) -> Start:
        """A recording has none."""
        return Start()

    def feed_take(self, timeout_seconds: float) -> list[FeedItem]:
        """What is due; at the end a `FeedState` that says so, then nothing."""
        until = time.monotonic() + timeout_seconds
        taken: list[FeedItem] = []
        while not self._ended and len(taken) < _CHUNK:
            due, item = self._waiting or next(self._items, None) or (0.0, None)
            if item is None:
                self._ended = True
                taken.append(FeedState(connected=False, message="end of the recording", ended=True))
                break
            wait = due - time.monotonic()
            if wait > 0 and (taken or due > until):
                self._waiting = (due, item)
                if not taken:
                    time.sleep(max(0.0, until - time.monotonic()))
                break
            time.sleep(max(0.0, wait))
            self._waiting = None
            taken.append(item)
        if self._ended and not taken:
            time.sleep(timeout_seconds)
        return taken

    def feed_close(self) -> None:
        """Nothing more comes."""
        self._ended = True


def _paced(items: Iterator[ChangeEvent | Gap | BadLine], speed: float) -> Iterator[tuple[float, FeedItem]]:
    """Each item with the moment (monotonic) at which it is due."""
    begun = time.monotonic()
    first: datetime | None = None
    due = begun
    for item in items:
        moment = item.time if isinstance(item, ChangeEvent) else None
        if speed and moment is not None:
            first = first or moment
            due = max(due, begun + (moment - first).total_seconds() / speed)
        yield due, Gap(str(item)) if isinstance(item, BadLine) else item


def _target(connection: Connection, name: str) -> FeedTarget:
    """The client for "*", a database for "db", a collection for "db.collection"."""
    if name == ALL:
        return connection.client
    database, dot, collection = name.partition(".")
    if not database or (dot and not collection):
        raise UsageError(f"--namespace: {visible(name)} is none", advice="Expected db, db.collection, or '*' for all.")
    if not dot:
        return connection.client.get_database(database, codec_options=EVENT_CODEC)
    return connection.client[database].get_collection(collection, codec_options=EVENT_CODEC)


def _within_history(connection: Connection, start: Start) -> Start:
    """The start, if the oplog reaches back to it; where we may not look, the stream itself will tell.

    A deployment younger than that has all its history: then it begins at its first entry.
    """
    if start.at is None:
        return start
    try:
        oldest = connection.client.local["oplog.rs"].find_one(sort=[("$natural", 1)])
    except PyMongoError:
        return start
    if oldest is None or oldest["ts"] <= start.at:
        return start
    if oldest.get("o", {}).get("msg") == "initiating set":
        return Start(at=oldest["ts"])
    raise UsageError(
        f"--since: the server's history begins at {oldest['ts'].as_datetime():%Y-%m-%dT%H:%M:%SZ}",
        advice="Give a later time, or enlarge the oplog (replSetResizeOplog).",
    )
