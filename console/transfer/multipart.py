"""One file as a multipart upload: opened or found again, its missing parts sent side by side, completed and
confirmed.

What S3 knows of the parts is asked from S3 (`ListParts`), never remembered. Stopping leaves the multipart upload open
for the next time; `abort` ends it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any, Final

from console.error_codes import DENIED, UNSUPPORTED, Recovery
from console.formatting import visible
from console.models import Checksum, Multipart
from console.s3.checksums import Algorithm, Digests, to_base64
from console.s3.client import object_parameters
from console.s3.confirmation import (
    EtagMismatch,
    SentPart,
    confirm_body,
    confirm_object,
    expected_checksum,
    looks_like_md5,
)
from console.s3.control import Control
from console.s3.engines.boto3_engine import read_answer, require, require_etag
from console.s3.engines.engine import PartRequest, StoredBody
from console.s3.operations import OWNER
from console.s3.part_size import USUAL_PART_SIZE, Part, PartPlan, plan_parts
from console.s3.retry import START_AGAIN, call, call_with_retries, with_retries
from console.s3.transfer_errors import Stopped, TransferError
from console.transfer.job import NOT_TO_BE_SEEN, Confirmation, Job
from console.transfer.threads import wait_for

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

_log = logging.getLogger(__name__)

_MOST_FRESH_STARTS: Final = 3
_NO_ABORT: Final = "the server cannot abort multipart uploads: the parts that arrived stay"
_GONE: Final = frozenset({"NoSuchUpload", "NoSuchBucket", "NoSuchKey", "404"})
_GRACE_SECONDS: Final = 1.0
"""How long parts under way may take to notice that the upload stops, before they are left behind."""
_LOOK_AGAIN_SECONDS: Final = 0.25
PARTS_EVERYWHERE: Final = 1_000
"""As many as any server is known to take."""


def send_multipart(job: Job, *, if_absent: bool) -> Confirmation:
    """Send the file in parts, going on with `job.multipart` where there is one.

    Raises:
        TransferError: PreconditionFailed where the key was taken meanwhile (the multipart upload stays open); others
            as `transfer_errors.classify` sorts them.
        Stopped: `control` said so.
    """
    fresh_starts = 0
    while True:
        try:
            return _send_once(job, if_absent=if_absent)
        except TransferError as error:
            if error.code not in START_AGAIN and not _is_gone(job, error):
                raise
            if (confirmation := _completed_before(job)) is not None:
                return confirmation
            if fresh_starts == _MOST_FRESH_STARTS:
                raise
            fresh_starts += 1
            job.journal.noted(error.code, f"{error.message}; the upload starts again")
            close_multipart(job)


def close_multipart(job: Job) -> None:
    """Abort the job's multipart upload, if it is there still, and say so."""
    if job.multipart is None:
        return
    multipart = job.multipart
    job.journal.aborting()
    if not job.in_thread(lambda: abort(job.transport.s3, job.bucket, job.key, multipart.upload_id)):
        job.journal.noted("NotImplemented", _NO_ABORT)
    job.multipart = None
    job.journal.multipart_closed()
    job.journal.confirmed(0)


def abort(s3: S3Client, bucket: str, key: str, upload_id: str) -> bool:
    """Abort a multipart upload and see to it that no part stays behind. One that is gone already is fine. False where
    the server knows no such request: nobody can remove the parts, and to ask again is of no use.

    A part that was under way may be stored after the abort; S3 asks to abort again until `ListParts` finds nothing.

    Raises:
        TransferError: OperationAborted where parts are there after the last round: whoever asked keeps the upload's id
            and comes back. Others as `transfer_errors.classify` sorts them.
    """

    def abort_once() -> bool:
        try:
            call(lambda: s3.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload_id))
        except TransferError as error:
            if error.code in UNSUPPORTED:
                _log.warning("the server cannot abort multipart uploads: the parts of %s stay", visible(key))
                return False
            if error.code in _GONE:
                return True
            raise
        try:
            left = call(lambda: s3.list_parts(Bucket=bucket, Key=key, UploadId=upload_id, MaxParts=1))
        except TransferError as error:
            if error.code in _GONE or error.code in UNSUPPORTED or error.recovery is Recovery.NEEDS_ACTION:
                return True  # gone, or not for us to see: S3 has taken the abort
            raise
        if left.get("Parts"):
            raise TransferError("OperationAborted", "the multipart upload was aborted, but parts of it are there still")
        return True

    return call_with_retries(abort_once)


