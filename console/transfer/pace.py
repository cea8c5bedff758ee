"""How many bytes are worth claiming ahead of those that are sent.

Owns the number, which follows from how long uploads waited that were claimed before. Too little ahead and those who
send wait for MongoDB; what is ahead shows as uploading though nothing is sent of it, and no priority overtakes it.
Pure: it is told times, and asks no clock.
"""

from __future__ import annotations

from typing import Final

from console.choices import MEBIBYTE

_FIRST: Final = 8 * MEBIBYTE
_LEAST: Final = 1 * MEBIBYTE
_MOST: Final = 256 * MEBIBYTE
_SHORT_SECONDS: Final = 0.15
"""A claim takes some milliseconds, and a tenth of a second while everybody wants Python's lock."""
_LONG_SECONDS: Final = 0.5


class Pace:
    """The number. Not thread-safe: the lock of whoever owns it is held."""

    def __init__(self) -> None:
        self.bytes_ahead = _FIRST
        self._longest: float | None = None

    def waited(self, seconds: float) -> None:
        """An upload that had been claimed has begun after so long a time."""
        self._longest = max(seconds, self._longest or 0.0)

    def claimed(self) -> None:
        """More have been claimed: twice as much next time where all that began since the last time had hardly waited,
        half as much where one waited for long."""
        if self._longest is None:
            return
        if self._longest < _SHORT_SECONDS:
            self.bytes_ahead = min(_MOST, self.bytes_ahead * 2)
        elif self._longest > _LONG_SECONDS:
            self.bytes_ahead = max(_LEAST, self.bytes_ahead // 2)
        self._longest = None
