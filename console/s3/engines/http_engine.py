"""Small objects over HTTP connections of our own: one PutObject takes a twentieth of the processor time that it takes
through boto3.

Owns connections, requests and answers, and no decision: there are no redirects, proxies and retries here. What needs
those boto3 does again, by its rules.
"""

from __future__ import annotations

import socket
import ssl
import struct
import threading
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Final
from urllib.parse import urlsplit

from console.capacity import shortage
from console.formatting import visible
from console.s3.address import Address
from console.s3.checksums import Algorithm, Digests, to_base64
from console.s3.client import object_parameters
from console.s3.engines.boto3_engine import answer_of, require_etag
from console.s3.engines.engine import ObjectSettings, PutRequest, StoredBody
from console.s3.engines.signature import Signer
from console.s3.operations import OWNER, StoredObject
from console.s3.transfer_errors import TransferError, classify, refusal

_CUSTOMER_ALGORITHM: Final = "x-amz-server-side-encryption-customer-algorithm"
_HEADERS: Final[Mapping[str, str]] = {
    "ContentType": "content-type",
    "StorageClass": "x-amz-storage-class",
    "ServerSideEncryption": "x-amz-server-side-encryption",
    "SSEKMSKeyId": "x-amz-server-side-encryption-aws-kms-key-id",
    "SSEKMSEncryptionContext": "x-amz-server-side-encryption-context",
    "Tagging": "x-amz-tagging",
    "CacheControl": "cache-control",
    "ContentDisposition": "content-disposition",
    "ContentEncoding": "content-encoding",
    "ContentLanguage": "content-language",
    "ACL": "x-amz-acl",
    "ObjectLockLegalHoldStatus": "x-amz-object-lock-legal-hold",
    "ObjectLockMode": "x-amz-object-lock-mode",
    "ObjectLockRetainUntilDate": "x-amz-object-lock-retain-until-date",
    "SSECustomerAlgorithm": "x-amz-server-side-encryption-customer-algorithm",
    "SSECustomerKey": "x-amz-server-side-encryption-customer-key",
    "SSECustomerKeyMD5": "x-amz-server-side-encryption-customer-key-md5",
    "RequestPayer": "x-amz-request-payer",
    "ExpectedBucketOwner": "x-amz-expected-bucket-owner",
}
_CHECKSUM_HEADERS: Final = {algorithm: algorithm.header for algorithm in Algorithm}
_MOST_OF_A_HEAD: Final = 64 * 1024
_MOST_OF_A_BODY: Final = 64 * 1024
"""Of an answer: a longer one is not read, and its connection not used again."""
_IN_ONE_PIECE: Final = 64 * 1024
Cancel = Callable[[], None]


