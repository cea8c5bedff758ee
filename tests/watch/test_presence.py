"""How watches are seen, and paused, from other hosts."""

from __future__ import annotations

import os
import struct
import threading
from datetime import UTC, datetime
from typing import Any

import bson
import pytest
from bson import Code, DatetimeMS, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from bson.raw_bson import RawBSONDocument
from pymongo.errors import AutoReconnect

from console.commands.console.live_backend import ConsoleBackend
from console.errors import MongoUnsuitable, UsageError
from console.files.refusals import Refusal
from console.records import watches as presence_module
from console.records.identity import RunnerIdentity
from console.records.runners import Limits
from console.records.watches import HeartbeatReply, Presence, WatchHeartbeat
from console.runner.runner import Runner
from console.stream.feed import ChangeFeed
from console.ui.screens.watches_screen import WatchRows
from console.watch.reporting import NoteKind
from console.watch.service import WatchService
from console.watch.watcher import State
from tests.watch.conftest import HOST, World
from tests.watch.waiting import until

HEARTBEAT = WatchHeartbeat("/in", "s3://b/p", "watching", pending=3, sent=4, refused=1)


@pytest.fixture
def presence(world: World) -> Presence:
    return Presence.of(world.records.uploads)


def test_a_heartbeat_is_read_as_it_was_told(presence: Presence) -> None:
    told = WatchHeartbeat(
        folder="/in/caf\udce9",
        destination="s3://b",
        state="watching",
        pending=1,
        refused=2,
        refused_by_reason={"$too.large": 2},
        last_refusals=(Refusal("/in/$x", "too large"),),
        last_error="$oh.no",
        is_troubled=True,
    )
    presence.heartbeat("h", "$rule.1", "one", told)
    (known,) = presence.known()
    assert (known.host, known.rule, known.is_alive, known.is_paused) == ("h", "$rule.1", True, False)
    assert known.folder == "/in/caf\\xe9"
    assert known.refused_by_reason == {"$too.large": 2}
    assert known.last_refusals == told.last_refusals
    assert (known.last_error, known.is_troubled) == ("$oh.no", True)


