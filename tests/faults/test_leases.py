"""Who may go on with an upload when its runner dies, hangs or is cut off; real processes are killed and stopped."""

from __future__ import annotations

import os
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bson import ObjectId

from console.models import Requested, UploadStatus
from console.runner.runner import Runner
from tests.faults.conftest import MakeWorld
from tests.faults.proxy import Hold
from tests.faults.world import MIB, World, sha256, wait_for

LARGE = 40 * MIB
LEASE = 1.5
IN_TIME = 10.0  # seconds; about two are usual


def holder(world: World, upload_id: ObjectId) -> str | None:
    lease = world.document(upload_id)["lease"]
    return lease and lease["runner"]


def wait_adopted(world: World, upload_id: ObjectId, runner: Runner) -> float:
    return wait_for(lambda: holder(world, upload_id) == runner.name, "adopted")


def lease_was_over(world: World, upload_id: ObjectId) -> bool:
    """Whether the lease had run out, by the server's clock, when another runner took the upload."""
    [taken] = [
        event
        for event in world.events(upload_id)
        if event.before
        and event.after
        and event.before["lease"]
        and event.after["lease"]
        and event.before["lease"]["runner"] != event.after["lease"]["runner"]
    ]
    assert taken.before is not None
    assert taken.wall_time is not None
    return bool(taken.before["lease"]["expires_at"] <= taken.wall_time)


def test_after_a_kill_a_runner_of_the_host_goes_on_at_once(world: World) -> None:
    """Long before the lease has run out: the kernel has let go of the dead runner's lock."""
    [upload_id] = world.add(world.file(LARGE))
    world.let(2)
    killed = world.start_process()
    world.wait_parts(upload_id, 2)
    waiting = world.start_runner()
    killed.kill()
    world.hurry()
    seconds = wait_adopted(world, upload_id, waiting)
    print(f"adopted {seconds:.2f} s after the kill")
    assert seconds < IN_TIME
    world.wait_completed([upload_id])
    assert not lease_was_over(world, upload_id)
    assert world.proxy.passed_bytes <= LARGE + 4 * 5 * MIB
    world.check()
    assert list(world.locks.glob("*")) != []  # of those that live


def test_the_next_start_goes_on_at_once(make_world: MakeWorld) -> None:
    world = make_world(parallel_parts=8)  # as many as both have
    ids = world.add(world.file(21 * MIB), world.file(11 * MIB, "second"))
    world.let(2)
    killed = world.start_process()
    world.wait_parts(ids[0], 2)
    killed.kill()
    world.hurry()
    world.start_runner()
    world.wait_completed(ids)
    for upload_id in ids:
        assert world.document(upload_id)["error"] is None
    world.check()


def test_without_the_lock_file_the_lease_has_to_run_out(world: World) -> None:
    """As in another container of the same host name."""
    [upload_id] = world.add(world.file(LARGE))
    world.let(2)
    killed = world.start_process(locks=world.folder / "other locks", lease_seconds=LEASE)
    world.wait_parts(upload_id, 2)
    killed.kill()
    world.hurry()
    adopting = world.start_runner(lease_seconds=LEASE)
    seconds = wait_adopted(world, upload_id, adopting)
    print(f"adopted {seconds:.2f} s after the kill, with a lease of {LEASE} s")
    world.wait_completed([upload_id])
    assert lease_was_over(world, upload_id)
    world.check()


def test_an_upload_of_another_host_is_taken_only_where_its_file_is_seen(world: World) -> None:
    path = world.file(LARGE)
    [upload_id] = world.add(path, host="elsewhere")
    world.let(2)
    killed = world.start_process("elsewhere", lease_seconds=LEASE)
    world.wait_parts(upload_id, 2)
    killed.kill()
    world.hurry()
    hidden = path.rename(path.with_name("hidden"))
    looked: list[str] = []
    sender = world.open_sender()
    is_here = sender.is_here

    def look(upload: object) -> bool:
        answer = is_here(upload)  # type: ignore[arg-type]
        looked.append(f"{answer}")
        return answer

    sender.is_here = look  # type: ignore[method-assign]
    runner = world.start_runner(sender=sender, lease_seconds=LEASE)
    wait_for(lambda: looked, "looked for the file")
    assert set(looked) == {"False"}
    assert holder(world, upload_id) == killed.name
    assert world.statuses([upload_id]) == ["uploading"]
    path.write_bytes(os.urandom(LARGE))  # a file, but not that one
    looked.clear()
    wait_for(lambda: looked, "looked at the other file")
    assert set(looked) == {"False"}
    hidden.replace(path)
    wait_adopted(world, upload_id, runner)
    world.wait_completed([upload_id])
    assert lease_was_over(world, upload_id)
    world.check()


