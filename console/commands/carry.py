"""Carrying out uploads in the foreground: `upload`, `resume` and `retry` wait here until theirs are at their end.

Owns who does it (a live runner of this host, else one of our own), and what is told meanwhile. The change feed tells
what becomes of them, so it is the same whoever does it; where an event does not tell all, the documents are read, many
at once. Not here: how it looks (`report`).
"""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from types import FrameType
from typing import Any, Final

from bson import ObjectId
from pymongo.errors import PyMongoError

from console.commands.log_lines import tell_in_lines
from console.commands.report import Report
from console.config import Settings
from console.events.event import ChangeEvent
from console.events.feed_items import FeedState, Gap
from console.models import Requested, Upload, UploadStatus, changed_upload, read_upload
from console.records.connection import words
from console.records.database import Records
from console.records.feed import ChangeFeed
from console.records.intents import request_all
from console.records.new_upload import NewUpload
from console.records.runners import Limits
from console.records.transitions import Filter
from console.transfer.identity import this_host
from console.transfer.runner import Runner
from console.transfer.sender import S3Sender

_TICK_SECONDS: Final = 0.1
_MANY: Final = 100
_GATHER_SECONDS: Final = 0.05
"""While many uploads are waited for their events are taken together: to be woken for each costs those that send."""
_LOOK_FOR_RUNNER_SECONDS: Final = 3.0
_CLOCK_STEPS: Final = timedelta(hours=1)
# Together less than five seconds, which is what a system that shuts down may be relied on to give.
_TELL_SECONDS: Final = 1.5
_STOP_SECONDS: Final = 3.0
_NOTICE_SECONDS: Final = 0.5
_LAST_RESORT_SECONDS: Final = 5.0
_SHOW_CURSOR: Final = b"\x1b[?25h"


