"""Watches as every host sees them: collection `<uploads>_watches`, one document for each rule of each host.

Owns these documents: the heartbeat of a watch, who of several processes of a host does the watching, and `paused`,
which anybody may set from any host and which outlives the process. The watching is in `watch.watcher`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Self

from bson.raw_bson import RawBSONDocument
from pymongo import ReturnDocument
from pymongo.collection import Collection
from pymongo.database import Database

from console.bson_decoding import RAW_CODEC, decode, decoded
from console.files.refusals import Refusal
from console.formatting import as_text
from console.records.connection import MAJORITY, Document
from console.records.transitions import NOW, literal
from console.records.uploads import Uploads

HEARTBEAT_SECONDS: Final = 2.0
LIVE_SECONDS: Final = 15.0
"""After so long without a heartbeat another process of the host takes over."""
_FORGOTTEN_SECONDS: Final = 30 * 86_400
_COUNTS: Final = ("pending", "sent", "failed", "waiting", "refused")


@dataclass(frozen=True, slots=True)
class WatchHeartbeat:
    """How a watch is. Counts are files; `sent` and `failed` are of all times, as the records have them. `waiting`: not
    complete yet. `is_troubled`: something does not work now; the last error may be over.
    """

    folder: str
    destination: str
    state: str
    pending: int = 0
    sent: int = 0
    failed: int = 0
    waiting: int = 0
    refused: int = 0
    refused_by_reason: Mapping[str, int] = field(default_factory=dict)
    last_refusals: tuple[Refusal, ...] = ()
    last_error: str = ""
    last_error_at: datetime | None = None
    is_troubled: bool = False


@dataclass(frozen=True, slots=True)
class HeartbeatReply:
    """What a heartbeat learns: whether this process is to watch, and whether somebody paused the rule."""

    is_ours: bool
    is_paused: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownWatch(WatchHeartbeat):
    """A watch of some host, as its last heartbeat told it. `heartbeat_at` is server time; not alive: it went silent."""

    host: str
    rule: str
    is_paused: bool
    is_alive: bool
    heartbeat_at: datetime


class Presence:
    """The collection of watches. Thread-safe."""

    def __init__(self, database: Database[Document], uploads_name: str) -> None:
        self._collection: Collection[Document] = database[f"{uploads_name}_watches"]
        # Decoded one by one: whatever others wrote there stops no watch and hides no other.
        self._raw: Collection[RawBSONDocument] = self._collection.with_options(codec_options=RAW_CODEC)

    @classmethod
    def of(cls, uploads: Uploads) -> Self:
        return cls(uploads.collection.database, uploads.collection.name)

    def heartbeat(self, host: str, rule: str, holder: str, heartbeat: WatchHeartbeat) -> HeartbeatReply:
        """Say that the process `holder` watches, unless another one of the host does."""
        fields = {**_fields(heartbeat), "host": literal(host), "rule": literal(rule), "holder": literal(holder)}
        changed = {**fields, "seen_at": NOW, "paused": {"$ifNull": ["$paused", False]}}
        found = self._raw.find_one_and_update(
            {"_id": _id(host, rule)},
            # In the pipeline, not in the filter: with an upsert that may hold no `$expr`.
            [{"$replaceWith": {"$cond": [_is_free_for(holder), {"$mergeObjects": ["$$ROOT", changed]}, "$$ROOT"]}}],
            {"paused": 1, "holder": 1},
            upsert=True,
            return_document=ReturnDocument.AFTER,
        )
        document = decode(found.raw) if found is not None else {}  # upserted: there is one
        # What others wrote into `paused` is no wish of a person, and what they wrote as `holder` is no process.
        return HeartbeatReply(document.get("holder") == holder, document.get("paused") is True)

    def is_paused(self, host: str, rule: str) -> bool:
        return self._collection.count_documents({"_id": _id(host, rule), "paused": True}, limit=1) == 1

    def pause(self, host: str, rule: str, *, paused: bool) -> bool:
        """Pause a rule or let it go on, from any host; False if there is no such watch."""
        collection = self._collection.with_options(write_concern=MAJORITY)
        return collection.update_one({"_id": _id(host, rule)}, {"$set": {"paused": paused}}).matched_count == 1

    def leave(self, host: str, rule: str, holder: str, state: str) -> None:
        """The process watches no longer; another one may at once."""
        mine: Document = {"_id": _id(host, rule), "holder": holder}
        self._collection.update_one(mine, {"$set": {"holder": None, "state": state, "pending": 0, "waiting": 0}})

    def known(self) -> list[KnownWatch]:
        """All watches of all hosts, by host and rule; those that have been silent for a month are forgotten."""
        self._collection.delete_many(
            {
                "$expr": {"$lt": ["$seen_at", {"$subtract": [NOW, _FORGOTTEN_SECONDS * 1000]}]},
                "paused": {"$ne": True},
                "seen_at": {"$type": "date"},
            }
        )
        rows = self._raw.aggregate([{"$addFields": {"alive": _is_recent(LIVE_SECONDS)}}])
        watches = [watch for row in decoded(rows) if (watch := _read(row)) is not None]
        return sorted(watches, key=lambda watch: (watch.host, watch.rule))


def _id(host: str, rule: str) -> Document:
    return {"host": host, "rule": rule}


def _is_free_for(holder: str) -> Document:
    known = {"$ifNull": ["$holder", None]}
    return {"$or": [{"$in": [known, [literal(holder), None]]}, {"$not": [_is_recent(LIVE_SECONDS)]}]}


def _is_recent(seconds: float) -> Document:
    """Anything else than a date, and a date that is still to come, is no sign of life: others wrote it."""
    span = int(seconds * 1000)
    is_date = {"$eq": [{"$type": "$seen_at"}, "date"]}
    is_now = [{"$gt": ["$seen_at", {"$subtract": [NOW, span]}]}, {"$lt": ["$seen_at", {"$add": [NOW, span]}]}]
    return {"$and": [is_date, *is_now]}


def _fields(heartbeat: WatchHeartbeat) -> Document:
    values = {
        **{name: getattr(heartbeat, name) for name in _COUNTS},
        "folder": as_text(heartbeat.folder),
        "destination": heartbeat.destination,
        "state": heartbeat.state,
        # A list: a reason as a field's name would have to do without dots and dollars.
        "reasons": [{"reason": reason, "files": files} for reason, files in heartbeat.refused_by_reason.items()],
        "last_refusals": [{"path": each.path, "reason": each.reason} for each in heartbeat.last_refusals],
        "last_error": heartbeat.last_error,
        "last_error_at": heartbeat.last_error_at,
        "troubled": heartbeat.is_troubled,
    }
    return {name: literal(value) for name, value in values.items()}


def _read(document: Mapping[str, Any]) -> KnownWatch | None:
    """A watch; None where others wrote something that is none."""
    try:
        error_at, seen_at = document.get("last_error_at"), document["seen_at"]
        if not isinstance(seen_at, datetime):
            return None
        return KnownWatch(
            host=str(document["host"]),
            rule=str(document["rule"]),
            is_paused=bool(document.get("paused")),
            is_alive=bool(document.get("alive")) and document.get("holder") is not None,
            heartbeat_at=seen_at,
            folder=str(document["folder"]),
            destination=str(document["destination"]),
            state=str(document["state"]),
            **{name: int(document.get(name, 0)) for name in _COUNTS},
            refused_by_reason={str(each["reason"]): int(each["files"]) for each in document.get("reasons", ())},
            last_refusals=tuple(
                Refusal(str(each["path"]), str(each["reason"])) for each in document.get("last_refusals", ())
            ),
            last_error=str(document.get("last_error", "")),
            last_error_at=error_at if isinstance(error_at, datetime) else None,
            is_troubled=bool(document.get("troubled")),
        )
    except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError):
        return None