def _send_once(job: Job, *, if_absent: bool) -> Confirmation:
    multipart = job.multipart
    listed: dict[int, ListedPart] = {}
    if multipart is None:
        multipart = job.multipart = _open(job)
    else:
        try:
            listed = _list_parts(job, multipart)
        except TransferError as error:
            if error.code != "PartsUnknown":
                raise
            if (confirmation := _completed_before(job)) is not None:
                return confirmation
            multipart = _open_another(job, multipart, error)
    plan = PartPlan(job.source.state.size, multipart.part_size)
    if any(number > len(plan) for number in listed):
        raise TransferError("InvalidPart", "the multipart upload holds parts beyond the end of the file")
    parts = send_parts(job, multipart.upload_id, plan, listed)
    if job.transport.server.etags_are_md5 and any(part.is_confirmed is False for part in parts):
        # Others have shown meanwhile that an ETag is an MD5 here: those parts are damaged.
        parts = send_parts(job, multipart.upload_id, plan, _list_parts(job, multipart))
    job.source.check_unchanged()
    answer = _complete(job, multipart.upload_id, parts, if_absent=if_absent)
    if isinstance(answer, Confirmation):
        return answer
    checksum, etag = _confirm(job, answer, parts)
    return Confirmation(job.key, etag, answer.version_id, checksum, job.sent_bytes)


@dataclass(frozen=True, slots=True)
class ListedPart:
    """A part that S3 holds already; `size` in bytes."""

    size: int
    answer: StoredBody


class _SiblingFailed(Stopped):
    """Another part of the same upload failed for good."""


class _Linked:
    """A `Control` that also stops when another part has failed."""

    def __init__(self, control: Control) -> None:
        self._control = control
        self._failed = threading.Event()

    def fail(self) -> None:
        self._failed.set()

    def check(self) -> None:
        self._control.check()
        if self._failed.is_set():
            raise _SiblingFailed

    def wait(self, seconds: float) -> None:
        while seconds > 0:
            self.check()
            self._control.wait(min(seconds, _LOOK_AGAIN_SECONDS))
            seconds -= _LOOK_AGAIN_SECONDS
        self.check()


def send_parts(job: Job, upload_id: str, plan: PartPlan, listed: Mapping[int, ListedPart]) -> list[SentPart]:
    """Bring every part of the plan to S3; those listed with the file's bytes stay. In the plan's order.

    Raises:
        TransferError: the first that retrying did not cure. Stopped: `control` said so.
    """
    sending = _Sending(job, upload_id, listed)
    futures: list[Future[SentPart]] = []
    try:
        order = list(plan)
        is_long = len(plan) > PARTS_EVERYWHERE and not job.transport.server.is_aws
        if is_long and len(plan) not in listed:
            # Some servers take no more parts than that: better to hear of it before the others have been sent.
            order.insert(0, order.pop())
        for part in order:
            futures.append(sending.start(part))
        parts = [sending.result(future) for future in futures]
        return sorted(parts, key=lambda part: part.number)
    finally:
        sending.control.fail()
        wait(futures, timeout=_GRACE_SECONDS)
        job.under_way.extend(future for future in futures if not future.done())


