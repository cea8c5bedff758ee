"""Which files a person means by some paths, and of what type they are."""

from __future__ import annotations

import errno
import os
import socket
import sys
from pathlib import Path

import pytest

from console.files.content_type import content_type
from console.files.file_filter import FileFilter
from console.files.refusals import Refusal
from console.files.walk import Candidate, select
from console.settings.upload_rules import SelectSettings


def names(found: list[Candidate | Refusal]) -> list[str]:
    return [item.relative_path for item in found if isinstance(item, Candidate)]


def refusals(found: list[Candidate | Refusal]) -> dict[str, str]:
    return {os.path.basename(item.path): item.reason for item in found if isinstance(item, Refusal)}


def test_folders_are_walked_in_order(tmp_path: Path) -> None:
    for name in ("b/2", "b/1", "a", "c/d/e/f", "c/d/a"):
        path = tmp_path / "top" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    found = list(select([f"{tmp_path}/top"]))
    assert names(found) == ["top/a", "top/b/1", "top/b/2", "top/c/d/a", "top/c/d/e/f"]
    assert names(list(select([f"{tmp_path}/top/"]))) == ["a", "b/1", "b/2", "c/d/a", "c/d/e/f"]
    assert names(list(select([f"{tmp_path}/top/b/1"]))) == ["1"]
    left_out: dict[str, str] = {}
    wanted = FileFilter(SelectSettings(exclude=("c/", "b/1")))
    only = list(select([f"{tmp_path}/top"], wanted, left_out.__setitem__))
    assert names(only) == ["top/a", "top/b/2"]
    assert left_out == dict.fromkeys((f"{tmp_path}/top/b/1", f"{tmp_path}/top/c"), "excluded by a pattern")
    first = found[0]
    assert isinstance(first, Candidate)
    assert (first.path, first.size, first.mtime_ns) == (
        f"{tmp_path}/top/a",
        1,
        (tmp_path / "top/a").stat().st_mtime_ns,
    )


def test_what_cannot_be_uploaded_is_named(tmp_path: Path) -> None:
    top = tmp_path / "top"
    (top / "folder").mkdir(parents=True)
    (top / "file").write_text("x")
    (tmp_path / "outside").write_text("x")
    os.mkfifo(top / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(top / "socket"))
        for name, target in {
            "inside": "file",
            "dangling": "gone",
            "out": "../outside",
            "up": "..",
            "circle": "circle",
        }.items():
            (top / name).symlink_to(target)
        found = list(select([str(top), str(tmp_path / "missing"), str(tmp_path / "top/pipe"), "/dev/null"]))
    assert names(found) == ["top/file", "top/inside"]
    assert refusals(found) == {
        "pipe": "a named pipe",
        "socket": "a socket",
        "dangling": "a symbolic link that leads nowhere",
        "circle": "a symbolic link that leads nowhere",
        "out": "a symbolic link that leads out of the folder",
        "up": "a symbolic link to a folder",
        "missing": "does not exist",
        "null": "a character device",
    }


@pytest.mark.parametrize("target", ["gone", "gone/further", "link"])
def test_a_named_link_that_leads_nowhere_is_called_that(tmp_path: Path, target: str) -> None:
    link = tmp_path / "link"
    link.symlink_to(target)
    nowhere = {"link": "a symbolic link that leads nowhere"}
    assert refusals(list(select([str(link)]))) == nowhere
    assert refusals(list(select([str(tmp_path)]))) == nowhere  # as below a folder
    assert refusals(list(select([f"{link}.txt"]))) == {"link.txt": "does not exist"}


def test_a_link_into_a_folder_whose_name_only_begins_alike_leads_out(tmp_path: Path) -> None:
    for name in ("top", "top-secret"):
        (tmp_path / name).mkdir()
    (tmp_path / "top-secret" / "file").write_text("x")
    (tmp_path / "top" / "link").symlink_to("../top-secret/file")
    found = list(select([str(tmp_path / "top")]))
    assert names(found) == []
    assert refusals(found) == {"link": "a symbolic link that leads out of the folder"}


def test_a_named_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real/file").write_text("x")
    (tmp_path / "link").symlink_to("real")
    assert names(list(select([str(tmp_path / "link")]))) == ["link/file"]


