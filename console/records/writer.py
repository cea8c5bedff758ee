"""What a runner writes: progress, coalesced; transitions, promptly; leases, renewed. One thread, bulk writes.

Owns the pace and the retries: while MongoDB is away, progress is dropped but for the newest and transitions wait.
Not here: which transitions there are (`transitions`), their statements (`transition_writes`), and what is sent to S3.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Final

from bson import Int64, ObjectId
from pymongo import UpdateOne, WriteConcern
from pymongo.collection import Collection
from pymongo.errors import PyMongoError

from console.records.connection import Document, words
from console.records.progress import Progress
from console.records.transition_writes import Transition, TransitionWrites
from console.records.transitions import NOW, Fields, lease_until

LEASE_SECONDS: Final = 30.0
TICK_SECONDS: Final = 0.5
_MOST_IN_A_BULK: Final = 1000
_MANY: Final = 4
_GATHER_SECONDS: Final = 0.03
"""Where transitions come one upon the other, those of so long a time share a statement, and an answer of the feed."""
_FIRST_PAUSE: Final = 0.05  # seconds between attempts while MongoDB is away, doubled each time …
_LONGEST_PAUSE: Final = 1.0  # … up to this

_log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class _Held:
    attempt: int
    progress: Progress
    renewed_at: float


class RecordWriter:
    """The writes of one runner to the documents that it holds. Thread-safe.

    `on_lost` is called, on the writer's thread, with the id and the attempt of an upload that is no longer ours:
    adopted by another runner, settled by a person after the lease ran out, or its document deleted.
    """

    def __init__(
        self,
        collection: Collection[Document],
        runner: str,
        *,
        on_lost: Callable[[ObjectId, int], None],
        lease_seconds: float = LEASE_SECONDS,
        tick_seconds: float = TICK_SECONDS,
    ) -> None:
        self._transitions = TransitionWrites(collection, runner)
        self._progress_to = collection.with_options(write_concern=WriteConcern(1))
        self._runner = runner
        self._on_lost = on_lost
        self._lease_seconds = lease_seconds
        self._tick = tick_seconds
        self._held: dict[ObjectId, _Held] = {}
        self._queue: deque[Transition] = deque()
        self._changed = threading.Condition()
        self._give_up_at: float | None = None
        self._is_closed = False
        self._is_complete = True
        self._thread = threading.Thread(target=self._run, name="record-writer", daemon=True)
        self._thread.start()

    def hold(self, upload_id: ObjectId, progress: Progress, attempt: int) -> None:
        """From now on renew the lease and write the progress, until a transition lets go.

        `attempt` is the document's `attempts` as the claim left it: what is written counts for that claim alone.
        """
        with self._changed:
            self._held[upload_id] = _Held(attempt, progress, renewed_at=time.monotonic())

    def write(self, upload_id: ObjectId, fields: Fields, *, lets_go: bool = False) -> Future[bool]:
        """Queue a transition; its future tells whether it took place (False: the upload was not ours any more).

        The future fails with what the server or BSON says where they refuse the fields, and is cancelled where the
        writer was closed before they were written.
        """
        with self._changed:
            held = self._held.pop(upload_id, None) if lets_go else self._held.get(upload_id)
            if held is not None and lets_go:
                fields = {**_how_far(held.progress), **fields}
            transition = Transition(upload_id, held.attempt if held else 0, fields, lets_go)
            is_closed = self._is_closed
            if held is not None and not is_closed:
                self._queue.append(transition)
                self._changed.notify()
        if held is None:
            transition.outcome.set_result(False)
        elif is_closed:
            transition.outcome.cancel()
        return transition.outcome

    def renew_if_over(self, upload_id: ObjectId) -> Future[bool] | None:
        """Where the lease has run out, whoever adopts it: queue its renewal, as `write` does. None: it has not."""
        with self._changed:
            held = self._held.get(upload_id)
            if held is not None and time.monotonic() - held.renewed_at < self._lease_seconds:
                return None
        return self.write(upload_id, {"lease": lease_until(self._runner, self._lease_seconds), "updated_at": NOW})

    def close(self, timeout: float) -> bool:
        """Write what waits, for at most `timeout` seconds; True if all of it was. May be called twice."""
        with self._changed:
            self._give_up_at = time.monotonic() + timeout
            self._changed.notify()
        self._thread.join(timeout)
        return self._cancel_all() and not self._thread.is_alive()

    def _cancel_all(self) -> bool:
        """Nothing is written any more; True if nothing was waiting."""
        with self._changed:
            self._is_closed = True
            unwritten = list(self._queue)
            self._queue.clear()
        for transition in unwritten:
            transition.outcome.cancel()
            self._is_complete = False
        return self._is_complete

    def _run(self) -> None:
        next_tick = time.monotonic() + self._tick
        pause = _FIRST_PAUSE
        while True:
            with self._changed:
                self._changed.wait_for(
                    lambda: self._queue or self._give_up_at is not None, max(0.0, next_tick - time.monotonic())
                )
                batch = self._next_batch()
                if not batch and self._give_up_at is not None:
                    self._is_closed = True
                    return
            is_well = self._try(self._transitions.write, batch)
            if len(batch) >= _MANY and self._give_up_at is None:
                time.sleep(_GATHER_SECONDS)
            if time.monotonic() >= next_tick:
                is_well = self._try(self._write_progress) and is_well
                next_tick = time.monotonic() + self._tick
            if is_well:
                pause = _FIRST_PAUSE
                continue
            with self._changed:
                self._queue.extendleft(reversed([item for item in batch if not item.outcome.done()]))
                gives_up = self._changed.wait_for(self._is_late, pause)
            if gives_up:
                self._cancel_all()
                return
            pause = min(_LONGEST_PAUSE, pause * 2)

    def _is_late(self) -> bool:
        return self._give_up_at is not None and time.monotonic() >= self._give_up_at

    def _try(self, write: Callable[..., None], *arguments: Any) -> bool:
        try:
            write(*arguments)
        except PyMongoError as error:
            _log.info("records wait for MongoDB: %s", words(error))
            return False
        except Exception:  # noqa: BLE001 - without its thread nothing would ever be written again
            _log.exception("records wait after a fault of their own")
            return False
        return True

    def _next_batch(self) -> list[Transition]:
        """The oldest transitions, at most one for each upload: a bulk is unordered."""
        batch: dict[ObjectId, Transition] = {}
        later: list[Transition] = []
        while self._queue and len(batch) < _MOST_IN_A_BULK:
            transition = self._queue.popleft()
            if transition.id in batch:
                later.append(transition)
            else:
                batch[transition.id] = transition
        self._queue.extendleft(reversed(later))
        return list(batch.values())

    def _write_progress(self) -> None:
        """One bulk for all uploads: what changed of their progress, and the leases that are due."""
        now = time.monotonic()
        with self._changed:
            held = dict(self._held)
        operations: list[UpdateOne] = []
        renewed: list[_Held] = []
        for upload_id, entry in held.items():
            fields: Fields = {}
            if entry.progress.is_under_way(self._tick) and (sample := entry.progress.sample()) is not None:
                fields = {"current": Int64(sample.current), "percentage": sample.percentage, "rate": sample.rate}
            if now - entry.renewed_at >= self._lease_seconds / 3:
                fields["lease"] = lease_until(self._runner, self._lease_seconds)
                renewed.append(entry)
            if fields:
                mine = self._transitions.mine(upload_id, entry.attempt)
                operations.append(UpdateOne(mine, [{"$set": {**fields, "updated_at": NOW}}]))
        if not operations:
            return
        try:
            matched = self._progress_to.bulk_write(operations, ordered=False).matched_count
        except PyMongoError:
            for entry in held.values():
                entry.progress.unwritten()
            raise
        for entry in renewed:
            entry.renewed_at = now
        if matched < len(operations):
            self._tell_lost(held)

    def _tell_lost(self, held: Mapping[ObjectId, _Held]) -> None:
        found = self._transitions.read_back(held)
        for upload_id, entry in held.items():
            if upload_id in found and self._transitions.is_mine(found[upload_id], entry.attempt):
                continue
            with self._changed:
                was_held = self._held.get(upload_id) is entry
                if was_held:
                    del self._held[upload_id]
            if was_held:
                self._report(upload_id, entry.attempt)

    def _report(self, upload_id: ObjectId, attempt: int) -> None:
        try:
            self._on_lost(upload_id, attempt)
        except Exception:  # noqa: BLE001 - the writes of all other uploads go on
            _log.exception("nobody took note that upload %s is lost", upload_id)


def _how_far(progress: Progress) -> Fields:
    """A transition that lets go says how far it came, unless it knows better: no tick comes after it."""
    sample = progress.now()
    return {"current": Int64(sample.current), "percentage": sample.percentage}
