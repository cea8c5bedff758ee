"""What a decoded BSON value is, and when two of them are the same.

Owns the type names (the aliases of MongoDB's `$type`) and strict sameness, as the inspector shows it: stricter than
the server's equality, which `match` owns (there 1 and 1.0 are equal). Not here: words for people (`text`).
"""

from __future__ import annotations

import math
import re
import uuid
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import bson
from bson import Binary, Code, DBRef, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from bson.datetime_ms import DatetimeMS
from bson.errors import BSONError

# How deep a comparison or a drawing goes into a value. The server refuses documents nested deeper than about 100 levels
# (manual, "MongoDB Limits and Thresholds"); an event adds a few of its own. Deeper values are compared as a whole.
MAX_DEPTH: Final = 120

_INT32: Final = range(-(2**31), 2**31)
_BY_CLASS: Final[dict[type, str]] = {
    dict: "object",
    str: "string",
    bool: "bool",
    type(None): "null",
    Int64: "long",
    float: "double",
    list: "array",
    tuple: "array",
    ObjectId: "objectId",
    datetime: "date",
    DatetimeMS: "date",
    bytes: "binData",
    Binary: "binData",
    uuid.UUID: "binData",
    Decimal128: "decimal",
    Timestamp: "timestamp",
    Regex: "regex",
    re.Pattern: "regex",
    DBRef: "dbRef",
    MinKey: "minKey",
    MaxKey: "maxKey",
}
_COMPARED_BY_VALUE: Final = frozenset({"string", "int", "long", "bool", "null", "objectId", "minKey", "maxKey"})


# Of one of these, values that Python calls equal are the same BSON.
_EQUAL_IS_SAME: Final = frozenset({str, int, Int64, bool, type(None), ObjectId, datetime})


def bson_type(value: Any) -> str:
    """The type a value has in BSON, as `$type` names it; "dbRef" for a DBRef, the class's name for what is no BSON."""
    kind = type(value)
    if kind is int:
        return "int" if value in _INT32 else "long"
    if kind is Code:
        return "javascript" if value.scope is None else "javascriptWithScope"
    if name := _BY_CLASS.get(kind):
        return name
    if isinstance(value, Mapping):  # SON, RawBSONDocument
        return "object"
    return next((name for base, name in _BY_CLASS.items() if isinstance(value, base)), kind.__name__)


def same(first: Any, second: Any, depth: int = 0) -> bool:
    """Whether two values are the same BSON: same type, same value, same order of keys.

    Int32 5, Int64 5 and Double 5.0 are three values, and so are 0.0 and -0.0; NaN is the same as NaN, whatever its
    payload.
    """
    if plainly_same(first, second):
        return True
    kind = bson_type(first)
    if kind != bson_type(second):
        return False
    if kind in _COMPARED_BY_VALUE:
        return bool(first == second)
    if kind == "double":
        if first != first:
            return bool(second != second)
        return bool(first == second) and math.copysign(1, first) == math.copysign(1, second)
    if depth < MAX_DEPTH:
        if kind == "object":
            return _same_fields(first, second, depth + 1)
        if kind == "array":
            return len(first) == len(second) and _same_elements(first, second, depth + 1)
    return fingerprint(first) == fingerprint(second)


def plainly_same(first: Any, second: Any) -> bool:
    """Whether two values are the same for a reason that is quick to see; False says nothing."""
    return first is second or (type(first) is type(second) and type(first) in _EQUAL_IS_SAME and bool(first == second))


def is_deep(value: Any, limit: int = MAX_DEPTH) -> bool:
    """Whether a value has more levels of documents and arrays than that."""
    level = [value]
    for _ in range(limit + 1):
        level = [inner for container in level for inner in _content(container)]
        if not level:
            return False
    return True


def _content(value: Any) -> Iterable[Any]:
    if isinstance(value, Mapping):
        return value.values()
    if isinstance(value, Code):
        return (value.scope or {}).values()
    if isinstance(value, DBRef):
        return value.as_doc().values()
    return value if isinstance(value, list) else ()


def fingerprint(value: Any) -> bytes:
    """The value's own BSON bytes: equal bytes mean the same value (different bytes mean a difference, but for NaN)."""
    try:
        return bson.encode({"": value})
    except (BSONError, UnicodeError, OverflowError, RecursionError):  # not BSON: text with a lone surrogate, say
        return b"\xff" + repr(value).encode("utf-8", "backslashreplace")


def _same_fields(first: Mapping[str, Any], second: Mapping[str, Any], depth: int) -> bool:
    if len(first) != len(second):
        return False
    for (key, value), (other_key, other) in zip(first.items(), second.items(), strict=True):
        if key != other_key or not same(value, other, depth):
            return False
    return True


def _same_elements(first: Sequence[Any], second: Sequence[Any], depth: int) -> bool:
    return all(same(value, other, depth) for value, other in zip(first, second, strict=True))
