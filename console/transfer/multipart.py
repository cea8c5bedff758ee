"""One file as a multipart upload: opened, or found again; its missing parts sent; completed and confirmed.

Owns the order of things, and which parts need not be sent again. What S3 knows of the parts is asked from S3
(`ListParts`), never remembered. Stopping leaves the multipart upload open for the next time; `abort` ends it.
"""

from __future__ import annotations

from contextlib import suppress
from itertools import count
from typing import TYPE_CHECKING, Any, Final

from console.models import Checksum, Multipart
from console.transfer.boto3_engine import read_answer, require, require_etag
from console.transfer.checksums import Algorithm, to_base64
from console.transfer.client import object_parameters
from console.transfer.confirm import SentPart, confirm_object, expected_checksum
from console.transfer.engine import Answer
from console.transfer.errors import TransferError
from console.transfer.job import Confirmation, Job
from console.transfer.parts import ListedPart, send_parts
from console.transfer.plan import USUAL_PART_SIZE, PartPlan, plan_parts
from console.transfer.retrying import START_ANEW, ask, ask_patiently
from console.transfer.verdicts import Verdict

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

_MOST_FRESH_STARTS: Final = 3
_GONE: Final = frozenset({"NoSuchUpload", "NoSuchBucket", "NoSuchKey", "404"})


def send_multipart(job: Job, *, if_absent: bool) -> Confirmation:
    """Send the file in parts, going on with `job.multipart` where there is one.

    Raises:
        TransferError: PreconditionFailed where the key was taken meanwhile (the multipart upload stays open); others
            as `errors.classify` sorts them.
        Stopped: `control` said so.
    """
    fresh_starts = 0
    while True:
        try:
            return _send_once(job, if_absent=if_absent)
        except TransferError as error:
            if error.code not in START_ANEW and not _is_gone(job, error):
                raise
            if (confirmation := _completed_before(job)) is not None:
                return confirmation
            if fresh_starts == _MOST_FRESH_STARTS:
                raise
            fresh_starts += 1
            job.journal.noted(error.code, f"{error.message}; the upload starts anew")
            close_multipart(job)


def close_multipart(job: Job) -> None:
    """Abort the job's multipart upload, if it is there still, and say so."""
    if job.multipart is None:
        return
    multipart = job.multipart
    job.journal.aborting()
    abort(job.transport.s3, job.bucket, job.key, multipart.upload_id)
    job.multipart = None
    job.journal.multipart_closed()
    job.journal.confirmed(0)


def abort(s3: S3Client, bucket: str, key: str, upload_id: str) -> None:
    """Abort a multipart upload and see to it that no part stays behind. One that is gone already is fine.

    A part that was under way may be stored after the abort; S3 asks to abort again until `ListParts` finds nothing.

    Raises:
        TransferError: OperationAborted where parts are there after the last round: whoever asked keeps the upload's id
            and comes back. Others as `errors.classify` sorts them.
    """

    def abort_once() -> None:
        try:
            ask(lambda: s3.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload_id))
        except TransferError as error:
            if error.code in _GONE:
                return
            raise
        try:
            left = ask(lambda: s3.list_parts(Bucket=bucket, Key=key, UploadId=upload_id, MaxParts=1))
        except TransferError as error:
            if error.code in _GONE or error.verdict is Verdict.PERSON:
                return  # gone, or not for us to see: S3 has taken the abort
            raise
        if left.get("Parts"):
            raise TransferError("OperationAborted", "the multipart upload was aborted, but parts of it are there still")

    ask_patiently(abort_once)


def _send_once(job: Job, *, if_absent: bool) -> Confirmation:
    multipart = job.multipart
    listed: dict[int, ListedPart] = {}
    if multipart is None:
        multipart = job.multipart = _open(job)
    else:
        listed = _list_parts(job, multipart)
    plan = PartPlan(job.source.state.size, multipart.part_size)
    if any(number > len(plan) for number in listed):
        raise TransferError("InvalidPart", "the multipart upload holds parts beyond the end of the file")
    parts = send_parts(job, multipart.upload_id, plan, listed)
    job.source.check_unchanged()
    answer = _complete(job, multipart.upload_id, parts, if_absent=if_absent)
    if isinstance(answer, Confirmation):
        return answer
    checksum = _confirm(job, answer, parts)
    return Confirmation(job.key, answer.etag, answer.version_id, checksum, job.sent_bytes)


