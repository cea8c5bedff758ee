"""Faults between a runner and the real S3 server: what passes is passed, what does not is told, nothing is left."""

from __future__ import annotations

import threading

import pytest

from console.error_codes import Recovery, explain
from console.models import UploadStatus
from console.s3.engines.http_engine import HttpEngine
from console.s3.transfer_errors import TransferError
from console.transfer.orphans import find_orphans
from tests.faults.conftest import MakeWorld
from tests.faults.proxy import (
    Answer,
    CorruptBody,
    CutAnswer,
    CutBody,
    Delay,
    Do,
    DropAnswer,
    Fault,
    Hold,
    Reset,
)
from tests.faults.world import MIB, QUICK, World

IN_TIME = 20.0  # seconds; a second is promised, a busy machine is given more
FAILED, COMPLETED = UploadStatus.FAILED, UploadStatus.COMPLETED

PASSING: list[Fault] = [
    Answer(503, "SlowDown"),
    Answer(500, "InternalError"),
    Answer(500, "InternalError", early=True),
    Answer(400, "RequestTimeout"),
    Reset(),
    CutBody(200_000),
    DropAnswer(),
    CutAnswer(40),
    CorruptBody(4000),
    Delay(0.2),
]


@pytest.mark.parametrize("engine", ["auto", "boto3"])  # small bodies over connections of our own, or all through boto3
@pytest.mark.parametrize("fault", PASSING, ids=repr)
def test_what_passes_by_itself_is_passed(make_world: MakeWorld, fault: Fault, engine: str) -> None:
    world = make_world(engine=engine)
    world.proxy.plan("PutObject", fault, times=2)
    world.proxy.plan("UploadPart", fault, times=2)
    if not isinstance(fault, CutBody | CorruptBody):
        world.proxy.plan("CreateMultipartUpload", fault, times=2)
        world.proxy.plan("CompleteMultipartUpload", fault, times=2)
    ids = world.add(world.file(700_000, "small"), world.file(12 * MIB, "large"), world.file(0, "empty"))
    world.start_runner()
    world.wait_completed(ids)
    lost_answers = isinstance(fault, DropAnswer | CutAnswer)
    if lost_answers:
        # Opened by S3, and nobody learned their ids: they hold nothing, and a sweep finds them.
        found = find_orphans(world.s3, world.records.uploads, world.bucket, "", youngest_seconds=0)
        assert [orphan.stored_bytes for orphan in found] == [0, 0]
    world.check(orphans=2 if lost_answers else 0)


def test_a_server_that_says_nothing_is_given_up_on(world: World) -> None:
    holds = [Hold(), Hold()]
    for hold, operation in zip(holds, ("PutObject", "UploadPart"), strict=True):
        world.proxy.plan(operation, hold)
    ids = world.add(world.file(100_000, "small"), world.file(6 * MIB, "large"))
    world.start_runner(sender=world.open_sender(read_timeout_seconds=0.5))
    world.wait_completed(ids)
    for upload_id in ids:
        assert {"ReadTimeout", "WriteTimeout"} & set(world.noted(upload_id))
    for hold in holds:
        hold.release.set()
    world.check()


def test_throttling_that_lasts_is_told_and_a_retry_sends_only_the_rest(make_world: MakeWorld) -> None:
    world = make_world(parallel_parts=1)
    world.proxy.plan("UploadPart", Answer(503, "SlowDown"), skip=2, times=1000)
    [upload_id] = world.add(world.file(21 * MIB))
    world.start_runner()
    world.wait_status([upload_id], FAILED)
    upload = world.upload(upload_id)
    assert upload.error is not None
    assert upload.error.code == "SlowDown"
    assert upload.multipart is not None
    held = sum(world.parts(upload_id).values())
    assert upload.current == held > 0
    world.check()
    world.proxy.heal()
    before = world.proxy.passed_bytes
    world.retry(upload_id)
    world.wait_completed([upload_id])
    assert world.proxy.passed_bytes - before == 21 * MIB - held
    world.check()


NEEDS_ACTION = ["ExpiredToken", "AccessDenied", "RequestTimeTooSkewed", "InvalidAccessKeyId", "SignatureDoesNotMatch"]


@pytest.mark.parametrize("code", NEEDS_ACTION)
def test_what_a_person_must_mend_waits_for_them_and_keeps_what_arrived(make_world: MakeWorld, code: str) -> None:
    world = make_world(parallel_parts=1)
    world.proxy.plan("UploadPart", Answer(403, code), skip=1, times=1000)
    world.proxy.plan("PutObject", Answer(403, code), times=1000)
    ids = world.add(world.file(11 * MIB, "large"), world.file(1000, "small"))
    world.start_runner()
    world.wait_status(ids, FAILED)
    for upload_id in ids:
        upload = world.upload(upload_id)
        assert upload.error is not None
        assert upload.error.code == code
        assert ("s3:PutObject" in upload.error.message) is (code == "AccessDenied")
        assert explain(code).recovery is Recovery.NEEDS_ACTION
    assert world.proxy.count("PutObject") == 1  # asking again and again would lock an account, and mend nothing
    held = sum(world.parts(ids[0]).values())
    assert held > 0
    world.check()
    world.proxy.heal()
    before = world.proxy.passed_bytes
    world.retry(*ids)
    world.wait_completed(ids)
    assert world.proxy.passed_bytes - before == 11 * MIB - held + 1000
    world.check()