def test_one_process_of_a_host_holds_a_rule_until_it_leaves_or_falls_silent(
    presence: Presence, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert presence.heartbeat("h", "r", "one", HEARTBEAT) == HeartbeatReply(is_ours=True, is_paused=False)
    assert presence.heartbeat("h", "r", "two", HEARTBEAT) == HeartbeatReply(is_ours=False, is_paused=False)
    assert presence.heartbeat("elsewhere", "r", "two", HEARTBEAT).is_ours
    presence.leave("h", "r", "two", "stopped")  # it is not two's to leave
    assert presence.heartbeat("h", "r", "one", HEARTBEAT).is_ours
    presence.leave("h", "r", "one", "stopped")
    assert not presence.known()[1].is_alive
    assert presence.heartbeat("h", "r", "two", HEARTBEAT).is_ours
    monkeypatch.setattr(presence_module, "LIVE_SECONDS", -1)
    assert presence.heartbeat("h", "r", "one", HEARTBEAT).is_ours


def test_of_many_that_begin_at_once_one_holds(presence: Presence) -> None:
    start = threading.Barrier(8)
    answers: list[bool] = []

    def begin(holder: str) -> None:
        start.wait()
        answers.append(presence.heartbeat("h", "r", holder, HEARTBEAT).is_ours)

    threads = [threading.Thread(target=begin, args=(str(number),)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sum(answers) == 1
    assert len(answers) == 8


def test_documents_of_others_are_passed_over(presence: Presence, world: World) -> None:
    watches: Any = world.records.uploads.collection.database["uploads_watches"]
    watches.insert_many([{"_id": 1}, {"_id": 2, "folder": "/", "destination": "", "state": "", "seen_at": "now"}])
    watches.insert_one({"_id": 3, "folder": 1, "destination": 2, "state": 3, "pending": "many"})
    presence.heartbeat("h", "r", "one", HEARTBEAT)
    assert [known.rule for known in presence.known()] == ["r"]


def test_pausing_reaches_the_watch_from_anywhere_and_outlives_its_process(world: World, presence: Presence) -> None:
    world.write("a", age_seconds=60)
    service = world.watch(world.rule(name="scans"))
    until(lambda: world.documents())
    assert presence.pause(HOST, "scans", paused=True)
    assert not presence.pause(HOST, "nothing of that name", paused=True)
    until(lambda: service.watchers()[0].state is State.PAUSED)
    service.stop()
    again = world.watch(world.rule(name="scans"))
    until(lambda: again.watchers()[0].state is State.PAUSED)
    world.write("b", age_seconds=60)
    (known,) = until(lambda: [each for each in presence.known() if each.state == "paused"])
    assert (known.is_paused, known.is_alive) == (True, True)
    assert len(world.documents()) == 1
    presence.pause(HOST, "scans", paused=False)
    until(lambda: len(world.documents()) == 2)
    assert world.notes.of(NoteKind.RESUMED)


def test_counts_come_from_the_records(world: World, presence: Presence) -> None:
    for name in ("a", "b"):
        world.write(name, age_seconds=60)
    world.run()
    first = world.watch(world.rule(name="scans"))
    world.completed(2)
    first.stop()
    world.watch(world.rule(name="scans", max_size=1))
    world.write("c", "refused", age_seconds=60)
    (known,) = until(lambda: [each for each in presence.known() if each.is_alive and each.refused])
    assert until(lambda: presence.known()[0].sent == 2)
    assert (known.pending, known.failed) == (0, 0)


def test_the_console_sees_the_watches_of_another_host_and_pauses_them(world: World) -> None:
    os.mkfifo(world.folder / "pipe")
    world.write("a", age_seconds=60)
    service = world.watch(world.rule(name="scans"), host="elsewhere")
    identity = RunnerIdentity(HOST, world.state)
    runner = Runner(world.records, world.sender, Limits.of(world.settings.transfer), kind="console", identity=identity)
    feed = ChangeFeed(world.records.uploads.collection, snapshot=world.records.uploads.window)
    backend = ConsoleBackend(world.records, world.sender, runner, world.settings, feed, lambda _: None)
    (state,) = until(lambda: found if (found := backend.watches()) and found[0].pending and found[0].refused else None)
    assert (state.host, state.rule, state.folder, state.pending) == ("elsewhere", "scans", str(world.folder), 1)
    assert state.refused_by_reason == {"a named pipe": 1}
    assert (state.is_alive, state.is_troubled, state.is_paused) == (True, False, False)
    backend.pause_watch("elsewhere", "scans", paused=True)
    until(lambda: service.watchers()[0].state is State.PAUSED)
    service.stop()
    service._write_heartbeat(service.watchers()[0])  # as the thread of the heartbeats may be about to
    (state,) = backend.watches()
    assert (state.state, state.is_alive, state.is_paused) == ("stopped", False, True)
    with pytest.raises(UsageError, match="no watch rule nothing on elsewhere"):
        backend.pause_watch("elsewhere", "nothing", paused=True)


def test_rules_that_change_are_followed_and_the_others_undisturbed(world: World, presence: Presence) -> None:
    (world.folder / "one").mkdir()
    (world.folder / "two").mkdir()
    one, two = world.rule(folder=world.folder / "one"), world.rule(folder=world.folder / "two")
    service = world.watch(one)
    (before,) = service.watchers()
    service.follow([one, two])
    assert service.watchers()[0] is before
    world.write("two/a", age_seconds=60)
    until(lambda: world.documents())
    service.follow([two])
    assert [watcher.rule for watcher in service.watchers()] == [two]
    assert before.finished.wait(60)
    service._write_heartbeat(before)  # as the thread of the heartbeats may be about to
    states = {known.rule: known.is_alive for known in presence.known()}
    assert states == {one.title: False, two.title: True}


def test_new_rules_are_all_watched_where_mongodb_was_away_for_their_first_heartbeats(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "two", "three"):
        (world.folder / name).mkdir()
    one, two, three = (world.rule(folder=world.folder / name) for name in ("one", "two", "three"))
    service = world.watch(one)
    here, real = threading.get_ident(), Presence.heartbeat

    def heartbeat(self: Presence, *arguments: Any) -> HeartbeatReply:
        if threading.get_ident() == here:
            raise AutoReconnect("connection closed")
        return real(self, *arguments)

    monkeypatch.setattr(Presence, "heartbeat", heartbeat)
    service.follow([one, two, three])
    assert [watcher.is_alive for watcher in service.watchers()] == [True] * 3
    for name in ("two", "three"):
        world.write(f"{name}/a", age_seconds=60)
    until(lambda: len(world.documents()) == 2)


def test_a_new_watch_does_nothing_before_a_heartbeat_knows_whether_it_is_paused(
    world: World, presence: Presence, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.write("a", age_seconds=60)
    presence.heartbeat(HOST, "scans", "before", HEARTBEAT)
    presence.leave(HOST, "scans", "before", "stopped")
    presence.pause(HOST, "scans", paused=True)
    answers, tries, real = threading.Event(), threading.Semaphore(0), Presence.heartbeat

    def heartbeat(self: Presence, *arguments: Any) -> HeartbeatReply:
        if answers.is_set():
            return real(self, *arguments)
        tries.release()
        raise AutoReconnect("connection closed")

    monkeypatch.setattr(Presence, "heartbeat", heartbeat)
    (watcher,) = world.watch(world.rule(name="scans", complete_when="renamed")).watchers()
    assert all(tries.acquire(timeout=60) for _ in range(3))  # the second and third from the thread of the heartbeats
    answers.set()
    until(lambda: watcher.state is State.PAUSED)
    assert (watcher.counters.scans, world.documents()) == (0, [])
    presence.pause(HOST, "scans", paused=False)
    until(lambda: world.documents())


def test_without_the_unique_index_nothing_is_watched(world: World) -> None:
    world.records.uploads.collection.drop_index([("watch.digest", 1)])
    with pytest.raises(MongoUnsuitable, match="files could be sent twice"):
        world.watch()


def test_a_gap_in_the_feed_is_answered_by_a_look_at_everything(world: World) -> None:
    """An upload that was completed while nobody heard is found by the scan."""
    path = world.write("a", age_seconds=60)
    service = world.watch(world.rule(after="delete"))
    until(lambda: world.documents() and service.watchers()[0].counters.scans)
    service._feed.close(60)
    world.run()
    world.completed(1)
    assert path.exists()
    service._look_again()
    until(lambda: not path.exists())


def test_uploads_that_end_while_their_rule_is_paused_are_counted_and_told_once_and_their_files_stay(
    world: World, presence: Presence, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process that stands by hears of them, too."""
    heard, real = threading.Semaphore(0), WatchService._ended

    def ended(self: WatchService, *arguments: Any) -> None:
        real(self, *arguments)
        heard.release()

    monkeypatch.setattr(WatchService, "_ended", ended)
    path = world.write("a", age_seconds=60)
    rule = world.rule(name="scans", after="delete")
    one, two = (world.watch(rule, holder=holder) for holder in ("one", "two"))
    (watcher,), (other,) = one.watchers(), two.watchers()
    until(lambda: world.documents() and not one._must_count)
    presence.pause(HOST, "scans", paused=True)
    until(lambda: watcher.state is State.PAUSED)
    for _ in range(2):  # when the second heartbeat since begins the first has done its work
        last = two.last_heartbeat(other)
        until(lambda last=last: two.last_heartbeat(other) is not last)
    world.run()
    assert all(heard.acquire(timeout=60) for _ in range(2))
    assert until(lambda: presence.known()[0].sent) == 1
    assert world.notes.paths(NoteKind.COMPLETED) == [str(path)]
    assert watcher.wait_for_after_upload(60)
    assert path.exists()
    presence.pause(HOST, "scans", paused=False)
    until(lambda: not path.exists())


def test_a_process_that_takes_over_counts_what_the_other_one_has_sent(world: World, presence: Presence) -> None:
    world.write("a", age_seconds=60)
    rule = world.rule(name="scans")
    one, two = (world.watch(rule, holder=holder) for holder in ("one", "two"))
    (other,) = two.watchers()
    until(lambda: world.documents() and other.held is State.STANDBY and not two._must_count)
    world.run()
    until(lambda: presence.known()[0].sent == 1)
    assert two.last_heartbeat(other).sent == 0
    one.stop()
    until(lambda: other.held is None)
    until(lambda: two.last_heartbeat(other).sent == 1)


def test_an_upload_that_was_counted_is_not_counted_again_when_the_feed_tells_of_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = threading.Event()
    real = WatchService._ended

    def late(self: WatchService, *arguments: Any) -> None:
        told.wait(60)
        real(self, *arguments)

    monkeypatch.setattr(WatchService, "_ended", late)
    world.write("a", age_seconds=60)
    world.run()
    service = world.watch(world.rule(name="scans"))
    world.completed(1)
    service._must_count = True
    until(lambda: service.presence.known()[0].sent)
    told.set()
    until(lambda: world.notes.of(NoteKind.COMPLETED))
    assert service._sent["scans"] == 1


POISON: list[Any] = [
    *(None, True, 7, -1.5, float("nan"), "text", b"\xff", [], ["a"], [{}], {}, {"$oid": "x"}, "9" * 400, Int64(2**62)),
    *(ObjectId(), Decimal128("NaN"), Code("f", {"a": 1}), Regex("("), Timestamp(1, 1), MinKey(), MaxKey()),
    *(DatetimeMS(2**62), datetime(1, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)),
]
HEARTBEAT_FIELDS = [
    *("host", "rule", "holder", "seen_at", "paused", "folder", "destination", "state", "pending", "sent", "reasons"),
    *("last_refusals", "last_error", "last_error_at", "troubled"),
]
MALFORMED = b"\x05bad\0" + struct.pack("<i", 3) + b"\x02xxx"


def poisoned(document: dict[str, Any]) -> RawBSONDocument:
    """The document with a value behind it that no driver can decode."""
    raw = bson.encode(document)[4:-1] + MALFORMED
    return RawBSONDocument(struct.pack("<i", len(raw) + 5) + raw + b"\0")


def test_whatever_others_write_among_the_watches_hides_and_stops_none(world: World, presence: Presence) -> None:
    collection = world.records.uploads.collection.database[f"{world.records.uploads.collection.name}_watches"]
    presence.heartbeat("h", "r", "one", HEARTBEAT)
    whole = collection.find_one({})
    assert whole is not None
    documents: list[Any] = [
        {**whole, "_id": {"host": "h", "rule": f"{field}-{number}"}, field: value}
        for field in HEARTBEAT_FIELDS
        for number, value in enumerate(POISON)
    ]
    documents += [{"_id": value} for value in POISON if type(value) not in (list, Regex, dict, float, Decimal128)]
    documents += [poisoned({**whole, "_id": {"host": "h", "rule": "malformed"}})]
    collection.insert_many(documents, ordered=False)
    forgotten = {"seen_at": {"$type": "date", "$lt": datetime(2000, 1, 1, tzinfo=UTC)}}
    left = collection.count_documents({}) - collection.count_documents(forgotten)
    known = presence.known()
    assert ("h", "r") in [(each.host, each.rule) for each in known]
    assert collection.count_documents({}) == left  # silent for long were two: nothing else of others is removed
    rows = WatchRows(lambda: datetime.now(UTC))
    rows.states = known
    for index in range(len(rows)):
        for column in rows.columns:
            rows.cell(index, column.key, 20)
    assert not presence.heartbeat("h", "malformed", "two", HEARTBEAT).is_ours  # held by a process that lives
    for number in range(len(POISON)):  # whatever stands there is no sign of life
        assert presence.heartbeat("h", f"seen_at-{number}", "two", HEARTBEAT).is_ours, POISON[number]
