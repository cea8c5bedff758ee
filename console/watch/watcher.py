"""One rule at work: a thread that looks at its folder when something happens there, and now and then all the same.

Owns the loop: scans, events, files at rest, batches for the queue, pauses, and a folder that goes and comes back. It
keeps in memory only files that are not complete yet; everything else it learns from folder and records each time.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

from bson import ObjectId
from pymongo.errors import PyMongoError

from console.formatting import count, duration, visible
from console.records.connection import words
from console.transfer.errors import Stopped
from console.watch.at_rest import NETWORK_SKEW_SECONDS, AtRest, Found
from console.watch.folder_events import is_on_network
from console.watch.notes import Kind, Note
from console.watch.patterns import Patterns
from console.watch.refusals import Refusals
from console.watch.rule_parts import RuleParts, Surroundings
from console.watch.rules import WatchRule
from console.watch.scanning import Scanner, in_order, marker_time
from console.watch.watched_folder import WatchedFolder

BATCH: Final = 500
QUEUE_AHEAD: Final = 2_000
"""How many uploads of a rule wait at most in the records: more would only let newer files wait for older news."""
_SEE_FOLDER_SECONDS: Final = 2.0
_TELL_SCAN_SECONDS: Final = 2.0
_RETRY_SECONDS: Final = 1.0

_log = logging.getLogger(__name__)


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

    queued: int = 0
    overflows: int = 0
    scans: int = 0
    scan_seconds: float = 0.0
    last_error: str = ""
    last_error_at: datetime | None = None


class Watcher:
    """Watches one folder until stopped; with `once`, looks at everything one time. Its public methods are for any
    thread.
    """

    def __init__(self, rule: WatchRule, surroundings: Surroundings, *, once: bool = False) -> None:
        """Raises ConfigurationError where neither rule nor settings name a bucket."""
        self.rule = rule
        self.refusals = Refusals()
        self.counters = Counters()
        self.state = State.STARTING
        self.finished = threading.Event()
        self._tell = surroundings.tell
        self._once = once
        self._hold: State | None = None
        self._stopping = threading.Event()
        self._woken = threading.Event()
        self._folder = WatchedFolder(rule, trouble=self._trouble, without_events=once)
        self._ready: dict[str, Found] = {}
        self._scan_at = 0.0
        self._tell_scan_at = 0.0
        self._told_trouble = ""
        self._at_rest = AtRest(
            complete_when=rule.complete_when,
            quiet_seconds=rule.quiet_seconds,
            minimum_age_seconds=rule.minimum_age_seconds,
            skew_seconds=NETWORK_SKEW_SECONDS if is_on_network(self._folder.path) else 0.0,
            horizon_seconds=max(rule.rescan_seconds, 2 * rule.quiet_seconds),
        )
        self._parts = RuleParts.make(
            rule, surroundings, self.refusals, control=self, again=self._at_rest.again, trouble=self._trouble
        )
        self._scanner = Scanner(
            self._folder.path,
            Patterns(rule),
            recursive=rule.recursive,
            follow_symlinks=rule.follow_symlinks,
            entering=self._folder.enter,
            refused=self._parts.queue.refuse,
            pulse=self._pulse,
        )
        self._thread = threading.Thread(target=self._run, name=f"watch-{rule.title}", daemon=True)

    @property
    def destination(self) -> str:
        """`s3://bucket/prefix`, fit to be shown."""
        return self._parts.destination.words

    @property
    def waiting(self) -> int:
        """How many files are waited for to be complete."""
        return len(self._at_rest) + len(self._ready)

    def start(self) -> None:
        """Begin."""
        self._parts.aftercare.start()
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
        self._parts.aftercare.close(max(0.0, until - time.monotonic()))
        return not self._thread.is_alive()

    def hold(self, state: State | None) -> None:
        """Do nothing for now (PAUSED or STANDBY), or go on (None) with a look at everything."""
        if state is not self._hold:
            self._hold = state
            self.wake()

    @property
    def is_alive(self) -> bool:
        """Whether its thread runs."""
        return self._thread.is_alive()

    @property
    def is_held(self) -> bool:
        """Whether it does nothing for now."""
        return self._hold is not None

    def look_again(self) -> None:
        """Look at everything soon: something may have been missed."""
        self._scan_at = 0.0
        self.wake()

    def wake(self) -> None:
        """Something may have changed: an upload is done, a person paused the rule."""
        self._woken.set()
        self._folder.wake()

    def completed(self, upload_id: ObjectId) -> None:
        """An upload of the rule is completed."""
        self._parts.aftercare.submit(upload_id)

    def wait_for_aftercare(self, timeout: float) -> bool:
        """Wait until nothing is left to be moved or deleted; False if that took longer than `timeout` seconds."""
        return self._parts.aftercare.wait_idle(timeout)

    def check(self) -> None:
        """Raises `Stopped` where the thread must let go of what it is doing. (It is the `Control` of its parts.)"""
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
                self._trouble(f"MongoDB: {words(error)}")
                self._rest(_RETRY_SECONDS)
            except OSError as error:
                self._trouble(f"{visible(self._folder.path)}: {error.strerror or error}")
                self._forget_folder()
                self._rest(_RETRY_SECONDS)
            except Exception as error:  # noqa: BLE001 - the next look at the folder may go well
                _log.exception("the watch %s goes on after a fault of its own", self.rule.title)
                self._trouble(f"{type(error).__name__}: {visible(str(error))}")
                self._forget_folder()
                self._rest(_RETRY_SECONDS)
        self._folder.leave()
        self.state = State.STOPPED
        self._say(Kind.STOPPED)
        self.finished.set()

    def _round(self) -> None:
        if (hold := self._hold) is not None:
            self._stand_still(hold)
            return
        if self.state in (State.PAUSED, State.STANDBY):
            self.state = State.STARTING
            self._say(Kind.RESUMED)
        if self._see_folder():
            if time.monotonic() >= self._scan_at:
                self._scan()
                if self._once:
                    self._settle()
                    return
            self._turn(self._patience())

    def _stand_still(self, hold: State) -> None:
        if self.state is not hold:
            self.state = hold
            self._say(Kind.PAUSED if hold is State.PAUSED else Kind.STANDBY)
            self._forget_folder()
        self._rest(_SEE_FOLDER_SECONDS)

    def _rest(self, seconds: float) -> None:
        self._woken.wait(seconds)
        self._woken.clear()

    def _see_folder(self) -> bool:
        """Whether the folder is there; one that is another than before (mounted again, say) is watched anew."""
        if not self._folder.is_there():
            if self.state is not State.MISSING:
                self._say(Kind.MISSING, words="it is not there; it is looked for again and again")
                self.state = State.MISSING
                self._forget_folder()
            if self._once:
                self.finished.set()
            self._rest(min(self.rule.poll_seconds, _SEE_FOLDER_SECONDS))
            return False
        if self._folder.is_new():
            self._forget_files()
            self._say(Kind.WATCHING, words="polling" if self._folder.is_polling and not self._once else "")
        return True

    def _forget_folder(self) -> None:
        """Everything that is known of the folder is to be learned anew."""
        self._folder.leave()
        self._forget_files()

    def _forget_files(self) -> None:
        self._at_rest.clear()
        self._ready.clear()
        self._scan_at = 0.0

    def _scan(self) -> None:
        self.state = State.SCANNING
        began = time.monotonic()
        self._tell_scan_at = began + _TELL_SCAN_SECONDS
        self._scan_at = float("inf")
        self.refusals.scan_begins()
        try:
            for file in in_order(self._scanner.files, self.rule.order):
                self._see(file)
                if len(self._ready) >= BATCH:
                    self._flush()
                    self._apply_changes()
            self._flush()
        except BaseException:
            self._scan_at = 0.0
            raise
        self.refusals.scan_ended()
        ended = time.monotonic()
        self.counters.scans += 1
        self.counters.scan_seconds = ended - began
        self._scan_at = min(self._scan_at, ended + self._scan_every())
        self.state = State.POLLING if self._folder.is_polling else State.WATCHING
        if self.counters.scans == 1 or not self._folder.is_polling:
            self._say(Kind.SCANNED, words=f"{self._progress()} in {duration(ended - began)}")

    def _scan_every(self) -> float:
        return self.rule.poll_seconds if self._folder.is_polling else self.rule.rescan_seconds

    def _progress(self) -> str:
        progress = self._scanner.progress
        return f"{count(progress.files, 'file')} in {count(progress.folders, 'folder')}"

    def _pulse(self) -> None:
        """Called every few hundred entries of a walk: the kernel's queue of events must not fill meanwhile."""
        self.check()
        self._folder.collect(0.0)
        if self.state is State.SCANNING and time.monotonic() >= self._tell_scan_at:
            self._tell_scan_at = time.monotonic() + _TELL_SCAN_SECONDS
            self._say(Kind.SCANNING, words=f"{self._progress()} so far")

    def _settle(self) -> None:
        """Once: give files that have just been written the time to come to rest, and say which did not."""
        until = time.monotonic() + 2 * self.rule.quiet_seconds + 1.0
        while len(self._at_rest) and time.monotonic() < until:
            self._turn(self._at_rest.next_due() or 0.0)
        for file in self._at_rest.waiting():
            self._tell(Note(Kind.LEFT, self.rule.title, file.path, "it is not at rest yet", size=file.size))
        if self._at_rest.has_overflowed:
            self._say(Kind.LEFT, words="more files are not at rest yet")
        self.finished.set()

    def _patience(self) -> float:
        """Seconds until there is something to do."""
        due = self._at_rest.next_due()
        until_scan = self._scan_at - time.monotonic()
        return max(0.0, min(until_scan, _SEE_FOLDER_SECONDS, _SEE_FOLDER_SECONDS if due is None else due))

    def _turn(self, timeout: float) -> None:
        self._folder.collect(timeout)
        self.check()
        self._apply_changes()
        for path in self._at_rest.due():
            self._see_path(path)
        if not self._once and self._at_rest.take_overflow():
            self._scan_at = min(self._scan_at, time.monotonic() + self.rule.quiet_seconds)
        self._flush()

    def _apply_changes(self) -> None:
        changes = self._folder.changes()
        if changes.lost:
            self.counters.overflows += 1
            self._scan_at = 0.0
            self._say(Kind.OVERFLOW, words="the system dropped events: everything is looked at")
        for folder in changes.folders:
            if self._scanner.is_folder(folder):
                for file in self._scanner.below(folder):
                    self._see(file)
                    if len(self._ready) >= BATCH:
                        self._flush()
        for path in changes.files:
            self._see_path(path)

    def _see_path(self, path: str) -> None:
        if self.rule.complete_when == "marked" and path.endswith(self.rule.marker_suffix):
            path = path.removesuffix(self.rule.marker_suffix)
        file = self._scanner.look(path)
        if file is not None:
            self._see(file)
            return
        self._at_rest.forget(path)
        if not os.path.lexists(path):
            self.refusals.forget(path)

    def _see(self, file: Found) -> None:
        if self._at_rest.look(file, marker_time(self.rule, file)):
            self._ready[file.path] = file

    def _flush(self) -> None:
        """Hand complete files over; they stay here until that has worked."""
        while self._ready:
            self._wait_for_room()
            batch = [file for _, file in zip(range(BATCH), self._ready.values(), strict=False)]
            self.counters.queued += self._parts.queue.put(batch)
            for file in batch:
                del self._ready[file.path]
            self._told_trouble = ""

    def _wait_for_room(self) -> None:
        while self._parts.count_open(QUEUE_AHEAD) >= QUEUE_AHEAD:
            self._folder.collect(1.0)
            self.check()

    def _trouble(self, problem: str) -> None:
        """Keep it, and say it once until something works again."""
        self.counters.last_error = problem
        self.counters.last_error_at = datetime.now(UTC)
        if problem != self._told_trouble:
            self._told_trouble = problem
            self._say(Kind.TROUBLE, words=problem)

    def _say(self, kind: Kind, words: str = "") -> None:
        self._tell(Note(kind, self.rule.title, self._folder.path, words, self.destination))
