"""`status` and `requested` under two runners, people, crashes and lost answers: Hypothesis looks for a sequence that
gives an upload two owners, forgets that it was cancelled, or leaves it in a state without an exit.

The transitions, the store, the intents and the writer are the real ones, on the real server. What is the test's own is
time (leases run out when a rule says so) and what a runner believes to be at work on.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from unittest.mock import patch

import pytest
from bson import ObjectId
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from pymongo.collection import Collection
from pymongo.errors import AutoReconnect

from console import models
from console.models import Multipart, Requested, Upload
from console.records.requests import change_priority, remove, request_all, retry_all
from console.records.transitions import Fields, completed, failed, may_become, multipart_opened, stopped
from console.records.uploads import Uploads
from console.records.writer import Progress, RecordWriter
from tests.records.documents import HOST, expire, new_upload

Document = Mapping[str, Any]

SETTINGS = settings(
    max_examples=60,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)
LEASE_SECONDS = 3600.0
PATIENCE = 60.0
MULTIPART = Multipart(upload_id="parts", part_size=5 * 1024 * 1024)
DONE = completed(key="k", checksum=None, etag=None, version_id=None)
TERMINAL = {status.value for status in models.TERMINAL}

some_upload = st.integers(0, 2)
intents = st.sampled_from([*Requested, Requested.CANCEL, "retry", "retry", "retry", "delete", "delete", "priority"])
some_runner = st.integers(0, 1)
some_claim = st.integers(0, 5)
ends = st.sampled_from(
    [
        DONE,
        failed("X", "y", multipart_gone=False),
        failed("X", "y", multipart_gone=True),
        stopped(leaving=False),
        stopped(leaving=True),
    ]
)


class FakeProcess:
    """A process with a runner: its name, its writer, and the claims that it believes to hold."""

    _numbers = 0

    def __init__(self, uploads: Uploads) -> None:
        FakeProcess._numbers += 1
        self.name = f"{HOST}:{FakeProcess._numbers}"
        self.held: dict[ObjectId, int] = {}
        self.writer = RecordWriter(
            uploads.collection,
            self.name,
            on_lost=lambda upload_id, attempt: None,
            lease_seconds=LEASE_SECONDS,
            tick_seconds=3600,
        )

    def accept(self, claimed: list[Any]) -> None:
        for upload in claimed:
            self.held[upload.id] = upload.attempts
            self.writer.hold(upload.id, Progress(upload.size, upload.current), upload.attempts)

    def holds(self, document: Document | None, upload_id: ObjectId) -> bool:
        """Whether the document says so too."""
        if document is None or document["status"] != "uploading" or document["lease"] is None:
            return False
        return document["lease"]["runner"] == self.name and document["attempts"] == self.held[upload_id]


@contextmanager
def lost_answers(how_many: int) -> Iterator[None]:
    """Bulk writes are applied, and their answers lost, so many times."""
    real, left = Collection.bulk_write, [how_many]

    def forgetful(self: Any, *arguments: Any, **options: Any) -> Any:
        result = real(self, *arguments, **options)
        if left[0]:
            left[0] -= 1
            raise AutoReconnect("the answer is lost")
        return result

    with patch.object(Collection, "bulk_write", forgetful):
        yield


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    """What they give, each in a thread of its own, started together."""
    start = threading.Barrier(len(calls))
    results: list[Any] = [None] * len(calls)

    def run(number: int) -> None:
        start.wait()
        results[number] = calls[number]()

    threads = [threading.Thread(target=run, args=[number]) for number in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


class Life(RuleBasedStateMachine):
    """Three uploads at most, two runners at a time, and the people."""

    def __init__(self, uploads: Uploads) -> None:
        super().__init__()
        self.uploads = uploads
        uploads.collection.delete_many({})
        self.ids: list[ObjectId] = []
        self.cancelled: set[ObjectId] = set()
        self.dead: list[str] = []
        self.runners = [FakeProcess(uploads), FakeProcess(uploads)]

    @initialize(many=st.sampled_from([1, 1, 2, 3]))
    def add(self, many: int) -> None:
        self.ids = self.uploads.add([new_upload() for _ in range(many)])

    def documents(self) -> dict[ObjectId, Document]:
        return {document["_id"]: document for document in self.uploads.get(self.ids)}

    def document(self, upload_id: ObjectId) -> Document | None:
        return next(iter(self.uploads.get([upload_id])), None)

    def pick(self, number: int) -> ObjectId:
        return self.ids[number % len(self.ids)]

    # People

    @rule(number=some_upload, intent=intents)
    def person(self, number: int, intent: Requested | str) -> None:
        self.intend(self.pick(number), intent)

    def intend(self, upload_id: ObjectId, intent: Requested | str) -> None:
        before = self.document(upload_id)
        if isinstance(intent, Requested):
            outcome = request_all(self.uploads, [upload_id], intent)
        elif intent == "retry":
            outcome = retry_all(self.uploads, [upload_id])
        elif intent == "delete":
            outcome = remove(self.uploads, [upload_id])
            assert not outcome.changed or before is not None
            assert not outcome.changed or before["status"] != "uploading" or not is_live(before)
        else:
            outcome = change_priority(self.uploads, [upload_id], 1)
        assert outcome.changed + len(outcome.refused) == 1
        if outcome.changed and intent is Requested.CANCEL:
            self.cancelled.add(upload_id)
        elif outcome.changed and intent in ("retry", "delete"):
            self.cancelled.discard(upload_id)

    @rule(number=some_upload, word=st.sampled_from(Requested))
    def writes_requested_by_hand(self, number: int, word: Requested) -> None:
        """What somebody does who knows of `requested` alone; a cancel is not taken back by those either."""
        upload_id = self.pick(number)
        wanted = {"_id": upload_id, "status": {"$nin": list(TERMINAL)}, "requested": {"$ne": "cancel"}}
        changed = self.uploads.collection.update_one(wanted, {"$set": {"requested": word.value}}).matched_count
        if changed and word is Requested.CANCEL:
            self.cancelled.add(upload_id)

    # Runners

    def take(self, runner: FakeProcess, slots: int) -> list[Any]:
        return self.uploads.claim(
            runner.name,
            HOST,
            lease_seconds=LEASE_SECONDS,
            slots=slots,
            most_bytes_ahead=0,
            dead=self.dead,
            at_work=list(runner.held),
        )

    def check_claims(self, before: Mapping[ObjectId, Document], claims: list[list[Any]]) -> None:
        taken = [upload.id for claimed in claims for upload in claimed]
        assert len(taken) == len(set(taken)), "one upload, two owners"
        for upload_id in taken:
            assert upload_id not in self.cancelled, "cancelled, and goes on"
            document = before.get(upload_id)
            assert document is not None, "at its end, and taken"
            assert document["requested"] == "run"
            assert document["status"] not in TERMINAL
            assert not is_live(document) or document["lease"]["runner"] in self.dead, "taken from a living owner"

    @rule(number=some_runner, slots=st.integers(1, 2))
    def claim(self, number: int, slots: int) -> None:
        self.renew()
        self.claim_with(self.runners[number], slots)

    def claim_with(self, runner: FakeProcess, slots: int) -> None:
        before = self.documents()
        claimed = self.take(runner, slots)
        self.check_claims(before, [claimed])
        runner.accept(claimed)

    @rule(slots=st.integers(1, 3))
    def both_claim_at_once(self, slots: int) -> None:
        self.renew()
        before, (one, other) = self.documents(), self.runners
        claims = at_once(lambda: self.take(one, slots), lambda: self.take(other, slots))
        self.check_claims(before, claims)
        one.accept(claims[0])
        other.accept(claims[1])

    def write(self, runner: FakeProcess, upload_id: ObjectId, fields: Fields, *, releases: bool) -> bool:
        outcome = runner.writer.write(upload_id, fields, releases=releases)
        if releases:
            runner.held.pop(upload_id)
        return outcome.result(PATIENCE)

    @rule(claim=some_claim, fields=ends, lost=st.integers(0, 2))
    def end(self, claim: int, fields: Fields, lost: int) -> None:
        """A runner lets go, rightly or after its claim was over without its knowing."""
        if (chosen := self.chosen(claim)) is None:
            return
        runner, upload_id = chosen
        before = self.document(upload_id)
        may = runner.holds(before, upload_id)
        with lost_answers(lost):
            wrote = self.write(runner, upload_id, fields, releases=True)
        after = self.document(upload_id)
        if may:
            assert wrote
            assert after is not None
            assert after["lease"] is None
            assert after["status"] in may_become(fields["status"])
        else:
            assert after == before, "written by a runner whose claim was over"
            assert not wrote or (after is not None and after["status"] in may_become(fields["status"]))

    @rule(claim=some_claim, lost=st.integers(0, 2))
    def open_multipart(self, claim: int, lost: int) -> None:
        if (chosen := self.chosen(claim)) is None:
            return
        runner, upload_id = chosen
        before = self.document(upload_id)
        may = runner.holds(before, upload_id)
        sealed = self.uploads.seals.multipart(Upload.model_validate(before), MULTIPART) if before else MULTIPART
        with lost_answers(lost):
            assert self.write(runner, upload_id, multipart_opened(sealed), releases=False) is may
        if not may:
            assert self.document(upload_id) == before
            runner.held.pop(upload_id)  # it has heard now that the claim is over

    @rule(claim=some_claim, fields=ends, requested=st.sampled_from(Requested))
    def end_while_a_person_decides(self, claim: int, fields: Fields, requested: Requested) -> None:
        if (chosen := self.chosen(claim)) is None:
            return
        runner, upload_id = chosen
        may = runner.holds(self.document(upload_id), upload_id)
        wrote, outcome = at_once(
            lambda: self.write(runner, upload_id, fields, releases=True),
            lambda: request_all(self.uploads, [upload_id], requested),
        )
        if outcome.changed and requested is Requested.CANCEL:
            self.cancelled.add(upload_id)
        document = self.document(upload_id)
        if may:
            assert wrote or outcome.changed
            assert document is not None
            assert document["status"] != "uploading"
        elif wrote:  # somebody had settled it just so, and the person may have decided again since
            assert document is not None
            assert outcome.changed or document["status"] in may_become(fields["status"])

    @rule(number=some_runner)
    def obey(self, number: int) -> None:
        runner = self.runners[number]
        requested = self.uploads.requested_of(runner.name)
        for upload_id in [upload_id for upload_id in runner.held if upload_id in requested]:
            before = self.document(upload_id)
            may = runner.holds(before, upload_id)
            is_cancel = requested[upload_id] is Requested.CANCEL
            wrote = self.write(runner, upload_id, stopped(leaving=False), releases=True)
            if may:
                assert wrote
                document = self.document(upload_id)
                assert document is not None
                assert document["status"] == ("cancelled" if is_cancel else "paused")

    @rule(number=some_runner, is_gone=st.booleans())
    def settle_and_tidy(self, number: int, is_gone: bool) -> None:
        self.clean_up(self.runners[number], is_gone=is_gone)

    def clean_up(self, runner: FakeProcess, *, is_gone: bool) -> None:
        self.uploads.settle(self.dead)
        for upload in self.uploads.to_clean_up(runner.name, lease_seconds=LEASE_SECONDS):
            if is_gone:
                self.uploads.cleaned_up(runner.name, upload.id)

    # Time and trouble

    @rule(number=some_upload)
    def a_lease_runs_out(self, number: int) -> None:
        self.expire(self.pick(number))

    def expire(self, upload_id: ObjectId) -> None:
        expire(self.uploads, [upload_id])

    @rule(claim=some_claim, requested=st.one_of(st.none(), st.sampled_from(Requested)))
    def is_overtaken(self, claim: int, requested: Requested | None) -> None:
        """A runner is held up; its lease runs out, a person decides or not, the other runner looks for work."""
        if (chosen := self.chosen(claim)) is None:
            return
        runner, upload_id = chosen
        self.expire(upload_id)
        if requested is not None:
            self.intend(upload_id, requested)
        self.claim_with(self.runners[1 - self.runners.index(runner)], 3)

    @rule(number=some_runner, is_known=st.booleans())
    def crash(self, number: int, is_known: bool) -> None:
        """The process is gone and another one starts; the host may know of it at once or not."""
        gone = self.runners[number]
        gone.writer.close(PATIENCE)
        if is_known:
            self.dead.append(gone.name)
        self.runners[number] = FakeProcess(self.uploads)

    def chosen(self, number: int) -> tuple[FakeProcess, ObjectId] | None:
        """A claim that a runner believes to hold; where there is none, one of them looks for work first.

        Not drawn from the claims that there are: who wins a race must not decide what Hypothesis draws next.
        """
        if not any(runner.held for runner in self.runners):
            self.renew()
            self.claim_with(self.runners[number % 2], 3)
        claims = [(runner, upload_id) for runner in self.runners for upload_id in runner.held]
        return claims[number % len(claims)] if claims else None

    def renew(self) -> None:
        """New uploads in the place of those that are completed or deleted: nothing happens to these any more."""
        documents = self.documents()
        for place, upload_id in enumerate(self.ids):
            if upload_id not in documents or documents[upload_id]["status"] == "completed":
                (self.ids[place],) = self.uploads.add([new_upload()])

    # What always holds

    @invariant()
    def documents_tell_the_truth(self) -> None:
        for upload_id, document in self.documents().items():
            status, requested, lease = document["status"], document["requested"], document["lease"]
            assert status == "uploading" or lease is None or status == "cancelled", "held, and not at work on"
            assert status != "uploading" or lease is not None, "at work on, and held by nobody"
            assert (document["finished_at"] is not None) == (status in TERMINAL)
            if upload_id in self.cancelled:
                assert status in ("cancelled", "completed") or requested == "cancel", "a cancel is forgotten"

    def teardown(self) -> None:
        try:
            if self.ids:
                self.live_happily_ever_after()
        finally:
            for runner in self.runners:
                runner.writer.close(PATIENCE)

    def live_happily_ever_after(self) -> None:
        """All leases run out; one healthy runner alone brings everything to an end, but what shall rest."""
        for number in range(2):
            self.crash(number, is_known=False)
        healthy = self.runners[0]
        for _ in range(len(self.ids) + 1):
            for number in range(len(self.ids)):
                self.a_lease_runs_out(number)
            self.clean_up(healthy, is_gone=True)
            healthy.accept(self.take(healthy, 3))
            for upload_id in list(healthy.held):
                assert self.write(healthy, upload_id, DONE, releases=True)
        for upload_id, document in self.documents().items():
            status = document["status"]
            assert status in TERMINAL or (status, document["requested"]) == ("paused", "pause"), "no exit"
            assert upload_id not in self.cancelled or status in ("cancelled", "completed")
            assert status != "cancelled" or document["multipart"] is None, "parts are left in the bucket"


def is_live(document: Document) -> bool:
    return document["lease"] is not None and document["lease"]["expires_at"] > datetime.now(UTC)


@pytest.mark.timeout(900)  # thousands of writes, each confirmed by the server: the usual limit is for one that hangs
def test_no_sequence_leads_to_two_owners_or_to_a_state_without_an_exit(
    uploads: Uploads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("console.records.writer._FIRST_PAUSE", 0.001)
    run_state_machine_as_test(lambda: Life(uploads), settings=SETTINGS)
