"""Request bodies through the AWS Common Runtime: sockets, TLS and signing in C, outside Python's lock.

Owns the requests and the memory of the bodies under way: the runtime reads a body whole before it sends it, so their
sum is bounded. Larger bodies, all bodies under a bandwidth limit (they would not flow evenly), buckets that need more
than a host and a signature, and for a while all bodies to a server that is slower than the runtime waits, go through
the other engine.

The Common Runtime's S3 client: event loops, TLS, and signing with the credentials that botocore found.

Owns setting it up, and what its threads need of Python. Importing this module imports the runtime, which not every
platform has.

What the Common Runtime is told to send, and what S3 answers: PutObject and UploadPart as HTTP has them.

Owns names and values of headers. Nothing is sent here (`crt_engine`).

What the Common Runtime raises, as the exceptions that `errors.classify` sorts.

Owns the table of the runtime's error names. Which of them pass by themselves is said by `verdicts`.
"""

from __future__ import annotations

import ctypes
import functools
import itertools
import os
import socket
import ssl
import threading
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import TimeoutError as NotYet
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlsplit

from awscrt.auth import AwsCredentialsProvider, AwsSigningConfig
from awscrt.exceptions import AwsCrtError
from awscrt.http import HttpHeaders, HttpRequest
from awscrt.io import ClientBootstrap, ClientTlsContext, DefaultHostResolver, EventLoopGroup, TlsContextOptions
from awscrt.s3 import (
    S3Client,
    S3Request,
    S3RequestTlsMode,
    S3RequestType,
    S3ResponseError,
    S3RetryConfig,
    S3RetryMode,
    create_default_s3_signing_config,
)

from console.formatting import visible
from console.s3.address import Address, address_of, is_plain_bucket
from console.s3.checksums import Algorithm, Digests, to_base64
from console.s3.client import object_parameters
from console.s3.engines.bandwidth import BandwidthLimit
from console.s3.engines.body import Body
from console.s3.engines.boto3_engine import answer_of, require_etag
from console.s3.engines.engine import Engine, PartRequest, PutRequest, StoredBody
from console.s3.transfer_errors import ServiceError, Stopped, TransferError

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client as Boto3Client


_MOST_LOOPS: Final = 4
"""Threads of the runtime. One sends some GB/s, and each that calls back waits for Python's lock."""
_TARGET_GBPS: Final = 100.0
"""From this the runtime derives how many connections it may open; `connections` is the number that holds."""


def make_crt_client(
    *, region: str, is_tls: bool, ca_file: str | None, connect_timeout_seconds: float, connections: int
) -> S3Client:
    """A client without retries of its own (`retrying` does that). `ca_file`: certificates to trust, None for those of
    the system.

    Raises:
        OSError: `ca_file` cannot be read. RuntimeError: the runtime refuses it.
    """
    tls = None
    if is_tls:
        options = TlsContextOptions()
        if ca_file is not None:
            options.override_default_trust_store_from_path(None, ca_file)
        tls = ClientTlsContext(options).new_connection_options()
    return S3Client(
        bootstrap=_bootstrap(),
        region=region,
        tls_mode=S3RequestTlsMode.ENABLED if is_tls else S3RequestTlsMode.DISABLED,
        tls_connection_options=tls,
        throughput_target_gbps=_TARGET_GBPS,
        max_active_connections_override=connections,
        retry_config=S3RetryConfig(retry_mode=S3RetryMode.NONE),
        connect_timeout_ms=int(connect_timeout_seconds * 1000),
    )


@functools.cache
def _bootstrap() -> ClientBootstrap:
    """The process's event loops: threads and files that clients share and that no client's end gives back at once."""
    loops = EventLoopGroup(min(_MOST_LOOPS, os.cpu_count() or 1))
    return ClientBootstrap(loops, DefaultHostResolver(loops))


_thread = threading.local()


def keep_thread() -> None:
    """Called by the runtime, on a thread of its own: from now on Python knows that thread.

    Else Python makes a thread state for each single call, and drops it behind: with a stack that the system maps and
    unmaps, and tells the other processors of, that was a tenth of the processor time of small files. A state is kept
    while calls of `PyGILState_Ensure` outnumber those of `PyGILState_Release` (Python's C API, "Non-Python created
    threads").
    """
    if not hasattr(_thread, "is_kept"):
        ctypes.pythonapi.PyGILState_Ensure()
        _thread.is_kept = True


