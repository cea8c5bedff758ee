"""An HTTP proxy in front of a real S3 server that breaks what it is told to break.

    with FaultProxy("http://127.0.0.1:9000") as proxy:
        proxy.plan("UploadPart", CutBody(100_000), times=2)
        ...  # talk to proxy.url
        assert proxy.count("UploadPart") == 5

Owns carrying out the faults (`breaking` names them) and the record of requests. One request per connection, a thread
for each; bodies pass through in pieces. The Host header passes unchanged, so signatures stay valid. Parts can be made
to wait (`turnstile`), so that what a test does in the middle of an upload is in its middle however slow the machine is.
"""

from __future__ import annotations

import socket
import socketserver
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Self
from urllib.parse import parse_qs, unquote, urlsplit

from .breaking import Answer, CorruptBody, CutAnswer, CutBody, Delay, Do, DropAnswer, EditAnswer, Fault, Hold, Reset
from .turnstile import Turnstile

__all__ = [
    "Answer",
    "CorruptBody",
    "CutAnswer",
    "CutBody",
    "Delay",
    "Do",
    "DropAnswer",
    "EditAnswer",
    "Fault",
    "FaultProxy",
    "Hold",
    "Request",
    "Reset",
    "Turnstile",
]

PIECE: Final = 64 * 1024


@dataclass
class Request:
    """A request as the proxy saw it. `body_bytes` of its body arrived, `passed_bytes` went on to the server."""

    operation: str
    method: str
    key: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body_bytes: int = 0
    passed_bytes: int = 0
    fault: Fault | None = None


@dataclass
class _Planned:
    operation: str
    fault: Fault
    left: int
    skip: int
    matches: Callable[[Request], bool]


class _Broken(Exception):
    """The connection is to end as if it broke."""


class FaultProxy:
    """A proxy to the S3 server at `upstream`. A context manager; `url` is where clients go."""

    def __init__(self, upstream: str) -> None:
        parts = urlsplit(upstream)
        self._upstream = (parts.hostname or "127.0.0.1", parts.port or 80)
        self._lock = threading.Lock()
        self._planned: list[_Planned] = []
        self._closing = threading.Event()
        self.requests: list[Request] = []
        self.turnstile = Turnstile()
        outer = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                outer._serve(self.request)

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address = True
            daemon_threads = True
            block_on_close = False
            request_queue_size = 128

        self._server = Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self.turnstile.close()
        for planned in self._planned:
            if isinstance(planned.fault, Hold):
                planned.fault.release.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def plan(
        self,
        operation: str,
        fault: Fault,
        *,
        times: int = 1,
        skip: int = 0,
        when: Callable[[Request], bool] = lambda _: True,
    ) -> None:
        """The next `times` requests of that operation (`*` for any) meet `fault`, after `skip` that pass."""
        with self._lock:
            self._planned.append(_Planned(operation, fault, times, skip, when))

    def heal(self) -> None:
        """Forget all faults that are still planned."""
        with self._lock:
            self._planned.clear()

    def count(self, operation: str) -> int:
        """How many requests of that operation arrived."""
        return sum(request.operation == operation for request in self.requests)

    @property
    def body_bytes(self) -> int:
        """Bytes of all PutObject and UploadPart bodies that arrived."""
        return sum(r.body_bytes for r in self.requests if r.operation in ("PutObject", "UploadPart"))

    @property
    def passed_bytes(self) -> int:
        """Bytes of all PutObject and UploadPart bodies that went on to the server."""
        return sum(r.passed_bytes for r in self.requests if r.operation in ("PutObject", "UploadPart"))

    def _serve(self, client: socket.socket) -> None:
        client.settimeout(120)
        try:
            head = _read_head(client)
            if head is None:
                return
            lines, rest = head
            request = _parse(lines)
            self._choose_fault(request)
            self._pass_on(client, lines, rest, request)
            _end(client)
        except _Broken:
            _reset(client)
        except OSError:
            pass  # the client or the server went away: both ends are closed behind us

    def _choose_fault(self, request: Request) -> None:
        with self._lock:
            self.requests.append(request)
            for planned in self._planned:
                if planned.operation not in ("*", request.operation) or not planned.matches(request):
                    continue
                if planned.skip:
                    planned.skip -= 1
                elif planned.left:
                    planned.left -= 1
                    request.fault = planned.fault
                    return

    def _pass_on(self, client: socket.socket, lines: list[bytes], rest: bytes, request: Request) -> None:
        fault = request.fault
        if request.operation == "UploadPart" and not self.turnstile.wait(request.key, client):
            raise _Broken
        if isinstance(fault, Reset):
            raise _Broken
        if isinstance(fault, Hold):
            fault.reached.set()
            fault.release.wait(120)
        if isinstance(fault, Delay):
            self._closing.wait(fault.seconds)
        if isinstance(fault, Answer) and fault.early:
            client.sendall(fault.bytes(request.method))
            return
        body = _body(client, request, rest)
        if isinstance(fault, Answer) and not fault.forwarded:
            for _ in body:
                pass
            client.sendall(fault.bytes(request.method))
            return
        if isinstance(fault, Do):
            pieces = list(body)
            fault.action()
            body = iter(pieces)
        with socket.create_connection(self._upstream, timeout=120) as server:
            server.sendall(_head_for_server(lines))
            _send_body(server, body, request)
            if isinstance(fault, Answer | DropAnswer):
                _drain(server)
                if isinstance(fault, DropAnswer):
                    raise _Broken
                client.sendall(fault.bytes(request.method))
                return
            _send_answer(server, client, fault)


