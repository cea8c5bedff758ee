"""Troubles are told once, remembered, and over when a look at everything did not meet them again."""

from __future__ import annotations

import pytest

from console.watch import troubles as module
from console.watch.troubles import Troubles


def test_a_trouble_is_told_once_while_each_look_meets_it_and_again_when_it_returns() -> None:
    told: list[str] = []
    troubles = Troubles(told.append)
    for _ in range(3):
        troubles.scan_begins()
        troubles.add("full")
        troubles.add("full")
        troubles.scan_ended()
        assert troubles.are_there
    assert told == ["full"]
    for _ in range(2):
        troubles.scan_begins()
        troubles.scan_ended()
    assert not troubles.are_there
    assert troubles.last == "full"  # it is over, and still known
    troubles.add("full")
    assert told == ["full", "full"]


def test_a_trouble_is_not_over_before_the_look_that_does_not_meet_it_has_ended() -> None:
    troubles = Troubles(lambda _: None)
    troubles.add("away")
    for _ in range(2):  # the first look fails
        troubles.scan_begins()
        assert troubles.are_there
    troubles.scan_ended()
    assert not troubles.are_there


def test_very_many_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_TOLD", 3)
    told: list[str] = []
    troubles = Troubles(told.append)
    for number in range(10):
        troubles.add(f"{number}")
    assert (told, troubles.last) == (["0", "1", "2"], "9")
