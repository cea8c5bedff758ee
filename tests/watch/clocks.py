"""Clocks of a test's own, by which files are at rest: time passes only when the test lets it."""

from __future__ import annotations

from console.watch.at_rest import AtRest

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

    def rules(self, at_rest: AtRest) -> None:
        """Let it take the place of the system's clocks."""
        at_rest._clock, at_rest._wall_ns = self.monotonic, self.wall
