"""Watching one time: everything that is there is sent, then it ends (for cron).

Owns the order of things: look, send, wait, and where files are moved or deleted, look once more; and telling how it
ended. What is queued and why is decided as ever (`watcher`).
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from console.models import Requested, Upload, UploadStatus, read_upload
from console.records.database import Records
from console.records.transitions import OPEN, Filter
from console.watch.endings import TOLD, ending
from console.watch.notes import Kind, Note
from console.watch.presence import Presence
from console.watch.rule_parts import Surroundings
from console.watch.rules import WatchRule
from console.watch.sent import require_claims
from console.watch.watcher import Watcher

_LOOK_SECONDS: Final = 0.2
_STOP_SECONDS: Final = 5.0


class WatchOnce:
    """One look at the folders of some rules. A runner has to be there to send what is queued."""

    def __init__(self, records: Records, around: Surroundings, rules: Sequence[WatchRule]) -> None:
        """Raises ConfigurationError, MongoUnsuitable; PyMongoError where the records cannot be reached."""
        require_claims(records.uploads)
        self._uploads = records.uploads.collection
        self._around = around
        self._began: datetime = records.connection.client.admin.command("hello")["localTime"]
        presence = Presence.of(records.uploads)
        self._rules = [rule for rule in rules if not self._is_paused(presence, rule)]
        self._titles = [rule.title for rule in self._rules]
        self._watchers = [Watcher(rule, around, once=True) for rule in self._rules]
        self._unseen: set[str] = set()

    @property
    def uploads(self) -> Filter:
        """The uploads that this is about."""
        return {"host": self._around.host, "watch.rule": {"$in": self._titles}}

    @property
    def unseen(self) -> list[str]:
        """Rules whose folder was not looked at to the end: it is away, or cannot be read. What it is was told."""
        return sorted(self._unseen)

    def run(self, interrupted: threading.Event) -> None:
        """Until all that is there is sent, failed or paused by somebody, and cared for. Raises PyMongoError."""
        self._look(self._watchers, interrupted)
        self._wait_for_uploads(interrupted)
        caring = [Watcher(rule, self._around, once=True) for rule in self._rules if rule.after != "keep"]
        self._look(caring, interrupted)
        self._wait_for_uploads(interrupted)

    def tell_endings(self) -> int:
        """Tell what completed or failed meanwhile; gives how many failed. Raises PyMongoError."""
        failed = 0
        wanted = {**self.uploads, "status": {"$in": TOLD}, "finished_at": {"$gte": self._began}}
        for document in self._uploads.find(wanted).sort("finished_at", 1).allow_disk_use(True):
            upload = read_upload(document)
            if isinstance(upload, Upload) and (note := ending(upload)) is not None:
                self._around.tell(note)
                failed += upload.status is UploadStatus.FAILED
        return failed

    def _is_paused(self, presence: Presence, rule: WatchRule) -> bool:
        is_paused = presence.is_paused(self._around.host, rule.title)
        if is_paused:
            self._around.tell(Note(Kind.PAUSED, rule.title, str(rule.folder), "it was paused"))
        return is_paused

    def _look(self, watchers: Sequence[Watcher], interrupted: threading.Event) -> None:
        for watcher in watchers:
            watcher.start()
        for watcher in watchers:
            while not watcher.finished.wait(_LOOK_SECONDS) and not interrupted.is_set():
                pass
        for watcher in watchers:
            while not interrupted.is_set() and not watcher.wait_for_aftercare(_LOOK_SECONDS):
                pass
            watcher.stop()
            watcher.join(_STOP_SECONDS)
        self._unseen |= {watcher.rule.title for watcher in watchers if not watcher.has_seen_all}

    def _wait_for_uploads(self, interrupted: threading.Event) -> None:
        is_open = {"status": {"$in": list(OPEN)}, "requested": Requested.RUN.value}
        while not interrupted.is_set() and self._uploads.count_documents({**self.uploads, **is_open}, limit=1):
            interrupted.wait(_LOOK_SECONDS)
