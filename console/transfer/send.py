"""One upload from its start to S3's confirmation.

Owns the decisions at the beginning: is the file still the one that was added, may the key be written, one request or
parts. The steps are in `duplicates`, `put` and `multipart`.
"""

from __future__ import annotations

from typing import Final

from console.formatting import visible
from console.models import Upload
from console.s3.control import Control, Journal
from console.s3.engines.source import SourceFile
from console.s3.error_codes import Recovery
from console.s3.part_size import is_single_put
from console.s3.retry import with_retries
from console.s3.transfer_errors import TransferError
from console.transfer.duplicates import exists_already, resolve_duplicate
from console.transfer.job import Arrived, Confirmation, Job, SendOptions
from console.transfer.multipart import close_multipart, send_multipart
from console.transfer.put import put
from console.transfer.transport import Transport

_MOST_COLLISIONS: Final = 5


def send(
    upload: Upload,
    *,
    transport: Transport,
    options: SendOptions,
    journal: Journal,
    control: Control,
    arrived: Arrived | None = None,
) -> Confirmation:
    """Send the file of `upload`, going on where an earlier run ended, and return once S3 has confirmed the object.
    `arrived`: it was sent already as one request, whose answer vouched for nothing.

    When stopped, what arrived stays in the open multipart upload. So it does after errors that pass or that a person
    can fix; after one that is final it is aborted.

    Raises:
        TransferError: sorted by `recovery`. Stopped: as raised by `control`.
    """
    job = Job(
        source=with_retries(lambda: _open(upload, transport), options.retry, control, journal),
        bucket=upload.bucket,
        key=upload.key,
        content_type=upload.content_type,
        multipart=upload.multipart,
        # The attempt that is beginning now is counted already.
        begun_before=upload.attempts > 1 or upload.multipart is not None,
        transport=transport,
        options=options.wanted_by(upload),
        journal=journal,
        control=control,
        arrived=arrived,
    )
    try:
        _look_at_file(job, upload)
        return _send(job)
    except TransferError as error:
        if error.recovery is Recovery.PERMANENT:
            _give_up(job)
        raise
    finally:
        transport.keys.release(job)
        job.close_source()


def _open(upload: Upload, transport: Transport) -> SourceFile:
    try:
        return SourceFile.open(upload.os_path, upload.below)
    except TransferError as error:
        if error.code == "OutOfResources":
            transport.pool.slots.ran_short()
        raise


def _look_at_file(job: Job, upload: Upload) -> None:
    """A file that is another one by now is sent as it is now, from its beginning.

    But not where a watch asked for it: the file is being written, and its watch asks again once it is at rest.
    """
    state = job.source.state
    if (state.fingerprint, state.size) == (upload.fingerprint, upload.size):
        return
    if upload.watch is not None:
        raise TransferError("FileChanged", f"{visible(upload.path)} changed: its watch sends it once it is complete")
    job.journal.noted(
        "FileChanged",
        f"{visible(upload.path)} changed since it was added ({upload.size} bytes then, {state.size} now): starts again",
    )
    close_multipart(job)
    job.arrived = None
    job.journal.file_changed(state)


def _send(job: Job) -> Confirmation:
    for _ in range(_MOST_COLLISIONS):
        decision = resolve_duplicate(job)
        if isinstance(decision, Confirmation):
            close_multipart(job)
            return decision
        try:
            return _transfer(job, if_absent=decision.if_absent)
        except TransferError as error:
            if error.code != "PreconditionFailed" or job.options.duplicates == "overwrite":
                raise
            if job.options.duplicates == "fail":
                raise exists_already(job) from error
        # Somebody wrote to the key between the look and the write: the policy decides again.
    raise TransferError("ObjectExists", f"{visible(job.key)} was taken by others at every try")


def _transfer(job: Job, *, if_absent: bool) -> Confirmation:
    single = is_single_put(job.source.state.size, job.options.multipart_threshold)
    if job.multipart is None and single:
        return put(job, if_absent=if_absent)
    return send_multipart(job, if_absent=if_absent)


def _give_up(job: Job) -> None:
    """Nothing will complete the multipart upload any more: it must not go on costing money."""
    try:
        close_multipart(job)
    except TransferError as error:
        job.journal.noted(error.code, f"the multipart upload could not be aborted: {error.message}")
