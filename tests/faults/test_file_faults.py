"""Files that change under their upload: it fails with the reason or starts again, and no object is ever a mixture."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from console.models import UploadStatus
from tests.faults.conftest import MakeWorld
from tests.faults.proxy import Do
from tests.faults.world import MIB, World, sha256

FAILED = UploadStatus.FAILED
SIZE = 21 * MIB


def shrink(path: Path) -> None:
    os.truncate(path, SIZE // 2)


def grow(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


def overwrite(path: Path) -> None:
    """Some bytes at its end, the size as before."""
    with path.open("r+b") as file:
        file.seek(-1000, os.SEEK_END)
        file.write(b"other bytes")


def replace(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(os.urandom(SIZE))
    other.replace(path)


def vanish(path: Path) -> None:
    path.unlink()


def become_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


CHANGES = [
    (shrink, "FileChanged"),
    (grow, "FileChanged"),
    (overwrite, "FileChanged"),
    (replace, "FileChanged"),
    (vanish, "FileNotFound"),
    (become_a_folder, "FileChanged"),
]


@pytest.mark.parametrize(("change", "code"), CHANGES, ids=lambda value: getattr(value, "__name__", None))
def test_a_file_that_changes_while_it_is_sent(make_world: MakeWorld, change: Callable[[Path], None], code: str) -> None:
    world = make_world(parallel_parts=2)
    path = world.file(SIZE)
    [upload_id] = world.add(path)
    world.proxy.plan("UploadPart", Do(lambda: change(path)), skip=1)
    world.start_runner()
    world.wait_status([upload_id], FAILED)
    error = world.upload(upload_id).error
    assert error is not None
    assert error.code == code
    assert str(path) in error.message
    assert world.object_keys() == set()
    assert world.open_multiparts() == []
    world.check()
    if path.is_dir():
        path.rmdir()
    if not path.exists():
        path.write_bytes(os.urandom(SIZE))
    world.expect(upload_id, path)
    world.retry(upload_id)
    world.wait_completed([upload_id])
    assert world.object_hash("file.bin") == sha256(path.read_bytes())
    assert world.upload(upload_id).size == path.stat().st_size
    world.check()


@pytest.mark.parametrize(("change", "code"), CHANGES, ids=lambda value: getattr(value, "__name__", None))
def test_a_file_that_changes_while_its_upload_is_paused(
    world: World, change: Callable[[Path], None], code: str
) -> None:
    path = world.file(SIZE)
    [upload_id] = world.add(path)
    world.let(1)
    world.start_runner()
    world.wait_parts(upload_id, 1)
    world.pause(upload_id)
    change(path)
    world.hurry()
    world.resume(upload_id)
    if path.is_file():
        world.expect(upload_id, path)
        world.wait_completed([upload_id])
        assert code in world.noted(upload_id)  # it says that it started again
        assert world.object_hash("file.bin") == sha256(path.read_bytes())
    else:
        world.wait_status([upload_id], FAILED)
        error = world.upload(upload_id).error
        assert error is not None
        assert error.code in ("FileNotFound", "NotARegularFile")
    assert world.open_multiparts() == []
    world.check()


def test_a_change_that_nothing_but_its_bytes_betrays(world: World) -> None:
    """Size and time as before, the ends as before: the checksums of the parts that S3 holds tell."""
    path = world.file(SIZE)
    [upload_id] = world.add(path)
    world.let(2)
    world.start_runner()
    world.wait_parts(upload_id, 2)
    world.pause(upload_id)
    status = path.stat()
    with path.open("r+b") as file:
        file.seek(MIB)
        file.write(b"other bytes")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    world.expect(upload_id, path)
    world.hurry()
    world.resume(upload_id)
    world.wait_completed([upload_id])
    assert world.object_hash("file.bin") == sha256(path.read_bytes())
    world.check()


def test_a_small_file_that_changes_before_its_turn_is_sent_as_it_is_then(world: World) -> None:
    path = world.file(1000)
    [upload_id] = world.add(path)
    path.write_bytes(b"shorter")
    world.expect(upload_id, path)
    world.start_runner()
    world.wait_completed([upload_id])
    assert "FileChanged" in world.noted(upload_id)
    assert world.upload(upload_id).size == 7
    world.check()


def test_a_disk_that_fails_keeps_what_arrived(make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """A read error of the disk cannot be had on demand: the system call is replaced."""
    world = make_world(parallel_parts=1)
    path = world.file(SIZE)
    [upload_id] = world.add(path)
    real = os.preadv
    is_broken = False

    def preadv(descriptor: int, buffers: list[memoryview], offset: int, *flags: int) -> int:
        if is_broken and offset >= 5 * MIB:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(descriptor, buffers, offset, *flags)

    def breaks() -> None:
        nonlocal is_broken
        is_broken = True

    monkeypatch.setattr(os, "preadv", preadv)
    world.proxy.plan("UploadPart", Do(breaks))
    world.start_runner()
    world.wait_status([upload_id], FAILED)
    upload = world.upload(upload_id)
    assert upload.error is not None
    assert upload.error.code == "ReadFailed"
    assert "Input/output error" in upload.error.message
    assert upload.multipart is not None
    world.check()
    is_broken = False
    world.retry(upload_id)
    world.wait_completed([upload_id])
    world.check()


def test_a_file_that_may_not_be_read(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Real where the tests run as an ordinary user; root may read all, so there the answer is the test's."""
    path = world.file(1000)
    [upload_id] = world.add(path)
    path.chmod(0)
    if os.geteuid() == 0:
        real = os.open

        def refuse(name: str, *arguments: int, **values: int) -> int:
            if name == str(path):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            return real(name, *arguments, **values)

        monkeypatch.setattr(os, "open", refuse)
    world.start_runner()
    world.wait_status([upload_id], FAILED)
    error = world.upload(upload_id).error
    assert error is not None
    assert error.code == "PermissionDenied"
    world.check()
    monkeypatch.undo()
    path.chmod(0o600)
    world.retry(upload_id)
    world.wait_completed([upload_id])
    world.check()


def test_a_folder_that_is_unmounted(world: World) -> None:
    path = world.file(SIZE, "folder/file.bin")
    [upload_id] = world.add(path)
    world.let(1)
    world.start_runner()
    world.wait_parts(upload_id, 1)
    away = world.folder / "away"
    shutil.move(path.parent, away)
    world.wait_status([upload_id], FAILED)
    error = world.upload(upload_id).error
    assert error is not None
    assert error.code == "FileNotFound"
    world.check()
    shutil.move(away, path.parent)
    world.hurry()
    world.retry(upload_id)
    world.wait_completed([upload_id])
    world.check()
