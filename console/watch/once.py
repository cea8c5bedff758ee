"""Watching one time, for cron: everything that is there is sent, then it ends. And the dry run, which only says what
would be done with each file, and why.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from console.files.walk import Found, Scanner, in_order, marker_time
from console.formatting import visible
from console.models import Requested, Upload, UploadStatus, read_upload
from console.records.database import Records
from console.records.requests import request_all
from console.records.transitions import OPEN, Filter, at_endpoint
from console.records.watched_files import require_claims
from console.records.watches import Presence
from console.s3.control import Unattended
from console.settings.watch_rules import WatchRule
from console.watch.completeness import PendingFiles
from console.watch.decisions import Action, Decision
from console.watch.folder import clock_skew
from console.watch.pending_queue import Refusals
from console.watch.reporting import Note, NoteKind
from console.watch.service import TOLD, ending, too_many_failed
from console.watch.watcher import RuleParts, Surroundings, Watcher

_LOOK_SECONDS: Final = 0.2
_STOP_SECONDS: Final = 5.0


class WatchOnce:
    """One look at the folders of some rules. A runner has to be there to send what is queued."""

    def __init__(self, records: Records, around: Surroundings, rules: Sequence[WatchRule]) -> None:
        """Raises ConfigurationError, MongoUnsuitable; PyMongoError where the records cannot be reached."""
        require_claims(records.uploads)
        self._records = records.uploads
        self._uploads = records.uploads.collection
        self._around = around = replace(around, limits={})
        self._began: datetime = records.connection.client.admin.command("hello")["localTime"]
        presence = Presence.of(records.uploads)
        self._rules = [rule for rule in rules if not self._is_paused(presence, rule)]
        self._titles = [rule.title for rule in self._rules]
        self._watchers = [Watcher(rule, around, once=True) for rule in self._rules]
        self._unseen: set[str] = set()

    @property
    def uploads(self) -> Filter:
        """The uploads that this is about."""
        here = at_endpoint(self._around.verifier.endpoint)
        return {**here, "host": self._around.host, "watch.rule": {"$in": self._titles}}

    @property
    def unseen(self) -> list[str]:
        """Rules whose folder was not looked at to the end: it is away, or cannot be read. What it is was told."""
        return sorted(self._unseen)

    def run(self, interrupted: threading.Event) -> None:
        """Until all that is there is sent, failed or paused by somebody, and cared for.

        Raises:
            PyMongoError: MongoDB is away, or refuses what this user wants to write.
        """
        self._look(self._watchers, interrupted)
        self._wait_for_uploads(interrupted)
        caring = [Watcher(rule, self._around, once=True) for rule in self._rules if rule.after != "keep"]
        self._look(caring, interrupted)
        self._wait_for_uploads(interrupted)

    def report_endings(self) -> list[Upload]:
        """Tell what completed or failed meanwhile; gives those that failed. Raises PyMongoError."""
        failed: list[Upload] = []
        wanted = {**self.uploads, "status": {"$in": TOLD}, "finished_at": {"$gte": self._began}}
        for document in self._records.read(wanted, order=(("finished_at", 1),)):
            upload = read_upload(document)
            if isinstance(upload, Upload) and (note := ending(upload)) is not None:
                self._around.notify(note)
                if upload.status is UploadStatus.FAILED:
                    failed.append(upload)
        return failed

    def _is_paused(self, presence: Presence, rule: WatchRule) -> bool:
        is_paused = presence.is_paused(self._around.host, rule.title)
        if is_paused:
            self._around.notify(Note(NoteKind.PAUSED, rule.title, str(rule.folder), "it was paused"))
        return is_paused

    def _look(self, watchers: Sequence[Watcher], interrupted: threading.Event) -> None:
        for watcher in watchers:
            watcher.start()
        for watcher in watchers:
            while not watcher.finished.wait(_LOOK_SECONDS) and not interrupted.is_set():
                pass
        for watcher in watchers:
            while not interrupted.is_set() and not watcher.wait_for_after_upload(_LOOK_SECONDS):
                pass
            watcher.stop()
            watcher.join(_STOP_SECONDS)
        for watcher in watchers:
            if watcher.refusal is not None:
                raise watcher.refusal
        self._unseen |= {watcher.rule.title for watcher in watchers if not watcher.has_seen_all}

    def _wait_for_uploads(self, interrupted: threading.Event) -> None:
        while not interrupted.is_set() and self._uploads.count_documents({**self.uploads, **_IS_OPEN}, limit=1):
            for rule in self._rules:
                if rule.max_failures is not None:
                    self._keep_failures(rule, rule.max_failures)
            interrupted.wait(_LOOK_SECONDS)

    def _keep_failures(self, rule: WatchRule, most: int) -> None:
        """Pause what is left of a rule once so many of its uploads have failed."""
        of_rule: Filter = {**self.uploads, "watch.rule": rule.title}
        failed = {"status": UploadStatus.FAILED.value, "finished_at": {"$gte": self._began}}
        if self._uploads.count_documents({**of_rule, **failed}, limit=most) < most:
            return
        if left := self._records.ids({**of_rule, **_IS_OPEN}):
            request_all(self._records, left, Requested.PAUSE)
            self._around.notify(Note(NoteKind.PAUSED, rule.title, str(rule.folder), too_many_failed(most)))


_IS_OPEN: Final[Filter] = {"status": {"$in": list(OPEN)}, "requested": Requested.RUN.value}
_BATCH: Final = 500
_KINDS: Final = {
    Action.UPLOAD: NoteKind.WOULD_SEND,
    Action.RETARGET: NoteKind.WOULD_SEND,
    Action.RELINK: NoteKind.RECOGNISED,
    Action.SENT: NoteKind.SENT,
    Action.QUEUED: NoteKind.PENDING,
    Action.WAIT: NoteKind.LEFT,
    Action.SKIP: NoteKind.LEFT,
    Action.REFUSE: NoteKind.REFUSED,
}


class DryRun:
    """One look at a folder. Memory is bounded as that of a scan."""

    def __init__(self, rule: WatchRule, around: Surroundings) -> None:
        """Raises ConfigurationError where neither rule nor settings name a bucket."""
        self._rule = rule
        self._notify = around.notify
        ignored: Callable[..., None] = lambda *_: None  # noqa: E731
        self._decisions = RuleParts.make(
            rule, around, Refusals(), control=Unattended(), again=ignored, problem=ignored
        ).decisions
        self._pending_files = PendingFiles.of(rule, skew_seconds=clock_skew(str(rule.folder)), capacity=1)

    def run(self) -> int:
        """Tell of each file; gives how many would be sent. Raises OSError, PyMongoError."""
        scanner = Scanner(
            self._rule,
            refused=lambda refusal: self._say(NoteKind.REFUSED, refusal.path, refusal.reason),
            left_out=lambda path, message: self._say(NoteKind.LEFT_OUT, path, message),
        )
        batch: list[Found] = []
        sent = 0
        for file in in_order(scanner.files, self._rule.order):
            if not self._pending_files.look(file, marker_time(self._rule, file)):
                self._say(NoteKind.LEFT, file.path, "it is not complete yet")
                continue
            batch.append(file)
            if len(batch) == _BATCH:
                sent += self._decide(batch)
                batch = []
        return sent + self._decide(batch)

    def _decide(self, batch: list[Found]) -> int:
        decisions = self._decisions.decide(batch) if batch else []
        for decision in decisions:
            if decision.action in _KINDS:
                self._notify(_note(self._rule.title, decision))
        return sum(_KINDS.get(decision.action) is NoteKind.WOULD_SEND for decision in decisions)

    def _say(self, kind: NoteKind, path: str, message: str) -> None:
        self._notify(Note(kind, self._rule.title, path, message))


def _note(rule: str, decision: Decision) -> Note:
    kind = _KINDS[decision.action]
    is_sent = kind is NoteKind.WOULD_SEND and decision.upload is not None
    destination = visible(f"s3://{decision.upload.bucket}/{decision.upload.key}") if is_sent and decision.upload else ""
    return Note(kind, rule, decision.file.path, decision.message, destination, decision.file.size)
