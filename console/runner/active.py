"""The uploads that a runner holds, waiting or under way, from their claim to its last write.

`ActiveUploads` begins them in threads and knows how many more are worth claiming ahead; `Finisher` writes what became
of one: completed, failed, or released for another runner. Which uploads are taken is decided in `runner`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Final

from bson import ObjectId
from pymongo.errors import PyMongoError

from console.capacity import NO_THREAD, shortage, start_thread, start_worker
from console.choices import MEBIBYTE
from console.error_codes import Recovery
from console.models import Upload
from console.records.connection import describe_error
from console.records.transitions import Fields, failed, refused, stopped
from console.records.uploads import Gate, Uploads
from console.records.writer import Progress, RecordWriter
from console.runner.cleanup import is_aborted
from console.runner.journal import RecordJournal, StopReason, TransferControl
from console.runner.key_claims import KeyClaims
from console.runner.policy import Policy
from console.s3.transfer_errors import Stopped, TransferError
from console.transfer.job import Confirmation
from console.transfer.sender import S3Sender

_log = logging.getLogger(__name__)

_FEW_WAITING: Final = 256
"""Uploads are claimed ahead, so that no sending thread waits for MongoDB: as many bytes as `ClaimAhead` says, and again
once half of them, or all but few uploads, have been begun. What waits here no other runner can take."""
_THREADLESS_SECONDS: Final = 20.0

_NOT_FOR_US: Final = frozenset({"PermissionDenied", "NotARegularFile"})
"""Where others asked for the upload these are no failures of it: a runner of that user may read the file."""
_FIRST_BYTES: Final = 8 * MEBIBYTE
_LEAST_BYTES: Final = 1 * MEBIBYTE
_MOST_BYTES: Final = 256 * MEBIBYTE
_SHORT_SECONDS: Final = 0.15
"""A claim takes some milliseconds, and a tenth of a second while everybody wants Python's lock."""
_LONG_SECONDS: Final = 0.5


@dataclass(slots=True, eq=False)
class Active:
    """An upload that a runner holds, since when, if it was claimed. `cancel` breaks off the request of a small file,
    and does nothing once that has ended; `gives_up`: it is stopped for that, as a failure."""

    upload: Upload
    control: TransferControl
    journal: RecordJournal
    progress: Progress
    claimed_at: float | None = None
    gives_up: TransferError | None = None
    cancel: Callable[[], None] | None = None

    def on_the_way(self, cancel: Callable[[], None]) -> None:
        """Its request is on its way; this breaks it off."""
        self.cancel = cancel

    def stop(self, reason: StopReason) -> None:
        """Whether its thread looks at the control now and then, or waits for the answer to its only request."""
        self.control.stop(reason)
        if (cancel := self.cancel) is not None:
            cancel()


