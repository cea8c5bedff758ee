"""What a stream is asked for before, at and behind an event that cannot be read: pure, no server."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from console.events.event import ChangeEvent
from console.stream.feed import ReadLevel, ReadMode
from console.stream.server import Abilities

OLD = Abilities(wire_version=13, splits=False)
NEW = Abilities(wire_version=21, splits=True)
MATCH = {"$match": {"n": 1}}
SPLIT: dict[str, Any] = {"$changeStreamSplitLargeEvent": {}}
IMAGES = {"full_document": "whenAvailable", "full_document_before_change": "whenAvailable"}
SINCE = datetime(2024, 5, 1, tzinfo=UTC)


def event(**fields: Any) -> ChangeEvent:
    return ChangeEvent.from_raw(
        {"operationType": "update", "ns": {"db": "d", "coll": "c\x1b"}, "documentKey": {"_id": "a"}, **fields}
    )


def worsened(steps: int) -> ReadMode:
    care = ReadMode(images=True)
    for _ in range(steps):
        assert care.step_down(SINCE, was_open=False) is None
    return care


@pytest.mark.parametrize(
    ("steps", "pipeline", "options"),
    [
        (0, [MATCH, SPLIT], {"batch_size": 1000, **IMAGES}),
        (1, [MATCH, SPLIT], {"batch_size": 1, **IMAGES}),
        (2, [MATCH, SPLIT], {"batch_size": 1}),
        (
            3,
            [MATCH, {"$unset": ["fullDocument", "fullDocumentBeforeChange", "updateDescription"]}, SPLIT],
            {"batch_size": 1},
        ),
    ],
)
def test_each_step_asks_for_less(steps: int, pipeline: list[Any], options: dict[str, Any]) -> None:
    assert worsened(steps).shape([MATCH], NEW) == (pipeline, options)


def test_an_open_stream_may_have_failed_for_the_event_after_the_next() -> None:
    """PyMongo reads two where one is asked for: the one before would lose its documents, with a gap that is none."""
    care = worsened(1)
    for _ in range(3):
        assert care.step_down(SINCE, was_open=True) is None
        assert care.step is ReadLevel.ONE_BY_ONE
        assert care.passed(event()) is None
    assert care.step_down(SINCE, was_open=False) is None
    assert care.step is ReadLevel.WITHOUT_IMAGES


def test_a_stream_that_fails_each_time_without_an_event_is_read_more_carefully() -> None:
    care = worsened(1)
    for expected in (ReadLevel.ONE_BY_ONE, ReadLevel.WITHOUT_IMAGES, ReadLevel.KEY_ONLY):
        assert care.step_down(SINCE, was_open=True) is None
        assert care.step is expected


def test_a_server_is_asked_for_what_it_can_do() -> None:
    assert ReadMode(images=True).shape([MATCH], OLD) == ([MATCH], {"batch_size": 1000, "full_document": "updateLookup"})


def test_who_wants_no_documents_asks_for_none_and_has_nothing_split() -> None:
    care = ReadMode(images=False)
    assert care.shape([MATCH], NEW) == ([MATCH], {"batch_size": 1000})
    assert not care.stop_splitting()


def test_a_pipeline_is_left_as_it_was() -> None:
    pipeline = [MATCH]
    worsened(3).shape(pipeline, NEW)
    assert pipeline == [MATCH]


def test_splitting_stops_once_and_for_good() -> None:
    care = ReadMode(images=True)
    assert care.stop_splitting()
    assert not care.stop_splitting()
    care.reset()
    assert care.shape([MATCH], NEW) == ([MATCH], {"batch_size": 1000, **IMAGES})


@pytest.mark.parametrize("steps", [0, 1])
def test_events_that_come_whole_are_no_news(steps: int) -> None:
    """Those one by one are the ones before the event in the way: the care stays."""
    care = worsened(steps)
    assert care.passed(event()) is None
    assert care.step == steps


@pytest.mark.parametrize("steps", [2, 3])
def test_the_event_in_the_way_is_told_of_and_the_next_ones_come_whole(steps: int) -> None:
    care = worsened(steps)
    gap = care.passed(event())
    assert gap is not None
    assert gap.reason == 'an event of over 16 MiB, shown without its documents: update d.c\\x1b "a"'
    assert (gap.since, gap.until) == (None, None)
    assert care.step is ReadLevel.NONE


def test_an_event_that_is_not_about_a_document_is_told_of_without_a_key() -> None:
    gap = worsened(2).passed(event(documentKey=None))
    assert gap is not None
    assert gap.reason == r"an event of over 16 MiB, shown without its documents: update d.c\x1b"


def test_where_no_step_is_left_all_since_the_last_event_is_a_gap() -> None:
    care = worsened(3)
    gap = care.step_down(SINCE, was_open=False)
    assert gap is not None
    assert gap.reason == "an event of over 16 MiB, and others with it: it cannot be passed by"
    assert gap.since == SINCE
    assert gap.until is not None
    assert care.step is ReadLevel.NONE