Batches = Iterable[Sequence[Upload]]
"""Uploads whose documents exist by the time they are handed over, some at a time."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which uploads are carried out: a filter for documents, and one for events that lets a few others through."""

    documents: Filter
    events: Filter

    @classmethod
    def batch(cls, batch: ObjectId) -> Wanted:
        """Those that one command adds from now on."""
        # Not by `batch` itself, which is made from a clock that may be set back meanwhile.
        first = ObjectId.from_datetime(batch.generation_time - _CLOCK_STEPS)
        return cls({"batch": batch}, {"documentKey._id": {"$gte": first}})

    @classmethod
    def ids(cls, ids: list[ObjectId]) -> Wanted:
        """Those with these ids."""
        return cls({"_id": {"$in": ids}}, {"documentKey._id": {"$in": ids}})

    @property
    def pipeline(self) -> list[dict[str, Any]]:
        """Of the change stream: which uploads changed, and how."""
        changes = {"operationType": {"$in": ["update", "replace", "delete"]}}
        told = {"operationType": 1, "documentKey": 1, "updateDescription.updatedFields": 1}
        return [{"$match": {**self.events, **changes}}, {"$project": told}]


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
        self._is_leaving = threading.Event()
        self._open: dict[ObjectId, Upload] = {}
        self._waited_for: set[ObjectId] = set()
        self._ended: dict[ObjectId, Upload] = {}
        self._changed: set[ObjectId] = set()
        self._next_look = 0.0
        self._look_for_runner_at = 0.0

    def run(self, batches: Batches) -> int:
        """Carry out what the batches bring; the first is asked for once no change of it can be missed.

        Gives the exit code: 0 if all completed, 1 if not, 128 + number if ended by a signal.
        """
        tell_in_lines()
        feed = ChangeFeed(self._records.uploads.collection, pipeline=self._wanted.pipeline, images=False)
        feed.start()
        try:
            with self._interruptible():
                self._wait_until_connected(feed)
                self._follow(feed, batches)
                if self._signal is not None:
                    self._is_leaving.set()
                    self._leave(self._signal)
        finally:
            is_written = self._runner is not None and self._runner.stop(_STOP_SECONDS)
            feed.close(timeout=0)
        with suppress(OSError, PyMongoError):  # the terminal may be gone
            if self._open and is_written:  # else MongoDB may not answer for long, and this is the end
                self._changed.update(self._open)
                self._look()
            self._report.ended([*self._ended.values(), *self._open.values()])
        if self._signal is not None:
            return 128 + self._signal
        is_done = not self._open and all(end.status is UploadStatus.COMPLETED for end in self._ended.values())
        return 0 if is_done else 1

    def insert(self, uploads: Sequence[NewUpload]) -> list[Upload]:
        """Insert documents for new uploads, ready for whoever will carry them out. Raises `PyMongoError`."""
        if self._runner is None:
            self._start_runner_if_needed()
        return (self._records.uploads if self._runner is None else self._runner).insert(uploads)

    def _wait_until_connected(self, feed: ChangeFeed) -> None:
        while self._signal is None and feed.error is None:
            if any(isinstance(item, FeedState) and item.connected for item in feed.take(0.1)):
                return

    def _follow(self, feed: ChangeFeed, batches: Batches) -> None:
        coming = iter(batches)
        is_more = True
        while self._signal is None:
            has_room = self._runner is None or self._runner.has_room
            if is_more and has_room:
                batch = next(coming, None)
                is_more = batch is not None
                for upload in batch or ():
                    self._note(upload)
            goes_on = is_more and has_room
            if not goes_on and len(self._waited_for) > _MANY:
                time.sleep(_GATHER_SECONDS)
            self._take(feed, 0.0 if goes_on else _TICK_SECONDS)
            if not is_more and not self._waited_for:
                return
            if self._runner is None and time.monotonic() >= self._look_for_runner_at:
                self._start_runner_if_needed()
            self._report.tick()

    def _take(self, feed: ChangeFeed, seconds: float) -> None:
        """Take what the feed has, and look at the documents a few times a second, or when that may be the end."""
        for item in feed.take(seconds):
            if isinstance(item, ChangeEvent):
                self._hear(item)
            elif isinstance(item, Gap):
                self._changed.update(self._open)
            elif isinstance(item, FeedState):
                self._report.connection(item.connected, item.message)
        if feed.error is not None:
            raise feed.error
        is_time = time.monotonic() >= self._next_look or len(self._changed) >= len(self._waited_for)
        if self._changed and is_time:
            try:
                self._look()
            except PyMongoError as error:
                self._report.connection(connected=False, message=words(error))
            self._next_look = time.monotonic() + _TICK_SECONDS

    def _hear(self, event: ChangeEvent) -> None:
        upload_id = event.document_id
        before = self._open.get(upload_id) or self._ended.get(upload_id)
        if before is None:
            return
        updated = (event.update or {}).get("updatedFields") if event.operation == "update" else None
        upload = changed_upload(before, updated) if updated is not None else None
        if upload is None:
            self._changed.add(upload_id)
        else:
            self._note(upload)

    def _look(self) -> None:
        """Read what changed."""
        found = {document["_id"]: document for document in self._records.uploads.get(list(self._changed))}
        for upload_id in self._changed:
            if upload_id in found:
                if isinstance(upload := read_upload(found[upload_id]), Upload):
                    self._note(upload)
            else:  # deleted: nobody waits for it any more
                self._open.pop(upload_id, None)
                self._ended.pop(upload_id, None)
                self._waited_for.discard(upload_id)
        self._changed.clear()

    def _note(self, upload: Upload) -> None:
        before = self._open.pop(upload.id, None) or self._ended.pop(upload.id, None)
        (self._ended if upload.status.is_terminal else self._open)[upload.id] = upload
        if _is_waited_for(upload):
            self._waited_for.add(upload.id)
        else:
            self._waited_for.discard(upload.id)
        self._report.changed(before, upload)

    def _start_runner_if_needed(self) -> None:
        self._look_for_runner_at = time.monotonic() + _LOOK_FOR_RUNNER_SECONDS
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
        ids = list(self._open)
        is_paused = threading.Event()
        if number is signal.SIGINT:
            # In a thread, as MongoDB may be away.
            telling = threading.Thread(target=self._request_pause, args=(ids, is_paused), name="pause", daemon=True)
            telling.start()
            telling.join(_TELL_SECONDS)
        with suppress(OSError):
            self._report.interrupted(ids, number, is_paused=is_paused.is_set())

    def _see_to_the_end(self, number: int) -> None:
        """Uploads pause and the program ends in time, whatever the main thread waits for: a MongoDB that says nothing,
        a share that hangs, or a reader of what it tells that takes nothing."""
        end_at = time.monotonic() + _LAST_RESORT_SECONDS
        if not self._is_leaving.wait(_NOTICE_SECONDS) and self._runner is not None:
            self._runner.stop(_STOP_SECONDS)
        time.sleep(max(0.0, end_at - time.monotonic()))
        _give_back_cursor()
        os._exit(128 + number)

    def _request_pause(self, ids: list[ObjectId], is_paused: threading.Event) -> None:
        try:
            request_all(self._records.uploads, ids, Requested.PAUSE)
        except PyMongoError as error:
            self._report.connection(connected=False, message=words(error))
        else:
            is_paused.set()

    @contextmanager
    def _interruptible(self) -> Iterator[None]:
        def interrupt(number: int, _: FrameType | None) -> None:
            if self._signal is None:
                self._signal = signal.Signals(number)
                threading.Thread(target=self._see_to_the_end, args=(number,), name="signal", daemon=True).start()

        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before = {number: signal.signal(number, interrupt) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _give_back_cursor() -> None:
    """Bars hide it; but nothing is waited for that does not take it."""
    with suppress(OSError, ValueError):
        if sys.stdout.isatty() and select.select([], [sys.stdout], [], 0)[1]:
            os.write(sys.stdout.fileno(), _SHOW_CURSOR)


def _is_waited_for(upload: Upload) -> bool:
    """Not at its end, and not paused by somebody: nobody would ever end such a wait."""
    is_put_off = upload.status is UploadStatus.PAUSED and upload.requested is not Requested.RUN
    return not upload.status.is_terminal and not is_put_off
