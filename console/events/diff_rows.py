"""The side-by-side view of two documents as a flat list of rows, so that the screen is a thin drawing of it.

Owns order, depth, labels, texts and kinds of the rows, and which runs of unchanged rows may be folded. `diff` says
what differs; colours, widths and which folds are open are the screen's (`ui`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from console.events.bson_values import MAX_DEPTH, bson_type
from console.events.changes import ChangeKind, FieldChange, MissingValue, both_texts, described_changes
from console.events.diff import Edit, ElementsEdited, FieldsEdited, Path, Replaced, Step, aligned, compare
from console.events.event import ChangeEvent
from console.events.text import path_text, step_text, type_label, type_mark, value_text

# Unchanged rows beyond this many are counted, not made; so are changed ones beyond twice as many. A document of 5,000
# fields is far from it, an array of a million numbers would fill the memory.
ROW_LIMIT: Final = 20_000
VALUE_LIMIT: Final = 200


class RowKind(StrEnum):
    """What a row shows. A `CHANGED` row of a container that stayed (`Row.container`) has its changes below it."""

    SAME = "same"
    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"


@dataclass(frozen=True, slots=True)
class Cell:
    """One side of a row. `type` is "" where the text tells it; `value` is the whole value, to copy or to open."""

    text: str
    type: str
    value: Any


@dataclass(frozen=True, slots=True)
class Row:
    """One field or element. A side is None where there is none, or where its image did not come.

    `depth` is 0 for the document's own fields. `container` says that rows of its content follow.
    """

    path: Path
    depth: int
    label: str
    kind: RowKind
    before: Cell | None
    after: Cell | None
    container: bool = False


@dataclass(frozen=True, slots=True)
class Omitted:
    """Rows that were not made because there are too many."""

    count: int
    depth: int


@dataclass(frozen=True, slots=True)
class Fold:
    """A run of unchanged rows drawn as one line: `rows[start:stop]` of the list that was folded."""

    start: int
    stop: int
    depth: int

    @property
    def count(self) -> int:
        return self.stop - self.start


def compared_rows(
    before: Mapping[str, Any] | None, after: Mapping[str, Any] | None, limit: int = ROW_LIMIT
) -> list[Row | Omitted]:
    """Rows of two documents; None is a document that does not exist (before an insert, after a delete)."""
    builder = _Builder(limit)
    if before is None and after is not None:
        builder.side(after, RowKind.ADDED, (), 0)
    elif after is None and before is not None:
        builder.side(before, RowKind.REMOVED, (), 0, on_right=False)
    elif before is not None and after is not None:
        builder.content(compare(before, after), before, after, (), 0)
    return builder.finish()


def event_rows(event: ChangeEvent, limit: int = ROW_LIMIT) -> list[Row | Omitted]:
    """Rows of an event's documents.

    Where an update or replace lacks an image (`event.lacks_before`, `event.lacks_after`), the other one is shown with
    what `updateDescription` names marked as changed; the unknown side is None.
    """
    if event.operation not in ("update", "replace") or not (event.lacks_before or event.lacks_after):
        return compared_rows(event.before, event.after, limit)
    builder = _Builder(limit)
    described = list(described_changes(event.update or {}, event.before))
    if event.after is not None:
        builder.mark(change.path for change in described if change.kind is not ChangeKind.REMOVED)
        builder.side(event.after, RowKind.SAME, (), 0)
        described = [change for change in described if change.kind is ChangeKind.REMOVED]
    elif event.before is not None:
        builder.mark(change.path for change in described)
        builder.side(event.before, RowKind.SAME, (), 0, on_right=False)
    for row in map(_described_row, described):
        if builder.has_room(row.kind, 0):
            builder.add(row)
    return builder.finish()


def fold(rows: Sequence[Row | Omitted], context: int = 2, opened: Collection[int] = ()) -> list[Row | Omitted | Fold]:
    """The rows with runs of unchanged ones folded, but for `context` rows next to a change and the runs whose start is
    in `opened`. A run folds where that saves at least two lines; where nothing changed, nothing folds."""
    changed = [index for index, row in enumerate(rows) if not (isinstance(row, Row) and row.kind is RowKind.SAME)]
    if not changed:
        return list(rows)
    result: list[Row | Omitted | Fold] = []
    for previous, following in zip([-1, *changed], [*changed, len(rows)], strict=True):
        start = previous + 1 + (context if previous >= 0 else 0)
        stop = following - (context if following < len(rows) else 0)
        if previous >= 0:
            result.append(rows[previous])
        if stop - start < 3 or start in opened:
            result.extend(rows[previous + 1 : following])
            continue
        result.extend(rows[previous + 1 : start])
        result.append(Fold(start, stop, min(row.depth for row in rows[start:stop])))
        result.extend(rows[stop:following])
    return result


class _Builder:
    """Collects rows up to the limit."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._rows: list[Row | Omitted] = []
        self._left_out = 0
        self._left_out_depth = 0
        self._marked: set[tuple[str, ...]] = set()
        self._above_marked: set[tuple[str, ...]] = set()

    def mark(self, paths: Iterable[Path]) -> None:
        """Paths that are known as changed where only one document is; a step of digits may mean an element."""
        for path in paths:
            steps = tuple(map(str, path))
            self._marked.add(steps)
            self._above_marked.update(steps[:length] for length in range(1, len(steps)))

    def finish(self) -> list[Row | Omitted]:
        if self._left_out:
            self._rows.append(Omitted(self._left_out, self._left_out_depth))
            self._left_out = 0
        return self._rows

    def has_room(self, kind: RowKind, depth: int) -> bool:
        """Whether to make a row at all; where not, it is counted."""
        if len(self._rows) < (self._limit if kind is RowKind.SAME else 2 * self._limit):
            return True
        self._left_out_depth = min(self._left_out_depth, depth) if self._left_out else depth
        self._left_out += 1
        return False

    def add(self, row: Row) -> None:
        self.finish().append(row)

    def content(self, edit: Edit | None, before: Any, after: Any, path: Path, depth: int) -> None:
        """The rows inside two containers of one kind."""
        if edit is None:
            for step, value in _items(after):
                self._pair(None, value, value, (*path, step), depth)
        elif isinstance(edit, FieldsEdited):
            self._fields(edit, before, after, path, depth)
        elif isinstance(edit, ElementsEdited):
            for first, second, inner in aligned(edit, len(before)):
                if first is None and second is not None:
                    self.side({second: after[second]}, RowKind.ADDED, path, depth)
                elif second is None and first is not None:
                    self._removed({first: before[first]}, path, depth)
                elif first is not None and second is not None:
                    label = f"[{second}]" if first == second else f"[{first}→{second}]"
                    self._pair(inner, before[first], after[second], (*path, second), depth, label)

    def side(self, value: Any, kind: RowKind, path: Path, depth: int, *, on_right: bool = True) -> None:
        """The rows of what is on one side only: all that is in a container (or a mapping of steps to values)."""
        for step, inner in _items(value):
            inner_path = (*path, step)
            inner_kind, row_kind = self._marked_kind(inner_path, kind)
            container = _is_container(inner, depth)
            if self.has_room(row_kind, depth):
                cell = _cell(inner)
                before, after = (None, cell) if on_right else (cell, None)
                self.add(Row(inner_path, depth, step_text(step), row_kind, before, after, container))
            if container:
                self.side(inner, inner_kind, inner_path, depth + 1, on_right=on_right)

    def _marked_kind(self, path: Path, kind: RowKind) -> tuple[RowKind, RowKind]:
        """The kind that goes down to the content, and that of the row itself."""
        if not self._marked:
            return kind, kind
        steps = tuple(map(str, path))
        if steps in self._marked:
            return RowKind.CHANGED, RowKind.CHANGED
        return kind, RowKind.CHANGED if steps in self._above_marked else kind

    def _removed(self, value: Any, path: Path, depth: int) -> None:
        self.side(value, RowKind.REMOVED, path, depth, on_right=False)

    def _fields(
        self, edit: FieldsEdited, before: Mapping[str, Any], after: Mapping[str, Any], path: Path, depth: int
    ) -> None:
        """Fields in the order after; a removed one after the field that it followed."""
        gone: dict[str | None, dict[str, Any]] = {}
        anchor: str | None = None
        for key, value in before.items():
            if key in edit.removed:
                gone.setdefault(anchor, {})[key] = value
            else:
                anchor = key
        self._removed(gone.get(None, {}), path, depth)
        for key, value in after.items():
            if key in edit.added:
                self.side({key: value}, RowKind.ADDED, path, depth)
            else:
                self._pair(edit.edited.get(key), before[key], value, (*path, key), depth)
                self._removed(gone.get(key, {}), path, depth)

    def _pair(
        self, edit: Edit | None, before: Any, after: Any, path: Path, depth: int, label: str | None = None
    ) -> None:
        label = step_text(path[-1]) if label is None else label
        if isinstance(edit, Replaced):
            self._replaced(before, after, path, depth, label)
            return
        container = _is_container(after, depth)
        kind = RowKind.SAME if edit is None else RowKind.CHANGED
        if self.has_room(kind, depth):
            cell = _cell(after)
            self.add(Row(path, depth, label, kind, cell if edit is None else _cell(before), cell, container))
        if container:
            self.content(edit, before, after, path, depth + 1)

    def _replaced(self, before: Any, after: Any, path: Path, depth: int, label: str) -> None:
        opened = _is_container(before, depth), _is_container(after, depth)
        if self.has_room(RowKind.CHANGED, depth):
            self.add(Row(path, depth, label, RowKind.CHANGED, *_replaced_cells(before, after), any(opened)))
        if opened[0]:
            self._removed(before, path, depth + 1)
        if opened[1]:
            self.side(after, RowKind.ADDED, path, depth + 1)


