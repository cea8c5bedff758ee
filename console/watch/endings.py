"""How uploads of watches ended: the events that tell of it, and the notes for people.

Owns which endings are told. Not here: who listens (`service`), who asks (`once`).
"""

from __future__ import annotations

from typing import Any, Final

from console.formatting import visible
from console.models import TERMINAL, Upload, UploadStatus
from console.watch.notes import Kind, Note

_KINDS: Final = {UploadStatus.COMPLETED: Kind.COMPLETED, UploadStatus.FAILED: Kind.FAILED}
TOLD = sorted(status.value for status in _KINDS)
"""What becomes a note: who cancels an upload knows of it."""


def ended_uploads(host: str) -> list[dict[str, Any]]:
    """Events of a host's watched uploads that are at their end; also those that came without their document."""
    is_watched = {"fullDocument.host": host, "fullDocument.watch.digest": {"$exists": True}}
    ended = {"updateDescription.updatedFields.status": {"$in": sorted(status.value for status in TERMINAL)}}
    return [{"$match": {"operationType": "update", **ended, "$or": [is_watched, {"fullDocument": None}]}}]


def ending(upload: Upload) -> Note | None:
    """The note of an upload of a watch that completed or failed."""
    kind = _KINDS.get(upload.status)
    if kind is None or upload.watch is None:
        return None
    has_failed = kind is Kind.FAILED and upload.error is not None
    said = f"{upload.error.code}: {upload.error.message}" if has_failed and upload.error is not None else ""
    destination = visible(upload.destination)
    return Note(kind, upload.watch.rule, upload.os_path, said, destination, upload.size, str(upload.id))