def test_a_bucket_that_vanishes_and_comes_back(world: World) -> None:
    name = f"{world.bucket}-gone"
    ids = world.add(world.file(6 * MIB, "large"), world.file(1000, "small"), bucket=name)
    world.start_runner()
    world.wait_status(ids, FAILED)
    assert {world.document(upload_id)["error"]["code"] for upload_id in ids} == {"NoSuchBucket"}
    world.check()


def test_a_bucket_that_vanishes_under_the_parts(world: World) -> None:
    [upload_id] = world.add(world.file(21 * MIB))
    world.proxy.plan("UploadPart", Answer(404, "NoSuchBucket"), skip=2, times=1000)
    world.proxy.plan("ListParts", Answer(404, "NoSuchBucket"), times=1000)
    world.start_runner()
    world.wait_status([upload_id], FAILED)
    upload = world.upload(upload_id)
    assert upload.error is not None
    assert upload.error.code == "NoSuchBucket"
    assert upload.multipart is not None  # a retry finds out what became of it
    world.check()
    world.proxy.heal()
    world.retry(upload_id)
    world.wait_completed([upload_id])
    world.check()


def test_a_multipart_upload_that_somebody_aborts_starts_again(world: World) -> None:
    [upload_id] = world.add(world.file(21 * MIB))

    def abort() -> None:
        [multipart] = world.open_multiparts()
        world.s3.abort_multipart_upload(Bucket=world.bucket, Key=multipart.key, UploadId=multipart.upload_id)

    world.proxy.plan("UploadPart", Do(abort), skip=2)
    world.start_runner()
    world.wait_completed([upload_id])
    assert "NoSuchUpload" in world.noted(upload_id)
    world.check()


def test_a_multipart_upload_that_is_aborted_while_it_is_paused_starts_again(world: World) -> None:
    [upload_id] = world.add(world.file(21 * MIB))
    world.let(1)
    runner = world.start_runner()
    world.wait_parts(upload_id, 1)
    runner.stop()
    world.hurry()
    multipart = world.upload(upload_id).multipart
    assert multipart is not None
    world.s3.abort_multipart_upload(Bucket=world.bucket, Key="file.bin", UploadId=multipart.upload_id)
    world.start_runner()
    world.wait_completed([upload_id])
    assert "NoSuchUpload" in world.noted(upload_id)
    world.check()


def test_a_small_file_whose_bucket_cannot_be_asked_for_goes_the_long_way(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A certificate that is refused, say, is met again there, and told."""

    def refused(*_: object) -> None:
        raise TransferError("CertificateRefused", "a fault of the test's own")

    monkeypatch.setattr(HttpEngine, "put", refused)
    ids = world.add(world.file(1000))
    world.start_runner()
    world.wait_completed(ids)  # now it is known what the server returns, which is asked first
    ids += world.add(world.file(1000, "second"), world.file(1000, "third"))
    world.wait_completed(ids)
    world.check()


def test_what_can_never_succeed_leaves_nothing(world: World) -> None:
    world.proxy.plan("UploadPart", Answer(400, "EntityTooLarge"), skip=1, times=1000)
    world.proxy.plan("PutObject", Answer(400, "KeyTooLongError"), times=1000)
    ids = world.add(world.file(11 * MIB, "large"), world.file(1000, "small"))
    world.start_runner()
    world.wait_status(ids, FAILED)
    assert [world.document(upload_id)["error"]["code"] for upload_id in ids] == ["EntityTooLarge", "KeyTooLongError"]
    assert world.open_multiparts() == []
    assert world.upload(ids[0]).current == 0
    world.check()


def test_parts_of_a_failed_upload_that_cannot_be_dropped_now_are_dropped_later(world: World) -> None:
    """The record keeps the multipart upload as long as the bucket does."""
    world.proxy.plan("UploadPart", Answer(400, "EntityTooLarge"), skip=1, times=1000)
    world.proxy.plan("AbortMultipartUpload", Answer(503, "SlowDown"), times=1000)
    [upload_id] = world.add(world.file(11 * MIB))
    world.start_runner()
    world.wait_status([upload_id], FAILED)
    assert world.upload(upload_id).multipart is not None
    world.check()
    world.proxy.heal()
    world.cancel(upload_id)
    world.wait_until_tidy(upload_id)
    world.check()


def test_a_completion_whose_answer_is_lost_is_no_second_upload(world: World) -> None:
    for fault in (DropAnswer(), Answer(500, "InternalError", forwarded=True)):
        world.proxy.plan("CompleteMultipartUpload", fault)
    path = world.file(6 * MIB)
    [first] = world.add(path)
    world.start_runner()
    world.wait_completed([first])
    assert world.proxy.passed_bytes == 6 * MIB
    world.check()


def test_the_connection_is_lost_and_found_in_the_middle_of_everything(world: World) -> None:
    """Nothing gets through for a while, whatever is asked."""
    ids = world.add(*(world.file(size, f"file-{size}") for size in (1000, 700_000, 6 * MIB, 17 * MIB)))
    # As many as one request may be tried again: it may meet all of them.
    world.proxy.plan("*", Reset(), skip=6, times=QUICK.retries)
    world.start_runner()
    world.wait_completed(ids)
    world.check()


def test_a_hang_is_no_obstacle_to_a_pause(world: World) -> None:
    hold = Hold(threading.Event(), threading.Event())
    world.proxy.plan("UploadPart", hold, times=1000)
    [upload_id] = world.add(world.file(11 * MIB))
    world.start_runner()
    assert hold.reached.wait(20)
    seconds = world.pause(upload_id)
    print(f"paused {seconds:.2f} s after it was asked for, while the server hung")
    assert seconds < IN_TIME
    hold.release.set()
    world.check()
