"""Where a stream begins and ends, as people type it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from bson import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from console.errors import UsageError
from console.events.since import Start, parse_since, parse_until

NOW = datetime(2026, 7, 15, 12, 0, tzinfo=UTC)
TOKEN = "8265F0000000000012B022C0100296E5A1004"


@pytest.fixture(autouse=True)
def _local_time_of_berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Local time is two hours ahead of UTC in summer, one in winter."""
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("90s", NOW - timedelta(seconds=90)),
        ("15m", NOW - timedelta(minutes=15)),
        ("2h", NOW - timedelta(hours=2)),
        (" 3 D ", NOW - timedelta(days=3)),
        ("1w", NOW - timedelta(weeks=1)),
        ("0s", NOW),
        ("2026-07-15", datetime(2026, 7, 14, 22, tzinfo=UTC)),
        ("2026-01-02", datetime(2026, 1, 1, 23, tzinfo=UTC)),
        ("2026-01-02T03:04", datetime(2026, 1, 2, 2, 4, tzinfo=UTC)),
        ("2026-01-02 03:04:05", datetime(2026, 1, 2, 2, 4, 5, tzinfo=UTC)),
        ("2026-01-02T03:04Z", datetime(2026, 1, 2, 3, 4, tzinfo=UTC)),
        ("2026-01-02T03:04:05.678+05:30", datetime(2026, 1, 1, 21, 34, 5, tzinfo=UTC)),
        ("20260102T030405Z", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("10:30", datetime(2026, 7, 15, 8, 30, tzinfo=UTC)),
        ("9:30:15", datetime(2026, 7, 15, 7, 30, 15, tzinfo=UTC)),
    ],
)
def test_times(text: str, moment: datetime) -> None:
    assert parse_since(text, NOW) == Start(at=Timestamp(int(moment.timestamp()), 1))


@pytest.mark.parametrize("text", [f'{{"_data": "{TOKEN}"}}', TOKEN, TOKEN.lower(), f' {{"_data":"{TOKEN}"}}\n'])
def test_tokens(text: str) -> None:
    assert parse_since(text, NOW) == Start(token={"_data": TOKEN})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is not a valid time"),
        ("soon", "--since soon is not a valid time"),
        ("15", "is not a valid time"),
        ("15 months", "is not a valid time"),
        ("-5m", "is not a valid time"),
        ("2026-13-01", "month must be in 1..12"),
        ("2026-02-30", "day"),
        ("25:00", "hour must be in 0..23"),
        ("999999999w", "--since 999999999w"),
        ("9999d", "no error"),
        ("1900-01-01", "is out of range"),
        ("2026-07-16", "is in the future"),
        ("23:59", "is in the future"),
        ("\x1b[1m", r"\x1b[1m is not a valid time"),
        ("{}", "it has no _data"),
        ('{"_data": ', "not a valid resume token"),
        ('{"_data": {"$oid": 5}}', "not a valid resume token"),
        ("8265F0", "is not a valid time"),
    ],
)
def test_what_is_none_is_said(text: str, words: str) -> None:
    if words == "no error":
        assert parse_since(text, NOW).at is not None
        return
    with pytest.raises(UsageError) as caught:
        parse_since(text, NOW)
    assert words in caught.value.message
    assert caught.value.advice


def test_until_counts_from_now_on() -> None:
    assert parse_until("5m", NOW) == NOW + timedelta(minutes=5)
    assert parse_until("2026-07-16T00:00Z", NOW) == datetime(2026, 7, 16, tzinfo=UTC)
    assert parse_until("15:00", NOW) == datetime(2026, 7, 15, 13, tzinfo=UTC)
    with pytest.raises(UsageError) as caught:
        parse_until(TOKEN, NOW)
    assert caught.value.message.startswith("--until")


@given(st.text(max_size=20) | st.from_regex(r"\d{1,12}[smhdw]|\d{4}-\d\d-\d\d[T ]?.{0,8}|\{.{0,10}\}", fullmatch=True))
def test_nothing_else_leaks(text: str) -> None:
    for parse in (parse_since, parse_until):
        try:
            assert parse(text, NOW)
        except UsageError as error:
            message = error.message
            assert message
