"""Events that a real mongod sends, of every kind it can produce, through all that this package does with them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import bson
import pytest
from bson import DatetimeMS, Int64, ObjectId
from pymongo.database import Database

from console.bson_decoding import EVENT_CODEC
from console.events.buffer import EventBuffer
from console.events.changes import changes, summary
from console.events.diff import compare
from console.events.diff_rows import Row, event_rows
from console.events.event import ChangeEvent
from console.events.filter import parse_filter
from console.events.recording import Recorder, replay
from console.formatting import visible

from .edits import apply

ID = ObjectId("65f000000000000000000001")
Documents = Database[dict[str, Any]]
Watch = Callable[..., list[ChangeEvent]]


@pytest.fixture
def images(database: Documents) -> Documents:
    """The database with a collection `c` that keeps pre- and post-images."""
    database.create_collection("c", changeStreamPreAndPostImages={"enabled": True})
    return database


@pytest.fixture
def watch(database: Documents) -> Iterator[Watch]:
    """Runs what is to be watched and gives its events, seen from the database (or `seen_from` a collection)."""

    def run(action: Callable[[], object], count: int, seen_from: str = "", **options: Any) -> list[ChangeEvent]:
        watched = database.with_options(codec_options=EVENT_CODEC)
        target = watched[seen_from] if seen_from else watched
        with target.watch(
            full_document="whenAvailable", full_document_before_change="whenAvailable", **options
        ) as stream:
            action()
            return [ChangeEvent.from_raw(stream.next()) for _ in range(count)]

    return run


def check(event: ChangeEvent, folder: Path) -> None:
    """What must hold for any event at all."""
    line = summary(event)
    assert visible(line) == line
    for row in event_rows(event):
        assert isinstance(row, Row)
        assert visible(row.label) == row.label
    if event.before is not None and event.after is not None:
        assert bson.encode(apply(compare(event.before, event.after), event.before)) == bson.encode(event.after)
    with Recorder(folder / "r") as recorder:
        recorder.write([event])
    *_, replayed = replay(folder / "r")
    buffer: EventBuffer[str] = EventBuffer()
    buffer.append([event])
    for copy in (replayed, buffer[0]):
        assert isinstance(copy, ChangeEvent)
        assert bson.encode(copy.raw) == bson.encode(event.raw)
    assert event.token
    assert event.time is not None


def test_the_life_of_a_document(images: Documents, watch: Watch, tmp_path: Path) -> None:
    def life() -> None:
        images.c.insert_one({"_id": ID, "status": "pending", "current": 0, "log": [1, 2, 3, 4, 5], "sub": {"x.y": 1}})
        images.c.update_one({"_id": ID}, {"$set": {"status": "uploading", "current": Int64(8388608)}})
        images.c.update_one({"_id": ID}, {"$push": {"log": {"$each": [], "$slice": 2}}, "$unset": {"sub": ""}})
        images.c.update_one({"_id": ID}, {"$set": {"log.1": 9}})
        images.c.replace_one({"_id": ID}, {"status": "done"})
        images.c.delete_one({"_id": ID})

    events = watch(life, 6)
    assert [(event.operation, summary(event)) for event in events] == [
        ("insert", "status pending, current 0, log [1, 2, 3, 4, 5], sub {\"x.y\": 1}"),
        ("update", "status pending→uploading, current 0 Int32→8388608 Int64"),
        ("update", "-log[2] 3, -log[3] 4, -log[4] 5, -sub {\"x.y\": 1}"),
        ("update", "log[1] 2→9"),
        ("replace", "status uploading→done, -current 8388608, -log [1, 9]"),
        ("delete", "status done"),
    ]  # fmt: skip
    for event in events:
        assert event.namespace == f"{images.name}.c"
        assert event.document_id == ID
        assert not event.lacks_before
        assert not event.lacks_after
        check(event, tmp_path)
    buffer: EventBuffer[str] = EventBuffer()
    buffer.append(events)
    assert buffer.history(events[3]) == [0, 1, 2, 3, 4, 5]
    assert [number for number, event in enumerate(events) if parse_filter("field:log").matches(event)] == [2, 3, 4]


def test_without_images_the_description_tells(database: Documents, watch: Watch, tmp_path: Path) -> None:
    def life() -> None:
        database.plain.insert_one(
            {"_id": 1, "log": [1, 2, 3, 4, 5], "a": {"b": 1, "pad": "y" * 99}, "old": 1, "pad": "x" * 500}
        )
        cut = {"$slice": ["$log", 2]}
        database.plain.update_one({}, [{"$set": {"a.b": 2, "log": cut}}, {"$unset": "old"}])
        database.plain.delete_one({})

    insert, update, delete = watch(life, 3)
    assert insert.after is not None
    assert (update.lacks_before, update.lacks_after, delete.lacks_before) == (True, True, True)
    assert summary(update) == "a.b →2, -old, log cut to 2 elements"
    assert summary(delete) == ""
    for event in (insert, update, delete):
        check(event, tmp_path)


def test_collections_and_databases(database: Documents, watch: Watch, tmp_path: Path) -> None:
    def life() -> None:
        database.a.insert_one({"_id": 1})
        database.a.rename("b")
        database.b.drop()
        database.c.insert_one({"_id": 1})
        database.client.drop_database(database.name)

    events = watch(life, 7)
    assert [event.operation for event in events] == [
        *("insert", "rename", "drop", "insert", "drop", "dropDatabase", "invalidate")
    ]
    assert events[1].renamed_to == f"{database.name}.b"
    assert summary(events[1]) == f"→ {database.name}.b"
    assert events[5].namespace == database.name
    assert events[6].namespace == ""
    assert summary(events[6])
    for event in events:
        check(event, tmp_path)


def test_a_collection_that_is_dropped_invalidates_its_stream(database: Documents, watch: Watch, tmp_path: Path) -> None:
    database.c.insert_one({})
    drop, invalidate = watch(database.c.drop, 2, seen_from="c")
    assert (drop.operation, invalidate.operation) == ("drop", "invalidate")
    check(drop, tmp_path)
    check(invalidate, tmp_path)


def test_ddl_events(database: Documents, watch: Watch, tmp_path: Path) -> None:
    def life() -> None:
        database.create_collection("c")
        database.c.create_index("a", name="by_a")
        database.command("collMod", "c", index={"name": "by_a", "hidden": True})
        database.c.drop_index("by_a")

    events = watch(life, 4, show_expanded_events=True)
    assert [event.operation for event in events] == ["create", "createIndexes", "modify", "dropIndexes"]
    assert "by_a" in summary(events[1])
    for event in events:
        assert event.document_id is None
        check(event, tmp_path)


def test_documents_that_are_hard_to_show(images: Documents, watch: Watch, tmp_path: Path) -> None:
    hard = {
        "_id": {"a": 1, "b": [ObjectId(), None]},
        **{f"field{number}": number for number in range(5000)},
        "long": "x" * 2_000_000 + "old",
        "far": DatetimeMS(2**60),
        "control\x1b[2J\n": "\x1b[31m\x07\u202e",
        "dotted": {},
    }

    def life() -> None:
        images.c.insert_one(hard)
        images.c.update_one(
            {},
            [
                {"$set": {"long": "x" * 2_000_000 + "new", "field77": "changed"}},
                {"$replaceWith": {"$setField": {"field": "a.b$", "input": "$$ROOT", "value": 5}}},
            ],
        )

    insert, update = watch(life, 2)
    assert insert.after is not None
    assert insert.after["far"] == DatetimeMS(2**60)
    assert sorted(change.path for change in changes(update)) == [("a.b$",), ("field77",), ("long",)]
    line = summary(update, 400)
    assert "field77 77→changed" in line
    assert "xold→…" in line
    assert '+"a.b$" 5' in line
    for event in (insert, update):
        check(event, tmp_path)
