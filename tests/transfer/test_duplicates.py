"""Keys that are taken, on a server that honours conditions: by others, or by an object of our own."""

from __future__ import annotations

import os

import pytest

from console.models import Multipart
from console.s3.transfer_errors import TransferError
from tests.faults.proxy import Answer, CutAnswer, Do, DropAnswer

from .conftest import Connect
from .doubles import LARGE, MIB, SMALL, Notes, an_upload, sent


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_an_identical_object_is_not_sent_again(connect: Connect, make_file, size: int) -> None:
    _, proxy, transport = connect()
    upload = an_upload(make_file(size), "bucket")
    sent(upload, transport)
    before = proxy.body_bytes
    done = sent(upload, transport, duplicates="skip_identical")
    assert done.skipped
    assert done.sent_bytes == proxy.body_bytes - before == 0


@pytest.mark.parametrize("part_size", [10 * MIB, 7 * MIB + 5])
def test_an_object_in_the_parts_of_another_program_is_not_sent_again(
    connect: Connect, make_file, part_size: int
) -> None:
    """By the sizes that other programs take, or by what the server tells of the first part."""
    _, proxy, transport = connect()
    path = make_file(21 * MIB)
    content = path.read_bytes()
    s3, place = transport.s3, {"Bucket": "bucket", "Key": "file.bin"}
    opened = s3.create_multipart_upload(**place)["UploadId"]
    parts = [
        {"PartNumber": number, "ETag": s3.upload_part(**place, UploadId=opened, PartNumber=number, Body=piece)["ETag"]}
        for number, piece in enumerate((content[at : at + part_size] for at in range(0, len(content), part_size)), 1)
    ]
    s3.complete_multipart_upload(**place, UploadId=opened, MultipartUpload={"Parts": parts})
    before = proxy.body_bytes
    assert sent(an_upload(path, "bucket"), transport, duplicates="skip_identical").skipped
    assert proxy.body_bytes == before


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_another_object_is_replaced_unless_told_otherwise(connect: Connect, make_file, size: int) -> None:
    strict, _, transport = connect()
    path = make_file(size)
    upload = an_upload(path, "bucket")
    for policy in ("skip_identical", "overwrite"):
        transport.s3.put_object(Bucket="bucket", Key="file.bin", Body=os.urandom(size))
        done = sent(upload, transport, duplicates=policy)
        assert not done.skipped
        assert strict.objects["file.bin"].data == path.read_bytes()


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_fail_and_new_name(connect: Connect, make_file, size: int) -> None:
    strict, _, transport = connect()
    path = make_file(size)
    transport.s3.put_object(Bucket="bucket", Key="file.bin", Body=b"theirs")
    transport.s3.put_object(Bucket="bucket", Key="file-2.bin", Body=b"theirs too")
    with pytest.raises(TransferError, match="ObjectExists"):
        sent(an_upload(path, "bucket"), transport, duplicates="fail")
    notes = Notes()
    done = sent(an_upload(path, "bucket"), transport, notes, duplicates="new_name")
    assert done.key == "file-3.bin"
    assert notes.keys == ["file-3.bin"]
    assert strict.objects["file.bin"].data == b"theirs"
    assert strict.objects["file-3.bin"].data == path.read_bytes()
    assert strict.multiparts == {}


@pytest.mark.parametrize("size", [SMALL, LARGE])
@pytest.mark.parametrize("policy", ["fail", "new_name", "skip_identical"])
def test_a_key_taken_between_look_and_write(connect: Connect, make_file, size: int, policy: str) -> None:
    strict, proxy, transport = connect()
    path = make_file(size)

    def somebody_writes() -> None:
        transport.s3.put_object(Bucket="bucket", Key="file.bin", Body=b"theirs")

    operation = "PutObject" if size == SMALL else "CompleteMultipartUpload"
    proxy.plan(operation, Do(somebody_writes), when=lambda request: "if-none-match" in request.headers)
    if policy == "fail":
        with pytest.raises(TransferError) as caught:
            sent(an_upload(path, "bucket"), transport, duplicates=policy)
        assert caught.value.code == "ObjectExists"
    else:
        sent(an_upload(path, "bucket"), transport, duplicates=policy)
    key = "file-2.bin" if policy == "new_name" else "file.bin"
    if policy != "skip_identical":
        assert strict.objects["file.bin"].data == b"theirs"
    if policy != "fail":
        assert strict.objects[key].data == path.read_bytes()
    assert strict.multiparts == {}


