"""Multipart uploads that are open in a bucket, and what S3 stores for each.

Owns listing them. Not here: which of them no record owns (`orphans`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from console.transfer.errors import TransferError
from console.transfer.retrying import ask_patiently

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

_NONE_THERE: Final = "NoSuchUpload"
"""rclone's answer for a bucket in which no multipart upload was ever opened."""


@dataclass(frozen=True, slots=True)
class OpenMultipart:
    """A multipart upload that was neither completed nor aborted. `initiated_at` in UTC."""

    key: str
    upload_id: str
    initiated_at: datetime


def open_multiparts(s3: S3Client, bucket: str, prefix: str = "") -> Iterator[OpenMultipart]:
    """All open multipart uploads under a prefix, in the order of their keys.

    Raises:
        TransferError: as `errors.classify` sorts it.
    """
    place: dict[str, Any] = {}
    while True:
        page = _page(s3, bucket, prefix, place)
        for upload in page.get("Uploads", []):
            # Not every server filters by the prefix.
            if upload["Key"].startswith(prefix):
                yield OpenMultipart(upload["Key"], upload["UploadId"], upload["Initiated"])
        if not page.get("IsTruncated"):
            return
        place = {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page.get("NextUploadIdMarker", "")}


def _page(s3: S3Client, bucket: str, prefix: str, place: Mapping[str, Any]) -> Mapping[str, Any]:
    try:
        return ask_patiently(lambda: s3.list_multipart_uploads(Bucket=bucket, Prefix=prefix, **place))
    except TransferError as error:
        if error.code == _NONE_THERE:
            return {}
        raise


def stored_bytes(s3: S3Client, bucket: str, key: str, upload_id: str) -> int:
    """How many bytes an open multipart upload holds, and so costs.

    Raises:
        TransferError: NoSuchUpload where it is gone; others as `errors.classify` sorts them.
    """
    pages = s3.get_paginator("list_parts").paginate(Bucket=bucket, Key=key, UploadId=upload_id)
    return ask_patiently(lambda: sum(part["Size"] for page in pages for part in page.get("Parts", [])))
