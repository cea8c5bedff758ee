"""What a bucket holds under many keys, by listing them in order: a request for about a thousand keys, not one for each.

Keys that are asked for in the order in which S3 lists them (that of their bytes) cost the fewest requests; in any other
order the answers are the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from console.s3.retry import call_with_retries

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

_BEHIND_ALL: Final = chr(0x10FFFF)


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
        while True:
            page = self._ask(Prefix=prefix, **token)
            yield from (_listed(found) for found in page.get("Contents", []) if found["Key"].startswith(prefix))
            following = page.get("NextContinuationToken")
            if not page.get("IsTruncated") or not following or following == token.get("ContinuationToken"):
                return
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
