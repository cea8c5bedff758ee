"""Single requests to S3 other than sending: look at an object, delete it, list open multipart uploads, sign a download
link.

A link is made on demand and kept nowhere: whoever has it needs no credentials.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from console.errors import UsageError
from console.formatting import visible
from console.models import OpenMultipart
from console.s3.checksums import Algorithm, new_digest
from console.s3.engines.boto3_engine import read_answer, require
from console.s3.engines.engine import StoredBody
from console.s3.retry import call, call_with_retries
from console.s3.transfer_errors import TransferError

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client


_WHOLE: Final = 200
_READ_AT_ONCE: Final = 256 * 1024
_ABSENT: Final = frozenset({"404", "NoSuchKey", "NotFound", "NoSuchVersion", "405"})


OWNER: Final = "upload-console-id"
"""The metadata key by which an object says which upload made it. Whoever can write documents cannot write this."""


class NotOurs(TransferError):
    """Nothing shows that what a document names in S3 is the upload's own: it stays."""

    def __init__(self, message: str, code: str = "NotAllowed") -> None:
        super().__init__(code, message)


class ObjectReplaced(NotOurs):
    """There is another object of that name by now."""

    def __init__(self) -> None:
        super().__init__("the object was replaced by another one since it was uploaded", "PreconditionFailed")


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object as HeadObject tells it; `size` in bytes. `owner` is the upload that made it, if it says so."""

    size: int
    answer: StoredBody
    owner: str | None = None


def head_object(s3: S3Client, bucket: str, key: str, version_id: str | None = None) -> StoredObject | None:
    """The object, or None where there is none.

    Raises:
        TransferError: as `transfer_errors.classify` sorts it; AccessDenied may also mean that it does not exist and
            listing is not allowed.
    """
    version: dict[str, Any] = {"VersionId": version_id} if version_id else {}
    try:
        found: Mapping[str, Any] = call(
            lambda: s3.head_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED", **version)
        )
    except TransferError as error:
        if error.code in _ABSENT:
            return None
        raise
    return StoredObject(require(found, "ContentLength"), read_answer(found), _owner(found.get("Metadata") or {}))


def _owner(metadata: Mapping[str, str]) -> str | None:
    """Servers give the names of metadata in letters of either case."""
    return next((value for name, value in metadata.items() if name.lower() == OWNER), None)


def stored_digest(
    s3: S3Client,
    bucket: str,
    key: str,
    *,
    offset: int = 0,
    length: int,
    algorithm: Algorithm,
    version_id: str | None = None,
) -> bytes | None:
    """The digest of bytes that S3 holds, by reading them; None where they are fewer.

    Raises:
        TransferError: as `transfer_errors.classify` sorts it.
    """
    version: dict[str, Any] = {"VersionId": version_id} if version_id else {}
    if length:  # there is no range of no bytes
        version["Range"] = f"bytes={offset}-{offset + length - 1}"

    def read() -> bytes | None:
        digest, left = new_digest(algorithm), length
        answer = s3.get_object(Bucket=bucket, Key=key, **version)
        with closing(answer["Body"]) as body:
            if answer["ResponseMetadata"].get("HTTPStatusCode") == _WHOLE and offset:
                return None  # a server that knows no ranges: nothing can be said of this one
            for piece in body.iter_chunks(_READ_AT_ONCE):
                digest.update(piece[:left])
                left -= min(left, len(piece))
                if not left:
                    break
        return None if left else digest.digest()

    return call_with_retries(read)


def first_part_size(s3: S3Client, bucket: str, key: str, version_id: str | None = None) -> int | None:
    """The size in bytes of an object's first part, or None where the server does not tell."""
    version: dict[str, Any] = {"VersionId": version_id} if version_id else {}
    try:
        found: Mapping[str, Any] = call_with_retries(
            lambda: s3.head_object(Bucket=bucket, Key=key, PartNumber=1, **version)
        )
    except TransferError:
        return None
    return int(found["ContentLength"]) if found.get("PartsCount") else None


