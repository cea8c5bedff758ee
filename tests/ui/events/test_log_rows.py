"""How one event looks as a line of the log."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest

from console.events.event import ChangeEvent
from console.events.feed_items import Gap
from console.ui.events.log_rows import LogRows, Notice, event_cell, event_time

FIRST, LAST = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)


@pytest.mark.parametrize("moment", [FIRST, LAST])
@pytest.mark.parametrize("zone", ["XXX-14", "XXX+12"])
def test_the_first_and_the_last_time_there_is_are_no_crash_in_any_zone(
    moment: datetime, zone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    event = ChangeEvent.from_raw({"operationType": "insert", "wallTime": moment})
    shown = event_time(event)
    assert shown is not None
    assert "".join(span.text for span in event_cell(event, "time", 8)) == f"{shown:%H:%M:%S}"
    rows = LogRows()
    rows.add([Gap("history lost", moment, moment)], moment)
    notice = rows.entry(0)
    assert isinstance(notice, Notice)
    assert rows.whole(0)


def test_a_time_is_shown_in_the_zone_of_whoever_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "XXX-2")
    time.tzset()
    event = ChangeEvent.from_raw({"operationType": "insert", "wallTime": datetime(2026, 1, 1, tzinfo=UTC)})
    assert [span.text for span in event_cell(event, "time", 8)] == ["02:00:00"]
