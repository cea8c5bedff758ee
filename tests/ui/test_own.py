"""It is yours: the tour comes once, and the settings are shown with their origins."""

from __future__ import annotations

from pathlib import Path

import pytest
from syrupy.assertion import SnapshotAssertion

from console.settings import load
from console.settings.effective import setting_lines
from console.ui.screens.tour import STEPS, TourScreen

from .conftest import SIZES, Opener


async def test_the_tour_is_offered_once_and_has_five_steps(opened: Opener, tmp_path: Path) -> None:
    state = tmp_path / "screen.json"
    async with opened(state_file=state, has_tour=True) as console:
        await console.until(lambda: "A tour in five steps" in console.text)
        assert console.app.screen is console.screen  # keys that were typed ahead are for the console
        await console.press("f1")
        for step in range(1, len(STEPS) + 1):
            await console.until(lambda step=step: f"{step} of 5" in console.text)  # type: ignore[misc]
            await console.press("enter")
        await console.until(lambda: console.app.screen is console.screen)
        await console.press("f1")
        assert isinstance(console.app.screen, TourScreen)
        await console.press("escape")
        assert console.app.screen is console.screen
    async with opened(state_file=state, has_tour=True) as console:
        assert "A tour in five steps" not in console.text


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
async def test_tour_picture(opened: Opener, size: tuple[int, int], snapshot: SnapshotAssertion) -> None:
    async with opened(size=size) as console:
        await console.press("f1")
        await console.until(lambda: "1 of 5" in console.text)
        await console.press("enter", "enter")
        await console.until(lambda: "3 of 5" in console.text)
        assert console.text == snapshot


async def test_settings_are_shown_with_their_origin(opened: Opener) -> None:
    settings = load(None, {"UPLOAD_CONSOLE_S3__BUCKET": "media"}, {})
    async with opened(settings=lambda: setting_lines(settings), size=(120, 60)) as console:
        await console.press("comma")
        await console.until(lambda: 'bucket = "media"  (UPLOAD_CONSOLE_S3__BUCKET)' in console.text)


async def test_the_layout_is_remembered(opened: Opener, tmp_path: Path) -> None:
    state = tmp_path / "screen.json"
    async with opened(state_file=state) as console:
        files, log = console.screen.files.size.width, console.screen.log_pane.size.height
        await console.press("greater_than_sign", "greater_than_sign", "ctrl+up", "s", "full_stop")
        await console.until(lambda: console.screen.files.size.width > files)
        await console.until(lambda: console.screen.log_pane.size.height > log)
        wide, high = console.screen.files.size.width, console.screen.log_pane.size.height
    async with opened(state_file=state) as console:
        await console.until(lambda: console.screen.files.size.width == wide)
        assert console.screen.log_pane.size.height == high
        await console.until(lambda: "by size" in console.text and ".hidden" in console.text)
        await console.press("3", "z")
        await console.until(lambda: console.screen.log_pane.size.width == 120 and not console.screen.files.display)
    async with opened(state_file=state) as console:
        await console.until(lambda: console.screen.focused_pane is console.screen.log_pane)
        await console.until(lambda: not console.screen.files.display and console.screen.log_pane.size.height > 20)
        await console.press("z", "less_than_sign", "less_than_sign", "ctrl+down")
        await console.until(lambda: console.screen.files.size.width == files)
        assert console.screen.log_pane.size.height == log


async def test_a_layout_that_makes_no_sense_is_not_taken(opened: Opener, tmp_path: Path) -> None:
    state = tmp_path / "screen.json"
    state.write_text('{"layout.files": 4000, "layout.log": -7, "layout.pane": "none", "layout.zoomed": true}')
    async with opened(state_file=state) as console:
        await console.press("z")
        await console.until(lambda: console.screen.table.size.width > 20 and console.screen.log_pane.size.height > 3)
