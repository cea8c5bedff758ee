"""When uploads run, how fast by time of day, and what ends them early: `[schedule]`.

This module has the keys, and hours of a day as values; `runner/working_hours.py` asks the clock.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Annotated, Final, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from console.quantities import read_rate
from console.settings.types import LIST, Count, Number, Size


def local_now() -> datetime:
    """What the clock of the host shows. Without a zone: hours are those of the clock, also in a night in which it is
    put on or back, where to count from an offset would be an hour out."""
    return datetime.now()  # noqa: DTZ005


_HOURS: Final = re.compile(r"(\d{1,2}):(\d{2})\s*(?:-|–|to)\s*(\d{1,2}):(\d{2})")
_CLOCK: Final = re.compile(r"\d{1,2}:\d{2}")
_DAY: Final = 24 * 60


@dataclass(frozen=True, slots=True)
class Hours:
    """From one time of day to another, in minutes since midnight; past midnight where the end is not the later."""

    start: int
    end: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """`20:00-06:00`. Raises ValueError."""
        found = _HOURS.fullmatch(text.strip())
        numbers = [int(number) for number in found.groups()] if found else []
        if not numbers or max(numbers[0], numbers[2]) > 24 or max(numbers[1], numbers[3]) > 59:
            raise ValueError("expected hours such as 20:00-06:00")
        start, end = numbers[0] * 60 + numbers[1], numbers[2] * 60 + numbers[3]
        if max(start, end) > _DAY or start % _DAY == end % _DAY:
            raise ValueError("expected hours such as 20:00-06:00, of which the ends differ")
        return cls(start % _DAY, end % _DAY)

    def hold(self, moment: datetime) -> bool:
        """Whether the moment, by its own zone, is within them; the end is not."""
        minute = moment.hour * 60 + moment.minute
        if self.start < self.end:
            return self.start <= minute < self.end
        return minute >= self.start or minute < self.end

    @property
    def spans(self) -> tuple[tuple[int, int], ...]:
        """The same in spans of which none passes midnight."""
        end = self.end or _DAY
        return ((self.start, end),) if self.start < end else ((self.start, _DAY), (0, self.end))

    def __str__(self) -> str:
        return f"{self.start // 60:02}:{self.start % 60:02}-{self.end // 60:02}:{self.end % 60:02}"


def start_moment(text: str, now: datetime) -> datetime:
    """When `start_at` is, as the clock of `now` shows it: a moment, or the next time that it shows so. Raises
    ValueError."""
    try:
        if _CLOCK.fullmatch(text.strip()):
            hour, minute = map(int, text.strip().split(":"))
            moment = datetime.combine(now.date(), time(hour, minute), now.tzinfo)
            return moment if moment >= now else moment + timedelta(days=1)
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ValueError("expected a time such as 22:00, or a moment such as 2026-12-01T22:00") from None
    if moment.tzinfo is None:
        return moment.replace(tzinfo=now.tzinfo)
    moment = moment.astimezone(now.tzinfo)
    return moment if now.tzinfo is not None else moment.replace(tzinfo=None)


def rate_of_day(text: str) -> tuple[Hours | None, int]:
    """`08:00-18:00 1 MiB`, or `5 MiB` for all other hours: bytes a second, 0 for no limit. Raises ValueError."""
    hours, rate = None, text.strip()
    if found := _HOURS.match(rate):
        hours, rate = Hours.parse(found[0]), rate[found.end() :].strip()
    try:
        if not rate:
            raise ValueError
        return hours, read_rate(rate)
    except ValueError:
        raise ValueError("expected a rate, maybe with hours before it: 08:00-18:00 1 MiB") from None


def _hours(text: str) -> str:
    Hours.parse(text)
    return text


def _moment(text: str) -> str:
    start_moment(text, local_now())
    return text


def _rate(text: str) -> str:
    rate_of_day(text)
    return text


HoursText = Annotated[str, AfterValidator(_hours)]
StartText = Annotated[str, AfterValidator(_moment)]
Rates = Annotated[tuple[Annotated[str, AfterValidator(_rate)], ...], *LIST]
Slowest = Annotated[Size, Field(ge=1)]
MostFiles = Annotated[Count, Field(ge=1)]
MostBytes = Annotated[Size, Field(ge=1)]
SlowestSeconds = Annotated[Number, Field(gt=0, le=86_400)]


class ScheduleSettings(BaseModel):
    """Of one process, or of one watch: hours by the clock of its host, bytes, bytes a second, seconds. `max_…` are of
    one `upload`, or of a watch from its start."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    start_at: StartText | None = None
    between: HoursText | None = None
    bandwidth: Rates = ()
    slowest: Slowest | None = None
    slowest_seconds: SlowestSeconds = 60.0
    max_files: MostFiles | None = None
    max_bytes: MostBytes | None = None
    max_failures: MostFiles | None = None

    @property
    def spans(self) -> tuple[tuple[int, int], ...] | None:
        """As `Hours.spans`; None where it keeps no hours."""
        return Hours.parse(self.between).spans if self.between is not None else None

    @property
    def is_for_sending(self) -> bool:
        """Whether it says when or how fast anything is sent: then nobody else should do it."""
        told = (self.start_at, self.between, self.bandwidth or None, self.slowest)
        return any(part is not None for part in told)