def test_an_adopted_upload_stays_with_the_host_that_adopted_it(world: World) -> None:
    """Its own host is gone: nobody else could go on with what the adopter lets go of."""
    [upload_id] = world.add(world.file(LARGE), host="elsewhere")
    world.let(2)
    killed = world.start_process("elsewhere", lease_seconds=LEASE)
    world.wait_parts(upload_id, 2)
    killed.kill()
    adopter = world.start_runner(lease_seconds=LEASE)
    wait_adopted(world, upload_id, adopter)
    assert adopter.stop()
    world.wait_status([upload_id], UploadStatus.PAUSED)
    world.hurry()
    world.start_runner()
    world.wait_completed([upload_id])
    assert world.document(upload_id)["host"] == adopter.host
    world.check()


def test_many_stalled_uploads_whose_files_are_not_here_hide_none_that_is(world: World) -> None:
    missing = [world.file(1000, f"missing-{number}") for number in range(130)]
    ids = world.add(*missing, world.file(1000, "here"), host="gone")
    for path in missing:
        path.unlink()
    over = {"runner": "gone:1:x", "expires_at": datetime.now(UTC) - timedelta(minutes=1)}
    world.records.uploads.collection.update_many({}, {"$set": {"status": "uploading", "lease": over}})
    world.start_runner(lease_seconds=LEASE)
    world.wait_completed(ids[-1:])
    assert set(world.statuses(ids[:-1])) == {"uploading"}


def test_a_runner_that_begins_nothing_more_is_not_counted_on(world: World) -> None:
    """A command that left new uploads to it would wait for them in vain."""
    world.let(1)
    [upload_id] = world.add(world.file(11 * MIB))
    runner = world.start_runner()
    world.wait_parts(upload_id, 1)
    live = world.records.runners.live
    assert [state.runner for state in live(runner.host, ["console", "watch"])] == [runner.name]
    runner.drain()
    wait_for(lambda: not live(runner.host, ["console", "watch"]), "not counted on")
    assert [state.kind for state in live(runner.host)] == ["leaving"]
    world.hurry()
    world.wait_completed([upload_id])


def test_intents_for_an_upload_whose_runner_was_killed_are_carried_out(make_world: MakeWorld) -> None:
    world = make_world(parallel_parts=8)  # as many as both have
    paused, cancelled = world.add(world.file(16 * MIB, "paused"), world.file(16 * MIB, "cancelled"))
    world.let(1)
    killed = world.start_process()
    world.wait_parts(paused, 1)
    world.wait_parts(cancelled, 1)
    killed.kill()
    world.request(Requested.PAUSE, paused)
    world.request(Requested.CANCEL, cancelled)
    world.hurry()
    world.start_runner()
    world.wait_status([paused], UploadStatus.PAUSED)
    world.wait_status([cancelled], UploadStatus.CANCELLED)
    world.wait_until_tidy(cancelled)
    assert len(world.open_multiparts()) == 1
    world.check()
    world.resume(paused)
    world.wait_completed([paused])
    world.check()


def test_a_runner_that_slept_gives_way_when_it_wakes(world: World) -> None:
    [upload_id] = world.add(world.file(LARGE))
    world.let(2)
    sleeper = world.start_process(lease_seconds=LEASE)
    world.wait_parts(upload_id, 2)
    sleeper.signal(signal.SIGSTOP)
    adopting = world.start_runner(lease_seconds=LEASE)
    wait_adopted(world, upload_id, adopting)
    sleeper.signal(signal.SIGCONT)
    wait_for(sleeper.is_idle, "the sleeper has let go")
    assert holder(world, upload_id) == adopting.name
    world.hurry()
    world.wait_completed([upload_id])
    assert lease_was_over(world, upload_id)
    assert world.document(upload_id)["attempts"] == 2
    world.check()


def test_a_runner_that_slept_does_not_bring_back_old_bytes(make_world: MakeWorld) -> None:
    """It sleeps in the middle of a PutObject; when it wakes, the file is another one and its object is there."""
    world = make_world(multipart_threshold=16 * MIB)
    path = world.file(12 * MIB)
    [upload_id] = world.add(path)
    hold = Hold()
    world.proxy.plan("PutObject", hold)
    sleeper = world.start_process(lease_seconds=LEASE)
    assert hold.reached.wait(60)
    sleeper.signal(signal.SIGSTOP)
    replacement = Path(f"{path}.new")
    replacement.write_bytes(os.urandom(12 * MIB))
    replacement.replace(path)
    world.expect(upload_id, path)
    world.start_runner(lease_seconds=LEASE)
    world.wait_completed([upload_id])
    hold.release.set()
    sleeper.signal(signal.SIGCONT)
    wait_for(sleeper.is_idle, "the sleeper has let go")
    assert world.object_hash("file.bin") == sha256(path.read_bytes())
    world.check()
