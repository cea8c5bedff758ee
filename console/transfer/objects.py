"""Objects that are there already: looking at one, and deleting it.

Owns HeadObject and DeleteObject. Not here: comparing an object with a file (`verify`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from console.formatting import visible
from console.transfer.boto3_engine import read_answer, require
from console.transfer.checksums import Algorithm, new_digest
from console.transfer.engine import Answer
from console.transfer.errors import TransferError
from console.transfer.retrying import ask, ask_patiently

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
    answer: Answer
    owner: str | None = None


def head_object(s3: S3Client, bucket: str, key: str, version_id: str | None = None) -> StoredObject | None:
    """The object, or None where there is none.

    Raises:
        TransferError: as `errors.classify` sorts it; AccessDenied may also mean that it does not exist and listing is
            not allowed.
    """
    version: dict[str, Any] = {"VersionId": version_id} if version_id else {}
    try:
        found: Mapping[str, Any] = ask(
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
        TransferError: as `errors.classify` sorts it.
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

    return ask_patiently(read)


def first_part_size(s3: S3Client, bucket: str, key: str, version_id: str | None = None) -> int | None:
    """The size in bytes of an object's first part, or None where the server does not tell."""
    version: dict[str, Any] = {"VersionId": version_id} if version_id else {}
    try:
        found: Mapping[str, Any] = ask_patiently(
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
        NotOurs: the object is another one. TransferError: as `errors.classify` sorts it.
    """
    found = ask_patiently(lambda: head_object(s3, bucket, key, version_id))
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
    ask_patiently(lambda: s3.delete_object(Bucket=bucket, Key=key, **version))
    return True


def require_bucket(s3: S3Client, bucket: str) -> None:
    """To a HEAD, which has no body, a missing key and a missing bucket answer alike: tell them apart.

    Raises:
        TransferError: NoSuchBucket. Whoever may not look at the bucket gets no error.
    """
    try:
        ask_patiently(lambda: s3.head_bucket(Bucket=bucket))
    except TransferError as error:
        if error.code in _ABSENT or error.code == "NoSuchBucket":
            raise TransferError("NoSuchBucket", f"there is no bucket {visible(repr(bucket))}") from None
