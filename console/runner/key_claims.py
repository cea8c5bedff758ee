"""Who writes to which key: one upload at a time, whatever processes and hosts share the records.

Owns the field `key_claim` of uploads that are being sent. Most S3 servers do not know a conditional write that would
tell two of them apart; MongoDB does, by a unique index on that field, and where that could not be made by a look at the
others after each claim. Whatever ends the sending of an upload ends its claim, in the same write. The claim of a runner
whose lease has run out is taken from it by whoever comes next. What is done about a key that is taken is in
`transfer.duplicates`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Final, NamedTuple

from bson import ObjectId
from pymongo.errors import DuplicateKeyError

from console.bson_decoding import RAW_CODEC, decoded
from console.formatting import visible
from console.models import Endpoint, Upload, UploadStatus, read_upload
from console.records.transitions import (
    KEY_CLAIM,
    LEASE_LIVE,
    Fields,
    Filter,
    at_endpoint,
    free,
    held_by,
    key_claim,
    literal,
)
from console.records.uploads import Uploads
from console.s3.transfer_errors import Stopped, TransferError

_MOST_ROUNDS: Final = 10
"""Between two of them a claim can come and go, but not so often."""
_NO_CLAIM: Final = [{"$set": {KEY_CLAIM: "$$REMOVE"}}]


class BucketKey(NamedTuple):
    """A key of a bucket."""

    bucket: str
    key: str


class KeyClaims:
    """The keys of one runner's uploads. Thread-safe. What asks MongoDB raises `PyMongoError` while it is away."""

    def __init__(self, uploads: Uploads, endpoint: Endpoint, runner: str) -> None:
        self._uploads = uploads.collection
        # Decoded one by one: what others wrote there holds up nobody.
        self._raw = uploads.collection.with_options(codec_options=RAW_CODEC)
        self._endpoint = endpoint
        self._runner = runner

    def has(self, upload: Upload, key: str) -> bool:
        """Whether the key was the upload's alone when its document was read."""
        return self._claims(upload, key) and self._is_unique

    def having(self, upload: Upload, key: str) -> Upload:
        """The upload as it is once it took the key."""
        return upload.model_copy(update={KEY_CLAIM: key_claim(self._endpoint, upload.bucket, key)})

    def take(self, upload: Upload, key: str) -> Upload | None:
        """Let the key be the upload's, and no other one any more; gives the upload that is at work on it instead.

        Raises:
            Stopped: this runner does not hold the upload any more.
            TransferError: KeyInUse; documents that are no uploads of ours claim the key, and keep it.
        """
        claim = key_claim(self._endpoint, upload.bucket, key)
        mine: Filter = {"_id": upload.id, **held_by(self._runner, upload.attempts)}
        for _ in range(_MOST_ROUNDS):
            try:
                if not self._uploads.update_one(mine, [{"$set": {KEY_CLAIM: literal(claim)}}]).matched_count:
                    raise Stopped("another runner has the upload")
            except DuplicateKeyError:
                if (holder := self._holder(upload, claim)) is not None:
                    return holder
                idle = {"$or": [free(), {"status": {"$ne": UploadStatus.UPLOADING.value}}]}
                self._uploads.update_many({KEY_CLAIM: claim, "_id": {"$ne": upload.id}, **idle}, _NO_CLAIM)
            else:
                if self._is_unique or (holder := self._holder(upload, claim)) is None:
                    return None
                self._uploads.update_one(mine, _NO_CLAIM)
                return holder
        raise TransferError("KeyInUse", f"a document that cannot be read claims {visible(key)}: see `list`")

    def of_all(self, uploads: Sequence[Upload]) -> set[ObjectId]:
        """Those of uploads, claimed or inserted a moment ago, that have their keys, and need not be looked at one by
        one: no key of theirs holds the object of another file that they may not replace."""
        having = {upload.id: upload.key_claim for upload in uploads if self._claims(upload, upload.key)}
        if having and not self._is_unique:
            having = self._alone(having)
        of_watches = [upload for upload in uploads if upload.watch is not None and upload.id in having]
        return having.keys() - self._of_other_files(of_watches).keys()

    def other_file(self, upload: Upload, key: str) -> Upload | None:
        """For the upload of a watch: the latest one that completed under the key, if it was of another file."""
        moved = upload.model_copy(update={"key": key})
        return self._of_other_files([moved]).get(upload.id) if upload.watch is not None else None

    def _claims(self, upload: Upload, key: str) -> bool:
        return bool(upload.key_claim == key_claim(self._endpoint, upload.bucket, key))

    @cached_property
    def _is_unique(self) -> bool:
        """Whether MongoDB itself keeps two uploads from having one key."""
        indexes = self._uploads.list_indexes()
        return any(index.get("unique") and list(index["key"]) == [KEY_CLAIM] for index in indexes)

    def _alone(self, claims: Mapping[ObjectId, Fields]) -> dict[ObjectId, Fields]:
        """Those that no other upload at work claims too, and the first of these themselves."""
        others = {"_id": {"$nin": list(claims)}, KEY_CLAIM: {"$in": list(claims.values())}}
        taken = {BucketKey(upload.key_claim["bucket"], upload.key_claim["key"]) for upload in self._at_work(others)}
        alone = {}
        for upload_id, claim in claims.items():
            place = BucketKey(claim["bucket"], claim["key"])
            if place not in taken:
                alone[upload_id] = claim
                taken.add(place)
        return alone

    def _holder(self, upload: Upload, claim: Fields) -> Upload | None:
        return next(self._at_work({KEY_CLAIM: claim, "_id": {"$ne": upload.id}}), None)

    def _at_work(self, which: Filter) -> Iterator[Upload]:
        at_work: Filter = {**which, "status": UploadStatus.UPLOADING.value, "$expr": LEASE_LIVE}
        found = (read_upload(document) for document in decoded(self._raw.find(at_work)))
        return (upload for upload in found if isinstance(upload, Upload))

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
        for row in decoded(self._raw.aggregate(pipeline, allowDiskUse=True)):
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
