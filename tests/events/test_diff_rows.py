"""The rows of the side-by-side view: both documents can be read off them, and folding hides only what is the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import bson
import pytest
from bson import Int64
from hypothesis import given
from hypothesis import strategies as st

from console.events.bson_values import bson_type, same
from console.events.diff_rows import Cell, Fold, Omitted, Row, RowKind, compared_rows, event_rows, fold
from console.events.event import ChangeEvent
from console.formatting import visible

from .strategies import pairs


def drawn(rows: Sequence[Row | Omitted | Fold]) -> list[str]:
    """The rows as a screen might draw them."""
    signs = {RowKind.SAME: " ", RowKind.ADDED: "+", RowKind.REMOVED: "-", RowKind.CHANGED: "~"}

    def side(cell: Cell | None) -> str:
        return f"{cell.text} {cell.type}".rstrip() if cell is not None else ""

    lines = []
    for row in rows:
        if isinstance(row, Row):
            cells = f"{side(row.before)} | {side(row.after)}".strip()
            text = f"{signs[row.kind]}{'  ' * row.depth}{row.label}: {cells}"
        else:
            text = f" {'  ' * row.depth}… {row.count}"
        lines.append(text.rstrip())
    return lines


def rebuilt(rows: Sequence[Row], side: str, container: Any) -> Any:
    """A container put together again from the leaves that one side shows."""
    result: Any = {} if bson_type(container) == "object" else []
    for index, row in enumerate(rows):
        cell: Cell | None = getattr(row, side)
        if row.depth != rows[0].depth or cell is None:
            continue
        value = cell.value
        if row.container and bson_type(value) in ("object", "array") and value:
            end = next((n for n in range(index + 1, len(rows)) if rows[n].depth <= row.depth), len(rows))
            value = rebuilt(rows[index + 1 : end], side, value)
        if isinstance(result, dict):
            result[row.path[-1]] = value
        else:
            result.append(value)
    return result


def in_key_order(value: Any) -> Any:
    """Where fields moved, the rows stand in the order after."""
    if isinstance(value, dict):
        return {key: in_key_order(value[key]) for key in sorted(value)}
    return [in_key_order(inner) for inner in value] if isinstance(value, list) else value


# One property of many: to draw documents takes far longer than to look at them.
@given(pairs, st.integers(0, 3))
def test_rows_tell_the_truth(pair: tuple[dict[str, Any], dict[str, Any]], context: int) -> None:
    before, after = pair
    drawn_rows = compared_rows(before, after)
    rows = [row for row in drawn_rows if isinstance(row, Row)]
    assert rows == drawn_rows
    # Both documents can be read off them.
    assert bson.encode(rebuilt(rows, "after", after)) == bson.encode(after)
    assert bson.encode(in_key_order(rebuilt(rows, "before", before))) == bson.encode(in_key_order(before))
    for row in rows:
        kind_is_true(row)
        texts_are_safe(row)
    folding_hides_only_what_is_the_same(rows, context)


def kind_is_true(row: Row) -> None:
    match row.kind:
        case RowKind.SAME:
            assert row.before is not None
            assert row.after is not None
            assert same(row.before.value, row.after.value)
        case RowKind.CHANGED:
            assert row.before is not None
            assert row.after is not None
            assert not same(row.before.value, row.after.value)
            assert row.container or (row.before.text, row.before.type) != (row.after.text, row.after.type)
        case RowKind.ADDED:
            assert row.before is None
        case RowKind.REMOVED:
            assert row.after is None


def texts_are_safe(row: Row) -> None:
    for text in (row.label, *(cell.text for cell in (row.before, row.after) if cell is not None)):
        assert visible(text) == text


def folding_hides_only_what_is_the_same(rows: list[Row], context: int) -> None:
    unfolded: list[Row | Omitted] = []
    for row in fold(rows, context):
        if isinstance(row, Fold):
            hidden = rows[row.start : row.stop]
            assert all(inner.kind is RowKind.SAME for inner in hidden)
            assert row.count == len(hidden) >= 3
            unfolded.extend(hidden)
        else:
            unfolded.append(row)
    assert unfolded == rows


def test_an_update() -> None:
    before = {"_id": 1, "a": 1, "status": "pending", "gone": {"x": 1}, "parts": [{"n": 1}, {"n": 2}], "last": True}
    after = {
        "_id": 1,
        "a": Int64(1),
        "status": "done",
        "parts": [{"n": 0}, {"n": 1}, {"n": 3}],
        "last": True,
        "new": 0.5,
    }
    assert drawn(compared_rows(before, after)) == [
        " _id: 1 | 1",
        "~a: 1 Int32 | 1 Int64",
        '~status: "pending" | "done"',
        "-gone: {1} |",
        "-  x: 1 |",
        "~parts: [2] | [3]",
        "+  [0]: | {1}",
        "+    n: | 0",
        "   [0→1]: {1} | {1}",
        "     n: 1 | 1",
        "~  [1→2]: {1} | {1}",
        "~    n: 2 | 3",
        " last: true | true",
        "+new: | 0.5 Double",
    ]


def test_a_value_that_became_a_container() -> None:
    assert drawn(compared_rows({"x": [1]}, {"x": {"y": 2}})) == [
        "~x: [1] Array | {1} Object",
        "-  [0]: 1 |",
        "+  y: | 2",
    ]
    assert drawn(compared_rows({"x": 1}, {"x": {}})) == ["~x: 1 Int32 | {} Object"]


def test_insert_and_delete_have_one_side() -> None:
    document = {"a": {"b": [None]}}
    assert drawn(compared_rows(None, document)) == ["+a: | {1}", "+  b: | [1]", "+    [0]: | null"]
    assert drawn(compared_rows(document, None)) == ["-a: {1} |", "-  b: [1] |", "-    [0]: null |"]
    assert compared_rows(None, None) == []


def test_runs_fold_and_open() -> None:
    before = {f"f{n}": n for n in range(20)}
    rows = compared_rows(before, {**before, "f10": -1})
    folded = fold(rows, context=1)
    assert drawn(folded) == [" … 9", " f9: 9 | 9", "~f10: 10 | -1", " f11: 11 | 11", " … 8"]
    assert fold(rows, context=1, opened={0, 12}) == rows
    assert fold(compared_rows(before, before)) == compared_rows(before, before)


def test_long_strings_show_where_they_differ() -> None:
    [row] = compared_rows({"s": "x" * 1_000_000 + "old"}, {"s": "x" * 1_000_000 + "new"})
    assert isinstance(row, Row)
    assert row.before is not None
    assert row.after is not None
    assert row.before.text.endswith("xxold")
    assert row.after.text.endswith("xxnew")
    [row] = compared_rows(None, {"s": "x" * 1_000_000})
    assert isinstance(row, Row)
    assert row.after is not None
    assert row.after.text.endswith("x… (1,000,000 characters)")


def test_too_many_rows_are_counted_and_changes_are_kept() -> None:
    before = {"list": list(range(100)), "status": "a"}
    rows = compared_rows(before, {**before, "status": "b"}, limit=10)
    assert drawn(rows)[9:] == ["   [8]: 8 | 8", "   … 91", '~status: "a" | "b"']
    rows = compared_rows(None, {"list": list(range(100))}, limit=10)
    assert drawn(rows)[19:] == ["+  [18]: | 18", "   … 81"]


@pytest.mark.parametrize(
    ("raw", "lines"),
    [
        (
            {
                "fullDocument": {"_id": 1, "a": {"b": 2, "c": {"d": 1}}, "l": [1, 2]},
                "updateDescription": {"updatedFields": {"a.c": {"d": 1}, "l.1": 2}, "removedFields": ["x.y"]},
            },
            [
                " _id: | 1",
                "~a: | {2}",
                "   b: | 2",
                "~  c: | {1}",
                "~    d: | 1",
                "~l: | [2]",
                "   [0]: | 1",
                "~  [1]: | 2",
                "-x.y: |",
            ],
        ),
        (
            {
                "fullDocumentBeforeChange": {"_id": 1, "a": 1, "l": [1, 2]},
                "updateDescription": {
                    "updatedFields": {"a": 2, "n.m": {"k": 1}},
                    "removedFields": ["_gone"],
                    "truncatedArrays": [{"field": "l", "newSize": 1}],
                },
            },
            [
                " _id: 1 |",
                "~a: 1 |",
                "~l: [2] |",
                "~  [0]: 1 |",
                "~  [1]: 2 |",
                "~a: 1 | 2",
                "+n.m: | {1}",
                "-_gone: |",
                "~l: [2] | [1]",
            ],
        ),
        ({"updateDescription": {"updatedFields": {"a": 2}, "removedFields": ["b"]}}, ["~a: | 2", "-b: |"]),
        ({}, []),
    ],
)
def test_updates_that_lack_an_image(raw: dict[str, Any], lines: list[str]) -> None:
    assert drawn(event_rows(ChangeEvent.from_raw({"operationType": "update", **raw}))) == lines


def test_an_event_with_both_images() -> None:
    event = ChangeEvent.from_raw(
        {"operationType": "update", "fullDocument": {"a": 1}, "fullDocumentBeforeChange": {"a": 2}}
    )
    assert drawn(event_rows(event)) == ["~a: 2 | 1"]
