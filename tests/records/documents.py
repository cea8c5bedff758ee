"""Uploads for tests, and what a test does to their documents behind the program's back."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from bson import ObjectId

from console.models import Requested, Source, Upload, UploadStatus, read_upload
from console.records.uploads import NewUpload, Uploads

HOST = "here"
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
FAR_AHEAD = timedelta(hours=1)
_numbers = count(1)


def new_upload(*, host: str = HOST, size: int = 1000, priority: int = 0) -> NewUpload:
    number = next(_numbers)
    return NewUpload(
        filename=f"file-{number}",
        path=f"/outgoing/file-{number}",
        path_bytes=None,
        host=host,
        size=size,
        mtime_ns=number,
        fingerprint=f"print-{number}",
        content_type="text/plain",
        bucket="bucket",
        key=f"prefix/file-{number}",
        source=Source.COMMAND,
        priority=priority,
    )


def add(uploads: Uploads, many: int = 1, **properties: Any) -> list[ObjectId]:
    return uploads.add([new_upload(**properties) for _ in range(many)])


def put(
    uploads: Uploads,
    status: UploadStatus,
    requested: Requested = Requested.RUN,
    *,
    runner: str | None = None,
    live: bool = True,
    **fields: Any,
) -> ObjectId:
    """A document in any state, as if it had come there; with a lease of `runner` that is live or has run out. A
    multipart upload in it is one that a process of this user opened.
    """
    document = new_upload().document(datetime.now(UTC), status) | {"requested": requested.value} | fields
    if document["multipart"] is not None:
        upload = Upload.model_validate(document)
        assert upload.multipart is not None
        document["multipart"] = uploads.seals.multipart(upload, upload.multipart).model_dump()
    if runner is not None:
        document["lease"] = {"runner": runner, "expires_at": datetime.now(UTC) + FAR_AHEAD if live else LONG_AGO}
    uploads.collection.insert_one(document)
    return document["_id"]  # type: ignore[no-any-return]


def expire(uploads: Uploads, ids: Iterable[ObjectId]) -> None:
    """Let leases run out now."""
    uploads.collection.update_many(
        {"_id": {"$in": list(ids)}, "lease": {"$ne": None}}, {"$set": {"lease.expires_at": LONG_AGO}}
    )


def the(uploads: Uploads, upload_id: ObjectId) -> Upload:
    """The document as it is now."""
    (document,) = uploads.get([upload_id])
    upload = read_upload(document)
    assert isinstance(upload, Upload), upload
    return upload


def claim_all(uploads: Uploads, runner: str, *, slots: int = 100, **options: Any) -> list[Upload]:
    return uploads.claim(runner, HOST, lease_seconds=60, slots=slots, most_bytes_ahead=0, **options)
