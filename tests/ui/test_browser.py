"""The file browser: going about, marking, filtering, odd names, huge directories."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from console.files.listing import Entry, EntryKind, Listing, Sort
from console.ui.main import file_browser
from console.ui.widgets.keys import declared
from tests.ui.rest import Typed

from .conftest import Console, Opener


def names(console: Console) -> list[str]:
    """The names shown, in their order."""
    return [entry.name for entry in console.screen.files._shown_entries()]


async def settled(console: Console, directory: Path) -> None:
    """Wait until a directory is shown: while it is being read keys mean nothing."""
    files = console.screen.files
    await console.until(lambda: files.directory == str(directory) and files._shown_entries())


async def test_directories_are_entered_and_left_with_the_cursor_where_one_was(opened: Opener, photos: Path) -> None:
    async with opened() as console:
        await console.press("down", "enter")
        await settled(console, photos / "2026")
        assert names(console) == ["..", "inner.txt"]
        await console.press("backspace")
        await settled(console, photos)
        assert console.screen.files.rows.cursor_key == str(photos / "2026")
        assert names(console) == ["..", "2026", "a.jpg", "b.jpg", "part-9.bin", "part-10.bin"]


async def test_marks_stay_from_directory_to_directory_and_are_counted(opened: Opener, photos: Path) -> None:
    async with opened(size=(200, 50)) as console:
        await console.press("end", "up", "space", "home", "down", "enter")
        await settled(console, photos / "2026")
        await console.press("down", "space")
        await console.until(lambda: "2 marked, 1 hidden · 10 B" in console.text)
        await console.press("h")
        await settled(console, photos)
        assert console.screen.files.rows.marks == {str(photos / "part-9.bin"), str(photos / "2026" / "inner.txt")}
        await console.press("u", "a", "enter")
        await console.until(lambda: console.backend.asked)
        assert console.backend.asked[0][1] == (str(photos / "2026" / "inner.txt"), str(photos / "part-9.bin"))


async def test_the_parent_cannot_be_marked_and_escape_forgets_marks(opened: Opener) -> None:
    async with opened() as console:
        await console.press("home", "space", "asterisk")
        await console.until(lambda: len(console.screen.files.rows.marks) == 5)
        await console.press("asterisk")
        assert not console.screen.files.rows.marks
        await console.press("home", "down", "space", "escape")
        assert not console.screen.files.rows.marks


async def test_the_filter_narrows_as_one_types_and_escape_ends_it(opened: Opener) -> None:
    async with opened() as console:
        await console.press("slash", "p", "a", "r")
        await console.until(lambda: names(console) == ["..", "part-9.bin", "part-10.bin"])
        await console.press("space", "1", "0")
        await console.until(lambda: names(console) == ["..", "part-10.bin"])
        await console.press("enter")
        assert console.screen.focused is console.screen.files.rows
        await console.press("escape")
        await console.until(lambda: len(names(console)) == 6)


async def test_hidden_files_and_orders_have_a_key(opened: Opener) -> None:
    async with opened() as console:
        await console.press("full_stop")
        assert ".hidden" in names(console)
        await console.press("full_stop", "s")
        assert names(console) == ["..", "2026", "b.jpg", "a.jpg", "part-9.bin", "part-10.bin"]
        assert console.screen.files.sort is Sort.SIZE
        await console.until(lambda: "by size" in console.text)


async def test_what_comes_and_goes_is_seen_by_itself_and_the_cursor_stays(opened: Opener, photos: Path) -> None:
    async with opened() as console:
        await console.press("end")
        (photos / "c.jpg").touch()
        console.screen.files._look()
        await console.until(lambda: "c.jpg" in names(console))
        assert console.screen.files.rows.cursor_key == str(photos / "part-10.bin")
        (photos / "part-10.bin").unlink()
        console.screen.files._look()
        await console.until(lambda: "part-10.bin" not in names(console))


async def test_what_is_new_is_shown_when_read_again(opened: Opener, photos: Path) -> None:
    async with opened() as console:
        (photos / "c.jpg").touch()
        await console.press("ctrl+r")
        await console.until(lambda: "c.jpg" in names(console))


class SlowReading:
    """Reading directories takes until it is allowed; `begun` are those that were asked for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._read = file_browser.read_directory
        self.begun: list[str] = []
        self.allowed = threading.Event()
        monkeypatch.setattr(file_browser, "read_directory", self.read)

    def read(self, directory: str, stopped: Callable[[], bool]) -> Listing:
        self.begun.append(directory)
        while not self.allowed.wait(0.01):
            if stopped():
                return Listing(directory, ())
        return self._read(directory, stopped)


