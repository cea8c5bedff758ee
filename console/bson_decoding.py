"""BSON from outside, decoded so that nothing in it raises and one bad document never hides the others.

Owns the codecs, and how much of a document is saved that drivers cannot decode: MongoDB stores what old binaries and
other programs wrote (a length inside a binary that is wrong, an unknown type). What a value is stands in
`events.bson_values`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import bson
from bson import Binary
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.raw_bson import RawBSONDocument

# Decode with these and nothing in a stream can lose its type: dates outside Python's years 1 to 9999 arrive as
# DatetimeMS, text that is no UTF-8 keeps its bytes as \xNN escapes, and UUIDs stay Binary with their subtype.
EVENT_CODEC: Final[CodecOptions[Any]] = CodecOptions(
    tz_aware=True,
    unicode_decode_error_handler="backslashreplace",
    datetime_conversion=DatetimeConversion.DATETIME_AUTO,
)
# The driver keeps each document as its bytes; `decode` reads them one by one.
RAW_CODEC: Final[CodecOptions[RawBSONDocument]] = EVENT_CODEC.with_options(document_class=RawBSONDocument)

_MALFORMED_SUBTYPE: Final = 0x80  # the first of those that BSON leaves to applications
_DOCUMENT, _ARRAY = 0x03, 0x04
# The bytes of a value by its type (https://bsonspec.org); a negative number: a length of four bytes, and so many more.
_SIZES: Final = {0x01: 8, 0x06: 0, 0x07: 12, 0x08: 1, 0x09: 8, 0x0A: 0, 0x10: 4, 0x11: 8, 0x12: 8, 0x13: 16} | {
    0xFF: 0,
    0x7F: 0,
}
_EXTRA: Final = {0x02: 0, 0x05: 1, 0x0C: 12, 0x0D: 0, 0x0E: 0}  # behind a length and as many bytes as it says
_WHOLE_LENGTH: Final = frozenset({_DOCUMENT, _ARRAY, 0x0F})  # the length counts itself
_REGEX: Final = 0x0B
_MOST_LEVELS: Final = 200
# A path has at most 4 KiB, a key 1 KiB.
_MOST_OF_A_VALUE: Final = 8 * 1024
_MOST_OF_A_DOCUMENT: Final = 32 * 1024
_TOO_LARGE: Final = f"(over {_MOST_OF_A_VALUE // 1024} KiB: not shown here)"


class Malformed(Binary):
    """The bytes of a value that is no valid BSON, in the place of the value."""

    def __new__(cls, data: bytes) -> Malformed:
        return Binary.__new__(cls, data, _MALFORMED_SUBTYPE)


def decode(raw: bytes | memoryview) -> dict[str, Any]:
    """A document of its bytes. Never raises: what cannot be decoded is `Malformed`, and all beside it as it is."""
    try:
        return bson.decode(raw, EVENT_CODEC)
    except Exception:  # noqa: BLE001 - whatever a value does to the driver, its neighbours are read
        return _decode_each(bytes(raw), 0)


def decoded(documents: Iterable[RawBSONDocument | Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """The documents of a cursor of a collection with `RAW_CODEC`, one by one."""
    for document in documents:
        yield decode(document.raw) if isinstance(document, RawBSONDocument) else dict(document)


def lean(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """The document without what is too large for a list of thousands of them: a text in the place of each such value
    says so, and what comes behind so much is left out. One that is of the size of ours is given as it is."""
    left = _MOST_OF_A_DOCUMENT
    for name, value in document.items():
        left -= len(name) + _weight(value, left)
        if left < 0:
            break
    else:
        return document
    kept: dict[str, Any] = {}
    left = _MOST_OF_A_DOCUMENT
    for name, value in document.items():
        weight = _weight(value, _MOST_OF_A_VALUE) if name != "_id" else 0
        kept[name] = value if weight <= min(left, _MOST_OF_A_VALUE) else _TOO_LARGE
        left -= len(name) + min(weight, _MOST_OF_A_VALUE)
        if left < 0:
            break
    return kept


def _weight(value: Any, most: int) -> int:
    """About how many bytes a value takes; once it is more than `most`, nothing is counted any more."""
    if isinstance(value, str | bytes):
        return len(value)
    if not isinstance(value, Mapping | list):
        return 8
    weight = 0
    waiting: list[Any] = [value]
    while waiting and weight <= most:
        each = waiting.pop()
        if isinstance(each, Mapping):
            weight += sum(map(len, each))
            waiting.extend(each.values())
        elif isinstance(each, list):
            waiting.extend(each)
        else:
            weight += len(each) if isinstance(each, str | bytes) else 8
    return weight


def malformed_path(value: Any) -> str | None:
    """Where in a document the first value is that is no valid BSON; None where all are."""
    if isinstance(value, Malformed):
        return ""
    inner: Iterable[tuple[Any, Any]] = ()
    if isinstance(value, Mapping):
        inner = value.items()
    elif isinstance(value, list):
        inner = enumerate(value)
    for name, each in inner:
        if (path := malformed_path(each)) is not None:
            return f"{name}.{path}" if path else str(name)
    return None


def _decode_each(raw: bytes, depth: int) -> dict[str, Any]:
    """Element by element; once a length leads nowhere, the rest is one malformed value."""
    document: dict[str, Any] = {}
    end = len(raw) - 1
    start = 4
    while start < end:
        kind = raw[start]
        name_end = raw.find(b"\0", start + 1, end)
        size = _size(raw, kind, name_end + 1, end) if name_end >= 0 else None
        if size is None:
            name = raw[start + 1 : name_end if name_end >= 0 else end]
            document[name.decode("utf-8", "backslashreplace")] = Malformed(raw[max(name_end + 1, start) : end])
            break
        name = raw[start + 1 : name_end]
        value = raw[name_end + 1 : name_end + 1 + size]
        document[name.decode("utf-8", "backslashreplace")] = _decode_value(kind, value, depth)
        start = name_end + 1 + size
    return document


def _decode_value(kind: int, value: bytes, depth: int) -> Any:
    alone = bytes([kind, 0]) + value
    try:
        return bson.decode(struct.pack("<i", len(alone) + 5) + alone + b"\0", EVENT_CODEC)[""]
    except Exception:  # noqa: BLE001 - as in `decode`
        if kind not in (_DOCUMENT, _ARRAY) or depth >= _MOST_LEVELS:
            return Malformed(value)
        fields = _decode_each(value, depth + 1)
        return fields if kind == _DOCUMENT else list(fields.values())


def _size(raw: bytes, kind: int, start: int, end: int) -> int | None:
    """How many bytes the value has; None where that cannot be, or nobody knows the type."""
    size = _SIZES.get(kind)
    if kind == _REGEX:
        pattern = raw.find(b"\0", start, end)
        options = raw.find(b"\0", pattern + 1, end) if pattern >= 0 else -1
        size = options + 1 - start if options >= 0 else None
    elif size is None and (kind in _EXTRA or kind in _WHOLE_LENGTH) and start + 4 <= end:
        told = int.from_bytes(raw[start : start + 4], "little", signed=True)
        size = told if kind in _WHOLE_LENGTH else 4 + told + _EXTRA[kind]
        size = size if size >= 4 else None
    return size if size is not None and start + size <= end else None
