"""A terminal that changes its size, judged by what it shows: only a pseudo-terminal tells of a size by a signal."""

from __future__ import annotations

import fcntl
import struct
import sys
import termios
from pathlib import Path

import pytest

from tests.terminal import Terminal

PLAY = (sys.executable, "-m", "tests.ui.play", "--still")
COLUMNS, LINES, FEW = 120, 36, 20
PATIENCE = 20.0
# One piece of each part of the screen, the edges included.
DRAWN = ("Upload console", "MongoDB connected", "21.6 MiB/s", "┏━ Files", "a.jpg", "╭─ Events", "snapshot", "q Leave")


class Resizable(Terminal):
    """A terminal whose window is drawn smaller and larger; lines that no longer fit are lost."""

    def resize(self, lines: int) -> None:
        """What is seen first, then the signal."""
        self._screen.resize(lines, COLUMNS)
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, COLUMNS, 0, 0))


def whole(text: str, lines: int) -> bool:
    """Whether nothing is missing: no line of the console is blank, and each part is there once."""
    shown = text.splitlines()
    return len(shown) == lines and all(shown) and all(text.count(words) == 1 for words in DRAWN)


@pytest.mark.parametrize("waits", [True, False], ids=["slowly", "at once"])
def test_all_is_drawn_again_after_the_terminal_shrank_and_grew(photos: Path, waits: bool) -> None:
    with Resizable([*PLAY, str(photos)], columns=COLUMNS, lines=LINES) as terminal:
        terminal.wait_for(lambda text: whole(text, LINES), PATIENCE)
        terminal.resize(FEW)
        if waits:
            terminal.wait_for(lambda text: whole(text, FEW), PATIENCE)
        terminal.resize(LINES)
        terminal.wait_for(lambda text: whole(text, LINES), PATIENCE)
