"""One file as one PutObject."""

from __future__ import annotations

from itertools import count

from console.models import Checksum
from console.transfer.checksums import Algorithm
from console.transfer.confirm import confirm_body
from console.transfer.engine import PutRequest
from console.transfer.errors import TransferError
from console.transfer.job import Confirmation, Job
from console.transfer.plan import Part
from console.transfer.verdicts import Verdict


def put(job: Job, *, if_absent: bool) -> Confirmation:
    """Send the file as one object.

    Raises:
        TransferError: ChecksumMismatch (the object is deleted then), PreconditionFailed where the key was taken
            meanwhile, others as `errors.classify` sorts them.
        Stopped: `control` said so.
    """
    attempts = count(1)
    confirmation = job.ask(lambda: _put_or_find(job, attempt=next(attempts), if_absent=if_absent))
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
    server, size = job.transport.server, job.source.state.size
    conditional = if_absent and server.takes_conditions
    request = PutRequest(job.bucket, job.key, job.content_type, job.options.settings, conditional)
    if not size:
        job.source.check_unchanged()  # an empty body is never read, and so takes no look of its own
    body = job.body(Part(1, 0, size), job.control)
    answer = None
    try:
        answer = job.in_thread(lambda: job.send(lambda: job.transport.engine.put_object(request, body), size))
        if server.algorithm in body.algorithms:
            server.learn(server.algorithm in answer.checksums)
        checksum = confirm_body(answer, body.digests()) or _confirm_size(job)
    except TransferError as error:
        body.take_back()
        if answer is not None and error.code == "ChecksumMismatch":
            job.delete_damaged(answer)
        had_checksums = server.algorithm in body.algorithms
        if server.learn_from_refusal(error.code, conditional=conditional, had_checksums=had_checksums):
            raise TransferError(error.code, error.message, Verdict.RETRY) from error
        raise
    finally:
        job.sent_bytes += body.tell()
    return Confirmation(job.key, answer.etag, answer.version_id, checksum, job.sent_bytes)


def _made_before(job: Job, error: TransferError) -> Confirmation:
    stored = job.head()
    comparison = job.compare(stored) if stored is not None else None
    if stored is None or comparison is None or not comparison.same or comparison.checksum is None:
        raise error
    return job.done(stored, comparison.checksum)


def _confirm_size(job: Job) -> Checksum:
    """Where the answer holds nothing to compare: ask what is there, and at least compare the size."""
    stored = job.head()
    size = job.source.state.size
    if stored is None or stored.size != size:
        raise TransferError("ChecksumMismatch", f"{size} bytes were sent, S3 has {stored.size if stored else 'none'}")
    comparison = job.compare(stored)
    if comparison.same is False:
        raise TransferError("ChecksumMismatch", comparison.words)
    md5 = job.source.digests(0, size, (Algorithm.MD5,), job.control)[Algorithm.MD5]
    return comparison.checksum or Checksum(algorithm=Algorithm.MD5, value=md5.hex(), confirmed="size")
