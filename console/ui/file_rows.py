"""The entries of a directory as rows of a list.

Owns how a name, a size and a time look. Not here: reading directories (`listing`), the pane (`browser`).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from console.formatting import byte_size, visible
from console.ui.cells import Cut, Span, Tone
from console.ui.columns import Column
from console.ui.listing import Entry, Kind
from console.ui.row_source import Key

COLUMNS: Final = (
    Column("name", "Name", 14, 400, rank=0, share=3, cut=Cut.MIDDLE),
    Column("size", "Size", 8, 8, rank=1, right=True),
    Column("modified", "Modified", 5, 16, rank=2, share=2, short="Date"),
)


class FileRows:
    """The entries of one directory as rows; the key of a row is its path."""

    columns = COLUMNS

    def __init__(self, entries: Sequence[Entry] = (), words: str = "") -> None:
        self.entries = entries
        self._words = words
        self._places: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self.entries)

    def key(self, index: int) -> str:
        """The path."""
        return self.entries[index].path

    def index_of(self, key: Key) -> int | None:
        """Where that path stands."""
        if not self._places and self.entries:
            self._places = {entry.path: place for place, entry in enumerate(self.entries)}
        return self._places.get(key) if isinstance(key, str) else None

    def whole(self, index: int) -> Sequence[Span] | None:
        """What is wrong with the directory itself goes across; all else has columns."""
        entry = self.entries[index]
        return None if entry.name else [Span(entry.problem, Tone.BAD)]

    def may_mark(self, index: int) -> bool:
        """What can be uploaded."""
        return not self.entries[index].problem and self.entries[index].kind in (Kind.FILE, Kind.DIRECTORY)

    def empty_words(self) -> str:
        """Why nothing is shown."""
        return self._words

    def cell(self, index: int, column: str, width: int) -> Sequence[Span]:
        """Name, size or time of one entry."""
        entry = self.entries[index]
        if column == "name":
            return _name(entry)
        if column == "size":
            return [Span(byte_size(entry.size) if entry.kind is Kind.FILE else "", Tone.PLAIN)]
        return [Span(_time(entry.mtime, width) if entry.mtime else "", Tone.MUTED)]


def _time(mtime: float, width: int) -> str:
    """Local time, as `ls` has it where it is narrow: without the year this year, the time alone today."""
    try:
        moment = datetime.fromtimestamp(mtime, UTC).astimezone()
    except (ValueError, OverflowError, OSError):  # file systems know years after 9999
        return "?"
    if width >= 16:
        return f"{moment:%Y-%m-%d %H:%M}"
    today = datetime.now(UTC).astimezone()
    if width >= 11:
        return f"{moment:%m-%d %H:%M}" if moment.year == today.year else f"{moment:%Y-%m-%d}"
    if moment.date() == today.date():
        return f"{moment:%H:%M}"
    return f"{moment:%m-%d}" if moment.year == today.year else f"{moment:%Y}"


def _name(entry: Entry) -> list[Span]:
    name = visible(entry.name)
    if entry.kind in (Kind.PARENT, Kind.DIRECTORY):
        shown = Span(f"{name}/", Tone.ACCENT)
    else:
        shown = Span(name, Tone.MUTED if entry.problem else Tone.PLAIN)
    spans = [shown]
    if entry.is_link:
        spans.append(Span("@", Tone.MUTED))
    if entry.problem:
        spans.append(Span(f"  {entry.problem}", Tone.BAD))
    return spans
