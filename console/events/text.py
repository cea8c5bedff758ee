"""Documents and values as text for people: extended JSON, and short one-line forms with the type where it matters.

Owns the words; every string that leaves here is safe on a terminal (it is its own `formatting.visible`). Not here:
which fields changed (`changes`), how JSON lines are kept (`recording`).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import bson
from bson import Binary, Code, json_util
from bson.binary import UUID_SUBTYPE
from bson.codec_options import DatetimeConversion
from bson.datetime_ms import DatetimeMS
from bson.errors import BSONError
from bson.json_util import DatetimeRepresentation, JSONMode, JSONOptions

from console.bson_decoding import decode
from console.events.bson_values import MAX_DEPTH, bson_type
from console.events.diff import Path
from console.formatting import visible

CANONICAL: Final = JSONOptions(
    json_mode=JSONMode.CANONICAL, tz_aware=True, datetime_conversion=DatetimeConversion.DATETIME_AUTO
)
RELAXED: Final = JSONOptions(
    json_mode=JSONMode.RELAXED,
    datetime_representation=DatetimeRepresentation.ISO8601,
    tz_aware=True,
    datetime_conversion=DatetimeConversion.DATETIME_AUTO,
)

# What `json_util` reads as a value of another type (https://github.com/mongodb/specifications, extended JSON).
_TYPE_NAMES: Final = frozenset(
    {
        *("$oid", "$ref", "$date", "$regex", "$minKey", "$maxKey", "$binary", "$type", "$code", "$scope", "$uuid"),
        *("$undefined", "$timestamp", "$numberInt", "$numberLong", "$numberDouble", "$numberDecimal"),
        *("$regularExpression", "$symbol", "$dbPointer", "$options"),
    }
)
_LABELS: Final = {
    "object": "Object",
    "array": "Array",
    "string": "String",
    "bool": "Boolean",
    "null": "Null",
    "int": "Int32",
    "long": "Int64",
    "double": "Double",
    "decimal": "Decimal128",
    "objectId": "ObjectId",
    "date": "Date",
    "timestamp": "Timestamp",
    "binData": "Binary",
    "regex": "Regex",
    "javascript": "Code",
    "javascriptWithScope": "CodeWScope",
    "dbRef": "DBRef",
    "minKey": "MinKey",
    "maxKey": "MaxKey",
}
# Their text says what they are.
_PLAIN: Final = frozenset({"object", "array", "string", "bool", "null", "int", "minKey", "maxKey", "regex", "dbRef"})
_PLAIN_STEP: Final = re.compile(r"[^.\[\]\s\"]+")
_UNSURE: Final = re.compile(r"[^\x20-\x7e]")


def json_text(value: Any, *, relaxed: bool = False, pretty: bool = True) -> str:
    """Extended JSON v2 to read and to copy: valid JSON, with letters as they are and control characters escaped."""
    options = RELAXED if relaxed else CANONICAL
    text = json_util.dumps(value, json_options=options, ensure_ascii=False, indent=2 if pretty else None)
    lines = text.split("\n")
    return "\n".join(line if line.isprintable() else _UNSURE.sub(_json_escape, line) for line in lines)


def json_line(value: Any, *, relaxed: bool = False) -> str:
    """Extended JSON v2 on one line of pure ASCII, for pipes and files; without the line end."""
    return json_util.dumps(value, json_options=RELAXED if relaxed else CANONICAL)


def wrapped(event: Mapping[str, Any]) -> Mapping[str, Any]:
    """An event as it is recorded: as its BSON where a document in it has a field such as `$oid`, which extended JSON
    cannot tell from a value of that type."""
    if not _has_type_names(event, 0):
        return event
    try:
        return {"_id": event.get("_id"), "bson": Binary(bson.encode(event))}
    except (BSONError, UnicodeError, OverflowError, RecursionError):  # of a recording that somebody edited
        return event


def unwrapped(event: Mapping[str, Any]) -> Mapping[str, Any]:
    """The event of which `wrapped` made this."""
    whole = event.get("bson")
    return decode(whole) if isinstance(whole, bytes) and set(event) == {"_id", "bson"} else event


def _has_type_names(value: Any, depth: int) -> bool:
    if isinstance(value, Code):
        value = value.scope
    if isinstance(value, Mapping):
        is_one = not _TYPE_NAMES.isdisjoint(value) or depth > MAX_DEPTH
        return is_one or any(_has_type_names(inner, depth + 1) for inner in value.values())
    return isinstance(value, list) and any(_has_type_names(inner, depth + 1) for inner in value)


def type_label(value: Any) -> str:
    """The type as mongosh and Compass name it: `Int64`, `ObjectId`, `Date`, `UUID`, ..."""
    if _is_uuid(value):
        return "UUID"
    kind = bson_type(value)
    return _LABELS.get(kind, kind)


def type_mark(value: Any) -> str:
    """The type's label where the text alone does not tell it (Int64, Double, ObjectId, Date, ...), else ""."""
    return "" if bson_type(value) in _PLAIN else type_label(value)


def value_text(value: Any, limit: int = 80) -> str:
    """A value on one line of at most `limit` characters, strings in quotes; cost is bounded by `limit` too."""
    return shorten("".join(_until(limit, _pieces(value, limit, 0))), limit)


