"""A single look, in this process: what it waits for, and what it does not."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta
from typing import Any

import pytest
from pymongo.errors import AutoReconnect

from console.records.watched_files import count_wanted
from console.watch import watcher
from console.watch.once import WatchOnce
from console.watch.reporting import NoteKind
from console.watch.watcher import Surroundings
from tests.watch.conftest import HOST, World
from tests.watch.waiting import until


def surroundings(world: World) -> Surroundings:
    settings = world.settings
    return Surroundings(
        *(world.records.uploads, settings.s3, settings.transfer, HOST, world.sender, world.notes),
        is_host_alive=lambda _: True,
    )


def test_mongodb_is_waited_for(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    failures = iter([AutoReconnect("connection closed")] * 3)

    def count(*arguments: Any, **more: Any) -> int:
        if (failure := next(failures, None)) is not None:
            raise failure
        return count_wanted(*arguments, **more)

    monkeypatch.setattr(watcher, "count_wanted", count)
    world.write("a", age_seconds=60)
    world.run()
    single = WatchOnce(world.records, surroundings(world), [world.rule()])
    single.run(threading.Event())
    assert "MongoDB" in world.notes.of(NoteKind.TROUBLE)[0].message
    assert (len(world.documents(status="completed")), single.unseen) == (1, [])


def test_uploads_to_another_s3_service_are_not_waited_for(world: World) -> None:
    """They are another process's: this one could not send them."""
    world.write("a.txt", age_seconds=60)
    service = world.watch()
    (document,) = until(lambda: world.documents())
    service.stop()
    elsewhere = {"$set": {"endpoint": "https://elsewhere.example", "watch.digest": "another"}}
    world.records.uploads.collection.update_one({"_id": document["_id"]}, elsewhere)
    world.run()
    single = WatchOnce(world.records, surroundings(world), [world.rule()])
    single.run(threading.Event())
    assert [each["status"] for each in world.documents()] == ["pending", "completed"]


def test_what_is_left_for_other_hours_is_said_with_them(world: World) -> None:
    now = datetime.now().astimezone()
    hours = f"{now + timedelta(hours=2):%H:%M}-{now + timedelta(hours=4):%H:%M}"
    world.write("a.txt", age_seconds=60)
    WatchOnce(world.records, surroundings(world), [world.rule(between=hours, quiet_seconds=0.1)]).run(threading.Event())
    assert world.documents() == []
    [left] = world.notes.of(NoteKind.LEFT)
    assert left.message == f"uploads run between {hours}"


def test_a_look_takes_no_more_files_than_it_may(world: World) -> None:
    for name in ("a.txt", "b.txt", "c.txt"):
        world.write(name, name, age_seconds=60)
    world.run()
    rule = world.rule(max_files=2, quiet_seconds=0.1, after="delete")
    WatchOnce(world.records, surroundings(world), [rule]).run(threading.Event())
    assert len(world.documents(status="completed")) == 2
    assert {note.message for note in world.notes.of(NoteKind.LEFT)} == {"stopped by max_files after 2 files"}
    WatchOnce(world.records, surroundings(world), [rule]).run(threading.Event())
    assert len(world.documents(status="completed")) == 3


def test_after_so_many_failures_what_is_left_is_paused(world: World) -> None:
    """No runner is there: the failure is written as one would write it."""
    for name in ("a.txt", "b.txt", "c.txt"):
        world.write(name, name, age_seconds=60)
    single = WatchOnce(world.records, surroundings(world), [world.rule(max_failures=1)])
    looking = threading.Thread(target=single.run, args=(threading.Event(),))
    looking.start()
    first = until(lambda: world.documents() if len(world.documents()) == 3 else [])[0]
    failed: Any = [{"$set": {"status": "failed", "finished_at": "$$NOW"}}]
    world.records.uploads.collection.update_one({"_id": first["_id"]}, failed)
    looking.join(30)
    assert not looking.is_alive()
    assert sorted(document["status"] for document in world.documents()) == ["failed", "paused", "paused"]
    assert "max_failures after 1 upload failed" in world.notes.of(NoteKind.PAUSED)[0].message
