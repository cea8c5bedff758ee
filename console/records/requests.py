"""What people want of uploads: run, pause, cancel, retry, priority, deletion of the record.

Owns carrying a request to many documents and saying which could not follow it, and why. Anybody may, from any host.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from bson import ObjectId

from console.formatting import visible
from console.models import Requested, UploadStatus
from console.records.connection import Document
from console.records.identity import this_actor
from console.records.transitions import NOW, OPEN, Fields, Filter, free, literal, number, request, retry
from console.records.uploads import Uploads

# An id is about 20 bytes in a filter, and a filter has at most 16 MiB (manual, "MongoDB Limits").
_IDS_AT_ONCE: Final = 100_000


@dataclass(frozen=True, slots=True)
class Outcome:
    """How many documents follow, and why the others do not. `kept`, of a deletion: why an object was left, though its
    upload's record is gone. `is_out_of_reach`: some are refused because a server did not answer."""

    changed: int
    refused: Mapping[ObjectId, str] = field(default_factory=dict)
    kept: Mapping[ObjectId, str] = field(default_factory=dict)
    is_out_of_reach: bool = False


def request_all(uploads: Uploads, ids: Sequence[ObjectId], requested: Requested) -> Outcome:
    """Write `requested`; settle the status where nobody is at work."""
    return _asked(uploads, ids, *request(requested))


def retry_all(uploads: Uploads, ids: Sequence[ObjectId]) -> Outcome:
    """Failed and cancelled uploads become pending."""
    return _asked(uploads, ids, *retry())


def change_priority(uploads: Uploads, ids: Sequence[ObjectId], change: int) -> Outcome:
    """Add to the priority; what waits with a higher one starts first."""
    fields: Fields = {"priority": {"$add": [number("priority"), change]}, "updated_at": NOW}
    return _asked(uploads, ids, {"status": {"$ne": UploadStatus.COMPLETED.value}}, fields, is_once=True)


def remove(uploads: Uploads, ids: Sequence[ObjectId]) -> Outcome:
    """Delete records that nobody is at work on."""
    deletable: Filter = {"$or": [{"status": {"$ne": UploadStatus.UPLOADING.value}}, free()]}
    changed = 0
    refused: dict[ObjectId, str] = {}
    for some in _portions(ids):
        before = _states(uploads, some)
        changed += uploads.collection.delete_many({**deletable, "_id": {"$in": some}}).deleted_count
        left = _states(uploads, some)
        refused |= {key: _reason(left.get(key)) for key in some if key in left or key not in before}
    return Outcome(changed, refused)


def _asked(
    uploads: Uploads, ids: Sequence[ObjectId], wanted: Filter, fields: Fields, *, is_once: bool = False
) -> Outcome:
    """Few updates for all, and who asked is in the documents; who is refused is seen right before, so that it may be a
    moment old. `is_once`: the fields must not be written twice."""
    by = this_actor().model_dump(exclude_none=True)
    fields = {**fields, "requested_by": literal(by)}
    changed = 0
    refused: dict[ObjectId, str] = {}
    for some in _portions(ids):
        among: Filter = {**wanted, "_id": {"$in": some}}
        following = set(uploads.ids(among))
        others = [key for key in some if key not in following]
        states = _states(uploads, others)
        refused |= {key: _reason(states.get(key)) for key in others}
        matched, unwritable = (uploads.update_once if is_once else uploads.update_each)(wanted, list(following), fields)
        changed += len(following) - len(unwritable) if unwritable else matched
        refused |= unwritable
    return Outcome(changed, refused)


def _portions(ids: Sequence[ObjectId]) -> Iterator[list[ObjectId]]:
    for start in range(0, len(ids), _IDS_AT_ONCE):
        yield list(ids[start : start + _IDS_AT_ONCE])


def _states(uploads: Uploads, ids: Sequence[ObjectId]) -> dict[ObjectId, Document]:
    found = uploads.read({"_id": {"$in": list(ids)}}, ("status", "requested"))
    return {document["_id"]: document for document in found}


def _reason(document: Mapping[str, Any] | None) -> str:
    if document is None:
        return "no such upload"
    if document.get("status") in OPEN and document.get("requested") == Requested.CANCEL:
        return "being cancelled"
    return visible(str(document.get("status")))
