"""What happens where the key is taken already.

Owns the duplicate policy. The look at the key beforehand saves sending; `If-None-Match: *` closes the gap between
look and write on servers that honour it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from console.files.naming import numbered
from console.formatting import visible
from console.s3.operations import StoredObject, first_part_size
from console.s3.transfer_errors import TransferError
from console.transfer.job import Confirmation, Job
from console.transfer.multipart import close_multipart

_MOST_NAMES: Final = 1000
_LOOK_AGAIN_SECONDS: Final = 0.1
_LONGEST_PAUSE_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class GoAhead:
    """Send; with `if_absent`, only if the key is still free when the object is made."""

    if_absent: bool


def resolve_duplicate(job: Job) -> GoAhead | Confirmation:
    """Look at the key and decide by the policy; under `new_name` the job's key may change.

    Raises:
        TransferError: ObjectExists under `fail`.
    """
    policy = job.options.duplicates
    # A run that was killed between S3's answer and its record finds its own object under the key.
    may_be_ours = job.begun_before and job.multipart is None
    pause = _LOOK_AGAIN_SECONDS
    while not job.take_key():
        if policy == "new_name":
            return _under_another_name(job)
        job.control.wait(pause)  # what becomes of it decides what becomes of this one
        pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
    if policy in ("overwrite", "skip_identical") and (decided := _look_for_other_file(job)) is not None:
        return decided
    if policy == "overwrite" and not may_be_ours:
        return GoAhead(if_absent=False)
    stored = job.head_if_allowed()
    if stored is None:
        return GoAhead(if_absent=policy != "overwrite")
    if policy == "skip_identical" or job.begun_before:
        comparison = job.compare(stored, job.multipart.part_size if job.multipart else None)
        if policy == "skip_identical" and not comparison.same and (told := _part_size(job, stored)) is not None:
            comparison = job.compare(stored, told)
        if comparison.same and comparison.checksum is not None:
            return job.done(stored, comparison.checksum, skipped=not job.begun_before)
    if policy == "fail":
        raise exists_already(job)
    if policy == "new_name":
        return _under_another_name(job)
    return GoAhead(if_absent=False)


def _part_size(job: Job, stored: StoredObject) -> int | None:
    """The part size of another program, as far as the server tells it; None where nothing depends on it."""
    if stored.size != job.source.state.size or "-" not in stored.answer.etag:
        return None
    return job.ask_in_thread(lambda: first_part_size(job.transport.s3, job.bucket, job.key))


def _look_for_other_file(job: Job) -> Confirmation | None:
    """A watch replaces what its file was before, and never the object of another file: that may be all that is left of
    it.

    Raises:
        TransferError: KeyOfOtherFile.
    """
    other = job.journal.other_file(job.key)
    if other is None:
        return None
    stored = job.head()
    if stored is None:
        return None
    comparison = job.compare(stored)
    if comparison.same and comparison.checksum is not None:
        return job.done(stored, comparison.checksum, skipped=True)
    raise TransferError(
        "KeyOfOtherFile",
        f"s3://{visible(job.bucket)}/{visible(job.key)} is the object of another file, {visible(other.path)} "
        f"(upload {other.id} of {visible(other.host)})",
    )


def exists_already(job: Job) -> TransferError:
    """The error of an upload whose key is taken."""
    return TransferError("ObjectExists", f"s3://{visible(job.bucket)}/{visible(job.key)} exists already")


def _under_another_name(job: Job) -> GoAhead:
    close_multipart(job)  # it would complete under the old name
    _choose_free_key(job)
    return GoAhead(if_absent=True)


def _choose_free_key(job: Job) -> None:
    wanted = job.key
    for number in range(2, _MOST_NAMES + 1):
        job.key = numbered(wanted, number)
        if job.take_key() and job.head() is None:
            job.journal.key_chosen(job.key)
            return
    job.key = wanted
    raise TransferError("ObjectExists", f"{visible(wanted)} and {_MOST_NAMES - 1} numbered names exist already")
