"""One rule at work: a thread that scans its folder at the start, after events, and now and then all the same.

It handles pauses, and a folder that goes and comes back. What was found and has no record yet is in its
`PendingQueue`; all else it learns from folder and records each time.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Self

from bson import ObjectId
from pymongo.errors import PyMongoError

from console.files.walk import Found, Scanner, in_order
from console.formatting import count, duration, visible
from console.records.connection import describe_error, is_refused
from console.records.uploads import Uploads
from console.records.watched_files import SentFiles, count_wanted
from console.runner.job_limits import JobLimit
from console.s3.control import Control
from console.s3.transfer_errors import Stopped
from console.settings import S3Settings, TransferSettings
from console.settings.watch_rules import WatchRule
from console.transfer.sender import S3Sender
from console.watch.after_upload import AfterUpload
from console.watch.completeness import PendingFiles
from console.watch.decisions import Decisions, Destination
from console.watch.folder import WatchedFolder, clock_skew
from console.watch.pending_queue import PendingQueue, Problems, Queue, Refusals
from console.watch.reporting import Listener, Note, NoteKind


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all watches of a process share. `host` as it stands in documents; `batch` is the job of a single run,
    `limits` what each rule of it may still take, by title; without them each watch has a limit of its own."""

    uploads: Uploads
    s3: S3Settings
    transfer: TransferSettings
    host: str
    verifier: S3Sender
    notify: Listener
    is_host_alive: Callable[[str], bool]
    batch: ObjectId | None = None
    limits: dict[str, JobLimit] | None = None


@dataclass(frozen=True, slots=True)
class RuleParts:
    """The parts of one watch."""

    destination: Destination
    sent: SentFiles
    decisions: Decisions
    queue: Queue
    after_upload: AfterUpload
    count_wanted: Callable[[int], int]

    @classmethod
    def make(
        cls,
        rule: WatchRule,
        around: Surroundings,
        refusals: Refusals,
        *,
        control: Control,
        again: Callable[[Found], None],
        problem: Callable[[str], None],
    ) -> Self:
        """Raises ConfigurationError where neither rule nor settings name a bucket."""
        endpoint = around.verifier.endpoint
        destination = Destination(
            rule, around.s3, around.transfer, host=around.host, endpoint=endpoint.name, batch=around.batch
        )
        sent = SentFiles(around.uploads, destination.scope, endpoint, destination.bucket)
        decisions = Decisions(
            rule,
            destination,
            sent,
            host=around.host,
            verifier=around.verifier,
            control=control,
            is_host_alive=around.is_host_alive,
            limit=around.limits.setdefault(rule.title, JobLimit(rule.schedule)) if around.limits is not None else None,
        )
        after_upload = AfterUpload(rule, destination, sent, around.verifier, notify=around.notify, problem=problem)
        queue = Queue(
            rule.title, decisions, sent, refusals, notify=around.notify, again=again, sent_already=after_upload.submit
        )
        return cls(
            destination,
            sent,
            decisions,
            queue,
            after_upload,
            lambda limit: count_wanted(around.uploads, around.host, rule.title, endpoint, limit=limit),
        )


TELL_SECONDS: Final = 2.0