def excerpt(text: str, around: int, limit: int) -> str:
    """At most `limit` characters of a long text, so that position `around` is among them."""
    if len(text) <= limit:
        return visible(text)
    start = max(0, around - limit // 3)
    if start + limit > len(text):
        return f"…{visible(text[1 - limit :])}"
    if start == 0:
        return f"{visible(text[: limit - 1])}…"
    return f"…{visible(text[start : start + limit - 2])}…"


def first_difference(first: str, second: str) -> int:
    """The position of the first character in which two texts differ (the shorter length if one begins the other)."""
    low, high = 0, min(len(first), len(second))
    while low < high:
        middle = (low + high + 1) // 2
        if first[low:middle] == second[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def path_text(path: Path) -> str:
    """A path as one word: `multipart.part_size`, `parts[3].etag`, `"a.b".c`."""
    words: list[str] = []
    for step in path:
        if isinstance(step, int):
            words.append(f"[{step}]")
        else:
            words.append(f"{'.' if words else ''}{step_text(step)}")
    return "".join(words)


def step_text(step: str | int) -> str:
    """One step of a path; a field's name is in quotes where it would not read as one word."""
    if isinstance(step, int):
        return f"[{step}]"
    shown = visible(step if len(step) <= 120 else f"{step[:119]}…")
    return shown if _PLAIN_STEP.fullmatch(step) else f'"{shown}"'


def shorten(text: str, limit: int) -> str:
    """Text that is shown already, cut to `limit` characters."""
    return text if len(text) <= limit else f"{text[: max(0, limit - 1)]}…"


def date_text(value: datetime | DatetimeMS) -> str:
    """ISO 8601 in UTC with milliseconds where there are any."""
    if isinstance(value, DatetimeMS):
        return f"{int(value)} ms since 1970"
    digits = "milliseconds" if value.microsecond else "seconds"
    return f"{value.replace(tzinfo=None).isoformat(timespec=digits)}Z"


def _pieces(value: Any, limit: int, depth: int) -> Iterator[str]:
    """The text of a value in pieces, so that the reader can stop when the line is full."""
    kind = bson_type(value)
    if kind == "object":
        yield from _object_pieces(value, limit, depth)
    elif kind == "array":
        yield from _array_pieces(value, limit, depth)
    elif kind == "string":
        yield f'"{visible(value[:limit])}"' if len(value) <= limit else f'"{visible(value[:limit])}'
    else:
        yield _leaf_text(kind, value, limit)


def _object_pieces(value: Mapping[str, Any], limit: int, depth: int) -> Iterator[str]:
    if depth >= MAX_DEPTH:
        yield "{…}"
        return
    yield "{"
    for index, (key, inner) in enumerate(value.items()):
        yield f"{', ' if index else ''}{step_text(key)}: "
        yield from _pieces(inner, limit, depth + 1)
    yield "}"


def _array_pieces(value: Sequence[Any], limit: int, depth: int) -> Iterator[str]:
    if depth >= MAX_DEPTH:
        yield "[…]"
        return
    yield "["
    for index, inner in enumerate(value):
        if index:
            yield ", "
        yield from _pieces(inner, limit, depth + 1)
    yield "]"


def _leaf_text(kind: str, value: Any, limit: int) -> str:
    match kind:
        case "null":
            return "null"
        case "bool":
            return "true" if value else "false"
        case "double":
            return repr(value) if math.isfinite(value) else json_number(value)
        case "date":
            return date_text(value)
        case "timestamp":
            return f"{value.time}:{value.inc}"
        case "binData":
            return _binary_text(value)
        case "regex":
            return visible(f"/{str(value.pattern)[:limit]}/{regex_options(value.flags)}")
        case "javascript" | "javascriptWithScope":
            return visible(str(value[:limit]))
        case "dbRef":
            return f"DBRef({visible(value.collection[:limit])}, {value_text(value.id, limit)})"
        case "minKey" | "maxKey":
            return _LABELS[kind]
        case _:
            return visible(str(value)[:limit])


def json_number(value: float) -> str:
    """A double that JSON has no number for, as extended JSON names it: `NaN`, `Infinity`, `-Infinity`."""
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


def regex_options(flags: int) -> str:
    """The letters of a regular expression's options, in the order in which BSON keeps them."""
    letters = (("i", re.I), ("l", re.L), ("m", re.M), ("s", re.S), ("u", re.U), ("x", re.X))
    return "".join(letter for letter, flag in letters if flags & flag)


def _binary_text(value: bytes) -> str:
    if isinstance(value, Binary) and _is_uuid(value):
        return str(value.as_uuid())
    subtype = f" subtype {value.subtype}" if isinstance(value, Binary) and value.subtype else ""
    start = bytes(value[:16]).hex()
    return f"{len(value):,} bytes{subtype} {start}{'…' if len(value) > 16 else ''}".rstrip()


def _is_uuid(value: Any) -> bool:
    return isinstance(value, Binary) and value.subtype == UUID_SUBTYPE and len(value) == 16


def _until(limit: int, pieces: Iterator[str]) -> Iterator[str]:
    total = 0
    for piece in pieces:
        yield piece
        total += len(piece)
        if total > limit:
            return


def _json_escape(match: re.Match[str]) -> str:
    character = match.group()
    if visible(character) == character:
        return character
    return json.dumps(character)[1:-1]
