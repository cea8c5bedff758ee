"""A runner's writes: coalesced progress, grouped transitions, leases, and what a lost server does to them."""

from __future__ import annotations

import queue
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import ExitStack
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.collection import Collection
from pymongo.errors import AutoReconnect, OperationFailure
from pymongo.monitoring import CommandListener, CommandStartedEvent

from console.models import Checksum, Endpoint, Multipart, Requested, UploadStatus
from console.records.transitions import Fields, completed, failed, failure, multipart_opened, stopped
from console.records.uploads import Uploads
from console.records.writer import Progress, RecordWriter, Transition, TransitionWrites
from console.runner import journal as record_journal
from console.runner.journal import RecordJournal, StopOrdered, StopReason, TransferControl
from console.runner.key_claims import KeyClaims
from tests.records.documents import LONG_AGO, add, claim_all, expire, the
from tests.records.servers import failing

DONE = completed(key="k", checksum=None, etag="e", version_id=None)
MULTIPART = Multipart(upload_id="parts", part_size=5 * 1024 * 1024)
QUICK = 0.02
SLOW = 3600.0
PATIENCE = 60.0


class Updates(CommandListener):
    """Counts the update commands of a client, and the statements in them."""

    def __init__(self) -> None:
        self.commands = 0
        self.statements = 0
        self.may_be_sent = threading.Event()
        self.may_be_sent.set()

    def started(self, event: CommandStartedEvent) -> None:
        if event.command_name == "update":
            self.commands += 1
            self.statements += len(event.command["updates"])
            self.may_be_sent.wait(PATIENCE)

    def succeeded(self, event) -> None: ...

    def failed(self, event) -> None: ...


@pytest.fixture
def writers() -> Iterator[Callable[..., RecordWriter]]:
    with ExitStack() as stack:

        def make(uploads: Uploads, runner: str = "a", *, lost: Any = None, tick: float = QUICK, lease: float = 60):
            on_lost = lost if lost is not None else lambda upload_id, attempt: None
            writer = RecordWriter(uploads.collection, runner, on_lost=on_lost, lease_seconds=lease, tick_seconds=tick)
            stack.callback(writer.close, PATIENCE)
            return writer

        yield make


def claimed(uploads: Uploads, writer: RecordWriter, runner: str = "a", **properties: Any):
    """One upload that the runner holds, and its counters."""
    (upload_id,) = add(uploads, **properties)
    (upload,) = claim_all(uploads, runner, only={"_id": upload_id})
    progress = Progress(upload.size, upload.current)
    writer.hold(upload_id, progress, upload.attempts)
    return upload_id, progress


def until(uploads: Uploads, wanted: dict[str, Any], *, many: int = 1) -> None:
    """Wait for so many documents of the collection to match; each change to it makes us look again."""
    with uploads.collection.watch(max_await_time_ms=1000) as stream:
        while uploads.collection.count_documents(wanted) < many:
            stream.try_next()


def test_many_bumps_make_few_writes(mongodb_uri, uploads, writers):
    updates = Updates()
    with MongoClient(mongodb_uri, event_listeners=[updates]) as client:
        watched = Uploads(client[uploads.collection.database.name].uploads)
        writer = writers(watched, tick=0.2)
        held = [claimed(watched, writer, size=10_000) for _ in range(5)]
        before = updates.statements
        for total in range(10_000):
            for _, progress in held:
                progress.confirmed(total)
                progress.sent(1)
        for _, progress in held:
            progress.confirmed(10_000)
        until(uploads, {"current": 10_000}, many=5)  # a tick may fall between two of them
        assert writer.close(PATIENCE)
        written = [the(uploads, upload_id) for upload_id, _ in held]
        assert [(upload.current, upload.percentage) for upload in written] == [(10_000, 99.9)] * 5
        assert updates.statements - before < 5_000  # of 50,000 bumps; a tick writes 5


