"""What was sent, and what is going to be: known from the records alone.

Owns the queries and conditional updates by which each file is uploaded once, however many watchers find it and how
often they are started. Of all that insert an upload for the same find (`watch.digest`, unique) one succeeds. Not here:
what follows from a record for a file (`judging`).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from bson import Int64, ObjectId
from pymongo.errors import BulkWriteError, DuplicateKeyError

from console.errors import MongoUnsuitable
from console.models import Endpoint, Requested, Upload, UploadStatus, read_upload
from console.records.connection import Document
from console.records.new_upload import NewUpload
from console.records.transitions import NOW, OPEN, Fields, Filter, at_endpoint, free, literal
from console.records.uploads import Uploads
from console.transfer.intake import as_text
from console.watch.at_rest import Found

_DUPLICATE: Final = 11000  # server: src/mongo/base/error_codes.yml, DuplicateKey
_ALIKE: Final = 20
_LATELY_SECONDS: Final = 30
_ARMABLE: Final = {
    "$or": [
        {"status": UploadStatus.FAILED.value},
        {
            "status": {"$in": [UploadStatus.PENDING.value, UploadStatus.PAUSED.value]},
            "requested": Requested.RUN.value,
        },
    ]
}
_FIELDS: Final = (
    *("path", "path_bytes", "host", "size", "mtime_ns", "fingerprint", "status", "requested", "multipart.upload_id"),
    *("error", "watch", "created_at", "finished_at"),
)


@dataclass(frozen=True, slots=True)
class Record:
    """The newest upload of a file, as far as it decides what happens to the file. Size in bytes, times in UTC."""

    id: ObjectId
    path: str
    path_bytes: bytes | None
    host: str
    digest: str
    size: int
    mtime_ns: int
    fingerprint: str
    status: UploadStatus
    is_wanted: bool
    has_parts: bool
    error_code: str
    error_message: str
    created_at: datetime
    finished_at: datetime | None

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Record | None:
        """A record; None where others have written something that is none."""
        try:
            error = document.get("error") or {}
            return cls(
                document["_id"],
                str(document["path"]),
                document.get("path_bytes"),
                str(document["host"]),
                str(document["watch"]["digest"]),
                int(document["size"]),
                int(document["mtime_ns"]),
                str(document["fingerprint"]),
                UploadStatus(document["status"]),
                document["requested"] == Requested.RUN,
                bool((document.get("multipart") or {}).get("upload_id")),
                str(error.get("code", "")),
                str(error.get("message", "")),
                document["created_at"],
                document.get("finished_at"),
            )
        except (KeyError, TypeError, ValueError, AttributeError):
            return None

    def is_of(self, file: Found) -> bool:
        """Whether the file is as it was recorded: by size and time of its last change."""
        return (self.size, self.mtime_ns) == (file.size, file.mtime_ns)

    @property
    def os_path(self) -> str:
        """The path as `open()` takes it, also where the name is no UTF-8."""
        return os.fsdecode(self.path_bytes) if self.path_bytes is not None else self.path

    @property
    def waits_for_its_file(self) -> bool:
        """Whether it was not begun, or failed as its file was gone, and is still wanted: what `arm` takes."""
        if self.status is UploadStatus.FAILED:
            return self.error_code == "FileNotFound"
        return self.is_wanted and self.status in (UploadStatus.PENDING, UploadStatus.PAUSED)

    @property
    def is_open(self) -> bool:
        """Whether it is still to be sent, or being sent."""
        return not self.status.is_terminal


class SentFiles:
    """The uploads of watches within one scope (a host, or several that share a folder) to one bucket of an endpoint.
    Thread-safe."""

    def __init__(self, uploads: Uploads, scope: str, endpoint: Endpoint, bucket: str) -> None:
        self._collection = uploads.collection
        self._endpoint = endpoint
        self._here: Filter = {"watch.scope": scope, "bucket": bucket, **at_endpoint(endpoint)}

    def newest(self, paths: Sequence[str]) -> dict[str, Record]:
        """The newest record of each path (as `open()` takes it) that has one."""
        texts = {as_text(path) for path in paths}
        found: dict[str, Record] = {}
        for document in self._collection.find({**self._here, "path": {"$in": list(texts)}}, _FIELDS):
            record = Record.read(document)
            if record is None:
                continue
            path = record.os_path
            other = found.get(path)
            if other is None or (other.created_at, other.id) < (record.created_at, record.id):
                found[path] = record
        return found

    def alike(self, fingerprints: Sequence[str]) -> dict[str, list[Record]]:
        """Records of files that may be those with these fingerprints under another name: some, where they are many."""
        found: dict[str, list[Record]] = {}
        wanted: Filter = {**self._here, "fingerprint": {"$in": list(fingerprints)}}
        for document in self._collection.find(wanted, _FIELDS).limit(_ALIKE * len(fingerprints)):
            record = Record.read(document)
            if record is not None:
                found.setdefault(record.fingerprint, []).append(record)
        return found

    def add(self, uploads: Sequence[tuple[NewUpload, Record | None]]) -> list[bool]:
        """Insert them, each with the record of its file that it comes after; for each whether it is ours: otherwise
        somebody else has found the same file first.
        """
        ours = [True] * len(uploads)
        if not uploads:
            return ours
        try:
            documents = [upload.document(_moment_after(record)) for upload, record in uploads]
            self._collection.insert_many(documents, ordered=False)
        except BulkWriteError as error:
            refused = error.details.get("writeErrors", ())
            if error.details.get("writeConcernErrors") or any(each["code"] != _DUPLICATE for each in refused):
                raise
            for each in refused:
                ours[each["index"]] = False
        return ours

    def arm(self, record: Record, upload: NewUpload) -> bool:
        """Let a waiting or failed upload be that of the file as it is now, and pending; False if somebody was faster.

        Parts that have arrived are checked against the file when it is sent: they stay, and with them their key.
        """
        mine: Filter = {"_id": record.id, "watch.digest": record.digest, **_ARMABLE, **free()}
        fields: Fields = {
            **{name: literal(value) for name, value in _of_file(upload).items()},
            "host": literal(upload.host),
            "content_type": literal(upload.content_type),
            "status": UploadStatus.PENDING.value,
            "requested": Requested.RUN.value,
            "lease": None,
            "finished_at": None,
            "updated_at": NOW,
        }
        if not record.has_parts:
            fields |= {"key": literal(upload.key), "current": Int64(0), "percentage": 0.0}
        return self._update(mine, [{"$set": fields}])

    def follow(self, record: Record, upload: NewUpload) -> bool:
        """Let a completed upload be that of the same file under its new name or time; False if somebody was faster."""
        mine: Filter = {"_id": record.id, "watch.digest": record.digest, "status": UploadStatus.COMPLETED.value}
        fields = {name: literal(value) for name, value in _of_file(upload).items()}
        return self._update(mine, [{"$set": {**fields, "updated_at": NOW}}])

    def upload(self, upload_id: ObjectId) -> Upload | None:
        """The whole document; None where it is of another S3 service."""
        found = self._collection.find_one({"_id": upload_id, **at_endpoint(self._endpoint)})
        upload = read_upload(found) if found else None
        return upload if isinstance(upload, Upload) else None

    def _update(self, wanted: Filter, pipeline: list[Document]) -> bool:
        try:
            return self._collection.update_one(wanted, pipeline).matched_count == 1
        except DuplicateKeyError:
            return False


def require_claims(uploads: Uploads) -> None:
    """See that of several watchers only one can add a file.

    Raises:
        MongoUnsuitable: the unique index is missing, and this user may not create it.
    """
    for index in uploads.collection.list_indexes():
        if list(index["key"]) == ["watch.digest"] and index.get("unique"):
            return
    raise MongoUnsuitable(
        f"The unique index on watch.digest of {uploads.collection.full_name} is missing: files could be sent twice.",
        advice="Let an administrator give the user the role readWrite and start once more; it is created then.",
    )


def count_open(uploads: Uploads, host: str, rule: str, *, limit: int) -> int:
    """How many uploads of a rule are still to be sent or being sent; counting ends at `limit`."""
    return uploads.collection.count_documents(_open(host, rule), limit=limit)


def count_wanted(uploads: Uploads, host: str, rule: str, *, limit: int) -> int:
    """As `count_open`, without those that somebody paused: they may wait for ever."""
    wanted: Filter = {**_open(host, rule), "requested": Requested.RUN.value}
    return uploads.collection.count_documents(wanted, limit=limit)


def count_failed(uploads: Uploads, host: str, rule: str, *, limit: int) -> int:
    """How many uploads of a rule failed and were not sent since; counting ends at `limit`."""
    wanted: Filter = {"host": host, "status": UploadStatus.FAILED.value, "watch.rule": rule}
    return uploads.collection.count_documents(wanted, limit=limit)


def count_sent(uploads: Uploads, host: str, rules: Sequence[str]) -> tuple[dict[str, int], frozenset[ObjectId]]:
    """How many uploads of each rule completed, and which of those did so lately: a change feed may be about to tell of
    them. Reads all of them: not for every heartbeat.
    """
    wanted: Filter = {"host": host, "status": UploadStatus.COMPLETED.value, "watch.rule": {"$in": list(rules)}}
    is_late = {"$gt": ["$finished_at", {"$subtract": [NOW, _LATELY_SECONDS * 1000]}]}
    by_rule = {
        "_id": "$watch.rule",
        "count": {"$sum": 1},
        "lately": {"$push": {"$cond": [is_late, "$_id", "$$REMOVE"]}},
    }
    rows = list(uploads.collection.aggregate([{"$match": wanted}, {"$group": by_rule}]))
    lately = frozenset(upload_id for row in rows for upload_id in row["lately"])
    return {row["_id"]: row["count"] for row in rows}, lately


def _moment_after(record: Record | None) -> datetime:
    """Now, but later than the record: its host's clock may be ahead, or this one's was put back, and the newest of a
    file's records is known by its time."""
    now = datetime.now(UTC)
    return now if record is None else max(now, record.created_at + timedelta(milliseconds=1))


def _open(host: str, rule: str) -> Filter:
    return {"host": host, "status": {"$in": list(OPEN)}, "watch.rule": rule}


def _of_file(upload: NewUpload) -> Document:
    if upload.watch is None:
        raise ValueError("an upload of no watch")
    return {
        "filename": upload.filename,
        "path": upload.path,
        "path_bytes": upload.path_bytes,
        "size": Int64(upload.size),
        "mtime_ns": Int64(upload.mtime_ns),
        "fingerprint": upload.fingerprint,
        "watch": upload.watch.model_dump(),
    }
