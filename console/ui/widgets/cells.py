"""Text in terminal cells: pieces of a line with a tone each, cut and padded to an exact width, and the columns of a
table.

Wide characters take two cells, combining ones none. Pure: a tone is a name that the style sheet gives a colour to.
Callers pass text through `formatting.visible()` first.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

from rich.cells import cell_len, get_character_cell_size

ELLIPSIS: Final = "…"


class Tone(StrEnum):
    """What a piece of text means; the style sheet's `rows--<tone>` says how it looks."""

    PLAIN = "plain"
    MUTED = "muted"
    STRONG = "strong"
    ACCENT = "accent"
    GOOD = "good"
    WARNING = "warning"
    BAD = "bad"
    BAR = "bar"
    TROUGH = "trough"


class Span(NamedTuple):
    """A piece of a line."""

    text: str
    tone: Tone = Tone.PLAIN


def spans_length(spans: Iterable[Span]) -> int:
    """How many cells spans take."""
    return sum(cell_len(span.text) for span in spans)


class Cut(StrEnum):
    """Where a text that is too long loses its letters."""

    END = "end"
    MIDDLE = "middle"
    START = "start"


def head(text: str, width: int) -> str:
    """The longest beginning of `text` that fits `width` cells."""
    if text.isascii():
        return text[: max(0, width)]
    used = 0
    for index, character in enumerate(text):
        used += get_character_cell_size(character)
        if used > width:
            return text[:index]
    return text


def tail(text: str, width: int) -> str:
    """The longest end of `text` that fits `width` cells."""
    if text.isascii():
        return text[len(text) - width :] if 0 < width < len(text) else text if width > 0 else ""
    used = 0
    for index in range(len(text) - 1, -1, -1):
        used += get_character_cell_size(text[index])
        if used > width:
            return text[index + 1 :]
    return text


def shorten(text: str, width: int, cut: Cut = Cut.END) -> str:
    """`text` in at most `width` cells, with an ellipsis where something is missing."""
    if cell_len(text) <= width:
        return text
    room = width - 1
    if room < 0:
        return ""
    if cut is Cut.END:
        return head(text, room) + ELLIPSIS
    if cut is Cut.START:
        return ELLIPSIS + tail(text, room)
    # The end of a name tells more than its middle: extension, number, last folder.
    end = tail(text, room // 2)
    return head(text, room - cell_len(end)) + ELLIPSIS + end


def padded(text: str, width: int, *, right: bool = False, cut: Cut = Cut.END) -> str:
    """`text` in exactly `width` cells."""
    fitted = shorten(text, width, cut)
    blank = " " * (width - cell_len(fitted))
    return blank + fitted if right else fitted + blank


def fit_spans(spans: Sequence[Span], width: int, *, right: bool = False, cut: Cut = Cut.END) -> list[Span]:
    """Spans in exactly `width` cells. Several spans are cut at their end, a single one as `cut` says."""
    if len(spans) == 1:
        return [Span(padded(spans[0].text, width, right=right, cut=cut), spans[0].tone)]
    total = spans_length(spans)
    if total > width:
        return _cut_end(spans, width)
    blank = Span(" " * (width - total))
    if not blank.text:
        return list(spans)
    return [blank, *spans] if right else [*spans, blank]


def _cut_end(spans: Iterable[Span], width: int) -> list[Span]:
    room = width - 1
    if room < 0:
        return []
    kept: list[Span] = []
    for span in spans:
        part = head(span.text, room)
        room -= cell_len(part)
        if part:
            kept.append(Span(part, span.tone))
        if part != span.text:
            break
    # A wide character that did not fit leaves one cell over.
    return [*kept, Span(ELLIPSIS + " " * room, Tone.MUTED)]


GAP: Final = 1
# Columns up to this rank go only where the others are as narrow as they get.
ESSENTIAL: Final = 2


@dataclass(frozen=True, slots=True)
class Column:
    """One column as a table declares it; widths in terminal cells.

    `rank` says which columns go first when room is short: the highest rank is dropped first, rank 0 never is.
    `share` is the part a column takes of the room that is left when all have their minimum; 0 keeps it there.
    `least` is how narrow it gets before a column that says much (`ESSENTIAL`) would go for its sake; 0 is its minimum.
    `short` is the title where the whole one has no room.
    """

    key: str
    title: str
    minimum: int
    maximum: int
    rank: int
    share: int = 0
    right: bool = False
    cut: Cut = Cut.END
    short: str = ""
    least: int = 0

    @property
    def narrowest(self) -> int:
        """The width that it cannot do with less of."""
        return min(self.least or self.minimum, self.minimum)

    def heading(self, width: int) -> str:
        """The title that suits a width."""
        return self.short if self.short and len(self.title) > width else self.title


class Fitted(NamedTuple):
    """A column that is shown, where it begins and how wide it is."""

    column: Column
    x: int
    width: int


def fit_columns(columns: Sequence[Column], width: int) -> list[Fitted]:
    """The columns that fit `width` cells, in their order, with a gap of one cell between them."""
    shown = list(columns)
    while len(shown) > 1 and _needed(shown) > width:
        droppable = [column for column in shown if column.rank > 0]
        if not droppable:
            break
        first = max(reversed(droppable), key=lambda column: column.rank)
        if first.rank <= ESSENTIAL and _needed_at_least(shown) <= width:
            break
        shown.remove(first)
    return _place(shown, _widths(shown, width), width)


def _needed(columns: Sequence[Column]) -> int:
    return sum(column.minimum for column in columns) + GAP * (len(columns) - 1)


def _needed_at_least(columns: Sequence[Column]) -> int:
    return sum(column.narrowest for column in columns) + GAP * (len(columns) - 1)


def _widths(columns: Sequence[Column], width: int) -> list[int]:
    fits = _needed(columns) <= width
    widths = [column.minimum if fits else column.narrowest for column in columns]
    left = width - (_needed(columns) if fits else _needed_at_least(columns))
    while left > 0:
        growing = [i for i, c in enumerate(columns) if c.share > 0 and widths[i] < c.maximum]
        if not growing:
            break
        shares = sum(columns[i].share for i in growing)
        granted = 0
        for i in growing:
            part = min(max(1, left * columns[i].share // shares), columns[i].maximum - widths[i], left - granted)
            widths[i] += part
            granted += part
        left -= granted
    return widths


def _place(columns: Sequence[Column], widths: Sequence[int], width: int) -> list[Fitted]:
    """Positions from the left; what would stick out on the right is cut or left away."""
    placed: list[Fitted] = []
    x = 0
    for column, wanted in zip(columns, widths, strict=True):
        room = min(wanted, width - x)
        if room <= 0:
            break
        placed.append(Fitted(column, x, room))
        x += room + GAP
    return placed
