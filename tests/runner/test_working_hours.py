"""When a runner may work, how fast, and what crawls: logic with a clock that the test holds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from bson import ObjectId
from pydantic import ValidationError

from console.models import OpenHours, Source, are_open, clock_times
from console.records.uploads import NewUpload
from console.runner.job_limits import limited
from console.runner.working_hours import CrawlWatch, RuleHours, WorkingHours
from console.settings.schedule import Hours, ScheduleSettings, rate_of_day, start_moment

MIB = 1024 * 1024
ZONE = timezone(timedelta(hours=1))


def at(hour: int, minute: int = 0) -> datetime:
    return datetime(2026, 12, 1, hour, minute, tzinfo=ZONE)


class Clock:
    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now


@pytest.mark.parametrize(
    ("hours", "inside", "outside"),
    [
        ("20:00-06:00", [at(20), at(23, 59), at(0), at(5, 59)], [at(6), at(19, 59), at(12)]),
        ("08:00-18:00", [at(8), at(17, 59)], [at(18), at(7, 59), at(0)]),
        ("18:00-24:00", [at(18), at(23, 59)], [at(0), at(17)]),
        ("8:30 to 9:15", [at(8, 30), at(9, 14)], [at(9, 15)]),
    ],
)
def test_hours_may_pass_midnight_and_end_before_their_end(
    hours: str, inside: list[datetime], outside: list[datetime]
) -> None:
    parsed = Hours.parse(hours)
    assert all(parsed.hold(moment) for moment in inside)
    assert not any(parsed.hold(moment) for moment in outside)


@pytest.mark.parametrize("text", ["20:00-06:00", "08:00-18:00", "18:00-24:00", "00:00-06:00", "23:59-00:01"])
def test_recorded_hours_hold_as_they_were_told(text: str) -> None:
    told = Hours.parse(text)
    hours = tuple(OpenHours(start=start, end=end) for start, end in told.spans)
    for minute in range(24 * 60):
        assert are_open(hours, minute) is told.hold(at(*divmod(minute, 60)))
    assert are_open(None, 0)
    assert "-".join(clock_times(hours)) == str(told).replace("-00:00", "-24:00")


@pytest.mark.parametrize("text", ["20:00", "20:00-20:00", "25:00-06:00", "20:61-06:00", "24:30-06:00", "eight-nine"])
def test_hours_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(ValidationError, match="expected hours such as 20:00-06:00"):
        ScheduleSettings(between=text)


def test_a_start_without_a_date_is_the_next_one() -> None:
    assert start_moment("22:00", at(12)) == at(22)
    assert start_moment("06:00", at(12)) == at(6) + timedelta(days=1)
    assert start_moment("2026-12-24T18:00", at(12)) == datetime(2026, 12, 24, 18, tzinfo=ZONE)
    assert start_moment("2026-12-24T18:00+00:00", at(12)) == datetime(2026, 12, 24, 18, tzinfo=UTC)
    with pytest.raises(ValidationError, match="expected a time such as 22:00"):
        ScheduleSettings(start_at="tonight")


def test_before_its_start_and_outside_its_hours_a_runner_is_closed() -> None:
    clock = Clock(at(12))
    hours = WorkingHours(ScheduleSettings(start_at="21:00", between="20:00-06:00"), clock)
    assert hours.why_closed == "uploads begin at 2026-12-01 21:00"
    clock.now = at(20, 30)
    assert hours.why_closed
    clock.now = at(21)
    assert hours.why_closed == ""
    clock.now = at(6) + timedelta(days=1)
    assert hours.why_closed == "uploads run between 20:00-06:00"
    clock.now = at(20) + timedelta(days=1)
    assert hours.why_closed == ""


BERLIN = ZoneInfo("Europe/Berlin")


class WallClock:
    """What a clock in Berlin shows as real time passes."""

    def __init__(self, moment: datetime) -> None:
        self.moment = moment

    def __call__(self) -> datetime:
        return self.moment.astimezone(BERLIN).replace(tzinfo=None)


@pytest.mark.parametrize(
    ("evening", "opens"),
    [
        (datetime(2026, 3, 28, 22, tzinfo=UTC), datetime(2026, 3, 29, 2, tzinfo=UTC)),  # the night the clock is put on
        (datetime(2026, 10, 24, 20, tzinfo=UTC), datetime(2026, 10, 25, 3, tzinfo=UTC)),  # and back
    ],
)
def test_hours_are_those_of_the_clock_in_the_nights_in_which_it_is_put_on_or_back(
    evening: datetime, opens: datetime
) -> None:
    clock = WallClock(evening)
    begins = WorkingHours(ScheduleSettings(start_at="04:00"), clock)
    between = WorkingHours(ScheduleSettings(between="04:00-05:00"), clock)
    clock.moment = opens - timedelta(minutes=1)
    assert begins.why_closed
    assert between.why_closed
    clock.moment = opens
    assert begins.why_closed == between.why_closed == ""
    clock.moment = opens + timedelta(hours=1)
    assert begins.why_closed == ""
    assert between.why_closed


def test_what_has_begun_goes_on_where_the_clock_is_put_back() -> None:
    clock = WallClock(datetime(2026, 10, 24, 20, tzinfo=UTC))
    hours = WorkingHours(ScheduleSettings(start_at="02:30"), clock)
    assert hours.opens == "2026-10-25 02:30"
    clock.moment = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    assert hours.why_closed == ""
    clock.moment = datetime(2026, 10, 25, 1, 5, tzinfo=UTC)  # the clock shows 02:05 again
    assert f"{clock():%H:%M}" == "02:05"
    assert hours.why_closed == ""


def test_a_start_with_a_zone_is_that_moment_on_any_clock() -> None:
    now = datetime(2026, 12, 24, 12, tzinfo=UTC).replace(tzinfo=None)
    there = start_moment("2026-12-24T18:00+00:00", now)
    assert there.tzinfo is None
    assert there.astimezone(UTC) == datetime(2026, 12, 24, 18, tzinfo=UTC)


def test_each_watch_has_hours_rates_and_a_least_speed_of_its_own() -> None:
    clock = Clock(at(12))
    night = ScheduleSettings(between="20:00-06:00")
    slow = ScheduleSettings(bandwidth=["08:00-18:00 1 MiB"], slowest=1000, slowest_seconds=0.000_001)
    hours = RuleHours({"night": night, "slow": slow, "plain": ScheduleSettings()}, clock)
    assert hours.closed == {"night": "uploads run between 20:00-06:00"}
    assert hours.opens == {"night": "20:00"}
    assert hours.rates == {"slow": MIB}
    mine, other = ObjectId(), ObjectId()
    for _ in range(2):
        found = hours.crawling({mine: 5, other: 5}, {mine: "slow", other: "plain"})
    assert list(found) == [mine]
    clock.now = at(21)
    assert hours.closed == {}
    assert hours.rates == {}


def test_bandwidth_follows_the_time_of_day() -> None:
    clock = Clock(at(12))
    hours = WorkingHours(ScheduleSettings(bandwidth=["20 MiB", "08:00-18:00 1 MiB/s", "18:00-19:00 none"]), clock)
    assert hours.bandwidth(7) == MIB
    clock.now = at(18, 30)
    assert hours.bandwidth(7) == 0
    clock.now = at(19)
    assert hours.bandwidth(7) == 20 * MIB
    assert WorkingHours(ScheduleSettings(bandwidth=["08:00-18:00 1 MiB"]), clock).bandwidth(7) == 7
    with pytest.raises(ValueError, match="expected a rate"):
        rate_of_day("08:00-18:00")


def test_an_upload_crawls_that_moves_less_for_so_long() -> None:
    now = 100.0
    watch = CrawlWatch(ScheduleSettings(slowest=1000, slowest_seconds=10), lambda: now)
    slow, fast, late = ObjectId(), ObjectId(), ObjectId()
    assert watch.crawling({slow: 0, fast: 0}) == {}
    now = 105.0
    assert watch.crawling({slow: 9_000, fast: 5_000, late: 0}) == {}
    now = 110.0
    found = watch.crawling({slow: 9_999, fast: 10_000, late: 0})
    assert list(found) == [slow]
    assert found[slow].startswith("0.98 KiB/s for 10 seconds")
    now = 115.0
    assert list(watch.crawling({fast: 10_000, late: 0})) == [late]
    now = 120.0
    assert list(watch.crawling({fast: 10_000})) == [fast]
    assert CrawlWatch(ScheduleSettings(), lambda: now).crawling({slow: 0}) == {}


def _upload(size: int) -> NewUpload:
    return NewUpload("f", "/f", None, "h", size, 0, "1", "text/plain", "b", "k", Source.COMMAND)


def test_a_job_takes_so_many_files_or_bytes(capsys: pytest.CaptureFixture[str]) -> None:
    batches = [[_upload(10), _upload(20)], [_upload(30), _upload(40)]]

    def taken(**limits: int) -> list[int]:
        return [upload.size for batch in limited(batches, ScheduleSettings(**limits)) for upload in batch]

    assert taken() == [10, 20, 30, 40]
    assert capsys.readouterr().err == ""
    assert taken(max_files=3) == [10, 20, 30]
    assert "Stopped by max_files after 3 files: more are left." in capsys.readouterr().err
    assert taken(max_bytes=59) == [10, 20]
    assert taken(max_bytes=100, max_files=4) == [10, 20, 30, 40]
