"""What a transfer makes of faults between it and the real S3 server."""

from __future__ import annotations

import os
import threading

import pytest

from console.error_codes import Recovery
from console.models import Multipart
from console.s3.operations import open_multiparts
from console.s3.transfer_errors import Stopped, TransferError
from console.transfer.multipart import abort
from console.transfer.send import send
from tests.faults.proxy import Answer, CorruptBody, CutAnswer, CutBody, Do, DropAnswer, Fault, FaultProxy, Hold, Reset

from .conftest import Store, on_each_store
from .doubles import MIB, Commands, MakeFile, Notes, an_upload, options, sent

PASSING: list[Fault] = [
    Answer(503, "SlowDown"),
    Answer(503, "SlowDown", early=True),
    Answer(500, "InternalError"),
    Reset(),
    CutBody(70_000),
    DropAnswer(),
    CutAnswer(40),
    CorruptBody(4000),
]


def stored(s3, bucket: str, key: str = "file.bin") -> bytes:
    body: bytes = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    return body


@pytest.mark.parametrize("fault", PASSING, ids=repr)
@pytest.mark.parametrize("size", [10_000, 3 * MIB])
def test_a_put_gets_through(
    faulty, proxy: FaultProxy, s3, bucket, make_file: MakeFile, fault: Fault, size: int
) -> None:
    path = make_file(size)
    proxy.plan("PutObject", fault, times=2)
    notes = Notes()
    done = sent(an_upload(path, bucket), faulty, notes)
    assert stored(s3, bucket) == path.read_bytes()
    assert proxy.count("PutObject") == 3
    assert len(notes.codes) == 2
    assert notes.net_sent == size
    assert done.sent_bytes >= size


@on_each_store
@pytest.mark.parametrize("fault", PASSING, ids=repr)
def test_parts_get_through(faulty, proxy: FaultProxy, client, bucket_there, make_file: MakeFile, fault: Fault) -> None:
    path = make_file(17 * MIB)
    proxy.plan("UploadPart", fault, times=3, skip=1)
    notes = Notes()
    sent(an_upload(path, bucket_there), faulty, notes)
    assert stored(client, bucket_there) == path.read_bytes()
    if not isinstance(fault, CorruptBody):  # rclone cannot replace a part: it starts again
        assert proxy.count("UploadPart") == 4 + 3
        assert notes.net_sent == 17 * MIB
    assert notes.totals[-1] == 17 * MIB
    assert list(open_multiparts(client, bucket_there)) == []


@on_each_store
@pytest.mark.parametrize("operation", ["CreateMultipartUpload", "CompleteMultipartUpload"])
@pytest.mark.parametrize(
    "fault", [Answer(503, "SlowDown"), Reset(), Answer(200, "InternalError"), CutAnswer(40)], ids=repr
)
def test_requests_around_the_parts_are_repeated(
    faulty, proxy: FaultProxy, client, bucket_there, make_file: MakeFile, operation: str, fault: Fault
) -> None:
    path = make_file(6 * MIB)
    proxy.plan(operation, fault, times=2)
    sent(an_upload(path, bucket_there), faulty)
    assert stored(client, bucket_there) == path.read_bytes()
    assert proxy.count("UploadPart") == 2


@on_each_store
@pytest.mark.parametrize("fault", [DropAnswer(), CutAnswer(40), Answer(500, "InternalError", forwarded=True)], ids=repr)
def test_a_completion_whose_answer_is_lost_is_found(
    faulty, proxy: FaultProxy, client, bucket_there, make_file: MakeFile, fault: Fault
) -> None:
    path = make_file(6 * MIB)
    proxy.plan("CompleteMultipartUpload", fault)
    done = sent(an_upload(path, bucket_there), faulty)
    assert stored(client, bucket_there) == path.read_bytes()
    assert proxy.body_bytes == 6 * MIB
    assert done.checksum.confirmed in ("etag", "checksum")


@on_each_store
def test_a_run_killed_after_completion_finds_its_object(
    faulty, proxy: FaultProxy, client, bucket_there, make_file
) -> None:
    path = make_file(6 * MIB)
    notes = Notes()
    upload = an_upload(path, bucket_there)
    sent(upload, faulty, notes)
    before = proxy.body_bytes
    done = sent(upload.model_copy(update={"multipart": notes.opened[0], "attempts": 1}), faulty, notes)
    assert proxy.body_bytes == before
    assert done.sent_bytes == 0
    assert done.checksum.confirmed in ("etag", "checksum")


def test_what_another_runner_has_by_now_is_not_completed(faulty, proxy: FaultProxy, s3, bucket, make_file) -> None:
    path = make_file(6 * MIB)
    notes = Notes(is_taken_over=True)
    with pytest.raises(Stopped):
        sent(an_upload(path, bucket), faulty, notes)
    assert proxy.count("UploadPart") == 2
    assert proxy.count("CompleteMultipartUpload") == 0
    [left] = open_multiparts(s3, bucket)
    assert left.upload_id == notes.opened[0].upload_id


