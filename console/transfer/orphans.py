"""Multipart uploads that no document owns: found, and aborted when a person agreed.

Owns which are orphans. Those younger than a few minutes are left alone: between S3's answer and the write of the
document there is a moment in which every upload looks like one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from console.models import Endpoint, OpenMultipart
from console.records.uploads import Uploads
from console.s3.operations import open_multiparts, stored_bytes
from console.s3.transfer_errors import TransferError
from console.transfer.multipart import abort

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

YOUNGEST_SECONDS: Final = 300.0


def find_orphans(
    s3: S3Client,
    uploads: Uploads,
    bucket: str,
    prefix: str,
    *,
    youngest_seconds: float = YOUNGEST_SECONDS,
    endpoint: Endpoint | None = None,
) -> list[OpenMultipart]:
    """Orphans under a prefix. Raises `TransferError`."""
    # The bucket is listed first: what is opened after the documents were read cannot be mistaken for an orphan.
    listed = list(open_multiparts(s3, bucket, prefix))
    owned = uploads.multipart_ids(bucket, endpoint)
    now = datetime.now(UTC)
    return [
        replace(multipart, stored_bytes=_stored_bytes(s3, bucket, multipart))
        for multipart in listed
        if multipart.upload_id not in owned and (now - multipart.initiated_at).total_seconds() >= youngest_seconds
    ]


def abort_orphans(
    s3: S3Client, uploads: Uploads, bucket: str, orphans: Sequence[OpenMultipart], *, endpoint: Endpoint | None = None
) -> list[OpenMultipart]:
    """Abort them, but for those that a document owns by now; gives those that were.

    Raises:
        TransferError: some could not be aborted; all others were.
    """
    owned = uploads.multipart_ids(bucket, endpoint)
    wanted = [orphan for orphan in orphans if orphan.upload_id not in owned]
    refused: list[TransferError] = []
    for orphan in wanted:
        try:
            abort(s3, bucket, orphan.key, orphan.upload_id)
        except TransferError as error:
            refused.append(error)
    if refused:
        first = refused[0]
        raise TransferError(first.code, f"{len(refused)} of {len(wanted)} stay: {first.message}", first.recovery)
    return wanted


def _stored_bytes(s3: S3Client, bucket: str, multipart: OpenMultipart) -> int | None:
    try:
        return stored_bytes(s3, bucket, multipart.key, multipart.upload_id)
    except TransferError:
        return None
