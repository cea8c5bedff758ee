"""What the system tells of a folder, and that it is noticed when it tells no longer."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from console.watch import watchfiles
from console.watch.folder import file_system_of, is_on_network, open_events
from console.watch.folder_events import Changes, FolderEvents, Silence, WatchesUsedUp
from console.watch.inotify import InotifyEvents
from console.watch.watchfiles import NotifiedEvents
from tests.watch.waiting import until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="inotify is Linux's")

MountInfo = Callable[[str], Path]


@pytest.fixture
def events(tmp_path: Path) -> Iterator[InotifyEvents]:
    opened = InotifyEvents(str(tmp_path))
    opened.enter(str(tmp_path))
    yield opened
    opened.close()


def collected(events: FolderEvents, enough: Callable[[Changes], object]) -> Changes:
    changes = Changes()

    def look() -> bool:
        changes.add(events.take(0.1), 100_000)
        return bool(enough(changes))

    until(look)
    return changes


def test_files_that_are_written_renamed_into_place_linked_and_touched(events: InotifyEvents, tmp_path: Path) -> None:
    (tmp_path / "written").write_text("x")
    (tmp_path / ".part").write_text("x")
    (tmp_path / ".part").rename(tmp_path / "renamed\nhere")
    os.link(tmp_path / "written", tmp_path / "linked")
    raw = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    raw.touch()
    expected = {str(tmp_path / name) for name in ("written", "renamed\nhere", "linked")} | {str(raw)}
    changes = collected(events, lambda changes: changes.files >= expected)
    assert not changes.lost
    os.utime(tmp_path / "written", (1, 1))
    assert collected(events, lambda changes: changes.files).files == {str(tmp_path / "written")}


def test_a_new_folder_is_told_and_watched_once_it_is_entered(events: InotifyEvents, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    assert collected(events, lambda changes: changes.folders).folders == {str(tmp_path / "new")}
    events.enter(str(tmp_path / "new"))
    (tmp_path / "new" / "file").touch()
    assert str(tmp_path / "new" / "file") in collected(events, lambda changes: changes.files).files


def test_a_folder_that_is_moved_is_known_by_its_new_name(events: InotifyEvents, tmp_path: Path) -> None:
    (tmp_path / "old" / "inner").mkdir(parents=True)
    events.enter(str(tmp_path / "old"))
    events.enter(str(tmp_path / "old" / "inner"))
    (tmp_path / "old").rename(tmp_path / "new")
    collected(events, lambda changes: str(tmp_path / "new") in changes.folders)
    events.enter(str(tmp_path / "new"))
    events.enter(str(tmp_path / "new" / "inner"))
    (tmp_path / "new" / "inner" / "file").touch()
    assert collected(events, lambda changes: changes.files).files == {str(tmp_path / "new" / "inner" / "file")}


def test_the_kernels_queue_overflows_and_that_is_told(events: InotifyEvents, tmp_path: Path) -> None:
    limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    files = [tmp_path / "one", tmp_path / "other"]
    for path in files:
        path.touch()
    for number in range(limit // 2 + 1):
        for path in files:  # in turns: the kernel joins events that are the same as the last one
            os.utime(path, (number, number))
    assert collected(events, lambda changes: changes.lost).lost


_LISTENER = """
import json, sys
from console.watch.folder import Changes
from console.watch.inotify import InotifyEvents
from console.watch.watchfiles import NotifiedEvents
kind, folder = sys.argv[1:]
events = InotifyEvents(folder) if kind == "inotify" else NotifiedEvents(folder, recursive=True)
events.enter(folder)
print("ready", flush=True)
changes = Changes()
while (news := events.take(1.0 if changes.files or changes.lost else 60.0)) != Changes():
    changes.add(news, 1_000_000)
