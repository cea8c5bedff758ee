"""What comes from a pipe, through a line that breaks: parts that are held are sent again, and memory is bounded."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pyrage
import pytest
import zstandard
from bson import ObjectId

from console.error_codes import Recovery
from console.models import Storage, Upload
from console.s3.control import Unattended
from console.s3.engines.source import SourceFile
from console.s3.engines.staged import transformed
from console.s3.transfer_errors import TransferError
from console.settings import load
from console.transfer.sources.pipe import PipeSender, PipeSource
from tests.faults.proxy import Answer, CutBody, DropAnswer, FaultProxy

from .doubles import MIB

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

PIECE = b"0123456789abcdef" * (MIB // 16)


def _fed(pieces: int) -> int:
    """A pipe that brings so many mebibytes; gives the end to read from."""
    reader, writer = os.pipe()

    def write() -> None:
        with os.fdopen(writer, "wb") as stream:
            try:
                for _ in range(pieces):
                    stream.write(PIECE)
            except BrokenPipeError:
                pass

    threading.Thread(target=write, daemon=True).start()
    return reader


def _upload(bucket: str, **fields: Any) -> Upload:
    now = datetime.now(UTC)
    return Upload.model_validate(
        {
            "_id": ObjectId(),
            "filename": "dump",
            "path": "/dev/stdin/dump",
            "host": "here",
            "size": 0,
            "mtime_ns": 1,
            "fingerprint": "1-0-1",
            "content_type": "application/octet-stream",
            "bucket": bucket,
            "key": "dump",
            "source": "command",
            "status": "uploading",
            "requested": "run",
            "attempts": 1,
            "created_at": now,
            "updated_at": now,
            **fields,
        }
    )


def _send(
    proxy: FaultProxy, bucket: str, pieces: int, retries: int = 8, *, size: int | None = None, **fields: Any
) -> Upload:
    """The record of what was sent, as it is then."""
    settings = load(None, {}, {"s3.endpoint_url": proxy.url, "s3.bucket": bucket, "transfer.retries": retries})
    reader = _fed(pieces)
    try:
        upload = _upload(bucket, **fields)
        with PipeSender(settings.s3, settings.transfer, reader, size=size) as sender:
            done = sender.send(upload, Unattended(), Unattended())
        assert done.checksum.is_confirmed
        return upload.model_copy(update={"size": pieces * MIB, "checksum": done.checksum, "etag": done.etag})
    finally:
        os.close(reader)


def test_parts_that_were_lost_are_sent_again_and_no_more_is_held_than_said(
    proxy: FaultProxy, bucket: str, s3: S3Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: dict[int, int] = {}
    most = 0
    hold, drop = PipeSource.hold, PipeSource.drop

    def counted(self: PipeSource, offset: int, piece: bytes) -> None:
        nonlocal most
        held[offset] = len(piece)
        most = max(most, sum(held.values()))
        hold(self, offset, piece)

    def dropped(self: PipeSource, offset: int) -> None:
        held.pop(offset, None)
        drop(self, offset)

    monkeypatch.setattr(PipeSource, "hold", counted)
    monkeypatch.setattr(PipeSource, "drop", dropped)
    proxy.plan("UploadPart", CutBody(100_000), times=2, skip=1)
    proxy.plan("UploadPart", Answer(503, "SlowDown"), times=1, skip=5)
    _send(proxy, bucket, 150)
    body = s3.get_object(Bucket=bucket, Key="dump")["Body"]
    digest = hashlib.sha256()
    for piece in body.iter_chunks(MIB):
        digest.update(piece)
    assert digest.digest() == hashlib.sha256(PIECE * 150).digest()
    assert most <= 64 * MIB


def test_where_the_answer_to_the_completion_is_lost_the_object_shows_that_it_is_there(
    proxy: FaultProxy, bucket: str, s3: S3Client
) -> None:
    proxy.plan("CompleteMultipartUpload", DropAnswer(), times=1)
    _send(proxy, bucket, 20)
    assert s3.head_object(Bucket=bucket, Key="dump")["ContentLength"] == 20 * MIB
    assert proxy.count("CompleteMultipartUpload") == 2


def test_an_object_of_somebody_else_is_not_taken_for_it(proxy: FaultProxy, bucket: str, s3: S3Client) -> None:
    s3.put_object(Bucket=bucket, Key="dump", Body=PIECE * 20)
    proxy.plan("CompleteMultipartUpload", Answer(404, "NoSuchUpload"), times=1)
    with pytest.raises(TransferError) as caught:
        _send(proxy, bucket, 20)
    assert caught.value.code == "NoSuchUpload"


def test_an_error_that_lasts_is_named_and_leaves_no_parts(proxy: FaultProxy, bucket: str, s3: S3Client) -> None:
    proxy.plan("UploadPart", Answer(403, "AccessDenied"), times=1000, skip=1)
    with pytest.raises(TransferError, match="cannot be resumed") as caught:
        _send(proxy, bucket, 40)
    assert caught.value.code == "AccessDenied"
    assert caught.value.recovery is Recovery.PERMANENT
    assert not s3.list_objects_v2(Bucket=bucket).get("Contents")
    assert proxy.count("AbortMultipartUpload") >= 1


def test_what_is_compressed_and_encrypted_as_it_comes_is_read_back_and_verified(
    proxy: FaultProxy, bucket: str, s3: S3Client
) -> None:
    identity = pyrage.x25519.Identity.generate()
    storage = Storage(compress="zstd", encrypt_to=(str(identity.to_public()),))
    sent = _send(proxy, bucket, 40, storage=storage)
    found = s3.get_object(Bucket=bucket, Key="dump")
    body = pyrage.decrypt(found["Body"].read(), [identity])
    assert zstandard.ZstdDecompressor().decompressobj().decompress(body) == PIECE * 40
    assert found["ContentType"] == "application/octet-stream"
    settings = load(None, {}, {"s3.endpoint_url": proxy.url, "s3.bucket": bucket})
    with PipeSender(settings.s3, settings.transfer, -1) as sender:
        assert sender.verify(sent).same is True
        s3.put_object(Bucket=bucket, Key="dump", Body=b"another")
        assert sender.verify(sent).same is False


@pytest.mark.parametrize("told", [19 * MIB, 21 * MIB])
def test_a_pipe_of_another_length_than_was_told_stores_nothing(
    proxy: FaultProxy, bucket: str, s3: S3Client, told: int
) -> None:
    with pytest.raises(TransferError, match="--size says") as caught:
        _send(proxy, bucket, 20, size=told)
    assert caught.value.code == "PipeEnded"
    assert not s3.list_objects_v2(Bucket=bucket).get("Contents")
    assert not s3.list_multipart_uploads(Bucket=bucket).get("Uploads")


def test_what_fails_while_it_is_encrypted_is_no_end() -> None:
    recipient = str(pyrage.x25519.Identity.generate().to_public())

    def pieces() -> Iterator[bytes]:
        yield PIECE
        raise TransferError("ReadFailed", "the disk is gone")

    with pytest.raises(TransferError, match="the disk is gone"):
        for _ in transformed(pieces(), ("gzip", "age"), (recipient,)):
            pass


def test_whoever_retries_it_reads_that_a_pipe_cannot_be_read_again() -> None:
    with pytest.raises(TransferError, match="cannot be read again") as caught:
        SourceFile.open("/dev/stdin/dump")
    assert (caught.value.code, caught.value.recovery) == ("PipeEnded", Recovery.PERMANENT)
