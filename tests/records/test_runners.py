"""Presence of runners: heartbeats, limits set from elsewhere, who lives and who went silent."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from console.records.runners import Limits, Runners
from console.settings import TransferSettings

LIVE_SECONDS = 3600
LIMITS = Limits(bandwidth=0, uploads=4, parts=8)


@pytest.fixture
def runners(database, monkeypatch):
    """Who was seen lives, however long the test takes."""
    monkeypatch.setattr("console.records.runners.LIVE_SECONDS", LIVE_SECONDS)
    return Runners(database, "uploads")


def went_silent(database, runner, seconds):
    moment = datetime.now(UTC) - timedelta(seconds=seconds)
    database.uploads_runners.update_one({"_id": runner}, {"$set": {"seen_at": moment}})


def test_a_heartbeat_is_seen(runners):
    assert (
        runners.heartbeat("a", "here", "console", LIMITS, {"pid": 7, "odd": "$name", "caf\udce9": "\udce9"}) == LIMITS
    )
    (state,) = runners.live()
    assert (state.runner, state.host, state.kind, state.limits) == ("a", "here", "console", LIMITS)
    assert state.details == {"pid": 7, "odd": "$name", r"caf\udce9": r"\udce9"}
    assert abs(datetime.now(UTC) - state.seen_at) < timedelta(minutes=1)


def test_limits_set_from_elsewhere_reach_the_runner_and_stay(runners):
    runners.heartbeat("a", "here", "console", LIMITS, {})
    slower = Limits(bandwidth=1_000_000, uploads=1, parts=2)
    assert runners.set_limits("a", slower)
    assert runners.heartbeat("a", "here", "console", LIMITS, {}) == slower
    assert runners.heartbeat("a", "here", "console", slower, {}) == slower
    assert runners.known()[0].limits == slower
    assert not runners.set_limits("nobody", slower)


@pytest.mark.parametrize(
    "nonsense", [{"bandwidth": -1, "uploads": 0, "parts": "x"}, {"uploads": True, "parts": 10**6}, {}, [], 5, None]
)
def test_limits_that_make_no_sense_change_nothing(runners, database, nonsense):
    runners.heartbeat("a", "here", "console", LIMITS, {})
    database.uploads_runners.update_one({"_id": "a"}, {"$set": {"limits": nonsense}})
    assert runners.known()[0].limits.uploads == 1
    assert runners.heartbeat("a", "here", "console", LIMITS, {}) == LIMITS
    database.uploads_runners.update_one({"_id": "a"}, {"$set": {"details": nonsense}})
    assert isinstance(runners.live()[0].details, dict)


def test_the_limits_of_the_settings():
    assert Limits.of(TransferSettings(parallel_uploads=2)) == Limits(bandwidth=0, uploads=2, parts=None)


def test_who_lives(runners, database):
    for runner, host, kind in (("a", "here", "console"), ("b", "here", "command"), ("c", "elsewhere", "console")):
        runners.heartbeat(runner, host, kind, LIMITS, {})
    went_silent(database, "silent", LIVE_SECONDS + 1)
    assert {state.runner for state in runners.live()} == {"a", "b", "c"}
    assert {state.runner for state in runners.live("here")} == {"a", "b"}
    assert {state.runner for state in runners.live("here", ["console", "watch"])} == {"a"}
    went_silent(database, "a", LIVE_SECONDS + 1)
    assert {state.runner for state in runners.live("here")} == {"b"}
    assert {state.runner for state in runners.known()} == {"a", "b", "c"}
    runners.leave("b")
    assert runners.live("here") == []
    went_silent(database, "a", 8 * 86_400)
    assert {state.runner for state in runners.known()} == {"c"}


def test_documents_of_others_are_passed_over(runners, database):
    database.uploads_runners.insert_many([{"_id": 1}, {"_id": 2, "seen_at": "now"}, {"_id": 3, "seen_at": None}])
    assert runners.known() == []
    assert runners.live() == []
