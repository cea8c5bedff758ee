"""One upload from its start to S3's confirmation.

Owns the decisions at the beginning: is the file still the one that was added, may the key be written, one request or
parts. One request is sent here (`put`); the other steps are in `duplicates` and `multipart`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from typing import Final

from console.error_codes import Recovery
from console.formatting import visible
from console.models import Checksum, Upload
from console.s3.checksums import Algorithm, Digests
from console.s3.confirmation import EtagMismatch, confirm_body, size_alone
from console.s3.control import Control, Journal
from console.s3.engines.bandwidth import BandwidthLimit
from console.s3.engines.engine import PutRequest, StoredBody
from console.s3.engines.source import SourceFile
from console.s3.engines.staged import CONTENT_TYPES, is_encoding, stage, steps
from console.s3.part_size import Part, is_single_put
from console.s3.retry import with_retries
from console.s3.transfer_errors import TransferError
from console.transfer.duplicates import exists_already, resolve_duplicate
from console.transfer.job import NOT_TO_BE_SEEN, Arrived, Confirmation, Job, SendOptions, with_preserved
from console.transfer.multipart import close_multipart, send_multipart
from console.transfer.transport import Transport


def put(job: Job, *, if_absent: bool) -> Confirmation:
    """Send the file as one object.

    Raises:
        TransferError: ChecksumMismatch (the object is deleted then), PreconditionFailed where the key was taken
            meanwhile, others as `transfer_errors.classify` sorts them.
        Stopped: `control` said so.
    """
    attempts = count(1)
    confirmation = job.call(lambda: _put_or_find(job, attempt=next(attempts), if_absent=if_absent))
    job.journal.confirmed(job.source.state.size)
    return confirmation


def _put_or_find(job: Job, *, attempt: int, if_absent: bool) -> Confirmation:
    try:
        return _put_once(job, if_absent=if_absent)
    except TransferError as error:
        if error.code == "PreconditionFailed" and attempt > 1:
            # An earlier attempt may have made the object before its answer was lost.
            return _made_before(job, error)
        raise


def _put_once(job: Job, *, if_absent: bool) -> Confirmation:
    if job.arrived is not None:
        (answer, digests), job.arrived = job.arrived, None
        job.sent_bytes += job.source.state.size
        return _confirmed(job, answer, digests)
    server, size = job.transport.server, job.source.state.size
    conditional = if_absent and server.takes_conditions
    request = PutRequest(job.bucket, job.key, job.content_type, job.options.settings, conditional)
    if not size:
        job.source.check_unchanged()  # an empty body is never read, and so takes no look of its own
    body = job.body(Part(1, 0, size), job.control)
    had_checksums = server.algorithm in body.algorithms
    try:
        answer = job.in_thread(lambda: job.send(lambda: job.transport.engine.put_object(request, body), size))
    except TransferError as error:
        body.take_back()
        if server.learn_from_refusal(error.code, conditional=conditional, had_checksums=had_checksums):
            raise TransferError(error.code, error.message, Recovery.RETRY) from error
        raise
    finally:
        job.sent_bytes += body.tell()
    if had_checksums:
        server.learn(server.algorithm in answer.checksums)
    try:
        return _confirmed(job, answer, body.digests())
    except TransferError:
        body.take_back()
        raise


def _confirmed(job: Job, answer: StoredBody, digests: Digests) -> Confirmation:
    try:
        checksum = _confirm(job, answer, digests)
    except TransferError as error:
        if error.code == "ChecksumMismatch":
            job.delete_damaged(answer)
        raise
    return Confirmation(job.key, answer.etag, answer.version_id, checksum, job.sent_bytes)


def _made_before(job: Job, error: TransferError) -> Confirmation:
    stored = job.head()
    comparison = job.compare(stored) if stored is not None else None
    if stored is None or comparison is None or not comparison.same or comparison.checksum is None:
        raise error
    return job.done(stored, comparison.checksum)


def _confirm(job: Job, answer: StoredBody, digests: Digests) -> Checksum:
    """What the answer vouches for; where it holds nothing to compare, what S3 shows of the object."""
    server, size = job.transport.server, job.source.state.size
    by_answer = True
    try:
        checksum = confirm_body(server.without_md5(answer), digests)
        if checksum is None:
            if Algorithm.MD5 not in digests:
                digests = {**digests, **job.source.digests(0, size, (Algorithm.MD5,), job.control)}
            checksum = confirm_body(server.without_md5(answer), digests)
        if checksum is None:
            by_answer = False
            checksum = _confirm_by_head(job, digests)
    except EtagMismatch:
        by_answer = False
        checksum = _confirm_content(job, answer, digests)
    if by_answer and checksum.confirmed == "etag":
        server.learn_etags(are_md5=True)
    return checksum


def _confirm_by_head(job: Job, digests: Digests) -> Checksum:
    """Ask what is there, and at least compare the size."""
    size = job.source.state.size
    with _naming_the_right():
        stored = job.head()
    if stored is None or stored.size != size:
        raise TransferError("ChecksumMismatch", f"{size} bytes were sent, S3 has {stored.size if stored else 'none'}")
    checksum = confirm_body(job.transport.server.without_md5(stored.answer), digests)
    if checksum is None and stored.answer.checksums:  # by an algorithm of its own
        comparison = job.compare(stored)
        if comparison.same is False:
            raise TransferError("ChecksumMismatch", comparison.message)
        checksum = comparison.checksum
    return checksum or size_alone(digests)


def _confirm_content(job: Job, answer: StoredBody, digests: Digests) -> Checksum:
    """The ETag looks like an MD5 and is not the file's. Before an object is called damaged it is read, once: if it is
    the file, this server's ETags are something else."""
    expected = digests[Algorithm.MD5]
    with _naming_the_right():
        found = job.stored_digest(Algorithm.MD5, answer.version_id)
    if found != expected:
        raise TransferError("ChecksumMismatch", f"MD5: the file has {expected.hex()}, S3 stored other bytes")
    job.transport.server.learn_etags(are_md5=False)
    return Checksum(algorithm=Algorithm.MD5, value=expected.hex(), confirmed="content")