class Signing:
    """How requests are signed now. Credentials that expire are renewed by botocore, on the thread that asks."""

    def __init__(self, credentials: Any, region: str) -> None:
        self._credentials = credentials
        self._region = region
        self._lock = threading.Lock()
        self._frozen: Any = None
        self._config: AwsSigningConfig | None = None

    def config(self) -> AwsSigningConfig:
        """For the next request. Raises what botocore raises where credentials cannot be renewed."""
        frozen = self._credentials.get_frozen_credentials()
        with self._lock:
            if self._config is None or frozen != self._frozen:
                provider = AwsCredentialsProvider.new_static(frozen.access_key, frozen.secret_key, frozen.token)
                self._config = create_default_s3_signing_config(region=self._region, credential_provider=provider)
                self._frozen = frozen
            return self._config


def check_certificate(address: Address, ca_file: str | None, timeout_seconds: float) -> None:
    """Make sure that the host's certificate is trusted: the runtime does not tell that from other TLS failures, and
    takes up to half a minute to say so (its TLS library delays the end of a failed handshake on purpose).

    Raises:
        TransferError: CertificateRefused. Whatever else goes wrong is left for the first request to meet.
    """
    url = urlsplit(address.url)
    context = ssl.create_default_context(cafile=ca_file)
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # set from Python 3.13 on; boto3 and the runtime ask for less
    try:
        with (
            socket.create_connection((url.hostname, url.port or 443), timeout_seconds) as plain,
            context.wrap_socket(plain, server_hostname=url.hostname),
        ):
            pass
    except ssl.SSLCertVerificationError as error:
        raise TransferError("CertificateRefused", visible(f"{address.host}: {error.verify_message}")) from None
    except OSError:
        return


_HEADERS: Final[Mapping[str, str]] = {
    "ContentType": "content-type",
    "StorageClass": "x-amz-storage-class",
    "ServerSideEncryption": "x-amz-server-side-encryption",
    "SSEKMSKeyId": "x-amz-server-side-encryption-aws-kms-key-id",
    "Tagging": "x-amz-tagging",
}


@dataclass(slots=True)
class Response:
    """The answer to one request, as it comes in."""

    headers: dict[str, str] = field(default_factory=dict)

    def take(self, *, status_code: int, headers: Sequence[tuple[str, str]], **_: Any) -> None:
        """Called by the runtime, on its thread."""
        keep_thread()
        self.headers = {name.lower(): value for name, value in headers}

    def answer(self) -> StoredBody:
        """What S3 says. Raises as `require_etag`."""
        return require_etag(
            answer_of(
                etag=self.headers.get("etag"),
                checksums={
                    algorithm: self.headers[algorithm.header]
                    for algorithm in Algorithm
                    if algorithm is not Algorithm.MD5 and algorithm.header in self.headers
                },
                version_id=self.headers.get("x-amz-version-id"),
                encryption=self.headers.get("x-amz-server-side-encryption"),
            )
        )


def put_message(address: Address, request: PutRequest, length: int) -> HttpRequest:
    """A PutObject, still without body and checksums. Raises `TransferError` (ParameterRefused)."""
    parameters = object_parameters(request.content_type, request.settings)
    headers = [(header, str(parameters[name])) for name, header in _HEADERS.items() if name in parameters]
    headers += [(f"x-amz-meta-{name}", value) for name, value in request.settings.metadata.items()]
    if request.if_absent:
        headers.append(("if-none-match", "*"))
    return _message(address, address.path(request.key), headers, length)


def part_message(address: Address, request: PartRequest, length: int) -> HttpRequest:
    """An UploadPart, still without body and checksums."""
    query = f"partNumber={request.number}&uploadId={quote(request.upload_id, safe='~')}"
    return _message(address, f"{address.path(request.key)}?{query}", [], length)


def _message(address: Address, target: str, headers: list[tuple[str, str]], length: int) -> HttpRequest:
    for name, value in headers:
        if not (name.isascii() and value.isascii()):
            raise TransferError("ParameterRefused", f"{visible(name)}: only ASCII characters are allowed")
    common = [("host", address.host), ("content-length", str(length))]
    return HttpRequest("PUT", target, HttpHeaders([*common, *headers]))