class ScanProgress:
    """One look after the other. A walk finds all files; then they are looked at in their order."""

    def __init__(self, scanner: Scanner, notify: Callable[[str], None]) -> None:
        self._scanner = scanner
        self._notify = notify
        self._began = 0.0
        self._tell_at = 0.0
        self._looked_at = 0
        self._found = 0

    def of(self, files: Iterator[Found]) -> Iterator[Found]:
        """The same files, counted as they are taken."""
        self._began = time.monotonic()
        self._tell_at = self._began + TELL_SECONDS
        self._looked_at = self._found = 0
        for file in files:
            self._looked_at += 1
            yield file

    def notify(self) -> None:
        """Tell how far it is, if that was not done just now."""
        if time.monotonic() >= self._tell_at:
            self._tell_at = time.monotonic() + TELL_SECONDS
            self._notify(self.message)

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.monotonic() - self._began

    @property
    def message(self) -> str:
        """While it goes on."""
        self._found = max(self._found, self._scanner.progress.files)  # of several walks the first has found all
        if not self._looked_at:
            return f"{self._folders} found so far"
        return f"{self._looked_at:,} of {count(self._found, 'file')}"

    @property
    def percent(self) -> str:
        """While it goes on, where there is little room; empty until all files are found."""
        return f"{100 * self._looked_at // max(self._found, 1)}%" if self._looked_at else ""

    @property
    def result(self) -> str:
        """At its end."""
        return f"{self._folders} in {duration(self.seconds)}"

    @property
    def _folders(self) -> str:
        progress = self._scanner.progress
        return f"{count(progress.files, 'file')} in {count(progress.folders, 'folder')}"


class State(StrEnum):
    """What a watch is doing."""

    STARTING = "starting"
    SCANNING = "scanning"
    WATCHING = "watching"
    POLLING = "polling"
    PAUSED = "paused"
    STANDBY = "standby"
    MISSING = "folder missing"
    STOPPED = "stopped"


@dataclass(slots=True)
class Counters:
    """What a watch did since it started. Durations in seconds."""

    overflows: int = 0
    scans: int = 0
    scan_seconds: float = 0.0


QUEUE_AHEAD: Final = 2_000
"""How many uploads of a rule wait at most in the records: more would only let newer files wait for older news."""
_SEE_FOLDER_SECONDS: Final = 2.0
_RETRY_SECONDS: Final = 1.0
_ROOM_SECONDS: Final = 0.1

_log = logging.getLogger(__name__)