def _replaced_cells(before: Any, after: Any) -> tuple[Cell, Cell]:
    """Both sides so that the difference shows: the place in long strings, the types where they differ."""
    old, new = _cell(before), _cell(after)
    if isinstance(before, str) and isinstance(after, str) and max(len(before), len(after)) > VALUE_LIMIT:
        texts = both_texts(before, after, VALUE_LIMIT)
        return Cell(texts[0], old.type, before), Cell(texts[1], new.type, after)
    if bson_type(before) != bson_type(after):
        return Cell(old.text, type_label(before), before), Cell(new.text, type_label(after), after)
    return old, new


def _described_row(change: FieldChange) -> Row:
    """A change that only `updateDescription` tells of, as a row of its own with the whole path."""
    before, after = (
        None if isinstance(value, MissingValue) else _cell(value) for value in (change.before, change.after)
    )
    if change.kind is ChangeKind.CUT:
        after = Cell(f"[{change.after}]", "", change.after)
    one_sided = change.kind in (ChangeKind.ADDED, ChangeKind.REMOVED)
    kind = RowKind(change.kind.value) if one_sided else RowKind.CHANGED
    return Row(change.path, 0, path_text(change.path), kind, before, after)


def _cell(value: Any) -> Cell:
    kind = bson_type(value)
    if kind == "object" and value:
        return Cell(f"{{{len(value):,}}}", type_mark(value), value)
    if kind == "array" and value:
        return Cell(f"[{len(value):,}]", type_mark(value), value)
    text = value_text(value, VALUE_LIMIT)
    if kind == "string" and len(value) > VALUE_LIMIT:
        text = f"{text} ({len(value):,} characters)"
    return Cell(text, type_mark(value), value)


def _is_container(value: Any, depth: int) -> bool:
    return bson_type(value) in ("object", "array") and bool(value) and depth < MAX_DEPTH


def _items(value: Any) -> Iterable[tuple[Step, Any]]:
    return value.items() if isinstance(value, Mapping) else enumerate(value)
