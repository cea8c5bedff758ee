"""How many requests with bodies are under way at once: a semaphore whose number is the controller's (`concurrency`).

Owns the lock and the clock, and which errors tell the controller to do less.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final, TypeVar

from console.choices import MOST_PARALLEL
from console.transfer.concurrency import ConcurrencyController
from console.transfer.control import Control
from console.transfer.errors import TransferError
from console.transfer.verdicts import asks_for_less

T = TypeVar("T")

_LOOK_AGAIN_SECONDS: Final = 0.2
"""How often a waiting thread asks its `Control` whether it should stop."""


class Slots:
    """At most `limit` holders at once. Lowering it takes nothing away: those over it finish first. Thread-safe."""

    def __init__(self, first: int, most: int = MOST_PARALLEL, *, clock: Callable[[], float] = time.monotonic) -> None:
        """It begins with `first`; `most` is what memory allows, however fast more would be."""
        self._controller = ConcurrencyController(first=first, most=most)
        self._clock = clock
        self._used = 0
        self._under_way = 0
        self._changed = threading.Condition()

    @property
    def limit(self) -> int:
        """How many may hold one now."""
        return self._controller.limit

    def resize(self, limit: int | None) -> None:
        """A person's number, None for what turns out best; waiting threads see it at once."""
        with self._changed:
            self._controller.set_limit(limit)
            self._changed.notify_all()

    def acquire(self, control: Control) -> None:
        """Take a slot, waiting for one. Raises what `control.check()` raises; then no slot is held."""
        with self._changed:
            while self._used >= self._controller.limit:
                control.check()
                self._changed.wait(_LOOK_AGAIN_SECONDS)
            self._used += 1

    def release(self) -> None:
        """Give a slot back."""
        with self._changed:
            self._used -= 1
            self._changed.notify()

    def send(self, operation: Callable[[], T], amount: int) -> T:
        """Run one request with a body of `amount` bytes, and learn from how it went. Raises what it raises."""
        with self._changed:
            self._under_way += 1
            in_flight, began_at = self._under_way, self._clock()
        try:
            result = operation()
        except TransferError as error:
            if asks_for_less(error.code):
                self.slowed_down(began_at)
            raise
        else:
            self.finished(began_at, amount, in_flight)
            return result
        finally:
            with self._changed:
                self._under_way -= 1

    def finished(self, began_at: float, amount: int, in_flight: int) -> None:
        """A request has done its work."""
        with self._changed:
            before = self._controller.limit
            self._controller.finished(began_at=began_at, now=self._clock(), amount=amount, in_flight=in_flight)
            if self._controller.limit > before:
                self._changed.notify_all()

    def slowed_down(self, began_at: float) -> None:
        """S3 asked for fewer requests, or did not answer one in time."""
        with self._changed:
            self._controller.slowed_down(began_at=began_at, now=self._clock())

    def ran_short(self) -> None:
        """This machine has no descriptor, thread or memory for one more."""
        with self._changed:
            in_flight = max(self._used, self._under_way)
            self._controller.ran_short(in_flight=in_flight, now=self._clock())
