"""A line between a program and a server on which everything takes its time.

    with SlowLine(27017) as line:
        line.seconds = 1.0
        ...  # talk to 127.0.0.1:line.port

Owns the line. Bytes arrive unchanged and in order, `seconds` after they were sent; the pieces do not wait for each
other. A `stopped` line takes what is sent and hands on nothing until it goes on, as a server does that was stopped.
"""

from __future__ import annotations

import queue
import socket
import threading
import time
from contextlib import suppress
from types import TracebackType
from typing import Self


class SlowLine:
    """Listens on a free port of loopback. A context manager."""

    def __init__(self, port: int) -> None:
        self.seconds = 0.0
        self.goes = threading.Event()
        self.goes.set()
        self._upstream = ("127.0.0.1", port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._open: list[socket.socket] = [self._listener]

    def __enter__(self) -> Self:
        threading.Thread(target=self._listen, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.goes.set()
        for each in self._open:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _listen(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(self._upstream)
                self._open += [near, far]
                for source, target in ((near, far), (far, near)):
                    pieces: queue.Queue[tuple[float, bytes]] = queue.Queue()
                    threading.Thread(target=self._take, args=(source, pieces), daemon=True).start()
                    threading.Thread(target=self._hand_on, args=(target, pieces), daemon=True).start()

    def _take(self, source: socket.socket, pieces: queue.Queue[tuple[float, bytes]]) -> None:
        data = b" "
        while data:
            try:
                data = source.recv(65536)
            except OSError:
                data = b""
            pieces.put((time.monotonic() + self.seconds, data))

    def _hand_on(self, target: socket.socket, pieces: queue.Queue[tuple[float, bytes]]) -> None:
        with suppress(OSError):
            while True:
                due, data = pieces.get()
                time.sleep(max(0.0, due - time.monotonic()))
                self.goes.wait()
                if not data:
                    target.shutdown(socket.SHUT_WR)
                    return
                target.sendall(data)
