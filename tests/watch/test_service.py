"""From a file that comes to rest to a completed record, on real folders and the real servers."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from pymongo.errors import AutoReconnect

from console.models import Requested, Source
from console.records.requests import request_all
from console.records.watched_files import Record, SentFiles
from console.watch import folder as watched_folder
from console.watch import pending_queue, watcher, watchfiles
from console.watch import watcher as scan_progress
from console.watch.folder_events import Changes
from console.watch.inotify import InotifyEvents
from console.watch.reporting import NoteKind
from console.watch.watcher import State
from console.watch.watchfiles import NotifiedEvents
from tests.watch.clocks import Time
from tests.watch.conftest import World
from tests.watch.waiting import until


def keys(documents: list[dict[str, Any]]) -> set[str]:
    return {document["key"] for document in documents}


def test_files_that_are_there_and_files_that_come_are_uploaded_under_their_keys(world: World) -> None:
    world.write("early.txt", "early", age_seconds=60)
    world.run()
    world.watch(
        world.rule(
            to=f"s3://{world.bucket}/incoming", name="scans", key_template="{prefix}/{host}/{relative_path}", priority=7
        )
    )
    until(lambda: world.notes.of(NoteKind.SCANNED))
    world.write("deep/er/late.txt", "late")
    documents = world.completed(2)
    assert {document["key"]: document["source"] for document in documents} == {
        "incoming/watching-host/early.txt": Source.WATCH,
        "incoming/watching-host/deep/er/late.txt": Source.WATCH,
    }
    assert world.body("incoming/watching-host/deep/er/late.txt") == b"late"
    assert {(document["watch"]["rule"], document["priority"]) for document in documents} == {("scans", 7)}
    until(lambda: len(world.notes.of(NoteKind.COMPLETED)) >= 2)


def test_a_file_written_in_bursts_is_sent_once_and_whole(world: World) -> None:
    """The bursts are further apart than the quiet time: only that it is open tells that more will come."""
    world.run()
    world.watch()
    path = world.folder / "slow.log"
    with path.open("wb") as stream:
        for burst in range(3):
            stream.write(b"%d" % burst * 1000)
            stream.flush()
            looked = len(looks_at(world, path))
            until(lambda looked=looked: len(looks_at(world, path)) > looked + 1)
            assert world.documents() == []
    (document,) = world.completed(1)
    assert (document["size"], len(world.documents())) == (3000, 1)
    assert world.body("slow.log") == path.read_bytes()


def looks_at(world: World, path: Path) -> list[str]:
    """How often the file was found at rest, and to be open."""
    return [asked for asked in world.asked_if_open if asked == str(path)]


def test_writes_without_an_open_file_are_told_by_the_quiet_time(world: World) -> None:
    """Each burst opens and closes the file, as `>>` in a script does. Time passes between the bursts only."""
    world.run()
    service = world.watch(world.rule(quiet_seconds=1.0))
    world.scanned(service)
    (watching,) = service.watchers()
    pending_files, time = watching._pending_files, Time()
    time.rules(pending_files)
    path = world.folder / "slow.log"
    for burst in range(1, 4):
        with path.open("ab") as stream:
            stream.write(b"x" * 100)
        until(lambda size=burst * 100: [file.size for file in pending_files.waiting()] == [size])
        time.passed += 0.9
    assert world.documents() == []
    time.passed += 0.2
    watching.wake()
    (document,) = world.completed(1)
    assert (document["size"], len(world.documents())) == (300, 1)


def test_temporary_names_wait_for_their_rename(world: World) -> None:
    world.run()
    world.watch(world.rule(complete_when="renamed"))
    until(lambda: world.notes.of(NoteKind.SCANNED))
    temporary = world.write("movie.mkv.part", "all of it")
    world.write(".hidden", "no")
    temporary.rename(world.folder / "movie.mkv")
    assert keys(world.completed(1)) == {"movie.mkv"}
    assert len(world.documents()) == 1


def test_a_marker_says_complete_and_is_not_sent(world: World) -> None:
    world.run()
    world.watch(world.rule(complete_when="marked", after="delete"))
    until(lambda: world.notes.of(NoteKind.SCANNED))
    first = world.write("a.csv", age_seconds=60)
    world.write("b.csv", age_seconds=60)
    marker = world.write("a.csv.done")
    assert keys(world.completed(1)) == {"a.csv"}
    until(lambda: not first.exists() and not marker.exists())
    assert len(world.documents()) == 1


def test_what_changes_while_it_waits_is_sent_as_it_is_in_the_end(world: World) -> None:
    """No runner is there at first: the upload waits, the file changes, the same record follows it."""
    path = world.write("a.txt", "first", age_seconds=60)
    world.watch()
    until(lambda: world.documents())
    path.write_text("second version")
    until(lambda: world.documents(size=14))
    world.run()
    (document,) = world.completed(1)
    assert world.body("a.txt") == b"second version"
    assert (len(world.documents()), document["error"]) == (1, None)


def test_what_changes_right_before_it_is_sent_waits_until_it_is_at_rest_again(world: World) -> None:
    """The runner meets a file that is being written: it leaves that to the watch instead of sending half of it."""
    path = world.write("a.txt", "first", age_seconds=60)
    service = world.watch()
    until(lambda: world.documents())
    with path.open("w") as stream:
        stream.write("half")
        stream.flush()
        world.run()
        until(lambda: world.documents(status="failed"))
        assert world.documents()[0]["error"]["code"] == "FileChanged"
        stream.write(" and half")
    (document,) = world.completed(1)
    assert world.body("a.txt") == b"half and half"
    assert len(world.documents()) == 1
    assert document["error"] is None  # that of the try before
    until(lambda: service.watchers()[0].state is State.WATCHING)


def test_a_restart_sends_what_came_meanwhile_and_nothing_twice(world: World) -> None:
    world.write("a", age_seconds=60)
    world.write("b", age_seconds=60)
    world.run()
    service = world.watch()
    world.completed(2)
    service.stop()
    world.write("c", age_seconds=60)
    world.settle(world.watch())
    world.completed(3)
    assert sorted(document["filename"] for document in world.documents()) == ["a", "b", "c"]


def test_two_watchers_on_one_folder_send_each_file_once(world: World) -> None:
    for number in range(100):
        world.write(f"early-{number}", f"{number}", age_seconds=60)
    world.run()
    services = [world.watch(world.rule(name=name), holder=name) for name in ("one", "two")]
    for number in range(100):
        world.write(f"late-{number}", f"{number}")
    world.completed(200)
    for service in services:
        world.settle(service)
    assert len(world.documents()) == len({document["path"] for document in world.documents()}) == 200


def test_two_hosts_that_share_a_folder_send_each_file_once(world: World) -> None:
    for number in range(50):
        world.write(f"{number}", f"{number}", age_seconds=60)
    services = []
    for host in ("left", "right"):
        world.run(host)
        services.append(world.watch(world.rule(shared_as="archive"), host=host, holder=host))
    world.completed(50)
    world.scanned(*services)
    assert len(world.documents()) == 50


def test_a_second_process_of_the_host_stands_by_and_takes_over(world: World) -> None:
    first = world.watch(holder="one")
    second = world.watch(holder="two")
    until(lambda: second.watchers()[0].state is State.STANDBY)
    world.write("a", age_seconds=60)
    until(lambda: world.documents())
    first.stop()
    until(lambda: second.watchers()[0].state is State.WATCHING)
    world.write("b", age_seconds=60)
    until(lambda: len(world.documents()) == 2)


def test_refused_files_are_counted_with_their_reasons_and_leave_when_they_do(world: World) -> None:
    world.write("fine.txt", age_seconds=60)
    large = world.write("large.txt", "x" * 2000, age_seconds=60)
    world.write("wrong.exe", age_seconds=60)
    (world.folder / "way out").symlink_to("/etc/passwd")
    os.mkfifo(world.folder / "pipe")
    service = world.watch(world.rule(max_size=1000, extensions=(".txt",)))
    (watcher,) = service.watchers()
    until(lambda: len(world.notes.of(NoteKind.REFUSED)) == 4)
    assert watcher.refusals.total == 4
    assert set(watcher.refusals.by_reason()) == {
        "larger than allowed",
        "its extension is not allowed",
        "a symbolic link that leads out of the folder",
        "a named pipe",
    }
    assert {os.path.basename(path) for path in world.notes.paths(NoteKind.REFUSED)} == {
        "large.txt",
        "wrong.exe",
        "way out",
        "pipe",
    }
    large.unlink()
    watcher.look_again()
    until(lambda: watcher.refusals.total == 3)
    assert len(world.documents()) == 1


def test_hostile_names_reach_the_bucket(world: World) -> None:
    world.run()
    world.watch()
    until(lambda: world.notes.of(NoteKind.SCANNED))
    world.write("two\nlines\x1b[31m.txt", "newline")
    raw = Path(os.fsdecode(os.fsencode(world.folder) + b"/caf\xe9.txt"))
    raw.write_text("latin")
    documents = world.completed(2)
    assert {world.body(key) for key in keys(documents)} == {b"newline", b"latin"}
    world.watch(holder="again").stop()
    assert len(world.documents()) == 2


def test_a_folder_that_goes_and_comes_back(world: World, tmp_path: Path) -> None:
    world.write("a", age_seconds=60)
    world.run()
    service = world.watch()
    world.completed(1)
    world.folder.rename(tmp_path / "away")
    until(lambda: service.watchers()[0].state is State.MISSING)
    assert world.notes.of(NoteKind.MISSING)
    (tmp_path / "away" / "b").write_text("came while it was away")
    (tmp_path / "away").rename(world.folder)
    world.completed(2)
    world.write("c")
    assert {document["filename"] for document in world.completed(3)} == {"a", "b", "c"}
    assert len(world.documents()) == 3


def test_a_share_that_is_unmounted_under_waiting_uploads_and_mounted_again(world: World, tmp_path: Path) -> None:
    """What could not be found while it was away is sent once it is back, without anybody's retry."""
    behind = tmp_path / "behind"
    behind.mkdir()
    mount(behind, world.folder)
    try:
        world.write("a", "content", age_seconds=60)
        service = world.watch()
        world.scanned(service)
        until(lambda: world.documents())
        subprocess.run(["umount", "-l", world.folder], check=True)
        until(lambda: service.watchers()[0].counters.scans == 2)  # it sees the empty folder that was behind the share
        world.run()
        until(lambda: world.documents(status="failed"))
        assert world.documents()[0]["error"]["code"] == "FileNotFound"
        mount(behind, world.folder)
        world.completed(1)
        assert len(world.documents()) == 1
        service.stop()
    finally:
        subprocess.run(["umount", "-l", world.folder], check=False)


