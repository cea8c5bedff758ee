"""Clocks of a test's own, by which files are at rest: time passes only when the test lets it."""

from __future__ import annotations

from console.watch.completeness import PendingFiles

SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND


class Time:
    """Both clocks."""

    def __init__(self) -> None:
        self.passed = 0.0

    def monotonic(self) -> float:
        return 5_000 + self.passed

    def wall(self) -> int:
        return START + int(self.passed * SECOND)

    def rules(self, pending_files: PendingFiles) -> None:
        """Let it take the place of the system's clocks."""
        pending_files._clock, pending_files._wall_ns = self.monotonic, self.wall
