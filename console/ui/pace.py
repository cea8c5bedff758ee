"""Drawing at the screen's own pace, however fast things happen.

Owns the one rule: at once when nothing was drawn for an interval, else once at the interval's end. Intervals end at
their multiples on the clock, so that several paces draw in the same moment, and Textual makes one picture of it.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from textual.timer import Timer
from textual.widget import Widget


class Pace:
    """Calls `draw` at most once in `interval` seconds, and always after the last `mark`."""

    def __init__(self, widget: Widget, draw: Callable[[], None], interval: float) -> None:
        self.interval = interval
        self._widget = widget
        self._draw = draw
        self._last = -interval
        self._timer: Timer | None = None

    def mark(self) -> None:
        """Something changed that is to be drawn."""
        if self._timer is not None:
            return
        now = monotonic()
        if now - self._last >= self.interval:
            self._now()
        else:
            self._timer = self._widget.set_timer(self.interval - now % self.interval, self._now)

    def _now(self) -> None:
        self._timer = None
        self._draw()
        self._last = monotonic()
