"""The past of one document: its change events from a time on until now, as far back as the oplog reaches.

A stream of its own is opened for it and closed again; it reads the oplog once from that time on.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from bson import Timestamp
from pymongo.collection import Collection
from pymongo.errors import OperationFailure

from console.events.event import ChangeEvent
from console.events.since import token_time
from console.records.connection import Document
from console.stream.server import Abilities, history, image_options

MOST_EVENTS: Final = 5_000
_SECONDS: Final = 20.0
_AWAIT_MILLISECONDS: Final = 200
_BEFORE: Final = timedelta(seconds=5)  # clocks differ: an `_id` is made by whoever inserts
_HISTORY_LOST: Final = 286


@dataclass(frozen=True, slots=True)
class DocumentPast:
    """Events of one document, oldest first. `lacks` says what is missing of them, "" where nothing is."""

    events: tuple[ChangeEvent, ...]
    lacks: str = ""


def document_past(collection: Collection[Any], document_id: object, since: datetime) -> DocumentPast:
    """Read the events of a document that happened from `since` until now.

    Raises:
        PyMongoError: the server is away, or the user may not open a change stream.
    """
    client = collection.database.client
    start = Timestamp(max(0, int((since - _BEFORE).timestamp())), 0)
    lacks = ""
    known = history(client)
    if known is not None and not known.reaches(start):
        start, lacks = known.begins, "older events have left the server's oplog"
    try:
        events, is_all = _read(collection, document_id, start)
    except OperationFailure as error:
        if error.code != _HISTORY_LOST:
            raise
        return DocumentPast((), "its events have left the server's oplog")
    return DocumentPast(tuple(events), lacks if is_all else "there are more events than are shown")


def _read(collection: Collection[Any], document_id: object, start: Timestamp) -> tuple[list[ChangeEvent], bool]:
    client = collection.database.client
    now: object = client.admin.command("hello").get("operationTime")
    options: dict[str, Any] = {**image_options(Abilities.of(client).wire_version)}
    pipeline: list[Document] = [{"$match": {"documentKey._id": document_id}}]
    found: list[ChangeEvent] = []
    ends = time.monotonic() + _SECONDS
    with collection.watch(
        pipeline, start_at_operation_time=start, max_await_time_ms=_AWAIT_MILLISECONDS, **options
    ) as stream:
        while time.monotonic() < ends:
            raw = stream.try_next()
            if raw is not None:
                found.append(ChangeEvent.from_raw(raw))
                if len(found) >= MOST_EVENTS:
                    return found, False
                continue
            reached = token_time(stream.resume_token) if stream.resume_token else None
            if not isinstance(now, Timestamp) or reached is None or reached >= now or not stream.alive:
                return found, True
    return found, False