def name_checksums(headers: HttpHeaders, digests: Digests) -> None:
    """Have S3 compare these."""
    for algorithm, digest in digests.items():
        headers.set(algorithm.header, to_base64(digest))
        if algorithm is not Algorithm.MD5:
            # As AWS's own clients say it: some servers return a checksum only then.
            headers.set("x-amz-sdk-checksum-algorithm", algorithm.value)


# By the beginning of the name, the more special first. Whatever else has to do with sockets, TLS or HTTP is a
# connection that broke.
_CODES: Final[Mapping[str, str]] = {
    "AWS_IO_SOCKET_TIMEOUT": "ConnectTimeout",
    "AWS_IO_TLS_NEGOTIATION_TIMEOUT": "ConnectTimeout",
    "AWS_IO_SOCKET_CONNECTION_REFUSED": "ConnectionFailed",
    "AWS_IO_SOCKET_NO_ROUTE_TO_HOST": "ConnectionFailed",
    "AWS_IO_SOCKET_NETWORK_DOWN": "ConnectionFailed",
    "AWS_IO_DNS_": "ConnectionFailed",
    "AWS_ERROR_HTTP_CHANNEL_THROUGHPUT_FAILURE": "ReadTimeout",
    "AWS_ERROR_HTTP_RESPONSE_FIRST_BYTE_TIMEOUT": "ReadTimeout",
    "AWS_ERROR_S3_REQUEST_TIMEOUT": "ReadTimeout",
    "AWS_ERROR_S3_REQUEST_TIME_TOO_SKEWED": "RequestTimeTooSkewed",
    "AWS_ERROR_S3_INTERNAL_ERROR": "InternalError",
    "AWS_ERROR_S3_SLOW_DOWN": "SlowDown",
    "AWS_ERROR_HTTP_PROTOCOL_ERROR": "UnreadableAnswer",
    "AWS_ERROR_S3_MISSING_ETAG": "UnreadableAnswer",
    "AWS_ERROR_HTTP_INVALID_HEADER": "ParameterRefused",
    "AWS_ERROR_HTTP_INVALID_PATH": "ParameterRefused",
    "AWS_ERROR_S3_INCORRECT_CONTENT_LENGTH": "IncompleteBody",
    "AWS_ERROR_HTTP_OUTGOING_STREAM_LENGTH_INCORRECT": "IncompleteBody",
    "AWS_AUTH_": "CredentialsUnavailable",
    "AWS_IO_": "ConnectionClosed",
    "AWS_ERROR_HTTP_": "ConnectionClosed",
    "AWS_ERROR_S3_": "ConnectionClosed",
}


def as_boto3_would(error: BaseException) -> BaseException:
    """An exception that `errors.classify` knows, for one of the runtime; any other exception as it is."""
    if isinstance(error, S3ResponseError) and error.status_code is not None:
        return _refusal(int(error.status_code), error.body)
    if isinstance(error, AwsCrtError):
        code = next((code for name, code in _CODES.items() if error.name.startswith(name)), None)
        if code is not None:
            return TransferError(code, f"{visible(error.message)} ({error.name})")
    return error


def _refusal(status: int, body: Any) -> ServiceError | TransferError:
    if 200 <= status < 300:
        return TransferError("UnreadableAnswer", f"S3's answer with status {status} cannot be read")
    try:
        root = ElementTree.fromstring(body or b"")  # noqa: S314 - expat expands no external entities, and bounds others
    except ElementTree.ParseError:
        return ServiceError(str(status), f"S3 answered {status}", status)
    details = {element.tag.rpartition("}")[2]: element.text or "" for element in root}
    code = details.get("Code") or str(status)
    return ServiceError(code, details.get("Message") or f"S3 answered {code}", status)


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

Done = Callable[[StoredBody | BaseException], None]


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

    def put_object(self, request: PutRequest, body: Body) -> StoredBody:
        """Send a whole object."""

        def message(address: Address) -> HttpRequest:
            return put_message(address, request, len(body))

        answer = self._send("PutObject", request.bucket, message, body)
        return answer or self._fallback.put_object(request, body)

    def upload_part(self, request: PartRequest, body: Body) -> StoredBody:
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
    ) -> StoredBody | None:
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
