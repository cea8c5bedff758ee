"""Values and documents as text: safe on a terminal, valid JSON, short, and telling the types that matter."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import bson
import pytest
from bson import Binary, Code, DatetimeMS, DBRef, Decimal128, Int64, MinKey, ObjectId, Regex, Timestamp, json_util
from hypothesis import given
from hypothesis import strategies as st

from console.events.text import (
    CANONICAL,
    excerpt,
    first_difference,
    json_line,
    json_text,
    path_text,
    shorten,
    type_mark,
    value_text,
)
from console.formatting import visible

from .strategies import plain_documents, values

ID = ObjectId("65f000000000000000000001")
NASTY = "\x1b[31m\x07\x9b\u202e\ue000\U000e0041 ü\n\x7f"


@given(plain_documents, st.booleans())
def test_canonical_json_reads_back_as_the_document(document: dict[str, Any], pretty: bool) -> None:
    for text in (json_text(document, pretty=pretty), json_line(document)):
        assert bson.encode(json_util.loads(text, json_options=CANONICAL)) == bson.encode(document)


@given(values, st.integers(2, 200))
def test_all_text_is_safe_on_a_terminal(value: Any, limit: int) -> None:
    short = value_text(value, limit)
    assert len(short) <= limit
    for text in (short, json_line(value), json_line(value, relaxed=True), type_mark(value)):
        assert visible(text) == text
        assert "\n" not in text
    for line in json_text(value).split("\n") + json_text(value, relaxed=True).split("\n"):
        assert visible(line) == line


def test_control_characters_in_json_are_escaped_and_letters_are_not() -> None:
    text = json_text({NASTY: NASTY, "lone": "\udc80"})
    assert "ü" in text
    assert visible(text.replace("\n", "")) == text.replace("\n", "")
    assert json.loads(text) == {NASTY: NASTY, "lone": "\udc80"}


def test_relaxed_json_has_plain_numbers_and_dates() -> None:
    document = {"n": Int64(5), "x": 0.5, "at": datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)}
    assert json_text(document, relaxed=True, pretty=False) == (
        '{"n": 5, "x": 0.5, "at": {"$date": "2026-01-02T03:04:05.678Z"}}'
    )
    assert json_line({"n": Int64(5)}) == '{"n": {"$numberLong": "5"}}'


@pytest.mark.parametrize(
    ("value", "text", "mark"),
    [
        (5, "5", ""),
        (Int64(5), "5", "Int64"),
        (2**40, "1099511627776", "Int64"),
        (5.0, "5.0", "Double"),
        (-0.0, "-0.0", "Double"),
        (float("nan"), "NaN", "Double"),
        (float("-inf"), "-Infinity", "Double"),
        (Decimal128("1.00"), "1.00", "Decimal128"),
        (True, "true", ""),
        (None, "null", ""),
        ("a b", '"a b"', ""),
        (NASTY, '"' + visible(NASTY) + '"', ""),
        (ID, "65f000000000000000000001", "ObjectId"),
        (datetime(2026, 1, 2, tzinfo=UTC), "2026-01-02T00:00:00Z", "Date"),
        (datetime(2026, 1, 2, 0, 0, 0, 5000, tzinfo=UTC), "2026-01-02T00:00:00.005Z", "Date"),
        (DatetimeMS(2**60), f"{2**60} ms since 1970", "Date"),
        (Timestamp(17, 3), "17:3", "Timestamp"),
        (b"\x00\xff", "2 bytes 00ff", "Binary"),
        (Binary(b"", 128), "0 bytes subtype 128", "Binary"),
        (Binary.from_uuid(UUID(int=1)), "00000000-0000-0000-0000-000000000001", "UUID"),
        (Regex("a.b", "im"), "/a.b/im", ""),
        (Code("f()"), "f()", "Code"),
        (DBRef("uploads", ID), "DBRef(uploads, 65f000000000000000000001)", ""),
        (MinKey(), "MinKey", ""),
        ({"a": {"b.c": [1, "x"]}, "": None}, '{a: {"b.c": [1, "x"]}, "": null}', ""),
    ],
)
def test_values(value: Any, text: str, mark: str) -> None:
    assert (value_text(value), type_mark(value)) == (text, mark)


def test_long_values_are_cut() -> None:
    assert value_text("x" * 1_000_000, 10) == '"xxxxxxxx…'
    assert value_text(list(range(1_000_000)), 12) == "[0, 1, 2, 3…"
    assert value_text(b"\xab" * 1_000_000, 60).startswith("1,000,000 bytes abab")
    assert shorten("12345", 5) == "12345"
    assert shorten("123456", 5) == "1234…"


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (("status",), "status"),
        (("multipart", "part_size"), "multipart.part_size"),
        (("parts", 3, "etag"), "parts[3].etag"),
        (("a.b", "c"), '"a.b".c'),
        (("a", ""), 'a.""'),
        (("a", "0"), "a.0"),
        (("$set", "ü"), "$set.ü"),
        (("\x1b", "two words"), r'\x1b."two words"'),
        ((), ""),
    ],
)
def test_paths(path: tuple[str | int, ...], text: str) -> None:
    assert path_text(path) == text


@given(st.text(max_size=30), st.text(max_size=30), st.text(max_size=30))
def test_the_first_difference(common: str, first: str, second: str) -> None:
    position = first_difference(common + first, common + second)
    assert position >= len(common)
    assert (common + first)[:position] == (common + second)[:position]
    assert (common + first)[position : position + 1] != (common + second)[position : position + 1] or first == second


@given(st.text("abc", max_size=300), st.integers(0, 299), st.integers(10, 60))
def test_an_excerpt_shows_the_place(text: str, around: int, limit: int) -> None:
    around = min(around, max(0, len(text) - 1))
    shown = excerpt(text, around, limit)
    assert len(shown) <= limit
    assert (shown == text) == (len(text) <= limit)
    inner = shown.strip("…")
    assert inner in text
    if text:
        start = text.index(inner) if shown == text else _start(text, shown)
        assert start is None or start <= around < start + len(inner)


def _start(text: str, shown: str) -> int | None:
    """Where an excerpt was cut, if its text tells: at the beginning, at the end, or at its only occurrence."""
    inner = shown.strip("…")
    if not shown.startswith("…"):
        return 0
    if not shown.endswith("…"):
        return len(text) - len(inner)
    return text.index(inner) if text.count(inner) == 1 else None
