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
from console.settings.schedule import Hours, ScheduleSettings, local_now, rate_of_day, start_moment


class WorkingHours:
    """What `[schedule]` says of the present. `start_at` without a date is the next one after this was made."""

    def __init__(self, schedule: ScheduleSettings, clock: Callable[[], datetime] = local_now) -> None:
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
        self._start = None  # it has begun, also where the clock is put back later
        if self._between is not None and not self._between.hold(now):
            return f"uploads run between {self._between}"
        return ""

    @property
    def opens(self) -> str:
        """When that is over, as a clock shows it; empty where nothing waits."""
        now = self._clock()
        if self._start is not None and now < self._start:
            return f"{self._start:%H:%M}" if self._start.date() == now.date() else f"{self._start:%Y-%m-%d %H:%M}"
        if self._between is not None and not self._between.hold(now):
            return str(self._between).partition("-")[0]
        return ""

    def bandwidth(self, otherwise: int) -> int:
        """Bytes a second now; those for hours count before one for all day, and `otherwise` where none is said."""
        now = self._clock()
        for hours, rate in self._rates:
            if hours is not None and hours.hold(now):
                return rate
        return next((rate for hours, rate in self._rates if hours is None), otherwise)


def minute_of_day(clock: Callable[[], datetime] = local_now) -> int:
    """As the clock of this host shows it."""
    now = clock()
    return now.hour * 60 + now.minute


ALWAYS: Final = ScheduleSettings()


class RuleHours:
    """What the watches whose uploads a runner carries out say of the present, each for its own, by their titles."""

    def __init__(self, schedules: Mapping[str, ScheduleSettings], clock: Callable[[], datetime] = local_now) -> None:
        told = {title: schedule for title, schedule in schedules.items() if schedule.is_for_sending}
        self._hours = {title: WorkingHours(schedule, clock) for title, schedule in told.items()}
        self._crawl = {title: CrawlWatch(schedule) for title, schedule in told.items() if schedule.slowest is not None}

    @property
    def closed(self) -> dict[str, str]:
        """Those of which nothing may be carried out now, and why."""
        return {title: why for title, hours in self._hours.items() if (why := hours.why_closed)}

    @property
    def opens(self) -> dict[str, str]:
        """When that is over for each of them."""
        return {title: moment for title, hours in self._hours.items() if (moment := hours.opens)}

    @property
    def rates(self) -> dict[str, int]:
        """Bytes a second now of those that have a limit."""
        return {title: rate for title, hours in self._hours.items() if (rate := hours.bandwidth(0))}

    def crawling(self, moved: Mapping[ObjectId, int], rules: Mapping[ObjectId, str]) -> dict[ObjectId, str]:
        """As `CrawlWatch.crawling`, of uploads with their watches."""
        found: dict[ObjectId, str] = {}
        for title, watch in self._crawl.items():
            found |= watch.crawling({each: count for each, count in moved.items() if rules.get(each) == title})
        return found


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
                    f"{byte_rate(rate)} for {now - since:.0f} seconds; slowest is {byte_rate(self._slowest)}"
                )
            self._marks[upload_id] = (now, current)
        return found
