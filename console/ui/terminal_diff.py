"""Fewer bytes to the terminal for the same picture, for consoles that are used over a slow line.

Owns a copy of what the terminal shows: of what Textual writes, only the cells that differ from it are sent, and of
styles only what changes from one piece to the next. (Textual writes every line that has a change from the widget's left
edge on, and each piece of text with all of its style and a reset.) Which lines Textual is asked to write
is decided in `widgets.list_view`.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from functools import lru_cache
from typing import Final, NamedTuple

from rich.cells import cell_len
from textual.driver import Driver

# Sequences of ECMA-48: SGR (8.3.117) is a style, CUP (8.3.21) a position.
_SEQUENCE: Final = re.compile(
    r"\x1b\[(?P<style>[\d;]*)m"
    r"|\x1b\[(?P<row>\d+);(?P<column>\d+)H"
    r"|(?P<newline>\r?\n)"
    # What paints nothing: modes but the alternate screen, questions, clipboard and titles, the bell.
    r"|(?P<quiet>\x1b\[\?(?!1049)[\d;]+(?:[hl]|\$p)|\x1b\[[<>=][\d;]*u|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x07)"
    r"|(?P<other>\x1b(?:\[[<-?]?[\d;]*[ -/]*[@-~]|[^\[])|[\x00-\x1f\x7f])"
)
# Terminals and tables disagree on the width of the rest (emoji, combining, East Asian): such text is sent whole.
_RUN: Final = re.compile(
    r"(?P<sure>[\x20-\x7e\xa1-\xac\xae-\u02ff\u2010-\u2027\u2030-\u205e\u2190-\u22ff\u2500-\u25ff\u2713\u2717]+)"
    r"|(?P<unsure>[^\x20-\x7e\xa1-\xac\xae-\u02ff\u2010-\u2027\u2030-\u205e\u2190-\u22ff\u2500-\u25ff\u2713\u2717]+)"
)
_OFF: Final = {"1": "22", "2": "22", "3": "23", "4": "24", "21": "24", "5": "25", "7": "27", "8": "28", "9": "29"}
_SHOWN_ON_BLANKS: Final = frozenset({"4", "21", "7", "9"})
# Up to so many cells that are right already are sent again, where stating a position costs as much.
_BRIDGE: Final = 6


class _Style(NamedTuple):
    """What the terminal paints with: SGR parameters, empty for the terminal's own colours."""

    foreground: str = ""
    background: str = ""
    attributes: frozenset[str] = frozenset()


class _Cell(NamedTuple):
    """What the terminal shows in one place; `style` is as much of it as shows on that character."""

    character: str
    style: _Style


_PLAIN: Final = _Style()


class TerminalDiff:
    """Rewrites what is written to one terminal."""

    def __init__(self) -> None:
        self._rows: dict[int, dict[int, _Cell]] = {}
        self._wanted = _PLAIN
        self._sent: _Style | None = None
        self._row = self._column = 0
        self._cursor: tuple[int, int] | None = None
        self._moved = False

    def forget(self) -> None:
        """What the terminal shows is not known any more: all that comes is sent."""
        self._rows.clear()
        self._sent = self._cursor = None

    def rewrite(self, data: str) -> str:
        """The same picture in fewer bytes. Data may be cut anywhere but inside a sequence."""
        out: list[str] = []
        position = 0
        for match in _SEQUENCE.finditer(data):
            self._text(data[position : match.start()], out)
            self._sequence(match, out)
            position = match.end()
        self._text(data[position:], out)
        self._leave_cursor(out)
        return "".join(out)

    def _sequence(self, match: re.Match[str], out: list[str]) -> None:
        if match["row"] is not None:
            self._row, self._column = int(match["row"]) - 1, int(match["column"]) - 1
            self._moved = True
        elif match["newline"] is not None:
            self._row, self._column = self._row + 1, 0
        elif match["quiet"] is not None:
            out.append(match[0])
        elif match["style"] is not None and (wanted := _applied(self._wanted, match["style"])) is not None:
            self._wanted = wanted
        else:
            self._leave_cursor(out)
            self._paint_with(self._wanted, out)
            out.append(match[0])
            self.forget()

    def _text(self, text: str, out: list[str]) -> None:
        for match in _RUN.finditer(text):
            self._moved = False
            if match["unsure"] is not None:
                self._unsure(match[0], out)
            else:
                self._sure(match[0], out)

    def _sure(self, text: str, out: list[str]) -> None:
        """Send the cells that differ. Most do not: of all that is done for a drawing, this loop is run most often."""
        row = self._rows.setdefault(self._row, {})
        of_letters, of_blanks = _shown(self._wanted, False), _shown(self._wanted, True)
        start = self._column
        for column, character in enumerate(text, start):
            style = of_blanks if character == " " else of_letters
            known = row.get(column)
            if known is None or known[0] != character or known[1] != style:
                self._column = column
                self._cell(_Cell(character, style), row, out)
        self._column = start + len(text)

    def _cell(self, cell: _Cell, row: dict[int, _Cell], out: list[str]) -> None:
        self._bridge(row, out)
        self._move(out)
        if self._sent is None or _shown(self._sent, cell.character == " ") != cell.style:
            self._paint_with(self._wanted, out)
        out.append(cell.character)
        row[self._column] = cell
        self._cursor = (self._row, self._column + 1)

    def _unsure(self, text: str, out: list[str]) -> None:
        """Send text as it is. Nobody knows where the cursor is then: the next cell states its position."""
        self._move(out)
        self._paint_with(self._wanted, out)
        out.append(text)
        row = self._rows.setdefault(self._row, {})
        end = self._column + cell_len(text)
        for column in range(self._column - 1, end + 1):
            row.pop(column, None)
        self._column = end
        self._cursor = None

    def _bridge(self, row: dict[int, _Cell], out: list[str]) -> None:
        """Reach the column by sending what lies between again, where it is little and has the style in use."""
        if self._cursor is None or self._cursor[0] != self._row or self._sent is None:
            return
        start = self._cursor[1]
        if not 0 < self._column - start <= _BRIDGE:
            return
        between = [row.get(column) for column in range(start, self._column)]
        known = [cell.character for cell in between if cell and cell.style == _shown(self._sent, cell.character == " ")]
        if len(known) == len(between):
            out += known
            self._cursor = (self._row, self._column)

    def _leave_cursor(self, out: list[str]) -> None:
        """Go where Textual went last: an input method opens its window there."""
        if self._moved:
            self._moved = False
            self._move(out)

    def _move(self, out: list[str]) -> None:
        if self._cursor != (self._row, self._column):
            self._cursor = (self._row, self._column)
            out.append(f"\x1b[{self._row + 1};{self._column + 1}H")

    def _paint_with(self, style: _Style, out: list[str]) -> None:
        if style != self._sent:
            out.append(_change(self._sent, style))
            self._sent = style


