"""Setting the collection up: created, brought up to date, left alone."""

from __future__ import annotations

import threading

import pytest
from pymongo import ASCENDING, MongoClient
from pymongo.errors import WriteError

from console.errors import MongoRefuses
from console.records.connection import WIRE_VERSION_4_4, WIRE_VERSION_6_0
from console.records.schema import INDEXES, OURS, VALIDATOR, prepare
from console.records.uploads import Uploads
from tests.records.documents import add, new_upload


def options(database, name="uploads"):
    (found,) = database.list_collections(filter={"name": name})
    return found["options"]


def index_keys(database):
    return [tuple(index["key"].items()) for index in database.uploads.list_indexes()]


def test_the_collection_is_created_once(database):
    assert prepare(database, "uploads", wire_version=WIRE_VERSION_6_0) == [
        f"created the collection {database.name}.uploads"
    ]
    assert options(database)["changeStreamPreAndPostImages"] == {"enabled": True}
    assert options(database)["validator"] == VALIDATOR
    assert len(index_keys(database)) == len(INDEXES) + 1
    assert prepare(database, "uploads", wire_version=WIRE_VERSION_6_0) == []


def test_a_server_older_than_6_is_not_asked_for_images(database):
    prepare(database, "uploads", wire_version=WIRE_VERSION_4_4)
    assert "changeStreamPreAndPostImages" not in options(database)
    assert prepare(database, "uploads", wire_version=WIRE_VERSION_6_0) == [
        f"set pre- and post-images on {database.name}.uploads (collMod)"
    ]


def test_an_existing_collection_is_brought_up_to_date_and_its_documents_stay(database):
    others = [{"_id": 1, "status": "done", "size": -5}, {"_id": 2, "anything": [None]}]
    database.uploads.insert_many(others)
    database.uploads.create_index([("watch.digest", ASCENDING)], name="theirs", unique=True, sparse=True)
    before = options(database)
    (left,) = prepare(database, "uploads", wire_version=WIRE_VERSION_6_0)
    assert "left as it is, without validator and pre- and post-images and 11 indexes" in left
    assert options(database) == before
    assert prepare(database, "uploads", wire_version=WIRE_VERSION_6_0, adopt=True) == [
        f"set validator and pre- and post-images on {database.name}.uploads (collMod)",
        f"created 11 indexes on {database.name}.uploads",
    ]
    assert list(database.uploads.find()) == others
    database.uploads.update_one({"_id": 1}, {"$set": {"status": "over"}})  # moderate: what was wrong may be changed
    assert database.uploads.find_one({"_id": 1})["status"] == "over"
    assert "theirs" in database.uploads.index_information()
    assert prepare(database, "uploads", wire_version=WIRE_VERSION_6_0) == []


def test_a_validator_of_others_stays(database):
    theirs = {"_id": {"$ne": "forbidden"}}
    database.create_collection("uploads", validator=theirs)
    before = options(database)
    prepare(database, "uploads", wire_version=WIRE_VERSION_6_0)
    assert options(database) == before
    prepare(database, "uploads", wire_version=WIRE_VERSION_6_0, adopt=True)
    assert options(database)["validator"] == theirs
    assert options(database)["changeStreamPreAndPostImages"] == {"enabled": True}


def test_an_older_validator_of_ours_is_replaced(database):
    older = {"$jsonSchema": {"title": "upload-console", "bsonType": "object", "required": ["path"]}}
    database.create_collection("uploads", validator=older)
    prepare(database, "uploads", wire_version=WIRE_VERSION_6_0)
    assert options(database)["validator"] == VALIDATOR
    database.uploads.insert_one({"owner": "shop"})  # whom the older one kept out


def test_uploads_of_an_older_version_get_the_endpoint_once(database):
    older = {"$jsonSchema": {"title": "upload-console", "bsonType": "object"}}
    database.create_collection("uploads", validator=older)
    uploads = Uploads(database.uploads)
    add(uploads)
    database.uploads.insert_one({"owner": "shop"})
    notes = prepare(database, "uploads", wire_version=WIRE_VERSION_6_0, endpoint="http://s3")
    assert "set the endpoint http://s3 on 1 upload of an older version" in notes
    add(uploads)
    assert prepare(database, "uploads", wire_version=WIRE_VERSION_6_0, endpoint="http://other") == []
    assert [document.get("endpoint") for document in database.uploads.find()] == ["http://s3", None, None]