def _open(job: Job) -> Multipart:
    server = job.transport.server
    preferred = job.options.part_size
    if preferred is None and job.transport.bandwidth.bytes_per_second:
        preferred = USUAL_PART_SIZE  # a larger one would take the limit for long before S3 has any of it
    plan = plan_parts(job.source.state.size, preferred)

    def create() -> str:
        parameters = object_parameters(job.content_type, job.options.settings)
        with_checksums = server.returns_checksums is not False
        if with_checksums:
            parameters["ChecksumAlgorithm"] = server.algorithm.value
            parameters["ChecksumType"] = "FULL_OBJECT" if server.algorithm.is_crc else "COMPOSITE"
        try:
            answer = ask(lambda: job.transport.s3.create_multipart_upload(Bucket=job.bucket, Key=job.key, **parameters))
            return str(require(answer, "UploadId"))
        except TransferError as error:
            if server.learn_from_refusal(error.code, conditional=False, had_checksums=with_checksums):
                raise TransferError(error.code, error.message, Verdict.RETRY) from error
            raise

    multipart = Multipart(upload_id=job.ask(create), part_size=plan.part_size)
    try:
        job.journal.multipart_opened(multipart)
    except BaseException:
        # Nobody knows of it, and nothing is in it yet. Should the record appear after all, its upload starts anew.
        with suppress(TransferError):  # a sweep finds it then; what happened here is the other error
            abort(job.transport.s3, job.bucket, job.key, multipart.upload_id)
        raise
    return multipart


def _list_parts(job: Job, multipart: Multipart) -> dict[int, ListedPart]:
    """What S3 holds of the multipart upload, by part number."""
    server = job.transport.server
    ours = server.algorithm

    def list_all() -> dict[int, ListedPart]:
        pages = job.transport.s3.get_paginator("list_parts").paginate(
            Bucket=job.bucket, Key=job.key, UploadId=multipart.upload_id
        )
        listed: dict[int, ListedPart] = {}
        for page in pages:
            if page.get("ChecksumAlgorithm", ours) != ours:
                raise TransferError("InvalidPart", "the multipart upload was begun with another checksum")
            for part in page.get("Parts", []):
                listed[part["PartNumber"]] = ListedPart(part["Size"], read_answer(part))
        return listed

    listed = job.ask(list_all)
    # Where all parts are there no answer to one comes any more, but how to complete them must be known: S3 refuses a
    # completion without the checksums of parts that were sent with some.
    if any(ours in part.answer.checksums for part in listed.values()):
        server.learn(returns_checksums=True)
    return listed


def _complete(job: Job, upload_id: str, parts: list[SentPart], *, if_absent: bool) -> Answer | Confirmation:
    """S3's answer; or, where that to an earlier attempt was lost, what is known of the object it made."""
    attempts = count(1)
    return job.ask(lambda: _complete_once(job, upload_id, parts, attempt=next(attempts), if_absent=if_absent))


def _complete_once(
    job: Job, upload_id: str, parts: list[SentPart], *, attempt: int, if_absent: bool
) -> Answer | Confirmation:
    job.journal.completing()
    server, s3 = job.transport.server, job.transport.s3
    conditional = if_absent and server.takes_conditions
    with_checksums = bool(server.returns_checksums)
    parameters: dict[str, Any] = {"IfNoneMatch": "*"} if conditional else {}
    parameters |= _completion(job, parts, with_checksums=with_checksums)
    try:
        answer = ask(
            lambda: s3.complete_multipart_upload(Bucket=job.bucket, Key=job.key, UploadId=upload_id, **parameters)
        )
        return require_etag(read_answer(answer))
    except TransferError as error:
        if server.learn_from_refusal(error.code, conditional=conditional, had_checksums=with_checksums):
            raise TransferError(error.code, error.message, Verdict.RETRY) from error
        if error.code == "ConditionalRequestConflict":
            # S3 asks for a new multipart upload in this case: API reference of CompleteMultipartUpload.
            raise TransferError("NoSuchUpload", error.message) from error
        # MinIO looks for an object before it looks for the multipart upload: that of an earlier attempt is in the way.
        if error.code == "PreconditionFailed" and attempt > 1 and (confirmation := _completed_before(job)) is not None:
            return confirmation
        raise


