"""Download links. Made on demand and kept nowhere: whoever has one needs no credentials."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from console.errors import UsageError
from console.transfer.retrying import ask

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

LONGEST_SECONDS: Final = 7 * 24 * 3600
"""Signature Version 4 allows no more; with temporary credentials the link ends with them, if that is earlier."""


def presign_download(
    s3: S3Client,
    bucket: str,
    key: str,
    *,
    lifetime_seconds: int,
    filename: str | None = None,
    version_id: str | None = None,
) -> str:
    """A link that downloads the object, under `filename` where given. Asks no server whether the object exists.

    Raises:
        UsageError: a lifetime that S3 does not allow. TransferError: there are no credentials to sign with.
    """
    if not 1 <= lifetime_seconds <= LONGEST_SECONDS:
        raise UsageError(f"a link can last from 1 second to 7 days, not {lifetime_seconds} seconds")
    parameters: dict[str, Any] = {"Bucket": bucket, "Key": key}
    if version_id:
        parameters["VersionId"] = version_id
    if filename:
        # RFC 6266: the encoded form, in which no quote, line break or foreign letter can do harm.
        encoded = quote(filename.encode("utf-8", "replace"), safe="")
        parameters["ResponseContentDisposition"] = f"attachment; filename*=UTF-8''{encoded}"
    return ask(lambda: s3.generate_presigned_url("get_object", Params=parameters, ExpiresIn=lifetime_seconds))
