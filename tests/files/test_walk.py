"""What a walk finds, refuses and leaves out in hostile folders; in what order, and at what cost in memory."""

from __future__ import annotations

import inspect
import os
import socket
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from console.files import walk as scanning
from console.files.walk import Found, Scanner, in_order
from console.s3.transfer_errors import Stopped
from console.settings.watch_rules import WatchRule


class Walk:
    """A scanner that remembers what it tells."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.refused: dict[str, str] = {}
        self.left_out: dict[str, str] = {}
        self.entered: list[str] = []
        rule = WatchRule(folder=folder, **settings)
        self.scanner = Scanner(
            rule,
            entering=self.entered.append,
            refused=lambda refusal: self.refused.update({os.path.relpath(refusal.path, folder): refusal.reason}),
            left_out=lambda path, words: self.left_out.update({os.path.relpath(path, folder): words}),
        )

    def names(self) -> set[str]:
        return {file.relative for file in self.scanner.files()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "in"
    (root / "sub" / "deep").mkdir(parents=True)
    (root / "a").write_bytes(b"1")
    (root / "sub" / "b").write_bytes(b"22")
    (root / "sub" / "deep" / "c").write_bytes(b"333")
    return root


def test_a_walk_with_and_without_subfolders(folder: Path) -> None:
    walk = Walk(folder)
    assert walk.names() == {"a", "sub/b", "sub/deep/c"}
    assert walk.entered == [str(folder), str(folder / "sub"), str(folder / "sub/deep")]
    assert (walk.scanner.progress.folders, walk.scanner.progress.files) == (3, 3)
    assert Walk(folder, recursive=False).names() == {"a"}


def test_symbolic_links_are_followed_within_the_folder_only(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("not ours")
    (folder / "inside").symlink_to(folder / "sub" / "b")
    (folder / "outside").symlink_to(tmp_path / "secret")
    (folder / "nowhere").symlink_to(folder / "missing")
    (folder / "itself").symlink_to(folder / "itself")
    (folder / "other").symlink_to(folder / "sub", target_is_directory=True)
    walk = Walk(folder)
    assert walk.names() == {"a", "sub/b", "sub/deep/c", "inside"}
    assert walk.refused == {
        "outside": "a symbolic link that leads out of the folder",
        "nowhere": "a symbolic link that leads nowhere",
        "itself": "a symbolic link that leads nowhere",
        "other": "a symbolic link to a folder",
    }


def test_links_are_followed_everywhere_where_that_is_set_but_not_in_circles(folder: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "e").touch()
    (elsewhere / "back").symlink_to(folder, target_is_directory=True)
    (folder / "out").symlink_to(elsewhere, target_is_directory=True)
    walk = Walk(folder, follow_symlinks=True)
    assert walk.names() == {"a", "sub/b", "sub/deep/c", "out/e"}
    assert walk.refused == {"out/back": "a folder that contains itself"}


def test_special_files_are_refused_by_name_and_never_opened(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(folder / "pipe")
    monkeypatch.chdir(folder)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket")  # a relative name: those of sockets are short
        walk = Walk(folder)
        assert walk.names() == {"a", "sub/b", "sub/deep/c"}
    assert walk.refused == {"pipe": "a named pipe", "socket": "a socket"}


def test_what_cannot_be_read_is_refused_and_the_rest_goes_on(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests may run as root, who may read everything: the system's answer is played."""
    real = scanning.listed

    def listed(path: str, below: str | None) -> Any:
        if path == str(folder / "sub"):
            raise PermissionError(13, "Permission denied")
        return real(path, below)

    monkeypatch.setattr(scanning, "listed", listed)
    walk = Walk(folder)
    assert walk.names() == {"a"}
    assert walk.refused == {"sub": "may not be read by this user"}


