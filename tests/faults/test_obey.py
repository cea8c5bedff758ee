"""Uploads do what another host asks of them: pause, resume, cancel, retry, delete, priority, limits."""

from __future__ import annotations

import pytest

from console.models import Requested, UploadStatus
from console.records.requests import change_priority
from console.records.runners import Limits
from console.runner import deletion
from console.runner.deletion import delete_all
from tests.faults.conftest import MakeWorld
from tests.faults.proxy import Answer
from tests.faults.world import MIB, World, wait_for

PENDING, UPLOADING, CANCELLED = UploadStatus.PENDING, UploadStatus.UPLOADING, UploadStatus.CANCELLED
IN_TIME = 20.0  # seconds; a second is promised, a busy machine is given more
IN_FLIGHT = 4 * 5 * MIB  # parallel parts of 5 MiB


def test_pause_keeps_what_arrived_and_resume_sends_only_the_rest(world: World) -> None:
    size = 60 * MIB
    [upload_id] = world.add(world.file(size))
    world.start_runner(rate=80 * MIB)
    for parts in (2, 5, 8):
        world.let(parts)
        world.wait_parts(upload_id, parts)
        seconds = world.pause(upload_id)
        held = world.parts(upload_id)
        assert len(held) >= parts
        assert world.document(upload_id)["current"] <= sum(held.values()) + IN_FLIGHT
        print(f"paused within {seconds:.2f} s of being asked to, {len(held)} parts kept")
        assert seconds < IN_TIME
        world.resume(upload_id)
        wait_for(lambda: world.statuses([upload_id]) != ["paused"], "at work again")
    world.hurry()
    world.wait_completed([upload_id])
    print(f"sent {world.proxy.body_bytes / size:.2f} times the file's size in four stretches")
    assert world.proxy.body_bytes <= size + 3 * IN_FLIGHT
    world.check()


def test_cancel_aborts_the_multipart_upload(make_world: MakeWorld) -> None:
    world = make_world(parallel_parts=8)  # as many as both large ones have
    ids = world.add(world.file(21 * MIB), world.file(700_000, "waits"), world.file(11 * MIB, "other"))
    world.let(1)
    world.start_runner()
    world.wait_parts(ids[0], 1)
    seconds = world.cancel(ids[0])
    until_gone = wait_for(lambda: len(world.open_multiparts()) <= 1, "the parts are gone")
    print(f"cancelled within {seconds:.2f} s, parts dropped {until_gone:.2f} s later")
    assert seconds < IN_TIME
    assert until_gone < IN_TIME
    assert world.document(ids[0])["current"] == 0 or world.wait_until_tidy(ids[0]) < IN_TIME
    world.hurry()
    world.wait_completed(ids[1:])
    world.check()


def test_what_waits_for_its_turn_obeys_at_once(make_world: MakeWorld) -> None:
    """It is the runner's already, but nobody is at work on it."""
    world = make_world(parallel_uploads=1)
    [large, *waiting] = world.add(
        world.file(11 * MIB, "large"), *(world.file(2 * MIB, f"{number}.bin") for number in range(3))
    )
    world.let(1)
    world.start_runner()
    world.wait_status([large, *waiting], UPLOADING)
    assert world.cancel(waiting[0]) < IN_TIME
    assert world.pause(waiting[1]) < IN_TIME
    assert world.statuses([large, waiting[2]]) == ["uploading"] * 2
    world.hurry()
    world.wait_completed([large, waiting[2]])
    world.resume(waiting[1])
    world.wait_completed([large, *waiting[1:]])
    world.check()


