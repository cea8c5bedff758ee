"""The other host in the benchmark of the screen: a process of its own that writes progress at a steady rate.

As the runner does: updates of the same moment are one bulk.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from bson import Int64, ObjectId
from pymongo import MongoClient, UpdateOne

LINE_SECONDS: Final = 0.5
"""Between two news of one upload, as `records.writer` has it."""
_BULK_SECONDS: Final = 0.02


def progress(upload_id: ObjectId, step: int) -> UpdateOne:
    """What the progress writer does to an upload."""
    share = step % 1_000 / 1_000
    news = {"current": Int64(200_000_000 * share), "percentage": share * 100, "rate": 1.7e7 + 1e5 * (step % 37)}
    return UpdateOne({"_id": upload_id}, {"$set": {**news, "updated_at": datetime.now(UTC)}})


def write_at(uri: str, ids: Sequence[ObjectId], rate: int) -> None:
    """Write `rate` updates a second, in turn to each upload, for ever."""
    with MongoClient[dict[str, Any]](uri) as client:
        uploads = client["upload_console"]["uploads"]
        began, written = time.monotonic(), 0
        while True:
            due = int((time.monotonic() - began) * rate)
            if due > written:
                numbers = range(written, due)
                uploads.bulk_write([progress(ids[n % len(ids)], n // len(ids)) for n in numbers], ordered=False)
                written = due
            time.sleep(_BULK_SECONDS)