def test_where_two_versions_alternate_that_name_endpoints_no_upload_is_looked_at(database):
    other = {"$jsonSchema": {"title": "upload-console", "properties": {"endpoint": {"bsonType": "string"}}}}
    database.create_collection("uploads", validator=other)
    add(Uploads(database.uploads))
    notes = prepare(database, "uploads", wire_version=WIRE_VERSION_6_0, endpoint="http://s3")
    assert options(database)["validator"] == VALIDATOR
    assert not [note for note in notes if "endpoint" in note]


def test_the_documents_of_others_are_told_from_uploads(database):
    prepare(database, "uploads", wire_version=WIRE_VERSION_6_0)
    (upload_id,) = add(Uploads(database.uploads))
    ours = database.uploads.find_one({"_id": upload_id})
    others = [
        {"_id": "order-1", "status": "paid", "amount": 1},
        {"status": "pending", "requested": "cancel", "path": "/x", "host": "h"},
        {**ours, "_id": "text"},
    ]
    database.uploads.insert_many(others)
    assert [document["_id"] for document in database.uploads.find(OURS)] == [upload_id]
    Uploads(database.uploads).settle()
    assert database.uploads.find_one({"host": "h"})["status"] == "pending"


def test_the_validator_takes_what_we_write_and_refuses_what_we_would_not(database):
    prepare(database, "uploads", wire_version=WIRE_VERSION_6_0)
    uploads = Uploads(database.uploads)
    (upload_id,) = add(uploads)
    for wrong in ({"status": "done"}, {"requested": "later"}, {"size": "5"}, {"lease": {"runner": "a"}}):
        with pytest.raises(WriteError):
            database.uploads.update_one({"_id": upload_id}, {"$set": wrong})


def test_consoles_that_start_at_once_do_not_stand_in_each_others_way(database):
    start = threading.Barrier(6)
    notes, errors = [], []

    def console():
        start.wait()
        try:
            notes.extend(prepare(database, "uploads", wire_version=WIRE_VERSION_6_0))
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=console) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert notes.count(f"created the collection {database.name}.uploads") == 1
    assert len(index_keys(database)) == len(INDEXES) + 1


def test_a_view_is_refused(database):
    database.create_collection("uploads", viewOn="elsewhere", pipeline=[])
    with pytest.raises(MongoRefuses, match=r"uploads is a view, not a collection"):
        prepare(database, "uploads", wire_version=WIRE_VERSION_6_0)


@pytest.fixture(scope="module")
def administrator(guarded_mongod):
    client = guarded_mongod.client(username="root", password="root")
    for user, role in (("writer", "readWrite"), ("reader", "read")):
        client.guarded.command("createUser", user, pwd="p", roles=[{"role": role, "db": "guarded"}])
    return client


def as_user(mongod, name) -> MongoClient:
    return mongod.client(username=name, password="p", authSource="guarded")


def test_who_may_not_set_options_is_told_so_and_can_work(guarded_mongod, administrator):
    administrator.guarded.uploads.insert_one({"_id": "old"})
    database = as_user(guarded_mongod, "writer").guarded
    notes = prepare(database, "uploads", wire_version=WIRE_VERSION_6_0, adopt=True)
    assert notes == [
        "no right to set validator and pre- and post-images on guarded.uploads (collMod): "
        "the event log may lack documents",
        "created 12 indexes on guarded.uploads",
    ]
    assert Uploads(database.uploads).add([new_upload()])


def test_who_may_only_read_is_told_so(guarded_mongod, administrator):
    administrator.guarded.other.insert_one({"_id": "old"})
    reader = as_user(guarded_mongod, "reader").guarded
    notes = prepare(reader, "other", wire_version=WIRE_VERSION_6_0, adopt=True)
    assert [note.partition(" on ")[0] for note in notes] == [
        "no right to set validator and pre- and post-images",
        "no right to create indexes",
    ]
