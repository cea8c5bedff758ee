"""What was sent, and what is going to be: known from the records alone.

Owns the queries and conditional updates by which each file is uploaded once, however many watchers find it and how
often they are started. Of all that insert an upload for the same find (`watch.digest`, unique) one succeeds. What
follows from a record for a file is in `watch.decisions`.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any, Final, TypeVar

import bson
from bson import Int64, ObjectId
from bson.errors import BSONError
from pymongo.errors import BulkWriteError, DuplicateKeyError

from console.bson_decoding import RAW_CODEC, decoded
from console.errors import MongoUnsuitable
from console.files.walk import Found
from console.formatting import as_text
from console.models import Endpoint, Requested, Upload, UploadStatus, read_upload, stored_ns
from console.records.connection import DUPLICATE_KEY, Document
from console.records.requests import request_all
from console.records.transitions import NOW, OPEN, Fields, Filter, at_endpoint, free, literal
from console.records.uploads import NewUpload, Uploads

T = TypeVar("T")

_log = logging.getLogger(__name__)

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
    *("key", "error", "watch", "created_at", "finished_at"),
)
_HOLDING: Final = (*OPEN, UploadStatus.COMPLETED.value, UploadStatus.FAILED.value)  # which may be retried


@dataclass(frozen=True, slots=True)
class Record:
    """The newest upload of a file, as far as it decides what happens to the file. Size in bytes, times in UTC.

    `ctime_ns` and `found_as` as in `models.Watched`; `scope` and `digest` are empty where no watch asked for it.
    """

    id: ObjectId
    path: str
    path_bytes: bytes | None
    host: str
    key: str
    scope: str
    digest: str
    size: int
    mtime_ns: int
    ctime_ns: int | None
    found_as: bytes | None
    fingerprint: str
    status: UploadStatus
    is_wanted: bool
    has_parts: bool
    error_code: str
    error_message: str
    created_at: datetime
    finished_at: datetime | None

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Record:
        """A record.

        Raises:
            ValueError: others have written something that is none; it names the field.
        """
        watch, error, multipart = (_inner(document, name) for name in ("watch", "error", "multipart"))
        return cls(
            id=_value(document, "_id", ObjectId),
            path=_value(document, "path", str),
            path_bytes=_optional(document, "path_bytes", bytes),
            host=_value(document, "host", str),
            key=_value(document, "key", str),
            scope=_optional(watch, "scope", str) or "",
            digest=_optional(watch, "digest", str) or "",
            size=_whole(document, "size"),
            mtime_ns=_whole(document, "mtime_ns"),
            ctime_ns=_optional(watch, "ctime_ns", int),
            found_as=_optional(watch, "found_as", bytes),
            fingerprint=_value(document, "fingerprint", str),
            status=_status(document),
            is_wanted=document.get("requested") == Requested.RUN.value,
            has_parts=bool(multipart.get("upload_id")),
            error_code=str(error.get("code", "")),
            error_message=str(error.get("message", "")),
            created_at=_value(document, "created_at", datetime),
            finished_at=_optional(document, "finished_at", datetime),
        )

    def is_of(self, file: Found) -> bool:
        """Whether the file is as it was recorded: by size and time of its last change."""
        return (self.size, self.mtime_ns) == (file.size, stored_ns(file.mtime_ns))

    def is_this_very(self, file: Found) -> bool:
        """Whether nothing at all happened to the file since it was found: one that was put in its place since, and
        looks like it, has another time of status change."""
        return self.ctime_ns is None or self.ctime_ns == stored_ns(file.ctime_ns)

    @property
    def os_path(self) -> str:
        """The path as `open()` takes it, also where the name is no UTF-8."""
        return os.fsdecode(self.path_bytes) if self.path_bytes is not None else self.path

    @property
    def former_path(self) -> str:
        """The path under which the file was found, also where a watch has moved it since."""
        return os.fsdecode(self.found_as) if self.found_as is not None else self.os_path

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


@dataclass(frozen=True, slots=True)
class UnreadableRecord:
    """A document of a file that somebody else has written, or changed, into none of ours."""

    id: Any
    problem: str


class Insertion(Enum):
    """Whether an upload was inserted."""

    YES = "yes"
    KNOWN = "known"  # somebody else has found the same file first
    KEY_TAKEN = "key taken"  # an upload of another file to the same key was faster by a moment
    UNFIT = "unfit"  # it holds what no document can


class SentFiles:
    """The uploads of watches within one scope (a host, or several that share a folder) to one bucket of an endpoint.
    Thread-safe."""

    def __init__(self, uploads: Uploads, scope: str, endpoint: Endpoint, bucket: str) -> None:
        self._uploads = uploads
        self._collection = uploads.collection
        self._endpoint = endpoint
        self._here: Filter = {"watch.scope": scope, "bucket": bucket, **at_endpoint(endpoint)}
        self._bucket = bucket
        self._scope = scope

    def newest(self, paths: Sequence[str]) -> dict[str, Record | UnreadableRecord]:
        """The newest record of each path (as `open()` takes it) that has one. One that cannot be read is given only
        where the path has no other.
        """
        by_text = {as_text(path): path for path in paths}
        found: dict[str, Record] = {}
        unreadable: dict[str, Record | UnreadableRecord] = {}
        for document in self._uploads.read({**self._here, "path": {"$in": list(by_text)}}, _FIELDS):
            try:
                record = Record.read(document)
            except ValueError as error:
                if (path := by_text.get(str(document.get("path")))) is not None:
                    unreadable[path] = UnreadableRecord(document.get("_id"), str(error))
                continue
            path = record.os_path
            other = found.get(path)
            if other is None or (other.created_at, other.id) < (record.created_at, record.id):
                found[path] = record
        return unreadable | found

    def alike(self, fingerprints: Sequence[str]) -> dict[str, list[Record]]:
        """Records of files that may be those with these fingerprints under another name: some, where they are many."""
        found: dict[str, list[Record]] = {}
        wanted: Filter = {**self._here, "fingerprint": {"$in": list(fingerprints)}}
        for document in self._uploads.read(wanted, _FIELDS, limit=_ALIKE * len(fingerprints)):
            with suppress(ValueError):
                record = Record.read(document)
                found.setdefault(record.fingerprint, []).append(record)
        return found

    def holders(self, keys: Sequence[str]) -> dict[str, list[Record]]:
        """Of each of these keys the uploads, by whomever, whose object is there or is about to be."""
        found: dict[str, list[Record]] = {}
        wanted: Filter = {
            "key": {"$in": list(keys)},
            "bucket": self._bucket,
            **at_endpoint(self._endpoint),
            "status": {"$in": list(_HOLDING)},
        }
        for document in self._uploads.read(wanted, _FIELDS):
            with suppress(ValueError):
                record = Record.read(document)
                if record.error_code != "FileNotFound" or record.status is not UploadStatus.FAILED:
                    found.setdefault(record.key, []).append(record)
        return found

    def is_another_file(self, record: Record, upload: NewUpload) -> bool:
        """Whether the upload would put another file's content in the place of the record's."""
        is_same_place = record.scope == self._scope or record.host == upload.host
        path = upload.path_bytes if upload.path_bytes is not None else os.fsencode(upload.path)
        if is_same_place and path in (os.fsencode(record.os_path), os.fsencode(record.former_path)):
            return False
        return not (record.path == upload.path and record.fingerprint == upload.fingerprint)

    def add(self, uploads: Sequence[tuple[NewUpload, Record | None]]) -> list[Insertion]:
        """Insert them, each with the record of its file that it comes after."""
        outcomes = [Insertion.YES] * len(uploads)
        documents: dict[int, Document] = {}
        for number, (upload, record) in enumerate(uploads):
            try:
                document = upload.document(_moment_after(record))
                self._uploads.seal(document)
                bson.encode(document)  # what no document can hold keeps no other from being recorded
            except (BSONError, OverflowError, ValueError):
                _log.exception("recording %s", upload.path)
                outcomes[number] = Insertion.UNFIT
            else:
                documents[number] = document
        if not documents:
            return outcomes
        try:
            self._collection.insert_many(documents.values(), ordered=False)
        except BulkWriteError as error:
            refused = error.details.get("writeErrors", ())
            if error.details.get("writeConcernErrors") or any(each["code"] != DUPLICATE_KEY for each in refused):
                raise
            numbers = list(documents)
            for each in refused:
                is_known = "watch.digest" in each.get("keyPattern", {"watch.digest": 1})
                outcomes[numbers[each["index"]]] = Insertion.KNOWN if is_known else Insertion.KEY_TAKEN
        return outcomes

    def arm(self, record: Record, upload: NewUpload) -> bool:
        """Let a waiting or failed upload be that of the file as it is now, and pending; False if somebody was faster.

        Parts that have arrived are checked against the file when it is sent: they stay, and with them their key. But
        of a record that others changed nothing stays: its key could be any.
        """
        current = self.upload(record.id)
        if current is None:
            return False
        seals = self._uploads.seals
        changed = {**_of_file(upload), "content_type": upload.content_type}
        is_own = seals.is_own_request(current)
        keeps_parts = is_own and seals.is_own_multipart(current)
        if not is_own:
            changed |= {"endpoint": upload.endpoint, "bucket": upload.bucket, "duplicates": upload.duplicates}
            changed |= {"storage": upload.storage.model_dump(exclude_none=True) if upload.storage else None}
            changed |= {"hours": [each.model_dump() for each in upload.hours] if upload.hours else None}
        if not keeps_parts:
            changed |= {"key": upload.key, "multipart": None, "current": Int64(0), "percentage": 0.0}
        changed["seal"] = seals.request(_with(current, changed))
        mine: Filter = {"_id": record.id, "watch.digest": record.digest, **_ARMABLE, **free()}
        fields: Fields = {
            **{name: literal(value) for name, value in changed.items()},
            "host": literal(upload.host),
            "status": UploadStatus.PENDING.value,
            "requested": Requested.RUN.value,
            "lease": None,
            "finished_at": None,
            "refused_by": "$$REMOVE",
            "updated_at": NOW,
        }
        return self._update(mine, [{"$set": fields}])

    def supersede(self, record: Record) -> None:
        """The file of a waiting upload is sent by another one: it is cancelled, and its parts are aborted."""
        request_all(self._uploads, [record.id], Requested.CANCEL)

    def follow(self, record: Record, upload: NewUpload) -> bool:
        """Let a completed upload be that of the same file under its new name or time; False if somebody was faster."""
        current = self.upload(record.id)
        if current is None:
            return False
        mine: Filter = {"_id": record.id, "watch.digest": record.digest, "status": UploadStatus.COMPLETED.value}
        return self._update(mine, [{"$set": {**self._followed(current, upload), "updated_at": NOW}}])

    def moved(self, upload: Upload, moved: NewUpload) -> bool:
        """Let a completed upload be that of its file in the place where a watch has put it."""
        digest = upload.watch.digest if upload.watch is not None else ""
        mine: Filter = {"_id": upload.id, "watch.digest": digest, "status": UploadStatus.COMPLETED.value}
        return self._update(mine, [{"$set": {**self._followed(upload, moved), "updated_at": NOW}}])

    def _followed(self, current: Upload, upload: NewUpload) -> Fields:
        """What makes a record that of the file under another name or time; its seals go on to vouch for it."""
        seals = self._uploads.seals
        changed = _of_file(upload)
        followed = _with(current, changed)
        if seals.is_own_request(current):
            changed["seal"] = seals.request(followed)
        if seals.is_own_result(current):
            changed["result_seal"] = seals.result(followed, was_found=not seals.made(current))
        return {name: literal(value) for name, value in changed.items()}

    def is_own(self, upload: Upload) -> bool:
        """Whether one of this user's processes recorded it as it is."""
        return self._uploads.seals.is_own_request(upload)

    def is_confirmed(self, upload: Upload) -> bool:
        """Whether one of this user's processes saw S3 confirm the object of the file as the record has it."""
        return self._uploads.seals.is_own_result(upload)

    def upload(self, upload_id: ObjectId) -> Upload | None:
        """The whole document; None where it is of another S3 service."""
        found = next(self._uploads.read({"_id": upload_id, **at_endpoint(self._endpoint)}, limit=1), None)
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
        advice="Run `upload-console setup`, as a user with the role readWrite: it is created then.",
    )


