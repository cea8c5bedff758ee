"""Who writes to which key: one upload at a time, whatever processes and hosts share the records.

Owns the collection `<uploads>_keys`, a document for each key that an upload is at work on: most S3 servers do not know
a conditional write that would tell two of them apart, and MongoDB does. A claim holds while its upload is being sent by
a runner whose lease has not run out; afterwards whoever comes next takes it over, so that nothing has to be given back
for others to go on. What is done about a key that is taken is in `transfer.duplicates`.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Collection as AnyOf
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

from bson import ObjectId
from pymongo import ReadPreference
from pymongo.errors import BulkWriteError, DuplicateKeyError

from console.models import Endpoint, Upload, UploadStatus, read_upload
from console.records.connection import MAJORITY, Document
from console.records.transitions import LEASE_LIVE, Filter, at_endpoint
from console.records.uploads import Uploads

_DUPLICATE: Final = 11000  # server: src/mongo/base/error_codes.yml, DuplicateKey
_AT_ONCE: Final = 1_000
_SWEEP_SECONDS: Final = 3600.0


class BucketKey(NamedTuple):
    """A key of a bucket."""

    bucket: str
    key: str


class KeyClaims:
    """The keys of one runner. Thread-safe. What asks MongoDB raises `PyMongoError` while it is away."""

    def __init__(self, uploads: Uploads, endpoint: Endpoint, runner: str) -> None:
        self._uploads = uploads.collection
        self._claims = uploads.collection.database.get_collection(
            f"{uploads.collection.name}_keys", write_concern=MAJORITY, read_preference=ReadPreference.PRIMARY
        )
        self._endpoint = endpoint
        self._runner = runner
        self._lock = threading.Lock()
        self._held: dict[ObjectId, set[BucketKey]] = {}
        self._ended: set[BucketKey] = set()
        self._next_sweep = 0.0

    def take(self, upload: Upload, key: str) -> Upload | None:
        """Claim the key for the upload, or see that it has it still; gives the upload that is at work on it instead."""
        place = BucketKey(upload.bucket, key)
        self._hold(upload.id, place)
        where, mine = self._id(place), {"upload": upload.id, "runner": self._runner}
        while True:
            try:
                self._claims.update_one({"_id": where, "upload": upload.id}, {"$set": mine}, upsert=True)
            except DuplicateKeyError:
                pass
            else:
                return None
            claim = self._claims.find_one({"_id": where})
            if claim is None:
                continue
            holder = self._at_work([claim.get("upload")]).get(claim.get("upload"))
            if holder is not None:
                return holder
            if self._claims.update_one(claim, {"$set": mine}).matched_count:
                return None

    def take_all(self, uploads: Sequence[Upload]) -> set[ObjectId]:
        """Claim the keys of many at once; gives the uploads that have to be looked at one by one: their key may be
        another upload's, or holds the object of another file that they may not replace.
        """
        if not uploads:
            return set()
        for upload in uploads:
            self._hold(upload.id, BucketKey(upload.bucket, upload.key))
        claims = [
            {"_id": self._id(BucketKey(upload.bucket, upload.key)), "upload": upload.id, "runner": self._runner}
            for upload in uploads
        ]
        others: set[ObjectId] = set()
        try:
            self._claims.insert_many(claims, ordered=False)
        except BulkWriteError as error:
            refused = error.details.get("writeErrors", ())
            if error.details.get("writeConcernErrors") or any(each["code"] != _DUPLICATE for each in refused):
                raise
            others = {uploads[each["index"]].id for each in refused}
        of_watches = [upload for upload in uploads if upload.watch is not None and upload.id not in others]
        return others | self._of_other_files(of_watches).keys()

    def other_file(self, upload: Upload, key: str) -> Upload | None:
        """For the upload of a watch: the latest one that completed under the key, if it was of another file."""
        moved = upload.model_copy(update={"key": key})
        return self._of_other_files([moved]).get(upload.id) if upload.watch is not None else None

    def end(self, upload_id: ObjectId) -> None:
        """The upload is not at work any more, so its claims hold no longer. Asks nobody."""
        with self._lock:
            self._ended |= self._held.pop(upload_id, set())

    def forget_ended(self) -> None:
        """Remove the claims of uploads that ended."""
        with self._lock:
            ended = [self._id(place) for place in self._ended]
            self._ended.clear()
        for some in _portions(ended):
            # One that somebody else has by now is not this runner's any more.
            self._claims.delete_many({"_id": {"$in": some}, "runner": self._runner})

    def clear_up(self) -> None:
        """The same, and now and then also claims that runners left which did not end in order."""
        self.forget_ended()
        if time.monotonic() < self._next_sweep:
            return
        self._next_sweep = time.monotonic() + _SWEEP_SECONDS
        for some in _portions(list(self._claims.find({"runner": {"$ne": self._runner}}))):
            at_work = self._at_work([claim.get("upload") for claim in some])
            for claim in some:
                if claim.get("upload") not in at_work:
                    self._claims.delete_one(claim)

    def _id(self, place: BucketKey) -> Document:
        return {"endpoint": self._endpoint.name, **place._asdict()}

    def _hold(self, upload_id: ObjectId, place: BucketKey) -> None:
        with self._lock:
            self._held.setdefault(upload_id, set()).add(place)
            self._ended.discard(place)

    def _at_work(self, ids: AnyOf[Any]) -> dict[Any, Upload]:
        wanted: Filter = {
            "_id": {"$in": [upload_id for upload_id in ids if isinstance(upload_id, ObjectId)]},
            "status": UploadStatus.UPLOADING.value,
            "$expr": LEASE_LIVE,
        }
        found = (read_upload(document) for document in self._uploads.find(wanted))
        return {upload.id: upload for upload in found if isinstance(upload, Upload)}

    def _of_other_files(self, uploads: Sequence[Upload]) -> dict[ObjectId, Upload]:
        """By upload: the latest one that completed under its key, where that is of another file."""
        if not uploads:
            return {}
        wanted: Filter = {
            "status": UploadStatus.COMPLETED.value,
            "bucket": {"$in": list({upload.bucket for upload in uploads})},
            "key": {"$in": [upload.key for upload in uploads]},
            **at_endpoint(self._endpoint),
        }
        by_key = {"_id": {"bucket": "$bucket", "key": "$key"}, "latest": {"$first": "$$ROOT"}}
        pipeline = [{"$match": wanted}, {"$sort": {"bucket": 1, "key": 1, "finished_at": -1}}, {"$group": by_key}]
        latest: dict[BucketKey, Upload] = {}
        for row in self._uploads.aggregate(pipeline, allowDiskUse=True):
            if isinstance(found := read_upload(row["latest"]), Upload):
                latest[BucketKey(found.bucket, found.key)] = found
        of_others: dict[ObjectId, Upload] = {}
        for upload in uploads:
            other = latest.get(BucketKey(upload.bucket, upload.key))
            if other is not None and other.id != upload.id and not is_same_file(upload, other):
                of_others[upload.id] = other
        return of_others


def is_same_file(upload: Upload, earlier: Upload) -> bool:
    """Whether two uploads are of one file of a host, or of hosts that share a folder, perhaps as it was at other times;
    also where the watch itself moved it away after it had been sent."""
    if _scope(upload) != _scope(earlier):
        return False
    if upload.os_path == earlier.os_path:
        return True
    return earlier.watch is not None and earlier.watch.found_as == os.fsencode(upload.os_path)


def _scope(upload: Upload) -> str:
    return upload.watch.scope if upload.watch is not None else upload.host


def _portions(items: Sequence[Document]) -> Iterator[list[Document]]:
    for start in range(0, len(items), _AT_ONCE):
        yield list(items[start : start + _AT_ONCE])