def mount(source: Path, target: Path) -> None:
    try:
        mounted = subprocess.run(["mount", "--bind", source, target], capture_output=True)
    except OSError:
        pytest.skip("there is no mount program")
    if mounted.returncode:
        pytest.skip("this user may not mount")


def test_a_storm_of_files_overflows_the_queue_and_none_is_missed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel's queue is left unread until it has overflowed. (How long they take to be sent: benchmarks/watch.)"""
    blocked = world.block(monkeypatch, InotifyEvents, "take", Changes)
    service = world.watch(world.rule(complete_when="renamed"))
    until(lambda: world.notes.of(NoteKind.SCANNED))
    limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    noise = [world.write(f"noise-{number}") for number in range(2)]
    for number in range(limit // 2):
        for path in noise:  # in turns: the kernel joins events that are the same as the last one
            os.utime(path, (number, number))
    count = 1_000
    for number in range(count - len(noise)):
        (world.folder / f"{number}").touch()
    blocked.set()
    until(lambda: service.watchers()[0].counters.overflows)
    until(lambda: world.records.uploads.collection.count_documents({}) == count)
    assert len({document["path"] for document in world.documents()}) == count
    assert world.notes.of(NoteKind.OVERFLOW)


def test_a_first_start_goes_in_batches_does_not_run_ahead_of_the_sending_and_tells_how_far_it_is(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pending_queue, "BATCH", 10)
    monkeypatch.setattr(watcher, "QUEUE_AHEAD", 25)
    monkeypatch.setattr(scan_progress, "TELL_SECONDS", 0.0)
    for number in range(100):
        world.write(f"{number % 7}/{number}", age_seconds=60)
    service = world.watch(world.rule(complete_when="renamed"))
    until(lambda: any("of 100 files" in note.message for note in world.notes.of(NoteKind.SCANNING)))
    until(lambda: len(world.documents()) == 30)  # three batches: with two there was room
    (watching,) = service.watchers()
    told = len(world.notes.of(NoteKind.SCANNING))
    until(lambda: len(world.notes.of(NoteKind.SCANNING)) > told + 3)  # it has asked for room several times since
    assert (len(world.documents()), watching.state_message) == (30, "scanning 40%")  # the fourth is in hand
    assert "files in" in world.notes.of(NoteKind.SCANNING)[0].message
    world.run()
    world.completed(100)
    (scanned,) = until(lambda: world.notes.of(NoteKind.SCANNED))
    assert scanned.message.startswith("100 files in 8 folders in ")


def test_uploads_that_somebody_paused_take_no_room_from_new_files(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They may wait for ever; people still see them among those that are pending."""
    monkeypatch.setattr(watcher, "QUEUE_AHEAD", 2)
    for name in ("a", "b"):
        world.write(name, age_seconds=60)
    service = world.watch(world.rule(name="scans"))
    documents = until(lambda: found if len(found := world.documents()) == 2 else None)
    request_all(world.records.uploads, [document["_id"] for document in documents], Requested.PAUSE)
    world.write("c", age_seconds=60)
    until(lambda: len(world.documents()) == 3)
    until(lambda: service.presence.known()[0].pending == 3)


def test_files_that_come_while_mongodb_is_away_are_sent_when_it_is_back(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also the second folder of two: the first ends the look at what has changed."""
    service = world.watch(world.rule(complete_when="renamed"))
    (watching,) = service.watchers()
    until(lambda: world.notes.of(NoteKind.SCANNED))
    is_away = True
    real = SentFiles.newest

    def newest(self: SentFiles, paths: Sequence[str]) -> dict[str, Record]:
        if is_away:
            raise AutoReconnect("connection closed")
        return real(self, paths)

    monkeypatch.setattr(SentFiles, "newest", newest)
    monkeypatch.setattr(pending_queue, "BATCH", 1)
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a").touch()
    for name in ("one", "two"):
        (tmp_path / name).rename(world.folder / name)
    (problem,) = until(lambda: world.notes.of(NoteKind.TROUBLE))
    assert "MongoDB" in problem.message
    is_away = False
    until(lambda: len(world.documents()) == 2)
    until(lambda: not watching.problems.are_there)
    assert len(world.notes.of(NoteKind.TROUBLE)) == 1


def test_a_file_waits_until_it_has_the_age_that_the_rule_wants(world: World) -> None:
    young = world.write("young")
    world.write("old", age_seconds=600)
    service = world.watch(world.rule(minimum_age_seconds=300.0))
    until(lambda: world.notes.of(NoteKind.SCANNED) and world.documents())
    assert [document["filename"] for document in world.documents()] == ["old"]
    os.utime(young, (1, 1))
    service.watchers()[0].look_again()
    until(lambda: len(world.documents()) == 2)


def test_with_the_events_of_watchfiles_as_elsewhere_than_on_linux(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        watched_folder, "open_events", lambda folder, mode, *, recursive: NotifiedEvents(folder, recursive=recursive)
    )
    monkeypatch.setattr(watchfiles, "_DEBOUNCE_MS", 50)
    world.run()
    service = world.watch(world.rule(complete_when="renamed"))
    until(lambda: world.notes.of(NoteKind.SCANNED))
    world.write("new folder/a")
    (tmp_path / "b.part").touch()
    (tmp_path / "b.part").rename(world.folder / "b")
    world.completed(2)
    Path(os.fsdecode(os.fsencode(world.folder) + b"/caf\xe9")).touch()
    world.completed(3)
    world.write("c")
    world.completed(4)
    until(lambda: service.watchers()[0].state is State.WATCHING)
    assert len(world.documents()) == 4


def test_without_events_the_folder_is_polled(world: World) -> None:
    world.run()
    service = world.watch(world.rule(mode="polling"))
    until(lambda: service.watchers()[0].state is State.POLLING)
    world.write("sub/a")
    assert keys(world.completed(1)) == {"sub/a"}


def test_where_the_system_gives_no_more_watches_the_folder_is_polled(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise watched_folder.WatchesUsedUp(28, "raise fs.inotify.max_user_watches")

    monkeypatch.setattr(watched_folder, "open_events", refuse)
    service = world.watch()
    until(lambda: service.watchers()[0].state is State.POLLING)
    assert "max_user_watches" in world.notes.of(NoteKind.TROUBLE)[0].message
    world.write("a")
    until(lambda: world.documents())


def test_a_moved_folder_is_sent_under_its_new_names(world: World, tmp_path: Path) -> None:
    """Written beside the watched folder and moved in as a whole: its files give no events of their own."""
    world.run()
    world.watch()
    until(lambda: world.notes.of(NoteKind.SCANNED))
    (tmp_path / "batch" / "inner").mkdir(parents=True)
    (tmp_path / "batch" / "inner" / "a").write_text("a")
    shutil.move(tmp_path / "batch", world.folder / "batch")
    assert keys(world.completed(1)) == {"batch/inner/a"}


def test_a_watch_of_which_too_many_uploads_fail_is_paused(world: World) -> None:
    """No runner is there: the failure is written as one would write it."""
    service = world.watch(world.rule(max_failures=1))
    world.write("a.txt", "a")
    world.write("b.txt", "b")
    first = until(lambda: world.documents() if len(world.documents()) == 2 else [])[0]
    failed: Any = [{"$set": {"status": "failed", "finished_at": "$$NOW"}}]
    world.records.uploads.collection.update_one({"_id": first["_id"]}, failed)
    until(lambda: world.documents(status="paused"))
    until(lambda: service.presence.is_paused("watching-host", service.watchers()[0].rule.title))
    assert any("max_failures after 1 upload failed" in note.message for note in world.notes.of(NoteKind.PAUSED))
