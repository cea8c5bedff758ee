"""Where the files of a watched folder go: bucket, key, and how the object is kept.

Owns what a rule changes of the settings, the keys of versions, and the digest by which a find is known. Nothing is
sent or written here.
"""

from __future__ import annotations

import hashlib
import os
import posixpath
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from bson import ObjectId

from console.config import S3Settings, TransferSettings
from console.formatting import as_text, visible
from console.keys import KeyRefused, clean_key
from console.models import Source, Upload, Watched, stored_ns
from console.records.new_upload import NewUpload
from console.transfer.intake import Intake
from console.transfer.refusal import Refusal
from console.transfer.selection import Candidate
from console.watch.at_rest import Found
from console.watch.rules import WatchRule

_DIGEST_BYTES: Final = 16


class Destination:
    """Makes uploads of the files that a rule finds on this host."""

    def __init__(
        self,
        rule: WatchRule,
        s3: S3Settings,
        transfer: TransferSettings,
        *,
        host: str,
        endpoint: str,
        batch: ObjectId | None = None,
    ) -> None:
        """Raises ConfigurationError where neither rule nor settings name a bucket."""
        if (named := rule.destination) is not None:
            s3 = s3.model_copy(update={"bucket": named[0], "prefix": named[1]})
        if rule.key_template is not None:
            transfer = transfer.model_copy(update={"key_template": rule.key_template})
        self._intake = Intake(
            s3,
            transfer,
            host=host,
            source=Source.WATCH,
            endpoint=endpoint,
            batch=batch,
            duplicates=rule.duplicates,
        )
        self.endpoint = endpoint
        self.bucket = s3.bucket
        self.scope = rule.shared_as or host
        self.words = visible(f"s3://{s3.bucket}/{s3.prefix.strip('/')}".rstrip("/"))
        self._rule = rule.title
        self._below = rule.below
        self.duplicates = rule.duplicates or transfer.duplicates
        self._priority = rule.priority
        self._storage = rule.storage

    def upload(self, file: Found) -> NewUpload | Refusal:
        """The upload of a file as it is now, or why there can be none."""
        taken = self._intake.take(Candidate(file.path, file.relative, file.size, file.mtime_ns, self._below))
        if isinstance(taken, Refusal):
            return taken
        return self.claimed(replace(taken, priority=self._priority, storage=self._storage), "", file.ctime_ns)

    def claimed(self, upload: NewUpload, predecessor: str, ctime_ns: int | None = None) -> NewUpload:
        """The upload with the digest of its file in this state, coming after the record `predecessor` (its id).

        Without the predecessor a file that is changed back to an earlier state could not be sent again.
        """
        if ctime_ns is None and upload.watch is not None:
            ctime_ns = upload.watch.ctime_ns
        path = upload.path_bytes if upload.path_bytes is not None else os.fsencode(upload.path)
        parts = (self.scope, self.endpoint, self.bucket, upload.size, upload.mtime_ns, upload.fingerprint, predecessor)
        text = b"\0".join([path, *(str(part).encode("utf-8", "surrogateescape") for part in parts)])
        digest = hashlib.blake2b(text, digest_size=_DIGEST_BYTES).hexdigest()
        watched = Watched(
            rule=self._rule,
            scope=self.scope,
            digest=digest,
            ctime_ns=stored_ns(ctime_ns) if ctime_ns is not None else None,
        )
        return replace(upload, watch=watched)

    def moved(self, upload: Upload, place: str) -> NewUpload:
        """The completed upload of a file that a watch has moved to `place`. Raises OSError where it is gone."""
        status = os.lstat(place)
        text = as_text(place)
        moved = NewUpload(
            filename=as_text(os.path.basename(place)),  # noqa: PTH119
            path=text,
            path_bytes=None if text == place else os.fsencode(place),
            host=upload.host,
            size=status.st_size,
            mtime_ns=status.st_mtime_ns,
            fingerprint=upload.fingerprint,
            content_type=upload.content_type,
            bucket=upload.bucket,
            key=upload.key,
            source=upload.source,
        )
        claimed = self.claimed(moved, str(upload.id), status.st_ctime_ns)
        before = upload.watch.found_as if upload.watch is not None else None
        found_as = before if before is not None else os.fsencode(upload.os_path)
        watched = claimed.watch.model_copy(update={"found_as": found_as}) if claimed.watch is not None else None
        return replace(claimed, watch=watched)

    def versioned(self, upload: NewUpload) -> NewUpload | Refusal:
        """The upload under a key of its own: that of the file with the time of its change in it."""
        try:
            return replace(upload, key=clean_key(version_key(upload.key, upload.mtime_ns)))
        except KeyRefused as error:
            return Refusal(upload.path, error.message)


def version_key(key: str, mtime_ns: int) -> str:
    """`dir/name.tar.gz` as `dir/name.20261124T030000.000000000Z.tar.gz`: sorts by time, and no two changes share it."""
    folder, name = posixpath.split(key)
    stem, dot, suffixes = name.lstrip(".").partition(".")
    stem = name[: len(name) - len(name.lstrip("."))] + stem
    seconds, fraction = divmod(mtime_ns, 1_000_000_000)
    try:
        moment = f"{datetime.fromtimestamp(seconds, UTC):%Y%m%dT%H%M%S}"
    except (ValueError, OverflowError, OSError):  # beyond the years 1 to 9999
        moment = str(seconds)
    return posixpath.join(folder, f"{stem}.{moment}.{fraction:09d}Z{dot}{suffixes}")
