"""What users of other watchers reported, tried as they would. docs/public-reports.md has the list."""

from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path

from console.watch.reporting import NoteKind
from tests.watch.conftest import World
from tests.watch.waiting import until


def names(world: World) -> set[str]:
    return {each["key"] for each in world.documents(status="completed")}


def test_a_folder_that_is_moved_in_is_sent_with_all_in_it(world: World, tmp_path: Path) -> None:
    """minio/mc#3292."""
    made = tmp_path / "elsewhere" / "some folder"
    (made / "inner").mkdir(parents=True)
    (made / "inner" / "file").write_text("x")
    (made / "top").write_text("x")
    world.run()
    service = world.watch()
    world.scanned(service)
    shutil.move(made, world.folder)
    until(lambda: names(world) == {"some folder/inner/file", "some folder/top"})


def test_what_is_written_into_a_new_folder_at_once_is_sent(world: World) -> None:
    """minio/mc#2929, #1852 (a name of one letter), #2105 (fast changes)."""
    world.run()
    service = world.watch()
    world.scanned(service)
    for number in range(20):
        folder = world.folder / f"n{number}" / "deep" / "deeper"
        folder.mkdir(parents=True)
        (folder / "f").write_text(str(number))
    until(lambda: names(world) == {f"n{number}/deep/deeper/f" for number in range(20)})


def test_a_change_that_keeps_the_size_is_sent(world: World) -> None:
    """minio/mc#3331: 1234 became 0000."""
    world.run()
    service = world.watch(world.rule(changed="upload"))
    path = world.write("tmp", "1234")
    until(lambda: names(world) == {"tmp"})
    path.write_text("0000")
    until(lambda: world.body("tmp") == b"0000")
    world.settle(service)


def test_a_file_that_is_renamed_while_it_is_watched_has_its_object_and_can_be_edited(world: World) -> None:
    """minio/mc#2433: it was locked, and there twice."""
    world.run()
    service = world.watch()
    path = world.write("before", "the same")
    until(lambda: names(world) == {"before"})
    path.rename(world.folder / "after")
    until(lambda: names(world) == {"before", "after"})
    assert world.body("after") == b"the same"
    (world.folder / "after").write_text("edited within the minute")
    until(lambda: world.body("after") == b"edited within the minute")
    world.settle(service)
    assert not world.notes.of(NoteKind.TROUBLE)


def test_a_file_that_is_written_for_long_is_sent_once_it_is_whole(world: World) -> None:
    """gorakhargosh/watchdog#313, #44, radovskyb/watcher#66, samuelcolvin/watchfiles#56, emcrisostomo/fswatch#311."""
    world.run()
    service = world.watch(world.rule(quiet_seconds=1.0))
    goes_on = threading.Event()
    path = world.folder / "large"

    def write() -> None:
        with path.open("wb") as file:
            for _ in range(40):
                file.write(os.urandom(100_000))
                file.flush()
                goes_on.wait(0.05)

    writer = threading.Thread(target=write)
    writer.start()
    writer.join()
    until(lambda: names(world) == {"large"})
    world.settle(service)
    assert [each["size"] for each in world.documents()] == [4_000_000]
    assert world.body("large") == path.read_bytes()


def test_a_temporary_name_is_not_sent_and_the_final_one_is(world: World) -> None:
    """Inist-CNRS/node-inotifywait#3, inotify-tools/inotify-tools#164 (told twice, sent twice)."""
    world.run()
    service = world.watch(world.rule(exclude=[".*", "*.part"], after="delete"))
    world.scanned(service)
    for number in range(5):
        draft = world.folder / f".{number}.mp4.x7Gh"
        draft.write_text(str(number))
        draft.rename(world.folder / f"{number}.mp4")
    until(lambda: names(world) == {f"{number}.mp4" for number in range(5)})
    until(lambda: not any(world.folder.iterdir()))
    assert len(world.documents()) == 5
