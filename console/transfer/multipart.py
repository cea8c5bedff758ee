"""One file as a multipart upload: opened, or found again; its missing parts sent; completed and confirmed.

Owns the order of things, and which parts need not be sent again. What S3 knows of the parts is asked from S3
(`ListParts`), never remembered. Stopping leaves the multipart upload open for the next time; `abort` ends it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from contextlib import suppress
from itertools import count
from typing import TYPE_CHECKING, Any, Final

from console.formatting import visible
from console.models import Checksum, Multipart
from console.transfer.boto3_engine import read_answer, require, require_etag
from console.transfer.checksums import Algorithm, to_base64
from console.transfer.client import object_parameters
from console.transfer.confirm import EtagMismatch, SentPart, confirm_object, expected_checksum
from console.transfer.engine import Answer
from console.transfer.errors import Stopped, TransferError
from console.transfer.job import NOT_TO_BE_SEEN, Confirmation, Job
from console.transfer.parts import ListedPart, send_parts
from console.transfer.plan import USUAL_PART_SIZE, PartPlan, plan_parts
from console.transfer.retrying import START_ANEW, ask, ask_patiently
from console.transfer.verdicts import UNSUPPORTED, Verdict

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

_MOST_FRESH_STARTS: Final = 3
_GONE: Final = frozenset({"NoSuchUpload", "NoSuchBucket", "NoSuchKey", "404"})

_log = logging.getLogger(__name__)


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
    if not job.in_thread(lambda: abort(job.transport.s3, job.bucket, job.key, multipart.upload_id)):
        job.journal.noted("NotImplemented", "the server cannot abort multipart uploads: the parts that arrived stay")
    job.multipart = None
    job.journal.multipart_closed()
    job.journal.confirmed(0)


def abort(s3: S3Client, bucket: str, key: str, upload_id: str) -> bool:
    """Abort a multipart upload and see to it that no part stays behind. One that is gone already is fine. False where
    the server knows no such request: nobody can remove the parts, and to ask again is of no use.

    A part that was under way may be stored after the abort; S3 asks to abort again until `ListParts` finds nothing.

    Raises:
        TransferError: OperationAborted where parts are there after the last round: whoever asked keeps the upload's id
            and comes back. Others as `errors.classify` sorts them.
    """

    def abort_once() -> bool:
        try:
            ask(lambda: s3.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload_id))
        except TransferError as error:
            if error.code in UNSUPPORTED:
                _log.warning("the server cannot abort multipart uploads: the parts of %s stay", visible(key))
                return False
            if error.code in _GONE:
                return True
            raise
        try:
            left = ask(lambda: s3.list_parts(Bucket=bucket, Key=key, UploadId=upload_id, MaxParts=1))
        except TransferError as error:
            if error.code in _GONE or error.code in UNSUPPORTED or error.verdict is Verdict.PERSON:
                return True  # gone, or not for us to see: S3 has taken the abort
            raise
        if left.get("Parts"):
            raise TransferError("OperationAborted", "the multipart upload was aborted, but parts of it are there still")
        return True

    return ask_patiently(abort_once)


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
    checksum, etag = _confirm(job, answer, parts)
    return Confirmation(job.key, etag, answer.version_id, checksum, job.sent_bytes)


def _open(job: Job) -> Multipart:
    server = job.transport.server
    preferred = job.options.part_size
    if preferred is None and job.transport.bandwidth.bytes_per_second:
        preferred = USUAL_PART_SIZE  # a larger one would take the limit for long before S3 has any of it
    plan = plan_parts(job.source.state.size, preferred, server.most_parts)

    def create() -> str:
        while True:
            parameters = object_parameters(job.content_type, job.options.settings)
            checksum_type = server.checksum_type if server.returns_part_checksums is not False else None
            if checksum_type is not None:
                parameters |= {"ChecksumAlgorithm": server.algorithm.value, "ChecksumType": checksum_type}
            try:
                return _create(job, parameters)
            except TransferError as error:
                # Asked for less and less, so this ends.
                if not server.learn_from_refused_creation(error.code, checksum_type=checksum_type):
                    raise

    multipart = Multipart(upload_id=job.ask(create), part_size=plan.part_size)
    try:
        job.journal.multipart_opened(multipart)
    except BaseException:
        # Nobody knows of it, and nothing is in it yet. Should the record appear after all, its upload starts anew.
        with suppress(TransferError, Stopped):  # a sweep finds it then; what happened here is the other error
            job.in_thread(lambda: abort(job.transport.s3, job.bucket, job.key, multipart.upload_id))
        raise
    return multipart


def _create(job: Job, parameters: Mapping[str, Any]) -> str:
    """The id of a new multipart upload. One that S3 tells of when nobody waits for it any more is aborted."""
    s3, is_left_behind = job.transport.s3, threading.Event()
    opened: list[str] = []

    def create() -> str:
        answer = ask(lambda: s3.create_multipart_upload(Bucket=job.bucket, Key=job.key, **parameters))
        opened.append(str(require(answer, "UploadId")))
        if is_left_behind.is_set():
            abort_late()
        return opened[0]

    def abort_late() -> None:
        with suppress(TransferError):  # a sweep finds it
            abort(s3, job.bucket, job.key, opened[0])

    try:
        return job.in_thread(create)
    except Stopped:
        is_left_behind.set()
        if opened:  # in this very moment; twice does no harm
            job.transport.pool.start(abort_late)
        raise


def _list_parts(job: Job, multipart: Multipart) -> dict[int, ListedPart]:
    """What S3 holds of the multipart upload, by part number; nothing where the server does not tell: then all parts are
    sent again, each in place of the one that may be there."""
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

    try:
        listed = job.ask_in_thread(list_all)
    except TransferError as error:
        if error.code not in UNSUPPORTED:
            raise
        job.journal.noted(error.code, "the server does not tell which parts have arrived: all are sent again")
        job.journal.confirmed(0)
        return {}
    # Where all parts are there no answer to one comes any more, but how to complete them must be known: S3 refuses a
    # completion without the checksums of parts that were sent with some.
    if any(ours in part.answer.checksums for part in listed.values()):
        server.learn(returns_checksums=True, in_parts=True)
    return listed


def _complete(job: Job, upload_id: str, parts: list[SentPart], *, if_absent: bool) -> Answer | Confirmation:
    """S3's answer; or, where that to an earlier attempt was lost, what is known of the object it made."""
    attempts = count(1)
    return job.ask(lambda: _complete_once(job, upload_id, parts, attempt=next(attempts), if_absent=if_absent))


