"""One rule at work: a thread that looks at its folder when something happens there, and now and then all the same.

Owns the loop: scans, events, pauses, and a folder that goes and comes back. What was found and is not recorded yet is
`finds`'; everything else it learns from folder and records each time.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import Final

from bson import ObjectId
from pymongo.errors import PyMongoError

from console.formatting import visible
from console.records.connection import words
from console.transfer.errors import Stopped
from console.watch.at_rest import AtRest
from console.watch.finds import Finds
from console.watch.folder_events import clock_skew
from console.watch.notes import Kind, Note
from console.watch.refusals import Refusals
from console.watch.rule_parts import RuleParts, Surroundings
from console.watch.rules import WatchRule
from console.watch.scan_progress import ScanProgress
from console.watch.scanning import Scanner, in_order
from console.watch.state import Counters, State
from console.watch.troubles import Troubles
from console.watch.watched_folder import WatchedFolder

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
        self.troubles = Troubles(lambda problem: self._say(Kind.TROUBLE, words=problem))
        self.counters = Counters()
        self.state = State.STARTING
        self.finished = threading.Event()
        self.has_seen_all = False  # with `once`; not where it is finished since the folder is away or cannot be read
        self._tell = surroundings.tell
        self._once = once
        self._hold: State | None = None
        self._stopping, self._woken = threading.Event(), threading.Event()
        self._folder = WatchedFolder(rule, trouble=self.troubles.add, without_events=once)
        self._scan_at = 0.0
        self._at_rest = AtRest.of(rule, skew_seconds=clock_skew(self._folder.path))
        self._parts = RuleParts.make(
            rule, surroundings, self.refusals, control=self, again=self._at_rest.again, trouble=self.troubles.add
        )
        self._scanner = Scanner(rule, entering=self._folder.enter, refused=self._parts.queue.refuse, pulse=self._pulse)
        self._progress = ScanProgress(self._scanner, lambda said: self._say(Kind.SCANNING, words=said))
        self.finds = Finds(
            rule, self._at_rest, self._scanner, self._parts.queue, self.refusals, make_room=self._wait_for_room
        )
        self._thread = threading.Thread(target=self._run, name=f"watch-{rule.title}", daemon=True)

    @property
    def destination(self) -> str:
        """`s3://bucket/prefix`, fit to be shown."""
        return self._parts.destination.words

    @property
    def state_words(self) -> str:
        """What it is doing, and how far that is."""
        state = self.state
        return f"{state.value} {self._progress.percent}".rstrip() if state is State.SCANNING else state.value

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
        """Do nothing for now (PAUSED, STANDBY, or STARTING: not yet), or go on (None) with a look at everything."""
        if state is not self._hold:
            self._hold = state
            self.wake()

    @property
    def is_alive(self) -> bool:
        """Whether its thread runs."""
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
                self.troubles.add(f"MongoDB: {words(error)}")
                self._rest(_RETRY_SECONDS)
            except Exception as error:  # noqa: BLE001 - the next look at the folder may go well
                self.troubles.add(self._words(error))
                if self._once:
                    break  # whoever calls looks again another time, and other folders wait for this one
                self._forget_folder()
                self._rest(_RETRY_SECONDS)
        self._folder.leave()
        self.state = State.STOPPED
        self._say(Kind.STOPPED)
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
                self._say(Kind.MISSING, words="" if self._once else "it is looked for regularly")
                self.state = State.MISSING
                self._forget_folder()
            if self._once:
                self.finished.set()
            self._rest(min(self.rule.poll_seconds, _SEE_FOLDER_SECONDS))
            return False
        if self._folder.is_new():
            self.finds.clear()
            self._scan_at = 0.0
            self._say(Kind.WATCHING, words="polling" if self._folder.is_polling and not self._once else "")
        return True

    def _forget_folder(self) -> None:
        """Everything that is known of the folder is to be learned anew."""
        self._folder.leave()
        self.finds.clear()
        self._scan_at = 0.0

    def _scan(self) -> None:
        self._parts.count_wanted(1)  # raises where MongoDB is away: a walk would be for nothing
        self.state = State.SCANNING
        self._scan_at = float("inf")
        self.refusals.scan_begins()
        self.troubles.scan_begins()
        try:
            for _ in self.finds.see_all(self._progress.of(in_order(self._scanner.files, self.rule.order))):
                self._apply_changes()
            self.finds.flush()
        except BaseException:
            self._scan_at = 0.0
            raise
        self.refusals.scan_ended()
        self.troubles.scan_ended()
        self.counters.scans += 1
        self.counters.scan_seconds = self._progress.seconds
        every = self.rule.poll_seconds if self._folder.is_polling else self.rule.rescan_seconds
        self._scan_at = min(self._scan_at, time.monotonic() + every)
        self.state = State.POLLING if self._folder.is_polling else State.WATCHING
        if self.counters.scans == 1 or not self._folder.is_polling:
            self._say(Kind.SCANNED, words=self._progress.result)

    def _pulse(self) -> None:
        """Called every few hundred entries of a walk: the kernel's queue of events must not fill meanwhile."""
        self.check()
        self._folder.collect(0.0)
        if self.state is State.SCANNING:
            self._progress.tell()

    def _settle(self) -> None:
        """Once: give files that have just been written the time to come to rest, and say which did not."""
        until = time.monotonic() + 2 * self.rule.quiet_seconds + 1.0
        while len(self._at_rest) and time.monotonic() < until:
            self._turn(self._at_rest.next_due() or 0.0)
        for file in self._at_rest.waiting():
            self._tell(Note(Kind.LEFT, self.rule.title, file.path, "it is not complete yet", size=file.size))
        if self._at_rest.has_overflowed:
            self._say(Kind.LEFT, words="more files are not complete yet")
        self.has_seen_all = True
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
        self.finds.see_due()
        if not self._once and self._at_rest.take_overflow():
            self._scan_at = min(self._scan_at, time.monotonic() + self.rule.quiet_seconds)
        self.finds.flush()

    def _apply_changes(self) -> None:
        changes = self._folder.changes()
        if changes.lost:
            self.counters.overflows += 1
            self._scan_at = 0.0
            self._say(Kind.OVERFLOW, words="the system dropped events: the folder is scanned")
        try:
            for folder in changes.folders:
                self.finds.see_folder(folder)
            for path in changes.files:
                self.finds.see_path(path)
        except PyMongoError:
            self._scan_at = 0.0  # what was not come to is found by that
            raise

    def _wait_for_room(self) -> None:
        while self._parts.count_wanted(QUEUE_AHEAD) >= QUEUE_AHEAD:
            self._stopping.wait(_ROOM_SECONDS)
            self._pulse()

    def _say(self, kind: Kind, words: str = "") -> None:
        self._tell(Note(kind, self.rule.title, self._folder.path, words, self.destination))
