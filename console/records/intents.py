"""What people want of uploads: run, pause, cancel, retry, priority, deletion of the record.

Owns carrying an intent to many documents and saying which could not follow it, and why. Anybody may, from any host.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bson import ObjectId

from console.models import Requested, UploadStatus
from console.records.transitions import NOW, Fields, Filter, free, request, retry
from console.records.uploads import Uploads


@dataclass(frozen=True, slots=True)
class Outcome:
    """How many documents follow, and why the others do not."""

    changed: int
    refused: Mapping[ObjectId, str] = field(default_factory=dict)


def request_all(uploads: Uploads, ids: Sequence[ObjectId], requested: Requested) -> Outcome:
    """Write `requested`; settle the status where nobody is at work."""
    return _apply(uploads, ids, *request(requested))


def retry_all(uploads: Uploads, ids: Sequence[ObjectId]) -> Outcome:
    """Failed and cancelled uploads become pending."""
    return _apply(uploads, ids, *retry())


def change_priority(uploads: Uploads, ids: Sequence[ObjectId], change: int) -> Outcome:
    """Add to the priority; what waits with a higher one starts first."""
    fields: Fields = {"priority": {"$add": [{"$ifNull": ["$priority", 0]}, change]}, "updated_at": NOW}
    return _apply(uploads, ids, {}, fields)


def remove(uploads: Uploads, ids: Sequence[ObjectId]) -> Outcome:
    """Delete records that nobody is at work on."""
    deletable: Filter = {"status": {"$ne": UploadStatus.UPLOADING.value}}
    before = _states(uploads, ids)
    wanted: Filter = {"_id": {"$in": list(ids)}, "$or": [deletable, free()]}
    changed = uploads.collection.delete_many(wanted).deleted_count
    return Outcome(changed, _refusals(ids, before, {key for key, value in before.items() if value != "uploading"}))


def _apply(uploads: Uploads, ids: Sequence[ObjectId], wanted: Filter, fields: Fields) -> Outcome:
    before = _states(uploads, ids)
    result = uploads.collection.update_many({**wanted, "_id": {"$in": list(ids)}}, [{"$set": fields}])
    allowed = set(wanted["status"]["$in"]) if "status" in wanted else None
    followed = {key for key, status in before.items() if allowed is None or status in allowed}
    return Outcome(result.matched_count, _refusals(ids, before, followed))


def _states(uploads: Uploads, ids: Sequence[ObjectId]) -> dict[ObjectId, Any]:
    cursor = uploads.collection.find({"_id": {"$in": list(ids)}}, {"status": 1})
    return {document["_id"]: document.get("status") for document in cursor}


def _refusals(ids: Sequence[ObjectId], before: Mapping[ObjectId, Any], followed: set[ObjectId]) -> dict[ObjectId, str]:
    return {
        upload_id: f"is {before[upload_id]}" if upload_id in before else "no such upload"
        for upload_id in ids
        if upload_id not in followed
    }
