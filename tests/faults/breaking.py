"""What can be broken about one request: the vocabulary of `FaultProxy.plan`."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Answer:
    """An S3 error as XML instead of the server's answer. `early`: before the body is read. `forwarded`: the server
    gets the request all the same, and its answer is thrown away. `date` is what its Date header says.
    """

    status: int
    code: str
    message: str = "a fault of the test's own"
    early: bool = False
    forwarded: bool = False
    date: str = ""

    def bytes(self, method: str) -> bytes:
        """The answer as it goes over the line."""
        body = (
            f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{self.code}</Code>'
            f"<Message>{self.message}</Message><RequestId>1</RequestId></Error>"
        ).encode()
        head = (
            f"HTTP/1.1 {self.status} Fault\r\nContent-Type: application/xml\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n"
        )
        if self.date:
            head += f"Date: {self.date}\r\n"
        head += "\r\n"
        return head.encode() + (b"" if method == "HEAD" else body)


@dataclass(frozen=True)
class Reset:
    """The connection is reset before anything reaches the server."""


@dataclass(frozen=True)
class CutBody:
    """The connection is reset after so many bytes of the body; the server sees the same."""

    after_bytes: int


@dataclass(frozen=True)
class DropAnswer:
    """The server carries the request out; its answer is lost with the connection."""


@dataclass(frozen=True)
class CutAnswer:
    """The answer breaks off after so many bytes."""

    after_bytes: int


@dataclass(frozen=True)
class CorruptBody:
    """One byte of the body is another one when it reaches the server."""

    at: int = 0


@dataclass(frozen=True)
class EditAnswer:
    """The server's answer, head and body, is changed on its way back."""

    edit: Callable[[bytes], bytes]


@dataclass(frozen=True)
class Hold:
    """The request waits until `release` is set; `reached` is set when it has arrived."""

    reached: threading.Event = field(default_factory=threading.Event)
    release: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True)
class Do:
    """Something happens when the request has arrived with its whole body, before the server gets it."""

    action: Callable[[], object]


@dataclass(frozen=True)
class Delay:
    """The request reaches the server so much later."""

    seconds: float


Fault = Answer | Reset | CutBody | DropAnswer | CutAnswer | CorruptBody | EditAnswer | Hold | Do | Delay
