"""All watches of a process: started, held, and seen by other hosts through their heartbeats.

    from console.watch.service import WatchService
    with WatchService(records, sender, settings.s3, settings.transfer, host="me", holder="me:1") as service:
        service.start(settings.watch)

It sends nothing: a runner of this host does, in this process or in another. The change feed says how uploads ended.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Iterable
from queue import Empty, SimpleQueue
from typing import Final, Self

from bson import ObjectId
from pymongo.errors import PyMongoError

from console.events.event import ChangeEvent
from console.events.feed_items import FeedItem, FeedState, Gap, Snapshot
from console.formatting import count, visible
from console.models import TERMINAL, Requested, Upload, UploadStatus, read_upload
from console.records.connection import describe_error, is_refused
from console.records.database import Records
from console.records.requests import request_all
from console.records.transitions import OPEN, Filter, at_endpoint
from console.records.watched_files import count_failed, count_open, count_sent, require_claims
from console.records.watches import HEARTBEAT_SECONDS, Presence, WatchHeartbeat
from console.settings import S3Settings, TransferSettings
from console.settings.watch_rules import WatchRule
from console.stream.feed import ChangeFeed, Interest, pipeline_for
from console.transfer.sender import S3Sender
from console.watch.reporting import Listener, Note, NoteKind, nobody
from console.watch.watcher import State, Surroundings, Watcher

_KINDS: Final = {UploadStatus.COMPLETED: NoteKind.COMPLETED, UploadStatus.FAILED: NoteKind.FAILED}
_TERMINAL: Final = [status.value for status in TERMINAL]  # a list: what others wrote as a status may have no hash
TOLD = sorted(status.value for status in _KINDS)
"""What becomes a note: who cancels an upload knows of it."""


def watch_interest(host: str) -> Interest:
    """Events of a host's watched uploads that are at their end; also those that came without their document."""
    is_watched = {"fullDocument.host": host, "fullDocument.watch.digest": {"$exists": True}}
    ended = {"updateDescription.updatedFields.status": {"$in": sorted(_TERMINAL)}}
    return Interest(
        {"operationType": "update", **ended, "$or": [is_watched, {"fullDocument": None}]},
        ("operationType", "clusterTime", "documentKey", "fullDocument", "updateDescription.updatedFields.status"),
    )


def concerns_watches(item: FeedItem, host: str) -> bool:
    """The same, of what others in this process wanted too."""
    if not isinstance(item, ChangeEvent):
        return not isinstance(item, Snapshot)
    status = ((item.update or {}).get("updatedFields") or {}).get("status")
    return item.operation == "update" and status in _TERMINAL and (item.after or {"host": host}).get("host") == host


def ending(upload: Upload) -> Note | None:
    """The note of an upload of a watch that completed or failed."""
    kind = _KINDS.get(upload.status)
    if kind is None or upload.watch is None:
        return None
    has_failed = kind is NoteKind.FAILED and upload.error is not None
    said = f"{upload.error.code}: {upload.error.message}" if has_failed and upload.error is not None else ""
    destination = visible(upload.destination)
    return Note(kind, upload.watch.rule, upload.os_path, said, destination, upload.size, str(upload.id))


def too_many_failed(number: int) -> str:
    """Why what is left of a rule is paused."""
    return f"stopped by max_failures after {count(number, 'upload')} failed: what is left waits as paused"


_HOSTS_KNOWN_SECONDS: Final = 10.0
_COUNTED_AT_MOST: Final = 10_000
_FEED_SECONDS: Final = 10.0
STOP_SECONDS: Final = 5.0

_log = logging.getLogger(__name__)


