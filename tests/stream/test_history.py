"""The past of one document, read from a real server's oplog."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.database import Database

from console.stream import history as module
from console.stream.history import document_past

Documents = Database[dict[str, Any]]
KEEPING = {"enabled": True}


def test_all_that_happened_to_one_document_comes_with_its_images(database: Documents) -> None:
    begin = datetime.now(UTC)
    things = database.create_collection("things", changeStreamPreAndPostImages=KEEPING)
    things.insert_many([{"_id": 1, "n": 0}, {"_id": 2, "n": 0}])
    for _ in range(3):
        things.update_many({}, {"$inc": {"n": 1}})
    things.delete_one({"_id": 1})
    past = document_past(things, 1, begin)
    assert [event.operation for event in past.events] == ["insert", "update", "update", "update", "delete"]
    assert [event.after["n"] for event in past.events if event.after is not None] == [0, 1, 2, 3]
    assert past.lacks == ""
    assert document_past(things, 3, begin).events == ()


def test_it_is_said_when_not_all_is_shown(database: Documents, monkeypatch: pytest.MonkeyPatch) -> None:
    begin = datetime.now(UTC)
    things = database.many
    things.insert_one({"_id": 1, "n": 0})
    for _ in range(3):
        things.update_one({"_id": 1}, {"$inc": {"n": 1}})
    monkeypatch.setattr(module, "MOST_EVENTS", 2)
    past = document_past(things, 1, begin)
    assert (len(past.events), past.lacks) == (2, "there are more events than are shown")


def test_what_has_left_the_oplog_is_said(database: Documents) -> None:
    things = database.old
    things.insert_one({"_id": 1})
    past = document_past(things, 1, datetime.now(UTC) - timedelta(days=3_000))
    assert [event.operation for event in past.events] == ["insert"]
    # A set that was never older keeps all there ever was.
    client: MongoClient[dict[str, Any]] = database.client
    is_whole = module.history(client)
    assert (past.lacks == "") == (is_whole is not None and is_whole.is_whole)