def test_nothing_new_writes_nothing(mongodb_uri, uploads, writers):
    updates = Updates()
    with MongoClient(mongodb_uri, event_listeners=[updates]) as client:
        watched = Uploads(client[uploads.collection.database.name].uploads)
        writer = writers(watched, lease=3600)
        claimed(watched, writer)
        _, busy = claimed(watched, writer)
        before = updates.statements
        for total in range(1, 6):
            busy.confirmed(total)
            until(uploads, {"current": total})
        assert writer.close(PATIENCE)
        assert updates.statements - before == 5


def test_transitions_of_many_uploads_share_a_bulk(mongodb_uri, uploads, writers):
    updates = Updates()
    with MongoClient(mongodb_uri, event_listeners=[updates]) as client:
        watched = Uploads(client[uploads.collection.database.name].uploads)
        writer = writers(watched, tick=SLOW)
        many = 140  # as many completions as may be in one statement
        added = add(watched, many)
        for upload in claim_all(watched, "a", slots=many):
            writer.hold(upload.id, Progress(upload.size), upload.attempts)
        before = updates.commands
        updates.may_be_sent.clear()
        outcomes = [writer.write(upload_id, DONE, releases=True) for upload_id in added]
        updates.may_be_sent.set()
        assert all(outcome.result(PATIENCE) for outcome in outcomes)
        assert updates.commands - before <= 2  # what came before the first was sent, and all the others
    assert uploads.counts()[UploadStatus.COMPLETED] == many


