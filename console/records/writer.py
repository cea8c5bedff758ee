"""What a runner writes: progress, coalesced; transitions, promptly; leases, renewed. One thread, bulk writes.

Owns the pace and the retries: while MongoDB is away, progress is dropped but for the newest and transitions wait.
Not here: which transitions there are (`transitions`), and what is sent to S3.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Final

from bson import Int64, ObjectId
from pymongo import UpdateOne, WriteConcern
from pymongo.collection import Collection
from pymongo.errors import BulkWriteError, ConnectionFailure, OperationFailure, PyMongoError

from console.models import UploadStatus
from console.records.connection import Document
from console.records.progress import Progress
from console.records.transitions import NOW, Fields, held_by, lease_until

LEASE_SECONDS: Final = 30.0
TICK_SECONDS: Final = 0.5
_MOST_IN_A_BULK: Final = 1000

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Transition:
    id: ObjectId
    fields: Fields
    lets_go: bool
    outcome: Future[bool] = field(default_factory=Future)


@dataclass(slots=True)
class _Held:
    progress: Progress
    renewed_at: float


class RecordWriter:
    """The writes of one runner to the documents that it holds. Thread-safe.

    `on_lost` is called, on the writer's thread, with the id of an upload whose lease is no longer ours (adopted by
    another runner, or its document deleted).
    """

    def __init__(
        self,
        collection: Collection[Document],
        runner: str,
        *,
        on_lost: Callable[[ObjectId], None],
        lease_seconds: float = LEASE_SECONDS,
        tick_seconds: float = TICK_SECONDS,
    ) -> None:
        self._transitions_to = collection.with_options(write_concern=WriteConcern("majority"))
        self._progress_to = collection.with_options(write_concern=WriteConcern(1))
        self._runner = runner
        self._on_lost = on_lost
        self._lease_seconds = lease_seconds
        self._tick = tick_seconds
        self._held: dict[ObjectId, _Held] = {}
        self._queue: deque[_Transition] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._give_up_at: float | None = None
        self._thread = threading.Thread(target=self._run, name="record-writer", daemon=True)
        self._thread.start()

    def hold(self, upload_id: ObjectId, progress: Progress) -> None:
        """From now on renew the lease and write the progress, until a transition lets go."""
        with self._changed:
            self._held[upload_id] = _Held(progress, time.monotonic())

    def write(self, upload_id: ObjectId, fields: Fields, *, lets_go: bool = False) -> Future[bool]:
        """Queue a transition; its future tells whether it took place (False: the lease was not ours any more)."""
        transition = _Transition(upload_id, fields, lets_go)
        with self._changed:
            if lets_go:
                self._held.pop(upload_id, None)
            self._queue.append(transition)
            self._changed.notify()
        return transition.outcome

    def close(self, timeout: float) -> bool:
        """Write what waits, for at most `timeout` seconds; True if all of it was."""
        with self._changed:
            self._closing = True
            self._give_up_at = time.monotonic() + timeout
            self._changed.notify()
        self._thread.join(timeout + 1)
        with self._changed:
            unwritten = list(self._queue)
        for transition in unwritten:
            transition.outcome.cancel()
        return not unwritten and not self._thread.is_alive()

    def _run(self) -> None:
        next_tick = time.monotonic() + self._tick
        pause = 0.05
        while True:
            with self._changed:
                self._changed.wait_for(
                    lambda: self._queue or self._closing, timeout=max(0.0, next_tick - time.monotonic())
                )
                batch = self._next_batch()
                ending = self._closing and not batch
            if ending:
                return
            try:
                if batch:
                    self._write_transitions(batch)
                if time.monotonic() >= next_tick:
                    self._write_progress()
                    next_tick = time.monotonic() + self._tick
                pause = 0.05
            except PyMongoError as error:
                _log.warning("records wait for MongoDB: %s", error)
                with self._changed:
                    self._queue.extendleft(reversed([item for item in batch if not item.outcome.done()]))
                    if self._give_up_at is not None and time.monotonic() >= self._give_up_at:
                        return
                    self._changed.wait_for(lambda: False, pause)
                next_tick = time.monotonic() + self._tick
                pause = min(1.0, pause * 2)

    def _next_batch(self) -> list[_Transition]:
        """The oldest transitions, at most one for each upload: a bulk is unordered."""
        batch: dict[ObjectId, _Transition] = {}
        later: list[_Transition] = []
        while self._queue and len(batch) < _MOST_IN_A_BULK:
            transition = self._queue.popleft()
            if transition.id in batch:
                later.append(transition)
            else:
                batch[transition.id] = transition
        self._queue.extendleft(reversed(later))
        return list(batch.values())

    def _write_transitions(self, batch: Sequence[_Transition]) -> None:
        mine = held_by(self._runner)
        operations = [UpdateOne({"_id": item.id, **mine}, [{"$set": item.fields}]) for item in batch]
        try:
            matched = self._transitions_to.bulk_write(operations, ordered=False).matched_count
        except BulkWriteError as error:
            matched = -1
            for refused in error.details.get("writeErrors", ()):
                batch[refused["index"]].outcome.set_exception(OperationFailure(refused["errmsg"], refused["code"]))
            if error.details.get("writeConcernErrors") and not error.details.get("writeErrors"):
                raise ConnectionFailure("the majority has not confirmed yet") from error
        found = {} if matched == len(batch) else self._read_back([item.id for item in batch])
        for item in batch:
            if not item.outcome.done():
                item.outcome.set_result(matched == len(batch) or self._took_place(item, found.get(item.id)))

    def _took_place(self, item: _Transition, document: Mapping[str, Any] | None) -> bool:
        """After a write whose answer was lost its repetition matches nothing: look whether its effect is there."""
        if document is None:
            return False
        is_ours = (document.get("lease") or {}).get("runner") == self._runner
        if not item.lets_go:
            return is_ours and document["status"] == UploadStatus.UPLOADING
        target = item.fields["status"]
        return document.get("lease") is None and (not isinstance(target, str) or document["status"] == target)

    def _write_progress(self) -> None:
        now = time.monotonic()
        operations: list[UpdateOne] = []
        with self._changed:
            held = dict(self._held)
        for upload_id, entry in held.items():
            fields: Fields = {}
            if (sample := entry.progress.sample(now)) is not None:
                fields = {"current": Int64(sample.current), "percentage": sample.percentage, "rate": sample.rate}
            if now - entry.renewed_at >= self._lease_seconds / 3:
                fields["lease"] = lease_until(self._runner, self._lease_seconds)
            if fields:
                mine = held_by(self._runner)
                operations.append(UpdateOne({"_id": upload_id, **mine}, [{"$set": {**fields, "updated_at": NOW}}]))
        if not operations:
            return
        matched = self._progress_to.bulk_write(operations, ordered=False).matched_count
        for entry in held.values():
            if now - entry.renewed_at >= self._lease_seconds / 3:
                entry.renewed_at = now
        if matched < len(operations):
            self._tell_lost(held)

    def _tell_lost(self, held: Mapping[ObjectId, _Held]) -> None:
        still = {
            document["_id"]
            for document in self._transitions_to.find({"_id": {"$in": list(held)}, **held_by(self._runner)}, {"_id": 1})
        }
        for upload_id in held.keys() - still:
            with self._changed:
                was_held = self._held.pop(upload_id, None) is not None
            if was_held:
                self._on_lost(upload_id)

    def _read_back(self, ids: Sequence[ObjectId]) -> dict[ObjectId, Document]:
        cursor = self._transitions_to.find({"_id": {"$in": list(ids)}}, {"status": 1, "lease": 1})
        return {document["_id"]: document for document in cursor}
