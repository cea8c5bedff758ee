"""The event log: every change event as it arrives, one line each, newest at the bottom.

Owns the pane: following the end, pausing, filtering. Not here: how a line looks (`event_cells`), the event in full
(`event_detail`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import ClassVar, Final

from textual import on
from textual.binding import Binding, BindingType
from textual.message import Message

from console.events.event import ChangeEvent
from console.events.feed_items import FeedItem, FeedState, Gap
from console.events.values import same
from console.ui.cells import Span
from console.ui.event_cells import ONE_NAMESPACE, SEVERAL_NAMESPACES, Entry, Notice, changes_spans, event_cell
from console.ui.pace import Pace
from console.ui.pane import Pane
from console.ui.rows import Key, RowsView

DRAW_SECONDS: Final = 0.25
CAPACITY: Final = 100_000
KEPT_SPANS: Final = 2_000


class LogRows:
    """The last entries, numbered from the first that ever came; the key of a row is its number."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self.capacity = capacity
        self.total = 0
        self.namespaces: set[str] = set()
        self.frozen_at: int | None = None
        self._entries: list[Entry] = []
        self._spans: dict[int, list[Span]] = {}

    @property
    def columns(self) -> Sequence:
        return SEVERAL_NAMESPACES if len(self.namespaces) > 1 else ONE_NAMESPACE

    def append(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            self._entries.append(entry)
            self.total += 1
            if isinstance(entry, ChangeEvent) and entry.namespace not in self.namespaces:
                self.namespaces.add(entry.namespace)
        if len(self._entries) > self.capacity * 1.1:
            del self._entries[: len(self._entries) - self.capacity]

    @property
    def _first(self) -> int:
        return self.total - len(self._entries)

    def __len__(self) -> int:
        end = self.total if self.frozen_at is None else self.frozen_at
        return end - self._first

    def key(self, index: int) -> Key:
        return self._first + index

    def index_of(self, key: Key) -> int | None:
        place = int(key) - self._first
        return place if 0 <= place < len(self) else None

    def entry(self, key: Key) -> Entry | None:
        place = self.index_of(key)
        return self._entries[place] if place is not None else None

    def whole(self, index: int) -> Sequence[Span] | None:
        """All rows have columns."""
        return None

    def history(self, event: ChangeEvent) -> Sequence[ChangeEvent]:
        if event.document_key is None:
            return []
        return [
            entry
            for entry in self._entries
            if isinstance(entry, ChangeEvent)
            and entry.namespace == event.namespace
            and same(entry.document_key, event.document_key)
        ]

    def may_mark(self, index: int) -> bool:
        return False

    def empty_words(self) -> str:
        return "no events yet"

    def cell(self, index: int, column: str, width: int) -> Sequence[Span]:
        entry = self._entries[index]
        if column != "changes":
            return event_cell(entry, column, width)
        number = self._first + index
        spans = self._spans.get(number)
        if spans is None:
            if len(self._spans) > KEPT_SPANS:
                self._spans.clear()
            spans = self._spans[number] = changes_spans(entry)
        return spans


class EventLog(Pane):
    """The pane at the bottom."""

    NAME = "Events"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "hold", "Hold", tooltip="Hold the view still, while events go on being read; again to go on."),
    ]

    @dataclass
    class Opened(Message):
        """One event is to be shown in full."""

        event: ChangeEvent

    def __init__(self, *, id: str | None = None) -> None:
        self.log_rows = LogRows()
        super().__init__(self.log_rows, follow=True, id=id)
        self._pace = Pace(self, self.draw, DRAW_SECONDS)

    def make_rows(self, source, follow: bool) -> RowsView:
        return RowsView(source, follow=follow)

    def add(self, items: Iterable[FeedItem]) -> None:
        entries: list[Entry] = []
        for item in items:
            match item:
                case ChangeEvent():
                    entries.append(item)
                case Gap(reason):
                    entries.append(Notice("gap", reason, datetime.now(UTC)))
                case FeedState(_, message):
                    entries.append(Notice("connection", message, datetime.now(UTC)))
        if entries:
            self.log_rows.append(entries)
            self._pace.mark()

    def draw(self) -> None:
        self.rows.reload()
        self.title_line.show(self.NAME, f"{self.log_rows.total:,}")

    def filter_changed(self, text: str) -> None:
        pass

    @on(RowsView.Activated)
    def _activated(self, event: RowsView.Activated) -> None:
        event.stop()
        entry = self.log_rows.entry(event.key)
        if isinstance(entry, ChangeEvent):
            self.post_message(self.Opened(entry))

    def action_hold(self) -> None:
        self.log_rows.frozen_at = None if self.log_rows.frozen_at is not None else self.log_rows.total
        self.draw()
