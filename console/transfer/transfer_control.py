"""How a runner stops one transfer: the `Control` that it hands to it.

Owns the reasons and the waking of a thread that waits. Not here: what becomes of the document then (`settling`).
"""

from __future__ import annotations

import threading
from enum import Enum, auto

from console.transfer.errors import Stopped


class StopReason(Enum):
    """Why a transfer must stop. A later reason does not replace one that weighs more (LOST, then LEAVING)."""

    REQUESTED = auto()
    LEAVING = auto()
    LOST = auto()


class StopOrdered(Stopped):
    """Raised in the transfer's threads once it must stop."""

    def __init__(self, reason: StopReason) -> None:
        super().__init__(reason.name.lower())
        self.reason = reason


class TransferControl:
    """A `Control` that anybody may stop, once. Thread-safe."""

    def __init__(self) -> None:
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._reason: StopReason | None = None

    @property
    def reason(self) -> StopReason | None:
        """Why it must stop, or None."""
        return self._reason

    def stop(self, reason: StopReason) -> None:
        """Let `check` and `wait` raise from now on."""
        with self._lock:
            if self._reason is None or reason.value > self._reason.value:
                self._reason = reason
        self._stopped.set()

    def check(self) -> None:
        """Raises `StopOrdered` when it must stop."""
        if self._stopped.is_set():
            self._raise()

    def wait(self, seconds: float) -> None:
        """Sleep; raises `StopOrdered` at once when it must stop."""
        if self._stopped.wait(max(0.0, seconds)):
            self._raise()

    def _raise(self) -> None:
        if self._reason is not None:
            raise StopOrdered(self._reason)