def test_names_with_newlines_and_bytes_that_are_no_utf8(folder: Path) -> None:
    (folder / "two\nlines\x1b[31m").touch()
    raw = os.fsencode(folder) + b"/caf\xe9"
    Path(os.fsdecode(raw)).touch()
    names = Walk(folder).names()
    assert {"two\nlines\x1b[31m", os.fsdecode(b"caf\xe9")} < names


def test_a_folder_deeper_than_pythons_stack(tmp_path: Path) -> None:
    depth = 400
    top = tmp_path / "in"
    top.mkdir()
    before = os.open(".", os.O_RDONLY)
    try:
        os.chdir(top)
        for _ in range(depth):
            os.mkdir("d")
            os.chdir("d")
        Path("f").touch()
    finally:
        os.fchdir(before)
        os.close(before)
    walk = Walk(top)
    usual = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack(0)) + depth // 2)  # a folder of thousands took seconds to walk
    try:
        names = walk.names()
    finally:
        sys.setrecursionlimit(usual)
    assert names == {"/".join(["d"] * depth + ["f"])}
    assert walk.refused == {}
    subprocess.run(["rm", "-rf", top], check=True)  # pytest's own way of tidying goes no deeper than the stack


def test_folders_that_are_left_out_are_not_entered(folder: Path) -> None:
    walk = Walk(folder, exclude=("sub/",))
    assert walk.names() == {"a"}
    assert walk.entered == [str(folder)]
    assert walk.left_out == {"sub": "excluded by a pattern"}


def test_looking_at_one_path_is_as_finding_it(folder: Path, tmp_path: Path) -> None:
    walk = Walk(folder, exclude=("sub/deep/",))
    found = {file.path: file for file in walk.scanner.files()}
    assert walk.scanner.look(str(folder / "sub" / "b")) == found[str(folder / "sub" / "b")]
    for name in ("gone", "sub", "sub/deep/c", "sub/.hidden"):
        assert walk.scanner.look(str(folder / name)) is None
    (tmp_path / "innocent").touch()
    assert walk.scanner.look(str(tmp_path / "innocent")) is None
    assert {file.relative for file in walk.scanner.below(str(folder / "sub"))} == {"sub/b"}
    assert list(walk.scanner.below(str(folder / "sub" / "deep"))) == []


def test_a_missing_folder_is_an_error_and_not_empty(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Walk(tmp_path / "missing").names()


def test_a_walk_ends_when_its_pulse_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also in the middle of a folder."""
    monkeypatch.setattr(scanning, "_PULSE_EVERY", 3)
    for number in range(10):
        (tmp_path / f"{number}").touch()
    found: list[Found] = []

    def stop() -> None:
        if found:
            raise Stopped

    with pytest.raises(Stopped):  # noqa: PT012
        for file in Scanner(WatchRule(folder=tmp_path), pulse=stop).files():
            found.append(file)
    assert len(found) == 2


def some_files(count: int) -> Iterator[Found]:
    """Times that repeat, in no order."""
    for number in range(count):
        yield Found(f"/in/{number:06}", f"{number:06}", 1, number * 7919 % 100, 0, (1, number))


@pytest.mark.parametrize(("order", "sign"), [("oldest", 1), ("newest", -1)])
@pytest.mark.parametrize("held", [7, 100, 1000])
def test_order_does_not_depend_on_how_many_are_held(order: Any, sign: int, held: int) -> None:
    expected = sorted(some_files(210), key=lambda file: (sign * file.mtime_ns, file.path))
    assert list(in_order(lambda: some_files(210), order, held=held)) == expected


def test_order_costs_memory_for_what_is_held_and_not_for_all() -> None:
    def all_in_order(held: int) -> int:
        return sum(1 for _ in in_order(lambda: some_files(1_000), "oldest", held=held))

    def peak(held: int) -> int:
        tracemalloc.start()
        assert all_in_order(held) == 1_000
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    all_in_order(500)  # what only the first one costs is not counted
    assert peak(50) < peak(1_001) / 5
