"""From files that were found to records: files wait here until they are complete, then decisions are carried out in
batches.

Memory is bounded: files that are not complete yet, one batch of those that are, the latest refusals and problems. A
refused file gets no record, as it may be one of very many. A problem is over when a full scan has ended without it.
"""

from __future__ import annotations

import os
import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Final

from bson import ObjectId

from console.files.refusals import Refusal
from console.files.walk import Found, Scanner, marker_time
from console.formatting import visible
from console.records.uploads import NewUpload
from console.records.watched_files import Insertion, SentFiles
from console.settings.watch_rules import WatchRule
from console.watch.completeness import PendingFiles
from console.watch.decisions import Action, Decision, Decisions
from console.watch.reporting import Listener, Note, NoteKind

MOST_KEPT: Final = 10_000
_SHOWN: Final = 20


class Refusals:
    """Refused files of one rule."""

    def __init__(self, capacity: int = MOST_KEPT) -> None:
        self._capacity = capacity
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, str] = OrderedDict()
        self._uncounted: Counter[str] = Counter()
        self._seen: set[str] | None = None

    def add(self, refusal: Refusal) -> bool:
        """Count a refusal; whether it is news."""
        with self._lock:
            if self._seen is not None and len(self._seen) < self._capacity:
                self._seen.add(refusal.path)
            if self._kept.get(refusal.path) == refusal.reason:
                return False
            if refusal.path not in self._kept and len(self._kept) >= self._capacity:
                self._uncounted[_group(refusal.reason)] += 1
                return False
            self._kept[refusal.path] = refusal.reason
            self._kept.move_to_end(refusal.path)
            return True

    def forget(self, path: str) -> None:
        """The file is gone, or was taken after all."""
        with self._lock:
            self._kept.pop(path, None)

    def scan_begins(self) -> None:
        """Everything is about to be looked at: what is not refused again is refused no longer."""
        with self._lock:
            self._seen = set()
            self._uncounted.clear()

    def scan_ended(self) -> None:
        """Everything was looked at."""
        with self._lock:
            if self._seen is not None:
                for path in [path for path in self._kept if path not in self._seen]:
                    del self._kept[path]
            self._seen = None

    @property
    def total(self) -> int:
        """How many files are refused now."""
        with self._lock:
            return len(self._kept) + self._uncounted.total()

    def by_reason(self) -> dict[str, int]:
        """How many for each reason, most first."""
        with self._lock:
            return dict((Counter(map(_group, self._kept.values())) + self._uncounted).most_common())

    def latest(self) -> list[Refusal]:
        """The last few, latest first."""
        with self._lock:
            return [Refusal(path, reason) for path, reason in islice(reversed(self._kept.items()), _SHOWN)]


def _group(reason: str) -> str:
    """The reason without what is special to one file."""
    return reason.partition(" (")[0].rpartition(": ")[2]


_MOST_LEFT: Final = 10_000


class Queue:
    """Takes complete files of one rule. `again` gets those that turn out not to be, `sent` the uploads of those that
    are in S3 already. Not thread-safe.
    """

    def __init__(
        self,
        rule: str,
        decisions: Decisions,
        sent: SentFiles,
        refusals: Refusals,
        *,
        notify: Listener,
        again: Callable[[Found], None],
        sent_already: Callable[[ObjectId], None],
    ) -> None:
        self._rule = rule
        self._decisions = decisions
        self._sent = sent
        self._refusals = refusals
        self._notify = notify
        self._again = again
        self._sent_already = sent_already
        self._left: dict[str, str] = {}
        self._waits: dict[str, str] = {}

    def why_waits(self, path: str) -> str:
        """Why a file was put off when it was decided about last, in words."""
        return self._waits.get(path, "it is not complete yet")

    def put(self, files: Sequence[Found]) -> int:
        """Decide about each and carry that out; gives how many uploads were recorded.

        Raises:
            PyMongoError: the records cannot be reached; put the same files again.
        """
        decisions = self._decisions.decide(files)
        recorded = self._record([decision for decision in decisions if decision.action is Action.UPLOAD])
        for decision in decisions:
            if decision.action in (Action.RETARGET, Action.RELINK):
                recorded += self._rewrite(decision)
            else:
                self._take_note(decision)
        return recorded

    def _record(self, decisions: Sequence[Decision]) -> int:
        uploads = [(decision.upload, decision.record) for decision in decisions if decision.upload is not None]
        added = self._sent.add(uploads)
        for decision, (upload, _), outcome in zip(decisions, uploads, added, strict=True):
            if outcome is Insertion.UNFIT:
                self.refuse(Refusal(decision.file.path, "cannot be recorded: its name or times fit no document"))
                continue
            self._refusals.forget(decision.file.path)
            if outcome is Insertion.KEY_TAKEN:
                self._again(decision.file)
            elif outcome is Insertion.YES:
                if decision.supersedes is not None:
                    self._sent.supersede(decision.supersedes)
                self._notify(self._queued(decision, upload))
        return added.count(Insertion.YES)

    def _rewrite(self, decision: Decision) -> int:
        upload, record = decision.upload, decision.record
        if upload is None or record is None:
            return 0
        self._refusals.forget(decision.file.path)
        if decision.action is Action.RETARGET:
            if not self._sent.arm(record, upload):
                self._again(decision.file)
                return 0
            self._notify(self._queued(decision, upload))
            return 1
        if self._sent.follow(record, upload):
            self._notify(self._note(NoteKind.RECOGNISED, decision))
            self._sent_already(record.id)
        else:  # two copies may have been taken for one file that was renamed
            self._again(decision.file)
        return 0

    def _take_note(self, decision: Decision) -> None:
        path = decision.file.path
        if decision.action is Action.WAIT:
            if len(self._waits) >= _MOST_LEFT:
                self._waits.clear()  # of those the usual reason is told
            self._waits[path] = decision.message
            self._again(decision.file)
        elif decision.action is Action.REFUSE:
            self.refuse(Refusal(path, decision.message))
        elif decision.action is Action.GONE:
            self._refusals.forget(path)
        elif decision.action is Action.SENT and decision.record is not None:
            self._sent_already(decision.record.id)
        elif decision.action is Action.SKIP and self._left.get(path) != decision.message:
            if len(self._left) >= _MOST_LEFT:
                self._left.clear()  # then some are told once more
            self._left[path] = decision.message
            self._notify(self._note(NoteKind.LEFT, decision))

    def refuse(self, refusal: Refusal) -> None:
        """Count it, and tell it the first time."""
        if self._refusals.add(refusal):
            self._notify(Note(NoteKind.REFUSED, self._rule, refusal.path, refusal.reason))

    def _queued(self, decision: Decision, upload: NewUpload) -> Note:
        destination = visible(f"s3://{upload.bucket}/{upload.key}")
        return Note(NoteKind.QUEUED, self._rule, decision.file.path, decision.message, destination, decision.file.size)

    def _note(self, kind: NoteKind, decision: Decision) -> Note:
        return Note(kind, self._rule, decision.file.path, decision.message, size=decision.file.size)


