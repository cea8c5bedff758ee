"""Directories as they are on disk, the odd ones too."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.files.listing import Entry, EntryKind, Sort, chosen, in_order, natural, read_directory
from console.formatting import visible

needs_rights = pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")


def by_name(directory: Path) -> dict[str, Entry]:
    return {entry.name: entry for entry in read_directory(str(directory)).entries}


def test_a_directory_that_is_gone_says_so_and_leads_up(tmp_path: Path) -> None:
    listing = read_directory(str(tmp_path / "gone"))
    assert listing.problem == "No such file or directory"
    assert [entry.kind for entry in listing.entries] == [EntryKind.PARENT]


def test_entries_have_kind_size_and_time(photos: Path) -> None:
    os.utime(photos / "a.jpg", (1_700_000_000, 1_700_000_000))
    entries = by_name(photos)
    assert entries[".."].kind is EntryKind.PARENT
    assert entries[".."].path == str(photos.parent)
    assert entries["2026"].kind is EntryKind.DIRECTORY
    assert (entries["a.jpg"].kind, entries["a.jpg"].size, entries["a.jpg"].mtime) == (EntryKind.FILE, 10, 1_700_000_000)
    assert entries[".hidden"].is_hidden


def test_what_cannot_be_uploaded_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to("loop")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "good").write_text("x")
    (tmp_path / "link").symlink_to("good")
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
        problems = {name: entry.problem for name, entry in by_name(tmp_path).items()}
    assert problems["broken"] == "broken link"
    assert "symbolic links" in problems["loop"]
    assert problems["pipe"] == "named pipe"
    assert problems["socket"] == "socket"
    assert problems["good"] == problems["link"] == ""
    assert by_name(tmp_path)["link"].is_link


@needs_rights
def test_rights_that_are_missing_are_said(tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir(mode=0)
    (tmp_path / "file").touch(mode=0)
    assert {entry.problem for entry in by_name(tmp_path).values()} == {"", "Permission denied"}
    assert read_directory(str(tmp_path / "secret")).problem == "Permission denied"


def test_the_root_has_no_parent() -> None:
    assert all(entry.kind is not EntryKind.PARENT for entry in read_directory("/").entries)


def test_names_that_are_no_utf8_keep_their_bytes(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9\x1b[31m\n.txt")
    (tmp_path / name).write_text("x")
    entry = by_name(tmp_path)[name]
    assert Path(entry.path).read_text() == "x"
    assert visible(entry.name) == r"caf\xe9\x1b[31m\n.txt"


def test_reading_stops_when_nobody_waits(tmp_path: Path) -> None:
    for number in range(5):
        (tmp_path / str(number)).touch()
    assert len(read_directory(str(tmp_path), lambda: True).entries) == 1


def names(entries: list[Entry]) -> list[str]:
    return [entry.name for entry in entries]


def test_orders() -> None:
    entries = [
        Entry("/x/b10", "b10", EntryKind.FILE, 5, 3.0),
        Entry("/x/B9", "B9", EntryKind.FILE, 7, 1.0),
        Entry("/x/dir", "dir", EntryKind.DIRECTORY, 0, 2.0),
        Entry("/", "..", EntryKind.PARENT),
        Entry("/x/a", "a", EntryKind.FILE, 6, 2.0),
    ]
    assert names(in_order(entries, Sort.NAME)) == ["..", "dir", "a", "B9", "b10"]
    assert names(in_order(entries, Sort.SIZE)) == ["..", "dir", "B9", "a", "b10"]
    assert names(in_order(entries, Sort.MODIFIED)) == ["..", "dir", "b10", "a", "B9"]
    assert [Sort.NAME.next, Sort.SIZE.next, Sort.MODIFIED.next] == [Sort.SIZE, Sort.MODIFIED, Sort.NAME]


@given(st.lists(st.text(max_size=8)), st.text(max_size=4), st.booleans())
def test_filtering_shows_the_parent_and_every_match(found: list[str], text: str, hidden: bool) -> None:
    entries = [Entry("/", "..", EntryKind.PARENT)]
    entries += [Entry(f"/x/{name}", name, EntryKind.FILE) for name in found if name != ".."]
    shown = chosen(entries, hidden=hidden, text=text)
    assert shown[0].kind is EntryKind.PARENT
    for entry in entries[1:]:
        wanted = all(word in entry.name.casefold() for word in text.casefold().split())
        assert (entry in shown) == (wanted and (hidden or not entry.name.startswith(".")))


@given(st.text(max_size=20), st.text(max_size=20), st.integers(0, 10**9), st.integers(0, 10**9))
def test_natural_order_counts_numbers_and_never_fails(before: str, after: str, first: int, second: int) -> None:
    before = before.rstrip("0123456789")
    keys = natural(f"{before}{first}"), natural(f"{before}{second}")
    assert (keys[0] < keys[1]) == (first < second) or any(letter.isdigit() for letter in before)
    assert (natural(before) < natural(after)) in (True, False)
