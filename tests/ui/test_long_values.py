"""Values of megabytes: they open at once, and keys are answered."""

from __future__ import annotations

import time
from typing import Any

import pytest
from rich.cells import cell_len

from console.ui.widgets.text_screen import WrappedText

from .conftest import Opener
from .fake_backend import document
from .test_event_detail import an_update
from .test_event_log import Inspected

MIB = 1024 * 1024
# Wrapping by copying what is left took 38 s for a megabyte. On a busy machine all of this takes a second.
SECONDS = 15.0
TEXTS = {"letters": "x", "words": "word and ", "wide": "漢字", "accents": "äöü ", "emoji": "🙂"}


@pytest.mark.parametrize("piece", TEXTS.values(), ids=TEXTS)
def test_wrapping_a_long_line_loses_nothing_and_takes_no_time(piece: str) -> None:
    text = piece * (4 * MIB // len(piece))
    began = time.monotonic()
    lines = WrappedText(text, 100, at_blanks=True)
    assert "".join(lines[place] for place in range(len(lines))) == text
    assert time.monotonic() - began < SECONDS
    assert all(cell_len(lines[place]) <= 100 for place in range(100))


@pytest.mark.parametrize("piece", ["x", "漢"])
async def test_a_document_with_a_long_text_opens_and_closes(opened: Opener, piece: str) -> None:
    strange: dict[str, Any] = {**document(1), "status": "in progress", "exception": piece * 5 * MIB}
    async with opened(documents=[strange]) as console:
        began = time.monotonic()
        await console.press("2", "enter")
        await console.until(lambda: "unreadable" in console.text and "in progress" in console.text)
        await console.press("end", "home", "pagedown", "escape")
        await console.until(lambda: len(console.app.screen_stack) == 1)
        assert time.monotonic() - began < SECONDS


async def test_an_event_with_a_long_text_opens_on_each_tab(inspected: Inspected) -> None:
    async with inspected(an_update(text="a b" * MIB), an_update(text="a c" * MIB)) as inspecting:
        began = time.monotonic()
        await inspecting.press("enter", "2", "end", "home", "3", "4", "1", "enter", "end", "escape", "escape")
        await inspecting.until(lambda: len(inspecting.app.screen_stack) == 1)
        assert time.monotonic() - began < SECONDS