print(json.dumps([len(changes.files), changes.lost]))
"""


def told_after_being_held_up(kind: str, folder: Path) -> tuple[int, bool]:
    """How many files a process was told of, and that events were lost, if it is stopped while two files are written
    to more often than the queue is long, and a hundred are made after that.
    """
    command = [sys.executable, "-c", _LISTENER, kind, str(folder)]
    limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGSTOP)
        # Until it has stopped it takes events, on a busy machine more of them than are written beyond the queue.
        os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
        with (folder / "a").open("wb", buffering=0) as one, (folder / "b").open("wb", buffering=0) as other:
            for _ in range(limit // 2 + 1_000):
                one.write(b"x")
                other.write(b"x")
        for number in range(100):
            (folder / f"{number}").touch()
        process.send_signal(signal.SIGCONT)
        files, lost = json.loads(process.stdout.read())
    return files, lost


def test_busy_files_that_are_there_already_do_not_fill_the_queue(tmp_path: Path) -> None:
    assert told_after_being_held_up("inotify", tmp_path) == (102, False)


def test_watchfiles_does_not_say_that_events_were_lost(tmp_path: Path) -> None:
    """Why it is not used on Linux. Should this fail one day, `inotify` may have become unnecessary."""
    files, lost = told_after_being_held_up("watchfiles", tmp_path)
    assert files < 102
    assert not lost


@pytest.mark.parametrize("how", ["removed", "moved"])
def test_it_is_told_that_the_watched_folder_itself_has_gone(tmp_path: Path, how: str) -> None:
    top = tmp_path / "top"
    top.mkdir()
    events = InotifyEvents(str(top))
    events.enter(str(top))
    if how == "removed":
        top.rmdir()
    else:
        top.rename(tmp_path / "elsewhere")
    assert collected(events, lambda changes: changes.moved).moved
    events.close()


def test_no_more_watches_is_an_error_that_says_what_to_raise(events: InotifyEvents, tmp_path: Path) -> None:
    def refuse(*_: object) -> int:
        raise OSError(28, "No space left on device")

    events._inotify.add_watch = refuse
    with pytest.raises(WatchesUsedUp, match="max_user_watches"):
        events.enter(str(tmp_path))


@pytest.mark.parametrize("make", [InotifyEvents, lambda folder: NotifiedEvents(folder, recursive=True)])
def test_taking_is_woken_from_another_thread_also_at_the_end(
    tmp_path: Path, make: Callable[[str], FolderEvents]
) -> None:
    events = make(str(tmp_path))
    threading.Timer(0.05, events.wake).start()
    assert events.take(3600) == Changes()
    events.close()
    events.wake()
    events.close()


def test_elsewhere_watchfiles_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On systems other than Linux; it works on Linux, too."""
    monkeypatch.setattr(watchfiles, "_DEBOUNCE_MS", 50)
    events = NotifiedEvents(str(tmp_path), recursive=True)
    (tmp_path / "first").touch()  # nothing comes between its making and the first event
    assert str(tmp_path / "first") in collected(events, lambda changes: changes.files).files
    # A name that it cannot decode ends it: who watches is to begin again.
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9")).touch()
    assert collected(events, lambda changes: changes.moved).moved
    events.close()


def test_too_many_changes_become_a_look_at_everything() -> None:
    changes = Changes()
    changes.add(Changes(files={"a", "b"}), 3)
    changes.add(Changes(files={"c"}, folders={"d"}), 3)
    assert changes == Changes(lost=True)


@pytest.fixture
def mounts(tmp_path: Path) -> MountInfo:
    def make(kind: str) -> Path:
        point = str(tmp_path / "the share").replace(" ", "\\040")
        file = tmp_path / "mountinfo"
        file.write_text(
            "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
            f"40 22 0:50 / {point} rw - {kind} server:/export rw,vers=4.2\n"
            "41 22 0:51 / /somewhere/else rw - tmpfs none rw\nnonsense\n"
        )
        return file

    return make


def test_file_systems_that_other_hosts_write_to_are_polled(tmp_path: Path, mounts: MountInfo) -> None:
    share = tmp_path / "the share" / "in"
    share.mkdir(parents=True)
    assert file_system_of(str(share), mounts("nfs4")) == "nfs4"
    assert is_on_network(str(share), mounts("cifs"))
    assert is_on_network(str(share), mounts("fuse.sshfs"))
    assert not is_on_network(str(share), mounts("fuseblk"))
    assert not is_on_network(str(share), mounts("xfs"))
    assert file_system_of(str(tmp_path), mounts("nfs4")) == "ext4"
    assert file_system_of("/", tmp_path / "missing") == ""


def test_polling_where_it_is_wanted(tmp_path: Path) -> None:
    assert isinstance(open_events(str(tmp_path), "polling", recursive=True), Silence)
    events = open_events(str(tmp_path), "events", recursive=True)
    assert not events.is_polling
    events.close()
