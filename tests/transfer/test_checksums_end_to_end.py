"""Integrity and conditions against a server that verifies every checksum itself, and against its lesser kin."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from console.transfer.checksums import Algorithm
from console.transfer.client import ClientOptions
from console.transfer.engine import ObjectSettings
from console.transfer.engine_choice import EngineChoice
from console.transfer.errors import TransferError
from console.transfer.objects import delete_object, head_object
from console.transfer.send import Confirmation, send
from console.transfer.server import ServerTraits
from console.transfer.transport import Transport, open_transport
from console.transfer.verify import verify_upload
from tests.faults.proxy import Answer, CorruptBody, CutAnswer, Do, DropAnswer, EditAnswer, FaultProxy

from .doubles import MIB, Commands, MakeFile, Notes, an_upload, options
from .strict_s3 import StrictS3

SMALL, LARGE, THREE_PARTS = 70_000, 6 * MIB, 11 * MIB
Connect = Callable[..., tuple[StrictS3, FaultProxy, Transport]]


@pytest.fixture
def connect(engine: EngineChoice) -> Iterator[Connect]:
    """A strict server, a proxy before it and a transport through that."""
    with ExitStack() as stack:

        def connect(checksum: str = "auto", **server: bool) -> tuple[StrictS3, FaultProxy, Transport]:
            strict = stack.enter_context(StrictS3(**server))
            proxy = stack.enter_context(FaultProxy(strict.url))
            transport = open_transport(
                ClientOptions(endpoint_url=proxy.url, read_timeout_seconds=90),
                parts=4,
                checksum=checksum,  # type: ignore[arg-type]
                engine=engine,
            )
            stack.callback(transport.close)
            return strict, proxy, transport

        yield connect


def sent(upload, transport: Transport, notes: Notes | None = None, **values: object) -> Confirmation:
    return send(upload, transport=transport, options=options(**values), journal=notes or Notes(), control=Commands())


@pytest.mark.parametrize("policy", ["auto", "crc64nvme", "crc32c", "crc32", "sha256", "md5"])
@pytest.mark.parametrize("size", [0, SMALL, LARGE])
def test_what_the_server_verified_is_said(connect: Connect, make_file: MakeFile, policy: str, size: int) -> None:
    strict, _, transport = connect(policy)
    path = make_file(size)
    upload = an_upload(path, "bucket")
    done = sent(upload, transport)
    assert strict.objects["file.bin"].data == path.read_bytes()
    assert done.checksum is not None
    bodies = [headers for method, _, headers in strict.requests if method == "PUT"]
    assert bodies
    assert all(Algorithm(done.checksum.algorithm).header in headers for headers in bodies)
    if policy == "md5":
        assert (done.checksum.algorithm, done.checksum.confirmed) == ("MD5", "etag")
    else:
        assert done.checksum.algorithm == {"auto": "CRC32C"}.get(policy, policy.upper())
        assert done.checksum.confirmed == "checksum"
        assert done.checksum.kind == ("COMPOSITE" if policy == "sha256" and size == LARGE else "FULL_OBJECT")
    assert verify_upload(transport.s3, upload, Commands()).same is True
    path.write_bytes(os.urandom(size or 1))
    assert verify_upload(transport.s3, upload, Commands()).same is False


@pytest.mark.parametrize("policy", ["auto", "sha256"])
@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_without_checksums_the_etag_is_compared(connect: Connect, make_file, policy: str, size: int) -> None:
    strict, _, transport = connect(policy, brief=True)
    done = sent(an_upload(make_file(size), "bucket"), transport)
    assert (done.checksum.algorithm, done.checksum.confirmed) == ("MD5", "etag")
    assert transport.server.returns_checksums is False
    sent(an_upload(make_file(SMALL), "bucket", "again"), transport)
    _, _, headers = strict.requests[-1]
    assert "content-md5" in headers
    assert "x-amz-checksum-crc32" not in headers


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_with_nothing_to_compare_only_the_size_is_confirmed(connect: Connect, make_file, size: int) -> None:
    strict, _, transport = connect(brief=True, opaque_etags=True)
    path = make_file(size)
    upload = an_upload(path, "bucket")
    assert sent(upload, transport).checksum.confirmed == "size"
    assert strict.objects["file.bin"].data == path.read_bytes()
    assert verify_upload(transport.s3, upload, Commands()).same is None


@pytest.mark.parametrize("size", [SMALL, LARGE])
@pytest.mark.parametrize("brief", [True, False])
def test_a_byte_that_changes_on_the_way_is_caught(connect: Connect, make_file, size: int, brief: bool) -> None:
    strict, proxy, transport = connect(brief=brief)
    path = make_file(size)
    for operation in ("PutObject", "UploadPart"):
        proxy.plan(operation, CorruptBody(65_000), times=2)
    notes = Notes()
    sent(an_upload(path, "bucket"), transport, notes)
    assert strict.objects["file.bin"].data == path.read_bytes()
    assert notes.codes == ["BadDigest", "BadDigest"]
    assert notes.net_sent == size


def test_an_object_that_is_not_the_file_is_deleted(connect: Connect, make_file) -> None:
    strict, proxy, transport = connect("crc32")
    wrong = EditAnswer(_replace_checksum)
    proxy.plan("CompleteMultipartUpload", wrong)
    with pytest.raises(TransferError, match="ChecksumMismatch"):
        sent(an_upload(make_file(LARGE), "bucket"), transport)
    assert strict.objects == {}
    assert strict.multiparts == {}


def test_a_small_object_that_is_not_the_file_is_deleted_and_sent_again(connect: Connect, make_file) -> None:
    strict, proxy, transport = connect("crc32")
    path = make_file(SMALL)
    sent(an_upload(path, "bucket"), transport)
    wrong = EditAnswer(lambda answer: re.sub(rb"(?i)(x-amz-checksum-crc32: ?)\S+", rb"\1AAAAAA==", answer))
    proxy.plan("PutObject", wrong, times=1000)
    with pytest.raises(TransferError, match="ChecksumMismatch"):
        sent(an_upload(path, "bucket"), transport)
    assert strict.objects == {}
    proxy.heal()
    proxy.plan("PutObject", wrong)
    sent(an_upload(path, "bucket"), transport)
    assert strict.objects["file.bin"].data == path.read_bytes()


def _replace_checksum(answer: bytes) -> bytes:
    head, _, tail = answer.partition(b"<ChecksumCRC32>")
    return head + b"<ChecksumCRC32>" + b"AAAAAA==" + tail[8:]


def test_a_resumed_upload_keeps_the_checksum_it_began_with(connect: Connect, make_file) -> None:
    strict, proxy, transport = connect("crc32c")
    path = make_file(THREE_PARTS)
    upload = an_upload(path, "bucket")
    notes = Notes()
    transport.pool.slots.resize(1)  # none is under way when the third fails
    proxy.plan("UploadPart", Answer(403, "ExpiredToken"), when=lambda request: request.query["partNumber"] == "3")
    with pytest.raises(TransferError, match="ExpiredToken"):
        sent(upload, transport, notes)
    transport.pool.slots.resize(4)
    done = sent(upload.model_copy(update={"multipart": notes.opened[0]}), transport)
    assert strict.objects["file.bin"].data == path.read_bytes()
    assert done.sent_bytes == THREE_PARTS - 2 * 5 * MIB
    assert (done.checksum.algorithm, done.checksum.kind) == ("CRC32C", "FULL_OBJECT")


def test_another_checksum_than_the_upload_began_with_starts_anew(connect: Connect, make_file) -> None:
    strict, proxy, transport = connect("crc32c")
    path = make_file(THREE_PARTS)
    notes = Notes()
    proxy.plan("CompleteMultipartUpload", Answer(403, "AccessDenied"))
    with pytest.raises(TransferError, match="AccessDenied"):
        sent(an_upload(path, "bucket"), transport, notes)
    other = dataclasses.replace(transport, server=ServerTraits(is_aws=False, policy="sha256"))
    resumed = an_upload(path, "bucket", multipart=notes.opened[0])
    assert sent(resumed, other).checksum.algorithm == "SHA256"
    assert strict.objects["file.bin"].data == path.read_bytes()
    assert strict.multiparts == {}


def test_a_name_that_was_taken_while_paused(connect: Connect, make_file) -> None:
    strict, proxy, transport = connect()
    path = make_file(LARGE)
    notes = Notes()
    proxy.plan("CompleteMultipartUpload", Answer(403, "AccessDenied"))
    with pytest.raises(TransferError, match="AccessDenied"):
        sent(an_upload(path, "bucket"), transport, notes)
    transport.s3.put_object(Bucket="bucket", Key="file.bin", Body=b"theirs")
    resumed = an_upload(path, "bucket", multipart=notes.opened[0])
    assert sent(resumed, transport, duplicates="new_name").key == "file-2.bin"
    assert strict.objects["file.bin"].data == b"theirs"
    assert strict.objects["file-2.bin"].data == path.read_bytes()
    assert strict.multiparts == {}


def test_a_part_with_other_bytes_is_replaced_on_resume(connect: Connect, make_file) -> None:
    strict, proxy, transport = connect()
    path = make_file(THREE_PARTS)
    upload = an_upload(path, "bucket")
    notes = Notes()
    proxy.plan("CompleteMultipartUpload", Answer(403, "AccessDenied"))
    with pytest.raises(TransferError, match="AccessDenied"):
        sent(upload, transport, notes)
    upload_id = notes.opened[0].upload_id
    transport.s3.upload_part(
        Bucket="bucket", Key="file.bin", UploadId=upload_id, PartNumber=2, Body=os.urandom(5 * MIB)
    )
    done = sent(upload.model_copy(update={"multipart": notes.opened[0]}), transport)
    assert strict.objects["file.bin"].data == path.read_bytes()
    assert done.sent_bytes == 5 * MIB


def test_settings_of_the_object_arrive(connect: Connect, make_file) -> None:
    strict, _, transport = connect()
    settings = ObjectSettings("STANDARD_IA", "aws:kms", "key-1", {"team": "a"}, {"cost centre": "7 & 8"})
    for key, size in (("small", SMALL), ("large", LARGE)):
        upload = an_upload(make_file(size), "bucket", key, content_type="text/x-test")
        sent(upload, transport, settings=settings)
        headers = strict.objects[key].headers
        assert headers["content-type"] == "text/x-test"
        assert headers["x-amz-storage-class"] == "STANDARD_IA"
        assert headers["x-amz-server-side-encryption"] == "aws:kms"
        assert headers["x-amz-server-side-encryption-aws-kms-key-id"] == "key-1"
        assert headers["x-amz-meta-team"] == "a"
        assert headers["x-amz-tagging"] == "cost+centre=7+%26+8"


# --- duplicates


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_an_identical_object_is_not_sent_again(connect: Connect, make_file, size: int) -> None:
    _, proxy, transport = connect()
    upload = an_upload(make_file(size), "bucket")
    sent(upload, transport)
    before = proxy.body_bytes
    done = sent(upload, transport, duplicates="skip_identical")
    assert done.skipped
    assert done.sent_bytes == proxy.body_bytes - before == 0


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


def test_a_server_that_refuses_conditions(connect: Connect, make_file) -> None:
    strict, proxy, transport = connect()
    proxy.plan(
        "PutObject", Answer(501, "NotImplemented"), times=9, when=lambda request: "if-none-match" in request.headers
    )
    sent(an_upload(make_file(SMALL), "bucket"), transport, duplicates="fail")
    assert list(strict.objects) == ["file.bin"]
    assert proxy.count("PutObject") == 2


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_a_server_that_refuses_checksums(connect: Connect, make_file, size: int) -> None:
    _, proxy, transport = connect()
    proxy.plan(
        "*",
        Answer(501, "NotImplemented"),
        times=99,
        when=lambda request: any(
            name.startswith("x-amz-checksum-") and name != "x-amz-checksum-mode" for name in request.headers
        ),
    )
    done = sent(an_upload(make_file(size), "bucket"), transport)
    assert done.checksum.confirmed == "etag"


# --- deleting


def test_only_our_own_object_is_deleted(connect: Connect, make_file) -> None:
    strict, _, transport = connect()
    done = sent(an_upload(make_file(SMALL), "bucket"), transport)
    transport.s3.put_object(Bucket="bucket", Key="file.bin", Body=b"theirs")
    with pytest.raises(TransferError, match="PreconditionFailed"):
        delete_object(transport.s3, "bucket", "file.bin", etag=done.etag)
    assert strict.objects["file.bin"].data == b"theirs"
    found = head_object(transport.s3, "bucket", "file.bin")
    assert found is not None
    assert delete_object(transport.s3, "bucket", "file.bin", etag=found.answer.etag)
    assert not delete_object(transport.s3, "bucket", "file.bin", etag=found.answer.etag)
