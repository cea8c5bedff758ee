"""Request bodies through the AWS Common Runtime: sockets, TLS and signing in C, outside Python's lock.

Owns the requests and the memory of the bodies under way: the runtime reads a body whole before it sends it, so their
sum is bounded. Larger bodies, all bodies under a bandwidth limit (they would not flow evenly), buckets that need more
than a host and a signature, and for a while all bodies to a server that is slower than the runtime waits, go through
the other engine.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import TimeoutError as NotYet
from contextlib import contextmanager
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final

from awscrt.http import HttpHeaders, HttpRequest
from awscrt.s3 import S3Client, S3Request, S3RequestType

from console.formatting import visible
from console.transfer.address import Address, address_of, is_plain_bucket
from console.transfer.bandwidth import BandwidthLimit
from console.transfer.body import Body
from console.transfer.checksums import Digests
from console.transfer.crt_client import Signing, check_certificate
from console.transfer.crt_errors import as_boto3_would
from console.transfer.crt_messages import Response, name_checksums, part_message, put_message
from console.transfer.engine import Answer, Engine, PartRequest, PutRequest
from console.transfer.errors import ServiceError, Stopped, TransferError

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client as Boto3Client

LARGEST_BODY: Final = 64 * 1024 * 1024
"""The most that one of the runtime's requests may be asked to hold in memory, in bytes."""
_BODIES_IN_MEMORY: Final = 96 * 1024 * 1024
"""Of all bodies under way together, in bytes."""
_LOOK_AGAIN_SECONDS: Final = 0.25
_CANCEL_SECONDS: Final = 2.0
_ELSEWHERE: Final = frozenset(
    {"PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"}
)
_REDIRECTS: Final = frozenset({301, 302, 307})
"""The bucket is in another region: by these codes, and any with such a status, botocore knows how to follow."""
_RUNTIMES_PATIENCE_SECONDS: Final = 30.0
"""How long the runtime waits for a server from which, and to which, nothing moves. It takes no setting for that: where
fewer seconds are set it waits longer."""
_DETOUR_SECONDS: Final = 600.0
"""How long the other engine sends all bodies once the runtime has not waited long enough. An outage looks the same, and
passes."""

Done = Callable[[Answer | BaseException], None]


class _QuietBody:
    """A body for the runtime to read. It would print the traceback of an exception on standard error, into the screen:
    here the stream ends instead, too early for its length, so that the request fails. `body.failure` has the reason.

    The runtime reads the body whole before it makes a request of the message, so its checksums become known in time
    for the headers, and the file is read once. Should it ever come to do otherwise, they would be missing in the
    request, and in S3's answer: a part would not be confirmed by them, an object by its ETag or size only.
    """

    def __init__(self, body: Body, headers: HttpHeaders) -> None:
        self._body = body
        self._headers = headers

    def readinto(self, buffer: memoryview) -> int:
        try:
            count = self._body.readinto(buffer)
            if self._body.tell() == len(self._body):
                name_checksums(self._headers, self._body.digests())
        except (TransferError, Stopped):
            return 0
        return count

    def read(self, size: int = -1) -> bytes:
        raise NotImplementedError("the runtime prefers readinto")

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._body.seek(offset, whence)