@lru_cache(4_096)
def _shown(style: _Style, on_blank: bool) -> _Style:
    """As much of a style as can be seen: a blank shows no foreground, but where it is underlined or reversed."""
    if not on_blank:
        return style
    attributes = style.attributes & _SHOWN_ON_BLANKS
    return _Style(style.foreground if attributes else "", style.background, attributes)


@lru_cache(4_096)
def _applied(style: _Style, parameters: str) -> _Style | None:
    """The style after an SGR sequence, None where it has something unknown."""
    words = iter(parameters.split(";") if parameters else ["0"])
    foreground, background, attributes = style
    for word in words:
        number = int(word or 0)
        if number == 0:
            foreground, background, attributes = _PLAIN
        elif number in (38, 48):
            colour = _colour(word, words)
            if colour is None:
                return None
            foreground, background = (colour, background) if number == 38 else (foreground, colour)
        elif 30 <= number <= 39 or 90 <= number <= 97:
            foreground = "" if number == 39 else word
        elif 40 <= number <= 49 or 100 <= number <= 107:
            background = "" if number == 49 else word
        elif word in _OFF:
            attributes |= {word}
        else:
            return None
    return _Style(foreground, background, attributes)


def _colour(first: str, words: Iterator[str]) -> str | None:
    kind = next(words, "")
    parts = [next(words, "") for _ in range({"5": 1, "2": 3}.get(kind, 0))]
    return ";".join((first, kind, *parts)) if parts and all(parts) else None


@lru_cache(4_096)
def _change(sent: _Style | None, wanted: _Style) -> str:
    """The SGR sequence from one style to another."""
    steps: list[str] = []
    if sent is None or wanted == _PLAIN:
        steps.append("0")
        sent = _PLAIN
    off = {_OFF[attribute] for attribute in sent.attributes - wanted.attributes}
    # "22" ends bold and dim alike: what is to stay is said again.
    kept = {attribute for attribute in sent.attributes if _OFF[attribute] not in off}
    steps += [*sorted(off), *sorted(wanted.attributes - kept)]
    if sent.foreground != wanted.foreground:
        steps.append(wanted.foreground or "39")
    if sent.background != wanted.background:
        steps.append(wanted.background or "49")
    return f"\x1b[{';'.join(steps)}m"


def diffing_driver(terminal_diff: TerminalDiff) -> type[Driver] | None:
    """Textual's driver for this terminal with less to write, or None where another one is in use."""
    if sys.platform == "win32" or os.environ.get("TEXTUAL_DRIVER"):
        return None
    from textual.drivers.linux_driver import LinuxDriver

    class DiffingDriver(LinuxDriver):
        """Writes what Textual writes, but for what the terminal shows already."""

        def write(self, data: str) -> None:
            super().write(terminal_diff.rewrite(data))

        def start_application_mode(self) -> None:
            """The terminal may have been in other hands."""
            terminal_diff.forget()
            super().start_application_mode()  # type: ignore[no-untyped-call]

        def stop_application_mode(self) -> None:
            """Whoever writes next finds the terminal's own style."""
            super().write("\x1b[0m")
            terminal_diff.forget()
            super().stop_application_mode()

    return DiffingDriver
