"""What `doctor` tries on a bucket: the requests of an upload, rights, and conditional writes.

Everything is on keys of its own, and is aborted or deleted again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from console.error_codes import DENIED, UNSUPPORTED
from console.s3.retry import call
from console.s3.transfer_errors import TransferError

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client


_BODY: Final = b"upload-console doctor"


@dataclass(frozen=True, slots=True)
class Probe:
    """What a bucket was seen to do. `checksums` names the algorithms that came back with a part; `missing`, by the
    operation, what was refused of that which an upload can do without. `by_customer_key`: a key of ours encrypts."""

    checksums: tuple[str, ...]
    missing: Mapping[str, TransferError]
    by_customer_key: bool = False


def probe_bucket(s3: S3Client, bucket: str, key: str, parameters: Mapping[str, Any]) -> Probe:
    """Open a multipart upload, with the `parameters` of all objects, send a part with a CRC32, list it, abort.

    Raises:
        TransferError: one of the requests was refused that every upload needs; its message says which operation.
    """
    with _naming("CreateMultipartUpload"):
        opened = call(
            lambda: s3.create_multipart_upload(Bucket=bucket, Key=key, ChecksumAlgorithm="CRC32", **parameters)
        )
    upload_id = opened["UploadId"]
    missing: dict[str, TransferError] = {}

    def is_refused(operation: str, request: Callable[[], object]) -> None:
        with _naming(operation):
            try:
                call(request)
            except TransferError as error:
                if error.code not in UNSUPPORTED | DENIED:
                    raise
                missing[operation] = error

    try:
        with _naming("UploadPart"):
            part = call(
                lambda: s3.upload_part(
                    Bucket=bucket, Key=key, UploadId=upload_id, PartNumber=1, Body=_BODY, ChecksumAlgorithm="CRC32"
                )
            )
        is_refused("ListParts", lambda: s3.list_parts(Bucket=bucket, Key=key, UploadId=upload_id))
    finally:
        is_refused(
            "AbortMultipartUpload", lambda: s3.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload_id)
        )
    prefix = "Checksum"
    returned = sorted(name.removeprefix(prefix) for name in part if name.startswith(prefix) and name != f"{prefix}Type")
    return Probe(tuple(returned), missing, by_customer_key="SSECustomerAlgorithm" in part)


@contextmanager
def _naming(operation: str) -> Iterator[None]:
    try:
        yield
    except TransferError as error:
        raise TransferError(error.code, f"{operation}: {error.message}", error.recovery) from error


class ConditionSupport(StrEnum):
    """What a server makes of `If-None-Match: *` where the key is taken."""

    HONOURED = "honours"
    IGNORED = "ignores"
    REFUSED = "refuses"


_CONFLICTS: Final = frozenset({"PreconditionFailed", "ConditionalRequestConflict", "412", "409"})


def probe_conditions(s3: S3Client, bucket: str, key: str, parameters: Mapping[str, Any]) -> dict[str, ConditionSupport]:
    """What PutObject and CompleteMultipartUpload make of `If-None-Match: *`, by trying to replace an object at `key`.

    Raises:
        TransferError: one of the requests failed for another reason.
    """
    versions: list[str | None] = []

    def tried(request: Callable[[], Mapping[str, Any]]) -> ConditionSupport:
        try:
            versions.append(call(request).get("VersionId"))
        except TransferError as error:
            if error.code in _CONFLICTS:
                return ConditionSupport.HONOURED
            if error.code in UNSUPPORTED or error.code in ("InvalidArgument", "InvalidRequest", "400"):
                return ConditionSupport.REFUSED
            raise
        return ConditionSupport.IGNORED

    def put(**condition: str) -> Mapping[str, Any]:
        return s3.put_object(Bucket=bucket, Key=key, Body=_BODY, **condition, **parameters)  # type: ignore[arg-type]

    try:
        versions.append(call(put).get("VersionId"))
        of_put = tried(lambda: put(IfNoneMatch="*"))
        opened = call(lambda: s3.create_multipart_upload(Bucket=bucket, Key=key, **parameters))
        upload: dict[str, Any] = {"Bucket": bucket, "Key": key, "UploadId": opened["UploadId"]}
        of_completion = None
        try:
            part = call(lambda: s3.upload_part(**upload, PartNumber=1, Body=_BODY))
            parts: Any = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
            of_completion = tried(
                lambda: s3.complete_multipart_upload(**upload, MultipartUpload=parts, IfNoneMatch="*")
            )
        finally:
            if of_completion is not ConditionSupport.IGNORED:
                with suppress(TransferError):  # gone already, or what may not be aborted: both were told before
                    call(lambda: s3.abort_multipart_upload(**upload))
        return {"PutObject": of_put, "CompleteMultipartUpload": of_completion}
    finally:
        for version in dict.fromkeys(versions):
            which: dict[str, Any] = {"VersionId": version} if version else {}
            with suppress(TransferError):  # the rights have been looked at before
                call(lambda which=which: s3.delete_object(Bucket=bucket, Key=key, **which))  # type: ignore[misc]


def refused_rights(s3: S3Client, bucket: str, key: str, parameters: Mapping[str, Any]) -> dict[str, TransferError]:
    """The rights beyond those to a multipart upload that are not there: the action's name, and how it was refused.

    An object is made at `key` only where it can be removed again; `parameters` are those of all objects.
    """
    refused: dict[str, TransferError] = {}

    def allows(action: str, operation: Callable[[], object], *harmless: str) -> bool:
        try:
            call(operation)
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
        call(lambda: s3.list_objects_v2(Bucket=bucket, MaxKeys=1))
    except TransferError as told:
        return told
    return error
