"""Keys that arrive in a bunch, as they do over a slow line, mean the same as one by one."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from textual import events
from textual.keys import _character_to_key

from console.files.listing import Listing
from console.models import OpenMultipart, Requested
from console.records.runners import Limits
from console.ui.events.event_detail import EventDetail, Tab
from console.ui.main import file_browser

from .conftest import Console, Inspecting, Opener
from .fake_backend import NOW, document
from .test_console import key
from .test_event_detail import an_update
from .test_event_log import Inspected

MIB = 1024 * 1024
NAMED = {
    "\r": "enter",
    "\x1b": "escape",
    "\t": "tab",
    "\b": "backspace",
    "<": "home",
    ">": "end",
    "^": "up",
    "↓": "down",
    "←": "ctrl+u",
}


def bunch(console: Console | Inspecting, keys: str) -> None:
    """All keys at once, as a terminal delivers what was typed meanwhile."""
    for character in keys:
        name = NAMED.get(character) or _character_to_key(character)
        event = events.Key(name, None if character in "<>^↓←" else character)
        event.set_sender(console.app)
        console.app.post_message(event)


async def test_marking_and_uploading(opened: Opener, photos: Path) -> None:
    async with opened(documents=[]) as console:
        bunch(console, "j  u\r")
        await console.until(lambda: console.backend.asked)
        assert console.backend.asked[0] == ("add_uploads", (str(photos / "2026"), str(photos / "a.jpg")))


async def test_marking_and_going_elsewhere_and_uploading(opened: Opener, photos: Path) -> None:
    async with opened(documents=[], directory=str(photos / "2026")) as console:
        bunch(console, "j \b")
        await console.until(lambda: len(console.screen.files.rows.source) > 2)
        assert "1 marked, 1 hidden · 5 B" in console.screen.files.title_line.counts
        bunch(console, "u")
        await console.until(lambda: "Upload 1 marked file of another folder?" in console.text)
        bunch(console, "y\r")
        await console.until(lambda: console.backend.asked)
        assert console.backend.asked[0] == ("add_uploads", (str(photos / "2026" / "inner.txt"),))


async def test_marking_and_narrowing_and_uploading(opened: Opener, photos: Path) -> None:
    async with opened(documents=[]) as console:
        bunch(console, "jj /9\ru")
        await console.until(lambda: "Upload 1 marked file?" in console.text)
        bunch(console, "y\r")
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
        if keys == "yy":  # the second one is the table's own key
            await console.until(lambda: "To your terminal's clipboard" in console.text or "no uploads" in console.text)
            await console.press("escape")
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


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ("b\t1\r", Limits(20 * MIB, 1, 8)),
        ("b9m\r", Limits(9_000_000, 4, 8)),
        ("b9k\b\b7m\t2\t3\r", Limits(7_000_000, 2, 3)),
        ("b\t\t\t5m\r", Limits(5_000_000, 4, 8)),
        ("b^6\r", Limits(20 * MIB, 4, 6)),
        ("b5m\r\r", Limits(5_000_000, 4, 8)),
    ],
)
async def test_a_form_takes_keys_before_a_server_has_said_what_stands_in_it(
    opened: Opener, monkeypatch: pytest.MonkeyPatch, keys: str, expected: Limits
) -> None:
    async with opened(documents=[]) as console:
        limits, may_answer = console.backend.limits, threading.Event()

        def held() -> Limits:
            may_answer.wait(60)
            return limits()

        monkeypatch.setattr(console.backend, "limits", held)
        bunch(console, keys)
        await console.until(lambda: console.app.screen is console.screen)
        assert not console.backend.asked
        may_answer.set()
        await console.until(lambda: console.backend.asked)
        assert console.backend.asked == [("set_limits", expected)]
        assert console.app.screen is console.screen


async def test_what_was_typed_stays_when_a_form_fills_in(opened: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(documents=[]) as console:
        limits, may_answer = console.backend.limits, threading.Event()
        monkeypatch.setattr(console.backend, "limits", lambda: may_answer.wait(60) and limits())
        bunch(console, "b9k\t")
        await console.until(lambda: "asking…" in console.text)
        may_answer.set()
        await console.until(lambda: "asking…" not in console.text)
        bunch(console, "3\r")  # the number that came is replaced, as one that was there before
        await console.until(lambda: console.backend.asked)
        assert console.backend.asked == [("set_limits", Limits(9_000, 3, 8))]


async def test_an_answer_typed_ahead_of_its_question_is_none(opened: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(documents=[]) as console:
        console.backend.found_orphans = [OpenMultipart("video/lost.mp4", "an-id", NOW)]
        orphans, may_answer = console.backend.orphans, threading.Event()
        monkeypatch.setattr(console.backend, "orphans", lambda: may_answer.wait(60) and orphans())
        bunch(console, "oyyy")
        await console.until(lambda: "Looking for" in console.text)
        may_answer.set()
        await console.until(lambda: "Abort them" in console.text)
        assert [asked[0] for asked in console.backend.asked] == ["orphans"]
        bunch(console, "y")
        await console.until(lambda: [asked[0] for asked in console.backend.asked] == ["orphans", "abort_orphans"])


@pytest.mark.parametrize(("typed", "tab"), [("2", Tab.RAW), ("3", Tab.UPDATE), ("4", Tab.HISTORY), ("\t", Tab.RAW)])
async def test_opening_an_event_and_going_to_a_tab(inspected: Inspected, typed: str, tab: Tab) -> None:
    async with inspected(an_update(a=1), an_update(a=2)) as inspecting:
        bunch(inspecting, f"\r{typed}")
        await inspecting.until(lambda: isinstance(inspecting.app.screen, EventDetail))
        screen = inspecting.app.screen
        assert isinstance(screen, EventDetail)
        await inspecting.until(lambda: screen.tab is tab and f"[{tab.value}]" in inspecting.text)
        bunch(inspecting, "\x1b\r\x1b\r\x1b")
        await inspecting.until(lambda: len(inspecting.app.screen_stack) == 1)
        assert not inspecting.app.faults.known


async def test_a_name_for_a_file_counts_once(inspected: Inspected, tmp_path: Path) -> None:
    async with inspected(an_update(a=1)) as inspecting:
        bunch(inspecting, "\rs")
        await inspecting.until(lambda: "To a new file" in inspecting.text)
        bunch(inspecting, f"{tmp_path}/event.json\r\r")
        await inspecting.until((tmp_path / "event.json").exists)
        assert isinstance(inspecting.app.screen_stack[1], EventDetail)  # the second one opened the value in it


async def test_a_terminal_without_the_focus_loses_none(opened: Opener, photos: Path) -> None:
    async with opened(documents=[]) as console:
        console.app.post_message(events.AppBlur())
        bunch(console, "jj  u\r")
        await console.until(lambda: console.backend.asked)
        assert console.backend.asked[0] == ("add_uploads", (str(photos / "a.jpg"), str(photos / "b.jpg")))


async def test_what_is_pasted_comes_before_the_keys_behind_it(opened: Opener) -> None:
    async with opened(documents=[document(n, status="uploading") for n in range(1, 5)]) as console:
        bunch(console, "2/")
        console.app.post_message(events.Paste("0002\nmore"))
        bunch(console, "\rp")
        await console.until(lambda: console.backend.asked)
        assert console.backend.asked == [("request", (key(2),), Requested.PAUSE)]