async def test_a_directory_that_takes_long_to_read_is_read_once_and_shown(
    opened: Opener, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened() as console:
        files, slow = console.screen.files, SlowReading(monkeypatch)
        (photos / "c.jpg").touch()
        files._look()
        await console.until(lambda: slow.begun)
        files._look()
        await console.until(lambda: not files._looking)
        slow.allowed.set()
        await console.until(lambda: "c.jpg" in names(console))
        assert slow.begun == [str(photos)]


async def test_a_look_at_the_directory_before_is_not_compared_with_this_one(
    opened: Opener, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened() as console:
        files, may_answer = console.screen.files, threading.Event()
        look = file_browser.changed_at
        monkeypatch.setattr(file_browser, "changed_at", lambda directory: may_answer.wait(60) and look(directory) + 1)
        files._look()
        await console.press("down", "enter")
        await settled(console, photos / "2026")
        slow = SlowReading(monkeypatch)
        may_answer.set()
        await console.until(lambda: not files._looking)
        slow.allowed.set()
        assert slow.begun == []


async def test_a_reading_that_failed_is_told_and_tried_again(
    opened: Opener, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(directory: str, stopped: Callable[[], bool]) -> Listing:
        raise RuntimeError("out of luck")

    async with opened() as console:
        with monkeypatch.context() as failing:
            failing.setattr(file_browser, "read_directory", fail)
            await console.press("ctrl+r")
            await console.until(lambda: "out of luck" in console.text)
        (photos / "c.jpg").touch()
        console.screen.files._look()
        await console.until(lambda: "c.jpg" in names(console))


async def test_the_order_chosen_while_a_directory_is_read_is_that_of_the_list(
    opened: Opener, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(directory=str(photos / "2026")) as console:
        slow = SlowReading(monkeypatch)
        await console.press("backspace")
        await console.until(lambda: slow.begun)
        await console.press("s")
        assert "reading…" in console.text
        slow.allowed.set()
        await settled(console, photos)
        assert names(console) == ["..", "2026", "b.jpg", "a.jpg", "part-9.bin", "part-10.bin"]


async def test_the_cursor_goes_where_one_was_also_if_the_directory_is_read_again_meanwhile(
    opened: Opener, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(directory=str(photos / "2026")) as console:
        slow = SlowReading(monkeypatch)
        await console.press("backspace")
        await console.until(lambda: slow.begun)
        await console.press("ctrl+r")
        slow.allowed.set()
        await settled(console, photos)
        assert console.screen.files.rows.cursor_key == str(photos / "2026")


async def test_names_that_would_harm_the_terminal_are_shown_as_data(opened: Opener, tmp_path: Path) -> None:
    directory = tmp_path / "odd"
    directory.mkdir()
    odd = [b"caf\xe9.txt", b"\x1b[2Jwiped", b"two\nlines", b"[bold]x", "right\u202eto-left".encode()]
    for name in odd:
        (directory / os.fsdecode(name)).touch()
    async with opened(size=(200, 50), directory=str(directory)) as console:
        for shown in (r"caf\xe9.txt", r"\x1b[2Jwiped", r"two\nlines", "[bold]x", r"right\u202eto-left"):
            assert shown in console.text, shown
        await console.press("asterisk", "u", "enter")
        await console.until(lambda: console.backend.asked)
        assert {os.fsencode(Path(path).name) for path in console.backend.asked[0][1]} == set(odd)


async def test_a_directory_that_cannot_be_read_says_why(opened: Opener, tmp_path: Path) -> None:
    async with opened(directory=str(tmp_path / "gone")) as console:
        await console.until(lambda: "No such file or directory" in console.text)
        await console.press("backspace")
        await settled(console, tmp_path)


async def test_what_cannot_be_uploaded_is_refused_with_the_reason(opened: Opener, photos: Path) -> None:
    os.mkfifo(photos / "pipe")
    async with opened() as console:
        await console.until(lambda: "named pipe" in console.text)
        await console.press("end", "space", "u")
        await console.until(lambda: "pipe: named pipe" in console.text)
        assert console.backend.asked == []


async def test_the_parent_folder_is_not_uploaded_from_below_and_that_is_said(opened: Opener) -> None:
    async with opened() as console:
        await console.press("home", "u")
        await console.until(lambda: "the parent folder cannot be uploaded from here" in console.text)
        assert console.backend.asked == []


async def test_what_is_marked_elsewhere_is_told_and_uploaded_only_when_meant(opened: Opener, photos: Path) -> None:
    async with opened(size=(100, 30)) as console:
        await console.press("end", "space", "home", "down", "enter")
        await settled(console, photos / "2026")
        await console.press("down")
        await console.until(lambda: "┏━ …hotos/2026 ━ ●1, 1 hidden ━┓" in console.text)
        await console.press("u")
        assert "Upload 1 marked file of another folder?" in console.text
        assert "~/photos/part-10.bin" in console.text
        await console.press("enter")
        assert console.backend.asked == []
        await console.press("space", "u")
        assert "Upload 2 marked files?" in console.text
        await console.press("s", "enter")
        await console.until(lambda: console.backend.asked)
        assert console.backend.asked == [("add_uploads", (str(photos / "2026" / "inner.txt"),))]
        await console.press("space", "u", "y", "enter")
        await console.until(lambda: console.backend.asked[1:] == [("add_uploads", (str(photos / "part-10.bin"),))])
        assert console.screen.files.rows.marks == {str(photos / "part-10.bin")}


async def test_a_filter_hides_marks_as_another_folder_does(opened: Opener) -> None:
    async with opened() as console:
        await console.press("end", "space", "slash", Typed("a.jpg"), "enter", "u")
        assert "Upload 1 marked file?" in console.text


async def test_the_line_of_keys_says_what_enter_does_with_the_row(opened: Opener) -> None:
    async with opened(size=(200, 50)) as console:
        await console.press("home")
        await console.until(lambda: "⏎ Open" in console.lines[-1])
        await console.press("end")
        await console.until(lambda: "⏎ Mark" in console.lines[-1])
        await console.press("2")
        await console.until(lambda: "⏎ Open" in console.lines[-1])


async def test_fifty_thousand_entries_are_listed_filtered_and_walked(
    opened: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = tuple(Entry(f"/huge/file-{n}", f"file-{n}", EntryKind.FILE, n) for n in range(50_000))
    monkeypatch.setattr(file_browser, "read_directory", lambda directory, stopped: Listing(directory, entries))
    drawn = 0
    cell = file_browser.FileRows.cell

    def counted(self: file_browser.FileRows, index: int, column: str, width: int) -> object:
        nonlocal drawn
        drawn += 1
        return cell(self, index, column, width)

    monkeypatch.setattr(file_browser.FileRows, "cell", counted)
    async with opened(size=(80, 24)) as console:
        await console.until(lambda: "50,000" in console.text)
        drawn = 0
        await console.press("end")
        await console.until(lambda: "file-49999" in console.text)
        assert drawn < 10_000, "only what is visible may be drawn"
        await console.press("slash", Typed("4999"))
        await console.until(lambda: len(names(console)) == 15)


async def test_every_key_of_every_pane_has_a_sentence(opened: Opener) -> None:
    async with opened() as console:
        for _, node in console.app._key_sections(console.screen):
            for binding in declared(node):
                assert binding.tooltip.endswith("."), binding
