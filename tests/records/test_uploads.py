"""The store: adding, claiming among several runners, adoption, reading."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest
from bson import ObjectId

from console.models import Multipart, Requested, Upload, UploadStatus, read_upload
from console.records.transitions import completed, multipart_opened
from console.ui.uploads.uploads_window import matches
from tests.records.documents import HOST, add, claim_all, expire, new_upload, put, the

PENDING, UPLOADING, PAUSED = UploadStatus.PENDING, UploadStatus.UPLOADING, UploadStatus.PAUSED
COMPLETED, FAILED, CANCELLED = UploadStatus.COMPLETED, UploadStatus.FAILED, UploadStatus.CANCELLED
MULTIPART = Multipart(upload_id="parts", part_size=5 * 1024 * 1024)


def ids(found: list[Upload]) -> list[ObjectId]:
    return [upload.id for upload in found]


def unsealed(upload: Upload) -> Multipart | None:
    return upload.multipart and upload.multipart.model_copy(update={"seal": None})


def test_added_uploads_are_pending_in_order(uploads):
    added = add(uploads, 3)
    assert [document["_id"] for document in uploads.get(added)] == added
    assert uploads.add([]) == []
    upload = the(uploads, added[0])
    assert (upload.status, upload.requested, upload.attempts, upload.lease) == (PENDING, Requested.RUN, 0, None)


def test_claims_go_by_priority_then_age(uploads):
    first, second = add(uploads, 2)
    uploads.collection.update_one({"_id": second}, [{"$set": {"created_at": {"$add": ["$created_at", 1000]}}}])
    (urgent,) = add(uploads, priority=5)
    (late,) = add(uploads, priority=-1)
    assert ids(claim_all(uploads, "a", slots=3)) == [urgent, first, second]
    assert ids(claim_all(uploads, "a", slots=3)) == [late]


def test_a_claim_takes_slots_and_small_ones_ahead(uploads):
    large = add(uploads, 3, size=100)
    small = add(uploads, 4, size=10, priority=1)
    claimed = uploads.claim("a", HOST, lease_seconds=60, slots=1, most_bytes_ahead=25)
    assert ids(claimed) == small[:3]
    claimed = uploads.claim("a", HOST, lease_seconds=60, slots=2, most_bytes_ahead=25)
    assert ids(claimed) == [small[3], large[0]]
    assert uploads.claim("a", HOST, lease_seconds=60, slots=0, most_bytes_ahead=25) == []
    claimed = uploads.claim("a", HOST, lease_seconds=60, slots=0, most_bytes_ahead=100)
    assert ids(claimed) == [large[1]]


def test_what_a_claim_writes(uploads):
    (upload_id,) = add(uploads)
    (claimed,) = claim_all(uploads, "a")
    assert (claimed.status, claimed.attempts, claimed.lease.runner) == (UPLOADING, 1, "a")
    assert claimed.started_at is not None
    assert timedelta(seconds=55) < claimed.lease.expires_at - claimed.updated_at <= timedelta(seconds=60)
    assert claimed == the(uploads, upload_id)


def test_what_is_inserted_as_held_is_as_a_claim_would_leave_it(uploads):
    (claimed_id,) = add(uploads)
    (claimed,) = claim_all(uploads, "a")
    (inserted,) = uploads.insert_claimed([new_upload()], "a", lease_seconds=60)
    held = the(uploads, inserted.id)
    assert inserted == held
    own = {
        "id",
        "filename",
        "path",
        "mtime_ns",
        "fingerprint",
        "key",
        "created_at",
        "started_at",
        "updated_at",
        "lease",
        "seal",
    }
    assert held.model_dump(exclude=own) == claimed.model_dump(exclude=own)
    assert held.lease.runner == "a"
    assert held.lease.expires_at - held.started_at == timedelta(seconds=60)
    assert abs(held.started_at - claimed.started_at) < timedelta(seconds=30)  # the server's clock, both
    assert claim_all(uploads, "b") == []
    assert the(uploads, claimed_id).status is UPLOADING


def test_only_what_is_wanted_of_this_host_and_free_is_claimed(uploads):
    add(uploads, host="elsewhere")
    for status in (COMPLETED, FAILED, CANCELLED):
        put(uploads, status)
    put(uploads, PAUSED, Requested.PAUSE)
    put(uploads, UPLOADING, runner="b")
    put(uploads, UPLOADING, Requested.CANCEL, runner="b", live=False)
    left = put(uploads, PAUSED)  # by a runner that had to end
    orphan = put(uploads, UPLOADING, runner="b", live=False)
    assert set(ids(claim_all(uploads, "a"))) == {left, orphan}


def test_only_bounds_a_claim(uploads):
    first, second = add(uploads, 2)
    assert ids(claim_all(uploads, "a", only={"_id": second})) == [second]
    assert ids(claim_all(uploads, "a", only={"host": "elsewhere"})) == []
    assert ids(claim_all(uploads, "a")) == [first]


def test_a_lease_keeps_others_out_until_it_ran_out(uploads):
    (upload_id,) = add(uploads)
    claim_all(uploads, "a")
    assert claim_all(uploads, "b") == []
    expire(uploads, [upload_id])
    (adopted,) = claim_all(uploads, "b")
    assert (adopted.lease.runner, adopted.attempts) == ("b", 2)


def test_the_lease_of_a_runner_that_is_known_to_be_dead_keeps_nobody_out(uploads):
    of_dead, of_other = add(uploads, 2)
    claim_all(uploads, "dead", only={"_id": of_dead})
    claim_all(uploads, "other", only={"_id": of_other})
    assert sorted(uploads.lease_holders(HOST)) == ["dead", "other"]
    assert ids(claim_all(uploads, "b", dead=["dead", "nobody"])) == [of_dead]


def test_a_runner_does_not_take_again_what_it_is_at_work_on(uploads):
    (upload_id,) = add(uploads)
    claim_all(uploads, "a")
    expire(uploads, [upload_id])
    assert claim_all(uploads, "a", at_work=[upload_id]) == []
    assert ids(claim_all(uploads, "a")) == [upload_id]


def test_what_was_acknowledged_is_kept_for_the_next_runner(uploads):
    orphan = put(
        uploads, UPLOADING, runner="b", live=False, current=500, rate=9.0, multipart=MULTIPART.model_dump(), attempts=3
    )
    (adopted,) = claim_all(uploads, "a")
    assert (adopted.id, adopted.current, unsealed(adopted), adopted.attempts) == (orphan, 500, MULTIPART, 4)
    assert adopted.rate == 0


def test_runners_that_claim_at_once_share_nothing_and_leave_nothing(uploads):
    added = add(uploads, 60)
    start = threading.Barrier(4)
    claimed: dict[str, list[ObjectId]] = {}

    def run(runner: str) -> None:
        start.wait()
        mine: list[ObjectId] = []
        while uploads.collection.count_documents({"status": PENDING}, limit=1):
            mine += ids(uploads.claim(runner, HOST, lease_seconds=60, slots=3, most_bytes_ahead=0))
        claimed[runner] = mine

    threads = [threading.Thread(target=run, args=[name]) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(upload_id for mine in claimed.values() for upload_id in mine) == sorted(added)
    for runner, mine in claimed.items():
        assert {the(uploads, upload_id).lease.runner for upload_id in mine} <= {runner}


def test_a_record_that_cannot_be_read_fails_instead_of_being_claimed_for_ever(uploads):
    uploads.collection.database.command("collMod", uploads.collection.name, validator={})
    fields = {"host": HOST, "status": "pending", "requested": "run", "size": "huge", "attempts": "many"}
    broken = {"_id": ObjectId(), **fields}
    foreign = {"_id": 7, **fields}  # no id of ours: somebody else's document, and none of our business
    uploads.collection.insert_many([broken, foreign])
    (good,) = add(uploads)
    assert ids(claim_all(uploads, "a")) == [good]
    assert uploads.collection.find_one({"_id": 7}) == foreign
    document = uploads.collection.find_one({"_id": broken["_id"]})
    assert (document["status"], document["lease"], document["error"]["code"]) == ("failed", None, "InvalidRecord")
    assert claim_all(uploads, "b") == []


def test_an_upload_that_the_server_lets_nobody_claim_fails_with_that_reason(uploads):
    """It would be tried again for ever, and waited for."""
    poison, *good = add(uploads, 4)
    rule = {"$or": [{"filename": {"$ne": "poison"}}, {"lease": None}]}
    uploads.collection.update_one({"_id": poison}, {"$set": {"filename": "poison"}})
    uploads.collection.database.command("collMod", uploads.collection.name, validator=rule, validationLevel="strict")
    assert sorted(ids(claim_all(uploads, "a"))) == sorted(good)
    failed = the(uploads, poison)
    assert (failed.status, failed.lease, failed.error.code) == (FAILED, None, "InvalidRecord")
    assert "MongoDB refuses the change" in failed.error.message


def test_uploads_of_other_hosts_are_stalled_once_their_runner_has_gone(uploads):
    theirs = put(uploads, UPLOADING, runner="b", live=False, host="elsewhere")
    put(uploads, UPLOADING, runner="b", host="elsewhere")
    put(uploads, UPLOADING, runner="b", live=False)
    put(uploads, UPLOADING, Requested.PAUSE, runner="b", live=False, host="elsewhere")
    assert ids(uploads.stalled(HOST, {})) == [theirs]
    assert ids(uploads.claim_elsewhere("a", HOST, [theirs, ObjectId()], lease_seconds=60)) == [theirs]
    assert uploads.claim_elsewhere("c", HOST, [theirs], lease_seconds=60) == []
    assert uploads.stalled(HOST, {}) == []
    assert the(uploads, theirs).host == HOST


@pytest.mark.parametrize(("requested", "settled"), [(Requested.PAUSE, PAUSED), (Requested.CANCEL, CANCELLED)])
def test_what_a_dead_runner_was_told_to_stop_is_settled_by_another(uploads, requested, settled):
    gone = put(uploads, UPLOADING, requested, runner="b", live=False)
    named = put(uploads, UPLOADING, requested, runner="dead", rate=5.0)
    by_hand = put(uploads, PENDING, requested)  # somebody wrote `requested` alone
    at_work = put(uploads, UPLOADING, requested, runner="b")
    wanted = put(uploads, UPLOADING, runner="b", live=False)
    assert uploads.settle(["dead"]) == 3
    for upload_id in (gone, named, by_hand):
        upload = the(uploads, upload_id)
        assert (upload.status, upload.lease, upload.rate) == (settled, None, 0)
        assert (upload.finished_at is not None) == settled.is_terminal
    assert the(uploads, at_work).status is UPLOADING
    assert the(uploads, wanted).status is UPLOADING
    assert uploads.settle(["dead"]) == 0


def test_a_cancelled_pause_is_settled_too(uploads):
    upload_id = put(uploads, PAUSED, Requested.CANCEL)
    assert uploads.settle() == 1
    assert the(uploads, upload_id).status is CANCELLED


def test_what_is_requested_of_a_runners_uploads(uploads):
    put(uploads, UPLOADING, runner="a")
    put(uploads, UPLOADING, Requested.CANCEL, runner="b")
    pause = put(uploads, UPLOADING, Requested.PAUSE, runner="a")
    cancel = put(uploads, UPLOADING, Requested.CANCEL, runner="a")
    assert uploads.requested_of("a") == {pause: Requested.PAUSE, cancel: Requested.CANCEL}


@pytest.mark.parametrize(
    ("status", "attempts", "is_told"),
    [
        *((PENDING, 3, True), (PAUSED, 3, True), (CANCELLED, 3, True)),
        *((UPLOADING, 3, False), (FAILED, 3, False), (PENDING, 4, False)),
    ],
)
def test_a_late_completion_is_told_unless_another_claim_came_between(uploads, status, attempts, is_told):
    """What a later claim opened in the bucket is known by the record alone."""
    upload_id = put(uploads, status, attempts=attempts, multipart=MULTIPART.model_dump())
    fields = completed(key="chosen", checksum=None, etag=None, version_id=None)
    assert uploads.complete_late(upload_id, 3, fields) is is_told
    upload = the(uploads, upload_id)
    assert (upload.status, unsealed(upload)) == ((COMPLETED, None) if is_told else (status, MULTIPART))


def test_parts_of_cancelled_uploads_are_tidied_by_one_runner(uploads):
    parts = MULTIPART.model_dump()
    upload_id = put(uploads, CANCELLED, Requested.CANCEL, multipart=parts, current=5, percentage=1.0)
    put(uploads, CANCELLED, Requested.CANCEL)
    put(uploads, FAILED, multipart=parts)
    (taken,) = uploads.to_clean_up("a", lease_seconds=60)
    assert (taken.id, unsealed(taken)) == (upload_id, MULTIPART)
    assert uploads.to_clean_up("b", lease_seconds=60) == []
    uploads.cleaned_up("b", upload_id)
    assert unsealed(the(uploads, upload_id)) == MULTIPART
    uploads.cleaned_up("a", upload_id)
    upload = the(uploads, upload_id)
    assert (upload.status, upload.multipart, upload.lease, upload.current) == (CANCELLED, None, None, 0)


def test_parts_that_cannot_be_aborted_now_are_tried_again_later_and_hold_up_no_others(uploads):
    stubborn = put(uploads, CANCELLED, multipart=MULTIPART.model_dump())
    assert ids(uploads.to_clean_up("a", lease_seconds=60, limit=1)) == [stubborn]
    other = put(uploads, CANCELLED, multipart=MULTIPART.model_dump())
    assert ids(uploads.to_clean_up("b", lease_seconds=60, limit=1)) == [other]
    expire(uploads, [stubborn])
    assert ids(uploads.to_clean_up("b", lease_seconds=60)) == [stubborn]


def test_tidying_leaves_an_upload_alone_that_was_retried_meanwhile(uploads):
    upload_id = put(uploads, CANCELLED, multipart=MULTIPART.model_dump())
    uploads.to_clean_up("a", lease_seconds=60)
    again = {"status": "pending", "requested": "run", "lease": None}
    uploads.collection.update_one({"_id": upload_id}, {"$set": again})
    claim_all(uploads, "a")
    uploads.cleaned_up("a", upload_id)
    upload = the(uploads, upload_id)
    assert (upload.status, unsealed(upload), upload.lease.runner) == (UPLOADING, MULTIPART, "a")


def test_multipart_ids_of_a_bucket(uploads):
    (upload_id,) = add(uploads)
    uploads.collection.update_one({"_id": upload_id}, [{"$set": multipart_opened(MULTIPART)}])
    add(uploads)
    assert uploads.multipart_ids("bucket") == {"parts"}
    assert uploads.multipart_ids("other") == set()


def test_counts_leave_foreign_states_out(uploads):
    add(uploads, 2)
    put(uploads, FAILED)
    uploads.collection.database.command("collMod", uploads.collection.name, validator={})
    uploads.collection.insert_many([{"status": "odd"}, {"status": {"a": [1]}}, {"status": [1]}, {}])
    assert uploads.counts() == {status: {"pending": 2, "failed": 1}.get(status, 0) for status in UploadStatus}


def test_the_window_shows_what_is_under_way_what_is_next_and_what_ended_last(uploads, monkeypatch):
    monkeypatch.setattr("console.records.uploads.SNAPSHOT_WINDOW", 2)
    waiting = [*add(uploads, priority=1), *add(uploads, 3)]
    now = the(uploads, waiting[0]).created_at
    ended = [put(uploads, COMPLETED, finished_at=now + timedelta(seconds=second)) for second in range(3)]
    running = put(uploads, UPLOADING, runner="a")
    uploads.collection.database.command("collMod", uploads.collection.name, validator={})
    odd = uploads.collection.insert_one({"status": "odd"}).inserted_id
    found = [document["_id"] for document in uploads.window()]
    assert set(found[:2]) == {running, odd}
    assert found[2:4] == waiting[:2]
    assert found[4:] == ended[:0:-1]


def test_pages_join_without_overlap(uploads):
    waiting = [*add(uploads, 3, priority=2), *add(uploads, 4)]
    pages, after = [], None
    while page := uploads.waiting_after(after, "", 2):
        pages += [document["_id"] for document in page]
        last = page[-1]
        after = (last["priority"], last["created_at"], last["_id"])
    assert pages == waiting


def test_finished_pages_join_without_overlap(uploads):
    now = new_upload().document(the(uploads, add(uploads)[0]).created_at)["created_at"]
    ended = [put(uploads, COMPLETED, finished_at=None) for _ in range(3)]
    ended += [put(uploads, FAILED, finished_at=now) for _ in range(3)]
    ended += [put(uploads, CANCELLED, finished_at=now + timedelta(seconds=1))]
    pages, after = [], None
    while page := uploads.finished_after(after, "", 2):
        pages += [document["_id"] for document in page]
        after = (page[-1]["finished_at"], page[-1]["_id"])
    assert pages == ended[::-1]


@pytest.mark.parametrize(
    "text",
    [
        *("REPORT", "report beta", "beta report", "report alpha", "/srv/a/", "archive", "failed", "Watch", "slowdown"),
        *(
            "failed beta slow",
            "s3://archive",
            "S3://Archive/2026/re",
            "s3://chive/2026",
            "archive/2026/report",
            "/2026/r",
        ),
        *("chive/2026 failed", "a(b)", "a(", "ÜBERS", "report nothing", "s3://archive/026", "2026/2026", "  "),
        *("is:failed", "IS:Cancelled host:ALPHA", "host:alph", "is:active", "is:today report", "is:nothing", "host:"),
    ],
)
def test_the_server_finds_what_the_filter_of_the_table_would_show(uploads, text):
    error = {"code": "SlowDown", "message": "later", "at": datetime(2026, 1, 1, tzinfo=UTC)}
    put(
        uploads,
        FAILED,
        filename="Report.pdf",
        path="/srv/a/Report.pdf",
        key="2026/report.pdf",
        host="beta",
        error=error,
    )
    put(uploads, FAILED, filename="Report.pdf", path="/srv/b/Report.pdf", key="2026/report.pdf", bucket="archive")
    put(
        uploads,
        CANCELLED,
        filename="a(b).txt",
        path="/srv/a(b).txt",
        key="x/Übersicht",
        bucket="archive",
        source="watch",
        host="alpha",
    )
    put(uploads, COMPLETED, filename="ab.txt", key="elsewhere", path="/srv/2026/2026")
    found = uploads.finished_after(None, text, 10)
    words = text.casefold().split()
    assert found == [doc for doc in uploads.finished_after(None, "", 10) if matches(read_upload(doc), words)]


def test_text_is_looked_for_as_it_is(uploads):
    upload_id = put(uploads, PENDING, filename="a(b).txt")
    put(uploads, PENDING, filename="ab.txt")
    assert [document["_id"] for document in uploads.waiting_after(None, "A(B)", 10)] == [upload_id]
    assert uploads.waiting_after(None, "(", 10) == uploads.waiting_after(None, "a(", 10)
