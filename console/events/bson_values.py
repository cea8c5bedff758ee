"""Decoded BSON values: the name of each type, when two values are the same, and which comes first.

Sameness is strict, as the inspector shows it: 1 and 1.0 differ here, while `match` takes them for equal as the server
does. The order is the server's (manual, "Comparison/Sort Order"); numbers of any type compare by value.
"""

from __future__ import annotations

import math
import re
import uuid
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
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


_CLASSES: Final = {
    "minKey": -1,
    "null": 5,
    "int": 10,
    "long": 10,
    "double": 10,
    "decimal": 10,
    "string": 15,
    "object": 20,
    "dbRef": 20,  # a subdocument with $ref and $id; only the driver makes a class of it
    "array": 25,
    "binData": 30,
    "objectId": 35,
    "bool": 40,
    "date": 45,
    "timestamp": 47,
    "regex": 50,
    "javascript": 60,
    "javascriptWithScope": 65,
    "maxKey": 127,
}
NUMBER: Final = _CLASSES["int"]


def order_class(value: Any) -> int:
    """The class of a value's type: values of different classes order by it, whatever they are."""
    return _CLASSES.get(bson_type(value), 100)


def order(first: Any, second: Any) -> int:
    """Negative, 0 or positive as `first` sorts before, with or after `second`; NaN is the least number."""
    group, other_group = order_class(first), order_class(second)
    if group != other_group:
        return group - other_group
    match bson_type(first):
        case "minKey" | "maxKey" | "null":
            return 0
        case "int" | "long" | "double" | "decimal":
            return _order_numbers(first, second)
        case "object" | "dbRef":
            return _order_fields(as_document(first).items(), as_document(second).items())
        case "array":
            return _order_fields((("", value) for value in first), (("", value) for value in second))
        case "javascriptWithScope":
            return _sign(str(first), str(second)) or order(first.scope, second.scope)
    return _sign(_sort_key(first), _sort_key(second))


def is_nan(value: Any) -> bool:
    """Whether a number, of any type, is not a number."""
    if isinstance(value, Decimal128):
        return bool(value.to_decimal().is_nan())
    return isinstance(value, float) and value != value


def number(value: Any) -> int | float | Decimal:
    """A BSON number as a Python number; they compare with each other exactly."""
    result: int | float | Decimal = value.to_decimal() if isinstance(value, Decimal128) else value
    return result


def is_document(value: Any) -> bool:
    """A subdocument, also where the driver made a DBRef of it."""
    return isinstance(value, Mapping | DBRef)


def as_document(value: Any) -> Mapping[str, Any]:
    """A subdocument as a mapping, also where the driver made a DBRef of it."""
    return value if isinstance(value, Mapping) else dict(value.as_doc())


def _order_numbers(first: Any, second: Any) -> int:
    if is_nan(first) or is_nan(second):
        return int(is_nan(second)) - int(is_nan(first))
    return _sign(number(first), number(second))


def _order_fields(first: Iterable[tuple[str, Any]], second: Iterable[tuple[str, Any]]) -> int:
    """Field by field: type, then name, then value; what ends first comes first."""
    left, right = iter(first), iter(second)
    while True:
        field, other = next(left, None), next(right, None)
        if field is None or other is None:
            return int(other is None) - int(field is None) if field is not other else 0
        by_field = (
            order_class(field[1]) - order_class(other[1]) or _sign(field[0], other[0]) or order(field[1], other[1])
        )
        if by_field:
            return by_field


def _sort_key(value: Any) -> Any:
    match bson_type(value):
        case "binData":
            return len(value), value.subtype if isinstance(value, Binary) else 0, bytes(value)
        case "date":
            return int(value if isinstance(value, DatetimeMS) else DatetimeMS(value))
        case "regex":
            pattern = value if isinstance(value, Regex) else Regex.from_native(value)
            text = pattern.pattern  # bytes only in a recording that somebody edited
            return text if isinstance(text, str) else text.decode("utf-8", "backslashreplace"), pattern.flags
        case "objectId":
            return value.binary
        case "timestamp":
            return value.time, value.inc
        case "bool":
            return value
    return str(value)


def _sign(first: Any, second: Any) -> int:
    return int(first > second) - int(first < second)
