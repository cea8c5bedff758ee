"""How far a long group of uploads is held: the place behind which the table knows nothing.

Owns that place, and the values by which the rows behind it are asked for. Those values stay good when the row that had
them is deleted or goes elsewhere. Pure. Not here: which rows are held (`upload_rows`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeAlias

from bson import ObjectId

from console.models import Upload
from console.ui.upload_order import FINISHED, WAITING, Order, Row, order_of

# How near the last row before it the cursor comes before the rows behind it are asked for.
NEAR_ROWS: Final = 100

After: TypeAlias = tuple[int, datetime, ObjectId] | tuple[datetime | None, ObjectId]


@dataclass(frozen=True, slots=True)
class Frontier:
    """All rows of a group up to `order` are held; `after` asks for the others, as `PageQuery` has it."""

    order: Order
    after: After


Frontiers: TypeAlias = dict[int, Frontier]


def last_frontier(rows: Iterable[Row], rank: int) -> Frontier | None:
    """The frontier at the last of these rows that are of the group; None where nothing can be asked for behind them."""
    placed = [(order_of(row), row) for row in rows if isinstance(row, Upload)]
    order, row = max(
        (entry for entry in placed if entry[0][0] == rank), key=lambda entry: entry[0], default=(None, None)
    )
    if order is None or row is None:
        return None
    return Frontier(order, _after(row, rank))


def _after(row: Upload, rank: int) -> After:
    if rank == WAITING:
        return (row.priority, row.created_at, row.id)
    return (row.finished_at, row.id)


def draw_back(frontiers: Frontiers, rank: int, frontier: Frontier | None) -> None:
    """No more than up to there is held any longer."""
    held = frontiers.get(rank)
    if frontier is not None and (held is None or frontier.order < held.order):
        frontiers[rank] = frontier


def is_near(rank: int, cursor: int, end: int, group_end: int) -> bool:
    """Whether the rows behind a frontier (its last row is before `end`) could soon be seen from the cursor.

    What follows the finished ones is the end of the table; a cursor far in what follows the waiting ones is elsewhere.
    """
    return cursor >= end - NEAR_ROWS and (rank == FINISHED or cursor < group_end + NEAR_ROWS)
