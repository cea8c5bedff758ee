"""What is to happen to a file that is complete, by its rule and its records.

Owns that decision for each combination of file, record and setting. It reads file, records and, where a file looks like
one that was sent, its object; it changes nothing: `queueing` carries it out, and a dry run only tells it.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final, Protocol

from pymongo.errors import PyMongoError

from console.errors import ConsoleError
from console.formatting import age, visible
from console.models import Endpoint, Upload, UploadStatus
from console.records.new_upload import NewUpload
from console.transfer.control import Control
from console.transfer.duplicates import numbered
from console.transfer.errors import Stopped, TransferError
from console.transfer.refusal import Refusal
from console.transfer.verdicts import Verdict, explain
from console.transfer.verify import Comparison
from console.watch.acceptance import Acceptance
from console.watch.at_rest import Found
from console.watch.destination import Destination, version_key
from console.watch.open_files import OpenFiles
from console.watch.rules import WatchRule
from console.watch.sent import Record, SentFiles, UnreadableRecord

_OF_THE_FILE: Final = frozenset({"FileNotFound", "FileChanged", "NotARegularFile"})
"""Failures that are over once the file is there, at rest, again."""
_MOST_NAMES: Final = 1_000

_log = logging.getLogger(__name__)


class Verifier(Protocol):
    """What recognising and deleting ask of S3; `transfer.sender.S3Sender` is one."""

    @property
    def endpoint(self) -> Endpoint:
        """Which S3 service that is."""
        ...

    def made(self, upload: Upload) -> bool:
        """Whether the object bears the upload's mark. Raises `TransferError`."""
        ...

    def verify(self, upload: Upload, control: Control | None = None) -> Comparison:
        """Compare file and object as both are now. Raises `TransferError`."""
        ...


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


