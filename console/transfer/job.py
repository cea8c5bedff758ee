"""One upload on its way: what its steps (`send`, `duplicates`, `multipart`) share and change.

Owns the state of one `send`, and the two things every step needs: retries, and a body for a stretch of the file.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple, TypeVar

from console.choices import MEBIBYTE, DuplicatePolicy
from console.models import ACCESS, Checksum, Comparison, Multipart, Upload
from console.records.uploads import NewUpload
from console.s3.checksums import Algorithm, Digests, to_base64
from console.s3.control import Control, Journal
from console.s3.engines.bandwidth import BandwidthLimit
from console.s3.engines.body import Body
from console.s3.engines.engine import ObjectSettings, StoredBody
from console.s3.engines.source import SourceFile
from console.s3.operations import OWNER, StoredObject, head_object, stored_digest
from console.s3.part_size import Part, plan_parts
from console.s3.retry import RetryPolicy, call, with_retries
from console.s3.transfer_errors import Stopped, TransferError
from console.transfer.comparison import compare
from console.transfer.threads import wait_for
from console.transfer.transport import Transport

T = TypeVar("T")

_GRACE_SECONDS: Final = 0.5
NOT_TO_BE_SEEN: Final = frozenset({"403", "AccessDenied"})


@dataclass(frozen=True, slots=True)
class SendOptions:
    """How uploads are sent. Sizes in bytes; `part_size` is what is preferred, if anything is: see `s3.part_size`."""

    part_size: int | None = None
    multipart_threshold: int = 16 * MEBIBYTE
    duplicates: DuplicatePolicy = "overwrite"
    settings: ObjectSettings = field(default_factory=ObjectSettings)
    retry: RetryPolicy = field(default_factory=RetryPolicy)

    def wanted_by(self, upload: Upload) -> SendOptions:
        """These, with what the upload itself says: about a key that is taken, and how its object is kept."""
        return replace(self, duplicates=self.duplicates_of(upload), settings=self.settings_of(upload))

    def duplicates_of(self, upload: Upload | NewUpload) -> DuplicatePolicy:
        """What is done where its key is taken."""
        return upload.duplicates if upload.duplicates is not None else self.duplicates

    def settings_of(self, upload: Upload) -> ObjectSettings:
        """How its object is kept, with the mark of who made it."""
        told = upload.storage.model_dump(exclude_none=True, exclude={*ACCESS}) if upload.storage is not None else {}
        metadata = told.pop("metadata", self.settings.metadata)
        return replace(self.settings, metadata={**metadata, OWNER: str(upload.id)}, **told)


def with_preserved(settings: ObjectSettings, source: SourceFile, control: Control, *, in_parts: bool) -> ObjectSettings:
    """The settings with what of the file is to be preserved, under the names that rclone gives it: time in seconds with
    a fraction, mode in octal as `stat` has it, user and group by number, and of what is sent in parts the MD5."""
    status, wanted = source.status, settings.preserve
    if not wanted:
        return settings
    told: dict[str, str] = {}
    if "mtime" in wanted:
        told["mtime"] = seconds_text(status.st_mtime_ns)
    if "mode" in wanted:
        told["mode"] = f"{status.st_mode:o}"
    if "owner" in wanted:
        told |= {"uid": str(status.st_uid), "gid": str(status.st_gid)}
    if "md5" in wanted and in_parts:
        digest = source.digests(0, source.state.size, (Algorithm.MD5,), control)[Algorithm.MD5]
        told["md5chksum"] = to_base64(digest)
    return replace(settings, metadata={**settings.metadata, **told})


def seconds_text(nanoseconds: int) -> str:
    """Seconds since the epoch, with as many digits behind the point as it takes."""
    seconds, fraction = divmod(abs(nanoseconds), 1_000_000_000)
    digits = f"{fraction:09d}".rstrip("0")
    return f"{'-' if nanoseconds < 0 else ''}{seconds}{'.' if digits else ''}{digits}"


@dataclass(frozen=True, slots=True)
class Confirmation:
    """An upload whose object S3 has confirmed.

    `key` is where it is (another one than asked for under `new_name`); `sent_bytes` what crossed the network for it,
    repeats included; `skipped` says that an identical object was there already. `made`: the upload made it; else it was
    found, and nothing shows whose it is.
    """

    key: str
    etag: str
    version_id: str | None
    checksum: Checksum
    sent_bytes: int
    skipped: bool = False
    made: bool = True


class Arrived(NamedTuple):
    """A whole file that was sent as one request: what S3 answered, and what its checksums are."""

    answer: StoredBody
    digests: Digests


@dataclass(slots=True)
class Job:
    """The upload being sent. `key` and `multipart` change on the way, and `arrived` is taken once.

    `begun_before` says that an earlier attempt may have got as far as completing the object.
    """

    source: SourceFile
    bucket: str
    key: str
    content_type: str
    multipart: Multipart | None
    begun_before: bool
    transport: Transport
    options: SendOptions
    journal: Journal
    control: Control
    arrived: Arrived | None = None
    sent_bytes: int = 0
    limit: BandwidthLimit | None = None
    under_way: list[Future[Any]] = field(default_factory=list)

    @property
    def bandwidth(self) -> BandwidthLimit:
        """That of its watch, else that of all uploads of the process."""
        return self.limit if self.limit is not None else self.transport.bandwidth

    def call(self, operation: Callable[[], T]) -> T:
        """One request, with retries."""
        return with_retries(operation, self.options.retry, self.control, self.journal)

    def ask_in_thread(self, operation: Callable[[], T]) -> T:
        """The same, left behind where `control` says stop while S3 does not answer."""
        return self.call(lambda: self.in_thread(lambda: call(operation)))

    def send(self, operation: Callable[[], T], size: int) -> T:
        """One request with a body of `size` bytes, once; how many more go at once follows from it."""
        return self.transport.pool.slots.send(lambda: call(operation), size)

    def in_thread(self, work: Callable[[], T]) -> T:
        """Run `work` in a thread of the pool. Where `control` says stop it is left behind after a moment."""
        future = self.transport.pool.start(work)
        self.under_way.append(future)
        try:
            return wait_for(future, self.control)
        except Stopped:
            # What S3 is just confirming is better known than forgotten.
            if wait([future], _GRACE_SECONDS).done and future.exception() is None:
                return future.result()
            raise

    def close_source(self) -> None:
        """Close the file, as soon as no thread that was left behind reads it any more."""
        left_behind = [future for future in self.under_way if not future.done()]
        remaining = len(left_behind) + 1
        lock = threading.Lock()

        def one_less(_: object = None) -> None:
            nonlocal remaining
            with lock:
                remaining -= 1
                last = remaining == 0
            if last:
                self.source.close()

        for future in left_behind:
            future.add_done_callback(one_less)
        one_less()

    def body(self, part: Part, control: Control, known: Digests | None = None, *, in_parts: bool = False) -> Body:
        """A body over a stretch of the file, with the checksums that the server is asked to compare; `known` are
        those that were computed before."""
        algorithms = self.transport.server.algorithms(in_parts=in_parts)
        if known is not None and not set(algorithms) <= known.keys():
            known = None  # what is asked of the server has changed meanwhile
        return Body(
            self.source,
            part,
            algorithms=algorithms,
            known={algorithm: known[algorithm] for algorithm in algorithms} if known is not None else None,
            bandwidth=self.bandwidth,
            journal=self.journal,
            control=control,
        )

    def take_key(self) -> bool:
        """Whether no other upload is at work on the key; it is this one's until `send` ends."""
        # In this order: whoever waits for the records must not keep the key from one that has it by the records.
        return self.journal.take_key(self.key) and self.transport.keys.take(self.bucket, self.key, self)

    def head(self) -> StoredObject | None:
        """The object that is under the key now."""
        return self.ask_in_thread(lambda: head_object(self.transport.s3, self.bucket, self.key))

    def head_if_allowed(self) -> StoredObject | None:
        """The same; under `overwrite` None also where we may not see it: whoever replaces what is there may do without
        the right to read it, and without a look the file is just sent once more."""
        try:
            return self.head()
        except TransferError as error:
            if error.code in NOT_TO_BE_SEEN and self.options.duplicates == "overwrite":
                return None
            raise

    def compare(self, stored: StoredObject, part_size: int | None = None) -> Comparison:
        """That object and the file."""
        stored = replace(stored, answer=self.transport.server.without_md5(stored.answer))
        return compare(self.source, stored, part_size or self._usual_part_size(), self.control)

    def stored_digest(
        self, algorithm: Algorithm, version_id: str | None = None, *, offset: int = 0, length: int | None = None
    ) -> bytes | None:
        """The digest of the object that was just made, or of a stretch of it, by reading it. Where that is not allowed
        nothing is known of it, neither good nor bad."""
        length = self.source.state.size if length is None else length
        return self.ask_in_thread(
            lambda: stored_digest(
                self.transport.s3,
                self.bucket,
                self.key,
                offset=offset,
                length=length,
                algorithm=algorithm,
                version_id=version_id,
            )
        )

    def delete_damaged(self, answer: StoredBody) -> None:
        """Delete the object that was just made and is not the file, so that nobody takes it for that."""
        version: dict[str, Any] = {"VersionId": answer.version_id} if answer.version_id else {}
        self.ask_in_thread(lambda: self.transport.s3.delete_object(Bucket=self.bucket, Key=self.key, **version))

    def done(self, stored: StoredObject, checksum: Checksum, *, skipped: bool = False) -> Confirmation:
        """The confirmation for an object that was found to be this file."""
        answer = stored.answer
        made = stored.owner is not None and stored.owner == self.options.settings.metadata.get(OWNER)
        return Confirmation(self.key, answer.etag, answer.version_id, checksum, self.sent_bytes, skipped, made)

    def _usual_part_size(self) -> int:
        return plan_parts(self.source.state.size, self.options.part_size).part_size
