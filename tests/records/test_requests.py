"""Each intent on each state: who follows at once, who is only told, who is refused and with which words."""

from __future__ import annotations

import pytest
from bson import ObjectId

from console.models import Requested, UploadStatus
from console.records import requests
from console.records.requests import Outcome, change_priority, remove, request_all, retry_all
from tests.records.documents import add, put, the

PENDING, UPLOADING, PAUSED = UploadStatus.PENDING, UploadStatus.UPLOADING, UploadStatus.PAUSED
COMPLETED, FAILED, CANCELLED = UploadStatus.COMPLETED, UploadStatus.FAILED, UploadStatus.CANCELLED
RUN, PAUSE, CANCEL = Requested.RUN, Requested.PAUSE, Requested.CANCEL
LEASES = {"none": {}, "live": {"runner": "r"}, "expired": {"runner": "r", "live": False}}

# What becomes of a document that nobody holds; None: refused.
SETTLES = {
    RUN: {PENDING: PENDING, UPLOADING: PENDING, PAUSED: PENDING, COMPLETED: None, FAILED: None, CANCELLED: None},
    PAUSE: {PENDING: PAUSED, UPLOADING: PAUSED, PAUSED: PAUSED, COMPLETED: None, FAILED: None, CANCELLED: None},
    CANCEL: {
        PENDING: CANCELLED,
        UPLOADING: CANCELLED,
        PAUSED: CANCELLED,
        COMPLETED: None,
        FAILED: CANCELLED,
        CANCELLED: None,
    },
}


@pytest.mark.parametrize("lease", LEASES)
@pytest.mark.parametrize("requested", Requested)
def test_requests(uploads, requested, lease):
    """Every status at once: a request takes many documents in one update."""
    before = {put(uploads, status, **LEASES[lease]): status for status in UploadStatus}
    outcome = request_all(uploads, list(before), requested)
    for upload_id, status in before.items():
        upload = the(uploads, upload_id)
        settled = SETTLES[requested][status]
        if settled is None:
            assert (upload.status, upload.requested) == (status, RUN)
            assert outcome.refused[upload_id] == str(status)
            continue
        assert upload_id not in outcome.refused
        assert upload.requested is requested
        if lease == "live":
            assert (upload.status, upload.lease.runner) == (status, "r")
        else:
            assert (upload.status, upload.lease) == (settled, None)
            assert (upload.finished_at is not None) == (settled is CANCELLED)
    assert outcome.changed == len(before) - len(outcome.refused)


@pytest.mark.parametrize("later", [RUN, PAUSE])
def test_what_is_being_cancelled_is_not_called_back(uploads, later):
    upload_id = put(uploads, UPLOADING, runner="r")
    assert request_all(uploads, [upload_id], CANCEL) == Outcome(1, {})
    assert request_all(uploads, [upload_id], later) == Outcome(0, {upload_id: "being cancelled"})
    assert the(uploads, upload_id).requested is CANCEL


def test_a_pause_is_called_back(uploads):
    upload_id = put(uploads, UPLOADING, PAUSE, runner="r")
    assert request_all(uploads, [upload_id], RUN) == Outcome(1, {})
    assert the(uploads, upload_id).requested is RUN


@pytest.mark.parametrize("lease", LEASES)
def test_retry(uploads, lease):
    before = {put(uploads, status, CANCEL, **LEASES[lease]): status for status in UploadStatus}
    outcome = retry_all(uploads, list(before))
    assert outcome.changed == 2
    for upload_id, status in before.items():
        upload = the(uploads, upload_id)
        if status in (FAILED, CANCELLED):
            assert (upload.status, upload.requested, upload.lease) == (PENDING, RUN, None)
            assert upload.finished_at is None
        else:
            assert upload.status is status
            assert outcome.refused[upload_id] == ("completed" if status is COMPLETED else "being cancelled")