class Watcher:
    """Watches one folder until stopped; with `once`, looks at everything one time. Public methods: for any thread."""

    def __init__(self, rule: WatchRule, surroundings: Surroundings, *, once: bool = False) -> None:
        """Raises ConfigurationError where neither rule nor settings name a bucket."""
        self.rule = rule
        self.refusals = Refusals()
        self.problems = Problems(lambda problem: self._say(NoteKind.TROUBLE, message=problem))
        self.counters = Counters()
        self.state = State.STARTING
        self.finished = threading.Event()
        self.has_seen_all = False  # with `once`; not where it is finished since the folder is away or cannot be read
        self.refusal: PyMongoError | None = None  # with `once`: MongoDB refuses what has to be written
        self._notify = surroundings.notify
        self._once = once
        self._hold: State | None = None
        self._stopping, self._woken = threading.Event(), threading.Event()
        self._folder = WatchedFolder(rule, problem=self.problems.add, without_events=once)
        self._scan_at = 0.0
        self._pending_files = PendingFiles.of(rule, skew_seconds=clock_skew(self._folder.path))
        self._parts = RuleParts.make(
            rule, surroundings, self.refusals, control=self, again=self._pending_files.again, problem=self.problems.add
        )
        self._scanner = Scanner(rule, entering=self._folder.enter, refused=self._parts.queue.refuse, pulse=self._pulse)
        self._progress = ScanProgress(self._scanner, lambda said: self._say(NoteKind.SCANNING, message=said))
        self.pending = PendingQueue(
            rule, self._pending_files, self._scanner, self._parts.queue, self.refusals, make_room=self._wait_for_room
        )
        self._thread = threading.Thread(target=self._run, name=f"watch-{rule.title}", daemon=True)

    @property
    def destination(self) -> str:
        """`s3://bucket/prefix`, fit to be shown."""
        return self._parts.destination.message

    @property
    def state_message(self) -> str:
        """What it is doing, and how far that is."""
        state = self.state
        return f"{state.value} {self._progress.percent}".rstrip() if state is State.SCANNING else state.value

    def start(self) -> None:
        self._parts.after_upload.start()
        self._thread.start()

    def stop(self) -> None:
        """Let the thread end; `join` waits for it."""
        self._stopping.set()
        self.wake()

    def join(self, timeout: float) -> bool:
        """Wait for the end; False if that took longer than `timeout` seconds."""
        until = time.monotonic() + timeout
        if self._thread.is_alive():
            self._thread.join(timeout)
        self._parts.after_upload.close(max(0.0, until - time.monotonic()))
        return not self._thread.is_alive()

    def hold(self, state: State | None) -> None:
        """Do nothing for now (PAUSED, STANDBY, or STARTING: not yet), or go on (None) with a look at everything."""
        if state is not self._hold:
            self._hold = state
            self.wake()

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive()

    @property
    def held(self) -> State | None:
        """Why it does nothing for now; None where it is at work."""
        return self._hold

    def look_again(self) -> None:
        """Look at everything soon: something may have been missed."""
        self._scan_at = 0.0
        self.wake()

    def wake(self) -> None:
        """Something may have changed: a person paused the rule, or the folder went."""
        self._woken.set()
        self._folder.wake()

    def completed(self, upload_id: ObjectId) -> None:
        self._parts.after_upload.submit(upload_id)

    def wait_for_after_upload(self, timeout: float) -> bool:
        """Wait until nothing is left to be moved or deleted; False if that took longer than `timeout` seconds."""
        return self._parts.after_upload.wait_idle(timeout)

    def check(self) -> None:
        """Raises `Stopped` where the thread must stop what it is doing. (It is the `Control` of its parts.)"""
        if self._stopping.is_set() or self._hold is not None:
            raise Stopped

    def wait(self, seconds: float) -> None:
        """Sleep; raises `Stopped` as `check` does."""
        self._stopping.wait(seconds)
        self.check()

    # The thread -------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stopping.is_set() and not self.finished.is_set():
            try:
                self._round()
            except Stopped:
                continue
            except PyMongoError as error:
                self.problems.add(f"MongoDB: {describe_error(error)}")
                if self._once and is_refused(error):
                    self.refusal = error
                    break
                self._rest(_RETRY_SECONDS)
            except Exception as error:  # noqa: BLE001 - the next look at the folder may go well
                self.problems.add(self._words(error))
                if self._once:
                    break  # whoever calls looks again another time, and other folders wait for this one
                self._forget_folder()
                self._rest(_RETRY_SECONDS)
        self._folder.leave()
        self.state = State.STOPPED
        self._say(NoteKind.STOPPED)
        self.finished.set()

    def _words(self, error: Exception) -> str:
        if isinstance(error, OSError):
            return f"{visible(self._folder.path)}: {error.strerror or error}"
        _log.error("the watch %s goes on after a fault of its own", self.rule.title, exc_info=error)
        return f"{type(error).__name__}: {visible(str(error))}"

    def _round(self) -> None:
        if (hold := self._hold) is not None:
            self._stand_still(hold)
            return
        if self.state in (State.PAUSED, State.STANDBY):
            self.state = State.STARTING
            self._say(NoteKind.RESUMED)
        if self._see_folder():
            if time.monotonic() >= self._scan_at:
                self._scan()
                if self._once:
                    self._wait_until_complete()
                    return
            self._turn(self._patience())

    def _stand_still(self, hold: State) -> None:
        if self.state is not hold:
            self.state = hold
            self._say(NoteKind.PAUSED if hold is State.PAUSED else NoteKind.STANDBY)
            self._forget_folder()
        self._rest(_SEE_FOLDER_SECONDS)

    def _rest(self, seconds: float) -> None:
        self._woken.wait(seconds)
        self._woken.clear()

    def _see_folder(self) -> bool:
        """Whether the folder is there; one that is another than before (mounted again, say) is watched again."""
        if not self._folder.is_there():
            if self.state is not State.MISSING:
                self._say(NoteKind.MISSING, message="" if self._once else "it is looked for regularly")
                self.state = State.MISSING
                self._forget_folder()
            if self._once:
                self.finished.set()
            self._rest(min(self.rule.poll_seconds, _SEE_FOLDER_SECONDS))
            return False
        if self._folder.is_new():
            self.pending.clear()
            self._scan_at = 0.0
            self._say(NoteKind.WATCHING, message="polling" if self._folder.is_polling and not self._once else "")
        return True

    def _forget_folder(self) -> None:
        """Everything that is known of the folder is to be learned again."""
        self._folder.leave()
        self.pending.clear()
        self._scan_at = 0.0

    def _scan(self) -> None:
        self._parts.count_wanted(1)  # raises where MongoDB is away: a walk would be for nothing
        self.state = State.SCANNING
        self._scan_at = float("inf")
        self.refusals.scan_begins()
        self.problems.scan_begins()
        try:
            for _ in self.pending.see_all(self._progress.of(in_order(self._scanner.files, self.rule.order))):
                self._apply_changes()
            self.pending.flush()
        except BaseException:
            self._scan_at = 0.0
            raise
        self.refusals.scan_ended()
        self.problems.scan_ended()
        self.counters.scans += 1
        self.counters.scan_seconds = self._progress.seconds
        every = self.rule.poll_seconds if self._folder.is_polling else self.rule.rescan_seconds
        self._scan_at = min(self._scan_at, time.monotonic() + every)
        self.state = State.POLLING if self._folder.is_polling else State.WATCHING
        if self.counters.scans == 1 or not self._folder.is_polling:
            self._say(NoteKind.SCANNED, message=self._progress.result)

    def _pulse(self) -> None:
        """Called every few hundred entries of a walk: the kernel's queue of events must not fill meanwhile."""
        self.check()
        self._folder.collect(0.0)
        if self.state is State.SCANNING:
            self._progress.notify()

    def _wait_until_complete(self) -> None:
        """Once: give files that have just been written the time to come to rest, and say which did not."""
        until = time.monotonic() + 2 * self.rule.quiet_seconds + 1.0
        while len(self._pending_files) and time.monotonic() < until:
            self._turn(self._pending_files.next_due() or 0.0)
        for file in self._pending_files.waiting():
            why = self._parts.queue.why_waits(file.path)
            self._notify(Note(NoteKind.LEFT, self.rule.title, file.path, why, size=file.size))
        if self._pending_files.has_overflowed:
            self._say(NoteKind.LEFT, message="more files are not complete yet")
        self.has_seen_all = True
        self.finished.set()

    def _patience(self) -> float:
        """Seconds until there is something to do."""
        due = self._pending_files.next_due()
        until_scan = self._scan_at - time.monotonic()
        return max(0.0, min(until_scan, _SEE_FOLDER_SECONDS, _SEE_FOLDER_SECONDS if due is None else due))

    def _turn(self, timeout: float) -> None:
        self._folder.collect(timeout)
        self.check()
        self._apply_changes()
        self.pending.see_due()
        if not self._once and self._pending_files.take_overflow():
            self._scan_at = min(self._scan_at, time.monotonic() + self.rule.quiet_seconds)
        self.pending.flush()

    def _apply_changes(self) -> None:
        changes = self._folder.changes()
        if changes.lost:
            self.counters.overflows += 1
            self._scan_at = 0.0
            self._say(NoteKind.OVERFLOW, message="the system dropped events: the folder is scanned")
        try:
            for folder in changes.folders:
                self.pending.see_folder(folder)
            for path in changes.files:
                self.pending.see_path(path)
        except PyMongoError:
            self._scan_at = 0.0  # what was not come to is found by that
            raise

    def _wait_for_room(self) -> None:
        while self._parts.count_wanted(QUEUE_AHEAD) >= QUEUE_AHEAD:
            self._stopping.wait(_ROOM_SECONDS)
            self._pulse()

    def _say(self, kind: NoteKind, message: str = "") -> None:
        self._notify(Note(kind, self.rule.title, self._folder.path, message, self.destination))
