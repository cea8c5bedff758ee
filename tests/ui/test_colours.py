"""The main screen in every number of colours, at the three sizes: which colours a person sees, and that what has the
focus is told apart. Colours are text here: the pictures are read in a review as those of the letters are.
"""

from __future__ import annotations

from collections import Counter

import pytest
from rich.style import Style
from syrupy.assertion import SnapshotAssertion

from .conftest import SIZES, Console, Opener

LOOKS = {
    "dark": ("console-dark", {}),
    "light": ("console-light", {}),
    "dark-256": ("console-dark", {"COLORTERM": ""}),
    "light-256": ("console-light", {"COLORTERM": ""}),
    "dark-16": ("console-dark", {"COLORTERM": "", "TERM": "xterm"}),
    "light-16": ("console-light", {"COLORTERM": "", "TERM": "xterm"}),
    "none": ("console-dark", {"NO_COLOR": "1"}),
}
SIZE_OF = dict(zip(LOOKS, [SIZES[place % len(SIZES)] for place in range(len(LOOKS))], strict=True))


def styles(console: Console, line: int) -> list[tuple[str, Style]]:
    """The texts of a line with their looks, without blanks."""
    strip = console.app.screen._compositor.render_strips()[line]
    return [(segment.text.strip(), segment.style or Style()) for segment in strip if segment.text.strip()]


def colours(console: Console) -> str:
    """How many cells have each look."""
    cells: Counter[str] = Counter()
    for strip in console.app.screen._compositor.render_strips():
        for segment in strip:
            cells[str(segment.style or "")] += len(segment.text)
    return "\n".join(f"{number:5} {look}" for look, number in sorted(cells.items()))


@pytest.mark.parametrize("look", LOOKS)
async def test_the_main_screen(
    opened: Opener, look: str, monkeypatch: pytest.MonkeyPatch, snapshot: SnapshotAssertion
) -> None:
    theme, surroundings = LOOKS[look]
    for name, value in surroundings.items():
        monkeypatch.setenv(name, value)
    async with opened(size=SIZE_OF[look], theme=theme) as console:
        await console.press("2", "space")
        await console.until(lambda: "1 marked" in console.text)
        title = next(line for line, text in enumerate(console.lines) if "Uploads" in text and "Files" in text)
        files = next(style for text, style in styles(console, title) if "Files" in text)
        uploads = next(style for text, style in styles(console, title) if "Uploads" in text)
        assert (files.color, files.bold, files.dim) != (uploads.color, uploads.bold, uploads.dim)
        assert uploads.bold
        assert not uploads.dim
        assert colours(console) == snapshot