@pytest.mark.parametrize("size", [SMALL, LARGE])
@pytest.mark.parametrize("policy", ["fail", "new_name", "skip_identical"])
@pytest.mark.parametrize("fault", [DropAnswer(), CutAnswer(10), Answer(500, "InternalError", forwarded=True)], ids=repr)
@pytest.mark.parametrize("key_first", [False, True], ids=["upload first", "key first"])
def test_an_own_object_is_no_duplicate(
    connect: Connect, make_file, size: int, policy: str, fault, key_first: bool
) -> None:
    """The answer to our own write is lost: the condition then fails on our own object."""
    strict, proxy, transport = connect(key_first=key_first)
    path = make_file(size)
    proxy.plan("PutObject" if size == SMALL else "CompleteMultipartUpload", fault)
    done = sent(an_upload(path, "bucket"), transport, duplicates=policy)
    assert (done.key, done.skipped) == ("file.bin", False)
    assert proxy.count("CreateMultipartUpload") == (size == LARGE)
    assert list(strict.objects) == ["file.bin"]
    assert strict.objects["file.bin"].data == path.read_bytes()
    assert strict.multiparts == {}


@pytest.mark.parametrize("identical", [True, False])
def test_an_object_of_others_before_the_second_attempt(connect: Connect, make_file, identical: bool) -> None:
    """One just like ours cannot be told from ours, and is as good."""
    strict, proxy, transport = connect()
    path = make_file(LARGE)
    theirs = path.read_bytes() if identical else os.urandom(LARGE)

    def somebody_writes() -> None:
        transport.s3.put_object(Bucket="bucket", Key="file.bin", Body=theirs)

    proxy.plan("CompleteMultipartUpload", Answer(503, "SlowDown"))
    proxy.plan("CompleteMultipartUpload", Do(somebody_writes))
    if identical:
        assert not sent(an_upload(path, "bucket"), transport, duplicates="fail").skipped
    else:
        with pytest.raises(TransferError, match="ObjectExists"):
            sent(an_upload(path, "bucket"), transport, duplicates="fail")
    assert strict.objects["file.bin"].data == theirs
    assert strict.multiparts == {}


def test_a_run_killed_after_its_put_finds_its_object(connect: Connect, make_file) -> None:
    strict, _, transport = connect()
    upload = an_upload(make_file(SMALL), "bucket")
    sent(upload, transport)
    again = upload.model_copy(update={"attempts": 2})
    for policy in ("fail", "new_name", "overwrite"):
        done = sent(again, transport, duplicates=policy)
        assert (done.key, done.sent_bytes, done.skipped) == ("file.bin", 0, False)
    assert list(strict.objects) == ["file.bin"]


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_a_second_attempt_to_overwrite_needs_no_right_to_read(connect: Connect, make_file, size: int) -> None:
    strict, proxy, transport = connect()
    path = make_file(size)
    upload = an_upload(path, "bucket", attempts=2)
    proxy.plan("HeadObject", Answer(403, "AccessDenied"), times=99)
    sent(upload, transport)
    assert strict.objects["file.bin"].data == path.read_bytes()
    with pytest.raises(TransferError, match=r"^403: "):
        sent(upload, transport, duplicates="fail")


def test_a_lost_multipart_upload_starts_again_without_the_right_to_read(connect: Connect, make_file) -> None:
    strict, proxy, transport = connect()
    path = make_file(LARGE)
    proxy.plan("HeadObject", Answer(403, "AccessDenied"), times=99)
    notes = Notes()
    sent(an_upload(path, "bucket", multipart=Multipart(upload_id="lost", part_size=5 * MIB)), transport, notes)
    assert strict.objects["file.bin"].data == path.read_bytes()
    assert notes.codes == ["NoSuchUpload"]
