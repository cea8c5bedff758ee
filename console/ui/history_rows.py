"""The events of one document as rows, oldest first.

Owns nothing but the order; lines look as in the log.
"""

from __future__ import annotations

from collections.abc import Sequence

from console.events.event import ChangeEvent
from console.ui.cells import Span
from console.ui.columns import Column
from console.ui.event_cells import CHANGES, OPERATION, SIGN, TIME, changes_spans, event_cell
from console.ui.rows import Key


class HistoryRows:
    """A fixed list of events; the key of a row is its place."""

    columns: Sequence[Column] = (TIME, SIGN, OPERATION, CHANGES)

    def __init__(self, events: Sequence[ChangeEvent]) -> None:
        self.events = events

    def __len__(self) -> int:
        return len(self.events)

    def key(self, index: int) -> Key:
        """The place."""
        return index

    def index_of(self, key: Key) -> int | None:
        """The place itself, while there is such an event."""
        return key if isinstance(key, int) and key < len(self.events) else None

    def whole(self, index: int) -> Sequence[Span] | None:
        """Events have columns."""
        return None

    def may_mark(self, index: int) -> bool:
        """Events are not marked."""
        return False

    def empty_words(self) -> str:
        """An event that is not about a document has no history."""
        return "this event is not about one document"

    def cell(self, index: int, column: str, width: int) -> Sequence[Span]:
        """As in the log."""
        event = self.events[index]
        return changes_spans(event) if column == "changes" else event_cell(event, column, width)