def count_open(uploads: Uploads, host: str, rule: str, endpoint: Endpoint, *, limit: int) -> int:
    """How many uploads of a rule are still to be sent or being sent; counting ends at `limit`."""
    return uploads.collection.count_documents(_open(host, rule, endpoint), limit=limit)


def count_wanted(uploads: Uploads, host: str, rule: str, endpoint: Endpoint, *, limit: int) -> int:
    """As `count_open`, without those that somebody paused: they may wait for ever."""
    wanted: Filter = {**_open(host, rule, endpoint), "requested": Requested.RUN.value}
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
    raw = uploads.collection.with_options(codec_options=RAW_CODEC)
    rows = [row for row in decoded(raw.aggregate([{"$match": wanted}, {"$group": by_rule}])) if row["_id"] in rules]
    lately = frozenset(upload_id for row in rows for upload_id in row["lately"])
    return {row["_id"]: row["count"] for row in rows}, lately


def _moment_after(record: Record | None) -> datetime:
    """Now, but later than the record: its host's clock may be ahead, or this one's was put back, and the newest of a
    file's records is known by its time."""
    now = datetime.now(UTC)
    if record is None:
        return now
    with suppress(OverflowError):  # others may have written any date; then the later of the ids decides
        return max(now, record.created_at + timedelta(milliseconds=1))
    return record.created_at


