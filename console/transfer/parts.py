"""The parts of one multipart upload, sent side by side.

Owns which parts are sent, the retries of each, and the end of all when one fails for good. Not here: opening and
completing the multipart upload (`multipart`).
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import Future, wait
from dataclasses import dataclass
from typing import Final

from console.transfer.checksums import Algorithm, Digests
from console.transfer.confirm import EtagMismatch, SentPart, confirm_body, looks_like_md5
from console.transfer.control import Control
from console.transfer.engine import Answer, PartRequest
from console.transfer.errors import Stopped, TransferError
from console.transfer.job import Job
from console.transfer.plan import Part, PartPlan
from console.transfer.pool import wait_for
from console.transfer.retrying import with_retries
from console.transfer.verdicts import Verdict

_GRACE_SECONDS: Final = 1.0
"""How long parts under way may take to notice that the upload stops, before they are left behind."""
_LOOK_AGAIN_SECONDS: Final = 0.25
_PARTS_EVERYWHERE: Final = 1_000
"""As many as any server is known to take."""


@dataclass(frozen=True, slots=True)
class ListedPart:
    """A part that S3 holds already; `size` in bytes."""

    size: int
    answer: Answer


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
        is_long = len(plan) > _PARTS_EVERYWHERE and not job.transport.server.is_aws
        if is_long and len(plan) not in listed:
            # Some servers take no more parts than that: better to hear of it before the others have been sent.
            order.insert(0, order.pop())
        for part in order:
            futures.append(sending.start(part))
        parts = [wait_for(future, sending.control) for future in futures]
        return sorted(parts, key=lambda part: part.number)
    except _SiblingFailed:
        raise sending.first_failure() from None
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
        return self._job.transport.pool.submit(lambda: self._part(part), self.control)

    def first_failure(self) -> Exception:
        with self._lock:
            return self._failure or Stopped()

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
            if error.code == "NotImplemented" and error.verdict is not Verdict.RETRY and is_there:
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
                raise TransferError(error.code, error.message, Verdict.RETRY) from error
            raise
        finally:
            with self._lock:
                job.sent_bytes += body.tell()
        return SentPart(part.number, part.length, digests, answer.etag, is_confirmed)

    def _confirm(self, part: Part, answer: Answer, digests: dict[Algorithm, bytes]) -> bool | None:
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
            TransferError: TooManyParts where it taught that the upload has to start anew.
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
