"""What a runner writes: progress, transitions and leases. One thread, bulk writes.

Progress is coalesced: part threads bump counters, and the newest value is written once a tick. Transitions are prompt.
While MongoDB is away, all progress but the newest is dropped, and transitions wait. A write whose answer was lost is
told from one that did not take place. Which transitions there are is in `transitions`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Final

from bson import Int64, ObjectId
from bson.errors import BSONError
from pymongo import UpdateOne, WriteConcern
from pymongo.collection import Collection
from pymongo.errors import BulkWriteError, ConnectionFailure, OperationFailure, PyMongoError, WriteConcernError

from console.bson_decoding import RAW_CODEC, decoded
from console.models import UploadStatus
from console.records.connection import MAJORITY, Document, describe_error
from console.records.transitions import NOW, Fields, Filter, held_by, lease_until, may_become, together

_log = logging.getLogger(__name__)

RATE_WINDOW_SECONDS: Final = 4.0
_LEAST_SECONDS: Final = 0.5
_MOST_TOGETHER: Final = 150
"""Each document of a statement looks for its values among those of all: with 1,000 the server took twice as long."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Bytes S3 has acknowledged, the same in percent (0 to 100), bytes per second on the wire, and bytes that are
    acknowledged or on their way."""

    current: int
    percentage: float
    rate: float
    sent: int = 0


class Progress:
    """Counters of one upload. Thread-safe."""

    def __init__(self, size: int, current: int = 0, clock: Callable[[], float] = time.monotonic) -> None:
        """`current` is what the document says already: the first sample is taken once something changes."""
        self._size = size
        self._file_size = size
        self._current = current
        self._sent = 0
        self._before = current  # acknowledged, and not among what was sent since
        self._clock = clock
        self._begun_at: float | None = None
        self._marks: deque[tuple[float, int]] = deque()
        self._lock = threading.Lock()
        self._last: Sample | None = Sample(current, self._percentage(), 0.0, current)

    def confirmed(self, total: int) -> None:
        """S3 has acknowledged `total` bytes so far."""
        with self._lock:
            self._begin()
            self._current = total
            self._before = max(self._before, total - self._sent)

    def resized(self, size: int) -> None:
        """The file is another one than before: `size` bytes, none of them acknowledged."""
        with self._lock:
            self._size = self._file_size = size
            self._current = 0
            self._before = -self._sent

    def staged(self, size: int) -> None:
        """What is sent of the file has `size` bytes, as it was compressed or encrypted: these are counted from now on,
        and told as their share of the file, so that half is half. Only the rate is that of the line."""
        with self._lock:
            self._current = self._current * size // max(1, self._size)
            self._before = self._current - self._sent
            self._size = size

    def sent(self, count: int) -> None:
        """So many bytes went to the socket; negative where a retry takes them back."""
        with self._lock:
            self._begin()
            self._sent += count

    @property
    def moved(self) -> int | None:
        """Bytes that are in S3 or on their way there; None while nothing has begun, and once all are: then S3 is at
        work."""
        with self._lock:
            moved = self._under_way()
            return moved if self._begun_at is not None and moved < self._size else None

    def is_under_way(self, seconds: float) -> bool:
        """Whether something happened for the first time so long ago. Many small files are done before anybody could see
        how far they are."""
        return self._begun_at is not None and self._clock() - self._begun_at >= seconds

    def sample(self) -> Sample | None:
        """How far it is, or None where that is what the last sample said."""
        with self._lock:
            under_way = self._of_file(self._under_way())
            sample = Sample(self._of_file(self._current), self._percentage(), self._rate(), under_way)
            if sample == self._last:
                return None
            self._last = sample
            return sample

    def now(self) -> Sample:
        """How far it is, whatever the last sample said."""
        with self._lock:
            current = self._of_file(self._current)
            return Sample(current, self._percentage(), 0.0, current)

    def unwritten(self) -> None:
        """The last sample was not written: the next one is taken also if nothing changes."""
        with self._lock:
            self._last = None

    def _of_file(self, count: int) -> int:
        return count if self._size == self._file_size else count * self._file_size // max(1, self._size)

    def _under_way(self) -> int:
        return max(self._current, min(self._size, self._before + self._sent))

    def _begin(self) -> None:
        if self._begun_at is None:
            self._begun_at = self._clock()
            # However long it waited for its turn before that, its rate is that of the time since.
            self._marks.append((self._begun_at, 0))

    def _percentage(self) -> float:
        """Never 100 before completion says so: acknowledged parts are not yet an object."""
        return min(99.9, round(100 * self._current / self._size, 1)) if self._size else 0.0

    def _rate(self) -> float:
        if self._begun_at is None:
            return 0.0
        now = self._clock()
        self._marks.append((now, self._sent))
        while len(self._marks) > 2 and self._marks[1][0] <= now - RATE_WINDOW_SECONDS:
            self._marks.popleft()
        (then, before) = self._marks[0]
        # What went to the socket in the first moment mostly lies in buffers: no rate can be made of it.
        return float(max(0, round((self._sent - before) / max(now - then, _LEAST_SECONDS))))


@dataclass(slots=True, eq=False)
class Transition:
    """What shall become of an upload that is held by claim `attempt`; `outcome` tells whether it did."""

    id: ObjectId
    attempt: int
    fields: Fields
    releases: bool
    outcome: Future[bool] = field(default_factory=Future)


class TransitionWrites:
    """The statements of one runner, confirmed by the majority."""

    def __init__(self, collection: Collection[Document], runner: str) -> None:
        self._collection = collection.with_options(write_concern=MAJORITY)
        self._runner = runner

    def write(self, batch: Sequence[Transition]) -> None:
        """Write them, at most one for each upload, and tell their outcomes.

        Raises:
            PyMongoError: the server is away. What has no outcome yet is to be written again.
        """
        for alike in _alike(batch):
            self._write_together(alike)
        batch = [item for item in batch if not item.outcome.done()]
        if not batch:
            return
        operations = [UpdateOne(self.mine(item.id, item.attempt), [{"$set": item.fields}]) for item in batch]
        try:
            matched = self._collection.bulk_write(operations, ordered=False).matched_count
        except BulkWriteError as error:
            matched = -1
            for refused in error.details.get("writeErrors", ()):
                item = batch[refused["index"]]
                _log.error("a transition of %s is refused: %s", item.id, refused["errmsg"])
                item.outcome.set_exception(OperationFailure(refused["errmsg"], refused["code"]))
            if error.details.get("writeConcernErrors"):
                raise ConnectionFailure("the majority has not confirmed yet") from error
        except PyMongoError:
            raise
        except Exception as error:  # noqa: BLE001 - BSON refuses a value: that must not keep the others waiting
            self._write_one_by_one(batch, error)
            return
        self._report_outcomes(batch, is_all=matched == len(batch))

    def mine(self, upload_id: ObjectId, attempt: int) -> Filter:
        """The document, while it is held by that claim."""
        return {"_id": upload_id, **held_by(self._runner, attempt)}

    def is_mine(self, document: Mapping[str, Any], attempt: int) -> bool:
        """Whether it is held by that claim."""
        is_same_claim = _runner_of(document) == self._runner and document.get("attempts") == attempt
        return is_same_claim and document.get("status") == UploadStatus.UPLOADING

    def read_back(self, ids: Iterable[ObjectId]) -> dict[ObjectId, Document]:
        """Who holds the documents by now, of those that exist."""
        wanted = {"_id": {"$in": list(ids)}}
        raw = self._collection.with_options(codec_options=RAW_CODEC)
        found = raw.find(wanted, {"status": 1, "lease": 1, "attempts": 1})
        return {document["_id"]: document for document in decoded(found)}

    def _write_together(self, items: Sequence[Transition]) -> None:
        """One statement for all. What the server refuses of it is left to be written item by item."""
        ids = [item.id for item in items]
        wanted: Filter = {"_id": {"$in": ids}, **held_by(self._runner, items[0].attempt)}
        change = together(ids, [item.fields for item in items])
        try:
            matched = self._collection.update_many(wanted, [{"$set": change}]).matched_count
        except WriteConcernError as error:
            raise ConnectionFailure("the majority has not confirmed yet") from error
        except (OperationFailure, BSONError, OverflowError):
            return
        self._report_outcomes(items, is_all=matched == len(items))

    def _report_outcomes(self, items: Sequence[Transition], *, is_all: bool) -> None:
        found = {} if is_all else self.read_back(item.id for item in items)
        for item in items:
            if not item.outcome.done():
                item.outcome.set_result(is_all or self._took_place(item, found.get(item.id)))

    def _write_one_by_one(self, batch: Sequence[Transition], error: Exception) -> None:
        if len(batch) == 1:
            _log.error("a transition of %s cannot be written: %s", batch[0].id, error)
            batch[0].outcome.set_exception(error)
            return
        for item in batch:
            self.write([item])

    def _took_place(self, item: Transition, document: Mapping[str, Any] | None) -> bool:
        """After a write whose answer was lost its repetition matches nothing: look whether its effect is there.

        Where a person settled the upload meanwhile just as the transition would have, that is as good.
        """
        if document is None or not item.releases:
            return document is not None and self.is_mine(document, item.attempt)
        if _runner_of(document) is not None or document.get("attempts") != item.attempt:
            return False
        return document.get("status") in may_become(item.fields["status"])


def _alike(batch: Sequence[Transition]) -> list[list[Transition]]:
    """Completions that may be one statement: of many small files they come by the hundred."""
    groups: dict[tuple[Any, ...], list[Transition]] = {}
    for item in batch:
        if item.fields.get("status") == UploadStatus.COMPLETED:
            groups.setdefault((item.attempt, *item.fields), []).append(item)
    return [
        group[start : start + _MOST_TOGETHER]
        for group in groups.values()
        if len(group) > 1
        for start in range(0, len(group), _MOST_TOGETHER)
    ]


def _runner_of(document: Mapping[str, Any]) -> Any:
    lease = document.get("lease")
    return lease.get("runner") if isinstance(lease, Mapping) else None


LEASE_SECONDS: Final = 30.0
TICK_SECONDS: Final = 0.5
_MOST_IN_A_BULK: Final = 1000
_MANY: Final = 4
_GATHER_SECONDS: Final = 0.03
"""Where transitions come one upon the other, those of so long a time share a statement, and an answer of the feed."""
_FIRST_PAUSE: Final = 0.05  # seconds between attempts while MongoDB is away, doubled each time …
_LONGEST_PAUSE: Final = 1.0  # … up to this


@dataclass(slots=True, eq=False)
class _Held:
    attempt: int
    progress: Progress
    held_at: float
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
            now = time.monotonic()
            self._held[upload_id] = _Held(attempt, progress, held_at=now, renewed_at=now)

    def write(self, upload_id: ObjectId, fields: Fields, *, releases: bool = False) -> Future[bool]:
        """Queue a transition; its future tells whether it took place (False: the upload was not ours any more).

        The future fails with what the server or BSON says where they refuse the fields, and is cancelled where the
        writer was closed before they were written.
        """
        with self._changed:
            held = self._held.pop(upload_id, None) if releases else self._held.get(upload_id)
            if held is not None and releases:
                fields = {**_how_far(held.progress), **fields}
            transition = Transition(upload_id, held.attempt if held else 0, fields, releases)
            is_closed = self._is_closed
            if held is not None and not is_closed:
                self._queue.append(transition)
                if len(self._queue) == 1:  # else the writer knows already
                    self._changed.notify()
        if held is None:
            transition.outcome.set_result(False)
        elif is_closed:
            transition.outcome.cancel()
        return transition.outcome

    def has_lease(self, upload_id: ObjectId) -> bool:
        """Whether the lease cannot have run out since it was taken, not even for a while."""
        with self._changed:
            held = self._held.get(upload_id)
            return held is not None and time.monotonic() - held.held_at < self._lease_seconds / 2

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
            _log.info("records wait for MongoDB: %s", describe_error(error))
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
                fields = {
                    "current": Int64(sample.current),
                    "percentage": sample.percentage,
                    "rate": sample.rate,
                    "sent": Int64(sample.sent),
                }
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
            self._report_lost(held)

    def _report_lost(self, held: Mapping[ObjectId, _Held]) -> None:
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
