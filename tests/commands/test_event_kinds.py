"""Every kind of change event that the server at hand can produce, and every kind of value: read through the feed,
through `events`, recorded and replayed, they are the same bytes."""

from __future__ import annotations

import json
import struct
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bson
import pytest
from bson import (
    Binary,
    Code,
    DatetimeMS,
    DBRef,
    Decimal128,
    Int64,
    MaxKey,
    MinKey,
    ObjectId,
    Regex,
    Timestamp,
    json_util,
)
from bson.raw_bson import RawBSONDocument
from pymongo.database import Database

from console.bson_decoding import EVENT_CODEC
from console.events.event import ChangeEvent
from console.events.recording import replay
from console.events.since import Start
from console.events.text import CANONICAL
from console.stream.feed import ChangeFeed
from tests.records.feeds import events, take_until

if TYPE_CHECKING:
    from tests.commands.conftest import Command

Documents = Database[dict[str, Any]]

VALUES: dict[str, Any] = {
    "double": 1.5,
    "double that is whole": 1.0,
    "double of zero": -0.0,
    "not a number": float("nan"),
    "infinite": float("-inf"),
    "largest double": 1.7976931348623157e308,
    "string": "text",
    "empty": "",
    "null byte": "a\0b",
    "control": "\x1b[2J\x07\x9b\r\n\u202e\u2028\ufeff\x7f",
    "no ASCII": "日本語 ü 🙂",
    "document": {"a": {"b": {}}},
    "array": [1, [2, []], {}],
    "binary": Binary(bytes(range(256))),
    "binary of its own": Binary(b"x", 0x80),
    "old binary": Binary(b"xx", 2),
    "uuid": Binary.from_uuid(uuid.UUID(int=5)),
    "old uuid": Binary(bytes(16), 3),
    "md5": Binary(bytes(16), 5),
    "vector": Binary(b"\x27\x00\x01", 9),
    "id": ObjectId("65f000000000000000000001"),
    "true": True,
    "false": False,
    "date": datetime(2026, 1, 2, 3, 4, 5, 678000, UTC),
    "date before 1970": datetime(1969, 12, 31, 23, 59, 59, 999000, UTC),
    "date beyond Python": DatetimeMS(2**62),
    "date before Python": DatetimeMS(-(2**62)),
    "null": None,
    "regex": Regex("^a/b\\", "imx"),
    "regex of no Python": Regex("(?<n>", "s"),
    "code": Code("function () { return 1 }"),
    "code with scope": Code("f()", {"x": 1}),
    "reference": DBRef("things", ObjectId("65f000000000000000000002"), "shop"),
    "nearly a reference": {"$ref": 5},
    "int32": 2**31 - 1,
    "int64": Int64(5),
    "large int64": Int64(-(2**63)),
    "timestamp": Timestamp(2**32 - 1, 2**32 - 1),
    "decimal": Decimal128("9.999999999999999999999999999999999E+6144"),
    "decimal of nothing": Decimal128("NaN"),
    "smallest": MinKey(),
    "largest": MaxKey(),
    # Not here: documents that spell extended JSON's own names, {"$oid": "no"}. It has no way to quote them, so a
    # recording tells such a line as one that cannot be read.
}


def kinds(database: Documents) -> None:
    """Produce every kind of event once or more; ends with the database's drop."""
    things = database.create_collection("things", changeStreamPreAndPostImages={"enabled": True})
    things.create_index("a", name="by_a")
    database.command("collMod", "things", index={"name": "by_a", "hidden": True})
    # Of a document that is smaller than the difference the server logs a replacement.
    things.insert_one({"_id": 1, "status": "new", "log": [1, 2, 3, 4, 5], "gone": 1, "more": "x" * 1000})
    cut = {"$slice": ["$log", 2]}
    things.update_one({"_id": 1}, [{"$set": {"status": "old", "log": cut}}, {"$unset": "gone"}])
    things.replace_one({"_id": 1}, {"status": "replaced"})
    things.delete_one({"_id": 1})
    things.drop_index("by_a")
    things.rename("others")
    database.others.drop()
    database.client.drop_database(database)