def _read_head(client: socket.socket) -> tuple[list[bytes], bytes] | None:
    data = b""
    while b"\r\n\r\n" not in data:
        more = client.recv(PIECE)
        if not more:
            return None
        data += more
    head, _, rest = data.partition(b"\r\n\r\n")
    return head.split(b"\r\n"), rest


def _parse(lines: list[bytes]) -> Request:
    method, target, _ = lines[0].decode("latin-1").split(" ", 2)
    headers = {
        name.strip().lower(): value.strip()
        for name, _, value in (x.decode("latin-1").partition(":") for x in lines[1:])
    }
    parts = urlsplit(target)
    query = {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
    key = unquote(parts.path).lstrip("/").partition("/")[2]
    return Request(_operation(method, key, query), method, key, query, headers)


def _operation(method: str, key: str, query: Mapping[str, str]) -> str:
    if not key:
        listing = "ListMultipartUploads" if "uploads" in query else "ListObjects"
        return {"HEAD": "HeadBucket", "PUT": "CreateBucket", "GET": listing}.get(method, method)
    if "uploadId" in query:
        return {
            "PUT": "UploadPart",
            "POST": "CompleteMultipartUpload",
            "DELETE": "AbortMultipartUpload",
            "GET": "ListParts",
        }[method]
    if method == "POST" and "uploads" in query:
        return "CreateMultipartUpload"
    return {"PUT": "PutObject", "GET": "GetObject", "HEAD": "HeadObject", "DELETE": "DeleteObject"}.get(method, method)


def _body(client: socket.socket, request: Request, rest: bytes) -> Iterator[bytes]:
    if request.headers.get("expect", "").lower() == "100-continue":
        client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
    left = int(request.headers.get("content-length", "0"))
    while left:
        piece = rest or client.recv(min(PIECE, left))
        rest = b""
        if not piece:
            raise _Broken
        request.body_bytes += len(piece)
        left -= len(piece)
        yield piece


def _head_for_server(lines: list[bytes]) -> bytes:
    kept = [line for line in lines if not line.lower().startswith((b"expect:", b"connection:"))]
    return b"\r\n".join([*kept, b"Connection: close", b"", b""])


def _send_body(server: socket.socket, body: Iterator[bytes], request: Request) -> None:
    fault = request.fault
    for piece in body:
        passed = request.passed_bytes
        if isinstance(fault, CorruptBody) and passed <= fault.at < passed + len(piece):
            damaged = bytearray(piece)
            damaged[fault.at - passed] ^= 0xFF
            piece = bytes(damaged)
        if isinstance(fault, CutBody) and passed + len(piece) >= fault.after_bytes:
            server.sendall(piece[: fault.after_bytes - passed])
            request.passed_bytes = fault.after_bytes
            raise _Broken
        try:
            server.sendall(piece)
        except OSError:
            return  # the server has answered before the end of the body, and closed
        request.passed_bytes += len(piece)
    if isinstance(fault, CutBody):
        raise _Broken


def _drain(server: socket.socket) -> bytes:
    return b"".join(iter(lambda: server.recv(PIECE), b""))


def _send_answer(server: socket.socket, client: socket.socket, fault: Fault | None) -> None:
    if isinstance(fault, EditAnswer):
        client.sendall(fault.edit(_drain(server)))
    elif isinstance(fault, CutAnswer):
        client.sendall(_drain(server)[: fault.after_bytes])
    else:
        while piece := server.recv(PIECE):
            client.sendall(piece)


def _end(client: socket.socket) -> None:
    """Close in good order: a client that is still sending must not see its answer lost to a reset."""
    client.shutdown(socket.SHUT_WR)
    client.settimeout(5)
    while client.recv(PIECE):
        pass


def _reset(client: socket.socket) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
