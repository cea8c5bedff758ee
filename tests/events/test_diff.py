"""The comparison of documents: applying a difference gives the document after, and it says no more than changed."""

from __future__ import annotations

import copy
from typing import Any

import bson
import pytest
from bson import Binary, Decimal128, Int64, ObjectId, Regex
from hypothesis import given
from hypothesis import strategies as st

from console.events.bson_values import same
from console.events.diff import (
    ALIGNMENT_CELLS,
    ElementsEdited,
    FieldsEdited,
    Replaced,
    aligned,
    compare,
)

from .edits import apply
from .strategies import pairs, values

NAN = float("nan")


@given(pairs)
def test_applying_the_difference_to_before_gives_after(pair: tuple[dict[str, Any], dict[str, Any]]) -> None:
    before, after = pair
    untouched = bson.encode(before)
    assert bson.encode(apply(compare(before, after), before)) == bson.encode(after)
    assert bson.encode(before) == untouched
    assert compare(before, copy.deepcopy(before)) is None


@given(st.lists(st.integers(0, 3)), st.lists(st.integers(0, 3)))
def test_arrays_with_many_equal_elements(before: list[int], after: list[int]) -> None:
    assert apply(compare(before, after), before) == after


@given(values, values)
def test_sameness_is_that_of_the_bytes(first: Any, second: Any) -> None:
    assert same(first, second) == (bson.encode({"": first}) == bson.encode({"": second}))
    assert (compare(first, second) is None) == same(first, second)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (5, Int64(5)),
        (5, 5.0),
        (Int64(5), 5.0),
        (1, True),
        (0, False),
        (0.0, -0.0),
        (None, False),
        ("a", Regex("a")),
        ("65f000000000000000000001", ObjectId("65f000000000000000000001")),
        (b"x", Binary(b"x", 128)),
        (Decimal128("1.0"), Decimal128("1.00")),
        (Decimal128("1"), 1),
        ([], {}),
        (NAN, None),
    ],
)
def test_types_and_signs_are_changes(before: Any, after: Any) -> None:
    edits = compare({"x": before}, {"x": after})
    assert isinstance(edits, FieldsEdited)
    # Not by `==` of the whole: from Python 3.13 on a NaN in a dataclass is unequal to itself.
    assert edits.edited.keys() == {"x"}
    assert edits == FieldsEdited({}, {}, edits.edited, None, False)
    replaced = edits.edited["x"]
    assert isinstance(replaced, Replaced)
    assert replaced.before is before
    assert replaced.after is after


def test_nan_is_the_same_as_nan() -> None:
    assert compare({"x": NAN}, {"x": float("nan")}) is None
    assert compare([NAN, 1], [float("nan"), 1]) is None


def test_only_what_changed_is_named() -> None:
    before = {"a": 1, "b": {"c": 1, "d": {"e": 1, "f": 2}}, "g": 3}
    after = {"a": 1, "b": {"c": 1, "d": {"e": 1, "f": 5}}, "h": 4}
    assert compare(before, after) == FieldsEdited(
        removed={"g": 3},
        added={"h": 4},
        edited={
            "b": FieldsEdited({}, {}, {"d": FieldsEdited({}, {}, {"f": Replaced(2, 5)}, None, False)}, None, False)
        },
        order=None,
        moved=False,
    )


def test_keys_with_dots_stay_apart_from_paths() -> None:
    edit = compare({"a.b": 1, "a": {"b": 1}}, {"a.b": 2, "a": {"b": 1}})
    assert edit == FieldsEdited({}, {}, {"a.b": Replaced(1, 2)}, None, False)


def test_fields_that_only_moved() -> None:
    edit = compare({"a": 1, "b": 2, "c": 3}, {"c": 3, "a": 1, "b": 2})
    assert edit == FieldsEdited({}, {}, {}, ("c", "a", "b"), True)


def test_a_field_put_in_between_moves_none() -> None:
    edit = compare({"a": 1, "b": 2}, {"a": 1, "new": 0, "b": 2})
    assert edit == FieldsEdited({}, {"new": 0}, {}, ("a", "new", "b"), False)


def test_an_element_put_in_front_changes_no_other() -> None:
    parts = [{"number": number, "etag": f"{number:032x}"} for number in range(50)]
    edit = compare(parts, [{"number": -1}, *parts])
    assert edit == ElementsEdited({}, {0: {"number": -1}}, ())


def test_elements_between_aligned_ones_are_compared_inside() -> None:
    before = [{"n": 1, "v": 1}, {"n": 2, "v": 2}, {"n": 3, "v": 3}, 4]
    after = [0, {"n": 1, "v": 1}, {"n": 2, "v": 9}, {"n": 3, "v": 3}]
    inner = FieldsEdited({}, {}, {"v": Replaced(2, 9)}, None, False)
    assert compare(before, after) == ElementsEdited({3: 4}, {0: 0}, ((1, 2, inner),))


def test_beyond_the_budget_elements_pair_by_position() -> None:
    length = int(ALIGNMENT_CELLS**0.5) + 1
    before = list(range(length))
    after = [-1, *before[:-2], -2]
    edit = compare(before, after)
    assert isinstance(edit, ElementsEdited)
    assert not edit.removed
    assert not edit.added
    assert len(edit.edited) == length
    assert apply(edit, before) == after


def test_the_budget_is_for_all_arrays_together() -> None:
    before = {name: list(range(250)) for name in "abcd"}
    after = {name: [-1, *array, -2] for name, array in before.items()}
    edit = compare(before, after)
    assert isinstance(edit, FieldsEdited)
    counts = [len(inner.edited) for inner in edit.edited.values() if isinstance(inner, ElementsEdited)]
    assert counts == [0, 250, 250, 250]


def test_aligned_names_every_element_of_both_arrays() -> None:
    before, after = [1, 2, 3, 4, 5], [0, 1, 3, 9, 9, 5, 6]
    edit = compare(before, after)
    assert isinstance(edit, ElementsEdited)
    triples = list(aligned(edit, len(before)))
    assert [first for first, _, _ in triples if first is not None] == [0, 1, 2, 3, 4]
    assert [second for _, second, _ in triples if second is not None] == [0, 1, 2, 3, 4, 5, 6]


def test_nesting_without_end_is_compared_as_a_whole() -> None:
    def nested(leaf: int) -> dict[str, Any]:
        value: dict[str, Any] = {"leaf": leaf}
        for _ in range(190):
            value = {"in": value}
        return value

    edit = compare(nested(1), nested(2))
    assert bson.encode(apply(edit, nested(1))) == bson.encode(nested(2))
    assert compare(nested(1), nested(1)) is None
