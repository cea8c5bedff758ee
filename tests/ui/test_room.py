"""Small terminals: the pane with the focus has rows to act on, alone where there is no room for all."""

from __future__ import annotations

import pytest
from textual.geometry import Size

from console.ui.main.console_screen import LEAST_ROWS, LEAST_WIDTH, has_room
from tests.ui.rest import Typed

from .conftest import Console, Opener

PANES = ("files", "uploads", "events")


def shown(console: Console) -> list[str | None]:
    screen = console.screen
    return [pane.id for pane in (screen.files, screen.table, screen.log_pane) if pane.display]


@pytest.mark.parametrize("size", [(49, 15), (80, 15), (80, 24), (300, 15)])
async def test_where_all_panes_are_shown_the_one_with_the_focus_has_rows(opened: Opener, size: tuple[int, int]) -> None:
    """What is reckoned is what the style sheet makes of it."""
    async with opened(size=size) as console:
        for number, name in enumerate(PANES, 1):
            assert has_room(name, Size(*size))
            await console.press(str(number))
            pane = console.screen.focused_pane
            assert pane is not None
            await console.until(lambda pane=pane: pane.rows.page_rows >= LEAST_ROWS)  # type: ignore[misc]
            assert pane.size.width >= LEAST_WIDTH
            assert shown(console) == list(PANES)


@pytest.mark.parametrize(("size", "name"), [((48, 15), "uploads"), ((80, 14), "files"), ((40, 10), "uploads")])
async def test_a_pane_without_room_beside_the_others_is_alone(opened: Opener, size: tuple[int, int], name: str) -> None:
    async with opened(size=size) as console:
        await console.press("3", str(PANES.index(name) + 1))
        await console.until(lambda: shown(console) == [name])
        pane = console.screen.focused_pane
        assert pane is not None
        await console.until(lambda: pane.size == (size[0], size[1] - 3) and pane.rows.page_rows >= LEAST_ROWS)


async def test_the_others_come_back_when_there_is_room_and_tab_goes_to_them(opened: Opener) -> None:
    async with opened(size=(80, 24)) as console:
        await console.pilot.resize_terminal(40, 10)
        await console.until(lambda: shown(console) == ["files"])
        await console.press("tab")
        await console.until(lambda: shown(console) == ["uploads"] and "stalled.iso" in console.text)
        await console.pilot.resize_terminal(80, 24)
        await console.until(lambda: shown(console) == list(PANES))
        assert console.screen.focused_pane is console.screen.table


async def test_what_was_zoomed_stays_so_when_there_is_room_again(opened: Opener) -> None:
    async with opened(size=(80, 24)) as console:
        await console.press("2", "z")
        await console.pilot.resize_terminal(40, 10)
        await console.pilot.resize_terminal(80, 24)
        await console.until(lambda: console.screen.table.size == (80, 21) and shown(console) == ["uploads"])


async def test_a_command_for_another_pane_shows_that_pane(opened: Opener) -> None:
    async with opened(size=(80, 24)) as console:
        await console.press("z", "ctrl+p", Typed("uploads: verify"))
        await console.until(lambda: "Uploads: Verify" in console.text)
        await console.press("down", "enter")
        await console.until(lambda: any(call[0] == "verify" for call in console.backend.asked))
        await console.until(lambda: shown(console) == ["uploads"])
