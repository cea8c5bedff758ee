"""Trying out a bucket, for `doctor`: the requests of a multipart upload that is never completed, and further rights.

Owns those sequences, on a key of their own. Nothing stays behind: what was begun is aborted or deleted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from console.transfer.errors import TransferError
from console.transfer.retrying import ask

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

_BODY: Final = b"upload-console doctor"


@dataclass(frozen=True, slots=True)
class Probe:
    """What a bucket was seen to do. `checksums` names the algorithms that came back with a part."""

    checksums: tuple[str, ...]


def probe_bucket(s3: S3Client, bucket: str, key: str, parameters: Mapping[str, Any]) -> Probe:
    """Open a multipart upload, with the `parameters` of all objects, send a part with a CRC32, list it, abort.

    Raises:
        TransferError: one of the requests was refused; its message says which operation.
    """
    with _naming("CreateMultipartUpload"):
        opened = ask(
            lambda: s3.create_multipart_upload(Bucket=bucket, Key=key, ChecksumAlgorithm="CRC32", **parameters)
        )
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


def refused_rights(s3: S3Client, bucket: str, key: str, parameters: Mapping[str, Any]) -> dict[str, TransferError]:
    """The rights beyond those to a multipart upload that are not there: the action's name, and how it was refused.

    An object is made at `key` only where it can be removed again; `parameters` are those of all objects.
    """
    refused: dict[str, TransferError] = {}

    def allows(action: str, operation: Callable[[], object], *harmless: str) -> bool:
        try:
            ask(operation)
        except TransferError as error:
            if error.code in harmless:
                return True
            refused[action] = error
        return action not in refused

    allows("s3:ListBucket", lambda: s3.list_objects_v2(Bucket=bucket, Prefix=key, MaxKeys=1))
    # rclone's answer where no multipart upload was ever opened.
    allows(
        "s3:ListBucketMultipartUploads",
        lambda: s3.list_multipart_uploads(Bucket=bucket, Prefix=key, MaxUploads=1),
        "NoSuchUpload",
    )
    # There is no such object yet. Who may not list gets 403 for one that is missing, whatever else he may.
    if not allows("s3:DeleteObject", lambda: s3.delete_object(Bucket=bucket, Key=key), "404", "NoSuchKey"):
        if "s3:ListBucket" not in refused:
            allows("s3:GetObject", lambda: s3.head_object(Bucket=bucket, Key=key), "404", "NoSuchKey")
        return refused
    made: dict[str, Any] = {}
    if allows("s3:PutObject", lambda: made.update(s3.put_object(Bucket=bucket, Key=key, Body=_BODY, **parameters))):
        allows("s3:GetObject", lambda: s3.get_object(Bucket=bucket, Key=key)["Body"].read())
        version: dict[str, Any] = {"VersionId": made["VersionId"]} if made.get("VersionId") else {}
        action = "s3:DeleteObjectVersion" if version else "s3:DeleteObject"
        allows(action, lambda: s3.delete_object(Bucket=bucket, Key=key, **version))
    return refused


def why_refused(s3: S3Client, bucket: str, error: TransferError) -> TransferError:
    """The cause of a HeadBucket that was refused: the answer to HEAD has no body, and so names none."""
    if error.code not in ("400", "401", "403"):
        return error
    try:
        ask(lambda: s3.list_objects_v2(Bucket=bucket, MaxKeys=1))
    except TransferError as told:
        return told
    return error
