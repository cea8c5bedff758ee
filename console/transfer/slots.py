"""A counting semaphore whose number can be changed while it is used. Owns nothing else."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
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

    @property
    def limit(self) -> int:
        """How many may hold a slot at once."""
        return self._limit

    @property
    def used(self) -> int:
        """How many hold one now."""
        return self._used

    def resize(self, limit: int) -> None:
        """Change the limit; waiting threads see it at once."""
        with self._changed:
            self._limit = _valid(limit)
            self._changed.notify_all()

    def try_acquire(self) -> bool:
        """Take a slot if one is free now."""
        with self._changed:
            if self._used >= self._limit:
                return False
            self._used += 1
            return True

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

    @contextmanager
    def hold(self, control: Control) -> Iterator[None]:
        """A slot for the length of a `with` block."""
        self.acquire(control)
        try:
            yield
        finally:
            self.release()


def _valid(limit: int) -> int:
    if limit < 1:
        raise ValueError(f"a limit of {limit} would let nothing through")
    return limit
