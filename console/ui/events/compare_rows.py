"""The documents before and after an event as rows of a list: side by side, or one under the other where it is narrow.

Owns the drawing of `console.events.diff_rows` in cells, and which folds are open. Not here: what differs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

from rich.cells import cell_len

from console.events.diff_rows import Cell, Fold, Omitted, Row, RowKind, event_rows, fold
from console.events.event import ChangeEvent
from console.events.text import excerpt, first_difference, json_text, path_text, type_label
from console.formatting import count
from console.ui.widgets.cells import Column, Span, Tone
from console.ui.widgets.list_view import Key, RowSource
from console.ui.widgets.text_screen import folded

NARROW: Final = 96
LONGEST: Final = 20_000  # characters of a value that are shown in full

_SIGN: Final = Column("sign", "", 1, 1, rank=0)
_FIELD: Final = Column("field", "Field", 14, 60, rank=0, share=2)
SIDE_BY_SIDE: Final = (
    _SIGN,
    _FIELD,
    Column("before", "Before", 20, 2_000, rank=0, share=5),
    Column("after", "After", 20, 2_000, rank=0, share=5),
)
ONE_UNDER_THE_OTHER: Final = (_SIGN, _FIELD, Column("value", "Value", 20, 2_000, rank=0, share=6))
_SIGNS: Final[Mapping[RowKind, tuple[str, Tone]]] = {
    RowKind.SAME: (" ", Tone.MUTED),
    RowKind.ADDED: ("+", Tone.GOOD),
    RowKind.REMOVED: ("-", Tone.BAD),
    RowKind.CHANGED: ("~", Tone.WARNING),
}


class _Line(NamedTuple):
    """One line: a row and, where it is narrow, which of its sides; or a piece of a note, and all of it."""

    row: Row | Omitted | Fold | str
    side: str = ""


class CompareRows(RowSource):
    """The comparison of one event. The key of a line is its number in the unfolded list, with its side."""

    columns: Sequence[Column] = SIDE_BY_SIDE

    def __init__(self, event: ChangeEvent, *, width: int, fold_same: bool = True, notes: Sequence[str] = ()) -> None:
        narrow = width < NARROW
        self.columns = ONE_UNDER_THE_OTHER if narrow else SIDE_BY_SIDE
        self._event = event
        self._narrow = narrow
        self._width = max(1, width - 6)
        self._notes = notes
        self._rows = event_rows(event)
        self._opened: set[int] = set()
        self._folds = fold_same
        self._lines: list[_Line] = []
        self._lay_out()

    @property
    def first_change(self) -> Key | None:
        """The key of the first line that differs, None where nothing does."""
        for index, line in enumerate(self._lines):
            if isinstance(line.row, Row) and line.row.kind is not RowKind.SAME:
                return self.key(index)
        return None

    def _lay_out(self) -> None:
        rows = fold(self._rows, opened=self._opened) if self._folds else self._rows
        self._lines = [_Line(part, note) for note in self._notes for part in folded(note, self._width)]
        for row in rows:
            if self._narrow and isinstance(row, Row) and row.kind is RowKind.CHANGED and not row.container:
                self._lines += [_Line(row, "before"), _Line(row, "after")]
            else:
                self._lines.append(_Line(row))

    def toggle(self, key: Key) -> bool:
        """Open the fold on that line; False where there is none."""
        index = self.index_of(key)
        row = self._lines[index].row if index is not None else None
        if isinstance(row, Fold):
            self._opened.add(row.start)
            self._lay_out()
        return isinstance(row, Fold)

    def whole_values(self, key: Key) -> tuple[str, list[tuple[str, str]]] | None:
        """The path of that line, and each side's type and value in full; None for a line that has none.

        Of a value that is too long for a screen the part is given in which the sides differ.
        """
        index = self.index_of(key)
        row = self._lines[index].row if index is not None else None
        if not isinstance(row, Row):
            return None
        both = {"before": row.before, "after": row.after}
        cells = {"": row.after or row.before} if row.kind is RowKind.SAME else both
        texts = {side: (cell, json_text(cell.value, relaxed=True)) for side, cell in cells.items() if cell is not None}
        around = first_difference(*(text for _, text in texts.values())) if len(texts) == 2 else 0
        start = max(0, around - LONGEST // 3)
        lines = []
        for side, (cell, text) in texts.items():
            part = f"{'…' if start else ''}{text[start : start + LONGEST]}{'…' if len(text) > start + LONGEST else ''}"
            lines.append((side, f"{type_label(cell.value)}\n{part}"))
        return path_text(row.path), lines

    def value(self, index: int) -> str:
        """The whole value on a line, as JSON, to copy: the new one where there are two."""
        if index >= len(self._lines):
            return ""
        row = self._lines[index].row
        if isinstance(row, str):
            return self._lines[index].side
        if not isinstance(row, Row):
            return ""
        cell = row.before if self._lines[index].side == "before" else row.after or row.before
        return json_text(cell.value, relaxed=True) if cell is not None else ""

    # ---- as a source of rows

    def __len__(self) -> int:
        return len(self._lines)

    def key(self, index: int) -> Key:
        line = self._lines[index]
        return (line.row.path, line.side, line.row.kind) if isinstance(line.row, Row) else index

    def index_of(self, key: Key) -> int | None:
        return next((index for index in range(len(self._lines)) if self.key(index) == key), None)

    def whole(self, index: int) -> Sequence[Span] | None:
        """Notes and folds go across."""
        row = self._lines[index].row
        if isinstance(row, str):
            return [Span("! ", Tone.WARNING), Span(row)]
        if isinstance(row, Row):
            return None
        words = f"{row.count:,} unchanged" if isinstance(row, Fold) else f"{count(row.count, 'row')} not shown"
        return [Span(f"  {'  ' * row.depth}⋯ {words}", Tone.MUTED)]

    def empty_text(self) -> str:
        return f"{self._event.operation} is not about a document: the raw event is on the next tab"

    def cell(self, index: int, column: str, width: int) -> Sequence[Span]:
        line = self._lines[index]
        return _row_cell(line.row, line.side, column, width) if isinstance(line.row, Row) else [Span("")]


def _row_cell(row: Row, side: str, column: str, width: int) -> Sequence[Span]:
    sign, tone = _SIGNS[row.kind]
    same = row.kind is RowKind.SAME
    if column == "sign":
        return [Span({"before": "-", "after": "+"}.get(side, sign), _side_tone(side, tone))]
    if column == "field":
        label = "" if side == "after" else row.label
        return [Span(f"{'  ' * row.depth}{label}", Tone.MUTED if same else Tone.STRONG)]
    if column == "value":
        side = side or ("before" if row.kind is RowKind.REMOVED else "after")
        return _side(_differing(row, side, width), _side_tone(side, tone) if not same else tone)
    return _side(_differing(row, column, width), Tone.MUTED if same else _side_tone(column, tone))


def _differing(row: Row, side: str, width: int) -> Cell | None:
    """One side; of two long strings the part in which they differ, as far as it has room."""
    before, after = row.before, row.after
    cell = before if side == "before" else after
    if row.kind is not RowKind.CHANGED or cell is None or cell_len(cell.text) <= width:
        return cell
    texts = [one.value for one in (before, after) if one is not None and isinstance(one.value, str)]
    return replace(cell, text=excerpt(cell.value, first_difference(*texts), width)) if len(texts) == 2 else cell


def _side_tone(side: str, otherwise: Tone) -> Tone:
    return {"before": Tone.BAD, "after": Tone.GOOD}.get(side, otherwise)


def _side(cell: Cell | None, tone: Tone) -> Sequence[Span]:
    if cell is None:
        return [Span("")]
    spans = [Span(cell.text, tone)]
    return [*spans, Span(f" {cell.type}", Tone.MUTED)] if cell.type else spans
