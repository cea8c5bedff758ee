"""Carrying out what `compare` found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from console.events.diff import Edit, ElementsEdited, FieldsEdited, Replaced, aligned


def apply(edit: Edit | None, before: Any) -> Any:
    """What `before` becomes by the edit; `before` itself is left alone.

    Raises KeyError or IndexError where the edit was not made from `before`.
    """
    if edit is None:
        return before
    if isinstance(edit, Replaced):
        return edit.after
    if isinstance(edit, FieldsEdited):
        return _apply_fields(edit, before)
    return _apply_elements(edit, before)


def _apply_fields(edit: FieldsEdited, before: Mapping[str, Any]) -> dict[str, Any]:
    result = {
        key: apply(edit.edited[key], value) if key in edit.edited else value
        for key, value in before.items()
        if key not in edit.removed
    }
    result.update(edit.added)
    return result if edit.order is None else {key: result[key] for key in edit.order}


def _apply_elements(edit: ElementsEdited, before: Sequence[Any]) -> list[Any]:
    result = []
    for before_index, after_index, inner in aligned(edit, len(before)):
        if before_index is not None and after_index is not None:
            result.append(apply(inner, before[before_index]))
        elif after_index is not None:
            result.append(edit.added[after_index])
    return result
