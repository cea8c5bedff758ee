"""Whether images are kept, why an event has none, and turning them on, on a real server."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.database import Database
from pymongo.errors import OperationFailure

from console.events.event import ChangeEvent
from console.formatting import visible
from console.stream.feed import ChangeFeed
from console.stream.server import Images, ImagesOf, command_text, enable, images_of
from tests.records.feeds import events, opened, take_until
from tests.records.servers import failing, running_mongod

Documents = Database[dict[str, Any]]
KEEPING = {"enabled": True}


def test_what_is_kept(database: Documents) -> None:
    client = database.client
    database.create_collection("with", changeStreamPreAndPostImages=KEEPING)
    database.create_collection("with.out")
    database.create_collection("view", viewOn="with", pipeline=[])
    database.create_collection("series", timeseries={"timeField": "at"})
    seen = {name: images_of(client, f"{database.name}.{name}") for name in ("with", "with.out", "view", "series", "no")}
    assert {name: images.images for name, images in seen.items()} == {
        "with": Images.ON,
        "with.out": Images.OFF,
        "view": Images.NO_COLLECTION,
        "series": Images.NO_COLLECTION,
        "no": Images.NO_COLLECTION,
    }
    assert [name for name, images in seen.items() if images.can_be_enabled] == ["with.out"]
    assert seen["with"].lifetime is None
    assert images_of(client, database.name).images is Images.NO_COLLECTION
    assert images_of(client, "").images is Images.NO_COLLECTION


def test_turning_them_on(database: Documents) -> None:
    database.plain.insert_one({"_id": 1, "n": 0})
    namespace = f"{database.name}.plain"
    feed = ChangeFeed(database.plain)
    feed.start()
    try:
        take_until(feed, opened)
        database.plain.update_one({}, {"$inc": {"n": 1}})
        (before,) = events(take_until(feed, events))
        images = images_of(database.client, namespace)
        assert images.why_missing(before, datetime.now(UTC)) == f"{namespace} keeps no pre- and post-images."
        enable(database.client, namespace)
        database.plain.update_one({}, {"$inc": {"n": 1}})
        (after,) = events(take_until(feed, events))
    finally:
        feed.close(3)
    assert (after.before, after.after) == ({"_id": 1, "n": 1}, {"_id": 1, "n": 2})
    images = images_of(database.client, namespace)
    assert images == ImagesOf(namespace, Images.ON)
    assert "kept no images when this happened" in images.why_missing(before, datetime.now(UTC))
    assert images.why_missing(after, datetime.now(UTC)) == ""
    with pytest.raises(OperationFailure, match="ns does not exist"):
        enable(database.client, f"{database.name}.gone")


def test_the_command_says_what_enable_does() -> None:
    assert command_text("shop.orders.new") == (
        'db.getSiblingDB("shop").runCommand({ collMod: "orders.new", changeStreamPreAndPostImages: { enabled: true } })'
    )
    odd = command_text('shop.a"b\x1b[31m\x7f\u202eü')
    assert visible(odd) == odd
    assert odd.isascii()
    assert r"a\"b\u001b[31m\u007f\u202e\u00fc" in odd


@pytest.fixture(scope="module")
def forgetful() -> Iterator[MongoClient[dict[str, Any]]]:
    """A server that lets images expire after a second, and looks for them every second."""
    expiry = ("--setParameter", "expiredChangeStreamPreImageRemovalJobSleepSecs=1")
    with running_mongod(*expiry, "--setParameter", "enableTestCommands=1") as mongod:
        client = mongod.client()
        lifetime = {"preAndPostImages": {"expireAfterSeconds": 1}}
        client.admin.command("setClusterParameter", {"changeStreamOptions": lifetime})
        yield client


def test_expired_images_are_told_apart(forgetful: MongoClient[dict[str, Any]]) -> None:
    collection = forgetful.images.create_collection("c", changeStreamPreAndPostImages=KEEPING)
    with collection.watch() as stream:
        start = stream.resume_token
    collection.insert_one({"_id": 1, "n": 0})
    collection.update_one({"_id": 1}, {"$inc": {"n": 1}})

    def update() -> ChangeEvent:
        with collection.watch(
            full_document="whenAvailable", full_document_before_change="whenAvailable", start_after=start
        ) as stream:
            stream.next()
            return ChangeEvent.from_raw(stream.next())

    deadline = datetime.now(UTC) + timedelta(seconds=60)
    while not (event := update()).lacks_before:
        assert datetime.now(UTC) < deadline
    images = images_of(forgetful, "images.c")
    assert images == ImagesOf("images.c", Images.ON, timedelta(seconds=1))
    assert images.why_missing(event, datetime.now(UTC)) == "Expired: the server keeps images for 1s."


def test_who_may_not_ask_is_told_so(forgetful: MongoClient[dict[str, Any]]) -> None:
    with failing(forgetful, 1, failCommands=["listCollections"], errorCode=13):
        images = images_of(forgetful, "shop.orders")
    assert images.images is Images.UNKNOWN
    assert images.can_be_enabled
