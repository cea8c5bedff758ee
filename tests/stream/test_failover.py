"""A replica set that loses its primary: the feed misses and repeats nothing, transitions wait and are not lost."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from pymongo import MongoClient, WriteConcern
from pymongo.errors import DuplicateKeyError, PyMongoError

from console.bson_decoding import EVENT_CODEC
from console.models import UploadStatus
from console.records.connection import WIRE_VERSION_6_0
from console.records.schema import prepare
from console.records.transitions import completed, failure
from console.records.uploads import Uploads
from console.records.writer import Progress, RecordWriter
from console.stream.feed import ChangeFeed
from tests.records.documents import add, claim_all, the
from tests.records.feeds import ids, opened, replay, take_until
from tests.replica_set_faults import kill_primary, step_down

PATIENCE = 60.0
DONE = completed(key="k", checksum=None, etag=None, version_id=None)


@pytest.fixture
def client(replica_set) -> Iterator[MongoClient[dict[str, Any]]]:
    with MongoClient(replica_set.uri, tz_aware=True, serverSelectionTimeoutMS=60_000) as client:
        yield client


class Inserter:
    """Inserts documents 0, 1, 2, ... one after the other until stopped, whatever happens to the server."""

    def __init__(self, collection) -> None:
        self._collection = collection.with_options(write_concern=WriteConcern("majority", wtimeout=30_000))
        self._stopped = threading.Event()
        self._written = threading.Semaphore(0)
        self.count = 0
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                # The first attempt may have been applied and only its answer lost.
                with suppress(DuplicateKeyError):
                    self._collection.insert_one({"_id": self.count})
            except PyMongoError:
                continue
            self.count += 1
            self._written.release()

    def wait_for(self, more: int) -> None:
        for _ in range(more):
            assert self._written.acquire(timeout=PATIENCE)

    def stop(self) -> int:
        self._stopped.set()
        self._thread.join()
        return self.count


@pytest.mark.parametrize("fault", [step_down, kill_primary])
def test_the_feed_misses_and_repeats_nothing(replica_set, client, fault):
    database = client[f"feed_{fault.__name__}"]
    things = database.create_collection("things", changeStreamPreAndPostImages={"enabled": True})
    feed = ChangeFeed(things, snapshot=lambda session: list(things.find(session=session)))
    feed.start()
    items = take_until(feed, opened)
    inserter = Inserter(things)
    try:
        inserter.wait_for(50)
        fault(replica_set)
        inserter.wait_for(50)  # there is a primary again
    finally:
        count = inserter.stop()
    items += take_until(feed, lambda items: count - 1 in ids(items))
    feed.close(3)
    assert ids(items) == list(range(count))
    assert replay(items) == {document["_id"]: document for document in things.find()}


@pytest.mark.parametrize("fault", [step_down, kill_primary])
def test_transitions_wait_for_a_new_primary(replica_set, client, fault):
    database = client.get_database(f"writer_{fault.__name__}", codec_options=EVENT_CODEC)
    prepare(database, "uploads", wire_version=WIRE_VERSION_6_0)
    uploads = Uploads(database.uploads)
    added = add(uploads, 40)
    lost: list[Any] = []
    writer = RecordWriter(
        uploads.collection, "a", on_lost=lambda upload_id, _: lost.append(upload_id), tick_seconds=0.05
    )
    try:
        counters = {}
        for upload in claim_all(uploads, "a"):
            counters[upload.id] = Progress(upload.size)
            writer.hold(upload.id, counters[upload.id], upload.attempts)
        outcomes = [writer.write(upload_id, failure("Before", "x")) for upload_id in added]
        fault(replica_set)
        for progress in counters.values():
            progress.confirmed(500)
        outcomes += [writer.write(upload_id, DONE, releases=True) for upload_id in added]
        assert [outcome.result(PATIENCE) for outcome in outcomes] == [True] * 80
    finally:
        writer.close(PATIENCE)
    assert lost == []
    assert {the(uploads, upload_id).status for upload_id in added} == {UploadStatus.COMPLETED}
    assert {the(uploads, upload_id).error for upload_id in added} == {None}, "an end came before what was before it"