class WatchService:
    """Runs a watcher for each rule. `holder` names the process, as a runner's name does. Thread-safe."""

    def __init__(
        self,
        records: Records,
        verifier: S3Sender,
        s3: S3Settings,
        transfer: TransferSettings,
        *,
        host: str,
        holder: str,
        notify: Listener = nobody,
        feed: ChangeFeed | None = None,
    ) -> None:
        """`feed` is a stream of this process that brings what `watch_interest` says; without one it reads its own.

        Raises MongoUnsuitable where files could be sent twice.
        """
        require_claims(records.uploads)
        self._records = records
        self._host = host
        self._holder = holder
        self._notify = notify
        self.presence = Presence.of(records.uploads)
        self._around = Surroundings(records.uploads, s3, transfer, host, verifier, notify, self._is_host_alive)
        self._lock = threading.RLock()
        self._heartbeat_lock = threading.Lock()
        self._counting = threading.Lock()
        self._watchers: dict[str, Watcher] = {}
        self._sent: Counter[str] = Counter()
        self._failed: Counter[str] = Counter()
        self._counted: frozenset[ObjectId] = frozenset()
        self._reported: dict[str, WatchHeartbeat] = {}
        self._must_count = True
        self._closing = threading.Event()
        self._hosts: tuple[float, frozenset[str]] = (0.0, frozenset())
        self._own_feed = None
        if feed is None:
            pipeline = pipeline_for(watch_interest(host))
            feed = self._own_feed = ChangeFeed(records.uploads.collection, pipeline=pipeline, before=False, capacity=0)
        self._feed = feed
        self._heard: SimpleQueue[FeedItem] = SimpleQueue()
        feed.attach(self._queue)
        self._threads = [
            threading.Thread(target=self._send_heartbeats, name="watch-heartbeat", daemon=True),
            threading.Thread(target=self._listen, name="watch-feed", daemon=True),
        ]

    def start(self, rules: Iterable[WatchRule]) -> None:
        """Begin to watch.

        Raises:
            ConfigurationError: a rule has no bucket. PyMongoError: the records cannot be reached.
        """
        self._feed.start()
        self._wait_for_feed()
        self.follow(rules)
        for thread in self._threads:
            thread.start()

    def _wait_for_feed(self) -> None:
        """Of what ended before the feed stands nobody would hear. Without MongoDB, `follow` says so."""
        until = time.monotonic() + _FEED_SECONDS
        while time.monotonic() < until and self._feed.error is None and not self._feed.is_connected:
            if isinstance(self._hear_next(0.2), FeedState):
                return

    def follow(self, rules: Iterable[WatchRule]) -> None:
        """Watch by these rules from now on; those that are as before go on undisturbed. Where it raises, as `start`
        does, all stays as it was.
        """
        wanted = {rule.title: rule for rule in rules}
        # Made first: where one of them cannot be, all stays as it is.
        new = {
            title: Watcher(rule, self._around)
            for title, rule in wanted.items()
            if title not in self._watchers or self._watchers[title].rule != rule
        }
        for watcher in new.values():
            self._reported[watcher.rule.title] = self._heartbeat(watcher)
            # Until a heartbeat knows whether somebody paused the rule, or another process watches the folder.
            watcher.hold(State.STARTING)
        with self._lock:
            old = {title: watcher for title, watcher in self._watchers.items() if wanted.get(title) != watcher.rule}
            self._watchers = {title: watcher for title, watcher in self._watchers.items() if title not in old} | new
        self._end(old.values(), timeout=STOP_SECONDS)
        self._must_count = True
        try:
            for watcher in new.values():
                self._write_heartbeat(watcher)
        except PyMongoError as error:
            if is_refused(error):
                raise
            # These are the rules now: the next heartbeat lets their watches begin.
            _log.warning("new watches wait for MongoDB: %s", describe_error(error))
        for watcher in new.values():
            watcher.start()

    def stop(self, timeout: float = STOP_SECONDS) -> bool:
        """End all watches; False if some were still at work after `timeout` seconds."""
        self._closing.set()
        if self._own_feed is not None:
            self._own_feed.close()
        with self._lock:
            watchers = list(self._watchers.values())
        return self._end(watchers, timeout)

    def watchers(self) -> list[Watcher]:
        """The watches of this process, by name."""
        with self._lock:
            return [self._watchers[title] for title in sorted(self._watchers)]

    def last_heartbeat(self, watcher: Watcher) -> WatchHeartbeat:
        """How a watch was when that was last reported: at most a few seconds ago, while MongoDB is there."""
        return self._reported[watcher.rule.title]

    def _heartbeat(self, watcher: Watcher) -> WatchHeartbeat:
        title = watcher.rule.title
        uploads, problems = self._records.uploads, watcher.problems
        return WatchHeartbeat(
            folder=str(watcher.rule.folder),
            destination=watcher.destination,
            state=watcher.state_message,
            pending=count_open(uploads, self._host, title, self._around.verifier.endpoint, limit=_COUNTED_AT_MOST),
            sent=self._sent[title],
            failed=count_failed(uploads, self._host, title, limit=_COUNTED_AT_MOST),
            waiting=len(watcher.pending),
            refused=watcher.refusals.total,
            refused_by_reason=watcher.refusals.by_reason(),
            last_refusals=tuple(watcher.refusals.latest()),
            last_error=problems.last,
            last_error_at=problems.last_at,
            is_troubled=problems.are_there,
        )

    def _end(self, watchers: Iterable[Watcher], timeout: float) -> bool:
        ended = list(watchers)
        until = time.monotonic() + timeout
        for watcher in ended:
            watcher.stop()
        is_well = sum(not watcher.join(max(0.1, until - time.monotonic())) for watcher in ended) == 0
        for watcher in ended:
            if not self._heartbeat_lock.acquire(timeout=max(0.1, until - time.monotonic())):
                continue  # a heartbeat waits for MongoDB: it would not hear of the end either
            try:
                self.presence.leave(self._host, watcher.rule.title, self._holder, State.STOPPED.value)
            except PyMongoError as error:
                _log.warning("the heartbeat of %s could not be written: %s", watcher.rule.title, describe_error(error))
            finally:
                self._heartbeat_lock.release()
        return is_well

    def _send_heartbeats(self) -> None:
        while not self._closing.wait(HEARTBEAT_SECONDS):
            try:
                if self._must_count:
                    self._count()
                for watcher in self.watchers():
                    self._write_heartbeat(watcher)
            except PyMongoError as error:
                _log.warning("the heartbeat of the watches waits for MongoDB: %s", describe_error(error))
            except Exception:  # noqa: BLE001 - without heartbeats another process would take over
                _log.exception("the heartbeat of the watches goes on after a fault of its own")

    def _write_heartbeat(self, watcher: Watcher) -> None:
        title = watcher.rule.title
        with self._heartbeat_lock:
            if self._closing.is_set() or self._watchers.get(title) is not watcher:
                return  # it has left, or is about to: nothing may come after that
            self._reported[title] = self._heartbeat(watcher)
            answer = self.presence.heartbeat(self._host, title, self._holder, self._reported[title])
        if not answer.is_ours:
            watcher.hold(State.STANDBY)  # also where it is paused: the other process tells of the rule's uploads
        else:
            if watcher.held is State.STANDBY:  # nobody counted here what the other process has sent
                self._must_count = True
            watcher.hold(State.PAUSED if answer.is_paused else None)

    def _count(self) -> None:
        """How many files were ever sent by each rule; from then on the feed counts."""
        self._must_count = False
        titles = [watcher.rule.title for watcher in self.watchers()]
        try:
            with self._counting:
                sent, self._counted = count_sent(self._records.uploads, self._host, titles)
                self._sent = Counter(sent)
        except PyMongoError:
            self._must_count = True
            raise

    def _listen(self) -> None:
        while not self._closing.is_set():
            self._hear_next(1.0)

    def _queue(self, item: FeedItem) -> None:
        if concerns_watches(item, self._host):
            self._heard.put(item)

    def _hear_next(self, seconds: float) -> FeedItem | None:
        try:
            item = self._heard.get(timeout=seconds)
        except Empty:
            return None
        try:
            self._apply(item)
        except PyMongoError as error:
            _log.warning("an upload's end was missed: %s", describe_error(error))
            self._look_again()
        except Exception:  # noqa: BLE001 - the other uploads' ends are to be heard
            _log.exception("the watches go on after a fault of their own")
        return item

    def _apply(self, item: FeedItem) -> None:
        if isinstance(item, Gap):
            self._look_again()
        elif isinstance(item, FeedState) and item.ended:
            _log.error("the watches hear no more of their uploads, and look for themselves: %s", item.message)
        elif isinstance(item, ChangeEvent) and isinstance(item.document_id, ObjectId):
            documents = [item.after] if item.after is not None else self._records.uploads.get([item.document_id])
            for upload in map(read_upload, documents):
                if isinstance(upload, Upload) and upload.watch is not None:
                    self._ended(upload, upload.watch.rule)

    def _ended(self, upload: Upload, rule: str) -> None:
        with self._lock:
            watcher = self._watchers.get(rule)
        if watcher is None or watcher.held is State.STANDBY:
            return
        if upload.status is UploadStatus.COMPLETED:
            with self._counting:
                self._sent[rule] += upload.id not in self._counted
        if watcher.held is None:  # a pause is not one of the uploads; what follows from them is left to the next scan
            if upload.status is UploadStatus.FAILED:
                watcher.wake()  # the folder may have gone
            if upload.status is UploadStatus.COMPLETED:
                watcher.completed(upload.id)
        if (note := ending(upload)) is not None:
            self._notify(note)
        if upload.status is UploadStatus.FAILED:
            self._count_failure(watcher.rule)

    def _count_failure(self, rule: WatchRule) -> None:
        """Pause a rule of which too many uploads failed, as a person would: it goes on once somebody says so."""
        self._failed[rule.title] += 1
        if rule.max_failures is None or self._failed[rule.title] < rule.max_failures:
            return
        self._failed[rule.title] = 0
        uploads = self._records.uploads
        self.presence.pause(self._host, rule.title, paused=True)
        here = at_endpoint(self._around.verifier.endpoint)
        is_open: Filter = {"status": {"$in": list(OPEN)}, "requested": Requested.RUN.value}
        request_all(
            uploads, uploads.ids({**here, "host": self._host, "watch.rule": rule.title, **is_open}), Requested.PAUSE
        )
        self._notify(Note(NoteKind.PAUSED, rule.title, str(rule.folder), too_many_failed(rule.max_failures)))

    def _look_again(self) -> None:
        self._must_count = True
        for watcher in self.watchers():
            watcher.look_again()

    def _is_host_alive(self, host: str) -> bool:
        """Whether a runner of the host lives; what is known of that may be some seconds old."""
        until, alive = self._hosts
        if time.monotonic() >= until:
            alive = frozenset(runner.host for runner in self._records.runners.live())
            self._hosts = (time.monotonic() + _HOSTS_KNOWN_SECONDS, alive)
        return host in alive

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