class TestCompleting:
    """A runner whose lease has run out asks whose the upload is before it makes an object of the parts."""

    @pytest.fixture(autouse=True)
    def _patience(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(record_journal, "_PATIENCE_SECONDS", PATIENCE)

    def journal(self, uploads: Uploads, writer: RecordWriter):
        upload_id, progress = claimed(uploads, writer)
        claims = KeyClaims(uploads, Endpoint(("http://s3",)), "r")
        return upload_id, RecordJournal(the(uploads, upload_id), writer, progress, TransferControl(), claims)

    def test_within_the_lease_nothing_is_asked(self, uploads, writers):
        writer = writers(uploads, tick=SLOW, lease=3600)
        upload_id, journal = self.journal(uploads, writer)
        expire(uploads, [upload_id])
        (other,) = claim_all(uploads, "b", only={"_id": upload_id})
        journal.completing()
        assert the(uploads, upload_id) == other

    def test_a_lease_that_nobody_took_is_renewed(self, uploads, writers):
        upload_id, journal = self.journal(uploads, writers(uploads, tick=SLOW, lease=0))
        expire(uploads, [upload_id])
        journal.completing()
        lease = the(uploads, upload_id).lease
        assert lease is not None
        assert lease.runner == "a"
        assert lease.expires_at > LONG_AGO

    def test_an_upload_that_was_adopted_is_not_completed(self, uploads, writers):
        upload_id, journal = self.journal(uploads, writers(uploads, tick=SLOW, lease=0))
        expire(uploads, [upload_id])
        claim_all(uploads, "b", only={"_id": upload_id})
        with pytest.raises(StopOrdered) as raised:
            journal.completing()
        assert raised.value.reason is StopReason.LOST


class TestTogether:
    """Completions that wait at the same time are one statement; each document gets what is its own."""

    def end(self, number: int) -> Fields:
        """Values that an update pipeline would take for fields and operators, were they no literals."""
        checksum = Checksum(algorithm="CRC32", value=f"{number}==")
        return completed(key=f"$key/{number}", checksum=checksum, etag=f"$etag-{number}", version_id=None)

    def test_each_gets_its_own(self, uploads):
        writes = TransitionWrites(uploads.collection, "a")
        ids = add(uploads, 50)
        taken = claim_all(uploads, "a", slots=50)
        batch = [Transition(upload.id, upload.attempts, self.end(n), releases=True) for n, upload in enumerate(taken)]
        writes.write(batch)
        assert all(item.outcome.result(0) for item in batch)
        by_id = {item.id: self.end(number) for number, item in enumerate(batch)}
        for document in uploads.get(ids):
            end = by_id[document["_id"]]
            told = {name: document[name] for name in ("key", "checksum", "etag", "version_id")}
            assert told == {name: end[name]["$literal"] for name in told}
            assert (document["status"], document["current"], document["lease"]) == ("completed", document["size"], None)
            assert document["finished_at"] == document["updated_at"] is not None

    def test_one_that_is_no_longer_ours_is_told(self, uploads):
        ids = add(uploads, 3)
        taken = claim_all(uploads, "a", slots=3)
        expire(uploads, ids[:1])
        claim_all(uploads, "b", only={"_id": ids[0]})
        batch = [Transition(upload.id, upload.attempts, self.end(n), releases=True) for n, upload in enumerate(taken)]
        TransitionWrites(uploads.collection, "a").write(batch)
        assert {item.id: item.outcome.result(0) for item in batch} == {ids[0]: False, ids[1]: True, ids[2]: True}
        assert the(uploads, ids[0]).lease.runner == "b"

    def test_one_that_is_refused_keeps_no_other_from_its_end(self, uploads):
        ids = add(uploads, 3)
        taken = claim_all(uploads, "a", slots=3)
        batch = [Transition(upload.id, upload.attempts, self.end(n), releases=True) for n, upload in enumerate(taken)]
        batch[1].fields["etag"] = {"$literal": 5}
        TransitionWrites(uploads.collection, "a").write(batch)
        assert batch[0].outcome.result(0)
        assert batch[2].outcome.result(0)
        with pytest.raises(OperationFailure, match="Document failed validation"):
            batch[1].outcome.result(0)
        assert [the(uploads, some).status.value for some in ids] == ["completed", "uploading", "completed"]

    def test_an_answer_that_was_lost_is_recognised(self, uploads, monkeypatch):
        add(uploads, 3)
        taken = claim_all(uploads, "a", slots=3)
        batch = [Transition(upload.id, upload.attempts, self.end(n), releases=True) for n, upload in enumerate(taken)]
        writes = TransitionWrites(uploads.collection, "a")
        real = Collection.update_many

        def forgetful(self, *arguments, **options):
            real(self, *arguments, **options)
            raise AutoReconnect("the answer is lost")

        with monkeypatch.context() as patch:
            patch.setattr(Collection, "update_many", forgetful)
            with pytest.raises(AutoReconnect):
                writes.write(batch)
        assert not any(item.outcome.done() for item in batch)
        writes.write(batch)
        assert [item.outcome.result(0) for item in batch] == [True] * 3


def test_transitions_of_one_upload_keep_their_order(uploads, writers):
    writer = writers(uploads, tick=SLOW)
    upload_id, _ = claimed(uploads, writer)
    outcomes = [writer.write(upload_id, failure(f"Code{number}", "x")) for number in range(20)]
    assert all(outcome.result(PATIENCE) for outcome in outcomes)
    assert the(uploads, upload_id).error.code == "Code19"
    outcomes = [writer.write(upload_id, failure("Late", "x")), writer.write(upload_id, DONE, releases=True)]
    assert all(outcome.result(PATIENCE) for outcome in outcomes)
    upload = the(uploads, upload_id)
    assert (upload.status, upload.error) == (UploadStatus.COMPLETED, None)


def test_letting_go_says_how_far_it_came(uploads, writers):
    writer = writers(uploads, tick=SLOW)
    upload_id, progress = claimed(uploads, writer, size=1000)
    progress.confirmed(300)
    assert writer.write(upload_id, stopped(leaving=True), releases=True).result(PATIENCE)
    upload = the(uploads, upload_id)
    assert (upload.status, upload.current, upload.percentage, upload.rate) == (UploadStatus.PAUSED, 300, 30.0, 0)


@pytest.mark.parametrize(
    ("fields", "requested", "status"),
    [
        (stopped(leaving=False), Requested.RUN, UploadStatus.PENDING),
        (stopped(leaving=True), Requested.RUN, UploadStatus.PAUSED),
        (stopped(leaving=False), Requested.PAUSE, UploadStatus.PAUSED),
        (stopped(leaving=True), Requested.CANCEL, UploadStatus.CANCELLED),
        (failed("X", "y", multipart_gone=False), Requested.RUN, UploadStatus.FAILED),
        (failed("X", "y", multipart_gone=False), Requested.PAUSE, UploadStatus.FAILED),
        (failed("X", "y", multipart_gone=False), Requested.CANCEL, UploadStatus.CANCELLED),
        (DONE, Requested.CANCEL, UploadStatus.COMPLETED),
    ],
)
def test_what_becomes_of_an_upload_is_what_is_requested_at_that_moment(uploads, writers, fields, requested, status):
    writer = writers(uploads, tick=SLOW)
    upload_id, _ = claimed(uploads, writer)
    uploads.collection.update_one({"_id": upload_id}, {"$set": {"requested": requested.value}})
    assert writer.write(upload_id, fields, releases=True).result(PATIENCE)
    upload = the(uploads, upload_id)
    assert (upload.status, upload.requested, upload.lease) == (status, requested, None)
    assert (upload.finished_at is not None) == status.is_terminal


def test_leases_are_renewed_in_time(uploads, writers):
    writer = writers(uploads, lease=0.5)
    upload_id, _ = claimed(uploads, writer)
    uploads.collection.update_one({"_id": upload_id}, {"$set": {"lease.expires_at": LONG_AGO}})
    until(uploads, {"_id": upload_id, "lease.expires_at": {"$gt": LONG_AGO}})
    first = the(uploads, upload_id).lease.expires_at
    until(uploads, {"_id": upload_id, "lease.expires_at": {"$gt": first}})


@pytest.mark.parametrize("how", ["adopted", "settled", "deleted", "taken again"])
def test_a_lost_upload_is_told_once_and_its_writes_do_nothing(uploads, writers, how):
    lost: queue.Queue[Any] = queue.Queue()
    writer = writers(uploads, lost=lambda *found: lost.put(found))
    upload_id, progress = claimed(uploads, writer)
    kept, _ = claimed(uploads, writer)
    if how == "deleted":
        uploads.collection.delete_one({"_id": upload_id})
    elif how == "settled":
        uploads.collection.update_one({"_id": upload_id}, {"$set": {"status": "paused", "lease": None}})
    else:
        expire(uploads, [upload_id])
        claim_all(uploads, "b" if how == "adopted" else "a", only={"_id": upload_id})
    before = uploads.collection.find_one({"_id": upload_id})
    progress.confirmed(10)
    assert lost.get(timeout=PATIENCE) == (upload_id, 1)
    assert writer.write(upload_id, multipart_opened(MULTIPART)).result(PATIENCE) is False
    assert writer.write(upload_id, DONE, releases=True).result(PATIENCE) is False
    assert uploads.collection.find_one({"_id": upload_id}) == before
    assert writer.write(kept, DONE, releases=True).result(PATIENCE) is True
    assert lost.empty()


def test_a_transition_of_a_claim_that_is_over_does_nothing(uploads, writers):
    """The writer did not hear of it before: it is the document that decides."""
    writer = writers(uploads, tick=SLOW)
    upload_id, _ = claimed(uploads, writer)
    other, _ = claimed(uploads, writer)
    expire(uploads, [upload_id])
    claim_all(uploads, "a", only={"_id": upload_id})
    before = uploads.collection.find_one({"_id": upload_id})
    outcomes = [writer.write(some, DONE, releases=True) for some in (upload_id, other)]
    assert [outcome.result(PATIENCE) for outcome in outcomes] == [False, True]
    assert uploads.collection.find_one({"_id": upload_id}) == before


def test_what_was_never_held_is_not_written(uploads, writers):
    (upload_id,) = add(uploads)
    assert writers(uploads).write(upload_id, DONE, releases=True).result(PATIENCE) is False


def test_one_refused_transition_keeps_no_other_from_being_written(uploads, writers):
    writer = writers(uploads, tick=SLOW)
    (bad, _), (unwritable, _), (good, _) = (claimed(uploads, writer) for _ in range(3))
    outcomes = [
        writer.write(bad, {"status": "nonsense", "updated_at": "$$NOW"}, releases=True),
        writer.write(unwritable, {"status": "failed", "size": 2**70}, releases=True),
        writer.write(good, DONE, releases=True),
    ]
    assert outcomes[2].result(PATIENCE) is True
    with pytest.raises(OperationFailure, match="Document failed validation"):
        outcomes[0].result(PATIENCE)
    with pytest.raises(OverflowError):
        outcomes[1].result(PATIENCE)


def test_messages_with_names_that_are_no_utf8_are_written_escaped(uploads, writers):
    writer = writers(uploads, tick=SLOW)
    upload_id, _ = claimed(uploads, writer)
    assert writer.write(upload_id, failed("X", "$caf\udce9", multipart_gone=False), releases=True).result(PATIENCE)
    assert the(uploads, upload_id).error.message == r"$caf\udce9"


def test_a_fault_of_its_own_does_not_end_the_writer(uploads, writers, monkeypatch):
    writer = writers(uploads)
    upload_id, progress = claimed(uploads, writer)
    failed_once = threading.Event()

    def sample():
        failed_once.set()
        raise ValueError("a fault of ours")

    monkeypatch.setattr(progress, "sample", sample)
    progress.sent(1)
    assert failed_once.wait(PATIENCE)
    assert writer.write(upload_id, DONE, releases=True).result(PATIENCE)
    assert the(uploads, upload_id).status is UploadStatus.COMPLETED


def test_a_callback_that_fails_does_not_end_the_writer(uploads, writers, monkeypatch):
    told = threading.Event()

    def fail(upload_id, attempt):
        told.set()
        raise RuntimeError("from a test")

    writer = writers(uploads, lost=fail)
    upload_id, progress = claimed(uploads, writer)
    other, _ = claimed(uploads, writer)
    uploads.collection.delete_one({"_id": upload_id})
    progress.confirmed(5)
    assert told.wait(PATIENCE)
    assert writer.write(other, DONE, releases=True).result(PATIENCE) is True


class TestFaults:
    """A server that fails, steps down, or is killed and comes back."""

    def test_an_answer_that_was_lost_twice_is_recognised(self, uploads, writers, monkeypatch):
        """The write is applied and its answer lost: the repetition finds nothing to do, and says that it took place."""
        lost = Counter()
        real = Collection.bulk_write

        def forgetful(self, *arguments, **options):
            result = real(self, *arguments, **options)
            if lost["answers"] < 2:
                lost["answers"] += 1
                raise AutoReconnect("the answer is lost")
            return result

        writer = writers(uploads, tick=SLOW)
        ends = [
            DONE,
            failed("X", "y", multipart_gone=False),
            stopped(leaving=True),
        ]
        held = [claimed(uploads, writer)[0] for _ in ends]
        opened, _ = claimed(uploads, writer)
        taken, _ = claimed(uploads, writer)
        expire(uploads, [taken])
        claim_all(uploads, "b", only={"_id": taken})
        monkeypatch.setattr(Collection, "bulk_write", forgetful)
        outcomes = [writer.write(some, end, releases=True) for some, end in zip(held, ends, strict=True)]
        outcomes.append(writer.write(opened, multipart_opened(MULTIPART)))
        assert [outcome.result(PATIENCE) for outcome in outcomes] == [True] * 4
        assert writer.write(taken, DONE, releases=True).result(PATIENCE) is False
        assert lost["answers"] == 2
        assert [the(uploads, some).status.value for some in held] == ["completed", "failed", "paused"]
        assert the(uploads, opened).multipart == MULTIPART

    @pytest.mark.parametrize(
        "fault",
        [
            {"writeConcernError": {"code": 64, "errmsg": "waiting for replication timed out"}},
            {"writeConcernError": {"code": 91, "errmsg": "shutting down"}},
            {"errorCode": 189},
            {"errorCode": 10107},
            {"closeConnection": True},
        ],
        ids=["wtimeout", "shutdown after", "stepped down", "not primary", "connection"],
    )
    def test_a_transition_waits_for_a_server_that_fails(self, faulty_mongod, faulty_uploads, writers, fault):
        writer = writers(faulty_uploads, tick=SLOW)
        upload_id, _ = claimed(faulty_uploads, writer)
        with failing(faulty_mongod.client(), 4, failCommands=["update"], **fault):
            outcome = writer.write(upload_id, DONE, releases=True)
            assert outcome.result(PATIENCE) is True
        assert the(faulty_uploads, upload_id).status is UploadStatus.COMPLETED

    def test_progress_catches_up_after_writes_that_failed(self, faulty_mongod, faulty_uploads, writers):
        writer = writers(faulty_uploads)
        upload_id, progress = claimed(faulty_uploads, writer, size=1000)
        with failing(faulty_mongod.client(), 4, failCommands=["update"], errorCode=189):
            progress.confirmed(700)  # said once, and not again
            until(faulty_uploads, {"_id": upload_id, "current": 700})

    def test_transitions_survive_a_restart_of_the_server(self, faulty_mongod, faulty_uploads, writers):
        lost: queue.Queue[Any] = queue.Queue()
        writer = writers(faulty_uploads, lost=lambda *found: lost.put(found))
        before, progress = claimed(faulty_uploads, writer, size=1000)
        after = [claimed(faulty_uploads, writer)[0] for _ in range(5)]
        faulty_mongod.process.kill()
        progress.confirmed(500)
        waiting = [writer.write(upload_id, failure("Slow", "x")) for upload_id in after]
        waiting += [writer.write(upload_id, DONE, releases=True) for upload_id in after]
        assert not any(outcome.done() for outcome in waiting)
        faulty_mongod.restart()
        assert all(outcome.result(PATIENCE) for outcome in waiting)
        assert {the(faulty_uploads, upload_id).status for upload_id in after} == {UploadStatus.COMPLETED}
        until(faulty_uploads, {"_id": before, "current": 500})
        assert lost.empty()

    def test_closing_gives_up_in_time_while_the_server_is_away(self, faulty_mongod, faulty_uploads, writers):
        writer = writers(faulty_uploads)
        upload_id, _ = claimed(faulty_uploads, writer)
        faulty_mongod.process.kill()
        try:
            outcome = writer.write(upload_id, DONE, releases=True)
            assert writer.close(0.2) is False
            late = writer.write(upload_id, DONE)
            assert late.result(PATIENCE) is False  # let go of already
        finally:
            faulty_mongod.restart()
        try:
            assert outcome.result(PATIENCE) is True  # it was on its way
        except CancelledError:
            assert the(faulty_uploads, upload_id).status is UploadStatus.UPLOADING


def test_a_closed_writer_cancels_what_comes_too_late(uploads, writers):
    writer = writers(uploads)
    upload_id, _ = claimed(uploads, writer)
    assert writer.close(PATIENCE) is True
    assert writer.write(upload_id, DONE, releases=True).cancelled()
    assert writer.close(PATIENCE) is True
    assert the(uploads, upload_id).status is UploadStatus.UPLOADING


def test_what_is_learned_of_an_earlier_claim_leaves_the_present_one_held(uploads, writers):
    """The same runner may have claimed it again while the server was asked."""
    lost: list[Any] = []
    writer = writers(uploads, lost=lambda *which: lost.append(which), tick=SLOW)
    upload_id, progress = claimed(uploads, writer)
    before = dict(writer._held)
    uploads.collection.update_one({"_id": upload_id}, {"$inc": {"attempts": 1}})
    writer.hold(upload_id, progress, the(uploads, upload_id).attempts)
    writer._report_lost(before)
    assert lost == []
    assert writer.write(upload_id, DONE, releases=True).result(PATIENCE)
