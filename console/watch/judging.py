"""What is to happen to a file that is complete, by its rule and its records.

Owns that decision for each combination of file, record and setting. It reads file and records and changes nothing;
`queueing` carries it out, and a dry run only tells it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

from console.formatting import age, visible
from console.models import UploadStatus
from console.records.new_upload import NewUpload
from console.transfer.control import Control
from console.transfer.refusal import Refusal
from console.transfer.verdicts import Verdict, explain
from console.watch.acceptance import Acceptance
from console.watch.at_rest import Found
from console.watch.content import has_content_of
from console.watch.destination import Destination
from console.watch.open_files import OpenFiles
from console.watch.rules import WatchRule
from console.watch.sent import Record, SentFiles

_OF_THE_FILE: Final = frozenset({"FileNotFound", "FileChanged", "NotARegularFile"})
"""Failures that are over once the file is there, at rest, again."""


class Step(StrEnum):
    """What is to happen."""

    UPLOAD = "upload"  # a new record
    ARM = "arm"  # a waiting or failed record becomes that of the file as it is now
    FOLLOW = "follow"  # a completed record becomes that of the file under its new name or time
    SENT = "sent"  # nothing: it is in S3
    QUEUED = "queued"  # nothing: its upload is on its way
    WAIT = "wait"  # look again after a while
    LEAVE = "leave"  # nothing, for a reason that people should know
    REFUSE = "refuse"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to happen to a file, and why in words.

    `upload` is what is written where something is; `record` is the newest one that the file has, or had by its former
    name.
    """

    file: Found
    step: Step
    words: str = ""
    upload: NewUpload | None = None
    record: Record | None = None


