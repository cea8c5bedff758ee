"""Fewer bytes, the same picture: judged by a terminal emulator."""

from __future__ import annotations

from typing import Any

import pyte
import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.ui.terminal_diff import TerminalDiff

WIDTH, HEIGHT = 30, 6
TEXTS = st.text(alphabet="ab Ü━│✓写🙂", min_size=1, max_size=8)
STYLES = st.sampled_from(
    ["0", "1", "2", "4", "7", "31", "38;2;1;2;3", "38;5;9", "48;2;9;8;7", "1;38;2;1;2;3;48;2;9;8;7", "39", "49", "9"]
)


@st.composite
def writings(draw: st.DrawFn) -> str:
    """What Textual writes: positions, styles that are reset behind each text, line ends, modes."""
    parts = []
    for _ in range(draw(st.integers(1, 12))):
        kind = draw(st.sampled_from(["move", "text", "text", "styled", "line", "mode", "erase"]))
        if kind == "move":
            parts.append(f"\x1b[{draw(st.integers(1, HEIGHT))};{draw(st.integers(1, 10))}H")
        elif kind == "text":
            parts.append(draw(TEXTS))
        elif kind == "styled":
            parts.append(f"\x1b[{draw(STYLES)}m{draw(TEXTS)}\x1b[0m")
        elif kind == "line":
            # Textual writes no line end on the last line, where it would scroll.
            parts.append(f"\x1b[{draw(st.integers(1, HEIGHT - 1))};1Ha\n\x1b[{draw(st.integers(1, HEIGHT))};1H")
        elif kind == "mode":
            parts.append("\x1b[?2026h")
        else:
            parts.append("\x1b[2J\x1b[1;1H")
    return "\x1b[1;1H" + "".join(parts)


def picture(data: list[str]) -> tuple[list[Any], tuple[int, int]]:
    """Every cell with its look (of blanks only what shows), and the place of the cursor."""
    screen = pyte.Screen(WIDTH, HEIGHT)
    screen.reset_mode(pyte.modes.DECAWM)
    stream = pyte.Stream(screen)
    for piece in data:
        stream.feed(piece)

    def look(y: int, x: int) -> Any:
        cell = screen.buffer[y][x]
        shows = cell.data != " " or cell.reverse or cell.underscore or cell.strikethrough
        return cell if shows else (cell.data, cell.bg)

    cells = [look(y, x) for y in range(HEIGHT) for x in range(WIDTH)]
    return cells, (screen.cursor.y, screen.cursor.x)


def in_bounds(data: list[str]) -> bool:
    """Textual never writes behind the right edge."""
    screen = pyte.Screen(WIDTH * 10, HEIGHT)
    stream = pyte.Stream(screen)
    for piece in data:
        stream.feed(piece)
    return all(screen.buffer[y][x].data == " " for y in range(HEIGHT) for x in range(WIDTH - 1, WIDTH * 10))


@given(st.lists(writings(), min_size=1, max_size=5))
def test_the_picture_is_the_same(data: list[str]) -> None:
    if not in_bounds(data):
        return
    terminal_diff = TerminalDiff()
    cells, _ = picture(data)
    assert picture([terminal_diff.rewrite(piece) for piece in data])[0] == cells


@given(st.lists(writings(), min_size=1, max_size=5))
def test_the_cursor_is_left_where_it_was_put_last(data: list[str]) -> None:
    data = [*data, "\x1b[3;4H"]
    terminal_diff = TerminalDiff()
    assert picture([terminal_diff.rewrite(piece) for piece in data])[1] == (2, 3)


FRAME = "\x1b[1;1H\x1b[1;38;2;9;9;9;48;2;1;1;1mUploads\x1b[0m\x1b[38;2;9;9;9;48;2;1;1;1m   44%\x1b[0m"


def test_what_the_terminal_shows_already_costs_nothing() -> None:
    terminal_diff = TerminalDiff()
    first = terminal_diff.rewrite(FRAME)
    assert len(first) < len(FRAME)
    assert terminal_diff.rewrite(FRAME).replace("\x1b[1;1H", "") == ""


def test_only_the_cells_that_differ_are_sent() -> None:
    terminal_diff = TerminalDiff()
    terminal_diff.rewrite(FRAME)
    assert terminal_diff.rewrite(FRAME.replace("44%", "45%")) == "\x1b[1;12H5"


def test_everything_is_sent_again_after_forgetting() -> None:
    terminal_diff = TerminalDiff()
    first = terminal_diff.rewrite(FRAME)
    terminal_diff.forget()
    assert terminal_diff.rewrite(FRAME) == first


def test_leaving_the_alternate_screen_moves_no_cursor() -> None:
    terminal_diff = TerminalDiff()
    terminal_diff.rewrite(FRAME)
    for sequence in ("\x1b[<u", "\x1b[?1049l", "\x1b[?25h"):
        assert "H" not in terminal_diff.rewrite(sequence)


@pytest.mark.parametrize("text", ["🙂", "写真", "e\u0301", "\ufe0f"])
def test_text_of_uncertain_width_is_sent_whole_each_time_and_what_follows_states_its_place(text: str) -> None:
    terminal_diff = TerminalDiff()
    for _ in range(2):
        sent = terminal_diff.rewrite(f"\x1b[2;1H{text}x")
        assert text in sent
        assert sent.endswith("x")
        assert f"{text}\x1b[2;" in sent