class HttpEngine:
    """Sends small objects, and looks at them; thread-safe. As many connections as there are threads that send, kept
    for the next one."""

    def __init__(
        self,
        address_of: Callable[[str], Address],
        signer: Signer,
        *,
        ca_file: str | None,
        connect_timeout_seconds: float,
        read_timeout_seconds: float,
        common: Mapping[str, str] | None = None,
    ) -> None:
        """`address_of` says where a bucket is; `common` goes with every request, in
        boto3's names;
        `ca_file`: a file or folder of certificates to trust, for TLS."""
        self._address_of = address_of
        self._signer = signer
        self._ca_file = ca_file
        self._common = {_HEADERS[name]: value for name, value in (common or {}).items()}
        self._connect_timeout = connect_timeout_seconds
        self._read_timeout = read_timeout_seconds
        self._tls: ssl.SSLContext | None = None
        self._lock = threading.Lock()
        self._idle: dict[Address, deque[_Connection]] = {}
        self._is_closed = False
        self._of_settings: tuple[ObjectSettings, dict[str, dict[str, str]]] = (ObjectSettings(), {})
        """The headers that tell of the settings that came last, by the type of content."""

    def put(
        self,
        request: PutRequest,
        content: bytes,
        digests: Digests,
        on_the_way: Callable[[Cancel], None],
        metadata: Mapping[str, str] = MappingProxyType({}),
    ) -> StoredBody:
        """Send a whole object; S3 compares it with `digests`. `on_the_way` gets what breaks the request off, and does
        nothing any more once the request has ended: by then the connection may carry another one. `metadata` is told
        beside that of the settings, which may be the same for many objects.

        Raises:
            TransferError: anything but an answer that says it is stored, as `transfer_errors.classify` sorts it.
            Exception: botocore's, where there are no credentials.
        """
        address = self._address_of(request.bucket)
        head = self._put_head(address, request, len(content), digests, metadata)
        answer = self._exchange(address, head, content, on_the_way)
        if answer.status != 200:
            raise classify(refusal(answer.status, answer.body, "PutObject"))
        stored = require_etag(_stored(answer.headers))
        if _CUSTOMER_ALGORITHM in self._common:
            stored.require_customer_key()
        return stored

    def head(self, bucket: str, key: str, on_the_way: Callable[[Cancel], None]) -> StoredObject | None:
        """Look at an object; None for any answer but that it is there. `on_the_way` as in `put`. Raises as `put`."""
        address = self._address_of(bucket)
        head = self._signed_head("HEAD", address, key, {**self._common, "x-amz-checksum-mode": "ENABLED"}, "")
        answer = self._exchange(address, head, b"", on_the_way)
        length = answer.headers.get("content-length", "")
        if answer.status != 200 or not length.isdecimal():
            return None
        return StoredObject(int(length), _stored(answer.headers), answer.headers.get(f"x-amz-meta-{OWNER}"))

    def close(self) -> None:
        """End idle connections; those in use end with their request."""
        with self._lock:
            self._is_closed = True
            idle = [connection for connections in self._idle.values() for connection in connections]
            self._idle.clear()
        for connection in idle:
            connection.close()

    def _exchange(
        self, address: Address, head: bytes, content: bytes, on_the_way: Callable[[Cancel], None]
    ) -> _HttpAnswer:
        """Send a request over a connection that is kept, or a new one, and wait for its answer."""
        connection = self._take(address)
        is_used = connection is not None
        connection = connection or self._connect(address)
        while True:
            on_the_way(connection.begin())
            try:
                answer = connection.exchange(head, content)
                break
            except _Silent:
                connection.close()
                if not is_used or connection.is_broken_off:
                    raise TransferError("ConnectionClosed", "S3 closed the connection") from None
                is_used = False  # it was closed while nobody used it
            except BaseException:
                connection.close()
                raise
            finally:
                connection.end()
            connection = self._connect(address)
        self._give_back(address, connection)
        return answer

    def _put_head(
        self, address: Address, request: PutRequest, length: int, digests: Digests, metadata: Mapping[str, str]
    ) -> bytes:
        headers = self._headers_of(request.content_type, request.settings).copy()
        for name, value in metadata.items():
            headers[f"x-amz-meta-{name.lower()}"] = value
        for algorithm, digest in digests.items():
            headers[_CHECKSUM_HEADERS[algorithm]] = to_base64(digest)
            if algorithm is not Algorithm.MD5:
                # As AWS's own clients say it: some servers return a checksum only then.
                headers["x-amz-sdk-checksum-algorithm"] = algorithm.value
        return self._signed_head("PUT", address, request.key, headers, f"content-length: {length}\r\n")

    def _headers_of(self, content_type: str, settings: ObjectSettings) -> dict[str, str]:
        """What is the same for all objects of a type that are kept alike: made once for many small files."""
        known, by_type = self._of_settings
        if known is not settings:
            by_type = {}
        if (headers := by_type.get(content_type)) is None:
            parameters = object_parameters(content_type, settings)
            headers = {header: _text(parameters[name]) for name, header in _HEADERS.items() if name in parameters}
            headers |= self._common
            headers |= {f"x-amz-meta-{name.lower()}": value for name, value in settings.metadata.items()}
            if not settings.object_lock_days:  # which depends on the time
                by_type[content_type] = headers
                self._of_settings = (settings, by_type)
        return headers

    def _signed_head(self, method: str, address: Address, key: str, headers: dict[str, str], unsigned: str) -> bytes:
        told = "".join(headers.values())
        if not (told.isascii() and told.isprintable() and "".join(headers).isascii()):
            wrong = next(
                name
                for name, value in headers.items()
                if not (value.isascii() and value.isprintable() and name.isascii())
            )
            raise TransferError("ParameterRefused", f"{wrong}: only ASCII characters are allowed")
        path = address.path(key)
        headers["host"] = address.host
        lines = f"{method} {path} HTTP/1.1\r\n"
        for name, value in self._signer.sign(method, path, headers).items():
            lines += f"{name}: {value}\r\n"
        return f"{lines}{unsigned}\r\n".encode("ascii")

    def _take(self, address: Address) -> _Connection | None:
        with self._lock:
            idle = self._idle.get(address)
            return idle.pop() if idle else None

    def _give_back(self, address: Address, connection: _Connection) -> None:
        with self._lock:
            if connection.is_open and not self._is_closed:
                self._idle.setdefault(address, deque()).append(connection)
                return
        connection.close()

    def _connect(self, address: Address) -> _Connection:
        url = urlsplit(address.url)
        host, port = url.hostname or "", url.port or (443 if address.is_tls else 80)
        try:
            plain = socket.create_connection((host, port), self._connect_timeout)
            try:
                plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                plain.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                used = self._context().wrap_socket(plain, server_hostname=host) if address.is_tls else plain
                if address.is_tls:
                    used.settimeout(self._read_timeout)
                else:
                    _wait_at_most(used, self._read_timeout)
            except BaseException:
                plain.close()
                raise
        except TimeoutError:
            raise TransferError("ConnectTimeout", f"{address.host} does not answer") from None
        except ssl.SSLCertVerificationError as error:
            raise TransferError("CertificateRefused", visible(f"{address.host}: {error.verify_message}")) from None
        except OSError as error:
            if lacking := shortage(error):
                raise TransferError("OutOfResources", lacking) from None
            raise TransferError("ConnectionFailed", f"{address.host}: {error}") from None
        return _Connection(used)

    def _context(self) -> ssl.SSLContext:
        """As urllib3, and so boto3, sets it up."""
        with self._lock:
            if self._tls is None:
                from urllib3.util.ssl_ import create_urllib3_context  # 20 ms that plain HTTP needs not wait for

                context = create_urllib3_context(cert_reqs=ssl.CERT_REQUIRED)
                context.check_hostname = True
                if self._ca_file is not None and Path(self._ca_file).is_dir():
                    context.load_verify_locations(capath=self._ca_file)
                else:
                    context.load_verify_locations(cafile=self._ca_file)
                self._tls = context
            return self._tls


