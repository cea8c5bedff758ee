"""Who has a file open for writing, asked of a real kernel."""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from console.watch import completeness
from console.watch.completeness import OpenFiles

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="leases and /proc are Linux's")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "some\nname"
    path.write_bytes(b"content")
    return path


@contextmanager
def opened_by_another_process(path: Path, mode: str) -> Iterator[None]:
    program = "import sys; f = open(sys.argv[1], sys.argv[2]); print('open', flush=True); sys.stdin.read()"
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", program, path, mode], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == b"open\n"
        yield
        process.stdin.close()


def test_open_for_writing_reading_and_not_at_all(file: Path) -> None:
    files = OpenFiles()
    assert not files.is_open_for_writing(str(file))
    with file.open("rb"):
        assert not files.is_open_for_writing(str(file))
    with file.open("ab"):
        assert files.is_open_for_writing(str(file))
    assert not files.is_open_for_writing(str(file))


def test_a_mapping_that_outlives_its_descriptor_counts(file: Path) -> None:
    with file.open("r+b") as stream:
        mapped = mmap.mmap(stream.fileno(), 0)
    assert OpenFiles().is_open_for_writing(str(file))
    mapped.close()
    assert not OpenFiles().is_open_for_writing(str(file))


def test_a_writer_that_comes_while_it_is_asked_is_not_kept(file: Path) -> None:
    assert not OpenFiles().is_open_for_writing(str(file))
    descriptor = os.open(file, os.O_WRONLY | os.O_NONBLOCK)  # would fail with EWOULDBLOCK under a lease
    os.close(descriptor)


@pytest.mark.parametrize("mode", ["ab", "rb"])
def test_where_there_is_no_lease_processes_are_looked_at(
    file: Path, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for a file of somebody else, or on a network share."""
    monkeypatch.setattr(completeness, "_lease_is_refused", lambda *_: None)
    with opened_by_another_process(file, mode):
        assert OpenFiles().is_open_for_writing(str(file)) is (mode == "ab")
        same_name = file.parent / "sub" / file.name
        same_name.parent.mkdir()
        same_name.touch()
        assert not OpenFiles().is_open_for_writing(str(same_name))
    assert not OpenFiles().is_open_for_writing(str(file))


def test_a_file_that_is_gone_is_not_open(tmp_path: Path) -> None:
    assert not OpenFiles().is_open_for_writing(str(tmp_path / "gone"))
