"""Events that a plain reader would stumble on: split ones, too large ones, broken ones, those of collections."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import pytest
from bson.raw_bson import RawBSONDocument
from pymongo.database import Database
from pymongo.errors import AutoReconnect, OperationFailure

from console.bson_decoding import Malformed, malformed_path
from console.events.event import ChangeEvent
from console.events.feed_items import Gap
from console.events.since import Start
from console.stream.feed import ChangeFeed
from console.stream.server import splits_large_events
from tests.records.feeds import events, ids, opened, take_until

Documents = Database[dict[str, Any]]
Feeds = Callable[..., ChangeFeed]


@pytest.fixture
def feeds() -> Iterator[Feeds]:
    with ExitStack() as stack:

        def make(target: Any, **options: Any) -> ChangeFeed:
            feed = ChangeFeed(target, **options)
            stack.callback(feed.close, 3)
            feed.start()
            return feed

        yield make


class FakeServer:
    """A collection, its client, and a server of a version that is not at hand. Plays one script for each stream."""

    def __init__(self, version: Sequence[int], wire_version: int, *scripts: Sequence[Mapping[str, Any] | Exception]):
        self.answers = {"hello": {"maxWireVersion": wire_version}, "buildInfo": {"versionArray": [*version, 0]}}
        self.scripts = list(scripts)
        self.asked: list[tuple[list[dict[str, Any]], dict[str, Any]]] = []

    @property
    def database(self) -> Any:
        return self

    client = admin = topology_description = database
    session_id: Mapping[str, Any] = {}

    def __enter__(self) -> FakeServer:
        return self

    def __exit__(self, *_: object) -> None: ...

    def has_writable_server(self) -> bool:
        return False

    def start_session(self, **_: Any) -> FakeServer:
        return self

    def with_options(self, **_: Any) -> FakeServer:
        return self

    def command(self, name: str) -> Mapping[str, Any]:
        return self.answers[name]

    def aggregate(self, pipeline: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return []  # no cursor of a process that was killed

    def watch(self, pipeline: list[dict[str, Any]], **options: Any) -> FakeStream:
        self.asked.append((pipeline, options))
        script = self.scripts.pop(0) if self.scripts else []
        if script and isinstance(script[0], OperationFailure):
            raise script[0]
        return FakeStream(script)


class FakeStream:
    alive = True
    resume_token = None

    def __init__(self, script: Sequence[Mapping[str, Any] | Exception]) -> None:
        self._script = list(script)

    def __enter__(self) -> FakeStream:
        return self

    def __exit__(self, *_: object) -> None: ...

    def try_next(self) -> Mapping[str, Any] | None:
        step = self._script.pop(0) if self._script else None
        if isinstance(step, Exception):
            raise step
        return step


def fragments(number: int) -> list[dict[str, Any]]:
    """An event in three fragments, as the manual shows them."""
    head = {"operationType": "update", "documentKey": {"_id": number}, "ns": {"db": "d", "coll": "c"}}
    parts = [head, {"fullDocumentBeforeChange": {"_id": number}}, {"fullDocument": {"_id": number, "n": 1}}]
    return [
        {"_id": {"_data": f"{number}-{index}"}, "splitEvent": {"fragment": index, "of": 3}, **part}
        for index, part in enumerate(parts, 1)
    ]


class TestSplitEvents:
    """Servers from 6.0.9 and 7.0 on split what is too large; it is joined again."""

    @pytest.mark.parametrize(
        ("wire_version", "version", "splits"),
        [
            (13, (5, 0, 9), False),
            (17, (6, 0, 5), False),
            (17, (6, 0, 9), True),
            (17, (6, 0, 20), True),
            (17, (), False),
            (19, (6, 2, 9), False),
            (21, (7, 0, 0), True),
            (25, (8, 0, 0), True),
        ],
    )
    def test_which_servers_split(self, wire_version: int, version: Sequence[int], splits: bool) -> None:
        assert splits_large_events(wire_version, version) is splits

    def test_fragments_become_one_event(self, feeds: Feeds) -> None:
        whole = {"_id": {"_data": "0"}, "operationType": "insert", "documentKey": {"_id": 0}}
        server = FakeServer((7, 0, 2), 21, [whole, *fragments(1), *fragments(2)])
        feed = feeds(server, pipeline=[{"$match": {}}], start=Start(token={"_data": "x"}))
        seen = events(take_until(feed, lambda items: len(ids(items)) == 3))
        assert [event.document_id for event in seen] == [0, 1, 2]
        assert seen[1].before == {"_id": 1}
        assert seen[1].after == {"_id": 1, "n": 1}
        assert seen[1].token == {"_data": "1-3"}
        assert "splitEvent" not in seen[1].raw
        assert feed.position == Start(token={"_data": "2-3"})
        (pipeline, _), *_ = server.asked
        assert pipeline == [{"$match": {}}, {"$changeStreamSplitLargeEvent": {}}]

    def test_a_stream_that_breaks_between_fragments_gives_the_event_once(self, feeds: Feeds) -> None:
        first = fragments(1)
        server = FakeServer((6, 0, 9), 17, [*first, *fragments(2)[:2], AutoReconnect("away")], fragments(2))
        feed = feeds(server, start=Start(token={"_data": "x"}))
        seen = events(take_until(feed, lambda items: len(ids(items)) == 2))
        assert [event.document_id for event in seen] == [1, 2]
        assert seen[1].before == {"_id": 2}
        assert [options["start_after"] for _, options in server.asked[:2]] == [{"_data": "x"}, {"_data": "1-3"}]

    def test_a_server_that_does_not_know_the_stage_is_asked_without(self, feeds: Feeds) -> None:
        unknown = OperationFailure("Unrecognized pipeline stage name", 40324)
        server = FakeServer((7, 0, 0), 21, [unknown], [{"_id": {"_data": "1"}, "documentKey": {"_id": 1}}])
        feed = feeds(server, start=Start(token={"_data": "x"}))
        assert ids(take_until(feed, ids)) == [1]
        assert [pipeline for pipeline, _ in server.asked[:2]] == [[{"$changeStreamSplitLargeEvent": {}}], []]

    def test_what_is_wrong_without_it_too_ends_the_feed(self, feeds: Feeds) -> None:
        wrong = OperationFailure("unknown operator: $bogus", 2)
        feed = feeds(FakeServer((7, 0, 0), 21, [wrong], [wrong]), start=Start(token={"_data": "x"}))
        take_until(feed, bool)
        assert feed.error is wrong

    def test_an_older_server_is_not_asked(self, feeds: Feeds) -> None:
        server = FakeServer((6, 0, 5), 17, [])
        take_until(feeds(server, start=Start(token={"_data": "x"})), opened)
        assert server.asked[0][0] == []


def gaps(items: Sequence[Any]) -> list[Gap]:
    return [item for item in items if isinstance(item, Gap)]


class TestEventsThatCannotBeRead:
    """The others come whole."""

    @pytest.fixture
    def things(self, database: Documents) -> Any:
        return database.create_collection("things", changeStreamPreAndPostImages={"enabled": True})

    def test_over_16_mib_of_documents(self, things: Any, feeds: Feeds) -> None:
        feed = feeds(things)
        take_until(feed, opened)
        things.insert_one({"_id": "large\x1b", "bytes": bytes(9_000_000)})
        things.update_one({}, {"$set": {"n": 1}})
        things.insert_one({"_id": "next"})
        items = take_until(feed, lambda items: "next" in ids(items))
        _, large, following = events(items)
        assert (large.operation, large.before, large.after) == ("update", None, None)
        assert large.update is not None
        assert large.update["updatedFields"] == {"n": 1}
        assert following.after == {"_id": "next"}
        (gap,) = gaps(items)
        assert items.index(gap) == items.index(large) + 1
        assert gap.reason == (
            f'an event of over 16 MiB, shown without its documents: update {things.full_name} "large\\x1b"'
        )

    def test_no_valid_bson(self, database: Documents, things: Any, feeds: Feeds) -> None:
        """A binary of the old kind (subtype 2) whose inner length is wrong: servers store it, drivers refuse it."""
        feed = feeds(things)
        take_until(feed, opened)
        body = b"\x02_id\0" + struct.pack("<i", 4) + b"odd\0" + b"\x05b\0" + struct.pack("<i", 3) + b"\x02xxx"
        odd = RawBSONDocument(struct.pack("<i", len(body) + 5) + body + b"\0")
        database.command("insert", "things", documents=[{"_id": 1}, odd, {"_id": 2}])
        database.command("insert", "things", documents=[{"_id": 3, "n": 3}])
        items = take_until(feed, lambda items: 3 in ids(items))
        assert ids(items) == [1, "odd", 2, 3]
        first, odd_event, _, last = events(items)
        assert odd_event.operation == "insert"
        assert odd_event.after == {"_id": "odd", "b": Malformed(struct.pack("<i", 3) + b"\x02xxx")}
        assert malformed_path(odd_event.after) == "b"
        assert (first.after, last.after) == ({"_id": 1}, {"_id": 3, "n": 3})
        assert not gaps(items)

    def test_the_place_behind_it_is_one_to_go_on_from(self, things: Any, feeds: Feeds) -> None:
        feed = feeds(things)
        take_until(feed, opened)
        things.insert_one({"_id": 1, "bytes": bytes(9_000_000)})
        things.update_one({}, {"$set": {"n": 1}})
        take_until(feed, gaps)
        things.insert_one({"_id": 2})
        again = feeds(things, start=feed.position)
        items = take_until(again, ids)
        assert ids(items) == [2]
        assert not gaps(items)


def test_an_invalidation_that_the_pipeline_drops_does_not_hold_up(database: Documents, feeds: Feeds) -> None:
    database.things.insert_one({"_id": 0})
    feed = feeds(database.things, pipeline=[{"$match": {"operationType": "insert"}}])
    take_until(feed, opened)
    database.things.drop()
    database.things.insert_one({"_id": 1})
    assert ids(take_until(feed, ids)) == [1]


def test_events_of_collections_and_indexes_come_when_asked_for(database: Documents, feeds: Feeds) -> None:
    plain, expanded = feeds(database), feeds(database, expanded=True)
    for feed in (plain, expanded):
        take_until(feed, opened)
    database.create_collection("things")
    database.things.create_index("a")
    database.command("collMod", "things", index={"name": "a_1", "hidden": True})
    database.things.drop_index("a_1")
    database.things.drop()

    def operations(feed: ChangeFeed) -> list[str]:
        def dropped(items: Sequence[Any]) -> bool:
            return any(isinstance(item, ChangeEvent) and item.operation == "drop" for item in items)

        return [event.operation for event in events(take_until(feed, dropped))]

    assert operations(plain) == ["drop"]
    assert operations(expanded) == ["create", "createIndexes", "modify", "dropIndexes", "drop"]
