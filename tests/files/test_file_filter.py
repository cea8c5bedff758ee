"""Which files are meant by name, age and size, and which paths a list names."""

from __future__ import annotations

import io
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import ValidationError

from console.files.file_filter import FileFilter
from console.files.file_list import listed_paths, names_in
from console.files.refusals import Refusal
from console.files.walk import Candidate, Scanner, select
from console.settings.upload_rules import SelectSettings
from console.settings.watch_rules import WatchRule

_NOW = datetime(2026, 12, 1, 12, tzinfo=UTC)


def _ns(moment: datetime) -> int:
    return int(moment.timestamp()) * 1_000_000_000


def _names(found: list[Candidate | Refusal]) -> list[str]:
    return [item.relative_path for item in found if isinstance(item, Candidate)]


def _filter(**settings: object) -> FileFilter:
    return FileFilter(SelectSettings.model_validate(settings), clock=lambda: _NOW)


def test_bounds_of_size_are_outside_the_range() -> None:
    wanted = _filter(larger="1 KiB", smaller=4096)
    assert [wanted.leaves_out_file(size, 0) for size in (1024, 1025, 4095, 4096)] == [
        "not larger than 1.00 KiB",
        "",
        "",
        "not smaller than 4.00 KiB",
    ]


@pytest.mark.parametrize(
    ("newer", "last"),
    [("36h", datetime(2026, 11, 30, tzinfo=UTC)), ("2026-11-30T00:00+00:00", datetime(2026, 11, 30, tzinfo=UTC))],
)
def test_newer_is_a_moment_or_an_age(newer: str, last: datetime) -> None:
    wanted = _filter(newer=newer)
    assert wanted.leaves_out_file(1, _ns(last)) == ""
    assert wanted.leaves_out_file(1, _ns(last) - 1) == f"not changed since {newer}"


def test_a_date_that_is_none_is_a_wrong_setting() -> None:
    with pytest.raises(ValidationError, match="expected a date such as 2026-11-01, or an age"):
        SelectSettings(newer="yesterday")


def test_a_watch_leaves_out_by_size_and_age_as_upload_does(tmp_path: Path) -> None:
    for name, size in {"small": 10, "fits": 2000, "large": 5000}.items():
        (tmp_path / name).write_bytes(b"x" * size)
    (tmp_path / "old").write_bytes(b"x" * 2000)
    os.utime(tmp_path / "old", (0, 0))
    left_out: dict[str, str] = {}
    rule = WatchRule(folder=tmp_path, larger=1024, smaller=4096, newer="1d")
    assert [file.relative for file in Scanner(rule, left_out=left_out.__setitem__).files()] == ["fits"]
    assert {Path(path).name for path in left_out} == {"small", "large", "old"}


def test_files_come_in_the_order_of_their_keys(tmp_path: Path) -> None:
    for name in ("a/1", "a.txt", "a-b/1", "a0", "\u00e9", "z"):
        path = tmp_path / "top" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    found = _names(list(select([f"{tmp_path}/top/"])))
    assert found == sorted(found) == ["a-b/1", "a.txt", "a/1", "a0", "z", "\u00e9"]


def test_links_are_followed_where_that_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "far").write_text("x")
    top = tmp_path / "top"
    top.mkdir()
    (top / "here").write_text("x")
    (top / "folder").symlink_to(tmp_path / "elsewhere")
    (top / "loop").symlink_to(top)
    (top / "nowhere").symlink_to("gone")
    found = list(select([f"{top}/"], _filter(follow_symlinks=True)))
    assert _names(found) == ["folder/far", "here"]
    refused = {Path(item.path).name: item.reason for item in found if isinstance(item, Refusal)}
    assert refused == {"loop": "a folder that contains itself", "nowhere": "a symbolic link that leads nowhere"}


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (b"a\nb c\n", [b"a", b"b c"]),
        (b"a\r\n\r\nb", [b"a", b"b"]),
        (b"line\nbreak\0two\0", [b"line\nbreak", b"two"]),
        (b"#no comment\n  blanks \n", [b"#no comment", b"  blanks "]),
        (b"n\xff\n", [b"n\xff"]),
        (b"", []),
        (b"x" * 100_000 + b"\nlast", [b"x" * 100_000, b"last"]),
    ],
)
def test_a_list_names_paths_by_lines_or_zero_bytes(text: bytes, names: list[bytes]) -> None:
    assert list(names_in(io.BytesIO(text))) == names


def test_listed_paths_keep_their_folders(tmp_path: Path) -> None:
    for name in ("top/a/b/file", "top/a/c/1", "top/a/c/2.tmp", "outside"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    listing = tmp_path / "list"
    listing.write_text(f"a/b/file\na/c\n{tmp_path}/outside\na/gone\n")
    found = list(select(listed_paths(str(listing), f"{tmp_path}/top"), _filter(exclude=["*.tmp"])))
    assert _names(found) == ["a/b/file", "a/c/1", "outside"]
    assert [item.reason for item in found if isinstance(item, Refusal)] == ["does not exist"]


def test_a_list_of_find_names_the_folder_itself_and_its_files_keep_their_keys(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "file").write_text("file")
    os.mkfifo(tmp_path / "pipe")
    listing = tmp_path.with_name("list")
    listing.write_bytes(b".\0./a\0./a/file\0./pipe\0")
    left: list[str] = []
    listed = listed_paths(str(listing), str(tmp_path))
    found = list(select(listed, _filter(exclude=["pipe"]), lambda path, _: left.append(path)))
    assert _names(found) == ["a/file"] * 3
    assert left == [f"{tmp_path}/pipe"] * 2
    assert not [item for item in found if isinstance(item, Refusal)]
