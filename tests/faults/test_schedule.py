"""A runner that keeps hours, and gives up what crawls: on the real servers, with a clock that the test holds."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial

import pytest

from console.models import UploadStatus, Watched
from console.runner import runner as runner_module
from console.runner.policy import Policy
from console.runner.working_hours import RuleHours, WorkingHours
from console.settings.schedule import ScheduleSettings
from tests.faults.world import MIB, World, wait_for


def test_at_the_end_of_its_hours_uploads_wait_with_what_arrived_and_go_on_when_they_begin(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [datetime(2026, 12, 1, 21, tzinfo=UTC)]
    monkeypatch.setattr(runner_module, "WorkingHours", partial(WorkingHours, clock=lambda: now[0]))
    path = world.file(24 * MIB)
    [upload_id] = world.add(path)
    schedule = ScheduleSettings(between="20:00-06:00", bandwidth=["20:00-22:00 4 MiB"])
    world.start_runner(schedule=schedule)
    world.wait_parts(upload_id, 1)
    now[0] = datetime(2026, 12, 2, 6, tzinfo=UTC)
    wait_for(lambda: world.document(upload_id)["status"] == "pending", "it waits")
    document = world.document(upload_id)
    assert document["multipart"] is not None
    assert document["lease"] is None
    assert document["current"] > 0
    now[0] = datetime(2026, 12, 2, 23, tzinfo=UTC)
    world.wait_completed([upload_id])
    world.check()


def test_before_its_hours_nothing_is_claimed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [datetime(2026, 12, 1, 12, tzinfo=UTC)]
    monkeypatch.setattr(runner_module, "WorkingHours", partial(WorkingHours, clock=lambda: now[0]))
    [upload_id] = world.add(world.file(1000))
    runner = world.start_runner(schedule=ScheduleSettings(start_at="22:00"))
    wait_for(lambda: bool(world.records.runners.live(runner.host)), "it lives")
    assert world.document(upload_id)["status"] == "pending"
    now[0] = datetime(2026, 12, 1, 22, tzinfo=UTC)
    world.wait_completed([upload_id])


def test_what_crawls_is_given_up_and_can_be_retried(world: World) -> None:
    path = world.file(24 * MIB)
    [upload_id] = world.add(path)
    schedule = ScheduleSettings(bandwidth=["1 MiB"], slowest=100 * MIB, slowest_seconds=0.5)
    world.start_runner(schedule=schedule)
    world.wait_status([upload_id], UploadStatus.FAILED)
    document = world.document(upload_id)
    assert document["error"]["code"] == "TooSlow"
    assert "slowest is 100 MiB/s" in document["error"]["message"]
    assert document["multipart"] is not None


def test_a_watch_has_hours_of_its_own(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [datetime(2026, 12, 1, 12, tzinfo=UTC)]
    monkeypatch.setattr(runner_module, "RuleHours", partial(RuleHours, clock=lambda: now[0]))
    [theirs] = world.add(world.file(24 * MIB), watch=Watched(rule="night", scope="here", digest="d"))
    [mine] = world.add(world.file(1000, "small"))
    schedule = ScheduleSettings(between="20:00-06:00", bandwidth=["4 MiB"])
    runner = world.start_runner(policy=Policy(schedules={"night": schedule}, seals=world.records.uploads.seals))
    world.wait_completed([mine])
    assert world.document(theirs)["status"] == "pending"
    assert runner.why_closed == "night: uploads run between 20:00-06:00"
    [state] = world.records.runners.live(runner.host)
    assert state.details["waits"] == runner.why_closed
    now[0] = datetime(2026, 12, 1, 20, tzinfo=UTC)
    wait_for(lambda: world.document(theirs)["multipart"], "it begins")
    now[0] = datetime(2026, 12, 2, 6, tzinfo=UTC)
    wait_for(lambda: world.document(theirs)["status"] == "pending", "it waits")
    assert world.document(theirs)["multipart"] is not None
    now[0] = datetime(2026, 12, 2, 20, tzinfo=UTC)
    world.wait_completed([theirs])


def test_recorded_hours_hold_for_a_runner_that_keeps_none(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [12 * 60]
    monkeypatch.setattr(runner_module, "minute_of_day", lambda: now[0])
    night = ScheduleSettings(between="20:00-06:00")
    theirs, small = world.add(world.file(24 * MIB), world.file(999, "tiny"), schedule=night)
    [mine] = world.add(world.file(1000, "small"))
    world.start_runner(rate=4 * MIB)
    world.wait_completed([mine])
    assert {world.document(each)["status"] for each in (theirs, small)} == {"pending"}
    now[0] = 20 * 60
    world.wait_completed([small])
    wait_for(lambda: world.document(theirs)["multipart"], "it begins")
    now[0] = 6 * 60
    wait_for(lambda: world.document(theirs)["status"] == "pending", "it waits")
    assert world.document(theirs)["multipart"] is not None
    now[0] = 0
    world.wait_completed([theirs])