def _wait_at_most(used: socket.socket, seconds: float) -> None:
    """A timeout that the system keeps: for one of its own Python asks before each piece whether the socket is ready,
    and gives up its lock for that once more. What took too long raises BlockingIOError."""
    used.settimeout(None)
    length = struct.pack("@ll", int(seconds), max(1, int(seconds % 1 * 1_000_000)))
    used.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, length)
    used.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, length)


_TOOK_TOO_LONG: Final = (TimeoutError, BlockingIOError)


def _stored(headers: Mapping[str, str]) -> StoredBody:
    """What the headers of an answer say of the object."""
    return answer_of(
        etag=headers.get("etag"),
        checksums={
            algorithm: headers[header]
            for algorithm, header in _CHECKSUM_HEADERS.items()
            if algorithm is not Algorithm.MD5 and header in headers
        },
        version_id=headers.get("x-amz-version-id"),
        encryption=headers.get("x-amz-server-side-encryption"),
        by_customer_key=_CUSTOMER_ALGORITHM in headers,
    )


def _text(value: object) -> str:
    return f"{value:%Y-%m-%dT%H:%M:%SZ}" if isinstance(value, datetime) else str(value)


@dataclass(frozen=True, slots=True)
class _HttpAnswer:
    """`headers` with names in small letters."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class _Silent(Exception):
    """The connection was closed before anything of an answer came."""


class _Connection:
    """One connection, for one request after the other."""

    def __init__(self, used: socket.socket) -> None:
        self._socket = used
        self._received = b""
        self._lock = threading.Lock()
        self._number = 0  # of the request that is under way
        self.is_open = True
        self.is_broken_off = False

    def begin(self) -> Cancel:
        """The next request is under way. Gives what breaks it off from another thread; that does nothing once the
        request has ended, and while it ends."""
        return partial(self._break_off, self._number)

    def end(self) -> None:
        """The request has ended."""
        with self._lock:
            self._number += 1

    def exchange(self, head: bytes, content: bytes) -> _HttpAnswer:
        """Send, and wait for the answer.

        Raises:
            TransferError: the connection broke, or the answer cannot be read. _Silent: nothing came of one.
        """
        self._received = b""
        try:
            try:
                if len(content) <= _IN_ONE_PIECE:
                    self._socket.sendall(head + content)
                else:
                    self._socket.sendall(head)
                    self._socket.sendall(content)
            except _TOOK_TOO_LONG:
                raise TransferError("WriteTimeout", "S3 takes no more data") from None
            except OSError:
                pass  # it may have been refused before all was sent: the answer says why
            status, headers = self._head_of_answer()
            while 100 <= status < 200:
                status, headers = self._head_of_answer()
            body = b"" if head.startswith(b"HEAD ") else self._body_of_answer(status, headers)
        except _TOOK_TOO_LONG:
            raise TransferError("ReadTimeout", "S3 took too long to answer") from None
        except (OSError, ValueError) as error:
            if not self._received:
                raise _Silent from None
            raise TransferError("UnreadableAnswer", str(error)) from None
        return _HttpAnswer(status, headers, body)

    def _break_off(self, number: int) -> None:
        with self._lock:
            if number != self._number:
                return
            self.is_open = False
            self.is_broken_off = True
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.is_open = False
        self._socket.close()

    def _more(self) -> None:
        data = self._socket.recv(_MOST_OF_A_HEAD)
        if not data:
            raise ConnectionError("the connection was closed")
        self._received += data

    def _head_of_answer(self) -> tuple[int, dict[str, str]]:
        while (end := self._received.find(b"\r\n\r\n")) < 0:
            if len(self._received) > _MOST_OF_A_HEAD:
                raise ValueError("the answer has no end")
            self._more()
        first, *lines = self._received[:end].decode("latin-1").split("\r\n")
        self._received = self._received[end + 4 :]
        version, status, *_ = first.split(" ", 2)
        if version not in ("HTTP/1.1", "HTTP/1.0"):
            raise ValueError(f"no HTTP answer: {first[:40]}")
        headers = {}
        for line in lines:
            name, colon, value = line.partition(":")
            if not colon:
                raise ValueError("the answer's head cannot be read")
            headers[name.lower()] = value.strip()
        if version == "HTTP/1.0" or headers.get("connection", "").lower() == "close":
            self.is_open = False
        return int(status), headers

    def _body_of_answer(self, status: int, headers: Mapping[str, str]) -> bytes:
        """S3's answer to a PutObject has none but where it refuses. Where its end is not told, or is far away, it is
        what comes until the connection ends, and one that succeeded is not waited for."""
        if status in (204, 304):
            return b""
        length = headers.get("content-length", "")
        if "transfer-encoding" not in headers and length.isdecimal() and int(length) <= _MOST_OF_A_BODY:
            while len(self._received) < int(length):
                self._more()
            if len(self._received) > int(length):
                self.is_open = False
            return self._received[: int(length)]
        self.is_open = False
        with suppress(OSError):
            while status >= 300 and len(self._received) < _MOST_OF_A_BODY and b"</Error>" not in self._received:
                self._more()
        start = max(0, self._received.find(b"<"))
        return self._received[start : self._received.rfind(b">") + 1]