@pytest.mark.parametrize("lease", LEASES)
def test_removal_spares_what_somebody_is_at_work_on(uploads, lease):
    before = {put(uploads, status, **LEASES[lease]): status for status in UploadStatus}
    outcome = remove(uploads, list(before))
    left = {document["_id"] for document in uploads.find({})}
    at_work = {upload_id for upload_id, status in before.items() if status is UPLOADING and lease == "live"}
    assert left == at_work
    assert outcome == Outcome(len(before) - len(at_work), dict.fromkeys(at_work, "uploading"))


def test_priority_adds_up_also_where_there_was_none_or_nonsense(uploads):
    (upload_id,) = add(uploads, priority=2)
    missing, odd, done = add(uploads), put(uploads, PAUSED), put(uploads, COMPLETED)
    uploads.collection.database.command("collMod", uploads.collection.name, validator={})
    uploads.collection.update_one({"_id": missing[0]}, {"$unset": {"priority": 1}})
    uploads.collection.update_one({"_id": odd}, {"$set": {"priority": "high"}})
    outcome = change_priority(uploads, [upload_id, *missing, odd, done], -3)
    assert outcome == Outcome(3, {done: "completed"})
    assert [the(uploads, some).priority for some in (upload_id, *missing, odd, done)] == [-1, -3, -3, 0]


@pytest.mark.parametrize(
    "intent",
    [
        lambda uploads, ids: request_all(uploads, ids, PAUSE),
        retry_all,
        remove,
        lambda uploads, ids: change_priority(uploads, ids, 1),
    ],
)
def test_unknown_ids_are_named_and_none_is_no_error(uploads, intent):
    unknown = ObjectId()
    assert intent(uploads, [unknown]) == Outcome(0, {unknown: "no such upload"})
    assert intent(uploads, []) == Outcome(0, {})


def test_more_ids_than_go_into_one_filter(uploads, monkeypatch):
    monkeypatch.setattr(requests, "_IDS_AT_ONCE", 3)
    added = add(uploads, 7)
    done = put(uploads, COMPLETED)
    assert request_all(uploads, [*added, done], PAUSE) == Outcome(7, {done: "completed"})
    assert uploads.counts()[PAUSED] == 7


def test_foreign_states_are_shown_escaped(uploads):
    uploads.collection.database.command("collMod", uploads.collection.name, validator={})
    uploads.collection.insert_one({"_id": 1, "status": "\x1b[31m"})
    assert request_all(uploads, [1], PAUSE).refused == {1: r"\x1b[31m"}


@pytest.mark.parametrize(
    ("intent", "before", "after"),
    [
        (lambda uploads, ids: request_all(uploads, ids, PAUSE), PENDING, {"status": PAUSED.value}),
        (lambda uploads, ids: request_all(uploads, ids, CANCEL), PENDING, {"status": CANCELLED.value}),
        (retry_all, FAILED, {"status": PENDING.value}),
        (lambda uploads, ids: change_priority(uploads, ids, 5), PENDING, {"priority": 5}),
    ],
)
def test_a_record_that_the_server_lets_nobody_change_keeps_no_other_from_it(uploads, intent, before, after):
    added = [put(uploads, before) for _ in range(5)]
    poison = added[2]
    # Somebody else's rule; a document of 16 MiB, to which nothing can be added, is refused in the same way.
    rule = {"$or": [{"filename": {"$ne": "poison"}}, {"requested_by": {"$exists": False}}]}
    uploads.collection.update_one({"_id": poison}, {"$set": {"filename": "poison"}, "$unset": {"requested_by": 1}})
    uploads.collection.database.command("collMod", uploads.collection.name, validator=rule, validationLevel="strict")
    outcome = intent(uploads, added)
    assert outcome.changed == 4
    assert list(outcome.refused) == [poison]
    assert "MongoDB refuses the change" in outcome.refused[poison]
    others = {"_id": {"$in": [each for each in added if each != poison]}}
    assert uploads.collection.count_documents({**others, **after}) == 4
    assert uploads.collection.count_documents({"_id": poison, **after}) == 0
