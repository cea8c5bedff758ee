"""What is written is for this user alone, whatever the umask and whoever was there before."""

from __future__ import annotations

import errno
import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from console.commands.configuration import first_steps
from console.errors import UsageError
from console.private_files import make_private_folder, open_private, write_private
from console.ui.events.event_detail import write_new
from console.ui.remembered import Remembered


@pytest.fixture(params=[0o000, 0o022, 0o077, 0o777])
def _umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


@pytest.mark.usefixtures("_umask")
def test_under_any_umask(tmp_path: Path) -> None:
    folder = tmp_path / "state" / "program"
    make_private_folder(folder)
    os.close(open_private(folder / "file"))
    assert [mode(tmp_path / "state"), mode(folder), mode(folder / "file")] == [0o700, 0o700, 0o600]


def test_a_folder_that_others_could_enter_is_closed_to_them(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    make_private_folder(tmp_path)
    assert mode(tmp_path) == 0o700


def test_a_file_in_the_folders_place_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    with pytest.raises(FileExistsError):
        make_private_folder(tmp_path / "state")


def test_a_file_that_is_there_keeps_its_mode_and_is_emptied(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("before")
    file.chmod(0o640)
    os.close(open_private(file, os.O_WRONLY | os.O_APPEND))
    assert file.read_text() == "before"
    os.close(open_private(file))
    assert file.read_text() == ""
    assert mode(file) == 0o640


def test_one_that_must_be_new_is(tmp_path: Path) -> None:
    os.close(open_private(tmp_path / "file", os.O_WRONLY | os.O_EXCL))
    with pytest.raises(FileExistsError):
        open_private(tmp_path / "file", os.O_WRONLY | os.O_EXCL)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_another_user_has_put_there_is_refused(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("theirs")
    for name in ("folder", "file"):
        os.chown(tmp_path / name, 65534, 65534)
    with pytest.raises(PermissionError, match="belongs to another user"):
        make_private_folder(tmp_path / "folder")
    with pytest.raises(PermissionError, match="belongs to another user"):
        open_private(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "theirs"
    (tmp_path / "ours").mkdir(0o755)
    (tmp_path / "link").symlink_to("ours")
    os.chown(tmp_path / "link", 65534, 65534, follow_symlinks=False)
    with pytest.raises(PermissionError, match="belongs to another user"):
        make_private_folder(tmp_path / "link")
    assert mode(tmp_path / "ours") == 0o755


@pytest.mark.usefixtures("_umask")
def test_what_the_screen_remembers_is_private_and_survives_a_full_disk(tmp_path: Path) -> None:
    path = tmp_path / "state" / "screen.json"
    Remembered(path).keep("bookmarks", ["/secret"])
    assert [mode(path.parent), mode(path)] == [0o700, 0o600]
    with full_disk():
        Remembered(path).keep("bookmarks", ["/another one that does not fit"])
    assert Remembered(path).get("bookmarks", list) == ["/secret"]
    assert list(path.parent.iterdir()) == [path]


@contextmanager
def full_disk() -> Iterator[None]:
    """No file gets more than ten bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("is_new", [False, True])
def test_a_full_disk_leaves_what_was_there_and_is_named(tmp_path: Path, is_new: bool) -> None:
    path = tmp_path / "kept.json"
    if not is_new:
        path.write_text("before")
    with full_disk(), pytest.raises(OSError, match=r"kept\.json") as caught:
        write_private(path, "more than ten bytes", is_new=is_new)
    assert caught.value.errno == errno.EFBIG
    assert [file.name for file in tmp_path.iterdir()] == ([] if is_new else ["kept.json"])
    assert is_new or path.read_text() == "before"


def test_a_new_file_takes_no_place_of_another(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.symlink_to("nowhere")
    with pytest.raises(FileExistsError):
        write_private(path, "text", is_new=True)
    assert [file.name for file in tmp_path.iterdir()] == ["config.toml"]
    path.unlink()
    write_private(path, "text\udcff", is_new=True)
    assert path.read_text() == "text\\udcff"
    assert mode(path) == 0o600


def test_init_that_finds_the_disk_full_leaves_no_configuration(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    with full_disk(), pytest.raises(UsageError, match=r"config\.toml: File too large"):
        first_steps.write(file, {"s3.bucket": "uploads"})
    assert not list(tmp_path.iterdir())


def test_a_saved_event_that_finds_the_disk_full_is_not_there(tmp_path: Path) -> None:
    with full_disk(), pytest.raises(UsageError, match="File too large"):
        write_new(tmp_path / "event.json", "{'a': 'long enough'}")
    assert not list(tmp_path.iterdir())


def test_a_device_is_taken_as_it_is() -> None:
    os.close(open_private(Path(os.devnull)))
