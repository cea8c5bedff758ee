"""Deleting uploads: what runs is cancelled first, then the object goes, then the record.

Owns that order, so that no record is lost while its object or its parts are still in the bucket.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

from bson import ObjectId

from console.models import Requested, UnreadableUpload, Upload, UploadStatus, read_upload
from console.records.database import Records
from console.records.intents import Outcome, remove, request_all
from console.transfer.errors import TransferError
from console.transfer.sender import S3Sender

_OBEY_SECONDS: Final = 10.0
_LOOK_SECONDS: Final = 0.1


def delete_all(records: Records, sender: S3Sender, ids: Sequence[ObjectId]) -> Outcome:
    """Delete objects and records; those whose object could not be deleted keep their record, with the reason."""
    _cancel(records, ids)
    refused: dict[ObjectId, str] = {}
    cleared: list[ObjectId] = []
    for document in records.uploads.get(ids):
        upload = read_upload(document)
        try:
            _clear(sender, upload)
        except TransferError as error:
            refused[upload.id] = str(error)
        else:
            cleared.append(upload.id)
    outcome = remove(records.uploads, cleared)
    missing = {
        upload_id: "no such upload" for upload_id in ids if upload_id not in cleared and upload_id not in refused
    }
    return Outcome(outcome.changed, {**missing, **refused, **outcome.refused})


def _cancel(records: Records, ids: Sequence[ObjectId]) -> None:
    """Stop what runs, on whichever host, and wait until its runner has let go of it."""
    request_all(records.uploads, ids, Requested.CANCEL)
    running = {"_id": {"$in": list(ids)}, "status": UploadStatus.UPLOADING.value}
    until = time.monotonic() + _OBEY_SECONDS
    while records.uploads.collection.count_documents(running, limit=1) and time.monotonic() < until:
        time.sleep(_LOOK_SECONDS)


def _clear(sender: S3Sender, upload: Upload | UnreadableUpload) -> None:
    """Remove what the upload has in the bucket. A record that is none of ours has nothing there that we know of."""
    if not isinstance(upload, Upload):
        return
    if upload.multipart is not None and upload.status is not UploadStatus.UPLOADING:
        sender.abort(upload, upload.multipart)
    if upload.status is UploadStatus.COMPLETED:
        sender.delete(upload)