def _complete_once(
    job: Job, upload_id: str, parts: list[SentPart], *, attempt: int, if_absent: bool
) -> Answer | Confirmation:
    job.journal.completing()
    server = job.transport.server
    conditional = if_absent and server.takes_conditions
    with_checksums = bool(server.returns_part_checksums)
    parameters: dict[str, Any] = {"IfNoneMatch": "*"} if conditional else {}
    parameters |= _completion(job, parts, with_checksums=with_checksums)
    try:
        return _ask_for_object(job, upload_id, parts, parameters)
    except TransferError as error:
        if server.learn_from_refusal(error.code, conditional=conditional, had_checksums=with_checksums, in_parts=True):
            raise TransferError(error.code, error.message, Verdict.RETRY) from error
        if server.learn_part_limit(len(parts), error):
            raise TransferError("TooManyParts", error.message) from error
        if error.code == "ConditionalRequestConflict":
            # S3 asks for a new multipart upload in this case: API reference of CompleteMultipartUpload.
            raise TransferError("NoSuchUpload", error.message) from error
        # MinIO looks for an object before it looks for the multipart upload: that of an earlier attempt is in the way.
        if error.code == "PreconditionFailed" and attempt > 1 and (confirmation := _completed_before(job)) is not None:
            return confirmation
        raise


def _ask_for_object(job: Job, upload_id: str, parts: list[SentPart], parameters: dict[str, Any]) -> Answer:
    """One completion; once more without the checksum of the whole where the server may have meant another one by it.
    What it returns is compared all the same."""
    server, s3 = job.transport.server, job.transport.s3

    def complete(parameters: Mapping[str, Any]) -> Answer:
        # Never left behind: a second one at the same time makes some servers lose the object.
        answer: Mapping[str, Any] = ask(
            lambda: s3.complete_multipart_upload(Bucket=job.bucket, Key=job.key, UploadId=upload_id, **parameters)
        )
        # Ceph's has an ETag without a value. One that was cut has nothing at all.
        return read_answer(answer) if "ETag" in answer or answer.get("Key") else require_etag(read_answer(answer))

    try:
        return complete(parameters)
    except TransferError as error:
        names_whole = server.algorithm.parameter in parameters
        if not (names_whole and all(part.is_confirmed for part in parts)):
            raise
        if not server.learn_from_refused_completion(error.code):
            raise
        try:
            return complete(_without_checksum_of_whole(parameters, server.algorithm))
        except TransferError as again:
            if again.code == error.code:
                server.forget_checksum_type()
                raise error from None
            raise