_WRITING: Final = frozenset({Step.UPLOAD, Step.ARM})


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to happen to a file, and why in words.

    `upload` is what is written where something is; `record` is the newest one that the file has, or had by its former
    name. `supersedes` is a waiting upload of the file that is cancelled.
    """

    file: Found
    step: Step
    words: str = ""
    upload: NewUpload | None = None
    record: Record | None = None
    supersedes: Record | None = None


class Judge:
    """Decides for one rule. Not thread-safe."""

    def __init__(
        self,
        rule: WatchRule,
        destination: Destination,
        sent: SentFiles,
        *,
        host: str,
        verifier: Verifier,
        control: Control,
        is_host_alive: Callable[[str], bool],
        open_files: OpenFiles | None = None,
    ) -> None:
        self._rule = rule
        self._destination = destination
        self._sent = sent
        self._host = host
        self._verifier = verifier
        self._control = control
        self._is_host_alive = is_host_alive
        self._acceptance = Acceptance(rule)
        self._open_files = open_files or OpenFiles(rule.below)

    def decide(self, files: Sequence[Found]) -> list[Decision]:
        """What is to happen to each. Raises PyMongoError where the records cannot be read, `Stopped` by `control`."""
        records = self._sent.newest([file.path for file in files])
        decisions = [self._isolated(file, records.get(file.path)) for file in files]
        if self._rule.renamed == "ignore":
            decisions = self._recognised(decisions)
        return self._under_keys_of_their_own(decisions)

    def _isolated(self, file: Found, record: Record | UnreadableRecord | None) -> Decision:
        """The decision; what nobody foresaw about one file is said, and keeps no other from being sent."""
        self._control.check()
        try:
            return self._decide(file, record)
        except (PyMongoError, Stopped):
            raise
        except Exception as error:  # noqa: BLE001 - of the others' decisions each may go well
            _log.exception("deciding about %s", visible(file.path))
            return Decision(file, Step.REFUSE, f"cannot be judged: {type(error).__name__}: {visible(str(error))}")

    def _decide(self, file: Found, record: Record | UnreadableRecord | None) -> Decision:
        if record is None:
            return self._prepared(file, lambda file, upload: Decision(file, Step.UPLOAD, upload=upload))
        if isinstance(record, UnreadableRecord):
            return self._prepared(file, self._beside(record))
        if not record.is_of(file):
            return self._changed(file, record)
        if record.status is UploadStatus.COMPLETED and not self._is_the_sent_one(file, record):
            return self._changed_after_sent(file, record)
        return self._known(file, record)

    def _is_the_sent_one(self, file: Found, record: Record) -> bool:
        """Whether the file itself was sent. Where sent files are removed, one that looks alike may have come since."""
        return self._rule.after == "keep" or record.is_this_very(file)

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

    # Renamed files ----------------------------------------------------------------------------------------------

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
        """The decision if the record is of this file under the name that it had before.

        A file that was sent counts as sent under its new name only where its object has the key that the new name
        gives, for the next file of its former name may overwrite any other; and where this watch removes no files, for
        then what has gone was not renamed.
        """
        former = record.os_path
        if former == file.path or os.path.lexists(former):
            return None
        claimed = self._destination.claimed(upload, str(record.id))
        words = f"waited as {visible(former)} before it was renamed"
        if record.waits_for_its_file:
            if not record.has_parts or record.key == upload.key:
                return Decision(file, Step.ARM, words, claimed, record)
            return Decision(file, Step.UPLOAD, words, upload, supersedes=record)
        is_under_its_key = record.key == upload.key and self._rule.after == "keep"
        if record.status is UploadStatus.COMPLETED and is_under_its_key and self._is_in_s3(file, record):
            return Decision(file, Step.FOLLOW, f"sent as {visible(former)} before it was renamed", claimed, record)
        return None

    # Keys ---------------------------------------------------------------------------------------------------------

    def _under_keys_of_their_own(self, decisions: Sequence[Decision]) -> list[Decision]:
        """The same; where a key is that of another file's upload, the file gets the first numbered one that is free.

        With `duplicates = "fail"` nothing is overwritten, and nothing is to get another name.
        """
        if self._destination.duplicates == "fail":
            return list(decisions)
        wanted = {each.upload.key for each in decisions if each.upload is not None and each.step in _WRITING}
        holders = self._sent.holders(sorted(wanted)) if wanted else {}
        taken: dict[str, str] = {}
        return [self._under_its_key(decision, holders, taken) for decision in decisions]

    def _under_its_key(self, decision: Decision, holders: dict[str, list[Record]], taken: dict[str, str]) -> Decision:
        """`taken` are the keys of this batch, with the files that have them."""
        upload = decision.upload
        if upload is None or decision.step not in _WRITING:
            return decision
        if decision.step is Step.ARM and decision.record is not None and decision.record.has_parts:
            taken.setdefault(decision.record.key, decision.file.path)
            return decision
        first = ""
        for number in range(1, _MOST_NAMES + 1):
            key = upload.key if number == 1 else numbered(upload.key, number)
            if key not in holders:
                holders[key] = self._sent.holders([key]).get(key, [])
            other = self._other_holder(key, decision, holders, taken)
            first = first or other
            if not other:
                taken[key] = decision.file.path
                if number == 1:
                    return decision
                words = f"its key is that of {visible(first)}: it gets a number"
                return replace(decision, upload=replace(upload, key=key), words=words)
        return Decision(decision.file, Step.REFUSE, f"its key and {_MOST_NAMES - 1} numbered ones are those of others")

    def _other_holder(
        self, key: str, decision: Decision, holders: Mapping[str, Sequence[Record]], taken: Mapping[str, str]
    ) -> str:
        """The other file whose object has the key, or will have it; empty where there is none."""
        upload, own = decision.upload, {record.id for record in (decision.record, decision.supersedes) if record}
        if upload is None:
            return ""
        if (path := taken.get(key)) is not None and path != decision.file.path:
            return path
        others = (each for each in holders.get(key, ()) if each.id not in own)
        return next((each.path for each in others if self._sent.is_another_file(each, upload)), "")

    # Files that have a record ---------------------------------------------------------------------------------------

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
        if record.size == file.size:
            return self._prepared(file, self._touching(record))
        return self._prepared(file, self._succeeding(record))

    def _is_in_s3(self, file: Found, record: Record) -> bool:
        """Whether the record's object is there, under the record's key, with the content of the file as it is now."""
        upload = self._sent.upload(record.id)
        if upload is None or upload.checksum is None or not upload.checksum.is_confirmed:
            return False
        here: dict[str, Any] = {"path": file.path, "path_bytes": os.fsencode(file.path), "folder_length": None}
        if self._rule.below is not None:
            here["folder_length"] = len(os.fsencode(self._rule.below.rstrip("/")))
        try:
            return self._verifier.verify(upload.model_copy(update=here), self._control).same is True
        except (TransferError, ConsoleError):
            return False

    def _arming(self, record: Record, words: str) -> Callable[[Found, NewUpload], Decision]:
        return lambda file, upload: Decision(
            file, Step.ARM, words, self._destination.claimed(upload, str(record.id)), record
        )

    def _touching(self, record: Record) -> Callable[[Found, NewUpload], Decision]:
        """The file has the size of what was sent: with its content too, under a key that is its own, it is sent."""

        def decide(file: Found, upload: NewUpload) -> Decision:
            if _is_key_of(record, upload.key) and self._is_in_s3(file, record):
                claimed = self._destination.claimed(upload, str(record.id))
                return Decision(file, Step.FOLLOW, "only its time changed", claimed, record)
            return self._succeeding(record)(file, upload)

        return decide

    def _beside(self, record: UnreadableRecord) -> Callable[[Found, NewUpload], Decision]:
        """A new upload of a file whose record nobody can read."""
        words = f"its record cannot be read ({visible(record.problem)}): it is sent again"
        return lambda file, upload: Decision(
            file, Step.UPLOAD, words, self._destination.claimed(upload, visible(repr(record.id)))
        )

    def _succeeding(self, record: Record) -> Callable[[Found, NewUpload], Decision]:
        """A new upload of a file that had one before."""

        def decide(file: Found, upload: NewUpload) -> Decision:
            if self._rule.changed == "ignore" and record.status is UploadStatus.COMPLETED:
                return Decision(file, Step.LEAVE, "it changed after it was sent", record=record)
            claimed = self._destination.claimed(upload, str(record.id))
            if self._rule.changed != "version" or record.status is not UploadStatus.COMPLETED:
                return Decision(file, Step.UPLOAD, "it changed after it was sent", claimed, record)
            versioned = self._destination.versioned(claimed)
            if isinstance(versioned, Refusal):
                return Decision(file, Step.REFUSE, versioned.reason)
            return Decision(file, Step.UPLOAD, "a new version of it", versioned, record)

        return decide


def _is_key_of(record: Record, key: str) -> bool:
    """Whether the record's object is where a file of that key belongs, maybe with a number or as a version."""
    if record.key in (key, version_key(key, record.mtime_ns)):
        return True
    return any(record.key == numbered(key, number) for number in range(2, _MOST_NAMES + 1))