def delete_object(
    s3: S3Client,
    bucket: str,
    key: str,
    *,
    etag: str | None,
    version_id: str | None = None,
    size: int | None = None,
    owners: Collection[str] = (),
    is_vouched_for: bool = False,
) -> bool:
    """Delete an object that one of the uploads `owners` made. Whether one was deleted.

    Where the object does not say who made it (a server that keeps no metadata), it goes if the record's own words are
    vouched for, unless it is another one by now than the one with that ETag, or where the server tells none, with that
    size in bytes.

    Raises:
        NotOurs: the object is another one. TransferError: as `transfer_errors.classify` sorts it.
    """
    found = call_with_retries(lambda: head_object(s3, bucket, key, version_id))
    if found is None:
        require_bucket(s3, bucket)
        return False
    if found.owner is not None and found.owner not in owners:
        raise NotOurs(f"the object was made by upload {visible(found.owner)}, not by this one")
    if found.owner is None and not is_vouched_for:
        raise NotOurs("nothing shows that this upload made the object: it bears no mark of it")
    # Servers may give a multipart object another ETag on HEAD than on completion (rclone does): then only a
    # conditional delete could tell, which they do not know either.
    comparable = etag and found.answer.etag and ("-" in etag) == ("-" in found.answer.etag)
    if found.owner is None and comparable and found.answer.etag != etag:
        raise ObjectReplaced
    if not comparable and size is not None and found.size != size:
        raise ObjectReplaced
    version: dict[str, Any] = {"VersionId": version_id} if version_id else {}
    call_with_retries(lambda: s3.delete_object(Bucket=bucket, Key=key, **version))
    return True


_KEYS_AT_ONCE: Final = 1_000


def delete_keys(s3: S3Client, bucket: str, keys: Sequence[str]) -> list[tuple[str, str]]:
    """Delete objects, whoever made them, a thousand with each request; gives those that could not be, and why.

    Raises:
        TransferError: as `transfer_errors.classify` sorts it.
    """
    failed: list[tuple[str, str]] = []
    for start in range(0, len(keys), _KEYS_AT_ONCE):
        named: Any = {"Objects": [{"Key": key} for key in keys[start : start + _KEYS_AT_ONCE]], "Quiet": True}
        answer: Mapping[str, Any] = call_with_retries(
            lambda named=named: s3.delete_objects(Bucket=bucket, Delete=named)  # type: ignore[misc]
        )
        failed += [(error.get("Key", ""), error.get("Message", "")) for error in answer.get("Errors", [])]
    return failed


def require_bucket(s3: S3Client, bucket: str) -> None:
    """To a HEAD, which has no body, a missing key and a missing bucket answer alike: tell them apart.

    Raises:
        TransferError: NoSuchBucket. Whoever may not look at the bucket gets no error.
    """
    try:
        call_with_retries(lambda: s3.head_bucket(Bucket=bucket))
    except TransferError as error:
        if error.code in _ABSENT or error.code == "NoSuchBucket":
            raise TransferError("NoSuchBucket", f"there is no bucket {visible(repr(bucket))}") from None


_NONE_THERE: Final = "NoSuchUpload"
"""rclone's answer for a bucket in which no multipart upload was ever opened."""


def open_multiparts(s3: S3Client, bucket: str, prefix: str = "") -> Iterator[OpenMultipart]:
    """All open multipart uploads under a prefix, in the order of their keys.

    Raises:
        TransferError: as `transfer_errors.classify` sorts it.
    """
    place: dict[str, Any] = {}
    seen: set[tuple[Any, ...]] = set()
    while True:
        page = _page(s3, bucket, prefix, place)
        for upload in page.get("Uploads", []):
            # Not every server filters by the prefix.
            if upload["Key"].startswith(prefix):
                yield OpenMultipart(upload["Key"], upload["UploadId"], upload["Initiated"])
        last = (page.get("Uploads") or [{}])[-1]
        marker = page.get("NextKeyMarker") or last.get("Key")
        following = {"KeyMarker": marker, "UploadIdMarker": page.get("NextUploadIdMarker") or last.get("UploadId", "")}
        # Some servers say that there is more and give no place, or one that was there before: what they told is all.
        if not page.get("IsTruncated") or not marker or tuple(following.values()) in seen:
            return
        seen.add(tuple(following.values()))
        place = following


def _page(s3: S3Client, bucket: str, prefix: str, place: Mapping[str, Any]) -> Mapping[str, Any]:
    try:
        return call_with_retries(lambda: s3.list_multipart_uploads(Bucket=bucket, Prefix=prefix, **place))
    except TransferError as error:
        if error.code == _NONE_THERE:
            return {}
        raise


def stored_bytes(s3: S3Client, bucket: str, key: str, upload_id: str) -> int:
    """How many bytes an open multipart upload holds, and so costs.

    Raises:
        TransferError: NoSuchUpload where it is gone; others as `transfer_errors.classify` sorts them.
    """
    pages = s3.get_paginator("list_parts").paginate(Bucket=bucket, Key=key, UploadId=upload_id)
    return call_with_retries(lambda: sum(part["Size"] for page in pages for part in page.get("Parts", [])))


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
    return call(lambda: s3.generate_presigned_url("get_object", Params=parameters, ExpiresIn=lifetime_seconds))