class CrtEngine:
    """Sends with the runtime's client; `fallback` sends what that is not fit for: bodies of more than `largest_body`
    bytes among others. Thread-safe."""

    def __init__(
        self,
        s3: Boto3Client,
        client: S3Client,
        signing: Signing,
        *,
        fallback: Engine,
        bandwidth: BandwidthLimit,
        largest_body: int = LARGEST_BODY,
        ca_file: str | None = None,
        connect_timeout_seconds: float = 10.0,
        read_timeout_seconds: float = _RUNTIMES_PATIENCE_SECONDS,
    ) -> None:
        self._s3 = s3
        self._client: S3Client | None = client
        self._signing = signing
        self._fallback = fallback
        self._bandwidth = bandwidth
        self._largest_body = largest_body
        self._ca_file = ca_file
        self._connect_timeout = connect_timeout_seconds
        self._is_less_patient = read_timeout_seconds > _RUNTIMES_PATIENCE_SECONDS
        self._detour_until = 0.0
        self._memory = _Memory(_BODIES_IN_MEMORY)
        self._lock = threading.Lock()
        self._addresses: dict[str, Address | None] = {}
        self._numbers = itertools.count()
        self._under_way: dict[int, S3Request] = {}

    def put_object(self, request: PutRequest, body: Body) -> Answer:
        """Send a whole object."""

        def message(address: Address) -> HttpRequest:
            return put_message(address, request, len(body))

        answer = self._send("PutObject", request.bucket, message, body)
        return answer or self._fallback.put_object(request, body)

    def upload_part(self, request: PartRequest, body: Body) -> Answer:
        """Send one part."""

        def message(address: Address) -> HttpRequest:
            return part_message(address, request, len(body))

        answer = self._send("UploadPart", request.bucket, message, body)
        return answer or self._fallback.upload_part(request, body)

    def takes_at_once(self, bucket: str) -> bool:
        """Whether `begin_put` may be used for this bucket now. Looks only at what earlier requests found out: threads
        that nobody may keep waiting ask for each upload."""
        with self._lock:
            return not self._is_for_fallback() and self._addresses.get(bucket) is not None

    def begin_put(self, request: PutRequest, content: bytes, digests: Digests, done: Done) -> Callable[[], None]:
        """Begin to send a small object and return at once."""
        address = self._address(request.bucket)
        if address is None:
            raise TransferError("NotImplemented", f"{visible(request.bucket)} is not for this engine")
        response = Response()
        number = next(self._numbers)

        def finished(*, error: BaseException | None, **_: Any) -> None:
            self._under_way.pop(number, None)
            try:
                done(response.answer() if error is None else self._translated(error))
            except TransferError as unreadable:
                done(unreadable)

        def cancel() -> None:
            if (sending := self._under_way.get(number)) is not None:
                sending.cancel()

        message = put_message(address, request, len(content))
        name_checksums(message.headers, digests)
        if content:
            message.body_stream = BytesIO(content)
        begun = self._begin("PutObject", message, on_headers=response.take, on_done=finished)
        # Held here alone, and not by what `done` belongs to: a cycle would keep the content until garbage is collected.
        self._under_way[number] = begun
        if begun.finished_future.done():
            self._under_way.pop(number, None)
        return cancel

    def close(self) -> None:
        """End connections and threads: the runtime does so once nothing refers to its client any more."""
        self._client = None

    def _address(self, bucket: str) -> Address | None:
        """Where the bucket is; None where it is one for the other engine."""
        with self._lock:
            if bucket in self._addresses:
                return self._addresses[bucket]
        address = address_of(self._s3, bucket) if is_plain_bucket(bucket) else None
        if address is not None and address.is_tls:
            check_certificate(address, self._ca_file, self._connect_timeout)
        with self._lock:
            return self._addresses.setdefault(bucket, address)

    def _begin(self, operation: str, message: HttpRequest, **options: Any) -> S3Request:
        client = self._client
        if client is None:
            raise TransferError("ConnectionClosed", "the engine is closed")
        return client.make_request(
            type=S3RequestType.DEFAULT,
            operation_name=operation,
            request=message,
            signing_config=self._signing.config(),
            **options,
        )

    def _send(
        self, operation: str, bucket: str, message: Callable[[Address], HttpRequest], body: Body
    ) -> Answer | None:
        """Send and wait. None where the other engine has to, and nothing was sent."""
        if len(body) > self._largest_body or self._is_for_fallback():
            return None
        address = self._address(bucket)
        if address is None:
            return None
        response = Response()
        try:
            with self._memory.hold(len(body), body):
                request = message(address)
                if len(body):
                    body.sum_while_read()
                    request.body_stream = _QuietBody(body, request.headers)
                else:
                    name_checksums(request.headers, body.digests())
                _wait(self._begin(operation, request, on_headers=response.take), body)
        except (TransferError, Stopped):
            raise
        except Exception as error:
            if body.failure is not None:
                raise body.failure from None
            translated = self._translated(error)
            if not _is_elsewhere(translated):
                raise translated from error
            with self._lock:
                self._addresses[bucket] = None
            body.seek(0)
            return None
        return response.answer()

    def _is_for_fallback(self) -> bool:
        """Whether the other engine has to send all bodies now."""
        return bool(self._bandwidth.bytes_per_second) or time.monotonic() < self._detour_until

    def _translated(self, error: BaseException) -> BaseException:
        """The error as boto3 would raise it. After one of patience the next requests go to whom is told how long to
        wait: the same body would come to nothing again and again."""
        translated = as_boto3_would(error)
        if self._is_less_patient and getattr(translated, "code", None) == "ReadTimeout":
            self._detour_until = time.monotonic() + _DETOUR_SECONDS
        return translated


class _Memory:
    """Bytes that the bodies under way may take together."""

    def __init__(self, limit: int) -> None:
        self._left = limit
        self._changed = threading.Condition()

    @contextmanager
    def hold(self, size: int, body: Body) -> Iterator[None]:
        with self._changed:
            while self._left < size:
                body.check()
                self._changed.wait(_LOOK_AGAIN_SECONDS)
            self._left -= size
        try:
            yield
        finally:
            with self._changed:
                self._left += size
                self._changed.notify_all()


def _is_elsewhere(error: BaseException) -> bool:
    return isinstance(error, ServiceError) and (error.code in _ELSEWHERE or error.status in _REDIRECTS)


def _wait(request: S3Request, body: Body) -> None:
    """Wait for the request's end; once the transfer must stop it is cancelled, and its memory given back."""
    while True:
        try:
            request.finished_future.result(_LOOK_AGAIN_SECONDS)
        except NotYet:
            if request.finished_future.done():
                raise
            try:
                body.check()
            except Stopped:
                request.cancel()
                request.shutdown_event.wait(_CANCEL_SECONDS)
                raise
        else:
            return