def _completion(job: Job, parts: list[SentPart], *, with_checksums: bool) -> dict[str, Any]:
    """Which parts make the object and, `with_checksums`, what S3 is to compare it with."""
    server = job.transport.server
    algorithm, is_composite = server.algorithm, server.checksum_type == "COMPOSITE"
    whole = expected_checksum(algorithm, parts, composite_type=is_composite) if with_checksums else None
    completed = [_completed_part(part, algorithm if whole is not None else None) for part in parts]
    parameters: dict[str, Any] = {"MultipartUpload": {"Parts": completed}}
    if whole is not None:
        parameters |= {algorithm.parameter: whole.value, "ChecksumType": whole.kind}
        parameters["MpuObjectSize"] = job.source.state.size
    if is_composite and algorithm.is_crc:  # learned of a server that may not remember which type was asked for
        return _without_checksum_of_whole(parameters, algorithm)
    return parameters


def _without_checksum_of_whole(parameters: Mapping[str, Any], algorithm: Algorithm) -> dict[str, Any]:
    return {name: value for name, value in parameters.items() if name not in (algorithm.parameter, "ChecksumType")}


def _completed_part(part: SentPart, algorithm: Algorithm | None) -> Any:
    completed: dict[str, Any] = {"PartNumber": part.number, "ETag": f'"{part.etag}"'}
    if algorithm is not None and algorithm in part.digests:
        completed[algorithm.parameter] = to_base64(part.digests[algorithm])
    return completed


def _confirm(job: Job, answer: Answer, parts: list[SentPart]) -> tuple[Checksum, str]:
    """Compare the object with the parts' digests; what vouches for it, and its ETag as far as S3 tells one.

    Raises:
        TransferError: ChecksumMismatch; the object is deleted then, so that nobody takes it for the file.
    """
    has_all_parts = all(part.is_confirmed for part in parts)
    etag = answer.etag
    try:
        checksum = _confirmed_by(job, answer, parts)
        if checksum is not None:
            return checksum, etag
        try:
            stored = job.head()
        except TransferError as error:
            if error.code not in NOT_TO_BE_SEEN or not has_all_parts:
                raise
            return _of_parts(job, parts, "parts"), etag  # for one who may write only there is no more to be had
        if stored is None or stored.size != job.source.state.size:
            found = f"{stored.size} bytes" if stored else "nothing"
            raise TransferError("ChecksumMismatch", f"{job.source.state.size} bytes were sent, S3 has {found}")
        etag = etag or stored.answer.etag
        checksum = _confirmed_by(job, stored.answer, parts)
    except TransferError as error:
        if error.code == "ChecksumMismatch":
            job.delete_damaged(answer)
            job.multipart = None
            job.journal.multipart_closed()
            job.journal.confirmed(0)
        raise
    return checksum or _of_parts(job, parts, "parts" if has_all_parts else "size"), etag


def _confirmed_by(job: Job, answer: Answer, parts: list[SentPart]) -> Checksum | None:
    """What the answer vouches for. An ETag alone condemns no object: where it is not made of the MD5s of parts that S3
    confirmed one by one, this server makes it otherwise; and a part whose own ETag was no MD5 is read before the
    object is called damaged."""
    server = job.transport.server
    doubted = next((part for part in parts if part.is_confirmed is False), None)
    try:
        checksum = confirm_object(server.without_md5(answer), parts)
    except EtagMismatch:
        checksum = None
    if checksum is None and doubted is not None and server.etags_are_md5 is not False:
        _learn_from_content(job, answer, parts, doubted)
    return checksum


def _learn_from_content(job: Job, answer: Answer, parts: list[SentPart], doubted: SentPart) -> None:
    """Read one part of the object whose ETag is not its MD5: either it is damaged, or ETags here are something else."""
    offset = sum(part.length for part in parts if part.number < doubted.number)
    found = job.stored_digest(Algorithm.MD5, answer.version_id, offset=offset, length=doubted.length)
    if found is None:
        return
    if found != doubted.digests[Algorithm.MD5]:
        raise TransferError("ChecksumMismatch", f"MD5: S3 stored other bytes as part {doubted.number}")
    job.transport.server.learn_etags(are_md5=False)


def _of_parts(job: Job, parts: list[SentPart], confirmed: str) -> Checksum:
    """The checksum that the object must have, and how far S3 confirmed it."""
    server = job.transport.server
    known = expected_checksum(server.algorithm, parts, composite_type=server.checksum_type == "COMPOSITE")
    known = known or expected_checksum(Algorithm.MD5, parts, composite_type=True)
    if known is None:
        raise TransferError("ChecksumMismatch", "S3 confirmed the parts by different checksums, the object by none")
    return known.model_copy(update={"confirmed": confirmed})


def _is_gone(job: Job, error: TransferError) -> bool:
    """Whether a part could not be sent because nobody takes it any more: some servers just close the connection."""
    multipart = job.multipart
    if error.verdict is not Verdict.RETRY or multipart is None:
        return False
    try:
        job.in_thread(
            lambda: ask(
                lambda: job.transport.s3.list_parts(
                    Bucket=job.bucket, Key=job.key, UploadId=multipart.upload_id, MaxParts=1
                )
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
