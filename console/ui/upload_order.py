"""Where an upload stands in the table, and by what key it is known.

Owns the order: running, paused, waiting as they will start, finished with the newest first, unreadable. Pure. Not here:
which uploads are held (`upload_rows`).
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias

from bson.json_util import dumps

from console.events.event import ChangeEvent
from console.events.feed_items import FeedItem
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
RANK_WORDS: Final[Mapping[Any, int]] = {str(status): rank for status, rank in _RANKS.items()}


def row_key(document_id: Any) -> Hashable:
    """An `_id` as a key: itself, or its JSON where documents or arrays were used as `_id`."""
    try:
        hash(document_id)
    except TypeError:
        return dumps(document_id)
    key: Hashable = document_id
    return key


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