def test_a_runner_that_begins_nothing_more_leaves_what_waits_to_others(make_world: MakeWorld) -> None:
    world = make_world(parallel_uploads=1)
    ids = world.add(world.file(11 * MIB, "large"), world.file(6 * MIB, "other"))
    world.let(1)
    ending = world.start_runner()
    world.wait_status(ids, UPLOADING)
    world.wait_parts(ids[0], 1)  # it has begun; the other one waits for its turn
    ending.drain()
    world.wait_status(ids[1:], PENDING)
    world.hurry()
    world.wait_completed(ids[:1])
    assert world.statuses(ids[1:]) == ["pending"]
    world.start_runner()
    world.wait_completed(ids)
    world.check()


def test_a_paused_upload_that_is_cancelled_leaves_nothing(world: World) -> None:
    [upload_id] = world.add(world.file(30 * MIB))
    world.let(1)
    world.start_runner()
    world.wait_parts(upload_id, 1)
    world.pause(upload_id)
    assert world.cancel(upload_id) < IN_TIME
    assert world.wait_until_tidy(upload_id) < IN_TIME
    assert world.open_multiparts() == []
    world.check()


def test_a_cancelled_upload_is_tried_again(world: World) -> None:
    [upload_id] = world.add(world.file(30 * MIB))
    world.let(1)
    world.start_runner()
    world.wait_parts(upload_id, 1)
    world.cancel(upload_id)
    world.retry(upload_id)
    world.hurry()
    world.wait_completed([upload_id])
    world.check()


def test_the_last_word_counts_however_fast_they_follow(world: World) -> None:
    [upload_id] = world.add(world.file(30 * MIB))
    world.let(1)
    world.start_runner()
    world.wait_parts(upload_id, 1)
    for _ in range(10):
        world.request(Requested.PAUSE, upload_id)
        world.request(Requested.RUN, upload_id)
    world.hurry()
    world.wait_completed([upload_id])
    world.check()


def test_many_are_paused_and_resumed_at_once(world: World) -> None:
    ids = world.add(*(world.file(6 * MIB, f"{number}.bin") for number in range(12)))
    world.let(1)  # of two
    world.start_runner(rate=60 * MIB)
    world.wait_status(ids[:1], UPLOADING)
    seconds = world.pause(*ids)
    print(f"{len(ids)} uploads paused within {seconds:.2f} s")
    assert seconds < IN_TIME
    world.check()
    world.resume(*ids)
    world.wait_status(ids, PENDING, UPLOADING)
    seconds = world.cancel(*ids)
    print(f"{len(ids)} uploads cancelled within {seconds:.2f} s")
    assert seconds < IN_TIME
    world.wait_until_tidy(*ids)
    world.check()


def test_delete_ends_what_runs_and_removes_what_is_there(make_world: MakeWorld) -> None:
    world = make_world(parallel_parts=8)  # more than both have
    done, running = world.add(world.file(6 * MIB, "done"), world.file(21 * MIB, "running"))
    world.let(2)
    world.start_runner()
    world.wait_completed([done])
    world.wait_parts(running, 1)
    with world.open_sender() as sender:
        outcome = delete_all(world.elsewhere, sender, [done, running])
    assert outcome.changed == 2
    assert not outcome.refused
    assert world.records.uploads.find({}) == []
    wait_for(lambda: world.open_multiparts() == [], "the parts are gone")
    assert world.object_keys() == set()
    world.check()


def test_delete_waits_for_the_lease_of_a_runner_that_died(world: World) -> None:
    """The record is all that knows of its parts."""
    [upload_id] = world.add(world.file(21 * MIB))
    world.let(2)
    killed = world.start_process(lease_seconds=3)
    world.wait_parts(upload_id, 2)
    killed.kill()
    assert world.statuses([upload_id]) == ["uploading"]
    with world.open_sender() as sender:
        outcome = delete_all(world.elsewhere, sender, [upload_id])
    assert (outcome.changed, outcome.refused) == (1, {})
    assert world.open_multiparts() == []
    world.check()