OPERATIONS = [
    *("create", "createIndexes", "modify", "insert", "update", "replace", "delete", "dropIndexes"),
    *("rename", "drop", "dropDatabase", "invalidate"),
]


def odd_values(database: Documents) -> None:
    """Documents that hold anything."""
    things = database.create_collection("things", changeStreamPreAndPostImages={"enabled": True})
    things.insert_one({"_id": {"a": [1, None], "b": ObjectId("65f000000000000000000003")}, **VALUES})
    things.update_one({}, {"$set": {f"changed {name}": value for name, value in VALUES.items()}})
    broken = bson.encode({"_id": "no UTF-8", "text": "XX"}).replace(b"XX", b"\xff\xfe")
    undefined = b"\x06k\0\x0es\0" + struct.pack("<i", 7) + b"symbol\0"
    old = struct.pack("<i", len(undefined) + 5) + undefined + b"\0"
    database.command("insert", "things", documents=[RawBSONDocument(broken), {"_id": "x", "o": RawBSONDocument(old)}])
    things.delete_many({})


def odd_shapes(database: Documents) -> None:
    """Documents that are hard to hold, and names that are hard to say."""
    things = database.create_collection("things", changeStreamPreAndPostImages={"enabled": True})
    things.insert_one({"_id": 1, **{f"field{number}": number for number in range(5_000)}})
    things.update_one({"_id": 1}, {"$set": {f"field{number}": "new" for number in range(0, 5_000, 7)}})
    things.insert_one({"_id": 2, "long": "ü" * 400_000, "keys\x1b[31m": {"": {"a.b": {"$c": 1}}}, "$d": 1})
    long = {"$set": {"long": {"$concat": ["$long", "end"]}}}
    dotted = {"$replaceWith": {"$setField": {"field": "e.f$g", "input": "$$ROOT", "value": {"$literal": {"$h": 1}}}}}
    things.update_one({"_id": 2}, [long, dotted])
    nested: dict[str, Any] = {}
    for _ in range(90):
        nested = {"n": [nested]} if len(str(nested)) % 2 else {"n": nested}
    things.insert_one({"_id": 3, **nested})
    database["odd.näme \x1b"].insert_one({"_id": 4})


@pytest.mark.parametrize(
    ("happens", "operations"),
    [
        (kinds, OPERATIONS),
        (odd_values, ["create", "insert", "update", "insert", "insert", "delete", "delete", "delete"]),
        (odd_shapes, ["create", "insert", "update", "insert", "update", "insert", "create", "insert"]),
    ],
)
def test_through_feed_lines_recording_and_replay(
    command: Command,
    database: Documents,
    tmp_path: Path,
    happens: Callable[[Documents], None],
    operations: list[str],
) -> None:
    with database.watch() as stream:
        token = stream.resume_token
    assert token is not None
    happens(database)

    feed = ChangeFeed(database, start=Start(token=token), expanded=True)
    feed.start()
    read = events(take_until(feed, lambda items: len(events(items)) == len(operations)))
    feed.close(3)
    assert [event.operation for event in read] == operations
    assert not any(event.lacks_before or event.lacks_after for event in read if event.namespace.endswith(".things"))

    record = tmp_path / "r"
    options = ("--namespace", database.name, "--since", json.dumps(token), "--limit", str(len(operations)))
    printed = command("events", "--canonical", *options, "--record", str(record))
    assert printed.code == 0, printed.error
    assert printed.out.isascii()
    replayed = command("events", "--canonical", "--replay", str(record))
    assert printed.out == replayed.out
    lines = [json_util.loads(line, json_options=CANONICAL) for line in printed.out.splitlines()]
    again = [event.raw for event in replay(record) if isinstance(event, ChangeEvent)]
    for event, line, recorded in zip(read, lines, again, strict=True):
        assert bson.encode(line, codec_options=EVENT_CODEC) == bson.encode(event.raw, codec_options=EVENT_CODEC)
        assert bson.encode(recorded, codec_options=EVENT_CODEC) == bson.encode(event.raw, codec_options=EVENT_CODEC)

    relaxed = command("events", "--json", *options)
    assert [json.loads(line)["operationType"] for line in relaxed.out.splitlines()] == operations
    assert relaxed.out.isascii()
