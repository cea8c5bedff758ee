"""How far one upload is: counters that part threads bump and the writer samples once a tick.

Owns the arithmetic of current, percentage and rate. Nothing is sent here (`writer`).
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

RATE_WINDOW_SECONDS: Final = 4.0
_LEAST_SECONDS: Final = 0.5


@dataclass(frozen=True, slots=True)
class Sample:
    """Bytes S3 has acknowledged, the same in percent (0 to 100), and bytes per second on the wire."""

    current: int
    percentage: float
    rate: float


class Progress:
    """Counters of one upload. Thread-safe."""

    def __init__(self, size: int, current: int = 0, clock: Callable[[], float] = time.monotonic) -> None:
        """`current` is what the document says already: the first sample is taken once something changes."""
        self._size = size
        self._current = current
        self._sent = 0
        self._clock = clock
        self._begun_at: float | None = None
        self._marks: deque[tuple[float, int]] = deque()
        self._lock = threading.Lock()
        self._last: Sample | None = Sample(current, self._percentage(), 0.0)

    def confirmed(self, total: int) -> None:
        """S3 has acknowledged `total` bytes so far."""
        with self._lock:
            self._begin()
            self._current = total

    def resized(self, size: int) -> None:
        """The file is another one than before: `size` bytes, none of them acknowledged."""
        with self._lock:
            self._size = size
            self._current = 0

    def sent(self, count: int) -> None:
        """So many bytes went to the socket; negative where a retry takes them back."""
        with self._lock:
            self._begin()
            self._sent += count

    def is_under_way(self, seconds: float) -> bool:
        """Whether something happened for the first time so long ago. Many small files are done before anybody could see
        how far they are."""
        return self._begun_at is not None and self._clock() - self._begun_at >= seconds

    def sample(self) -> Sample | None:
        """How far it is, or None where that is what the last sample said."""
        with self._lock:
            sample = Sample(self._current, self._percentage(), self._rate())
            if sample == self._last:
                return None
            self._last = sample
            return sample

    def now(self) -> Sample:
        """How far it is, whatever the last sample said."""
        with self._lock:
            return Sample(self._current, self._percentage(), 0.0)

    def unwritten(self) -> None:
        """The last sample was not written: the next one is taken also if nothing changes."""
        with self._lock:
            self._last = None

    def _begin(self) -> None:
        if self._begun_at is None:
            self._begun_at = self._clock()
            # However long it waited for its turn before that, its rate is that of the time since.
            self._marks.append((self._begun_at, 0))

    def _percentage(self) -> float:
        """Never 100 before completion says so: acknowledged parts are not yet an object."""
        return min(99.9, round(100 * self._current / self._size, 1)) if self._size else 0.0

    def _rate(self) -> float:
        if self._begun_at is None:
            return 0.0
        now = self._clock()
        self._marks.append((now, self._sent))
        while len(self._marks) > 2 and self._marks[1][0] <= now - RATE_WINDOW_SECONDS:
            self._marks.popleft()
        (then, before) = self._marks[0]
        # What went to the socket in the first moment mostly lies in buffers: no rate can be made of it.
        return float(max(0, round((self._sent - before) / max(now - then, _LEAST_SECONDS))))
