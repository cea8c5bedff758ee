"""The order of BSON values as the server compares them (manual, "Comparison/Sort Order").

Owns the classes of types and the comparison of two values; numbers of any type compare by value. Not here: strict
sameness for the inspector (`values`), query operators (`match`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, Final

from bson import Binary, DBRef, Decimal128, Regex
from bson.datetime_ms import DatetimeMS

from console.events.values import bson_type

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
