"""Deleting uploads: what runs is cancelled first, then the object goes, then the record.

Owns that order, so that no record is lost while its object or its parts are still in the bucket, and whose an object
is where several uploads went to one key: that of the upload which completed last.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime
from typing import Final, NamedTuple

from bson import ObjectId

from console.error_codes import OUT_OF_REACH
from console.formatting import visible
from console.models import Endpoint, Requested, UnreadableUpload, Upload, UploadStatus, read_upload
from console.records.database import Records
from console.records.requests import Outcome, remove, request_all
from console.records.transitions import at_endpoint
from console.records.uploads import Uploads
from console.s3.operations import NotOurs
from console.s3.transfer_errors import TransferError
from console.transfer.sender import S3Sender

_OBEY_SECONDS: Final = 10.0
_LOOK_SECONDS: Final = 0.1
_AT_ONCE: Final = 1_000
"""No index has the keys, so each look for later uploads reads all that completed; and it must not be long ago."""


class _StillRuns(Exception):
    """A runner carries the upload out. Its parts, and the object that it may still become, only its record knows."""


class _Successor(NamedTuple):
    """An upload, by when it completed; two of one moment are told apart by their ids, so that one is the last."""

    finished_at: datetime
    id: ObjectId
    version_id: str | None


def delete_all(records: Records, sender: S3Sender, ids: Sequence[ObjectId]) -> Outcome:
    """Delete objects and records; those whose object could not be deleted keep their record, with the reason.

    An object that is another one by now, or that of an upload which completed later, stays: only the record goes.
    Uploads to another S3 service than the sender's are left alone.
    """
    refused = _at_other_endpoints(records, sender, ids)
    ids = [upload_id for upload_id in ids if upload_id not in refused]
    _cancel(records, ids)
    kept: dict[ObjectId, str] = {}
    is_out_of_reach = False
    inherited: dict[ObjectId, _Successor] = {}
    cleared: set[ObjectId] = set()
    found = [read_upload(document) for document in records.uploads.get(ids)]
    for start in range(0, len(found), _AT_ONCE):
        some = found[start : start + _AT_ONCE]
        successors = _successors(records.uploads, some, sender.endpoint)
        together = _of_one_object(some)
        for upload in some:
            try:
                if (why := _clear(sender, upload, together, has_object=upload.id not in successors)) is not None:
                    kept[upload.id] = why
            except (_StillRuns, TransferError) as error:
                refused[upload.id] = str(error)
                is_out_of_reach |= isinstance(error, TransferError) and error.code in OUT_OF_REACH
            else:
                cleared.add(upload.id)
        inherited |= successors
    outcome = remove(records.uploads, list(cleared))
    missing = {
        upload_id: "no such upload" for upload_id in ids if upload_id not in cleared and upload_id not in refused
    }
    kept |= _of_later_uploads(found, inherited, cleared, kept)
    gone = cleared - outcome.refused.keys()
    kept = {upload_id: why for upload_id, why in kept.items() if upload_id in gone}
    return Outcome(outcome.changed, {**missing, **refused, **outcome.refused}, kept, is_out_of_reach)


def _of_later_uploads(
    found: Iterable[Upload | UnreadableUpload],
    inherited: Mapping[ObjectId, _Successor],
    cleared: AbstractSet[ObjectId],
    kept: Mapping[ObjectId, str],
) -> dict[ObjectId, str]:
    """Those whose object stays because it is that of an upload which completed later, with that reason."""
    return {
        upload.id: f"the object is that of upload {successor.id}, which completed later"
        for upload in found
        if isinstance(upload, Upload) and (successor := inherited.get(upload.id)) is not None
        # One that is deleted as well takes the object with it, unless that was another version.
        if successor.id not in cleared or successor.id in kept or successor.version_id != upload.version_id
    }


def _at_other_endpoints(records: Records, sender: S3Sender, ids: Sequence[ObjectId]) -> dict[ObjectId, str]:
    found = (read_upload(document) for document in records.uploads.get(ids))
    reasons = ((upload.id, sender.refusal(upload)) for upload in found if isinstance(upload, Upload))
    return {upload_id: words for upload_id, words in reasons if words is not None}


def _cancel(records: Records, ids: Sequence[ObjectId]) -> None:
    """Stop what runs, on whichever host, and wait a while until its runner has released it or its lease ran out."""
    request_all(records.uploads, ids, Requested.CANCEL)
    running = {"_id": {"$in": list(ids)}, "status": UploadStatus.UPLOADING.value}
    until = time.monotonic() + _OBEY_SECONDS
    while records.uploads.collection.count_documents(running, limit=1) and time.monotonic() < until:
        time.sleep(_LOOK_SECONDS)
        records.uploads.settle()  # a lease that has run out meanwhile was that of a runner that died


def _successors(
    uploads: Uploads, some: Sequence[Upload | UnreadableUpload], endpoint: Endpoint
) -> dict[ObjectId, _Successor]:
    """For uploads whose object is that of another record by now: that record.

    With versions each upload has an object of its own. One without would be deleted as whatever is there now.
    """
    completed = [upload for upload in some if isinstance(upload, Upload) and upload.status is UploadStatus.COMPLETED]
    wanted = {
        "status": UploadStatus.COMPLETED.value,
        **at_endpoint(endpoint),
        "bucket": {"$in": list({upload.bucket for upload in completed})},
        "key": {"$in": list({upload.key for upload in completed})},
        "finished_at": {"$type": "date"},
        "_id": {"$type": "objectId"},
    }
    of_key: dict[tuple[str, str], _Successor] = {}
    of_version: dict[tuple[str, str, str | None], _Successor] = {}
    fields = ("bucket", "key", "version_id", "finished_at")
    for document in uploads.read(wanted, fields) if completed else ():
        bucket, key, version_id = document["bucket"], document["key"], document.get("version_id")
        finished_at = document["finished_at"]
        if not (type(bucket) is type(key) is str and isinstance(finished_at, datetime)):
            continue  # of others: MongoDB finds values within arrays, too
        version_id = version_id if type(version_id) is str else None
        one = _Successor(finished_at, document["_id"], version_id)
        for_key, version = (bucket, key), (bucket, key, version_id)
        of_key[for_key] = max(of_key.get(for_key, one), one)
        of_version[version] = max(of_version.get(version, one), one)
    successors: dict[ObjectId, _Successor] = {}
    for upload in completed:
        place = (upload.bucket, upload.key)
        last = of_version.get((*place, upload.version_id)) if upload.version_id else of_key.get(place)
        mine = (upload.finished_at or datetime.min.replace(tzinfo=UTC), upload.id)
        if last is not None and last[:2] > mine:
            successors[upload.id] = last
    return successors


def _of_one_object(some: Iterable[Upload | UnreadableUpload]) -> dict[tuple[str, str], list[Upload]]:
    """Uploads that completed at one key. One of them made the object, and they all go."""
    together: dict[tuple[str, str], list[Upload]] = {}
    for upload in some:
        if isinstance(upload, Upload) and upload.status is UploadStatus.COMPLETED:
            together.setdefault((upload.bucket, upload.key), []).append(upload)
    return together


def _clear(
    sender: S3Sender,
    upload: Upload | UnreadableUpload,
    together: Mapping[tuple[str, str], Sequence[Upload]],
    *,
    has_object: bool,
) -> str | None:
    """Remove what the upload has in the bucket; returns why something of it stays though the record may go, None where
    nothing does. A record that is none of ours has nothing there that we know of.

    Raises:
        _StillRuns, TransferError: the record must stay.
    """
    if not isinstance(upload, Upload):
        return None
    if upload.status is UploadStatus.UPLOADING:
        runner = upload.lease.runner if upload.lease else upload.host
        raise _StillRuns(f"{visible(runner)} has not released it yet: delete it again in a minute")
    try:
        if upload.status is UploadStatus.COMPLETED and has_object:
            sender.delete(upload, together[upload.bucket, upload.key])
        if upload.multipart is None or sender.abort(upload, upload.multipart):
            return None
    except NotOurs as error:
        return error.message
    return "the server cannot abort multipart uploads: the parts that arrived stay there"
