"""From the change feed to the screen: one thread posts batches as messages, and drawing keeps a pace of its own.

The next batch is taken when the screen has applied the last one, so a burst waits in the feed and keys are served in
between. `Throttle` draws at once when nothing was drawn for an interval, else once at its end; intervals end at
multiples of the clock, so that several of them draw in the same moment and Textual makes one picture of it.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Final, Protocol

from textual.message import Message
from textual.timer import Timer
from textual.widget import Widget

from console.events.feed_items import FeedItem, FeedState
from console.ui.background import title_and_text

TAKE_SECONDS: Final = 0.5
# How long a thread that computes may keep the interpreter while the screen's waits for it, in seconds. A key waits for
# the feed's threads several times; at Python's own 5 ms it waited twice as long in a burst.
SWITCH_SECONDS: Final = 0.001
# So many are applied between two looks at the keyboard: about 15 ms.
BATCH: Final = 50


class Feed(Protocol):
    """What can be pumped: a `Backend` or an `EventSource`."""

    def feed_take(self, timeout_seconds: float) -> list[FeedItem]: ...


@dataclass
class FeedArrived(Message):
    """The feed brought these. Whoever has applied them calls `applied`."""

    items: list[FeedItem]
    applied: Callable[[], None]


class FeedPump:
    """Pumps a feed into a widget (a screen) from `start` to `stop`."""

    def __init__(self, feed: Feed, widget: Widget, failed: Callable[[Exception], None]) -> None:
        self._feed = feed
        self._widget = widget
        self._failed = failed
        self._stopped = threading.Event()
        self._applied = threading.Event()
        self._thread = threading.Thread(target=self._run, name="feed-pump", daemon=True)

    def start(self) -> None:
        sys.setswitchinterval(SWITCH_SECONDS)
        self._thread.start()

    def stop(self) -> None:
        """End; the thread leaves by itself, nobody waits for it."""
        self._stopped.set()
        self._applied.set()

    def _run(self) -> None:
        try:
            while not self._stopped.is_set():
                items = self._feed.feed_take(TAKE_SECONDS)
                for start in range(0, len(items), BATCH):
                    self._hand_over(items[start : start + BATCH])
        except Exception as error:  # noqa: BLE001 - the screen says it; a thread has nobody else to tell
            if not self._stopped.is_set():
                self._failed(error)
                state = FeedState(connected=False, message=title_and_text(error)[1].partition("\n")[0], ended=True)
                self._widget.post_message(FeedArrived([state], self._applied.set))

    def _hand_over(self, items: list[FeedItem]) -> None:
        self._applied.clear()
        if self._stopped.is_set() or not self._widget.post_message(FeedArrived(items, self._applied.set)):
            return
        self._applied.wait()
        items.clear()  # messages are in cycles, which Python looks for seldom: large documents would pile up


class Throttle:
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