def test_what_a_runner_does_not_let_go_of_is_not_deleted(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deletion, "_OBEY_SECONDS", 0.2)
    [upload_id] = world.add(world.file(21 * MIB))
    world.let(2)
    killed = world.start_process(lease_seconds=600)
    world.wait_parts(upload_id, 2)
    killed.kill()  # for whoever asks from another host it may as well be alive
    with world.open_sender() as sender:
        outcome = delete_all(world.elsewhere, sender, [upload_id])
    assert outcome.changed == 0
    assert f"{killed.name} has not released it yet" in outcome.refused[upload_id]
    assert len(world.open_multiparts()) == 1
    world.start_runner()  # of its host: it sees that nobody is at work, and carries the wish out
    world.wait_status([upload_id], CANCELLED)
    world.wait_until_tidy(upload_id)
    world.check()


def test_a_record_that_is_removed_by_hand_ends_its_upload(world: World) -> None:
    [upload_id] = world.add(world.file(60 * MIB))
    world.let(1)
    world.start_runner()
    world.wait_parts(upload_id, 1)
    world.elsewhere.uploads.collection.delete_one({"_id": upload_id})
    wait_for(lambda: world.open_multiparts() == [], "the parts are gone")
    sent = world.proxy.body_bytes
    assert sent < 60 * MIB
    assert world.object_keys() == set()
    world.check()


def test_an_object_that_cannot_be_deleted_keeps_its_record(world: World) -> None:
    [upload_id] = world.add(world.file(1000))
    world.start_runner()
    world.wait_completed([upload_id])
    world.proxy.plan("DeleteObject", Answer(403, "AccessDenied"), times=1000)
    with world.open_sender() as sender:
        outcome = delete_all(world.elsewhere, sender, [upload_id])
    assert outcome.changed == 0
    assert "AccessDenied" in outcome.refused[upload_id]
    assert "s3:DeleteObject" in outcome.refused[upload_id]
    world.check()


def test_parts_that_cannot_be_aborted_keep_their_record_and_the_right_is_named(world: World) -> None:
    [upload_id] = world.add(world.file(20 * MIB))
    world.let(1)
    world.start_runner()
    world.wait_parts(upload_id, 1)
    world.pause(upload_id)
    world.proxy.plan("AbortMultipartUpload", Answer(403, "AccessDenied"), times=1000)
    with world.open_sender() as sender:
        outcome = delete_all(world.elsewhere, sender, [upload_id])
    assert outcome.changed == 0
    assert "s3:AbortMultipartUpload" in outcome.refused[upload_id]


@pytest.mark.parametrize("is_same", [True, False])
def test_the_object_of_a_later_upload_outlives_an_older_record(world: World, is_same: bool) -> None:
    path = world.file(1000)
    world.start_runner()
    ids = []
    for _ in range(3):
        ids += world.add(path)
        world.wait_completed(ids[-1:])
        if not is_same:
            world.file(1000)
    with world.open_sender() as sender:
        outcome = delete_all(world.elsewhere, sender, ids[:1])
        assert (outcome.changed, outcome.refused) == (1, {})
        assert outcome.kept == {ids[0]: f"the object is that of upload {ids[2]}, which completed later"}
        assert world.object_keys() == {"file.bin"}
        # The last one takes the object along, whichever of the two is dealt with first.
        outcome = delete_all(world.elsewhere, sender, ids[1:])
    assert (outcome.changed, outcome.refused, outcome.kept) == (2, {}, {})
    assert world.object_keys() == set()
    world.check()


def test_an_object_that_somebody_else_replaced_stays(world: World) -> None:
    [upload_id] = world.add(world.file(1000))
    world.start_runner()
    world.wait_completed([upload_id])
    world.s3.put_object(Bucket=world.bucket, Key="file.bin", Body=b"of somebody else")
    with world.open_sender() as sender:
        outcome = delete_all(world.elsewhere, sender, [upload_id])
    assert (outcome.changed, outcome.refused) == (1, {})
    assert "replaced" in outcome.kept[upload_id]
    world.check(foreign=["file.bin"])


