"""Integrity against a server that verifies every checksum itself, and against its lesser kin."""

from __future__ import annotations

import dataclasses
import os
import re
from typing import Any

import pytest

from console.s3.checksums import Algorithm
from console.s3.confirmation import ServerTraits
from console.s3.engines.engine import ObjectSettings
from console.s3.operations import NotOurs, delete_object, head_object
from console.s3.transfer_errors import TransferError
from console.transfer.comparison import verify_upload
from tests.faults.proxy import Answer, CorruptBody, EditAnswer

from .conftest import Connect
from .doubles import LARGE, MIB, SMALL, Commands, MakeFile, Notes, an_upload, sent

THREE_PARTS = 11 * MIB


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
    strict, _, transport = connect(brief=True, etags="opaque")
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


@pytest.mark.parametrize("policy", ["auto", "sha256"])
def test_an_upload_whose_parts_are_all_there_is_completed_with_their_checksums(
    connect: Connect, make_file, policy: str
) -> None:
    """Another process, which sends no part, hears nothing of the server but the list of parts."""
    strict, proxy, transport = connect(policy)
    path = make_file(THREE_PARTS)
    notes = Notes()
    proxy.plan("CompleteMultipartUpload", Answer(403, "ExpiredToken"))
    with pytest.raises(TransferError, match="ExpiredToken"):
        sent(an_upload(path, "bucket"), transport, notes)
    another_run = dataclasses.replace(transport, server=ServerTraits(is_aws=False, policy=policy))
    done = sent(an_upload(path, "bucket", multipart=notes.opened[0]), another_run)
    assert strict.objects["file.bin"].data == path.read_bytes()
    assert (done.sent_bytes, done.checksum.confirmed) == (0, "checksum")
    _, _, headers = next(request for request in reversed(strict.requests) if request[0] == "POST")
    assert another_run.server.algorithm.header in headers


def test_another_checksum_than_the_upload_began_with_starts_again(connect: Connect, make_file) -> None:
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


@pytest.mark.parametrize(("told", "known"), [("null", None), ("v1", "v1")])
def test_the_version_of_an_object(connect: Connect, make_file, told: str, known: str | None) -> None:
    _, proxy, transport = connect()
    proxy.plan("PutObject", with_header("x-amz-version-id", told))
    assert sent(an_upload(make_file(SMALL), "bucket"), transport).version_id == known


def test_an_etag_of_kms_is_not_taken_for_md5(connect: Connect, make_file) -> None:
    _, proxy, transport = connect(brief=True)
    kms = with_header("x-amz-server-side-encryption", "aws:kms")
    proxy.plan("PutObject", EditAnswer(lambda answer: re.sub(rb'"[0-9a-f]{32}"', b'"%032d"' % 0, kms.edit(answer))))
    notes = Notes()
    sent(an_upload(make_file(SMALL), "bucket"), transport, notes)
    assert notes.codes == []
    assert proxy.count("PutObject") == 1


def with_header(name: str, value: str) -> EditAnswer:
    return EditAnswer(lambda answer: answer.replace(b"\r\n", f"\r\n{name}: {value}\r\n".encode(), 1))


# --- deleting


def test_only_our_own_object_is_deleted(connect: Connect, make_file) -> None:
    """Also by a server that keeps no metadata: then the record's own words have to be vouched for."""
    strict, _, transport = connect()
    upload = an_upload(make_file(SMALL), "bucket")
    done = sent(upload, transport)

    def delete(etag: str, **known: Any) -> bool:
        return delete_object(transport.s3, "bucket", "file.bin", etag=etag, **known)

    transport.s3.put_object(Bucket="bucket", Key="file.bin", Body=b"theirs")
    with pytest.raises(NotOurs, match="no mark"):
        delete(done.etag, owners=[str(upload.id)])
    with pytest.raises(TransferError, match="PreconditionFailed"):
        delete(done.etag, owners=[str(upload.id)], is_vouched_for=True)
    assert strict.objects["file.bin"].data == b"theirs"
    found = head_object(transport.s3, "bucket", "file.bin")
    assert found is not None
    assert delete(found.answer.etag, is_vouched_for=True)
    assert not delete(found.answer.etag, is_vouched_for=True)
