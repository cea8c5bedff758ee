"""Hypothesis strategies for BSON documents: every type, the awkward keys, the values that compare oddly."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

from bson import Binary, Code, DatetimeMS, DBRef, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from hypothesis import strategies as st

INT32 = st.integers(-(2**31), 2**31 - 1)
INT64 = st.integers(-(2**63), 2**63 - 1)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Milliseconds from year 1 to year 9999: what the codec decodes as datetime, the rest of Int64 being DatetimeMS.
dates = st.integers(-62_135_596_800_000, 253_402_300_799_999).map(lambda ms: EPOCH + timedelta(milliseconds=ms))
object_ids = st.binary(min_size=12, max_size=12).map(ObjectId)
decimals = st.sampled_from(["0", "-0", "1", "1.0", "1.00", "NaN", "Infinity", "-Infinity", "1E+6144", "-3.14"])
awkward = st.sampled_from(
    [
        0,
        1,
        Int64(0),
        Int64(1),
        0.0,
        -0.0,
        1.0,
        float("nan"),
        float("inf"),
        True,
        False,
        None,
        "",
        "1",
        b"",
        b"1",
        [],
        {},
    ]
)
leaves: st.SearchStrategy[Any] = st.one_of(
    awkward,
    INT32,
    INT64.map(Int64),
    st.floats(allow_nan=False),  # the one NaN is above: payloads of others are not told apart, nor kept by JSON
    texts,
    st.binary(max_size=8),
    st.builds(Binary, st.binary(min_size=16, max_size=16), st.sampled_from([2, 3, 4, 5, 6, 128])),
    object_ids,
    dates,
    st.builds(DatetimeMS, st.integers(2**50, 2**62)),
    st.builds(Timestamp, st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1)),
    decimals.map(Decimal128),
    st.builds(Regex, st.sampled_from(["", "a.b", "(x|y)*"]), st.sampled_from([0, 2, 10])),
    st.builds(Code, texts.filter(lambda text: "\0" not in text)),
    st.builds(Code, st.just("f()"), st.dictionaries(st.sampled_from("xy"), INT32, max_size=2)),
    st.builds(DBRef, st.just("uploads"), object_ids),
    st.sampled_from([MinKey(), MaxKey()]),
)
keys = st.sampled_from(["a", "b", "c", "", "a.b", "$set", "0", "1", "ü", "\n"]) | texts.filter(lambda t: "\0" not in t)
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(keys, inner, max_size=5),
    max_leaves=12,
)
documents = st.dictionaries(keys, values, max_size=6)


def plain(value: Any) -> Any:
    """Without keys that begin with a dollar: these are extended JSON's own, and read back as something else."""
    if isinstance(value, dict):
        return {key.replace("$", "S", 1) if key.startswith("$") else key: plain(inner) for key, inner in value.items()}
    return [plain(inner) for inner in value] if isinstance(value, list) else value


plain_documents = documents.map(plain)


def mutated(value: Any, chance: random.Random, spare: list[Any]) -> Any:
    """A value with a few changes somewhere inside it: what an update does, which two drawn documents never show."""
    if isinstance(value, dict):
        result = {key: mutated(item, chance, spare) for key, item in value.items() if chance.random() > 0.15}
        while chance.random() < 0.25:
            result[chance.choice(["a", "b", "new", "a.b"])] = chance.choice(spare)
        order = list(result)
        if chance.random() < 0.2:
            chance.shuffle(order)
        return {key: result[key] for key in order}
    if isinstance(value, list):
        result_list = [mutated(item, chance, spare) for item in value if chance.random() > 0.15]
        while chance.random() < 0.3:
            result_list.insert(chance.randint(0, len(result_list)), chance.choice(spare))
        return result_list
    return chance.choice(spare) if chance.random() < 0.2 else value


@st.composite
def changed_documents(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, Any]]:
    """A document, and the document after a few changes at any depth."""
    before = draw(documents)
    spare = draw(st.lists(values, min_size=1, max_size=4))
    return before, mutated(before, random.Random(draw(st.integers(0, 10_000))), spare)


pairs = changed_documents() | st.tuples(documents, documents)
