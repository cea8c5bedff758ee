"""Trying out a bucket: the requests of a multipart upload, on a key of its own that is never completed.

Owns that sequence, for `doctor`. Nothing stays behind: the multipart upload is aborted whatever happens.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from console.transfer.errors import TransferError
from console.transfer.retrying import ask

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

_BODY: Final = b"upload-console doctor"


@dataclass(frozen=True, slots=True)
class Probe:
    """What a bucket was seen to do. `checksums` names the algorithms that came back with a part."""

    checksums: tuple[str, ...]


def probe_bucket(s3: S3Client, bucket: str, key: str) -> Probe:
    """Open a multipart upload, send a part with a CRC32, list it, abort.

    Raises:
        TransferError: one of the requests was refused; its message says which operation.
    """
    with _naming("CreateMultipartUpload"):
        opened = ask(lambda: s3.create_multipart_upload(Bucket=bucket, Key=key, ChecksumAlgorithm="CRC32"))
    upload_id = opened["UploadId"]
    try:
        with _naming("UploadPart"):
            part = ask(
                lambda: s3.upload_part(
                    Bucket=bucket, Key=key, UploadId=upload_id, PartNumber=1, Body=_BODY, ChecksumAlgorithm="CRC32"
                )
            )
        with _naming("ListParts"):
            ask(lambda: s3.list_parts(Bucket=bucket, Key=key, UploadId=upload_id))
    finally:
        with _naming("AbortMultipartUpload"):
            ask(lambda: s3.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload_id))
    prefix = "Checksum"
    returned = sorted(name.removeprefix(prefix) for name in part if name.startswith(prefix) and name != f"{prefix}Type")
    return Probe(tuple(returned))


@contextmanager
def _naming(operation: str) -> Iterator[None]:
    try:
        yield
    except TransferError as error:
        raise TransferError(error.code, f"{operation}: {error.message}", error.verdict) from error