class _Sending:
    def __init__(self, job: Job, upload_id: str, listed: Mapping[int, ListedPart]) -> None:
        self.control = _Linked(job.control)
        self._job = job
        self._upload_id = upload_id
        self._listed = listed
        self._lock = threading.Lock()
        self._confirmed_bytes = 0
        self._failure: Exception | None = None
        self._tried: set[int] = set()

    def start(self, part: Part) -> Future[SentPart]:
        """Raises as `result`, while it waits for a thread."""
        with self._first_failure():
            return self._job.transport.pool.submit(lambda: self._part(part), self.control)

    def result(self, future: Future[SentPart]) -> SentPart:
        """Raises what ended the first part that failed, whichever this one is."""
        with self._first_failure():
            return wait_for(future, self.control)

    @contextmanager
    def _first_failure(self) -> Iterator[None]:
        try:
            yield
        except _SiblingFailed:
            with self._lock:
                failure = self._failure
            raise failure or Stopped() from None

    def _part(self, part: Part) -> SentPart:
        try:
            sent = with_retries(lambda: self._attempt(part), self._job.options.retry, self.control, self._job.journal)
        except Exception as error:
            with self._lock:
                if self._failure is None and not isinstance(error, _SiblingFailed):
                    self._failure = error
            self.control.fail()
            raise
        with self._lock:
            self._confirmed_bytes += part.length
            # Within the lock, so that a smaller total cannot overtake a larger one.
            self._job.journal.confirmed(self._confirmed_bytes)
        return sent

    def _attempt(self, part: Part) -> SentPart:
        listed = self._listed.get(part.number)
        digests = None
        if listed is not None:
            ours = {a for a in listed.answer.checksums if a.is_available} or {Algorithm.MD5}
            algorithms = ours | set(self._job.transport.server.algorithms(in_parts=True))
            digests = self._job.source.digests(part.offset, part.length, algorithms, self.control)
            if listed.size == part.length and _holds(listed, digests):
                return SentPart(part.number, part.length, digests, listed.answer.etag, is_confirmed=True)
        try:
            return self._send(part, digests)
        except TransferError as error:
            is_there = listed is not None or part.number in self._tried or self._job.begun_before
            if error.code == "NotImplemented" and error.recovery is not Recovery.RETRY and is_there:
                # rclone cannot replace what it holds of a part by other bytes; it may have stored what an earlier
                # run left behind only after it listed its parts. (A checksum that is refused is left out next time.)
                raise TransferError("InvalidPart", error.message) from error
            self._tried.add(part.number)
            raise

    def _send(self, part: Part, known: Digests | None) -> SentPart:
        job, server = self._job, self._job.transport.server
        request = PartRequest(job.bucket, job.key, self._upload_id, part.number)
        body = job.body(part, self.control, known, in_parts=True)
        had_checksums = server.algorithm in body.algorithms
        answer = None
        try:
            answer = job.send(lambda: job.transport.engine.upload_part(request, body), part.length)
            if had_checksums:
                server.learn(server.algorithm in answer.checksums, in_parts=True)
            digests = {**(known or {}), **body.digests()}
            is_confirmed = self._confirm(part, answer, digests)
        except TransferError as error:
            body.take_back()
            if answer is None and self._is_worth_another_try(part, error, had_checksums=had_checksums):
                raise TransferError(error.code, error.message, Recovery.RETRY) from error
            raise
        finally:
            with self._lock:
                job.sent_bytes += body.tell()
        return SentPart(part.number, part.length, digests, answer.etag, is_confirmed)

    def _confirm(self, part: Part, answer: StoredBody, digests: dict[Algorithm, bytes]) -> bool | None:
        """As `SentPart.is_confirmed`; `digests` get those that had to be computed for that."""
        server = self._job.transport.server
        answer = server.without_md5(answer)
        if server.algorithm not in answer.checksums and Algorithm.MD5 not in digests and looks_like_md5(answer):
            digests |= self._job.source.digests(part.offset, part.length, (Algorithm.MD5,), self.control)
        try:
            checksum = confirm_body(answer, digests)
        except EtagMismatch:
            if server.etags_are_md5:
                raise
            return False  # the ETags of this server may be something else: the object shows
        if checksum is None:
            return None
        if checksum.confirmed == "etag":
            server.learn_etags(are_md5=True)
        return True

    def _is_worth_another_try(self, part: Part, error: TransferError, *, had_checksums: bool) -> bool:
        """Whether the refusal taught how to send this part.

        Raises:
            TransferError: TooManyParts where it taught that the upload has to start again.
        """
        server = self._job.transport.server
        if server.learn_from_refusal(error.code, conditional=False, had_checksums=had_checksums, in_parts=True):
            return True
        if server.learn_part_limit(part.number, error):
            raise TransferError("TooManyParts", error.message) from error
        return False


def _holds(listed: ListedPart, digests: Mapping[Algorithm, bytes]) -> bool:
    """Whether S3 has the file's bytes in a part; not where it has others, or cannot say."""
    try:
        return confirm_body(listed.answer, digests) is not None
    except TransferError:
        return False