@on_each_store
def test_an_aborted_multipart_upload_starts_again(
    faulty, proxy: FaultProxy, client, bucket_there, make_file: MakeFile
) -> None:
    path = make_file(17 * MIB)
    notes = Notes()

    def somebody_aborts() -> None:
        client.abort_multipart_upload(Bucket=bucket_there, Key="file.bin", UploadId=notes.opened[0].upload_id)

    proxy.plan("UploadPart", Do(somebody_aborts), skip=2)
    sent(an_upload(path, bucket_there), faulty, notes)
    assert stored(client, bucket_there) == path.read_bytes()
    assert "NoSuchUpload" in notes.codes
    assert len(notes.opened) == 2
    assert notes.closed == 1
    assert list(open_multiparts(client, bucket_there)) == []


@on_each_store
def test_a_part_with_other_bytes_is_found_on_resume(
    store: Store, faulty, client, bucket_there, make_file: MakeFile
) -> None:
    path = make_file(11 * MIB)
    parts = [path.read_bytes()[: 5 * MIB], os.urandom(5 * MIB)]
    upload_id = client.create_multipart_upload(Bucket=bucket_there, Key="file.bin")["UploadId"]
    for number, body in enumerate(parts, 1):
        client.upload_part(Bucket=bucket_there, Key="file.bin", UploadId=upload_id, PartNumber=number, Body=body)
    notes = Notes()
    multipart = Multipart(upload_id=upload_id, part_size=5 * MIB)
    sent(an_upload(path, bucket_there, multipart=multipart), faulty, notes)
    assert stored(client, bucket_there) == path.read_bytes()
    # rclone cannot replace a part, so the upload had to start again.
    assert ("InvalidPart" in notes.codes) is (store.confirmed == "etag")
    assert list(open_multiparts(client, bucket_there)) == []


@pytest.mark.parametrize("code", ["ExpiredToken", "AccessDenied", "RequestTimeTooSkewed", "InvalidAccessKeyId"])
def test_what_a_person_must_mend_is_not_repeated(faulty, proxy, s3, bucket, make_file: MakeFile, code: str) -> None:
    path = make_file(17 * MIB)
    faulty.pool.slots.resize(1)  # the first part has arrived, and none is under way, when the second is refused
    proxy.plan("UploadPart", Answer(403, code), skip=1, times=1000)
    notes = Notes()
    upload = an_upload(path, bucket)
    with pytest.raises(TransferError) as caught:
        sent(upload, faulty, notes)
    assert caught.value.code == code
    assert caught.value.recovery is Recovery.NEEDS_ACTION
    assert caught.value.advice
    assert proxy.count("UploadPart") == 2
    proxy.heal()
    faulty.pool.slots.resize(4)
    done = sent(upload.model_copy(update={"multipart": notes.opened[0]}), faulty)
    assert stored(s3, bucket) == path.read_bytes()
    assert done.sent_bytes == 12 * MIB


@on_each_store
def test_a_final_error_leaves_nothing_in_the_bucket(faulty, proxy, client, bucket_there, make_file: MakeFile) -> None:
    path = make_file(11 * MIB)
    proxy.plan("UploadPart", Answer(400, "EntityTooLarge"), skip=1)
    notes = Notes()
    with pytest.raises(TransferError, match="EntityTooLarge"):
        sent(an_upload(path, bucket_there), faulty, notes)
    assert list(open_multiparts(client, bucket_there)) == []
    assert notes.closed == 1


def test_a_bucket_that_vanishes(faulty, bucket, make_file: MakeFile) -> None:
    with pytest.raises(TransferError) as caught:
        sent(an_upload(make_file(10), f"{bucket}-gone"), faulty)
    assert caught.value.code == "NoSuchBucket"
    assert caught.value.recovery is Recovery.NEEDS_ACTION


def test_retries_end(faulty, proxy: FaultProxy, s3, bucket, make_file: MakeFile) -> None:
    proxy.plan("PutObject", Answer(503, "SlowDown"), times=1000)
    with pytest.raises(TransferError, match="SlowDown") as caught:
        sent(an_upload(make_file(10), bucket), faulty)
    assert caught.value.recovery is Recovery.RETRY
    assert proxy.count("PutObject") == 5


