"""One bandwidth limit for all uploads of the process.

Owns the pacing. Every chunk takes a place in one queue of bytes that drains at the limit's rate, and waits until
the queue has drained past it: first come, first served, so uploads share the limit by the chunk, however many
threads each has. Waiting goes through `Control.wait`, so a pause interrupts it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

from console.s3.control import Control

_LONGEST_WAIT_SECONDS: Final = 0.25
"""After this a waiting thread looks again, as the limit may have changed."""
_SHORTEST_WAIT_SECONDS: Final = 1e-6
"""Less than this is the rounding of floating point, not a wait."""
_BURST_SECONDS: Final = 0.1
"""What an idle limit may give out at once, in seconds of its rate."""
_CHUNKS_PER_SECOND: Final = 8
_SMALLEST_CHUNK: Final = 4 * 1024


class BandwidthLimit:
    """At most `bytes_per_second` in all; 0 for no limit. May be changed at any time, from any thread. What goes through
    one that is `within` another takes its place in that one too."""

    def __init__(
        self,
        bytes_per_second: int = 0,
        *,
        within: BandwidthLimit | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._within = within
        self._clock = clock
        self._lock = threading.Lock()
        self._rate = max(0, bytes_per_second)
        self._queued = 0.0
        self._drained = 0.0
        self._settled_at = clock()

    @property
    def bytes_per_second(self) -> int:
        """The lowest that holds."""
        around = self._within.bytes_per_second if self._within is not None else 0
        return min(self._rate, around) if self._rate and around else self._rate or around

    def change(self, bytes_per_second: int) -> None:
        """Set another limit, 0 for none. Those who wait now go by it within a quarter of a second."""
        with self._lock:
            self._settle()
            self._rate = max(0, bytes_per_second)

    def chunk_size(self, wanted: int) -> int:
        """The wanted chunk in bytes, or a smaller one so that a low limit still flows evenly."""
        rate = self.bytes_per_second
        return min(wanted, max(_SMALLEST_CHUNK, rate // _CHUNKS_PER_SECOND)) if rate else wanted

    def take(self, byte_count: int, control: Control) -> None:
        """Wait until `byte_count` bytes may go. Raises what `control.check()` raises."""
        control.check()
        if self._within is not None:
            self._within.take(byte_count, control)
        if not self._rate:
            return
        with self._lock:
            self._settle()
            # The chunk goes when the bytes in front of it have gone, less a little burst for whoever comes first.
            place = self._queued - self._rate * _BURST_SECONDS
            self._queued += byte_count
        while (seconds := self._seconds_until(place)) > _SHORTEST_WAIT_SECONDS:
            control.wait(min(seconds, _LONGEST_WAIT_SECONDS))

    def _seconds_until(self, place: float) -> float:
        with self._lock:
            self._settle()
            if not self._rate:
                return 0.0
            return (place - self._drained) / self._rate

    def _settle(self) -> None:
        """Let the queue drain up to now; an empty one does not run ahead."""
        now = self._clock()
        if self._rate:
            self._drained = min(self._queued, self._drained + (now - self._settled_at) * self._rate)
        else:
            self._drained = self._queued
        self._settled_at = now
