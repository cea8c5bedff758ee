"""What time it is for a runner: whether it may carry out uploads now, how fast, and which of them crawl.

Pure but for the clocks, which are passed in. What is done about it is in `runner`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final

from bson import ObjectId

from console.formatting import byte_rate
from console.settings.schedule import Hours, ScheduleSettings, rate_of_day, start_moment


def _local_now() -> datetime:
    return datetime.now().astimezone()


class WorkingHours:
    """What `[schedule]` says of the present. `start_at` without a date is the next one after this was made."""

    def __init__(self, schedule: ScheduleSettings, clock: Callable[[], datetime] = _local_now) -> None:
        self._clock = clock
        self._start = start_moment(schedule.start_at, clock()) if schedule.start_at is not None else None
        self._between = Hours.parse(schedule.between) if schedule.between is not None else None
        self._rates = [rate_of_day(text) for text in schedule.bandwidth]

    @property
    def why_closed(self) -> str:
        """Why nothing may be carried out now, in words; empty where it may."""
        now = self._clock()
        if self._start is not None and now < self._start:
            return f"uploads begin at {self._start:%Y-%m-%d %H:%M}"
        if self._between is not None and not self._between.hold(now):
            return f"uploads run between {self._between}"
        return ""

    def bandwidth(self, otherwise: int) -> int:
        """Bytes a second now; those for hours count before one for all day, and `otherwise` where none is said."""
        now = self._clock()
        for hours, rate in self._rates:
            if hours is not None and hours.hold(now):
                return rate
        return next((rate for hours, rate in self._rates if hours is None), otherwise)


ALWAYS: Final = ScheduleSettings()


class CrawlWatch:
    """Finds uploads that moved fewer than so many bytes a second, for so long."""

    def __init__(self, schedule: ScheduleSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self._slowest = schedule.slowest
        self._seconds = schedule.slowest_seconds
        self._clock = clock
        self._marks: dict[ObjectId, tuple[float, int]] = {}

    def crawling(self, moved: Mapping[ObjectId, int]) -> dict[ObjectId, str]:
        """Of uploads under way, with the bytes that each has moved: which of them crawl, and how."""
        if self._slowest is None:
            return {}
        now = self._clock()
        self._marks = {upload_id: mark for upload_id, mark in self._marks.items() if upload_id in moved}
        found: dict[ObjectId, str] = {}
        for upload_id, current in moved.items():
            since, before = self._marks.setdefault(upload_id, (now, current))
            if now - since < self._seconds:
                continue
            rate = max(0, current - before) / (now - since)
            if rate < self._slowest:
                found[upload_id] = (
                    f"{byte_rate(rate)} for {now - since:.0f} seconds; schedule.slowest is {byte_rate(self._slowest)}"
                )
            self._marks[upload_id] = (now, current)
        return found
