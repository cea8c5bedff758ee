"""Keys that arrive in a bunch, as they do over a slow line, mean the same as one by one."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from textual import events
from textual.keys import _character_to_key

from console.files.listing import Listing
from console.models import Requested
from console.ui.main import file_browser

from .conftest import Console, Opener
from .fake_backend import document
from .test_console import key

NAMED = {"\r": "enter", "\x1b": "escape", "\t": "tab", "\b": "backspace", "<": "home", ">": "end"}


def bunch(console: Console, keys: str) -> None:
    """All keys at once, as a terminal delivers what was typed meanwhile."""
    for character in keys:
        name = NAMED.get(character) or _character_to_key(character)
        event = events.Key(name, character)
        event.set_sender(console.app)
        console.app.post_message(event)


async def test_marking_and_uploading(opened: Opener, photos: Path) -> None:
    async with opened(documents=[]) as console:
        bunch(console, "j  u")
        await console.until(lambda: console.backend.asked)
        assert console.backend.asked[0] == ("add_uploads", (str(photos / "2026"), str(photos / "a.jpg")))


async def test_marking_and_going_elsewhere_and_uploading(opened: Opener, photos: Path) -> None:
    async with opened(documents=[], directory=str(photos / "2026")) as console:
        bunch(console, "j \b")
        await console.until(lambda: len(console.screen.files.rows.source) > 2)
        assert "1 marked, 1 hidden · 5 B" in console.screen.files.title_line.counts
        bunch(console, "u")
        await console.until(lambda: "Upload 1 marked file of another folder?" in console.text)
        bunch(console, "y")
        await console.until(lambda: console.backend.asked)
        assert console.backend.asked[0] == ("add_uploads", (str(photos / "2026" / "inner.txt"),))


async def test_marking_and_narrowing_and_uploading(opened: Opener, photos: Path) -> None:
    async with opened(documents=[]) as console:
        bunch(console, "jj /9\ru")
        await console.until(lambda: "Upload 1 marked file?" in console.text)
        bunch(console, "y")
        await console.until(lambda: console.backend.asked)
        assert console.backend.asked[0] == ("add_uploads", (str(photos / "a.jpg"),))


async def test_entering_a_directory_and_more(opened: Opener, photos: Path) -> None:
    async with opened() as console:
        bunch(console, "j\r ")
        await console.until(lambda: console.screen.files.directory == str(photos / "2026"))
        assert not console.screen.files.rows.marks


async def test_going_to_a_pane_and_acting_there(opened: Opener) -> None:
    async with opened(documents=[document(1, status="uploading")]) as console:
        bunch(console, "2p")
        await console.until(lambda: ("request", (key(1),), Requested.PAUSE) in console.backend.asked)


async def test_entering_a_directory_leaves_the_focus_where_it_went(
    opened: Opener, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, may_read = file_browser.read_directory, threading.Event()

    def held(directory: str, stopped: Callable[[], bool]) -> Listing:
        may_read.wait(60)
        return read(directory, stopped)

    async with opened() as console:
        monkeypatch.setattr(file_browser, "read_directory", held)
        bunch(console, "h3")
        await console.until(lambda: console.screen.focused_pane is console.screen.log_pane)
        may_read.set()
        await console.until(lambda: console.screen.files._listing.entries)
        assert console.screen.files.directory == str(photos.parent)
        assert console.screen.focused_pane is console.screen.log_pane


@pytest.mark.parametrize("keys", ["2/0002\rp", "2/0002 1\x1b/0002\rp"])
async def test_filtering_and_acting_on_what_is_left(opened: Opener, keys: str) -> None:
    async with opened(documents=[document(n, status="uploading") for n in range(1, 5)]) as console:
        bunch(console, keys)
        await console.until(lambda: console.backend.asked)
        assert console.backend.asked == [("request", (key(2),), Requested.PAUSE)]
        assert console.screen.table.filter_line.text == "0002"


@pytest.mark.parametrize("keys", ["y\x1b", "yy"])
async def test_an_answer_counts_once(opened: Opener, keys: str) -> None:
    """What is typed behind it neither takes it back nor answers for the screen below."""
    async with opened(documents=[document(1, status="completed")]) as console:
        await console.press("2", "d")
        await console.until(lambda: "Delete it" in console.text)
        bunch(console, keys)
        await console.until(lambda: console.backend.asked)
        await console.until(lambda: console.app.screen is console.screen)
        assert [asked[0] for asked in console.backend.asked] == ["delete"]


async def test_correcting_what_was_typed(opened: Opener) -> None:
    async with opened() as console:
        bunch(console, "2/ab\bc<\bx>d\be")
        await console.until(lambda: console.screen.table.filter_line.text == "xace")
        bunch(console, "\x1b")
        await console.until(lambda: not console.screen.table.filter_line.text)


async def test_the_end_of_a_long_text_is_seen(opened: Opener) -> None:
    async with opened() as console:
        bunch(console, "2/" + "abcdefghij" * 20 + "klm")
        await console.until(lambda: "hijklm" in console.text)
        bunch(console, "<")
        await console.until(lambda: "abcdefghij" in console.text and "klm" not in console.text)


async def test_typing_moves_nothing_else(opened: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    """To lay out the whole screen for a letter would be most of what it costs."""
    async with opened() as console:
        bunch(console, "2/a")
        await console.until(lambda: console.screen.table.filter_line.text == "a")
        await console.until(lambda: not console.screen._layout_required)
        laid_out: list[bool] = []
        monkeypatch.setattr(type(console.screen), "_refresh_layout", lambda *_, **__: laid_out.append(True))
        bunch(console, "bc")
        await console.until(lambda: console.screen.table.filter_line.text == "abc" and "abc" in console.text)
        assert not laid_out