def _value(document: Mapping[str, Any], name: str, kind: type[T]) -> T:
    value = document.get(name)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ValueError(f"{name}: {type(value).__name__}")
    return value


def _optional(document: Mapping[str, Any], name: str, kind: type[T]) -> T | None:
    return None if document.get(name) is None else _value(document, name, kind)


def _whole(document: Mapping[str, Any], name: str) -> int:
    value = document.get(name)
    return int(value) if isinstance(value, float) and value.is_integer() else _value(document, name, int)


def _inner(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    return _optional(document, name, dict) or {}


def _status(document: Mapping[str, Any]) -> UploadStatus:
    try:
        return UploadStatus(_value(document, "status", str))
    except ValueError:
        raise ValueError("status: none of ours") from None


def _open(host: str, rule: str, endpoint: Endpoint) -> Filter:
    return {**at_endpoint(endpoint), "host": host, "status": {"$in": list(OPEN)}, "watch.rule": rule}


def _with(upload: Upload, changed: Document) -> Upload:
    """The upload as it is once its document has changed."""
    return Upload.model_validate({**upload.model_dump(by_alias=True), **changed})


def _of_file(upload: NewUpload) -> Document:
    if upload.watch is None:
        raise ValueError("an upload of no watch")
    return {
        "filename": upload.filename,
        "folder_length": upload.folder_length,
        "path": upload.path,
        "path_bytes": upload.path_bytes,
        "size": Int64(upload.size),
        "mtime_ns": Int64(stored_ns(upload.mtime_ns)),
        "fingerprint": upload.fingerprint,
        "watch": upload.watch.model_dump(exclude_none=True),
    }