def test_each_version_is_its_own_uploads(world: World) -> None:
    """With a version the record has an object of its own; without one it would be whatever is there now."""
    ids = []
    path = world.file(1000)
    world.start_runner()
    for version in (None, "old", "new"):
        ids += world.add(path)
        world.wait_completed(ids[-1:])
        world.elsewhere.uploads.collection.update_one({"_id": ids[-1]}, {"$set": {"version_id": version}})
    world.proxy.plan("HeadObject", Answer(404, ""), when=lambda request: "versionId" in request.query)
    before = len(world.proxy.requests)
    with world.open_sender() as sender:
        outcome = delete_all(world.elsewhere, sender, ids[:2])
    assert (outcome.changed, outcome.refused) == (2, {})
    assert outcome.kept == {ids[0]: f"the object is that of upload {ids[2]}, which completed later"}
    asked = [(request.operation, request.query.get("versionId")) for request in world.proxy.requests[before:]]
    assert asked == [("HeadObject", "old"), ("HeadBucket", None)]  # the server here keeps no versions
    world.check()


def test_priority_decides_what_starts_next(make_world: MakeWorld) -> None:
    world = make_world(parallel_uploads=1)
    # More than a runner claims ahead.
    first, *others = world.add(*(world.file(6 * MIB, f"{number}.bin") for number in range(5)))
    world.let(1)
    world.start_runner()
    world.wait_status([first], UPLOADING)
    urgent = others[-1]
    assert world.statuses([urgent]) == ["pending"]
    change_priority(world.elsewhere.uploads, [urgent], 10)
    # Looked at after the change: the runner may be claiming ahead all the time.
    waiting = {urgent, *(upload_id for upload_id in others if world.statuses([upload_id]) == ["pending"])}
    assert len(waiting) >= 2
    world.hurry()
    world.wait_completed([first, *others])
    keys = {world.document(upload_id)["key"] for upload_id in waiting}
    # One worker: the order in which they were completed is that in which they were begun.
    order = [request.key for request in world.proxy.requests if request.operation == "CompleteMultipartUpload"]
    assert next(key for key in order if key in keys) == world.document(urgent)["key"]
    world.check()


@pytest.mark.parametrize("uploads", [1, 4])
def test_limits_change_while_uploads_run(make_world: MakeWorld, uploads: int) -> None:
    world = make_world(parallel_uploads=5 - uploads)
    ids = world.add(*(world.file(11 * MIB, f"{number}.bin") for number in range(6)))
    world.let(1)
    runner = world.start_runner(rate=20 * MIB)
    world.wait_status(ids[:1], UPLOADING)
    world.elsewhere.runners.set_limits(runner.name, Limits(3 * MIB, uploads, 2))
    seconds = wait_for(lambda: runner.limits == Limits(3 * MIB, uploads, 2), "the runner's new limits")
    print(f"limits changed within {seconds:.2f} s")
    if uploads == 4:
        multiparts = wait_for(lambda: len(world.open_multiparts()) == 4, "four at once")
        print(f"four at once {multiparts:.2f} s later")
    world.hurry()
    world.wait_completed(ids)
    world.check()


def test_an_upload_of_another_console_obeys_too(world: World) -> None:
    """Two runners on two hosts; each obeys for its own uploads, whoever asks."""
    here = world.add(world.file(30 * MIB, "here"))
    there = world.add(world.file(30 * MIB, "there"), host="there")
    world.let(1)
    world.start_runner()
    world.start_runner("there", records=world.elsewhere)
    world.wait_status([*here, *there], UPLOADING)
    leases = [world.document(upload_id)["lease"]["runner"].split(":")[0] for upload_id in (*here, *there)]
    assert leases == ["here", "there"]
    assert world.pause(*here, *there) < IN_TIME
    assert world.cancel(*there) < IN_TIME
    world.wait_until_tidy(*there)
    world.check()
