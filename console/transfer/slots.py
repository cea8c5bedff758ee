"""A counting semaphore whose number can be changed while it is used. Owns nothing else."""

from __future__ import annotations

import threading
from typing import Final

from console.transfer.control import Control

_LOOK_AGAIN_SECONDS: Final = 0.2
"""How often a waiting thread asks its `Control` whether it should stop."""


class Slots:
    """At most `limit` holders at once. Lowering the limit takes nothing away: those over it finish first."""

    def __init__(self, limit: int) -> None:
        self._limit = _valid(limit)
        self._used = 0
        self._changed = threading.Condition()

    def resize(self, limit: int) -> None:
        """Change the limit; waiting threads see it at once."""
        with self._changed:
            self._limit = _valid(limit)
            self._changed.notify_all()

    def acquire(self, control: Control) -> None:
        """Take a slot, waiting for one. Raises what `control.check()` raises; then no slot is held."""
        with self._changed:
            while self._used >= self._limit:
                control.check()
                self._changed.wait(_LOOK_AGAIN_SECONDS)
            self._used += 1

    def release(self) -> None:
        """Give a slot back."""
        with self._changed:
            self._used -= 1
            self._changed.notify()


def _valid(limit: int) -> int:
    if limit < 1:
        raise ValueError(f"a limit of {limit} would let nothing through")
    return limit
