"""The other screens: watches, the command palette, faults of our own, themes."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import pytest
from textual.color import Color
from textual.command import CommandPalette

from console.models import UploadStatus
from console.ui import themes
from console.ui.backend import Leave, Refusal, WatchState
from console.ui.clipboard import copy
from console.ui.text_screen import TextScreen
from console.ui.watches import WatchesScreen

from .conftest import SIZES, Opener
from .fake_backend import NOW, document


def watch(rule: str, **fields: object) -> WatchState:
    base: dict[str, object] = {
        "host": "alpha",
        "rule": rule,
        "folder": f"/srv/{rule}",
        "destination": "s3://archive/in/",
        "state": "watching",
        "paused": False,
        "pending": 3,
        "sent": 1_200,
        "refused": 1,
        "last_refusals": (Refusal("/srv/x/\x1b[2J.tmp", "temporary name"),),
        "last_error": "",
        "heartbeat_at": NOW - timedelta(seconds=2),
    }
    return WatchState(**(base | fields))  # type: ignore[arg-type]


@pytest.mark.parametrize("size", SIZES)
async def test_watches_tell_their_state_counts_and_host(opened: Opener, size: tuple[int, int]) -> None:
    async with opened(size=size) as console:
        console.backend.watch_states = [
            watch("inbox"),
            watch("scans", paused=True),
            watch("old", host="beta", heartbeat_at=NOW - timedelta(minutes=9)),
            watch("full", last_error="No space left on device", state="waiting"),
        ]
        await console.press("w")
        assert isinstance(console.app.screen, WatchesScreen)
        await console.until(lambda: "● /srv/inbox" in console.text)
        for words in ("‖ /srv/scans", "! /srv/old", "silent", "✗ /srv/full", "1,200"):
            assert words in console.text, words


async def test_a_watch_is_paused_and_shown_in_full(opened: Opener) -> None:
    async with opened() as console:
        console.backend.watch_states = [watch("inbox")]
        await console.press("w")
        await console.until(lambda: "/srv/inbox" in console.text)
        await console.press("p")
        await console.until(lambda: ("pause_watch", "alpha", "inbox", True) in console.backend.asked)
        await console.press("enter")
        assert isinstance(console.app.screen, TextScreen)
        await console.until(lambda: "temporary name" in console.text)
        assert r"\x1b[2J" in console.text
        await console.press("escape", "escape")
        assert console.app.screen is console.screen


async def test_every_action_can_be_found_by_name(opened: Opener) -> None:
    async with opened() as console:
        await console.press("ctrl+p")
        assert isinstance(console.app.screen, CommandPalette)
        await console.press(*"verify")
        await console.until(lambda: "Uploads: Verify" in console.text)
        await console.press("down", "enter")
        await console.until(lambda: any(call[0] == "verify" for call in console.backend.asked))


async def test_a_fault_of_our_own_ends_with_a_sentence_and_a_report(
    opened: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    shown: list[str] = []

    async def fail() -> None:
        async with opened() as console:
            monkeypatch.setattr(console.app, "panic", lambda text: shown.append(text.plain))
            console.app.call_later(lambda: 1 // 0)
            await console.until(lambda: shown)

    # Textual's test harness raises again what the application met.
    with pytest.raises(ZeroDivisionError):
        await fail()
    assert "ZeroDivisionError" in shown[0]
    assert "Traceback" not in shown[0]
    (report,) = tmp_path.glob("upload-console/fault-*.txt")
    assert str(report) in shown[0]
    assert "Traceback" in report.read_text()


async def test_leaving_waits_for_no_server_that_hangs(opened: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    hangs, called = threading.Event(), threading.Event()

    def hang() -> Mapping[UploadStatus, int]:
        called.set()
        hangs.wait(60)
        return {}

    try:
        async with opened(documents=[]) as console:
            monkeypatch.setattr(console.backend, "counts", hang)
            console.backend.insert(document(500))
            await console.until(called.is_set)
            await console.press("ctrl+c")
        assert not hangs.is_set()
        assert console.app.return_value is Leave.NOW
    finally:
        hangs.set()


@pytest.mark.parametrize(("size", "title"), [(10, "Copied"), (80_000, "Sent to"), (2_000_000, "Not copied")])
async def test_copying_says_what_a_terminal_may_not_take(opened: Opener, size: int, title: str) -> None:
    async with opened() as console:
        copy(console.app, "ü" * (size // 2), "the text")
        await console.until(lambda: title in console.text)
        assert (console.app.clipboard == "") == (title == "Not copied")


@pytest.mark.parametrize(
    ("theme", "environment", "colours", "expected"),
    [
        (themes.DARK, {}, None, themes.DARK),
        (themes.DARK, {}, 16, themes.TERMINAL_DARK),
        (themes.LIGHT, {}, 16, themes.TERMINAL_LIGHT),
        (themes.LIGHT, {"NO_COLOR": "1"}, None, themes.TERMINAL_LIGHT),
        (themes.DARK, {"NO_COLOR": ""}, None, themes.DARK),
        (themes.TERMINAL_LIGHT, {"NO_COLOR": "1"}, 16, themes.TERMINAL_LIGHT),
        ("nord", {}, 256, "nord"),
    ],
)
def test_few_colours_mean_the_terminals_own(
    theme: str, environment: dict[str, str], colours: int | None, expected: str
) -> None:
    assert themes.suitable(theme, environment, colours) == expected


async def test_without_colours_nothing_has_one_and_the_cursor_is_still_seen(
    opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    async with opened(size=(80, 24)) as console:
        await console.press("2")
        strips = [
            strip.apply_filter(line_filter, Color.parse("black"))
            for strip in console.app.screen._compositor.render_strips()
            for line_filter in console.app._filters
            if line_filter.enabled
        ]
        styles = [style for strip in strips for _, style, _ in strip if style is not None]
        assert all(style.color is None or style.color.is_default for style in styles)
        assert all(style.bgcolor is None or style.bgcolor.is_default for style in styles)
        assert any(style.reverse for style in styles)


@pytest.mark.parametrize("theme", [theme.name for theme in themes.THEMES])
async def test_every_theme_shows_cursor_marks_and_tones(opened: Opener, theme: str) -> None:
    async with opened(size=(80, 24), theme=theme) as console:
        await console.press("2", "space")
        rows = console.screen.table.rows
        plain, cursor = rows.look("lines--plain"), rows.look("lines--plain", "rows--cursor")
        assert (plain.bgcolor, plain.reverse) != (cursor.bgcolor, cursor.reverse)
        assert console.app.theme == theme
        assert "●" in console.text