class Finisher:
    """Writes how claims end; `forget` is called once that is done, or cannot be, `completed` with each upload that the
    majority has as completed, and `failed` for each that fails. Thread-safe."""

    def __init__(
        self,
        uploads: Uploads,
        sender: S3Sender,
        writer: RecordWriter,
        forget: Callable[[Active], None],
        completed: Callable[[Upload], None],
        failed: Callable[[], None],
    ) -> None:
        self._uploads = uploads
        self._sender = sender
        self._writer = writer
        self._forget = forget
        self._completed = completed
        self._failed = failed

    def complete(self, active: Active, sent: Confirmation) -> None:
        """S3 confirmed the object."""
        upload, fields = active.journal.completed(sent)

        def written(outcome: Future[bool]) -> None:
            is_answered = not outcome.cancelled() and outcome.exception() is None
            if is_answered and outcome.result():
                self._completed(upload)
            if is_answered and not outcome.result():  # asks the server, so not on the writer's thread
                if not start_thread(partial(self._complete_late, active, upload, fields), "late"):
                    self._complete_late(active, upload, fields)
            else:
                self._forget(active)

        self._writer.write(active.upload.id, fields, releases=True).add_done_callback(written)

    def fail(self, active: Active, error: TransferError) -> None:
        """It cannot go on; after a final error nothing of it is left in the bucket."""
        self._failed()
        gone = error.recovery is Recovery.PERMANENT and self._abort(active)
        self._write_end(active, failed(error.code, error.message, multipart_gone=gone))

    def refuse(self, active: Active, gate: Gate, reason: str) -> None:
        """This runner may not read the file, but whoever asked for it was not this user: somebody else may."""
        self._write_end(active, stopped(leaving=False) | refused(gate.name, reason))

    def release(self, active: Active, *, leaving: bool) -> None:
        """The transfer stopped: leave the document to whoever is next, or write what was requested.

        The parts of a cancelled upload are left to `cleanup`: S3 may take its time.
        """
        if active.control.reason is StopReason.LOST:
            self._drop_if_deleted(active)
            self._forget(active)
        else:
            self._write_end(active, stopped(leaving=leaving))

    def _write_end(self, active: Active, fields: Fields) -> None:
        outcome = self._writer.write(active.upload.id, fields, releases=True)
        outcome.add_done_callback(lambda _: self._forget(active))

    def _complete_late(self, active: Active, upload: Upload, fields: Fields) -> None:
        try:
            if self._uploads.complete_late(active.upload.id, active.upload.attempts, fields):
                _log.warning("upload %s was taken from us, but its object is complete", active.upload.id)
                self._completed(upload)
        except PyMongoError as error:
            _log.warning("whoever has %s now will find its object: %s", active.upload.id, describe_error(error))
        self._forget(active)

    def _drop_if_deleted(self, active: Active) -> None:
        """Without a document nobody would ever know of the parts; with one they are its new runner's."""
        try:
            if not self._uploads.get([active.upload.id]):
                self._abort(active)
        except PyMongoError as error:
            _log.warning("a sweep has to find what is left of %s: %s", active.upload.id, describe_error(error))

    def _abort(self, active: Active) -> bool:
        """Whether nothing is left in the bucket."""
        # Under the key where it was opened, which may be another one than claimed (duplicates: new_name).
        return is_aborted(self._sender, active.journal.upload)


