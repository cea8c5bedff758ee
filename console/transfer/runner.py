"""The runner: claims uploads of its host, has them sent by worker threads, and obeys what their documents request.

Owns the life of an upload between claim and settlement, and how many go at once. It knows only documents: a person
or another host reaches it through them alone. Not here: how bytes are sent (`send`), what is written (`records`).
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import pymongo
from bson import ObjectId
from pymongo.errors import PyMongoError

from console.models import Requested, Upload
from console.records.connection import Document, words
from console.records.database import Records
from console.records.new_upload import NewUpload
from console.records.progress import Progress
from console.records.runners import HEARTBEAT_SECONDS, Limits
from console.records.transitions import Filter
from console.records.writer import LEASE_SECONDS, RecordWriter
from console.transfer.adoption import Adoption
from console.transfer.errors import Stopped, TransferError
from console.transfer.identity import RunnerIdentity
from console.transfer.job import Confirmation
from console.transfer.orders import StopReason, TransferControl
from console.transfer.record_journal import RecordJournal
from console.transfer.sender_port import Sender
from console.transfer.settling import Active, Settling
from console.transfer.tidying import Tidier
from console.transfer.verdicts import Verdict
from console.transfer.wakeups import Wakeup, Wakeups

_BYTES_AHEAD: Final = 32 * 1024 * 1024
_MOST_HELD: Final = 1_000
"""While it holds as many uploads nothing more is inserted for it: what waits costs memory, and a lease each."""
_FEW_WAITING: Final = 256
"""Small files are claimed some hundreds at a time, and again before these run out."""
_LOOK_ANYWAY_SECONDS: Final = 1.0

_log = logging.getLogger(__name__)


class Runner:
    """Carries out uploads until stopped. One for a process is enough.

    `kind` (console, watch, command) and `details()` are what other hosts see of it. `only` bounds it to documents
    that match.
    """

    def __init__(
        self,
        records: Records,
        sender: Sender,
        limits: Limits,
        *,
        kind: str,
        identity: RunnerIdentity | None = None,
        only: Filter | None = None,
        details: Callable[[], Mapping[str, Any]] = dict,
        lease_seconds: float = LEASE_SECONDS,
    ) -> None:
        self._records = records
        self._sender = sender
        self._limits = limits
        self._kind = kind
        self._identity = identity or RunnerIdentity()
        self._only = only
        self._details = details
        self._lease_seconds = lease_seconds
        self._writer = RecordWriter(
            records.uploads.collection, self.name, on_lost=self._lost, lease_seconds=lease_seconds
        )
        self._settling = Settling(records.uploads, sender, self._writer, self._forget)
        self._wakeups = Wakeups(records, self.host)
        self._lock = threading.Lock()
        self._active: dict[ObjectId, Active] = {}
        self._claimed: deque[Active] = deque()
        self._workers = 0
        self._idle = threading.Condition(self._lock)
        self._draining = False
        self._may_find_more = True
        self._claim_may_be_lost = False  # it took place, but the answer did not come
        self._leaving = threading.Event()
        self._stopping = threading.Lock()
        self._stopped: bool | None = None
        self._next_beat = 0.0
        self._adoption = Adoption(records.uploads, self._identity, sender.is_here, lease_seconds)
        self._tidier = Tidier(records, sender, self.name, self._adoption.dead, lease_seconds)
        self._thread = threading.Thread(target=self._run, name="runner", daemon=True)

    @property
    def name(self) -> str:
        """The runner as it stands in leases."""
        return self._identity.name

    @property
    def host(self) -> str:
        """The host whose files it sends."""
        return self._identity.host

    @property
    def limits(self) -> Limits:
        """The limits that hold now."""
        return self._limits

    def start(self) -> None:
        """Begin to claim."""
        self._sender.set_limits(self._limits)
        self._wakeups.start()
        self._tidier.start()
        self._thread.start()

    @property
    def has_room(self) -> bool:
        """Whether it makes sense to `insert` more already."""
        return len(self._active) < _MOST_HELD

    def insert(self, uploads: Sequence[NewUpload]) -> list[Document]:
        """Insert documents for new uploads. Small files that can be begun at once are held by this runner from the
        start; the others wait to be claimed, by it or another one.

        Raises:
            PyMongoError: the server is away. Those that it has nevertheless taken are carried out.
        """
        is_ending = self._draining or self._leaving.is_set()
        held: list[NewUpload] = []
        others: list[NewUpload] = []
        for new in uploads:
            (held if not is_ending and self._sender.takes_new(new) else others).append(new)
        documents = self._records.uploads.insert(others)
        try:
            claimed = self._records.uploads.insert_claimed(held, self.name, lease_seconds=self._lease_seconds)
        except PyMongoError:
            self._claim_may_be_lost = True
            raise
        for document in claimed:
            self._accept(Upload.model_validate(document))
        self._start_workers()
        self._wakeups.wake()
        return [*documents, *claimed]

    def drain(self) -> None:
        """Claim nothing more; what is claimed goes on."""
        self._draining = True

    def wait_idle(self, timeout: float | None = None) -> bool:
        """Wait until nothing is claimed or sent any more; False if that took longer."""
        with self._idle:
            return self._idle.wait_for(lambda: not self._active, timeout)

    def stop(self, timeout: float = 5.0) -> bool:
        """Pause what runs, keep what arrived, and end; True if all was written within `timeout` seconds.

        What could not be written in time is adopted by the next runner of this host. A second call waits for the
        first and gives its answer.
        """
        with self._stopping:
            if self._stopped is None:
                self._stopped = self._stop(timeout)
            return self._stopped

    def _stop(self, timeout: float) -> bool:
        until = time.monotonic() + timeout
        self._leaving.set()
        self._wakeups.close()
        with self._lock:
            waiting = list(self._claimed)
            self._claimed.clear()
            for active in self._active.values():
                active.control.stop(StopReason.LEAVING)
        for active in waiting:
            self._settling.let_go(active, leaving=self._leaving.is_set())
        if self._thread.is_alive():
            self._thread.join(timeout / 2)
        if not self.wait_idle(timeout / 4):
            with self._lock:
                under_way = list(self._active.values())
            for active in under_way:
                active.stop(StopReason.LEAVING)
        # While it lives it may still be claiming.
        settled = not self._thread.is_alive() and self.wait_idle(max(0.1, until - time.monotonic() - 0.5))
        written = self._writer.close(max(0.2, until - time.monotonic()))
        is_well = settled and written
        self._tidier.close(max(0.0, until - time.monotonic()) if is_well else 0.0)
        if is_well:
            try:
                with pymongo.timeout(max(0.2, until - time.monotonic())):  # MongoDB may fall silent just now
                    self._records.runners.leave(self.name)
            except PyMongoError as error:
                _log.warning("the heartbeat stays behind: %s", words(error))
            self._identity.release()
        return is_well

    def _run(self) -> None:
        woken_by = Wakeup.INTENT
        while not self._leaving.is_set():
            try:
                self._beat()
                if woken_by is not Wakeup.CALL:
                    self._may_find_more = True
                    self._obey()
                self._claim()
            except PyMongoError as error:
                _log.warning("the runner waits for MongoDB: %s", words(error))
                self._leaving.wait(0.5)
            except Exception:  # noqa: BLE001 - a runner that ended unnoticed would obey nobody any more
                _log.exception("the runner goes on after a fault of its own")
                self._leaving.wait(0.5)
            woken_by = self._wakeups.wait(_LOOK_ANYWAY_SECONDS)
            if woken_by is Wakeup.INTENT:
                self._tidier.wake()

    def _beat(self) -> None:
        if time.monotonic() < self._next_beat:
            return
        limits = self._records.runners.beat(self.name, self.host, self._kind, self._limits, self._details())
        self._next_beat = time.monotonic() + HEARTBEAT_SECONDS
        if limits != self._limits:
            self._limits = limits
            self._sender.set_limits(limits)
            self._start_workers()

    def _obey(self) -> None:
        """Stop what shall pause or be cancelled, and what is no longer ours."""
        with self._lock:
            active = dict(self._active)
        if not active:
            return
        requested = self._records.uploads.requested_of(self.name)
        for upload_id, entry in active.items():
            if requested.get(upload_id, Requested.RUN) is not Requested.RUN:
                entry.stop(StopReason.REQUESTED)

    def _claim(self) -> None:
        with self._lock:
            at_work = {upload_id: entry.upload for upload_id, entry in self._active.items()}
            waiting = len(self._claimed)
        small = [upload.size for upload in at_work.values() if self._sender.takes(upload)]
        free = self._limits.uploads - (len(at_work) - len(small))
        if self._draining or self._leaving.is_set() or not self._may_find_more or free <= 0 or waiting > _FEW_WAITING:
            return
        idle, takeable = self._adoption.takeable(at_work, own=self._claim_may_be_lost)
        self._claim_may_be_lost = True
        claimed = self._records.uploads.claim(
            self.name,
            self.host,
            lease_seconds=self._lease_seconds,
            slots=0 if waiting else free,
            most_bytes_ahead=max(0, _BYTES_AHEAD - sum(small)),
            dead=idle,
            only=takeable if self._only is None else {"$and": [self._only, takeable]},
            at_work=at_work,
        )
        self._claim_may_be_lost = False
        if not claimed and self._only is None:
            elsewhere = self._adoption.takeable_elsewhere(at_work)[:free]
            claimed = self._records.uploads.claim_elsewhere(self.name, elsewhere, lease_seconds=self._lease_seconds)
        self._may_find_more = bool(claimed) or waiting > 0
        for upload in claimed:
            self._accept(upload)
        self._start_workers()

    def _accept(self, upload: Upload) -> None:
        progress = Progress(upload.size, upload.current)
        control = TransferControl()
        active = Active(upload, control, RecordJournal(upload, self._writer, progress, control))
        self._writer.hold(upload.id, progress, upload.attempts)
        with self._lock:
            self._active[upload.id] = active
            self._claimed.append(active)
            if self._leaving.is_set():
                control.stop(StopReason.LEAVING)

    def _start_workers(self) -> None:
        with self._lock:
            missing = min(self._limits.uploads - self._workers, len(self._claimed))
            self._workers += max(0, missing)
        for _ in range(missing):
            threading.Thread(target=self._work, name="upload", daemon=True).start()

    def _work(self) -> None:
        while (active := self._next()) is not None:
            self._carry_out(active)

    def _next(self) -> Active | None:
        with self._lock:
            if self._workers > self._limits.uploads or not self._claimed:
                self._workers -= 1
                return None
            active = self._claimed.popleft()
            is_time = len(self._claimed) <= _FEW_WAITING and len(self._claimed) % 64 == 0
        if is_time:
            self._wakeups.wake()
        return active

    def _carry_out(self, active: Active) -> None:
        try:
            active.control.check()
            if self._begin(active):
                return
            sent = self._sender.send(active.upload, active.journal, active.control)
        except Stopped:
            self._settling.let_go(active, leaving=self._leaving.is_set())
        except TransferError as error:
            self._settling.fail(active, error)
        except Exception as error:  # noqa: BLE001 - a fault of ours must not leave an upload that nobody ends
            _log.exception("sending %s", active.upload.id)
            self._settling.fail(
                active, TransferError("InternalError", f"{type(error).__name__}: {error}", Verdict.PERSON)
            )
        else:
            self._settling.complete(active, sent)

    def _begin(self, active: Active) -> bool:
        """Whether it is on its way without a thread of its own."""
        if active.was_begun or not self._sender.takes(active.upload):
            return False
        active.was_begun = True

        def ended(sent: Confirmation | None) -> None:
            if sent is not None:
                self._settling.complete(active, sent)
                return
            with self._lock:
                self._claimed.appendleft(active)
            self._start_workers()

        active.cancel = self._sender.begin(active.upload, active.journal, active.control, ended)
        return active.cancel is not None

    def _forget(self, active: Active) -> None:
        with self._idle:
            # The same runner may already have claimed it anew.
            if self._active.get(active.upload.id) is active:
                del self._active[active.upload.id]
            is_time = self._may_find_more and not self._claimed
            if not self._active:
                self._idle.notify_all()
        if is_time:
            self._wakeups.wake()

    def _lost(self, upload_id: ObjectId) -> None:
        with self._lock:
            active = self._active.get(upload_id)
        if active is not None:
            _log.warning("upload %s is no longer ours", upload_id)
            active.stop(StopReason.LOST)