def _completion(job: Job, parts: list[SentPart], *, with_checksums: bool) -> dict[str, Any]:
    """Which parts make the object and, `with_checksums`, what S3 is to compare it with."""
    algorithm = job.transport.server.algorithm
    whole = expected_checksum(algorithm, parts, composite_type=not algorithm.is_crc) if with_checksums else None
    completed = [_completed_part(part, algorithm if whole is not None else None) for part in parts]
    parameters: dict[str, Any] = {"MultipartUpload": {"Parts": completed}}
    if whole is not None:
        parameters |= {algorithm.parameter: whole.value, "ChecksumType": whole.kind}
        parameters["MpuObjectSize"] = job.source.state.size
    return parameters


def _completed_part(part: SentPart, algorithm: Algorithm | None) -> Any:
    completed: dict[str, Any] = {"PartNumber": part.number, "ETag": f'"{part.etag}"'}
    if algorithm is not None and algorithm in part.digests:
        completed[algorithm.parameter] = to_base64(part.digests[algorithm])
    return completed


def _confirm(job: Job, answer: Answer, parts: list[SentPart]) -> Checksum:
    """Compare the object with the parts' digests.

    Raises:
        TransferError: ChecksumMismatch; the object is deleted then, so that nobody takes it for the file.
    """
    try:
        checksum = confirm_object(answer, parts)
        if checksum is not None:
            return checksum
        stored = job.head()
        if stored is None or stored.size != job.source.state.size:
            found = f"{stored.size} bytes" if stored else "nothing"
            raise TransferError("ChecksumMismatch", f"{job.source.state.size} bytes were sent, S3 has {found}")
        checksum = confirm_object(stored.answer, parts)
    except TransferError as error:
        if error.code == "ChecksumMismatch":
            job.delete_damaged(answer)
            job.multipart = None
            job.journal.multipart_closed()
            job.journal.confirmed(0)
        raise
    if checksum is not None:
        return checksum
    algorithm = job.transport.server.algorithm
    known = expected_checksum(algorithm, parts, composite_type=not algorithm.is_crc)
    known = known or expected_checksum(Algorithm.MD5, parts, composite_type=True)
    if known is None:
        raise TransferError("ChecksumMismatch", "S3 confirmed the parts by different checksums, the object by none")
    return known


def _is_gone(job: Job, error: TransferError) -> bool:
    """Whether a part could not be sent because nobody takes it any more: some servers just close the connection."""
    multipart = job.multipart
    if error.verdict is not Verdict.RETRY or multipart is None:
        return False
    try:
        ask(
            lambda: job.transport.s3.list_parts(
                Bucket=job.bucket, Key=job.key, UploadId=multipart.upload_id, MaxParts=1
            )
        )
    except TransferError as answer:
        return answer.code == "NoSuchUpload"
    return False


def _completed_before(job: Job) -> Confirmation | None:
    """The multipart upload is gone, or the key taken: was it completed, and only the answer or its record lost?"""
    stored = job.head_if_allowed()
    if stored is None or job.multipart is None or stored.size != job.source.state.size:
        return None
    comparison = job.compare(stored, job.multipart.part_size)
    if not comparison.same or comparison.checksum is None:
        return None
    confirmation = job.done(stored, comparison.checksum)
    try:
        close_multipart(job)  # it is there still if an object just like it is somebody else's
    except TransferError as error:  # a sweep finds it; the object is complete for all that
        job.journal.noted(error.code, f"the multipart upload could not be aborted: {error.message}")
    return confirmation
