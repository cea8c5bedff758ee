"""What a bucket holds under many keys, by listing them in order: a request for about a thousand keys, not one for each.

Keys that are asked for in the order in which S3 lists them (that of their bytes) cost the fewest requests; in any other
order the answers are the same. One object with its versions, what lies directly under a prefix, and an object's bytes
into a file are here too; nothing of it changes the bucket.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from console.errors import UsageError
from console.files.beneath import opened
from console.formatting import visible
from console.models import BucketEntry, BucketPage, ObjectFacts, ObjectVersion
from console.private_files import is_there, open_private, put_in_place
from console.s3.operations import OWNER
from console.s3.retry import call, call_with_retries
from console.s3.transfer_errors import TransferError

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

_BEHIND_ALL: Final = chr(0x10FFFF)
PAGE: Final = 1_000
_ABSENT: Final = frozenset({"404", "NoSuchKey", "NotFound"})
_READ_AT_ONCE: Final = 1024 * 1024
_MOST_VERSIONS: Final = 200
_MOST_PAGES: Final = 5
_ENOUGH_PREFIXES: Final = 100
# What of the answer to HeadObject is said as it is, and what it is called.
_HEADERS: Final = {
    "ContentType": "type",
    "StorageClass": "storage",
    "ServerSideEncryption": "encryption",
    "SSEKMSKeyId": "KMS key",
    "ReplicationStatus": "replication",
    "Expiration": "expires",
    "Restore": "restore",
    "ObjectLockMode": "lock",
    "PartsCount": "parts",
}


@dataclass(frozen=True, slots=True)
class ListedObject:
    """An object as a listing tells it: `size` in bytes, `etag` without quotes."""

    key: str
    size: int
    etag: str
    modified: datetime | None


class ObjectListing:
    """The objects of one bucket. Not thread-safe. `requests` is how many were made."""

    def __init__(self, s3: S3Client, bucket: str) -> None:
        self._s3 = s3
        self._bucket = bucket
        self._page: dict[str, ListedObject] = {}
        self._first = self._last = ""
        self.requests = 0

    def find(self, key: str) -> ListedObject | None:
        """The object under the key; None where there is none. Raises `TransferError`."""
        if not self._first < key <= self._last:
            self._read_from(key)
        return self._page.get(key)

    def below(self, prefix: str) -> Iterator[ListedObject]:
        """All objects whose keys begin with the prefix, in order. Raises `TransferError`."""
        token: dict[str, Any] = {}
        seen: set[str] = set()
        while True:
            page = self._ask(Prefix=prefix, **token)
            yield from (_listed(found) for found in page.get("Contents", []) if found["Key"].startswith(prefix))
            following = page.get("NextContinuationToken")
            if not page.get("IsTruncated") or not following or following in seen:  # else it would never end
                return
            seen.add(following)
            token = {"ContinuationToken": following}

    def _read_from(self, key: str) -> None:
        """The page that begins just before a key."""
        start = key[:-1]
        page = self._ask(**({"StartAfter": start} if start else {}))
        found = {entry["Key"]: _listed(entry) for entry in page.get("Contents", [])}
        last = max(found, default="") if page.get("IsTruncated") else _BEHIND_ALL
        if last < key:  # a server that does not know where to start: by the key alone, then
            page = self._ask(Prefix=key)
            found = {entry["Key"]: _listed(entry) for entry in page.get("Contents", [])}
            start = last = ""
        self._page, self._first, self._last = found, start, last

    def _ask(self, **parameters: Any) -> Mapping[str, Any]:
        self.requests += 1
        return call_with_retries(lambda: self._s3.list_objects_v2(Bucket=self._bucket, **parameters))


def _listed(entry: Mapping[str, Any]) -> ListedObject:
    return ListedObject(
        entry["Key"], int(entry["Size"]), str(entry.get("ETag", "")).strip('"'), entry.get("LastModified")
    )


def object_facts(s3: S3Client, bucket: str, key: str) -> ObjectFacts:
    """What S3 says of the newest object under a key, and which versions there are.

    Raises:
        TransferError: as `transfer_errors.classify` sorts it; that there is no object is no error.
    """
    versions, problem = _versions(s3, bucket, key)
    try:
        found: Mapping[str, Any] = call_with_retries(
            lambda: s3.head_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED")
        )
    except TransferError as error:
        if error.code not in _ABSENT:
            raise
        return ObjectFacts(exists=False, versions=versions, versions_problem=problem)
    headers = {name: str(found[header]) for header, name in _HEADERS.items() if found.get(header)}
    headers |= {
        name.removeprefix("Checksum"): str(value)
        for name, value in found.items()
        if name.startswith("Checksum") and name != "ChecksumType" and value
    }
    metadata = {str(name): str(value) for name, value in (found.get("Metadata") or {}).items()}
    return ObjectFacts(
        exists=True,
        size=int(found.get("ContentLength", 0)),
        etag=str(found.get("ETag", "")).strip('"'),
        version_id=str(found.get("VersionId") or ""),
        modified_at=found.get("LastModified"),
        owner=next((value for name, value in metadata.items() if name.lower() == OWNER), ""),
        headers=headers,
        metadata=metadata,
        versions=versions,
        versions_problem=problem,
    )


def _versions(s3: S3Client, bucket: str, key: str) -> tuple[tuple[ObjectVersion, ...], str]:
    """The newest versions under a key, or why they cannot be told: not every server has versions, nor every user the
    right to list them."""
    try:
        page = call(lambda: s3.list_object_versions(Bucket=bucket, Prefix=key, MaxKeys=_MOST_VERSIONS))
    except TransferError as error:
        return (), error.message
    found = [
        ObjectVersion(
            version_id=str(entry.get("VersionId") or ""),
            size=int(entry.get("Size", 0)),
            modified_at=entry.get("LastModified"),
            is_latest=bool(entry.get("IsLatest")),
            is_deleted=name == "DeleteMarkers",
        )
        for name in ("Versions", "DeleteMarkers")
        for entry in page.get(name, [])  # type: ignore[attr-defined]
        if entry["Key"] == key
    ]
    # A bucket that keeps no versions has one of each object, which is called null.
    if all(version.version_id in ("", "null") for version in found):
        return (), ""
    return tuple(sorted(found, key=lambda each: str(each.modified_at), reverse=True)), ""


def bucket_page(s3: S3Client, bucket: str, prefix: str, after: str = "") -> BucketPage:
    """What lies directly under a prefix: prefixes and objects, a page of them in the order of their keys.

    Raises:
        TransferError: as `transfer_errors.classify` sorts it.
    """
    more: dict[str, Any] = {"ContinuationToken": after} if after else {}
    page = call_with_retries(
        lambda: s3.list_objects_v2(Bucket=bucket, Prefix=prefix, Delimiter="/", MaxKeys=PAGE, **more)
    )
    prefixes = [BucketEntry(entry["Prefix"], is_prefix=True) for entry in page.get("CommonPrefixes", [])]
    objects = [
        BucketEntry(
            entry["Key"],
            size=int(entry.get("Size", 0)),
            modified_at=entry.get("LastModified"),
            etag=str(entry.get("ETag", "")).strip('"'),
            storage_class=str(entry.get("StorageClass", "")),
        )
        for entry in page.get("Contents", [])
        if entry["Key"] != prefix
    ]
    return BucketPage(bucket, prefix, (*prefixes, *objects), page.get("NextContinuationToken") or "")


def prefixes(s3: S3Client, bucket: str, beginning: str) -> list[str]:
    """Prefixes, each with its slash, that go on from a beginning: those of a few pages, as objects may lie before them.

    Raises:
        TransferError: as `transfer_errors.classify` sorts it.
    """
    found: list[str] = []
    more: dict[str, Any] = {}
    for _ in range(_MOST_PAGES):
        page = call(
            lambda more=more: s3.list_objects_v2(  # type: ignore[misc]
                Bucket=bucket, Prefix=beginning, Delimiter="/", MaxKeys=PAGE, **more
            )
        )
        found.extend(str(entry["Prefix"]) for entry in page.get("CommonPrefixes", []))
        if len(found) >= _ENOUGH_PREFIXES or not page.get("NextContinuationToken"):
            break
        more = {"ContinuationToken": page["NextContinuationToken"]}
    return found


def download(s3: S3Client, bucket: str, key: str, file: Path, progress: Callable[[int], bool]) -> int:
    """Write an object into a new file of mode 0600, beside it until it is whole; gives its size in bytes. `progress` is
    told how many have come, and ends the download by False; then 0 is given and nothing is left.

    Raises:
        TransferError: as `transfer_errors.classify` sorts it.
        UsageError: there is such a file, or it cannot be written.
    """
    part = Path(f".{secrets.token_hex(8)}.part")  # short: the file's own name may be as long as names can be
    name = Path(file.name)
    written = 0
    try:
        # Whoever can put a link in the folder's place meanwhile sends nothing elsewhere by it.
        with opened(str(file.parent)) as folder:
            if is_there(name, folder=folder):
                raise UsageError(
                    f"{visible(str(file))} is there already", advice="Choose another folder, or rename it."
                )
            answer = call_with_retries(lambda: s3.get_object(Bucket=bucket, Key=key))
            try:
                descriptor = open_private(part, os.O_WRONLY | os.O_EXCL, folder=folder)
                with closing(answer["Body"]) as body, os.fdopen(descriptor, "wb") as target:
                    while piece := call(lambda: body.read(_READ_AT_ONCE)):
                        target.write(piece)
                        written += len(piece)
                        if not progress(written):
                            return 0
                    if written != answer["ContentLength"]:
                        raise TransferError(
                            "IncompleteBody", f"S3 sent {written:,} of {answer['ContentLength']:,} bytes"
                        )
                put_in_place(part, name, folder=folder)
            finally:
                with suppress(FileNotFoundError):
                    os.unlink(part, dir_fd=folder)
    except OSError as error:
        raise UsageError(f"{visible(str(file))}: {error.strerror}") from None
    return written
