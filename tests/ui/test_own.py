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