@pytest.mark.parametrize("size", [1000, 11 * MIB])
def test_a_stop_does_not_wait_for_a_server_that_hangs(faulty, proxy, bucket, make_file: MakeFile, size: int) -> None:
    hold = Hold()
    proxy.plan("*", hold, times=1000, when=lambda request: request.operation in ("PutObject", "UploadPart"))
    commands = Commands()
    notes = Notes(commands)
    upload = an_upload(make_file(size), bucket)
    ended: list[BaseException] = []

    def run() -> None:
        try:
            send(upload, transport=faulty, options=options(), journal=notes, control=commands)
        except BaseException as error:
            ended.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    assert hold.reached.wait(60)
    commands.stop()
    thread.join(60)  # before the client's own timeout of 90 seconds
    assert not thread.is_alive()
    assert isinstance(ended[0], Stopped)
    hold.release.set()


@on_each_store
def test_cancelling_leaves_no_parts(faulty, proxy: FaultProxy, client, bucket_there, make_file: MakeFile) -> None:
    commands = Commands(after_bytes=7 * MIB)
    notes = Notes(commands)
    with pytest.raises(Stopped):
        send(
            an_upload(make_file(30 * MIB), bucket_there),
            transport=faulty,
            options=options(),
            journal=notes,
            control=commands,
        )
    assert len(list(open_multiparts(client, bucket_there))) == 1
    for _ in range(2):  # the second time there is nothing left to abort
        abort(faulty.s3, bucket_there, "file.bin", notes.opened[0].upload_id)
    assert list(open_multiparts(client, bucket_there)) == []


def test_parts_that_another_runner_has_by_now_are_not_aborted(faulty, proxy, s3, bucket, make_file: MakeFile) -> None:
    """The lease ran out while MongoDB was away, and somebody adopted the upload: then it ends here in an error."""
    path = make_file(11 * MIB)
    proxy.plan("UploadPart", Answer(400, "EntityTooLarge"), skip=1)
    notes = Notes(is_taken_over=True)
    with pytest.raises(Stopped):
        sent(an_upload(path, bucket), faulty, notes)
    assert [multipart.upload_id for multipart in open_multiparts(s3, bucket)] == [notes.opened[0].upload_id]


@on_each_store
def test_an_object_just_like_it_leaves_no_multipart_upload_open(
    faulty, proxy, client, bucket_there, make_file: MakeFile
) -> None:
    """It may be somebody else's, or an earlier upload's of the same file."""
    path = make_file(11 * MIB)
    sent(an_upload(path, bucket_there), faulty)
    upload_id = client.create_multipart_upload(Bucket=bucket_there, Key="file.bin")["UploadId"]
    proxy.plan("ListParts", Answer(400, "InvalidPart"))
    multipart = Multipart(upload_id=upload_id, part_size=5 * MIB)
    before = proxy.body_bytes
    sent(an_upload(path, bucket_there, multipart=multipart), faulty)
    assert proxy.body_bytes == before
    assert list(open_multiparts(client, bucket_there)) == []


def test_a_conflict_while_the_object_is_made_begins_a_new_multipart_upload(
    faulty, proxy, s3, bucket, make_file: MakeFile
) -> None:
    """Somebody else wrote to the key at that moment: S3 takes this multipart upload no more."""
    path = make_file(6 * MIB)
    proxy.plan("CompleteMultipartUpload", Answer(409, "ConditionalRequestConflict"))
    notes = Notes()
    sent(an_upload(path, bucket), faulty, notes, duplicates="fail")
    assert len(notes.opened) == 2
    assert stored(s3, bucket) == path.read_bytes()
    assert list(open_multiparts(s3, bucket)) == []


def test_an_object_that_is_there_is_confirmed_though_the_abort_is_refused(
    faulty, proxy, s3, bucket, make_file: MakeFile
) -> None:
    path = make_file(11 * MIB)
    sent(an_upload(path, bucket), faulty)
    upload_id = s3.create_multipart_upload(Bucket=bucket, Key="file.bin")["UploadId"]
    proxy.plan("ListParts", Answer(400, "InvalidPart"))
    proxy.plan("AbortMultipartUpload", Answer(403, "AccessDenied"), times=100)
    notes = Notes()
    multipart = Multipart(upload_id=upload_id, part_size=5 * MIB)
    assert sent(an_upload(path, bucket, multipart=multipart), faulty, notes).etag
    assert notes.codes == ["AccessDenied"]


@pytest.mark.parametrize("store", ["seaweedfs"], indirect=True)
@pytest.mark.parametrize("size", [10_000, 6 * MIB])
def test_a_key_that_is_taken_between_look_and_write_is_not_overwritten(
    faulty, proxy: FaultProxy, client, bucket_there, make_file: MakeFile, size: int
) -> None:
    client.put_object(Bucket=bucket_there, Key="file.bin", Body=b"theirs")
    proxy.plan("HeadObject", Answer(404, "NoSuchKey"))
    with pytest.raises(TransferError, match="ObjectExists"):
        sent(an_upload(make_file(size), bucket_there), faulty, duplicates="fail")
    assert stored(client, bucket_there) == b"theirs"
    assert list(open_multiparts(client, bucket_there)) == []
