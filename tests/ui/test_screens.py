"""The other screens: the command palette, faults of our own, themes."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path

import pytest
from textual.color import Color
from textual.command import CommandPalette

from console.models import UploadStatus
from console.ui import themes
from console.ui.backend import Leave
from console.ui.clipboard import copy

from .conftest import Opener
from .fake_backend import document


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
    hangs, called, answered = threading.Event(), threading.Event(), threading.Event()

    def hang() -> Mapping[UploadStatus, int]:
        called.set()
        hangs.wait(100)
        answered.set()
        return {}

    try:
        async with opened(documents=[]) as console:
            monkeypatch.setattr(console.backend, "counts", hang)
            console.backend.insert(document(500))
            await console.until(called.is_set)
            await console.press("ctrl+c")
        assert not answered.is_set()
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
