"""A TCP connection to a real server that can be cut, closed to newcomers, or frozen.

    with Gate("mongodb://user:password@127.0.0.1:27017/?replicaSet=rs0") as gate:
        gate.cut()     # connections break, new ones are refused
        gate.freeze()  # connections stay, nothing passes: a network that swallows packets
        gate.mend()

Owns the connections; knows nothing of what passes.
"""

from __future__ import annotations

import select
import socket
import struct
import threading
from contextlib import suppress
from typing import Final, Self
from urllib.parse import urlsplit

_LOOK_AGAIN_SECONDS: Final = 0.05
_PIECE: Final = 256 * 1024


class Gate:
    """A port before the server of a connection string. A context manager; `uri` is where clients go."""

    def __init__(self, server: str) -> None:
        parts = urlsplit(server)
        self._server = (parts.hostname, parts.port)
        self._closing = threading.Event()
        self._open = threading.Event()
        self._open.set()
        self._lock = threading.Lock()
        self._pairs: set[tuple[socket.socket, socket.socket]] = set()
        self._listener: socket.socket | None = self._listen(0)
        self._port = self._listener.getsockname()[1]
        user, _, _ = parts.netloc.rpartition("@")
        self.uri = f"mongodb://{user}@127.0.0.1:{self._port}/?directConnection=true"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self.cut()

    def cut(self) -> None:
        """Every connection is reset; new ones are refused."""
        with self._lock:
            listener, self._listener = self._listener, None
            pairs, self._pairs = self._pairs, set()
        if listener is not None:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        for pair in pairs:
            for side in pair:
                _reset(side)
        self._open.set()

    def freeze(self) -> None:
        """Nothing passes any more, and nobody is told."""
        self._open.clear()

    def mend(self) -> None:
        """All is well again."""
        if self._listener is None:
            self._listener = self._listen(self._port)
        self._open.set()

    def _listen(self, port: int) -> socket.socket:
        listener = socket.create_server(("127.0.0.1", port), backlog=128)
        threading.Thread(target=self._accept, args=(listener,), name="gate", daemon=True).start()
        return listener

    def _accept(self, listener: socket.socket) -> None:
        while not self._closing.is_set():
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._pass, args=(client,), name="gate-connection", daemon=True).start()

    def _pass(self, client: socket.socket) -> None:
        try:
            self._wait_open()
            server = socket.create_connection(self._server, timeout=10)
        except OSError:
            _reset(client)
            return
        pair = (client, server)
        with self._lock:
            self._pairs.add(pair)
            is_cut = self._listener is None
        try:
            while not is_cut and not self._closing.is_set():
                readable, _, _ = select.select(pair, [], [], _LOOK_AGAIN_SECONDS)
                self._wait_open()
                for side in readable:
                    piece = side.recv(_PIECE)
                    if not piece:
                        return
                    (server if side is client else client).sendall(piece)
        except (OSError, ValueError):  # the other end, or `cut`, has closed it
            return
        finally:
            with self._lock:
                self._pairs.discard(pair)
            client.close()
            server.close()

    def _wait_open(self) -> None:
        while not self._open.wait(_LOOK_AGAIN_SECONDS):
            if self._closing.is_set():
                raise OSError


def _reset(side: socket.socket) -> None:
    with suppress(OSError):
        side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        side.shutdown(socket.SHUT_RDWR)
    side.close()
