"""Text in terminal cells: pieces of a line with a tone each, cut and padded to an exact width, and the columns of a
table.

Wide characters take two cells, combining ones none; columns are as wide as what rows hold. Pure: a tone is a name that
the style sheet gives a colour to. Callers pass text through `formatting.visible()` first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import groupby, pairwise, takewhile
from typing import Final, NamedTuple

from rich.cells import cell_len, get_character_cell_size

ELLIPSIS: Final = "…"
LEAST_HEAD: Final = 3  # letters of a name's beginning that stay, whatever is cut


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
    FOUND = "found"


class Span(NamedTuple):
    """A piece of a line."""

    text: str
    tone: Tone = Tone.PLAIN


def spans_length(spans: Iterable[Span]) -> int:
    return sum(cell_len(span.text) for span in spans)


class Cut(StrEnum):
    """Where a text that is too long loses its letters."""

    END = "end"
    MIDDLE = "middle"
    START = "start"
    ALIKE = "alike"


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


def shorten(text: str, width: int, cut: Cut = Cut.END, differs: int = 0) -> str:
    """`text` in at most `width` cells, with an ellipsis where something is missing.

    `differs` is the place of the letter that tells it from its neighbours: `Cut.ALIKE` leaves out what is before that.
    """
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
    begin = head(text, room - cell_len(end))
    if cut is Cut.ALIKE and differs >= len(begin):
        return _around(text, width, differs)
    return begin + ELLIPSIS + end


def _around(text: str, width: int, place: int) -> str:
    """The beginning, and what is at `place`, in `width` cells."""
    rest = cell_len(text[place:])
    if rest <= width - 1 - LEAST_HEAD:
        return head(text, width - 1 - rest) + ELLIPSIS + text[place:]
    middle = shorten(text[place:], max(0, width - 1 - LEAST_HEAD), Cut.MIDDLE)
    return head(text, max(0, width - 1 - cell_len(middle))) + ELLIPSIS + middle


def differences(texts: Sequence[str]) -> list[int]:
    """For each text the place of the first letter that tells it from the one of the others that is most alike."""
    order = sorted(range(len(texts)), key=texts.__getitem__)
    places = [0] * len(texts)
    for one, other in pairwise(order):
        if texts[one] != texts[other]:
            common = sum(
                1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(texts[one], texts[other], strict=False))
            )
            places[one], places[other] = max(places[one], common), max(places[other], common)
    return places


def highlighted(spans: Iterable[Span], words: Sequence[str]) -> list[Span]:
    """Spans with all of the (case-folded) words in them shown as found."""
    marked: list[Span] = []
    for span in spans:
        folded = span.text.casefold()
        if len(folded) != len(span.text):  # letters whose other case is longer: nobody knows where they are
            folded = span.text.lower() if len(span.text.lower()) == len(span.text) else span.text
        found = [False] * len(folded)
        for word in words:
            place = folded.find(word)
            while place >= 0:
                found[place : place + len(word)] = [True] * len(word)
                place = folded.find(word, place + 1)
        start = 0
        for is_found, group in groupby(found):
            end = start + len(list(group))
            marked.append(Span(span.text[start:end], Tone.FOUND if is_found else span.tone))
            start = end
    return marked


def padded(text: str, width: int, *, right: bool = False, cut: Cut = Cut.END, differs: int = 0) -> str:
    """`text` in exactly `width` cells."""
    fitted = shorten(text, width, cut, differs)
    blank = " " * (width - cell_len(fitted))
    return blank + fitted if right else fitted + blank


def fit_spans(
    spans: Sequence[Span], width: int, *, right: bool = False, cut: Cut = Cut.END, differs: int = 0
) -> list[Span]:
    """Spans in exactly `width` cells. Several spans are cut at their end, a single one, and what comes after a short
    sign, as `cut` says."""
    if len(spans) == 2 and cut is Cut.ALIKE and (before := cell_len(spans[0].text)) < width // 2:
        return [spans[0], *fit_spans(spans[1:], width - before, cut=cut, differs=differs)]
    if len(spans) == 1:
        return [Span(padded(spans[0].text, width, right=right, cut=cut, differs=differs), spans[0].tone)]
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
# Columns from this rank on go where names would be cut for their sake.
LESSER: Final = 5


@dataclass(frozen=True, slots=True)
class Column:
    """One column as a table declares it; widths in terminal cells.

    `rank` says which columns go first when room is short: the highest rank is dropped first, rank 0 never is.
    `share` is the part a column takes of the room that is left when all have their minimum; 0 keeps it there.
    `least` is how narrow it gets before a column that says much (`ESSENTIAL`) would go for its sake; 0 is its minimum.
    `names` says that it holds the rows' names: it gets what it needs before all others, and before `LESSER` columns are
    shown at all, up to half of the width. `letter` chooses the column where columns are chosen.
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
    names: bool = False
    letter: str = ""

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


def fit_columns(columns: Sequence[Column], width: int, held: Mapping[str, int] | None = None) -> list[Fitted]:
    """The columns that fit `width` cells, in their order, with a gap of one cell between them.

    `held` is how many cells the longest content of each column takes: none takes more than it needs, and one that holds
    nothing is not shown. Without it all take what they may.
    """
    shown = [_as_held(column, width, held) for column in columns if _holds(column, held)]
    while len(shown) > 1 and _needed(shown, width) > width:
        droppable = [column for column in shown if column.rank > 0]
        if not droppable:
            break
        first = max(reversed(droppable), key=lambda column: column.rank)
        if first.rank <= ESSENTIAL and _needed_at_least(shown) <= width:
            break
        shown.remove(first)
    return _place(shown, _widths(shown, width), width)


def _holds(column: Column, held: Mapping[str, int] | None) -> bool:
    return held is None or column.rank == 0 or bool(held.get(column.key))


def _as_held(column: Column, width: int, held: Mapping[str, int] | None) -> Column:
    """The column with no more than it needs."""
    if held is None or not column.share:
        return column
    most = max(cell_len(column.short or column.title), held.get(column.key, 0), 1)
    maximum = min(column.maximum, most)
    return replace(column, maximum=maximum, minimum=min(column.minimum, maximum))


def _needed(columns: Sequence[Column], width: int = 0) -> int:
    """What all need; that of names is all that they hold, where there are columns that matter less."""
    lesser = any(column.rank >= LESSER for column in columns)
    minima = (
        max(column.minimum, min(column.maximum, width // 2)) if column.names and lesser else column.minimum
        for column in columns
    )
    return sum(minima) + GAP * (len(columns) - 1)


def _needed_at_least(columns: Sequence[Column]) -> int:
    return sum(column.narrowest for column in columns) + GAP * (len(columns) - 1)


def _widths(columns: Sequence[Column], width: int) -> list[int]:
    fits = _needed(columns) <= width
    widths = [column.minimum if fits else column.narrowest for column in columns]
    left = width - (_needed(columns) if fits else _needed_at_least(columns))
    for place, column in enumerate(columns):
        if column.names:
            more = max(0, min(left, column.maximum - widths[place]))
            widths[place] += more
            left -= more
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
