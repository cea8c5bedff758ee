"""The events of one document as rows, oldest first.

Owns nothing but the order; lines look as in the log.
"""

from __future__ import annotations

from collections.abc import Sequence

from console.events.buffer import EventBuffer
from console.events.event import ChangeEvent
from console.ui.cells import Span
from console.ui.columns import Column
from console.ui.event_cells import CHANGES, OPERATION, SIGN, TIME, Notice, changes_spans, event_cell
from console.ui.row_source import Key


class HistoryRows:
    """Events by their numbers in the buffer; only those on the screen are unpacked."""

    columns: Sequence[Column] = (TIME, SIGN, OPERATION, CHANGES)

    def __init__(self, buffer: EventBuffer[Notice], numbers: Sequence[int]) -> None:
        self._buffer = buffer
        self._numbers = [number for number in numbers if number in buffer]

    def __len__(self) -> int:
        return len(self._numbers)

    def key(self, index: int) -> Key:
        """The event's number in the buffer."""
        return self._numbers[index]

    def index_of(self, key: Key) -> int | None:
        """Where that event is in the history."""
        return self._numbers.index(key) if key in self._numbers else None

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
        number = self._numbers[index]
        if number not in self._buffer:
            return [Span("")]
        event = self._buffer[number]
        if not isinstance(event, ChangeEvent):
            return [Span("")]
        return changes_spans(event) if column == "changes" else event_cell(event, column, width)
