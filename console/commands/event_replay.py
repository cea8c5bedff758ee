"""A recording as a source of feed items, as `events --replay` reads it.

Owns the pace and the filter. Not here: the files (`events.recording`), lines and screens (`events`).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Final, TypeAlias

from console.commands.event_match import read_local_match
from console.events.event import ChangeEvent
from console.events.feed_items import FeedItem, FeedState, Gap
from console.events.recording import BadLine, recorded_files, replay
from console.events.since import Start
from console.formatting import visible

_CHUNK: Final = 500

_Paced: TypeAlias = tuple[float, FeedItem | None]


class ReplaySource:
    """A recording, at `speed` times its own pace; 0 as fast as it is taken."""

    def __init__(self, path: Path, speed: float = 0.0, match: str | None = None) -> None:
        """Raises `UsageError`: there is no such file, or the filter makes no sense."""
        recorded_files(path)
        self.speed = speed
        self.title = f"recording {visible(str(path))}"
        self._filter = read_local_match(match)
        self._items = self._paced(replay(path), speed)
        self._waiting: _Paced | None = None
        self._has_ended = False

    @property
    def position(self) -> Start:
        """A recording has none."""
        return Start()

    @property
    def is_at_end(self) -> bool:
        """Whether the last line was given."""
        return self._has_ended

    def feed_take(self, timeout_seconds: float) -> list[FeedItem]:
        """What is due; at the end a `FeedState` that says so, then nothing.

        It takes no longer where nothing passes the filter: whoever reads looks at signals only in between.
        """
        until = time.monotonic() + timeout_seconds
        taken: list[FeedItem] = []
        if self._has_ended:
            time.sleep(timeout_seconds)
        while not self._has_ended and len(taken) < _CHUNK:
            found = self._waiting or next(self._items, None)
            self._waiting = None
            if found is None:
                self._has_ended = True
                taken.append(FeedState(connected=False, message="end of the recording", ended=True))
                break
            due, item = found
            now = time.monotonic()
            if item is None:
                if now >= until:
                    break
                continue
            if due > now and (taken or due > until):
                self._waiting = (due, item)
                if not taken:
                    time.sleep(max(0.0, until - now))
                break
            time.sleep(max(0.0, due - now))
            taken.append(item)
        return taken

    def feed_close(self) -> None:
        """Nothing more comes."""
        self._has_ended = True

    def is_past(self, moment: datetime) -> bool:
        """Its own end tells."""
        return False

    def _paced(self, items: Iterator[ChangeEvent | Gap | BadLine], speed: float) -> Iterator[_Paced]:
        """Each item with the moment (monotonic) at which it is due; None for one that does not pass."""
        begun = time.monotonic()
        first: datetime | None = None
        due = begun
        for item in items:
            if isinstance(item, BadLine):
                yield due, Gap(str(item))
                continue
            moment = item.time if isinstance(item, ChangeEvent) else None
            if speed and moment is not None:
                first = first or moment
                due = max(due, begun + (moment - first).total_seconds() / speed)
            passes = not isinstance(item, ChangeEvent) or self._filter.matches(item)
            yield due, item if passes else None
