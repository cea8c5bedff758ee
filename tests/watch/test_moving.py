"""Files that were sent are moved without overwriting, losing or halving any."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from console.watch import after_upload
from console.watch.after_upload import move


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "in" / "name.tar.gz"
    path.parent.mkdir()
    path.write_bytes(b"content")
    os.utime(path, ns=(5, 1_234_567_890_123_456_789))
    return path


@pytest.fixture
def another_file_system(tmp_path: Path) -> Iterator[Path]:
    """A real one, of 1 MiB."""
    folder = tmp_path / "mounted"
    folder.mkdir()
    try:
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", folder], capture_output=True)
    except OSError:
        pytest.skip("there is no mount program")
    if mounted.returncode:
        pytest.skip("this user may not mount")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)  # lazily: whoever looks at all mounts may hold it a moment


def a_move(file: Path, target: Path, *, size: int, mtime_ns: int) -> Path:
    real = os.path.realpath(target)
    return target.with_name(move(str(file), real, below=str(file.parent), into="/", size=size, mtime_ns=mtime_ns))


def moved(file: Path, target: Path) -> Path:
    status = file.stat()
    return a_move(file, target, size=status.st_size, mtime_ns=status.st_mtime_ns)


def test_a_move_within_a_file_system_makes_the_folders_it_needs(file: Path, tmp_path: Path) -> None:
    identity = file.stat().st_ino
    place = moved(file, tmp_path / "sent" / "deep" / "name.tar.gz")
    assert (place.read_bytes(), place.stat().st_ino) == (b"content", identity)
    assert not file.exists()


def test_nothing_is_overwritten(file: Path, tmp_path: Path) -> None:
    target = tmp_path / "sent"
    target.mkdir()
    (target / "name.tar.gz").write_bytes(b"earlier")
    (target / "name-2.tar.gz").write_bytes(b"also earlier")
    assert moved(file, target / "name.tar.gz") == target / "name-3.tar.gz"
    assert (target / "name.tar.gz").read_bytes() == b"earlier"


def test_a_move_to_another_file_system_keeps_content_and_time(file: Path, another_file_system: Path) -> None:
    place = moved(file, another_file_system / file.name)
    assert (place.read_bytes(), place.stat().st_mtime_ns) == (b"content", 1_234_567_890_123_456_789)
    assert not file.exists()


def test_a_full_disk_leaves_the_source_and_nothing_else(file: Path, another_file_system: Path) -> None:
    file.write_bytes(bytes(2 * 1024 * 1024))
    with pytest.raises(OSError) as caught:  # noqa: PT011 - its number is what counts
        moved(file, another_file_system / file.name)
    assert caught.value.errno == errno.ENOSPC
    assert file.stat().st_size == 2 * 1024 * 1024
    assert list(another_file_system.iterdir()) == []


@pytest.fixture
def as_if_across(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first replace of each move is refused as between file systems."""
    real = os.replace

    def replace(source: str, target: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        if not source.endswith(".part"):
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        real(source, target, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)

    monkeypatch.setattr(after_upload.os, "replace", replace)


@pytest.mark.usefixtures("as_if_across")
def test_a_disk_that_fills_up_where_nobody_may_mount(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(after_upload.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        moved(file, tmp_path / "sent" / file.name)
    assert file.read_bytes() == b"content"
    assert list((tmp_path / "sent").iterdir()) == []


@pytest.mark.usefixtures("as_if_across")
def test_a_file_that_is_written_to_meanwhile_stays(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.fsync

    def fsync(descriptor: int) -> None:
        real(descriptor)
        with file.open("ab") as stream:
            stream.write(b" and more")

    monkeypatch.setattr(after_upload.os, "fsync", fsync)
    with pytest.raises(OSError, match="written to while it was being moved"):
        moved(file, tmp_path / "sent" / file.name)
    assert file.read_bytes() == b"content and more"
    assert list((tmp_path / "sent").iterdir()) == []


def test_a_file_that_is_gone_leaves_no_trace(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        a_move(tmp_path / "gone", tmp_path / "sent" / "gone", size=1, mtime_ns=1)
    assert list((tmp_path / "sent").iterdir()) == []


@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_file_that_took_its_place_meanwhile_is_not_moved(
    file: Path, tmp_path: Path, another_file_system: Path, elsewhere: bool
) -> None:
    target = (another_file_system if elsewhere else tmp_path / "sent") / file.name
    with pytest.raises(OSError, match="another file is in its place"):
        a_move(file, target, size=7, mtime_ns=1)
    assert file.read_bytes() == b"content"
    assert not target.exists()


def test_a_file_that_comes_while_the_wrong_one_is_put_back_is_not_overwritten(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.replace

    def replace(*names: str, **folders: int) -> None:
        real(*names, **folders)
        if not file.exists():
            file.write_bytes(b"came meanwhile")

    monkeypatch.setattr(after_upload.os, "replace", replace)
    with pytest.raises(OSError, match="another file is in its place"):
        a_move(file, tmp_path / "sent" / file.name, size=7, mtime_ns=1)
    assert file.read_bytes() == b"came meanwhile"
    assert (file.parent / "name-2.tar.gz").read_bytes() == b"content"
    assert list((tmp_path / "sent").iterdir()) == []


def test_another_file_that_cannot_be_put_back_is_not_lost(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its folder was removed meanwhile, say: it is the only one of its kind."""
    target = tmp_path / "sent" / file.name
    real = os.replace

    def replace(*names: str, **folders: int) -> None:
        if target.exists() and target.stat().st_size:
            raise FileNotFoundError(errno.ENOENT, "its folder is gone")
        real(*names, **folders)

    monkeypatch.setattr(after_upload.os, "replace", replace)
    with pytest.raises(OSError, match=r"another file is in its place by now, and was moved to .*: its folder is gone"):
        a_move(file, target, size=7, mtime_ns=1)
    assert target.read_bytes() == b"content"


@pytest.mark.parametrize("swapped", ["sent", "sent/sub"])
def test_a_link_in_the_place_of_a_target_folder_receives_nothing(file: Path, tmp_path: Path, swapped: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    if "/" in swapped:
        (tmp_path / "sent").mkdir()
    (tmp_path / swapped).symlink_to(outside)
    status = file.stat()
    target = tmp_path / "sent" / "sub" / file.name
    with pytest.raises(OSError, match="through a symbolic link"):
        move(
            str(file), str(target), below=str(file.parent), into=str(tmp_path),
            size=status.st_size, mtime_ns=status.st_mtime_ns,
        )  # fmt: skip
    assert file.read_bytes() == b"content"
    assert list(outside.iterdir()) == []
