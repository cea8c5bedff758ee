"""Lets so many parts of each upload through to S3, and the others wait.

Owns who waits and who passes. Not here: the requests (`proxy`).
"""

from __future__ import annotations

import select
import socket
import threading
from collections import Counter
from typing import Final

_LOOK_AGAIN_SECONDS: Final = 0.02
_GONE: Final = select.POLLRDHUP | select.POLLHUP | select.POLLERR


class Turnstile:
    """Open for all, until `let` says how many parts of each key may pass. Every part that passes counts."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._each: int | None = None
        self._passed: Counter[str] = Counter()
        self._is_closed = False

    def let(self, each: int | None) -> None:
        """So many parts of each key may pass in all, counted from the first one; None: any number."""
        with self._changed:
            self._each = each
            self._changed.notify_all()

    def close(self) -> None:
        """Whoever still waits is sent away."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def wait(self, key: str, client: socket.socket) -> bool:
        """Wait for a turn. False: the client has gone away meanwhile, or all is over."""
        with self._changed:
            while self._each is not None and self._passed[key] >= self._each:
                self._changed.wait(_LOOK_AGAIN_SECONDS)
                if self._is_closed or _has_gone(client):
                    return False
            # Also where the turn came just now: what a killed process left half said must not pass behind its end.
            if _has_gone(client):
                return False
            self._passed[key] += 1
            return True


def _has_gone(client: socket.socket) -> bool:
    """Whether the other end has closed, however much of its body nobody has read."""
    poll = select.poll()
    poll.register(client, _GONE)
    return bool(poll.poll(0))
