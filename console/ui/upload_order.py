"""Where an upload stands in the table, and by what key it is known.

Owns the order: running, paused, waiting as they will start, finished with the newest first, unreadable. Pure. Not here:
which uploads are held (`upload_rows`).
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias

from bson import ObjectId

from console.events.event import ChangeEvent
from console.events.feed_items import FeedItem
from console.events.values import fingerprint
from console.models import UnreadableUpload, Upload, UploadStatus

Row: TypeAlias = Upload | UnreadableUpload
Order: TypeAlias = tuple[float, ...]

RUNNING, PAUSED, WAITING, FINISHED, UNREADABLE = range(5)
_RANKS: Final[Mapping[UploadStatus, int]] = {
    UploadStatus.UPLOADING: RUNNING,
    UploadStatus.PAUSED: PAUSED,
    UploadStatus.PENDING: WAITING,
    UploadStatus.COMPLETED: FINISHED,
    UploadStatus.FAILED: FINISHED,
    UploadStatus.CANCELLED: FINISHED,
}
_WORDS: Final = frozenset(status.value for status in _RANKS)


def row_key(document_id: Any) -> Hashable:
    """An `_id` as a key: itself where it is one of ours, else its BSON. To Python 1 and true are the same key, two NaN
    are not, and a document is none."""
    return document_id if type(document_id) is ObjectId else fingerprint(document_id)


def rank_of_status(status: Any) -> int | None:
    """The group in which MongoDB finds a document with that `status`; None for what is no word of ours."""
    return _RANKS.get(UploadStatus(status)) if type(status) is str and status in _WORDS else None


def order_of(row: Row) -> Order:
    """Where a row stands: running, paused, waiting as they will start, finished with the newest first, unreadable."""
    if isinstance(row, UnreadableUpload):
        return (UNREADABLE, 0.0)
    rank = _RANKS[row.status]
    number = int.from_bytes(row.id.binary)
    if rank == WAITING:
        return (rank, -row.priority, _stamp(row.created_at), number)
    if rank == FINISHED:
        return (rank, -_stamp(row.finished_at), -number)
    return (rank, _stamp(row.started_at or row.created_at), number)


def _stamp(moment: datetime | None) -> float:
    if moment is None:
        return -math.inf
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()


def newest(items: Sequence[FeedItem]) -> list[FeedItem]:
    """The same items without states of a document that a later one of them replaces: only the last is worth reading."""
    wanted: list[FeedItem] = []
    newer: set[Hashable] = set()
    for item in reversed(items):
        if not isinstance(item, ChangeEvent) or item.document_key is None:
            newer.clear()  # a snapshot, or the end of the collection
        elif (key := row_key(item.document_id)) in newer:
            continue
        elif item.after is not None or item.operation == "delete":
            newer.add(key)
        wanted.append(item)
    return wanted[::-1]
