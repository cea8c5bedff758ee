"""Which columns a table shows at a given width, and how wide each is.

Owns the fitting alone. Pure: tables declare their columns once, and this decides at every width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from console.ui.cells import Cut

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
