"""The document that is inserted for a file.

Owns what each field begins with. Not here: which file and key those are (`transfer.intake`), and what becomes of the
document (`transitions`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from bson import Int64, ObjectId

from console.choices import DuplicatePolicy
from console.models import Requested, Source, Storage, UploadStatus, Watched, stored_ns
from console.records.connection import Document


@dataclass(frozen=True, slots=True)
class NewUpload:
    """A file that is to be uploaded, as it goes into a document. `path_bytes` only where the name is no UTF-8;
    `folder_length` as in `Upload.below`.

    `endpoint` is the name of the S3 service whose bucket is meant. `batch` is common to the uploads of one command.
    `duplicates` only where it is not as the settings have it.
    """

    filename: str
    path: str
    path_bytes: bytes | None
    host: str
    size: int
    mtime_ns: int
    fingerprint: str
    content_type: str
    bucket: str
    key: str
    source: Source
    priority: int = 0
    batch: ObjectId | None = None
    watch: Watched | None = None
    storage: Storage | None = None
    duplicates: DuplicatePolicy | None = None
    endpoint: str | None = None
    folder_length: int | None = None

    def document(self, now: datetime, status: UploadStatus = UploadStatus.PENDING) -> Document:
        """The document that is inserted for it."""
        return {
            "_id": ObjectId(),
            "filename": self.filename,
            "path": self.path,
            **({"path_bytes": self.path_bytes} if self.path_bytes is not None else {}),
            **({"folder_length": self.folder_length} if self.folder_length is not None else {}),
            **({"batch": self.batch} if self.batch is not None else {}),
            **({"watch": self.watch.model_dump(exclude_none=True)} if self.watch is not None else {}),
            **({"storage": self.storage.model_dump(exclude_none=True)} if self.storage is not None else {}),
            **({"duplicates": self.duplicates} if self.duplicates is not None else {}),
            "host": self.host,
            "size": Int64(self.size),
            "mtime_ns": Int64(stored_ns(self.mtime_ns)),
            "fingerprint": self.fingerprint,
            "content_type": self.content_type,
            **({"endpoint": self.endpoint} if self.endpoint is not None else {}),
            "bucket": self.bucket,
            "key": self.key,
            "source": self.source.value,
            "status": status.value,
            "requested": Requested.RUN.value,
            "priority": self.priority,
            "current": Int64(0),
            "percentage": 0.0,
            "rate": 0.0,
            "multipart": None,
            "attempts": 0,
            "error": None,
            "checksum": None,
            "etag": None,
            "version_id": None,
            "lease": None,
            "created_at": now,
            "started_at": None,
            "updated_at": now,
            "finished_at": None,
        }

    def claimed_document(self, now: datetime, runner: str, lease_seconds: float) -> Document:
        """The document as `transitions.claim` would leave it; `now` is the server's time, as in every lease."""
        return {
            **self.document(now, UploadStatus.UPLOADING),
            "lease": {"runner": runner, "expires_at": now + timedelta(seconds=lease_seconds)},
            "attempts": 1,
            "started_at": now,
        }