BATCH: Final = 500


class PendingQueue:
    """The finds of one rule. `make_room` is called before each batch and may wait, or raise. For one thread, but for
    `len()`, how many files wait, and `queued`, how many uploads were recorded.
    """

    def __init__(
        self,
        rule: WatchRule,
        pending_files: PendingFiles,
        scanner: Scanner,
        queue: Queue,
        refusals: Refusals,
        *,
        make_room: Callable[[], None],
    ) -> None:
        self._rule = rule
        self._pending_files = pending_files
        self._scanner = scanner
        self._queue = queue
        self._refusals = refusals
        self._make_room = make_room
        self._complete: dict[str, Found] = {}
        self.queued = 0

    def __len__(self) -> int:
        return len(self._pending_files) + len(self._complete)

    def see_all(self, files: Iterator[Found]) -> Iterator[None]:
        """Take files from a walk; stops after each batch that was handed over. Raises as `flush`."""
        for file in files:
            self._see(file)
            if len(self._complete) >= BATCH:
                self.flush()
                yield

    def see_folder(self, path: str) -> None:
        """A folder is new, or was moved here: its files have no events of their own. Raises as `flush`."""
        if self._scanner.is_folder(path):
            for _ in self.see_all(self._scanner.below(path)):
                pass

    def see_path(self, path: str) -> None:
        """Something happened to a file."""
        if self._rule.complete_when == "marked" and path.endswith(self._rule.marker_suffix):
            path = path.removesuffix(self._rule.marker_suffix)
        file = self._scanner.look(path)
        if file is not None:
            self._see(file)
            return
        self._pending_files.forget(path)
        if not os.path.lexists(path):
            self._refusals.forget(path)

    def see_due(self) -> None:
        """Look again at those that may be complete by now."""
        for path in self._pending_files.due():
            self.see_path(path)

    def flush(self) -> None:
        """Hand complete files over; they stay here until that has worked. Raises PyMongoError, and as `make_room`."""
        while self._complete:
            self._make_room()
            batch = [file for _, file in zip(range(BATCH), self._complete.values(), strict=False)]
            self.queued += self._queue.put(batch)
            for file in batch:
                del self._complete[file.path]

    def clear(self) -> None:
        self._pending_files.clear()
        self._complete.clear()

    def _see(self, file: Found) -> None:
        if self._pending_files.look(file, marker_time(self._rule, file)):
            self._complete[file.path] = file


MOST_TOLD: Final = 1_000


class Problems:
    """Problems of one rule. `tell` is called with each that is news."""

    def __init__(self, notify: Callable[[str], None]) -> None:
        self._notify = notify
        self._lock = threading.Lock()
        self._seen: set[str] = set()
        self._seen_before: set[str] = set()
        self._is_looking = False
        self.last = ""
        self.last_at: datetime | None = None

    @property
    def are_there(self) -> bool:
        """Whether something does not work now."""
        with self._lock:
            return bool(self._seen or (self._is_looking and self._seen_before))

    def add(self, problem: str) -> None:
        """Something does not work."""
        with self._lock:
            self.last, self.last_at = problem, datetime.now(UTC)
            is_news = problem not in self._seen and problem not in self._seen_before and len(self._seen) < MOST_TOLD
            if len(self._seen) < MOST_TOLD:
                self._seen.add(problem)
        if is_news:
            self._notify(problem)

    def scan_begins(self) -> None:
        """Everything is about to be looked at: what does not work will be met again."""
        with self._lock:
            # A look that did not end has not seen all that does not work.
            self._seen_before = self._seen | self._seen_before if self._is_looking else self._seen
            self._seen = set()
            self._is_looking = True

    def scan_ended(self) -> None:
        """Everything was looked at."""
        with self._lock:
            self._is_looking = False