def test_unreadable_files_and_folders_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "top/closed").mkdir(parents=True)
    (tmp_path / "top/secret").write_text("x")
    real = os.scandir

    def scandir(path: str) -> object:
        if path.endswith("closed"):
            raise PermissionError(errno.EACCES, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    monkeypatch.setattr(os, "access", lambda path, *_, **__: not str(path).endswith("secret"))
    found = list(select([str(tmp_path / "top")]))
    assert refusals(found) == dict.fromkeys(("closed", "secret"), "may not be read by this user")


def test_a_name_that_is_no_utf8(tmp_path: Path) -> None:
    raw = os.fsencode(tmp_path) + b"/caf\xe9"
    with open(raw, "wb") as file:
        file.write(b"x")
    (found,) = select([os.fsdecode(raw)])
    assert isinstance(found, Candidate)
    assert os.fsencode(found.path) == raw


@pytest.mark.skipif(sys.platform != "linux", reason="folders of this size are slow elsewhere")
def test_a_deep_tree_is_walked_piece_by_piece(tmp_path: Path) -> None:
    for number in range(20):
        folder = tmp_path / "top" / f"{number:02}"
        folder.mkdir(parents=True)
        for name in range(20):
            (folder / str(name)).touch()
    found = select([str(tmp_path / "top")])
    first = next(found)
    (tmp_path / "top/19/0").unlink()  # not looked at yet
    assert isinstance(first, Candidate)
    assert sum(isinstance(item, Candidate) for item in found) == 20 * 20 - 2


@pytest.mark.skipif(sys.platform != "linux", reason="paths end sooner elsewhere")
def test_folders_may_lie_deeper_than_calls(tmp_path: Path) -> None:
    top = tmp_path / "top"
    top.mkdir()
    (top / "z").write_text("x")
    folders = [f"{top}{'/a' * depth}" for depth in range(1, 1001)]
    try:
        for folder in folders:
            os.mkdir(folder)
        Path(f"{folders[-1]}/file").touch()
        assert names(list(select([f"{top}/"]))) == ["a/" * len(folders) + "file", "z"]
    finally:  # what removes temporary folders is made of calls within calls
        Path(f"{folders[-1]}/file").unlink(missing_ok=True)
        for folder in reversed(folders):
            os.rmdir(folder)


# --- content types


@pytest.mark.parametrize(
    ("name", "data", "kind"),
    [
        ("a.PNG", b"", "image/png"),
        ("a.tar.gz", b"", "application/gzip"),
        ("a.svgz", b"", "application/gzip"),
        ("data:,x.json", b"", "application/json"),
        ("photo", b"\x89PNG\r\n\x1a\n" + bytes(20), "image/png"),
        ("paper", b"%PDF-1.7\n", "application/pdf"),
        ("archive", b"PK\x03\x04" + bytes(30), "application/zip"),
        ("notes", "Grüße\n".encode(), "text/plain"),
        ("cut", "ü".encode() * 3000, "text/plain"),
        ("cut.odd", b"x" + "ü".encode() * 3000, "text/plain"),
        ("noise", b"\x00\x01\x02\xff" * 20, "application/octet-stream"),
        ("empty", b"", "application/octet-stream"),
    ],
)
def test_content_types(tmp_path: Path, name: str, data: bytes, kind: str) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    assert content_type(str(path)) == kind


def test_the_type_of_what_is_gone_is_unknown(tmp_path: Path) -> None:
    assert content_type(str(tmp_path / "gone")) == "application/octet-stream"
    os.mkfifo(tmp_path / "fifo")
    assert content_type(str(tmp_path / "fifo")) == "application/octet-stream"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("report.docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
        ("song.m4a", "audio/mp4"),
        ("main.rs", "text/x-rust"),
        ("app.mjs", "text/javascript"),
        ("app.js.map", "application/json"),
        ("film.mpd", "application/dash+xml"),
        ("Main.java", "text/x-java"),
        ("app.ts", "text/x-typescript"),
        ("APP.TS", "text/x-typescript"),
    ],
)
def test_the_suffix_decides_where_it_says_what_a_file_is(tmp_path: Path, name: str, kind: str) -> None:
    path = tmp_path / name
    path.write_text("const a = 1\n")
    assert content_type(str(path)) == kind


def test_a_film_is_told_from_typescript_by_its_packets(tmp_path: Path) -> None:
    film = tmp_path / "film.ts"
    film.write_bytes((b"G" + b"\0" * 187) * 30)
    assert content_type(str(film)) == "video/mp2t"
