"""What an event changed, from images or from its description, and the log's line about it."""

from __future__ import annotations

from typing import Any

import pytest
from bson import Int64, ObjectId
from hypothesis import given

from console.events.changes import ChangeKind, FieldChange, MissingValue, changes, edit_changes, summary
from console.events.diff import compare
from console.events.event import ChangeEvent
from console.formatting import visible

from .strategies import pairs

ID = ObjectId("65f000000000000000000001")


def event(operation: str, **fields: Any) -> ChangeEvent:
    return ChangeEvent.from_raw({"operationType": operation, "documentKey": {"_id": ID}, **fields})


def update(before: Any = None, after: Any = None, **description: Any) -> ChangeEvent:
    return event("update", fullDocumentBeforeChange=before, fullDocument=after, updateDescription=description)


def test_an_update_with_both_images() -> None:
    before = {"_id": ID, "status": "pending", "current": 0, "error": {"code": 1}}
    after = {"_id": ID, "status": "uploading", "current": 8388608, "lease": {"runner": "r1"}}
    line = 'status pending→uploading, current 0→8388608, -error {code: 1}, +lease {runner: "r1"}'
    assert summary(update(before, after)) == line


@pytest.mark.parametrize(
    ("before", "after", "line"),
    [
        ({"n": 5}, {"n": Int64(5)}, "n 5 Int32→5 Int64"),
        ({"n": 5}, {"n": 6.5}, "n 5 Int32→6.5 Double"),
        ({"n": "5"}, {"n": 5}, 'n "5"→5'),
        ({"n": "null"}, {"n": None}, 'n "null"→null'),
        ({"n": ""}, {"n": " x"}, 'n ""→" x"'),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, "document: order of fields"),
        ({"s": {"a": 1, "b": 2}}, {"s": {"b": 2, "a": 1}}, "s: order of fields"),
        ({"a.b": [1, {"c": 1}]}, {"a.b": [1, {"c": 2}, 3]}, '"a.b"[1].c 1→2, +"a.b"[2] 3'),
        ({"x\n": "\x1b[2J"}, {"x\n": "y"}, '"x\\n" \\x1b[2J→y'),
        ({"s": "x" * 100 + "a"}, {"s": "x" * 100 + "b"}, f"s …{'x' * 38}a→…{'x' * 38}b"),
        ({"l": [*range(90), 1]}, {"l": 0}, "l [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, …→0"),
    ],
)
def test_old_and_new_values(before: Any, after: Any, line: str) -> None:
    assert summary(update(before, after)) == line


def test_many_changes_are_counted() -> None:
    before, after = {f"field{n}": n for n in range(5000)}, {f"field{n}": n + 1 for n in range(5000)}
    line = summary(update(before, after), 60)
    assert line == "field0 0→1, field1 1→2, field2 2→3, field3 3→4, +4,996 more"
    assert len(line) <= 60


def test_one_change_too_long_is_cut() -> None:
    assert summary(update({"a": "x" * 30}, {"a": "y" * 30}), 20) == f"a {'x' * 17}…"


def test_without_images_the_description_tells() -> None:
    described = update(
        updatedFields={"status": "failed", "parts.3.etag": "x"},
        removedFields=["error.code"],
        truncatedArrays=[{"field": "log", "newSize": 5}],
    )
    assert summary(described) == "status →failed, parts.3.etag →x, -error.code, log cut to 5 elements"
    assert next(changes(described)).before is MissingValue.UNKNOWN


def test_the_description_with_the_image_before() -> None:
    described = update(
        {"status": "pending", "parts": [{"etag": "a"}], "old": 1},
        updatedFields={"status": "failed", "parts.0.etag": "x", "new": 2},
        removedFields=["old"],
    )
    assert summary(described) == "status pending→failed, parts.0.etag a→x, +new 2, -old 1"


def test_disambiguated_paths_are_believed() -> None:
    described = update(updatedFields={"a.b.0": 2}, removedFields=[], disambiguatedPaths={"a.b.0": ["a.b", 0]})
    assert list(changes(described)) == [FieldChange(("a.b", 0), ChangeKind.CHANGED, MissingValue.UNKNOWN, 2)]
    assert summary(described) == '"a.b"[0] →2'


@pytest.mark.parametrize(
    "description",
    [{}, {"updatedFields": 5}, {"removedFields": {"a": 1}, "truncatedArrays": [5, {}]}, {"disambiguatedPaths": [1]}],
)
def test_odd_descriptions_are_no_crash(description: dict[str, Any]) -> None:
    assert isinstance(summary(update(**description)), str)


@pytest.mark.parametrize(
    ("happened", "line"),
    [
        (event("insert", fullDocument={"_id": ID, "filename": "a b.bin", "size": 5}), "filename a b.bin, size 5"),
        (event("insert"), ""),
        (event("delete", fullDocumentBeforeChange={"_id": ID, "status": "failed"}), "status failed"),
        (event("delete"), ""),
        (event("replace", fullDocument={"_id": ID, "a": 1}), "a 1"),
        (event("replace", fullDocument={"a": 1}, fullDocumentBeforeChange={"a": 2}), "a 2→1"),
        (event("rename", to={"db": "x", "coll": "y\n"}), "→ x.y\\n"),
        (event("drop"), ""),
        (event("invalidate"), "what was watched is gone: the stream ends here"),
        (event("createIndexes", operationDescription={"indexes": [{"name": "i"}]}), '{indexes: [{name: "i"}]}'),
        (event("aFutureKind"), ""),
    ],
)
def test_other_operations(happened: ChangeEvent, line: str) -> None:
    assert summary(happened) == line


# One property of two: to draw documents takes far longer than to look at them.
@given(pairs)
def test_changes_are_the_differences_and_a_summary_is_one_safe_line(
    pair: tuple[dict[str, Any], dict[str, Any]],
) -> None:
    before, after = pair
    for happened in (update(before, after), event("insert", fullDocument=after), update(before, updatedFields=after)):
        line = summary(happened, 80)
        assert len(line) <= 80
        assert visible(line) == line
    edit = compare(before, after)
    listed = list(edit_changes(edit))
    assert bool(listed) == (edit is not None)
    assert len({(change.path, change.kind) for change in listed}) == len(listed)
