"""The values that a dotted path of a query reaches in a document, through arrays, as the server walks it.

Owns that walk (server source, `src/mongo/db/matcher/path.cpp`). Not here: what is asked of the values (`match`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from typing import Any, Final

from console.events.order import as_document, is_document


class Missing(Enum):
    """Stands for a field that is not there, which some operators match."""

    FIELD = "no such field"


MISSING: Final = Missing.FIELD


def values_at(document: Mapping[str, Any], steps: Sequence[str], into_arrays: bool) -> Iterator[Any]:
    """The values at a path; `MISSING` once for each place where it reaches none.

    `into_arrays`: where an array ends the path, its elements are values too, before the array itself.
    """
    value: Any = document
    for index, step in enumerate(steps):
        if not is_document(value):
            yield MISSING
            return
        value = as_document(value).get(step, MISSING)
        if isinstance(value, list):
            yield from _array_values(value, steps[index + 1 :], into_arrays)
            return
    yield value


def by_position(array: Sequence[Any]) -> Mapping[str, Any]:
    """An array as the document that it is in BSON: its elements under "0", "1", ..."""
    return {str(index): element for index, element in enumerate(array)}


def _array_values(array: list[Any], rest: Sequence[str], into_arrays: bool) -> Iterator[Any]:
    """What a path reaches in an array: in each subdocument, and in the element that a step of digits numbers."""
    if not rest:
        if into_arrays:
            yield from array
        yield array
        return
    for index, element in enumerate(array):
        if is_document(element):
            yield from values_at(as_document(element), rest, into_arrays)
        if rest[0] != str(index):
            continue
        if len(rest) == 1:
            yield element
        elif is_document(element):
            yield from values_at(as_document(element), rest[1:], into_arrays)
        elif isinstance(element, list):
            yield from _array_values(element, rest[1:], into_arrays)
