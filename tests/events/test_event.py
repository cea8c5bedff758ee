"""Reading of raw change events, of every kind that a server sends and some that none sends."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import bson
import pytest
from bson import ObjectId, Timestamp
from bson.raw_bson import RawBSONDocument
from hypothesis import given
from hypothesis import strategies as st

from console.bson_decoding import EVENT_CODEC
from console.events.event import ChangeEvent, join_fragments

ID = ObjectId("65f000000000000000000001")
TOKEN = {"_data": "8265F0"}
COMMON: dict[str, Any] = {
    "_id": TOKEN,
    "clusterTime": Timestamp(1_700_000_000, 3),
    "wallTime": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
}
ODD = ["updateDescription", "clusterTime", "wallTime", "operationDescription"]
COLLECTION = {"db": "app", "coll": "uploads"}


def test_update_with_both_images() -> None:
    raw = {
        **COMMON,
        "operationType": "update",
        "ns": COLLECTION,
        "documentKey": {"_id": ID},
        "fullDocument": {"_id": ID, "status": "uploading"},
        "fullDocumentBeforeChange": {"_id": ID, "status": "pending"},
        "updateDescription": {"updatedFields": {"status": "uploading"}, "removedFields": [], "truncatedArrays": []},
    }
    event = ChangeEvent.from_raw(raw)
    assert event.operation == "update"
    assert event.namespace == "app.uploads"
    assert event.document_id == ID
    assert event.before == {"_id": ID, "status": "pending"}
    assert event.after == {"_id": ID, "status": "uploading"}
    assert event.update == raw["updateDescription"]
    assert event.cluster_time == Timestamp(1_700_000_000, 3)
    assert event.time == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert event.token == TOKEN
    assert event.raw is raw
    assert not event.lacks_before
    assert not event.lacks_after


@pytest.mark.parametrize(
    ("fields", "operation", "namespace"),
    [
        ({"operationType": "drop", "ns": COLLECTION}, "drop", "app.uploads"),
        ({"operationType": "dropDatabase", "ns": {"db": "app"}}, "dropDatabase", "app"),
        ({"operationType": "invalidate"}, "invalidate", ""),
        ({"operationType": "create", "ns": COLLECTION, "operationDescription": {}}, "create", "app.uploads"),
        ({"operationType": "anUnknownFutureKind", "ns": {"db": 5}}, "anUnknownFutureKind", ""),
        ({"operationType": None}, "unknown", ""),
        ({}, "unknown", ""),
    ],
)
def test_kinds_without_a_document(fields: dict[str, Any], operation: str, namespace: str) -> None:
    event = ChangeEvent.from_raw({**COMMON, **fields})
    assert (event.operation, event.namespace) == (operation, namespace)
    assert event.document_key is event.before is event.after is event.update is event.document_id is None
    assert not event.lacks_before
    assert not event.lacks_after


def test_rename_and_ddl_keep_their_details() -> None:
    rename = ChangeEvent.from_raw({"operationType": "rename", "ns": COLLECTION, "to": {"db": "app", "coll": "old"}})
    assert rename.renamed_to == "app.old"
    indexes = {"indexes": [{"key": {"status": 1}, "name": "status_1"}]}
    ddl = ChangeEvent.from_raw({"operationType": "createIndexes", "ns": COLLECTION, "operationDescription": indexes})
    assert ddl.description == indexes


@pytest.mark.parametrize(
    ("operation", "before", "after"),
    [("insert", False, True), ("update", True, True), ("replace", True, True), ("delete", True, False)],
)
def test_missing_images_are_told(operation: str, before: bool, after: bool) -> None:
    event = ChangeEvent.from_raw({"operationType": operation, "fullDocumentBeforeChange": None, "fullDocument": None})
    assert (event.lacks_before, event.lacks_after) == (before, after)


def test_time_without_wall_time_is_the_cluster_time() -> None:
    event = ChangeEvent.from_raw({"clusterTime": Timestamp(1_700_000_000, 9)})
    assert event.wall_time is None
    assert event.time == datetime.fromtimestamp(1_700_000_000, tz=UTC)
    assert ChangeEvent.from_raw({}).time is None


def test_naive_wall_time_is_utc() -> None:
    assert ChangeEvent.from_raw({"wallTime": datetime(2026, 1, 2)}).wall_time == datetime(2026, 1, 2, tzinfo=UTC)  # noqa: DTZ001


def test_raw_bson_is_decoded_without_loss() -> None:
    far = bson.encode({"operationType": "insert", "fullDocument": {"n": bson.Int64(1), "d": bson.DatetimeMS(2**60)}})
    event = ChangeEvent.from_raw(RawBSONDocument(far))
    assert event.after == {"n": bson.Int64(1), "d": bson.DatetimeMS(2**60)}
    assert isinstance(event.after["n"], bson.Int64)


def test_text_that_is_no_utf8_keeps_its_bytes() -> None:
    broken = bson.encode({"fullDocument": {"name": "abc"}}).replace(b"abc", b"a\xffc")
    event = ChangeEvent.from_raw(bson.decode(broken, EVENT_CODEC))
    assert event.after == {"name": r"a\xffc"}


@given(
    st.dictionaries(
        st.sampled_from(
            ["_id", "operationType", "ns", "to", "documentKey", "fullDocument", "fullDocumentBeforeChange", *ODD]
        ),
        st.none() | st.integers() | st.text() | st.lists(st.integers()) | st.dictionaries(st.text(), st.integers()),
    )
)
def test_no_field_is_trusted(raw: dict[str, Any]) -> None:
    event = ChangeEvent.from_raw(raw)
    assert event.operation
    assert isinstance(event.namespace + event.renamed_to, str)
    assert isinstance(event.description, dict)
    assert event.time is None


def test_fragments_join_to_the_event_they_were() -> None:
    whole = {
        "operationType": "update",
        "ns": COLLECTION,
        "fullDocument": {"a": 1},
        "fullDocumentBeforeChange": {"a": 0},
    }
    first = {"_id": {"_data": "1"}, "splitEvent": {"fragment": 1, "of": 2}, **dict(list(whole.items())[:3])}
    last = {"_id": {"_data": "2"}, "splitEvent": {"fragment": 2, "of": 2}, **dict(list(whole.items())[3:])}
    assert join_fragments([first, last]) == {"_id": {"_data": "2"}, **whole}
