"""What is to happen to a complete file, by its rule and its records.

One decision for each combination of file, record and setting, with its destination and its refusals. It reads file,
records and, where a file looks like one that was sent, its object; it changes nothing: `pending_queue` carries it
out, and a dry run only shows it.
"""

from __future__ import annotations

import hashlib
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

from bson import ObjectId
from pymongo.errors import PyMongoError

from console.error_codes import Recovery, explain
from console.errors import ConsoleError
from console.files.acceptance import Acceptance
from console.files.naming import marked, numbered
from console.files.refusals import Refusal
from console.files.walk import Candidate, Found
from console.formatting import age, as_text, visible
from console.models import Source, Upload, UploadStatus, Watched, stored_ns
from console.records.uploads import NewUpload
from console.records.watched_files import Record, SentFiles, UnreadableRecord
from console.runner.job_limits import JobLimit
from console.runner.working_hours import WorkingHours
from console.s3.control import Control
from console.s3.transfer_errors import Stopped, TransferError
from console.settings import S3Settings, TransferSettings
from console.settings.key_template import KeyRefused, clean_key
from console.settings.schedule import local_now
from console.settings.watch_rules import WatchRule
from console.transfer.intake import Intake
from console.transfer.sender import S3Sender
from console.watch.completeness import OpenFiles

_DIGEST_BYTES: Final = 16
_PAUSE_SECONDS: Final = 60.0


