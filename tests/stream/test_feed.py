"""The change feed on one server: snapshot and stream, order, position, backpressure, drops, gaps, its end."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from typing import Any

import pytest
from bson import ObjectId, Timestamp
from pymongo import MongoClient
from pymongo.errors import DuplicateKeyError, OperationFailure

from console.embedded.lifetime import LOOPBACK, free_port
from console.events.event import ChangeEvent
from console.events.feed_items import FeedItem, FeedState, Gap, Snapshot
from console.stream.feed import ChangeFeed, Start
from tests.faults.world import wait_for
from tests.records.documents import add
from tests.records.feeds import PATIENCE, events, ids, opened, replay, take_until
from tests.records.servers import failing, running_mongod


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch):
    """A feed ends between two answers of the server: with these many feeds let them come sooner."""
    monkeypatch.setattr("console.stream.feed._AWAIT_MILLISECONDS", 50)


@pytest.fixture
def feeds() -> Iterator[Callable[..., ChangeFeed]]:
    with ExitStack() as stack:

        def make(target, **options) -> ChangeFeed:
            feed = ChangeFeed(target, **options)
            # Until it has ended: one that is still reading would meet the faults of the next test.
            stack.callback(feed.close, PATIENCE)
            feed.start()
            return feed

        yield make


@pytest.fixture
def things(database):
    return database.create_collection("things", changeStreamPreAndPostImages={"enabled": True})


def everything(collection) -> Callable[[Any], list[dict[str, Any]]]:
    return lambda session: list(collection.find(session=session))


def test_snapshot_then_state_then_events(things, feeds):
    things.insert_one({"_id": 1, "n": 0})
    feed = feeds(things, snapshot=everything(things))
    items = take_until(feed, opened)
    assert items == [Snapshot([{"_id": 1, "n": 0}]), FeedState(connected=True)]
    things.update_one({"_id": 1}, {"$set": {"n": 1}})
    things.replace_one({"_id": 1}, {"n": 2})
    things.delete_one({"_id": 1})
    update, replace, delete = events(take_until(feed, lambda items: len(items) == 3))
    assert (update.operation, update.before, update.after) == ("update", {"_id": 1, "n": 0}, {"_id": 1, "n": 1})
    assert (replace.operation, replace.before, replace.after) == ("replace", {"_id": 1, "n": 1}, {"_id": 1, "n": 2})
    assert (delete.operation, delete.before, delete.after) == ("delete", {"_id": 1, "n": 2}, None)


def test_the_after_document_is_that_of_the_event_not_of_now(things, feeds):
    feed = feeds(things)
    take_until(feed, opened)
    things.insert_one({"_id": 1, "n": 0})
    for number in range(1, 4):
        things.update_one({"_id": 1}, {"$set": {"n": number}})
    things.delete_one({"_id": 1})
    seen = events(take_until(feed, lambda items: len(items) == 5))
    assert [event.after and event.after["n"] for event in seen] == [0, 1, 2, 3, None]


def test_without_images_only_what_changed_comes(things, feeds):
    feed = feeds(things, images=False)
    take_until(feed, opened)
    things.insert_one({"_id": 1})
    things.update_one({"_id": 1}, {"$set": {"n": 1}})
    _, update = events(take_until(feed, lambda items: len(items) == 2))
    assert (update.before, update.after, update.update["updatedFields"]) == (None, None, {"n": 1})


def test_images_that_are_not_kept_are_no_error(database, feeds):
    feed = feeds(database.plain)
    take_until(feed, opened)
    database.plain.insert_one({"_id": 1})
    database.plain.update_one({"_id": 1}, {"$set": {"n": 1}})
    _, update = events(take_until(feed, lambda items: len(items) == 2))
    assert update.lacks_before


@pytest.mark.parametrize("seed", range(4))
def test_snapshot_and_events_together_are_the_collection(things, feeds, seed):
    """Writers go on before, while and after the snapshot is read: nothing is missing from the two together."""
    chance = random.Random(seed)
    things.insert_many([{"_id": number, "n": 0} for number in range(20)])
    under_way = threading.Semaphore(0)

    def write(steps: list[tuple[str, int]]) -> None:
        for operation, number in steps:
            under_way.release()
            if operation == "insert":
                with suppress(DuplicateKeyError):
                    things.insert_one({"_id": number, "n": 0})
            elif operation == "delete":
                things.delete_one({"_id": number})
            elif operation == "replace":
                things.replace_one({"_id": number}, {"n": chance.random()})
            else:
                things.update_many({"_id": {"$gte": number}}, {"$inc": {"n": 1}})

    kinds = ("insert", "delete", "replace", "update")
    threads = [
        threading.Thread(target=write, args=[[(chance.choice(kinds), chance.randrange(30)) for _ in range(60)]])
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for _ in range(40):
        under_way.acquire()
    feed = feeds(things, snapshot=everything(things))
    for thread in threads:
        thread.join()
    things.insert_one({"_id": "last"})
    items = take_until(feed, lambda items: "last" in replay(items))
    assert isinstance(items[0], Snapshot)
    assert replay(items) == {document["_id"]: document for document in things.find()}


def test_the_window_of_uploads_is_a_snapshot(uploads, feeds):
    (before,) = add(uploads)
    feed = feeds(uploads.collection, snapshot=uploads.window)
    assert before in replay(take_until(feed, opened))
    (after,) = add(uploads)
    assert after in replay(take_until(feed, ids))


def test_events_wait_for_a_slow_consumer_and_none_is_lost(things, feeds):
    feed = feeds(things, capacity=10)
    take_until(feed, opened)
    things.insert_many([{"_id": number} for number in range(3000)])
    seen: list[Any] = []
    while len(seen) < 3000:
        batch = feed.take(30, most=7)
        assert len(batch) <= 7
        seen += ids(batch)
    assert seen == list(range(3000))


def test_a_feed_that_waits_for_room_can_be_closed(things, feeds):
    feed = feeds(things, capacity=2)
    take_until(feed, opened)
    things.insert_many([{"_id": number} for number in range(100)])
    with feed._changed:
        assert feed._changed.wait_for(lambda: len(feed._items) == 2, PATIENCE)
    feed.close(30)
    assert not feed._thread.is_alive()


def test_position_is_behind_what_was_taken_not_behind_what_was_read(things, feeds):
    feed = feeds(things, snapshot=everything(things))
    take_until(feed, opened)
    things.insert_many([{"_id": number} for number in range(50)])
    taken = ids(take_until(feed, lambda items: len(ids(items)) >= 20, most=20))
    kept = feed.position
    rest = ids(take_until(feed, lambda items: len(ids(items)) == 50 - len(taken)))
    feed.close(3)
    assert feed.position != kept
    again = feeds(things, start=kept, snapshot=everything(things))
    items = take_until(again, lambda items: len(ids(items)) == 50 - len(taken))
    assert not [item for item in items if isinstance(item, Snapshot)]
    assert ids(items) == rest == list(range(len(taken), 50))


def test_position_moves_on_while_nothing_matches(database, things, feeds):
    feed = feeds(things)
    take_until(feed, opened)
    first = feed.position
    while feed.position == first:
        database.other.insert_one({})
        assert feed.take(0.05) == []
    kept = feed.position
    things.insert_one({"_id": 1})
    assert ids(take_until(feeds(things, start=kept), ids)) == [1]


def test_a_snapshot_that_was_taken_is_not_read_again(things, feeds):
    things.insert_one({"_id": 1})
    feed = feeds(things, snapshot=everything(things))
    take_until(feed, lambda items: isinstance(items[0], Snapshot), most=1)
    kept = feed.position
    things.insert_one({"_id": 2})
    items = take_until(feeds(things, start=kept, snapshot=everything(things)), ids)
    assert ids(items) == [2]
    assert not [item for item in items if isinstance(item, Snapshot)]


def test_a_start_in_the_past_brings_what_happened_since(database, things, feeds):
    things.insert_one({"_id": 1})
    noted = database.client.admin.command("ping")["operationTime"]
    things.insert_one({"_id": 2})
    since = Start(at=Timestamp(noted.time, noted.inc + 1))
    assert ids(take_until(feeds(things, start=since), ids)) == [2]


def test_a_pipeline_of_ones_own(things, feeds):
    feed = feeds(things, pipeline=[{"$match": {"fullDocument.n": {"$gt": 1}}}])
    take_until(feed, opened)
    things.insert_many([{"_id": number, "n": number} for number in range(4)])
    assert ids(take_until(feed, lambda items: len(items) == 2)) == [2, 3]


def test_a_dropped_collection_is_seen_and_its_successor_followed(database, things, feeds):
    feed = feeds(things)
    take_until(feed, opened)
    things.insert_one({"_id": 1})
    things.drop()
    seen = events(take_until(feed, lambda items: "invalidate" in operations(items)))
    assert [event.operation for event in seen] == ["insert", "drop", "invalidate"]
    kept = feed.position
    database.things.insert_one({"_id": 2})
    assert ids(take_until(feed, ids)) == [2]
    assert ids(take_until(feeds(database.things, start=kept), ids)) == [2]
    for event in seen:  # each of them is a place to go on from, the invalidate event too
        assert ids(take_until(feeds(database.things, start=Start(token=event.token)), lambda items: 2 in ids(items)))


def test_a_drop_that_the_pipeline_keeps_from_us_is_passed_by(database, things, feeds):
    """The server ends the stream all the same: at once, where one begins in the past and nothing passes before."""
    at = database.client.admin.command("ping")["operationTime"]
    things.insert_one({"_id": 1})
    things.drop()
    database[things.name].insert_one({"_id": 2})
    database[things.name].update_one({"_id": 2}, {"$set": {"n": 1}})
    feed = feeds(things, pipeline=[{"$match": {"operationType": "update"}}], start=Start(at=at))
    items = take_until(feed, lambda items: any(isinstance(item, Gap | ChangeEvent) for item in items))
    assert [event.document_id for event in events(items)] == [2]
    assert not [item for item in items if isinstance(item, Gap)]


def test_a_renamed_collection_is_seen_and_the_name_followed(database, things, feeds):
    feed = feeds(things)
    take_until(feed, opened)
    things.rename("renamed")
    seen = events(take_until(feed, lambda items: "invalidate" in operations(items)))
    assert [event.operation for event in seen] == ["rename", "invalidate"]
    assert seen[0].renamed_to == f"{database.name}.renamed"
    database.renamed.insert_one({"_id": "not here"})
    database.things.insert_one({"_id": "here"})
    assert ids(take_until(feed, ids)) == ["here"]


def test_a_dropped_database_is_seen_and_its_successor_followed(database, feeds):
    database.things.insert_one({"_id": 0})
    feed = feeds(database)
    take_until(feed, opened)
    database.client.drop_database(database)
    seen = operations(take_until(feed, lambda items: "invalidate" in operations(items)))
    assert seen == ["drop", "dropDatabase", "invalidate"]
    database.things.insert_one({"_id": 1})
    assert ids(take_until(feed, ids)) == [1]


def test_a_whole_deployment_is_followed(database, feeds):
    feed = feeds(database.client, pipeline=[{"$match": {"ns.db": database.name}}])
    take_until(feed, opened)
    database.one.insert_one({"_id": 1})
    database.two.insert_one({"_id": 2})
    seen = events(take_until(feed, lambda items: len(ids(items)) == 2))
    assert [event.namespace for event in seen if event.operation == "insert"] == [
        f"{database.name}.one",
        f"{database.name}.two",
    ]


def test_an_event_with_more_than_16_mib_of_documents_comes_without_them(things, feeds):
    feed = feeds(things)
    take_until(feed, opened)
    things.insert_many([{"_id": "large", "bytes": bytes(9_000_000)}, {"_id": "before"}])
    things.update_one({"_id": "before"}, {"$set": {"n": 1}})
    things.update_one({"_id": "large"}, {"$set": {"n": 1}})
    things.update_one({"_id": "before"}, {"$set": {"n": 2}})
    seen = events(take_until(feed, lambda items: len(ids(items)) == 5))
    assert ids(seen) == ["large", "before", "before", "large", "before"]
    assert [event.after is not None for event in seen] == [True, True, True, False, True]
    assert seen[3].update["updatedFields"] == {"n": 1}


def operations(items: list[FeedItem]) -> list[str]:
    return [item.operation for item in items if isinstance(item, ChangeEvent)]


def ends(items: list[FeedItem]) -> bool:
    return isinstance(items[-1], FeedState) and items[-1].ended


def test_history_that_the_oplog_has_let_go_of_makes_a_gap_and_a_new_snapshot(feeds):
    # The oplog is cut back only behind a checkpoint, of which there is one every `syncdelay` seconds.
    with running_mongod(
        "--oplogSize", "1", "--syncdelay", "1", "--setParameter", "minSnapshotHistoryWindowInSeconds=0"
    ) as mongod:
        database = mongod.client().gaps
        database.things.insert_one({"_id": 1})
        first = feeds(database.things)
        take_until(first, opened)
        kept = first.position
        first.close()
        oplog = database.client.local["oplog.rs"]
        before = database.client.admin.command("ping")["operationTime"]
        while oplog.find_one(sort=[("$natural", 1)])["ts"] <= before:
            database.other.insert_many([{"bytes": bytes(100_000)} for _ in range(5)])
        feed = feeds(database.things, start=kept, snapshot=everything(database.things))
        items = take_until(feed, lambda items: any(isinstance(item, Snapshot) for item in items))
        (gap,) = [item for item in items if isinstance(item, Gap)]
        assert gap.since is None
        assert gap.until is not None
        assert "history" in gap.reason or "oplog" in gap.reason
        assert Snapshot([{"_id": 1}]) in items[items.index(gap) :]
        database.things.insert_one({"_id": 2})
        assert ids(take_until(feed, ids)) == [2]
        feed.close(3)


def test_the_token_of_another_stream_tells_the_time_to_go_on_from(database, things, feeds):
    """Nothing that happened since is missed, and nothing from before comes again."""
    other = database.create_collection("other")
    things.insert_one({"_id": "before"})
    with other.watch() as stream:
        other.insert_one({})
        token = stream.next()["_id"]
    things.insert_one({"_id": 1})
    feed = feeds(things, start=Start(token=token), snapshot=everything(things))
    items = take_until(feed, ids)
    assert ids(items) == [1]
    assert not [item for item in items if isinstance(item, Gap | Snapshot)]


def test_another_filter_behind_a_token_misses_nothing(database, things, feeds):
    deletes = feeds(things, pipeline=[{"$match": {"operationType": "delete"}}])
    take_until(deletes, opened)
    things.insert_many([{"_id": 1}, {"_id": 2}])
    things.delete_one({"_id": 1})
    take_until(deletes, ids)
    things.insert_many([{"_id": 3}, {"_id": 4}])
    inserts = feeds(things, start=deletes.position, pipeline=[{"$match": {"operationType": "insert"}}])
    items = take_until(inserts, lambda items: 4 in ids(items))
    assert ids(items) == [3, 4]
    assert not [item for item in items if isinstance(item, Gap)]


def test_a_collection_that_takes_the_place_is_a_new_snapshot(database, things, feeds):
    things.insert_many([{"_id": 1}, {"_id": 2}])
    feed = feeds(things, snapshot=everything(things))
    take_until(feed, opened)
    list(things.aggregate([{"$match": {"_id": 2}}, {"$out": things.name}]))
    items = take_until(feed, lambda items: any(isinstance(item, Snapshot) for item in items))
    assert [item for item in items if isinstance(item, Snapshot)][-1] == Snapshot([{"_id": 2}])
    assert not [item for item in items if isinstance(item, Gap)]
    things.insert_one({"_id": 3})
    assert 3 in ids(take_until(feed, ids))


def test_listeners_share_the_stream(things, feeds):
    heard = []
    feed = ChangeFeed(things)
    feed.attach(heard.append)
    feed.start()
    try:
        take_until(feed, opened)
        things.insert_one({"_id": 1})
        assert ids(take_until(feed, ids)) == ids(heard) == [1]
    finally:
        feed.close(3)


def test_no_cursor_stays_on_the_server(things, feeds):
    feed = feeds(things)
    take_until(feed, opened)
    assert cursors(things) == 1
    feed.close()
    until = time.monotonic() + 5
    while cursors(things) and time.monotonic() < until:  # the server notices when it has waited for two seconds
        time.sleep(0.05)
    assert cursors(things) == 0


def cursors(collection) -> int:
    """Of streams of that collection, waiting or being read."""
    pipeline = [
        {"$currentOp": {"idleCursors": True, "allUsers": True}},
        {"$match": {"ns": collection.full_name, "cursor.cursorId": {"$exists": True}}},
    ]
    return len(list(collection.database.client.admin.aggregate(pipeline)))


def test_a_pipeline_that_the_server_refuses_ends_the_feed(things, feeds):
    feed = feeds(things, pipeline=[{"$match": {"n": {"$bogus": 1}}}])
    (state,) = take_until(feed, ends)
    assert "unknown operator: $bogus" in state.message
    assert isinstance(feed.error, OperationFailure)
    assert feed.take(0) == []


def test_a_token_that_is_none_ends_the_feed(things, feeds):
    feed = feeds(things, start=Start(token={"_data": "nonsense"}))
    assert "token" in take_until(feed, ends)[-1].message.lower()


def test_a_snapshot_that_cannot_be_read_ends_the_feed(things, feeds):
    def fail(session):
        raise ValueError("odd\x1b[31m")

    feed = feeds(things, snapshot=fail)
    (state,) = take_until(feed, ends)
    assert state.message == r"ValueError: odd\x1b[31m"
    assert feed.error is not None


class TestFaults:
    """Commands that fail as a server in trouble lets them fail."""

    @pytest.fixture
    def admin(self, faulty_mongod):
        return faulty_mongod.client()

    @pytest.fixture
    def stream(self, faulty_uploads):
        return faulty_uploads.collection

    def test_history_lost_in_the_middle_is_a_gap_since_the_last_event(self, admin, stream, feeds):
        feed = feeds(stream.database.gaps, snapshot=lambda session: [])
        take_until(feed, opened)
        stream.database.gaps.insert_one({})
        (event,) = events(take_until(feed, ids))
        with failing(admin, 1, failCommands=["getMore"], errorCode=286):
            gap, snapshot = take_until(feed, lambda items: len(items) == 2)
        assert isinstance(gap, Gap)
        assert gap.since == event.time
        assert isinstance(snapshot, Snapshot)
        stream.database.gaps.insert_one({"_id": 2})
        assert ids(take_until(feed, ids)) == [2]

    def test_history_that_stays_lost_is_not_asked_for_without_pause(self, admin, stream, feeds):
        with failing(admin, 3, failCommands=["aggregate"], errorCode=286):
            items = take_until(feeds(stream, start=Start(at=Timestamp(1, 1))), opened)
        assert [type(item) for item in items].count(Gap) >= 3
        assert isinstance(items[-1], FeedState)

    @pytest.mark.parametrize("code", [13, 18, 40573])
    def test_who_may_not_watch_is_told_so_once(self, admin, stream, feeds, code):
        with failing(admin, 1, failCommands=["aggregate"], errorCode=code):
            feed = feeds(stream)
            (state,) = take_until(feed, ends)
        assert not state.connected
        assert feed.error.code == code

    @pytest.mark.parametrize(
        "fault",
        [
            {"errorCode": 189},
            {"errorCode": 10107},
            {"errorCode": 43},
            {"errorCode": 234, "errorLabels": ["ResumableChangeStreamError"]},
            {"errorCode": 50},
            {"errorCode": 8000},
            {"closeConnection": True},
        ],
        ids=["stepped down", "not primary", "cursor gone", "retry", "time limit", "odd", "connection"],
    )
    def test_a_stream_that_breaks_goes_on_behind_its_last_event(self, admin, stream, feeds, fault):
        things = stream.database[f"{stream.name}_things"]
        things.drop()
        feed = feeds(things)
        take_until(feed, opened)
        things.insert_many([{"_id": number} for number in range(10)])
        seen = ids(take_until(feed, lambda items: len(ids(items)) == 10))
        with failing(admin, 3, failCommands=["getMore"], **fault):
            things.insert_many([{"_id": number} for number in range(10, 20)])
            seen += ids(take_until(feed, lambda items: len(ids(items)) == 10))
        things.insert_one({"_id": 20})
        seen += ids(take_until(feed, ids))
        assert seen == list(range(21))

    def test_a_server_that_is_just_starting_is_waited_for(self, admin, stream, feeds):
        with failing(admin, 2, failCommands=["aggregate"], errorCode=134):
            feed = feeds(stream)
            items = take_until(feed, opened)
        assert [item.connected for item in items if isinstance(item, FeedState)][-1]
        assert feed.error is None

    def test_a_server_that_is_away_is_told_of_and_waited_for(self, faulty_mongod, feeds):
        things = faulty_mongod.client().faults.away
        things.drop()
        # It finds the server within 0.3 s or says that it is away: `opened` waits for the former.
        feed = feeds(faulty_mongod.client(serverSelectionTimeoutMS=300).faults.away)
        take_until(feed, opened)
        faulty_mongod.process.kill()
        refused = f"{faulty_mongod.address}: [Errno 111] Connection refused"
        try:
            # The connection that breaks may be told of first, as reset or closed.
            lost = take_until(feed, lambda items: FeedState(connected=False, message=refused) in items)
        finally:
            faulty_mongod.restart()
        assert not any(item.connected for item in lost if isinstance(item, FeedState))
        things.insert_one({"_id": 1})
        items = take_until(feed, ids)
        assert FeedState(connected=True) in items
        assert ids(items) == [1]


def test_closing_waits_for_no_server(feeds, monkeypatch):
    """The reader is looking for a server, which it would do for longer than this test may take."""
    looks = threading.Event()
    monkeypatch.setattr(logging.getLogger("pymongo.serverSelection"), "isEnabledFor", lambda level: looks.set())
    with MongoClient(f"{LOOPBACK}:{free_port()}", serverSelectionTimeoutMS=3_600_000) as client:
        feed = feeds(client.faults.closing)
        assert looks.wait(PATIENCE)
        feed.close(3)
        assert feed.take(3600) == []


def test_an_id_may_be_anything(things, feeds):
    feed = feeds(things)
    take_until(feed, opened)
    odd = [ObjectId(), "x\x1b", {"a": 1}, 1.5]
    things.insert_many([{"_id": value} for value in odd])
    assert [event.document_id for event in events(take_until(feed, lambda items: len(items) == 4))] == odd


def test_a_burst_that_waits_is_whole_when_it_is_taken(things, feeds):
    feed = feeds(things)
    heard: list[Any] = []
    feed.attach(lambda item: heard.extend(ids([item])))
    take_until(feed, opened)
    things.insert_many(
        [{"_id": number, "text": f"\x1b {number}", "more": {"list": [number]}} for number in range(2000)]
    )
    wait_for(lambda: len(heard) == 2000, "all read")
    seen: list[ChangeEvent] = []
    while len(seen) < 2000:
        seen += [item for item in feed.take(30) if isinstance(item, ChangeEvent)]
    assert [event.after for event in seen] == list(things.find().sort("_id"))


def test_large_events_that_wait_take_a_bounded_room(things, feeds):
    feed = feeds(things)
    heard: list[Any] = []
    feed.attach(lambda item: heard.extend(ids([item])))
    take_until(feed, opened)
    for number in range(40):
        things.insert_one({"_id": number, "bytes": bytes(1_000_000)})
    wait_for(lambda: len(heard) >= 4, "as many as there is room for")
    seen: list[Any] = []
    while len(seen) < 40:
        batch = feed.take(30)
        assert len(batch) <= 3  # so many are decoded at a time
        seen += ids(batch)
        # What nobody has taken yet waits in the server, not in this process.
        assert len(heard) <= len(seen) + 8
    assert seen == list(range(40))
