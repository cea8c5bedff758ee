"""Files below a folder are reached through no symbolic link, by one system call or step by step."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from console.files import beneath
from console.files.beneath import listed, open_at_once, open_file, open_step_by_step, parent_of, status_of
from console.settings.types import absolute

Opener = Callable[[int, str, int], int]


@pytest.fixture(params=[open_at_once, open_step_by_step])
def opener(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Opener:
    if request.param is open_at_once and not beneath.has_openat2():
        pytest.skip("the kernel has no openat2")
    monkeypatch.setattr(beneath, "open_beneath", request.param)
    return request.param


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    top = tmp_path / "top"
    (top / "sub" / "deep").mkdir(parents=True)
    (top / "sub" / "deep" / "file").write_text("inside")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "file").write_text("outside")
    return top


def read(path: Path | str, below: Path | str) -> str:
    descriptor = open_file(str(path), str(below))
    try:
        return os.read(descriptor, 100).decode()
    finally:
        os.close(descriptor)


@pytest.mark.usefixtures("opener")
def test_a_file_below_is_opened_whatever_leads_to_the_folder(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("top")
    assert read(folder / "sub" / "deep" / "file", folder) == "inside"
    assert read(tmp_path / "link" / "sub" / "deep" / "file", tmp_path / "link") == "inside"
    assert read(folder / "sub" / "deep" / "file", "/") == "inside"


@pytest.mark.usefixtures("opener")
@pytest.mark.parametrize("target", ["../outside", "{outside}", "sub/deep"])
def test_a_folder_that_is_a_link_leads_nowhere(folder: Path, tmp_path: Path, target: str) -> None:
    (folder / "swapped").symlink_to(target.format(outside=tmp_path / "outside"))
    path = str(folder / "swapped" / "file")
    for reach in (lambda: open_file(path, str(folder)), lambda: status_of(path, str(folder))):
        with pytest.raises(OSError) as caught:  # noqa: PT011 - its number is what counts
            reach()
        assert caught.value.errno == errno.ELOOP
    with pytest.raises(OSError), parent_of(path, str(folder), make=True):  # noqa: PT011
        pass
    with pytest.raises(OSError), listed(str(folder / "swapped"), str(folder)):  # noqa: PT011
        pass


@pytest.mark.usefixtures("opener")
def test_a_link_in_the_place_of_a_file_is_followed_within_the_folder_only(folder: Path, tmp_path: Path) -> None:
    (folder / "near").symlink_to("sub/deep/file")
    (folder / "absolute").symlink_to(folder / "sub" / "deep" / "file")
    (folder / "far").symlink_to(tmp_path / "outside" / "file")
    assert read(folder / "near", folder) == read(folder / "absolute", folder) == "inside"
    with pytest.raises(OSError, match="symbolic link"):
        read(folder / "far", folder)


def test_no_path_leads_up_or_means_another_file(folder: Path, opener: Opener) -> None:
    (folder / "a").write_text("a")
    with beneath.opened(str(folder)) as top:
        for path in ("..", "../outside/file", "sub/../../outside/file", "/etc/hostname", "sub//deep", "a\0b", ""):
            with pytest.raises(OSError):  # noqa: PT011
                os.close(opener(top, path, os.O_RDONLY))
    with pytest.raises(OSError):  # noqa: PT011
        open_file(str(folder) + "-other/file", str(folder))
    with pytest.raises(OSError):  # noqa: PT011
        open_file(str(folder / "a\0b"), None)


def test_errors_are_those_of_the_system(folder: Path, opener: Opener) -> None:
    (folder / "plain").touch()
    with beneath.opened(str(folder)) as top:
        with pytest.raises(FileNotFoundError):
            opener(top, "gone", os.O_RDONLY)
        with pytest.raises(NotADirectoryError):
            opener(top, "plain/file", os.O_RDONLY)


def test_descriptors_are_given_back(folder: Path, opener: Opener) -> None:
    (folder / "swapped").symlink_to("..")
    before = len(os.listdir("/proc/self/fd"))
    for path in ("sub/deep/file", "swapped/file", "sub/gone/file"):
        with beneath.opened(str(folder)) as top, suppress(OSError):
            os.close(opener(top, path, os.O_RDONLY))
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_path_means_what_it_means_to_the_system(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`cat link/../f` opens what is beside the link's target."""
    (tmp_path / "link").symlink_to("top/sub")
    (folder / "f").write_text("meant")
    (tmp_path / "f").write_text("another")
    monkeypatch.chdir(tmp_path)
    assert Path(absolute("link/../f")).read_text() == Path("link/../f").read_text() == "meant"
    assert absolute("link/f") == str(tmp_path / "link" / "f")
    assert absolute("./a..b/...") == str(tmp_path / "a..b" / "...")
    assert absolute("..") == str(tmp_path.parent)
    assert absolute("/x/./y//z/") == "/x/y/z"


def test_a_path_above_the_root_begins_with_one_slash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    climb = "../" * (len(tmp_path.parts) + 3)
    assert absolute(f"{climb}etc/hostname") == "/etc/hostname"
    assert absolute("//etc/hostname") == absolute("/../etc/hostname") == "/etc/hostname"
