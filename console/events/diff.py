"""The difference of two BSON values, as edits that lead from the one to the other.

What `compare` gives leads from `before` to exactly `after`, for any two values. `diff_rows` says how a difference is
drawn, `changes` how it is told in a line.

Decisions:
- Sameness is strict (`bson_values.same`): a type that changed is a change.
- Fields are compared by name. The order of keys is part of a document (the server compares subdocuments with it), so a
  changed order is kept in `FieldsEdited.order` and, where fields that stayed changed places, told by `moved`; it never
  makes fields look changed that only moved.
- Elements of arrays are aligned: equal ends first, then the longest common subsequence of what is between them. What
  lies between two aligned elements is paired in order and compared inside, the rest was removed or added. Aligning
  costs a cell of a table for each pair of elements; a comparison spends at most `ALIGNMENT_CELLS` on all its arrays
  together and pairs the elements of the others by position.
- Keys are steps of a path, never joined by dots: `{"a.b": 1}` and `{"a": {"b": 1}}` stay apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from console.events.bson_values import MAX_DEPTH, bson_type, fingerprint, plainly_same, same

Step = str | int
Path = tuple[Step, ...]

# About a hundredth of a second in Python; two arrays of 316 elements that share no end.
ALIGNMENT_CELLS: Final = 100_000


@dataclass(frozen=True, slots=True)
class Replaced:
    """A value gave way to another: of another type, or one that has no parts."""

    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class FieldsEdited:
    """A subdocument stayed and some of its fields changed.

    `order` is the order of all keys afterwards, given only where it is not "what stayed, then what was added".
    """

    removed: Mapping[str, Any]
    added: Mapping[str, Any]
    edited: Mapping[str, Edit]
    order: tuple[str, ...] | None
    moved: bool


@dataclass(frozen=True, slots=True)
class ElementsEdited:
    """An array stayed and some of its elements changed.

    `removed` by index before, `added` by index after, `edited` as (index before, index after, edit) in order.
    Elements that are not named stayed as they were, in their order.
    """

    removed: Mapping[int, Any]
    added: Mapping[int, Any]
    edited: tuple[tuple[int, int, Edit], ...]


Edit = Replaced | FieldsEdited | ElementsEdited


def compare(before: Any, after: Any) -> Edit | None:
    """The edit that leads from `before` to `after`; None where they are the same."""
    return _Comparison().value(before, after, 0)


def aligned(edit: ElementsEdited, before_length: int) -> Iterator[tuple[int | None, int | None, Edit | None]]:
    """All elements of both arrays, in the order to show them: (index before, index after, edit of the pair)."""
    edits = {index: edit for index, _, edit in edit.edited}
    after_index = 0
    for before_index in range(before_length):
        if before_index in edit.removed:
            yield before_index, None, None
            continue
        while after_index in edit.added:
            yield None, after_index, None
            after_index += 1
        yield before_index, after_index, edits.get(before_index)
        after_index += 1
    while after_index in edit.added:
        yield None, after_index, None
        after_index += 1


class _Comparison:
    """One run of `compare`, with what is left of its budget for aligning arrays."""

    def __init__(self) -> None:
        self._cells = ALIGNMENT_CELLS

    def value(self, before: Any, after: Any, depth: int) -> Edit | None:
        if plainly_same(before, after):
            return None
        kind = bson_type(before)
        if depth < MAX_DEPTH and kind == bson_type(after):
            if kind == "object":
                return self._fields(before, after, depth + 1)
            if kind == "array":
                return self._elements(before, after, depth + 1)
        return None if same(before, after, depth) else Replaced(before, after)

    def _fields(self, before: Mapping[str, Any], after: Mapping[str, Any], depth: int) -> FieldsEdited | None:
        removed = {key: value for key, value in before.items() if key not in after}
        added = {key: value for key, value in after.items() if key not in before}
        edited = {}
        for key, value in before.items():
            if key not in removed and (edit := self.value(value, after[key], depth)) is not None:
                edited[key] = edit
        stayed = [key for key in before if key not in removed]
        order = None if [*stayed, *added] == list(after) else tuple(after)
        if not (removed or added or edited or order):
            return None
        moved = order is not None and stayed != [key for key in after if key not in added]
        return FieldsEdited(removed, added, edited, order, moved)

    def _elements(self, before: Sequence[Any], after: Sequence[Any], depth: int) -> ElementsEdited | None:
        removed: dict[int, Any] = {}
        added: dict[int, Any] = {}
        edited: list[tuple[int, int, Edit]] = []
        for first, first_end, second, second_end in self._gaps(before, after, depth):
            paired = min(first_end - first, second_end - second)
            for offset in range(paired):
                pair = before[first + offset], after[second + offset]
                if (edit := self.value(*pair, depth)) is not None:
                    edited.append((first + offset, second + offset, edit))
            removed.update((index, before[index]) for index in range(first + paired, first_end))
            added.update((index, after[index]) for index in range(second + paired, second_end))
        return ElementsEdited(removed, added, tuple(edited)) if removed or added or edited else None

    def _gaps(self, before: Sequence[Any], after: Sequence[Any], depth: int) -> Iterator[tuple[int, int, int, int]]:
        """Stretches (start and end before, start and end after) between the elements that stayed the same."""
        start, shorter = 0, min(len(before), len(after))
        while start < shorter and same(before[start], after[start], depth):
            start += 1
        tail = 0
        while tail < shorter - start and same(before[-1 - tail], after[-1 - tail], depth):
            tail += 1
        first_end, second_end = len(before) - tail, len(after) - tail
        first, second = start, start
        cells = (first_end - start) * (second_end - start)
        if cells <= self._cells:
            self._cells -= cells
            for i, j in _common_subsequence(before[start:first_end], after[start:second_end]):
                yield first, start + i, second, start + j
                # The pair itself goes along: it is the same but for what a fingerprint cannot tell.
                first, second = start + i, start + j
        yield first, first_end, second, second_end


def _common_subsequence(before: Sequence[Any], after: Sequence[Any]) -> list[tuple[int, int]]:
    """Index pairs of a longest common subsequence, by the usual table of lengths of common endings."""
    if not before or not after:
        return []
    first, second = [fingerprint(value) for value in before], [fingerprint(value) for value in after]
    rows = [[0] * (len(second) + 1)]
    for mark in reversed(first):
        below, row = rows[-1], [0] * (len(second) + 1)
        for j in range(len(second) - 1, -1, -1):
            row[j] = below[j + 1] + 1 if mark == second[j] else max(below[j], row[j + 1])
        rows.append(row)
    rows.reverse()
    pairs, i, j = [], 0, 0
    while i < len(first) and j < len(second):
        if first[i] == second[j]:
            pairs.append((i, j))
            i, j = i + 1, j + 1
        elif rows[i + 1][j] >= rows[i][j + 1]:
            i += 1
        else:
            j += 1
    return pairs