class PartsAsTheyCome:
    """A multipart upload of a source whose size nobody knows before its end; nothing of it is sent twice."""

    def __init__(self, job: Job) -> None:
        """Opens it. Raises as `send_multipart`."""
        self._job = job
        self._multipart = job.multipart = _open(job)
        self._sending = _Sending(job, self._multipart.upload_id, {})
        self._futures: list[Future[SentPart]] = []

    def send(self, part: Part) -> Future[SentPart]:
        """Send a part that the source holds until then."""
        future = self._sending.start(part)
        self._futures.append(future)
        return future

    def wait_for(self, future: Future[SentPart]) -> None:
        """Wait until that part is in S3. Raises what ended the first part that failed, whichever this one is."""
        self._sending.result(future)

    def stop(self) -> None:
        """Nothing more is sent, and what is on its way is left behind after a moment."""
        self._sending.control.fail()
        wait(self._futures, timeout=_GRACE_SECONDS)

    def complete(self, *, if_absent: bool) -> Confirmation:
        """Make the object of all parts, and confirm it. Raises as `send_multipart`."""
        job = self._job
        parts = [self._sending.result(future) for future in self._futures]
        try:
            answer = _complete(job, self._multipart.upload_id, parts, if_absent=if_absent)
        except TransferError as error:
            answer = self._made_all_the_same(error)
        if isinstance(answer, Confirmation):
            return answer
        checksum, etag = _confirm(job, answer, parts)
        return Confirmation(job.key, etag, answer.version_id, checksum, job.sent_bytes)

    def _made_all_the_same(self, error: TransferError) -> StoredBody:
        """What S3 tells of the object, where it made it and the answer was lost: it bears this upload's mark. Raises
        the error where it did not."""
        try:
            stored = self._job.head()
        except TransferError:
            raise error from None
        mark = self._job.options.settings.metadata.get(OWNER)
        if stored is None or mark is None or stored.owner != mark or stored.size != self._job.source.state.size:
            raise error
        return stored.answer


def _open(job: Job) -> Multipart:
    server = job.transport.server
    preferred = job.options.part_size
    if preferred is None and job.bandwidth.bytes_per_second:
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

    multipart = Multipart(upload_id=job.call(create), part_size=plan.part_size)
    try:
        job.journal.multipart_opened(multipart)
    except BaseException:
        # Nobody knows of it, and nothing is in it yet. Should the record appear after all, its upload starts again.
        with suppress(TransferError, Stopped):  # a sweep finds it then; what happened here is the other error
            job.in_thread(lambda: abort(job.transport.s3, job.bucket, job.key, multipart.upload_id))
        raise
    return multipart


def _open_another(job: Job, former: Multipart, reason: TransferError) -> Multipart:
    """Begin again where nothing can be learned of the former multipart upload; that one is aborted, if it can be.

    Only once there is another one: where everything is denied for a while, what arrived is kept for later.
    """
    job.multipart = None
    try:
        job.multipart = _open(job)
    except BaseException:
        job.multipart = former
        raise
    job.journal.noted(reason.code, f"{reason.message}; the upload starts again")
    job.journal.confirmed(0)
    try:
        is_aborted = job.in_thread(lambda: abort(job.transport.s3, job.bucket, job.key, former.upload_id))
    except TransferError as error:
        job.journal.noted(error.code, f"the parts that arrived before stay: {error.message}")
    else:
        if not is_aborted:
            job.journal.noted("NotImplemented", _NO_ABORT)
    return job.multipart