class ClaimAhead:
    """How many bytes of uploads are claimed ahead. Not thread-safe: the lock of whoever owns it is held."""

    def __init__(self) -> None:
        self.bytes_ahead = _FIRST_BYTES
        self._longest: float | None = None

    def waited(self, seconds: float) -> None:
        """An upload that had been claimed has begun after so long a time."""
        self._longest = max(seconds, self._longest or 0.0)

    def claimed(self) -> None:
        """More have been claimed: twice as much next time where all that began since the last time had hardly waited,
        half as much where one waited for long."""
        if self._longest is None:
            return
        if self._longest < _SHORT_SECONDS:
            self.bytes_ahead = min(_MOST_BYTES, self.bytes_ahead * 2)
        elif self._longest > _LONG_SECONDS:
            self.bytes_ahead = max(_LEAST_BYTES, self.bytes_ahead // 2)
        self._longest = None


@dataclass(frozen=True, slots=True)
class Capacity:
    """What may be claimed: `slots` uploads that would be begun at once, and others of `bytes_ahead` to wait."""

    slots: int
    bytes_ahead: int


class _WorkQueue:
    """Uploads that wait for threads of one kind, and how many of these there are. For whoever holds the lock."""

    def __init__(self, at_once: Callable[[], int], carry_out: Callable[[Active], None]) -> None:
        self.at_once = at_once
        self.carry_out = carry_out
        self.waiting: deque[Active] = deque()
        self.workers = 0

    @property
    def missing_workers(self) -> int:
        return max(0, min(self.at_once() - self.workers, len(self.waiting)))


class ActiveUploads:
    """What one runner holds: in two queues until a thread begins it, `_small` for what goes as one quick request and
    `_large` for all else. Thread-safe.

    `wants_more` is called when it is time to claim more. Once `leaving` is set all that comes is released.
    """

    def __init__(
        self,
        uploads: Uploads,
        sender: S3Sender,
        writer: RecordWriter,
        claims: KeyClaims,
        *,
        policy: Callable[[], Policy],
        leaving: threading.Event,
        wants_more: Callable[[], None],
        completed: Callable[[Upload], None] = lambda _: None,
        failed: Callable[[], None] = lambda: None,
    ) -> None:
        self._sender = sender
        self._writer = writer
        self._claims = claims
        self._policy = policy
        self._seals = uploads.seals
        self._finisher = Finisher(uploads, sender, writer, self._forget, completed, failed)
        self._leaving = leaving
        self._wants_more = wants_more
        self._lock = threading.Lock()
        self._idle = threading.Condition(self._lock)
        self._active: dict[ObjectId, Active] = {}
        self._large = _WorkQueue(lambda: sender.uploads_at_once, self._carry_out)
        self._small = _WorkQueue(lambda: sender.small_at_once, self._carry_out_small)
        self._queues = (self._large, self._small)
        self._waiting_bytes = 0
        self._claim_ahead = ClaimAhead()
        self._keeps_begun = False
        self._without_threads_since: float | None = None

    def __len__(self) -> int:
        return len(self._active)

    def ids(self) -> set[ObjectId]:
        with self._lock:
            return set(self._active)

    def capacity(self) -> Capacity | None:
        """What may be claimed now; None while enough waits."""
        with self._lock:
            if self._count_waiting() > _FEW_WAITING or self._waiting_bytes > self._claim_ahead.bytes_ahead // 2:
                return None
            busy = self._large.workers + len(self._large.waiting)
            return Capacity(
                max(0, self._sender.uploads_at_once - busy), self._claim_ahead.bytes_ahead - self._waiting_bytes
            )

    def take(self, uploads: Sequence[Upload], *, claimed: bool) -> None:
        """Carry out uploads of the runner, which were `claimed` for it, or else inserted as its own."""
        claimed_at = time.monotonic() if claimed else None
        if claimed and uploads:
            with self._lock:
                self._claim_ahead.claimed()
        policy = self._policy()
        taken = [self._hold(upload, policy, claimed_at) for upload in uploads]
        small = self._with_keys([active.upload for active in taken if self._sender.takes(active.upload)])
        for active in taken:
            upload, control = active.upload, active.control
            is_small = upload.id in small
            with self._lock:
                begins = not self._keeps_begun
                if begins:
                    (self._small if is_small else self._large).waiting.append(active)
                    self._waiting_bytes += upload.size
                if self._leaving.is_set():
                    control.stop(StopReason.LEAVING)
            if not begins:
                self._finisher.release(active, leaving=self._leaving.is_set())
        self._start_workers()

    def _hold(self, claimed_upload: Upload, policy: Policy, claimed_at: float | None) -> Active:
        # What this process inserted a moment ago it has sealed itself.
        is_own = claimed_at is None or self._seals.is_own_request(claimed_upload)
        upload = policy.prepared(claimed_upload, is_own=is_own)
        progress = Progress(upload.size, upload.current)
        control = TransferControl()
        journal = RecordJournal(upload, self._writer, progress, control, self._claims, self._seals, is_own=is_own)
        active = Active(upload, control, journal, progress, claimed_at)
        self._writer.hold(upload.id, progress, upload.attempts)
        with self._lock:
            self._active[upload.id] = active
        return active

    def _with_keys(self, uploads: Sequence[Upload]) -> set[ObjectId]:
        """Those of some small uploads that have their keys, and so may be sent without a further look."""
        try:
            return self._claims.of_all(uploads)
        except PyMongoError as error:  # each asks by itself, and waits
            _log.info("claiming keys waits for MongoDB: %s", describe_error(error))
            return set()

    def start_missing(self) -> None:
        """More or fewer threads from now on, as limits say and the machine allows; those that are too many end."""
        self._start_workers()

    def obey(self, upload_id: ObjectId) -> None:
        """Stop one as somebody wants it to pause or to be cancelled, if it is held still."""
        with self._lock:
            active = self._active.get(upload_id)
            waited = active is not None and self._leaves_queue(active)
        if active is None:
            return
        active.stop(StopReason.REQUESTED)
        if waited:  # no thread would look at it before its turn came
            self._finisher.release(active, leaving=False)
            self._wants_more()

    def waiting(self) -> list[ObjectId]:
        """What is claimed and not begun."""
        with self._lock:
            return [active.upload.id for queue in self._queues for active in queue.waiting]

    def prioritise(self, priorities: Mapping[ObjectId, int], highest: int | None) -> None:
        """Begin what waits in the order of these priorities; release what comes after `highest`, which nobody has
        claimed yet."""
        late: list[Active] = []
        with self._lock:
            for queue in self._queues:
                ranked = sorted(queue.waiting, key=lambda active: -priorities.get(active.upload.id, 0))
                queue.waiting.clear()
                for active in ranked:
                    if highest is not None and priorities.get(active.upload.id, 0) < highest:
                        late.append(active)
                        self._waiting_bytes -= active.upload.size
                    else:
                        queue.waiting.append(active)
        for active in late:
            active.control.stop(StopReason.REQUESTED)
            self._finisher.release(active, leaving=False)
        if late:
            self._wants_more()

    def lose(self, upload_id: ObjectId, attempt: int) -> bool:
        """Stop one that is another's by now; False if that attempt ended meanwhile: a later one is not meant."""
        with self._lock:
            active = self._active.get(upload_id)
        if active is None or active.upload.attempts != attempt:
            return False
        active.stop(StopReason.LOST)
        return True

    def moved(self) -> dict[ObjectId, int]:
        """How many bytes each has moved that has begun and has some left."""
        with self._lock:
            active = list(self._active.items())
        return {upload_id: moved for upload_id, each in active if (moved := each.progress.moved) is not None}

    def give_up(self, upload_id: ObjectId, error: TransferError) -> None:
        """Stop one as failed, if it is held still; what arrived stays for a retry."""
        with self._lock:
            active = self._active.get(upload_id)
        if active is not None:
            active.gives_up = error
            active.stop(StopReason.REQUESTED)

    def rules(self) -> dict[ObjectId, str]:
        """The watches that asked for what is held."""
        with self._lock:
            active = list(self._active.values())
        return {each.upload.id: each.upload.watch.rule for each in active if each.upload.watch is not None}

    def release(self, is_meant: Callable[[Upload], bool] | None = None) -> None:
        """Stop all for now, or those that are meant: whoever may carry them out later goes on with them."""
        with self._lock:
            meant = [each for each in self._active.values() if is_meant is None or is_meant(each.upload)]
            waiting = self._empty_queues() if is_meant is None else [each for each in meant if self._leaves_queue(each)]
        for active in meant:
            active.stop(StopReason.REQUESTED)
        for active in waiting:
            self._finisher.release(active, leaving=self._leaving.is_set())

    def leave(self) -> None:
        """Stop all, and release what waits. Small files that are on their way may still arrive."""
        with self._lock:
            waiting = self._empty_queues()
            for active in self._active.values():
                active.control.stop(StopReason.LEAVING)
        for active in waiting:
            self._finisher.release(active, leaving=self._leaving.is_set())

    def keep_begun(self, timeout: float) -> bool:
        """Begin nothing any more. What waits is released, for whoever else takes it; True if that was written within
        `timeout` seconds."""
        with self._lock:
            self._keeps_begun = True
            waiting = self._empty_queues()
        for active in waiting:
            self._finisher.release(active, leaving=self._leaving.is_set())
        with self._idle:
            return self._idle.wait_for(lambda: not any(entry.upload.id in self._active for entry in waiting), timeout)

    def cancel(self) -> None:
        """Stop also small files that are on their way."""
        with self._lock:
            under_way = list(self._active.values())
        for active in under_way:
            active.stop(StopReason.LEAVING)

    def wait_idle(self, timeout: float | None = None) -> bool:
        """Wait until nothing is held any more; False if that took longer."""
        with self._idle:
            return self._idle.wait_for(lambda: not self._active, timeout)

    def _start_workers(self) -> None:
        is_refused = False
        for queue in self._queues:
            with self._lock:
                missing = queue.missing_workers
                queue.workers += missing
            for _ in range(missing):
                if not start_worker(partial(self._work, queue)):
                    is_refused = True
                    with self._lock:
                        queue.workers -= 1
        self._wait_for_threads(is_refused=is_refused)

    def _wait_for_threads(self, *, is_refused: bool) -> None:
        """Where the machine allows not one thread, not even after a while, what waits fails with that reason."""
        with self._lock:
            if not is_refused or any(queue.workers for queue in self._queues):
                self._without_threads_since = None
                return
            self._without_threads_since = self._without_threads_since or time.monotonic()
            if time.monotonic() - self._without_threads_since < _THREADLESS_SECONDS:
                return
            waiting = self._empty_queues()
        for active in waiting:
            self._finisher.fail(active, TransferError("OutOfResources", NO_THREAD))

    def _work(self, queue: _WorkQueue) -> None:
        while (active := self._next(queue)) is not None:
            queue.carry_out(active)

    def _next(self, queue: _WorkQueue) -> Active | None:
        active, is_time = None, True
        with self._lock:
            allowed = queue.at_once()
            if queue.workers > allowed or not queue.waiting:
                queue.workers -= 1
            else:
                active, is_time = self._take_from(queue)
                is_time = is_time or (allowed > queue.workers and not queue.waiting)
            grows = queue.missing_workers > 0  # there may be room for more by now
        if grows:
            self._start_workers()
        if is_time:
            self._wants_more()
        return active

    def _carry_out(self, active: Active) -> None:
        try:
            active.control.check()
            sent = self._sender.send(active.upload, active.journal, active.control)
        except Stopped:
            self._stopped(active)
        except TransferError as error:
            self._fail_or_leave(active, error)
        except Exception as error:  # noqa: BLE001 - a fault of ours must not leave an upload that nobody ends
            if lacking := shortage(error):
                self._finisher.fail(active, TransferError("OutOfResources", lacking))
                return
            _log.exception("sending %s", active.upload.id)
            self._finisher.fail(
                active, TransferError("InternalError", f"{type(error).__name__}: {error}", Recovery.NEEDS_ACTION)
            )
        else:
            self._finisher.complete(active, sent)

    def _carry_out_small(self, active: Active) -> None:
        sent = None
        try:
            active.control.check()
            if self._sender.takes(active.upload):
                sent = self._sender.send_small(active.upload, active.journal, active.control, active.on_the_way)
        except Stopped:
            self._stopped(active)
            return
        except TransferError as error:
            self._fail_or_leave(active, error)
            return
        except Exception as error:  # noqa: BLE001 - whatever it is, the worker meets it too and tells
            if not shortage(error):
                _log.exception("sending %s", active.upload.id)
        if sent is not None:
            self._finisher.complete(active, sent)
        else:
            self._give_to_a_worker(active)

    def _stopped(self, active: Active) -> None:
        if active.gives_up is not None and active.control.reason is StopReason.REQUESTED:
            self._finisher.fail(active, active.gives_up)
        else:
            self._finisher.release(active, leaving=self._leaving.is_set())

    def _give_to_a_worker(self, active: Active) -> None:
        with self._lock:
            self._large.waiting.appendleft(active)
            self._waiting_bytes += active.upload.size
        self._start_workers()

    def _fail_or_leave(self, active: Active, error: TransferError) -> None:
        if error.code in _NOT_FOR_US and not active.journal.is_own:
            self._finisher.refuse(active, self._policy().gate, error.message)
        else:
            self._finisher.fail(active, error)

    def _count_waiting(self) -> int:
        return sum(len(queue.waiting) for queue in self._queues)

    def _empty_queues(self) -> list[Active]:
        """What waited. Called with the lock held."""
        waiting = [active for queue in self._queues for active in queue.waiting]
        for queue in self._queues:
            queue.waiting.clear()
        self._waiting_bytes = 0
        return waiting

    def _leaves_queue(self, active: Active) -> bool:
        """Whether it was waiting; it is not any more. Called with the lock held."""
        for queue in self._queues:
            if active in queue.waiting:
                queue.waiting.remove(active)
                self._waiting_bytes -= active.upload.size
                return True
        return False

    def _take_from(self, queue: _WorkQueue) -> tuple[Active, bool]:
        """The next one, and whether it is time to claim more. Called with the lock held."""
        active = queue.waiting.popleft()
        if active.claimed_at is not None:
            self._claim_ahead.waited(time.monotonic() - active.claimed_at)
            active.claimed_at = None  # it may come again, given to a worker by `_give_to_a_worker`
        before = self._waiting_bytes
        self._waiting_bytes -= active.upload.size
        waiting = self._count_waiting()
        has_few = waiting <= _FEW_WAITING and waiting % 64 == 0
        return active, has_few or self._waiting_bytes <= self._claim_ahead.bytes_ahead // 2 < before

    def _forget(self, active: Active) -> None:
        with self._idle:
            # The same runner may already have claimed it again.
            if self._active.get(active.upload.id) is active:
                del self._active[active.upload.id]
            is_time = not self._count_waiting()
            self._idle.notify_all()
        if is_time:
            self._wants_more()
