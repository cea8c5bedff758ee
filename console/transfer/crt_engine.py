"""Request bodies through the AWS Common Runtime: sockets, TLS and signing in C, outside Python's lock.

Owns the requests and the memory of the bodies under way: the runtime reads a body whole before it sends it, so their
sum is bounded. Larger bodies, all bodies under a bandwidth limit (they would not flow evenly), and buckets that need
more than a host and a signature go through the other engine.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import TimeoutError as NotYet
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from awscrt.http import HttpHeaders, HttpRequest
from awscrt.s3 import S3Client, S3Request, S3RequestType

from console.formatting import visible
from console.transfer.address import Address, address_of, has_proxy, is_plain_bucket
from console.transfer.bandwidth import BandwidthLimit
from console.transfer.body import Body
from console.transfer.boto3_engine import require_etag
from console.transfer.checksums import Algorithm, Digests, to_base64
from console.transfer.client import object_parameters
from console.transfer.crt_client import Signing, check_certificate
from console.transfer.crt_errors import as_boto3_would
from console.transfer.engine import Answer, Engine, PartRequest, PutRequest
from console.transfer.errors import Stopped, TransferError

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client as Boto3Client

LARGEST_BODY: Final = 64 * 1024 * 1024
"""Larger bodies stream through the other engine."""
_BODIES_IN_MEMORY: Final = 96 * 1024 * 1024
"""Of all bodies under way together, in bytes."""
_LOOK_AGAIN_SECONDS: Final = 0.25
_CANCEL_SECONDS: Final = 2.0
_ELSEWHERE: Final = frozenset({"PermanentRedirect", "301", "307", "AuthorizationHeaderMalformed"})
"""The bucket is in another region: botocore knows how to follow."""

_HEADERS: Final[Mapping[str, str]] = {
    "ContentType": "content-type",
    "StorageClass": "x-amz-storage-class",
    "ServerSideEncryption": "x-amz-server-side-encryption",
    "SSEKMSKeyId": "x-amz-server-side-encryption-aws-kms-key-id",
    "Tagging": "x-amz-tagging",
}
_UNVERSIONED: Final = "null"

Done = Callable[[Answer | BaseException], None]


class _QuietBody:
    """A body for the runtime to read. It would print the traceback of an exception on standard error, into the screen:
    here the stream ends instead, too early for its length, so that the request fails. `body.failure` has the reason.
    """

    def __init__(self, body: Body) -> None:
        self._body = body

    def readinto(self, buffer: memoryview) -> int:
        try:
            return self._body.readinto(buffer)
        except (TransferError, Stopped):
            return 0

    def read(self, size: int = -1) -> bytes:
        raise NotImplementedError("the runtime prefers readinto")

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._body.seek(offset, whence)


@dataclass(slots=True)
class _Response:
    headers: dict[str, str] = field(default_factory=dict)

    def take(self, *, status_code: int, headers: Sequence[tuple[str, str]], **_: Any) -> None:
        self.headers = {name.lower(): value for name, value in headers}

    def answer(self) -> Answer:
        version = self.headers.get("x-amz-version-id")
        return require_etag(
            Answer(
                etag=self.headers.get("etag", "").strip('"'),
                checksums={
                    algorithm: self.headers[algorithm.header]
                    for algorithm in Algorithm
                    if algorithm is not Algorithm.MD5 and algorithm.header in self.headers
                },
                version_id=version if version != _UNVERSIONED else None,
                etag_is_md5=not self.headers.get("x-amz-server-side-encryption", "").startswith("aws:kms"),
            )
        )


class CrtEngine:
    """Sends with the runtime's client; `fallback` sends what that is not fit for. Thread-safe."""

    def __init__(
        self,
        s3: Boto3Client,
        client: S3Client,
        signing: Signing,
        *,
        fallback: Engine,
        bandwidth: BandwidthLimit,
        ca_file: str | None = None,
        connect_timeout_seconds: float = 10.0,
    ) -> None:
        self._s3 = s3
        self._client: S3Client | None = client
        self._signing = signing
        self._fallback = fallback
        self._bandwidth = bandwidth
        self._ca_file = ca_file
        self._connect_timeout = connect_timeout_seconds
        self._memory = _Memory(_BODIES_IN_MEMORY)
        self._lock = threading.Lock()
        self._addresses: dict[str, Address | None] = {}
        self._numbers = itertools.count()
        self._under_way: dict[int, S3Request] = {}

    def put_object(self, request: PutRequest, body: Body) -> Answer:
        """Send a whole object."""

        def message(address: Address) -> HttpRequest:
            return _put_message(address, request, len(body), _QuietBody(body))

        answer = self._send("PutObject", request.bucket, message, body)
        return answer or self._fallback.put_object(request, body)

    def upload_part(self, request: PartRequest, body: Body) -> Answer:
        """Send one part."""

        def message(address: Address) -> HttpRequest:
            query = f"partNumber={request.number}&uploadId={quote(request.upload_id, safe='~')}"
            target = f"{address.path(request.key)}?{query}"
            return _message(address, target, _checksum_headers(request.digests), len(body), _QuietBody(body))

        answer = self._send("UploadPart", request.bucket, message, body)
        return answer or self._fallback.upload_part(request, body)

    def takes_at_once(self, bucket: str) -> bool:
        """Whether `begin_put` may be used for this bucket now."""
        return not self._bandwidth.bytes_per_second and self._address(bucket) is not None

    def begin_put(self, request: PutRequest, content: bytes, done: Done) -> Callable[[], None]:
        """Begin to send a small object and return at once."""
        address = self._address(request.bucket)
        if address is None:
            raise TransferError("NotImplemented", f"{visible(request.bucket)} is not for this engine")
        response = _Response()
        number = next(self._numbers)

        def finished(*, error: BaseException | None, **_: Any) -> None:
            self._under_way.pop(number, None)
            try:
                done(response.answer() if error is None else as_boto3_would(error))
            except TransferError as unreadable:
                done(unreadable)

        def cancel() -> None:
            if (sending := self._under_way.get(number)) is not None:
                sending.cancel()

        message = _put_message(address, request, len(content), BytesIO(content))
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
        if address is not None and has_proxy(address):
            address = None
        if address is not None and address.is_tls:
            check_certificate(address, self._ca_file, self._connect_timeout)
        with self._lock:
            return self._addresses.setdefault(bucket, address)

    def _begin(self, operation: str, message: HttpRequest, **callbacks: Any) -> S3Request:
        client = self._client
        if client is None:
            raise TransferError("ConnectionClosed", "the engine is closed")
        return client.make_request(
            type=S3RequestType.DEFAULT,
            operation_name=operation,
            request=message,
            signing_config=self._signing.config(),
            **callbacks,
        )

    def _send(
        self, operation: str, bucket: str, message: Callable[[Address], HttpRequest], body: Body
    ) -> Answer | None:
        """Send and wait. None where the other engine has to, and nothing was sent."""
        if len(body) > LARGEST_BODY or self._bandwidth.bytes_per_second:
            return None
        address = self._address(bucket)
        if address is None:
            return None
        response = _Response()
        try:
            with self._memory.hold(len(body), body):
                _wait(self._begin(operation, message(address), on_headers=response.take), body)
        except (TransferError, Stopped):
            raise
        except Exception as error:
            if body.failure is not None:
                raise body.failure from None
            translated = as_boto3_would(error)
            if getattr(translated, "code", None) not in _ELSEWHERE:
                raise translated from error
            with self._lock:
                self._addresses[bucket] = None
            body.seek(0)
            return None
        return response.answer()


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


def _put_message(address: Address, request: PutRequest, length: int, body: Any) -> HttpRequest:
    parameters = object_parameters(request.content_type, request.settings)
    headers = [(header, str(parameters[name])) for name, header in _HEADERS.items() if name in parameters]
    headers += [(f"x-amz-meta-{name}", value) for name, value in request.settings.metadata.items()]
    if request.if_absent:
        headers.append(("if-none-match", "*"))
    headers += _checksum_headers(request.digests)
    return _message(address, address.path(request.key), headers, length, body)


def _checksum_headers(digests: Digests) -> list[tuple[str, str]]:
    headers = [(algorithm.header, to_base64(digest)) for algorithm, digest in digests.items()]
    headers += [("x-amz-sdk-checksum-algorithm", a.value) for a in digests if a is not Algorithm.MD5]
    return headers


def _message(address: Address, target: str, headers: list[tuple[str, str]], length: int, body: Any) -> HttpRequest:
    for name, value in headers:
        if not (name.isascii() and value.isascii()):
            raise TransferError("ParameterRefused", f"{visible(name)}: only ASCII characters are allowed")
    common = [("host", address.host), ("content-length", str(length))]
    return HttpRequest("PUT", target, HttpHeaders([*common, *headers]), body if length else None)