@contextmanager
def _naming_the_right() -> Iterator[None]:
    try:
        yield
    except TransferError as error:
        if error.code not in NOT_TO_BE_SEEN:
            raise
        message = "the file was sent, but S3's answer does not vouch for it, and the object may not be looked at"
        raise TransferError("AccessDenied", f"{message} (s3:GetObject): {error.message}") from error


_MOST_COLLISIONS: Final = 5


def send(
    upload: Upload,
    *,
    transport: Transport,
    options: SendOptions,
    journal: Journal,
    control: Control,
    arrived: Arrived | None = None,
    limit: BandwidthLimit | None = None,
) -> Confirmation:
    """Send the file of `upload`, going on where an earlier run ended, and return once S3 has confirmed the object.
    `arrived`: it was sent already as one request, whose answer vouched for nothing. `limit`: that of its watch.

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
        limit=limit,
    )
    try:
        _look_at_file(job, upload)
        _transform(job)
        _preserve(job)
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

    But not where a watch asked for it: the file is being written, and its watch asks again once it is complete.
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


def _transform(job: Job) -> None:
    """Compress or encrypt the file first, where that is wanted. Nothing is sent of one that could not be."""
    settings = job.options.settings
    todo = steps(job.content_type, settings.compress, settings.encrypt_to)
    if "age" in todo and job.multipart is not None:
        job.journal.noted("EncryptedAnew", "each encryption has another key: the upload starts again")
        close_multipart(job)
    job.source = stage(job.source, todo, settings.encrypt_to, job.control)
    if todo:
        job.journal.staged(job.source.state.size)
    if todo and not is_encoding(todo, settings.content_encoding):
        job.content_type = CONTENT_TYPES[todo[-1]]


def _preserve(job: Job) -> None:
    in_parts = not is_single_put(job.source.state.size, job.options.multipart_threshold)
    settings = with_preserved(job.options.settings, job.source, job.control, in_parts=in_parts)
    job.options = replace(job.options, settings=settings)


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
