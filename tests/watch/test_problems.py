"""Problems are told once, remembered, and over when a look at everything did not meet them again."""

from __future__ import annotations

import pytest

from console.watch import pending_queue as module
from console.watch.pending_queue import Problems


def test_a_trouble_is_told_once_while_each_look_meets_it_and_again_when_it_returns() -> None:
    told: list[str] = []
    problems = Problems(told.append)
    for _ in range(3):
        problems.scan_begins()
        problems.add("full")
        problems.add("full")
        problems.scan_ended()
        assert problems.are_there
    assert told == ["full"]
    for _ in range(2):
        problems.scan_begins()
        problems.scan_ended()
    assert not problems.are_there
    assert problems.last == "full"  # it is over, and still known
    problems.add("full")
    assert told == ["full", "full"]


def test_a_trouble_is_not_over_before_the_look_that_does_not_meet_it_has_ended() -> None:
    problems = Problems(lambda _: None)
    problems.add("away")
    for _ in range(2):  # the first look fails
        problems.scan_begins()
        assert problems.are_there
    problems.scan_ended()
    assert not problems.are_there


def test_very_many_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_TOLD", 3)
    told: list[str] = []
    problems = Problems(told.append)
    for number in range(10):
        problems.add(f"{number}")
    assert (told, problems.last) == (["0", "1", "2"], "9")