def _create(job: Job, parameters: Mapping[str, Any]) -> str:
    """The id of a new multipart upload. One that S3 tells of when nobody waits for it any more is aborted."""
    s3, is_left_behind = job.transport.s3, threading.Event()
    opened: list[str] = []

    def create() -> str:
        answer = call(lambda: s3.create_multipart_upload(Bucket=job.bucket, Key=job.key, **parameters))
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
    """What S3 holds of the multipart upload, by part number.

    Raises:
        TransferError: PartsUnknown where the server does not tell. All parts have to be sent again then, and not to
            this multipart upload: a server may still hold one for the body of a request whose sender is gone.
    """
    server = job.transport.server
    ours = server.algorithm

    def list_all() -> dict[int, ListedPart]:
        from botocore.exceptions import PaginationError  # only where there is a client of botocore's already

        pages = job.transport.s3.get_paginator("list_parts").paginate(
            Bucket=job.bucket, Key=job.key, UploadId=multipart.upload_id
        )
        listed: dict[int, ListedPart] = {}
        with suppress(PaginationError):  # it tells the same page for ever: what it told is all there is
            for page in pages:
                if page.get("ChecksumAlgorithm", ours) != ours:
                    raise TransferError("InvalidPart", "the multipart upload was begun with another checksum")
                for part in page.get("Parts", []):
                    listed[part["PartNumber"]] = ListedPart(part["Size"], read_answer(part))
        return listed

    try:
        listed = job.ask_in_thread(list_all)
    except TransferError as error:
        if error.code in UNSUPPORTED | DENIED:
            message = f"the server does not tell which parts have arrived ({error.code})"
            raise TransferError("PartsUnknown", message) from error
        raise
    # Where all parts are there no answer to one comes any more, but how to complete them must be known: S3 refuses a
    # completion without the checksums of parts that were sent with some.
    if any(ours in part.answer.checksums for part in listed.values()):
        server.learn(returns_checksums=True, in_parts=True)
    return listed


def _complete(job: Job, upload_id: str, parts: list[SentPart], *, if_absent: bool) -> StoredBody | Confirmation:
    """S3's answer; or, where that to an earlier attempt was lost, what is known of the object it made."""
    attempts = count(1)
    return job.call(lambda: _complete_once(job, upload_id, parts, attempt=next(attempts), if_absent=if_absent))


def _complete_once(
    job: Job, upload_id: str, parts: list[SentPart], *, attempt: int, if_absent: bool
) -> StoredBody | Confirmation:
    job.journal.completing()
    # Parts take long, and few servers know a condition that would tell what came under the key meanwhile.
    if if_absent and attempt == 1 and (not job.take_key() or job.head() is not None):
        raise TransferError("PreconditionFailed", "the key was taken while the parts were sent")
    server = job.transport.server
    conditional = if_absent and server.takes_conditions
    with_checksums = bool(server.returns_part_checksums)
    parameters: dict[str, Any] = {"IfNoneMatch": "*"} if conditional else {}
    parameters |= _completion(job, parts, with_checksums=with_checksums)
    try:
        return _ask_for_object(job, upload_id, parts, parameters)
    except TransferError as error:
        if server.learn_from_refusal(error.code, conditional=conditional, had_checksums=with_checksums, in_parts=True):
            raise TransferError(error.code, error.message, Recovery.RETRY) from error
        if server.learn_part_limit(len(parts), error):
            raise TransferError("TooManyParts", error.message) from error
        if error.code == "ConditionalRequestConflict":
            # S3 asks for a new multipart upload in this case: API reference of CompleteMultipartUpload.
            raise TransferError("NoSuchUpload", error.message) from error
        # MinIO looks for an object before it looks for the multipart upload: that of an earlier attempt is in the way.
        if error.code == "PreconditionFailed" and attempt > 1 and (confirmation := _completed_before(job)) is not None:
            return confirmation
        raise


def _ask_for_object(job: Job, upload_id: str, parts: list[SentPart], parameters: dict[str, Any]) -> StoredBody:
    """One completion; once more without the checksum of the whole where the server may have meant another one by it.
    What it returns is compared all the same."""
    server, s3 = job.transport.server, job.transport.s3

    def complete(parameters: Mapping[str, Any]) -> StoredBody:
        # Never left behind: a second one at the same time makes some servers lose the object.
        answer: Mapping[str, Any] = call(
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


def _confirm(job: Job, answer: StoredBody, parts: list[SentPart]) -> tuple[Checksum, str]:
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


def _confirmed_by(job: Job, answer: StoredBody, parts: list[SentPart]) -> Checksum | None:
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


def _learn_from_content(job: Job, answer: StoredBody, parts: list[SentPart], doubted: SentPart) -> None:
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
    if error.recovery is not Recovery.RETRY or multipart is None:
        return False
    try:
        job.in_thread(
            lambda: call(
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
