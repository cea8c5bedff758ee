"""A recording as a source of events: its pace, what passes, and that nobody waits for what does not."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from console.commands.events import sources
from console.commands.events.sources import ReplaySource
from console.events.event import ChangeEvent
from console.events.feed_items import FeedState
from console.events.recording import Recorder
from tests.ui.fake_backend import NOW

DAY = timedelta(days=1)


def an_event(number: int) -> ChangeEvent:
    """One a day."""
    return ChangeEvent.from_raw(
        {
            "_id": {"_data": f"{number:08X}"},
            "operationType": "insert",
            "wallTime": NOW + number * DAY,
            "documentKey": {"_id": number},
        }
    )


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    with Recorder(tmp_path / "r") as recorder:
        recorder.write(map(an_event, range(20)))
    return tmp_path / "r"


def test_only_what_passes_is_given_and_then_the_end(recorded: Path) -> None:
    source = ReplaySource(recorded, match="key:1*")
    items = []
    while not source.is_at_end:
        items += source.feed_take(60.0)
    *events, end = items
    assert [event.document_id for event in events if isinstance(event, ChangeEvent)] == [1, *range(10, 20)]
    assert end == FeedState(connected=False, message="end of the recording", ended=True)


@pytest.mark.parametrize("speed", [0.0, 1e9])
def test_a_long_recording_of_which_nothing_passes_is_read_a_while_at_a_time(
    recorded: Path, speed: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = 0

    def endless(path: Path) -> Iterator[ChangeEvent]:
        nonlocal read
        while True:
            read += 1
            assert read < 1_000, "it would be read to its end, whatever signal comes meanwhile"
            yield an_event(read)

    monkeypatch.setattr(sources, "replay", endless)
    source = ReplaySource(recorded, speed, match="op:drop")
    assert source.feed_take(0.0) == []
    first = read
    assert source.feed_take(0.0) == []
    assert read > first
    assert not source.is_at_end


def test_what_is_not_due_yet_is_waited_for_no_longer_than_the_time_given(recorded: Path) -> None:
    source = ReplaySource(recorded, speed=1.0, match="-key:1*")
    given = source.feed_take(0.0)
    assert [event.document_id for event in given if isinstance(event, ChangeEvent)] == [0]
    assert source.feed_take(0.0) == []
