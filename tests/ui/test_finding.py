"""Commands are found by what people call them; views and colours are remembered."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from console.ui.command_search import CommandSearch
from console.ui.widgets.dialogs import FormDialog
from tests.ui.rest import Typed

from .conftest import Console, Opener
from .fake_backend import document


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("bandwidth", "Limits  (b)"),
        ("download", "Link  (l)"),
        ("folder", "Watches  (w)"),
        ("help", "Keys  (?)"),
        ("quit", "Leave  (q)"),
        ("hosts", "Runners  (H h)"),
    ],
)
async def test_commands_are_found_by_their_sentences(opened: Opener, words: str, name: str) -> None:
    async with opened() as console:
        search = CommandSearch(console.screen)
        found = [str(hit.match_display) async for hit in search.search(words)]  # type: ignore[union-attr]
        assert any(name in each for each in found), found


async def test_a_command_that_was_found_is_run(opened: Opener) -> None:
    async with opened() as console:
        await console.press("colon", Typed("bandwidth"))
        await console.until(lambda: "(b)" in console.text)
        await console.press("enter")
        await console.until(lambda: isinstance(console.app.screen, FormDialog))


@pytest.mark.parametrize(
    ("key", "shown"),
    [
        ("F", {"photo-0002.jpg"}),
        ("A", {"photo-0001.jpg", "photo-0003.jpg", "photo-0004.jpg"}),
        ("T", {"photo-0003.jpg"}),
        ("M", {"photo-0001.jpg", "photo-0002.jpg", "photo-0003.jpg"}),
    ],
)
async def test_one_key_shows_a_view_from_every_pane(opened: Opener, key: str, shown: set[str]) -> None:
    documents = [
        document(1),
        document(2, status="failed"),
        document(3, updated_at=datetime.now(UTC)),
        document(4, status="paused", host="beta"),
    ]
    async with opened(documents=documents) as console:

        def names() -> set[str]:
            return {getattr(row, "filename", "") for row in map(console.screen.uploads.row, keys_shown(console))}

        await console.press(key)
        await console.until(lambda: names() == shown and console.screen.focused_pane is console.screen.table)
        await console.press("1", key)
        await console.until(lambda: names() == shown)
        await console.press(key)
        await console.until(lambda: len(names()) == len(documents))


def keys_shown(console: Console) -> list[object]:
    return [console.screen.uploads.key(place) for place in range(len(console.screen.uploads))]


async def test_a_filter_becomes_a_view_with_a_name_that_is_remembered(opened: Opener, tmp_path: Path) -> None:
    state = tmp_path / "screen.json"
    async with opened(state_file=state) as console:
        await console.press("2", "slash", Typed("backup"), "enter", "V", "s", Typed("nightly"), "enter")
        await console.press("V", "0")
        await console.until(lambda: not console.screen.table.filter_line.text)
    async with opened(state_file=state) as console:
        await console.press("2", "V")
        await console.until(lambda: "nightly: backup" in console.text)
        await console.press("1")
        await console.until(lambda: console.screen.table.filter_line.text == "backup")
        await console.press("V", "x")
    assert json.loads(state.read_text())["uploads.views"] == []


async def test_views_that_were_saved_without_a_name_are_still_there(opened: Opener, tmp_path: Path) -> None:
    state = tmp_path / "screen.json"
    state.write_text('{"uploads.views": ["backup", 3, {"name": "none"}]}')
    async with opened(state_file=state) as console:
        await console.press("2", "V", "1")
        await console.until(lambda: console.screen.table.filter_line.text == "backup")


async def test_the_theme_is_remembered(opened: Opener, tmp_path: Path) -> None:
    state = tmp_path / "screen.json"
    async with opened(state_file=state) as console:
        console.app.theme = "nord"
        await console.until(lambda: state.exists() and "nord" in state.read_text())
    async with opened(state_file=state) as console:
        assert console.app.theme == "nord"
    state.write_text('{"theme": "no such theme"}')
    async with opened(state_file=state) as console:
        assert console.app.theme == "console-dark"