class CurrentJob:
    """The job of what a watch finds now: what comes without a minute's pause in between belongs together."""

    def __init__(self, batch: ObjectId | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        """`batch` is that of a single run, which has one alone."""
        self._is_fixed = batch is not None
        self._batch = batch or ObjectId()
        self._clock = clock
        self._found_at = clock()

    def of_a_find(self) -> ObjectId:
        """The job that a file belongs to which was found just now."""
        now = self._clock()
        if not self._is_fixed and now - self._found_at > _PAUSE_SECONDS:
            self._batch = ObjectId()
        self._found_at = now
        return self._batch


class Destination:
    """Makes uploads of the files that a rule finds on this host."""

    def __init__(
        self,
        rule: WatchRule,
        s3: S3Settings,
        transfer: TransferSettings,
        *,
        host: str,
        endpoint: str,
        batch: ObjectId | None = None,
    ) -> None:
        """Raises ConfigurationError where neither rule nor settings name a bucket."""
        if (named := rule.destination) is not None:
            s3 = s3.model_copy(update={"bucket": named[0], "prefix": named[1]})
        if rule.key_template is not None:
            transfer = transfer.model_copy(update={"key_template": rule.key_template})
        self._intake = Intake(
            s3,
            transfer,
            host=host,
            source=Source.WATCH,
            endpoint=endpoint,
            duplicates=rule.duplicates,
            storage=rule.storage,
            headers=rule.headers or (),
            schedule=rule.schedule,
        )
        self._job = CurrentJob(batch)
        self.endpoint = endpoint
        self.bucket = s3.bucket
        self.scope = rule.shared_as or host
        self.message = visible(f"s3://{s3.bucket}/{s3.prefix.strip('/')}".rstrip("/"))
        self._rule = rule.title
        self._below = rule.below
        self.duplicates = rule.duplicates or transfer.duplicates
        self._priority = rule.priority

    def upload(self, file: Found) -> NewUpload | Refusal:
        """The upload of a file as it is now, or why there can be none."""
        taken = self._intake.take(Candidate(file.path, file.relative, file.size, file.mtime_ns, self._below))
        if isinstance(taken, Refusal):
            return taken
        return self.claimed(replace(taken, priority=self._priority, batch=self._job.of_a_find()), "", file.ctime_ns)

    def claimed(self, upload: NewUpload, predecessor: str, ctime_ns: int | None = None) -> NewUpload:
        """The upload with the digest of its file in this state, coming after the record `predecessor` (its id).

        Without the predecessor a file that is changed back to an earlier state could not be sent again.
        """
        if ctime_ns is None and upload.watch is not None:
            ctime_ns = upload.watch.ctime_ns
        path = upload.path_bytes if upload.path_bytes is not None else os.fsencode(upload.path)
        parts = (self.scope, self.endpoint, self.bucket, upload.size, upload.mtime_ns, upload.fingerprint, predecessor)
        text = b"\0".join([path, *(str(part).encode("utf-8", "surrogateescape") for part in parts)])
        digest = hashlib.blake2b(text, digest_size=_DIGEST_BYTES).hexdigest()
        watched = Watched(
            rule=self._rule,
            scope=self.scope,
            digest=digest,
            ctime_ns=stored_ns(ctime_ns) if ctime_ns is not None else None,
        )
        return replace(upload, watch=watched)

    def moved(self, upload: Upload, place: str) -> NewUpload:
        """The completed upload of a file that a watch has moved to `place`. Raises OSError where it is gone."""
        status = os.lstat(place)
        text = as_text(place)
        moved = NewUpload(
            filename=as_text(os.path.basename(place)),  # noqa: PTH119
            path=text,
            path_bytes=None if text == place else os.fsencode(place),
            host=upload.host,
            size=status.st_size,
            mtime_ns=status.st_mtime_ns,
            fingerprint=upload.fingerprint,
            content_type=upload.content_type,
            bucket=upload.bucket,
            key=upload.key,
            source=upload.source,
        )
        claimed = self.claimed(moved, str(upload.id), status.st_ctime_ns)
        before = upload.watch.found_as if upload.watch is not None else None
        found_as = before if before is not None else os.fsencode(upload.os_path)
        watched = claimed.watch.model_copy(update={"found_as": found_as}) if claimed.watch is not None else None
        return replace(claimed, watch=watched)

    def versioned(self, upload: NewUpload) -> NewUpload | Refusal:
        """The upload under a key of its own: that of the file with the time of its change in it."""
        try:
            return replace(upload, key=clean_key(version_key(upload.key, upload.mtime_ns)))
        except KeyRefused as error:
            return Refusal(upload.path, error.message)


def version_key(key: str, mtime_ns: int) -> str:
    """`dir/name.tar.gz` as `dir/name.20261124T030000.000000000Z.tar.gz`: sorts by time, and no two changes share it."""
    seconds, fraction = divmod(mtime_ns, 1_000_000_000)
    try:
        moment = f"{datetime.fromtimestamp(seconds, UTC):%Y%m%dT%H%M%S}"
    except (ValueError, OverflowError, OSError):  # beyond the years 1 to 9999
        moment = str(seconds)
    return marked(key, f".{moment}.{fraction:09d}Z")


_OF_THE_FILE: Final = frozenset({"FileNotFound", "FileChanged", "NotARegularFile", "KeyOfOtherFile"})
"""Failures that are over once the file is there and complete again, or gets a key of its own."""
_MOST_NAMES: Final = 1_000

_log = logging.getLogger(__name__)


class Action(StrEnum):
    UPLOAD = "upload"  # a new record
    RETARGET = "retarget"  # a waiting or failed record becomes that of the file as it is now
    RELINK = "relink"  # a completed record becomes that of the file under its new name or time
    SENT = "sent"  # nothing: it is in S3
    QUEUED = "queued"  # nothing: its upload is on its way
    WAIT = "wait"  # look again after a while
    SKIP = "skip"  # nothing, for a reason that people should know
    REFUSE = "refuse"
    GONE = "gone"


_WRITING: Final = frozenset({Action.UPLOAD, Action.RETARGET})


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to happen to a file, and why in words.

    `upload` is what is written where something is; `record` is the newest one that the file has, or had by its former
    name. `supersedes` is a waiting upload of the file that is cancelled.
    """

    file: Found
    action: Action
    message: str = ""
    upload: NewUpload | None = None
    record: Record | None = None
    supersedes: Record | None = None


class Decisions:
    """Decides for one rule. Not thread-safe."""

    def __init__(
        self,
        rule: WatchRule,
        destination: Destination,
        sent: SentFiles,
        *,
        host: str,
        verifier: S3Sender,
        control: Control,
        is_host_alive: Callable[[str], bool],
        open_files: OpenFiles | None = None,
        limit: JobLimit | None = None,
        clock: Callable[[], datetime] = local_now,
    ) -> None:
        self._rule = rule
        self._destination = destination
        self._sent = sent
        self._host = host
        self._verifier = verifier
        self._control = control
        self._is_host_alive = is_host_alive
        self._acceptance = Acceptance(rule)
        self._hours = WorkingHours(rule.schedule, clock)
        self._open_files = open_files or OpenFiles(rule.below)
        self._limit = limit or JobLimit(rule.schedule)

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
            return Decision(file, Action.REFUSE, f"cannot be judged: {type(error).__name__}: {visible(str(error))}")

    def _decide(self, file: Found, record: Record | UnreadableRecord | None) -> Decision:
        if record is None:
            return self._prepared(file, lambda file, upload: Decision(file, Action.UPLOAD, upload=upload))
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
        if message := self._acceptance.refuses(file.path, file.size):
            return Decision(file, Action.REFUSE, message)
        if why := self._hours.why_closed:
            return Decision(file, Action.WAIT, why)
        if self._open_files.is_open_for_writing(file.path):
            return Decision(file, Action.WAIT, "a process has it open for writing")
        upload = self._destination.upload(file)
        if isinstance(upload, Refusal):
            is_there = os.path.lexists(file.path)
            return Decision(file, Action.REFUSE if is_there else Action.GONE, upload.reason)
        if (upload.size, upload.mtime_ns) != (file.size, file.mtime_ns):
            return Decision(file, Action.WAIT, "it is being written")
        decision = then(file, upload)
        if decision.action is Action.UPLOAD and (why := self._limit.reached_by(upload)):
            return Decision(file, Action.WAIT, why)
        return decision

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
        message = f"waited as {visible(former)} before it was renamed"
        if record.waits_for_its_file:
            if not record.has_parts or record.key == upload.key:
                return Decision(file, Action.RETARGET, message, claimed, record)
            return Decision(file, Action.UPLOAD, message, upload, supersedes=record)
        is_under_its_key = record.key == upload.key and self._rule.after == "keep"
        if record.status is UploadStatus.COMPLETED and is_under_its_key and self._is_in_s3(file, record):
            return Decision(file, Action.RELINK, f"sent as {visible(former)} before it was renamed", claimed, record)
        return None

    # Keys ---------------------------------------------------------------------------------------------------------

    def _under_keys_of_their_own(self, decisions: Sequence[Decision]) -> list[Decision]:
        """The same; where a key is that of another file's upload, the file gets the first numbered one that is free.

        With `duplicates = "fail"` nothing is overwritten, and nothing is to get another name.
        """
        if self._destination.duplicates == "fail":
            return list(decisions)
        wanted = {each.upload.key for each in decisions if each.upload is not None and each.action in _WRITING}
        holders = self._sent.holders(sorted(wanted)) if wanted else {}
        taken: dict[str, str] = {}
        return [self._under_its_key(decision, holders, taken) for decision in decisions]

    def _under_its_key(self, decision: Decision, holders: dict[str, list[Record]], taken: dict[str, str]) -> Decision:
        """`taken` are the keys of this batch, with the files that have them."""
        upload = decision.upload
        if upload is None or decision.action not in _WRITING:
            return decision
        if decision.action is Action.RETARGET and decision.record is not None and decision.record.has_parts:
            taken.setdefault(decision.record.key, decision.file.path)  # parts that are ours stay where they are
        first = ""
        for number in range(1, _MOST_NAMES + 1):
            key = numbered(upload.key, number)
            if key not in holders:
                holders[key] = self._sent.holders([key]).get(key, [])
            other = self._other_holder(key, decision, holders, taken)
            first = first or other
            if not other:
                taken[key] = decision.file.path
                if number == 1:
                    return decision
                message = f"its key is that of {visible(first)}: it gets a number"
                return replace(decision, upload=replace(upload, key=key), message=message)
        return Decision(
            decision.file, Action.REFUSE, f"its key and {_MOST_NAMES - 1} numbered ones are those of others"
        )

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
            return Decision(file, Action.SENT, "sent already", record=record)
        if record.status is UploadStatus.CANCELLED:
            return Decision(file, Action.SKIP, "its upload was cancelled", record=record)
        if record.status is UploadStatus.FAILED:
            return self._failed(file, record)
        if not record.is_wanted:
            return Decision(file, Action.SKIP, "its upload was paused", record=record)
        if record.host != self._host and not self._is_host_alive(record.host):
            return self._prepared(file, self._retargeting(record, f"it was {visible(record.host)}'s, which is away"))
        return Decision(file, Action.QUEUED, "waiting to be sent", record=record)

    def _failed(self, file: Found, record: Record) -> Decision:
        if record.error_code in _OF_THE_FILE:
            return self._prepared(file, self._retargeting(record, "the file is there again"))
        message = f"its upload failed: {visible(record.error_message)}"
        tried_again = self._rule.retry_failed_seconds
        if explain(record.error_code).recovery is Recovery.PERMANENT or not tried_again:
            return Decision(file, Action.SKIP, f"{message}; retry it once that is fixed", record=record)
        now = datetime.now(UTC)
        failed_at = record.finished_at or now
        if (now - failed_at).total_seconds() < tried_again:
            return Decision(file, Action.SKIP, f"{message}; it is retried automatically", record=record)
        return self._prepared(file, self._retargeting(record, f"it failed {age(failed_at, now)} ago"))

    def _changed(self, file: Found, record: Record) -> Decision:
        """The newest record is of the file as it was before."""
        if record.status is UploadStatus.COMPLETED:
            return self._changed_after_sent(file, record)
        if record.status is UploadStatus.UPLOADING:
            return Decision(file, Action.WAIT, "it changed while it was being sent", record=record)
        if record.status is UploadStatus.CANCELLED:
            return self._prepared(file, self._succeeding(record))
        if not record.is_wanted and record.status is not UploadStatus.FAILED:
            return Decision(file, Action.SKIP, "its upload was paused", record=record)
        return self._prepared(file, self._retargeting(record, "it changed before it was sent"))

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

    def _retargeting(self, record: Record, message: str) -> Callable[[Found, NewUpload], Decision]:
        return lambda file, upload: Decision(
            file, Action.RETARGET, message, self._destination.claimed(upload, str(record.id)), record
        )

    def _touching(self, record: Record) -> Callable[[Found, NewUpload], Decision]:
        """The file has the size of what was sent: with its content too, under a key that is its own, it is sent."""

        def decide(file: Found, upload: NewUpload) -> Decision:
            if _is_key_of(record, upload.key) and self._is_in_s3(file, record):
                claimed = self._destination.claimed(upload, str(record.id))
                return Decision(file, Action.RELINK, "only its time changed", claimed, record)
            return self._succeeding(record)(file, upload)

        return decide

    def _beside(self, record: UnreadableRecord) -> Callable[[Found, NewUpload], Decision]:
        """A new upload of a file whose record nobody can read."""
        message = f"its record cannot be read ({visible(record.problem)}): it is sent again"
        return lambda file, upload: Decision(
            file, Action.UPLOAD, message, self._destination.claimed(upload, visible(repr(record.id)))
        )

    def _succeeding(self, record: Record) -> Callable[[Found, NewUpload], Decision]:
        """A new upload of a file that had one before."""

        def decide(file: Found, upload: NewUpload) -> Decision:
            if self._rule.changed == "ignore" and record.status is UploadStatus.COMPLETED:
                return Decision(file, Action.SKIP, "it changed after it was sent", record=record)
            claimed = self._destination.claimed(upload, str(record.id))
            if self._rule.changed != "version" or record.status is not UploadStatus.COMPLETED:
                return Decision(file, Action.UPLOAD, "it changed after it was sent", claimed, record)
            versioned = self._destination.versioned(claimed)
            if isinstance(versioned, Refusal):
                return Decision(file, Action.REFUSE, versioned.reason)
            return Decision(file, Action.UPLOAD, "a new version of it", versioned, record)

        return decide


def _is_key_of(record: Record, key: str) -> bool:
    """Whether the record's object is where a file of that key belongs, maybe with a number or as a version."""
    if record.key in (key, version_key(key, record.mtime_ns)):
        return True
    return any(record.key == numbered(key, number) for number in range(2, _MOST_NAMES + 1))