class Judge:
    """Decides for one rule. Not thread-safe."""

    def __init__(
        self,
        rule: WatchRule,
        destination: Destination,
        sent: SentFiles,
        *,
        host: str,
        part_size: int | None,
        control: Control,
        is_host_alive: Callable[[str], bool],
        open_files: OpenFiles | None = None,
    ) -> None:
        self._rule = rule
        self._destination = destination
        self._sent = sent
        self._host = host
        self._part_size = part_size
        self._control = control
        self._is_host_alive = is_host_alive
        self._acceptance = Acceptance(rule)
        self._open_files = open_files or OpenFiles()

    def decide(self, files: Sequence[Found]) -> list[Decision]:
        """What is to happen to each. Raises PyMongoError where the records cannot be read, `Stopped` by `control`."""
        records = self._sent.newest([file.path for file in files])
        decisions = [self._decide(file, records.get(file.path)) for file in files]
        return self._recognised(decisions) if self._rule.renamed == "ignore" else decisions

    def _decide(self, file: Found, record: Record | None) -> Decision:
        self._control.check()
        if record is None:
            return self._prepared(file, lambda file, upload: Decision(file, Step.UPLOAD, upload=upload))
        if record.is_of(file):
            return self._known(file, record)
        return self._changed(file, record)

    def _prepared(self, file: Found, then: Callable[[Found, NewUpload], Decision]) -> Decision:
        """What follows for a file that is to be uploaded, once it is seen that it may be."""
        if words := self._acceptance.refuses(file.path, file.size):
            return Decision(file, Step.REFUSE, words)
        if self._open_files.is_open_for_writing(file.path):
            return Decision(file, Step.WAIT, "a process has it open for writing")
        upload = self._destination.upload(file)
        if isinstance(upload, Refusal):
            is_there = os.path.lexists(file.path)
            return Decision(file, Step.REFUSE if is_there else Step.GONE, upload.reason)
        if (upload.size, upload.mtime_ns) != (file.size, file.mtime_ns):
            return Decision(file, Step.WAIT, "it is being written")
        return then(file, upload)

    def _recognised(self, decisions: Sequence[Decision]) -> list[Decision]:
        """The same, where files without a record turn out to be known by the name that they had before."""
        unknown = {decision.upload.fingerprint for decision in decisions if decision.upload and decision.record is None}
        alike = self._sent.alike(sorted(unknown)) if unknown else {}
        return [self._under_its_former_name(decision, alike) for decision in decisions]

    def _under_its_former_name(self, decision: Decision, alike: Mapping[str, Sequence[Record]]) -> Decision:
        if decision.upload is None or decision.record is not None:
            return decision
        for record in alike.get(decision.upload.fingerprint, ()):
            if (renamed := self._renamed(decision.file, decision.upload, record)) is not None:
                return renamed
        return decision

    def _renamed(self, file: Found, upload: NewUpload, record: Record) -> Decision | None:
        """The decision if the record is of this file under the name that it had before."""
        former = record.os_path
        if former == file.path or os.path.lexists(former):
            return None
        claimed = self._destination.claimed(upload, str(record.id))
        if record.status is UploadStatus.COMPLETED and self._has_content_of(file, record):
            words = f"sent as {visible(former)} before it was renamed"
            return Decision(file, Step.FOLLOW, words, claimed, record)
        if record.waits_for_its_file:
            return Decision(file, Step.ARM, f"waited as {visible(former)} before it was renamed", claimed, record)
        return None

    def _known(self, file: Found, record: Record) -> Decision:
        """The newest record is of the file as it is."""
        if record.status is UploadStatus.COMPLETED:
            return Decision(file, Step.SENT, "sent already", record=record)
        if record.status is UploadStatus.CANCELLED:
            return Decision(file, Step.LEAVE, "its upload was cancelled", record=record)
        if record.status is UploadStatus.FAILED:
            return self._failed(file, record)
        if not record.is_wanted:
            return Decision(file, Step.LEAVE, "its upload was paused", record=record)
        if record.host != self._host and not self._is_host_alive(record.host):
            return self._prepared(file, self._arming(record, f"it was {visible(record.host)}'s, which is away"))
        return Decision(file, Step.QUEUED, "waiting to be sent", record=record)

    def _failed(self, file: Found, record: Record) -> Decision:
        if record.error_code in _OF_THE_FILE:
            return self._prepared(file, self._arming(record, "the file is there again"))
        words = f"its upload failed: {visible(record.error_message)}"
        tried_again = self._rule.retry_failed_seconds
        if explain(record.error_code).verdict is Verdict.FINAL or not tried_again:
            return Decision(file, Step.LEAVE, f"{words}; retry it once that is fixed", record=record)
        now = datetime.now(UTC)
        failed_at = record.finished_at or now
        if (now - failed_at).total_seconds() < tried_again:
            return Decision(file, Step.LEAVE, f"{words}; it is retried automatically", record=record)
        return self._prepared(file, self._arming(record, f"it failed {age(failed_at, now)} ago"))

    def _changed(self, file: Found, record: Record) -> Decision:
        """The newest record is of the file as it was before."""
        if record.status is UploadStatus.COMPLETED:
            return self._changed_after_sent(file, record)
        if record.status is UploadStatus.UPLOADING:
            return Decision(file, Step.WAIT, "it changed while it was being sent", record=record)
        if record.status is UploadStatus.CANCELLED:
            return self._prepared(file, self._succeeding(record))
        if not record.is_wanted and record.status is not UploadStatus.FAILED:
            return Decision(file, Step.LEAVE, "its upload was paused", record=record)
        return self._prepared(file, self._arming(record, "it changed before it was sent"))

    def _changed_after_sent(self, file: Found, record: Record) -> Decision:
        if record.size == file.size and self._has_content_of(file, record):
            return self._prepared(file, self._touching(record))
        if self._rule.changed == "ignore":
            return Decision(file, Step.LEAVE, "it changed after it was sent", record=record)
        return self._prepared(file, self._succeeding(record))

    def _has_content_of(self, file: Found, record: Record) -> bool:
        upload = self._sent.upload(record.id)
        return upload is not None and has_content_of(file.path, upload, self._part_size, self._control)

    def _arming(self, record: Record, words: str) -> Callable[[Found, NewUpload], Decision]:
        return lambda file, upload: Decision(
            file, Step.ARM, words, self._destination.claimed(upload, str(record.id)), record
        )

    def _touching(self, record: Record) -> Callable[[Found, NewUpload], Decision]:
        return lambda file, upload: Decision(
            file,
            Step.FOLLOW,
            "only its time changed",
            self._destination.claimed(upload, str(record.id)),
            record,
        )

    def _succeeding(self, record: Record) -> Callable[[Found, NewUpload], Decision]:
        """A new upload of a file that had one before."""

        def decide(file: Found, upload: NewUpload) -> Decision:
            claimed = self._destination.claimed(upload, str(record.id))
            if self._rule.changed != "version" or record.status is not UploadStatus.COMPLETED:
                return Decision(file, Step.UPLOAD, "it changed after it was sent", claimed, record)
            versioned = self._destination.versioned(claimed)
            if isinstance(versioned, Refusal):
                return Decision(file, Step.REFUSE, versioned.reason)
            return Decision(file, Step.UPLOAD, "a new version of it", versioned, record)

        return decide
