"""What a runner holds and does not know of, where an answer of MongoDB is lost; and wishes that reach it late."""

from __future__ import annotations

import os
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from bson import ObjectId
from pymongo.errors import AutoReconnect

from console.models import Source, Upload
from console.records.uploads import Uploads
from console.runner.active import ClaimAhead
from console.runner.wakeups import Wakeups
from console.transfer.intake import Intake
from tests.faults.conftest import MakeWorld
from tests.faults.world import MIB, World, wait_for

IN_TIME = 20.0  # seconds; two are promised, a busy machine is given more


def test_a_claim_whose_answer_is_lost_is_noticed(world: World) -> None:
    """The runner holds what it does not know of, and would keep others from it until the lease has run out."""
    lost: list[ObjectId] = []

    class Forgetful(Uploads):
        def claim(self, *arguments: Any, **options: Any) -> list[Upload]:
            claimed = super().claim(*arguments, **options)
            if claimed and not lost:
                lost.extend(upload.id for upload in claimed)
                raise AutoReconnect("the answer is lost")
            return claimed

    ids = world.add(world.file(6 * MIB), world.file(1000, "small"))
    records = replace(world.records, uploads=Forgetful(world.records.uploads.collection))
    world.start_runner(records=records, lease_seconds=600)
    world.wait_completed(ids)
    assert lost
    world.check()


def test_what_a_lost_answer_hides_is_found_once_there_is_room(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Inserted as held, and the answer lost, while others are older: the next claim takes some of those."""
    monkeypatch.setattr(ClaimAhead, "claimed", lambda self: None)  # 8 MiB at a time
    world = make_world(parallel_uploads=1)

    class Forgetful(Uploads):
        loses_answer = False

        def insert_claimed(self, *arguments: Any, **options: Any) -> list[Upload]:
            inserted = super().insert_claimed(*arguments, **options)
            if self.loses_answer and inserted:
                raise AutoReconnect("the answer is lost")
            return inserted

    uploads = Forgetful(world.records.uploads.collection)
    first = world.add(world.file(1000, "first"))
    runner = world.start_runner(records=replace(world.records, uploads=uploads), lease_seconds=600)
    world.wait_completed(first)  # now it is known what the server returns, and small files are inserted as held
    world.let(1)
    older = world.add(*(world.file(6 * MIB, f"older-{number}.bin") for number in range(6)))
    wait_for(lambda: "uploading" in world.statuses(older), "the first of them is at work")
    intake = Intake(
        world.s3_settings, world.transfer, host=runner.host, source=Source.COMMAND, endpoint=world.proxy.url
    )
    paths = [world.file(1000, f"{number}.bin") for number in range(3)]
    [batch] = intake.batches([os.fspath(path) for path in paths])
    uploads.loses_answer = True
    with pytest.raises(AutoReconnect):
        runner.insert(batch)
    lost = [document["_id"] for document in uploads.collection.find({"size": 1000, "status": "uploading"})]
    for upload_id in lost:
        world.expect(upload_id, Path(world.document(upload_id)["path"]))
    assert len(lost) == 3
    world.hurry()
    world.wait_completed([*older, *lost])
    world.check()


def test_a_wish_is_obeyed_by_a_runner_that_is_kept_busy(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though nothing told it of the wish, and something wakes it all the time."""
    [upload_id] = world.add(world.file(40 * MIB))
    world.let(2)
    wait = Wakeups.wait

    def is_busy(self: Wakeups, seconds: float) -> bool:
        wait(self, 0.01)
        return False

    monkeypatch.setattr(Wakeups, "wait", is_busy)
    world.start_runner()
    world.wait_parts(upload_id, 2)
    assert world.pause(upload_id) < IN_TIME
    world.check()


def test_what_is_just_being_inserted_is_not_taken_for_a_lost_claim(world: World) -> None:
    """While the answer to an insert is under way the runner knows nothing of what it holds by it."""
    claimed: list[ObjectId] = []
    decided = threading.Event()  # the runner has looked for what was lost meanwhile, or waits until it may

    class Watched:
        def __init__(self) -> None:
            self._lock = threading.Lock()

        def __enter__(self) -> None:
            if not self._lock.acquire(blocking=False):
                decided.set()
                self._lock.acquire()

        def __exit__(self, *_: object) -> None:
            self._lock.release()

    class Slow(Uploads):
        is_slow = False

        def insert_claimed(self, *arguments: Any, **options: Any) -> list[Upload]:
            inserted = super().insert_claimed(*arguments, **options)
            if self.is_slow:
                wait_for(looks_for_what_was_lost, "the runner looks")
            return inserted

        def claim(self, *arguments: Any, **options: Any) -> list[Upload]:
            found = super().claim(*arguments, **options)
            claimed.extend(upload.id for upload in found)
            if runner.name in options["dead"]:
                decided.set()
            return found

    def looks_for_what_was_lost() -> bool:
        # Said again and again: a claim that was already under way takes it back.
        runner._claim_may_be_lost = runner._may_find_more = True
        runner._wakeups.wake()
        return decided.is_set()

    uploads = Slow(world.records.uploads.collection)
    first = world.add(world.file(1000, "first"))
    runner = world.start_runner(records=replace(world.records, uploads=uploads), lease_seconds=600)
    world.wait_completed(first)  # now it is known what the server returns, and small files are inserted as held
    intake = Intake(
        world.s3_settings, world.transfer, host=runner.host, source=Source.COMMAND, endpoint=world.proxy.url
    )
    paths = [world.file(1000, f"{number}.bin") for number in range(3)]
    [batch] = intake.batches([os.fspath(path) for path in paths])
    uploads.is_slow = True
    runner._becoming_held = Watched()  # type: ignore[assignment]
    held = runner.insert(batch)
    for upload, path in zip(held, paths, strict=True):
        world.expect(upload.id, path)
    world.wait_completed([upload.id for upload in held])
    assert not set(claimed) & {upload.id for upload in held}
    assert len([put for put in world.proxy.requests if put.operation == "PutObject"]) == 4
    world.check()
