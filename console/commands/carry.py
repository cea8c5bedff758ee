"""Carrying out uploads in the foreground: `upload`, `resume` and `retry` wait here until theirs are at their end.

Owns who does it (a live runner of this host, else one of our own), and what is told meanwhile. All that is told comes
from the change feed, so it is the same whoever does it. Not here: how it looks (`report`).
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType
from typing import Any, Final

from bson import ObjectId
from pymongo.errors import PyMongoError

from console.commands.report import Report
from console.config import Settings
from console.events.event import ChangeEvent
from console.events.feed_items import FeedItem, FeedState, Snapshot
from console.models import Requested, Upload, UploadStatus, read_upload
from console.records.connection import words
from console.records.database import Records
from console.records.feed import ChangeFeed
from console.records.intents import request_all
from console.records.runners import Limits
from console.records.transitions import Filter
from console.transfer.identity import this_host
from console.transfer.runner import Runner
from console.transfer.sender import S3Sender

_LOOK_FOR_RUNNER_SECONDS: Final = 3.0
# Together less than five seconds, which is what a system that shuts down may be relied on to give.
_TELL_SECONDS: Final = 1.5
_STOP_SECONDS: Final = 3.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which uploads are carried out: a filter for documents, and the same for their events."""

    documents: Filter
    events: Filter

    @classmethod
    def batch(cls, batch: ObjectId) -> Wanted:
        """Those that one command added."""
        either = [{"fullDocument.batch": batch}, {"fullDocumentBeforeChange.batch": batch}]
        return cls({"batch": batch}, {"$or": either})

    @classmethod
    def ids(cls, ids: list[ObjectId]) -> Wanted:
        """Those with these ids."""
        return cls({"_id": {"$in": ids}}, {"documentKey._id": {"$in": ids}})


class Carrier:
    """Waits for uploads; starts a runner where none of this host is there to take them."""

    def __init__(self, records: Records, sender: S3Sender, settings: Settings, wanted: Wanted, report: Report) -> None:
        self._records = records
        self._sender = sender
        self._settings = settings
        self._wanted = wanted
        self._report = report
        self._runner: Runner | None = None
        self._signal: signal.Signals | None = None
        self._states: dict[Any, Upload | None] = {}

    def run(self) -> int:
        """Carry them out; gives the exit code: 0 if all completed, 1 if not, 128 + number if ended by a signal."""
        feed = ChangeFeed(
            self._records.uploads.collection,
            pipeline=[{"$match": self._wanted.events}],
            snapshot=lambda session: self._records.uploads.matching(self._wanted.documents, session),
        )
        feed.start()
        try:
            with self._interruptible():
                self._follow(feed)
                if self._signal is not None:
                    self._leave(self._signal)
        finally:
            if self._runner is not None:
                self._runner.stop(_STOP_SECONDS)
            feed.close(timeout=0)
        with suppress(OSError):  # the terminal may be gone
            for item in feed.take(0):
                self._apply(item)
            self._report.ended(list(filter(None, self._states.values())))
        if self._signal is not None:
            return 128 + self._signal
        is_done = all(upload is None or upload.status is UploadStatus.COMPLETED for upload in self._states.values())
        return 0 if is_done else 1

    def _follow(self, feed: ChangeFeed) -> None:
        look_at = 0.0
        seen_all = False
        while self._signal is None:
            for item in feed.take(0.1):
                seen_all = seen_all or isinstance(item, Snapshot)
                self._apply(item)
            if feed.error is not None:
                raise feed.error
            if seen_all and not any(upload is not None and _is_waited_for(upload) for upload in self._states.values()):
                return
            if self._runner is None and time.monotonic() >= look_at:
                self._start_runner_if_needed()
                look_at = time.monotonic() + _LOOK_FOR_RUNNER_SECONDS
            self._report.tick()

    def _apply(self, item: FeedItem) -> None:
        if isinstance(item, Snapshot):
            self._states = {}
            for document in item.documents:
                self._see(document)
        elif isinstance(item, ChangeEvent):
            if item.after is not None:
                self._see(item.after)
            elif item.operation == "delete" and self._states.get(item.document_id) is not None:
                self._states[item.document_id] = None
        elif isinstance(item, FeedState):
            self._report.connection(item.connected, item.message)

    def _see(self, document: Mapping[str, Any]) -> None:
        upload = read_upload(document)
        if isinstance(upload, Upload):
            before = self._states.get(upload.id)
            self._states[upload.id] = upload
            self._report.changed(before, upload)

    def _start_runner_if_needed(self) -> None:
        host = this_host()
        try:
            if self._records.runners.live(host, ["console", "watch"]):
                return
        except PyMongoError:
            return
        self._runner = Runner(
            self._records, self._sender, Limits.of(self._settings.transfer), kind="command", only=self._wanted.documents
        )
        self._runner.start()

    def _leave(self, number: signal.Signals) -> None:
        """Ctrl+C: what is not done waits for somebody to resume it. Another signal is nobody's wish for a pause: what
        our runner has to let go of goes on with the next one of this host."""
        ids = [upload.id for upload in self._states.values() if upload is not None and _is_open(upload)]
        if number is signal.SIGINT:
            # In a thread, as MongoDB may be away.
            telling = threading.Thread(target=self._request_pause, args=(ids,), name="pause", daemon=True)
            telling.start()
            telling.join(_TELL_SECONDS)
        with suppress(OSError):
            self._report.interrupted(ids, number)

    def _request_pause(self, ids: list[ObjectId]) -> None:
        try:
            request_all(self._records.uploads, ids, Requested.PAUSE)
        except PyMongoError as error:
            self._report.connection(connected=False, message=words(error))

    @contextmanager
    def _interruptible(self) -> Iterator[None]:
        def interrupt(number: int, _: FrameType | None) -> None:
            self._signal = self._signal or signal.Signals(number)

        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before = {number: signal.signal(number, interrupt) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _is_open(upload: Upload) -> bool:
    return not upload.status.is_terminal


def _is_waited_for(upload: Upload) -> bool:
    """Not at its end, and not paused by somebody: nobody would ever end such a wait."""
    return _is_open(upload) and not (upload.status is UploadStatus.PAUSED and upload.requested is not Requested.RUN)
