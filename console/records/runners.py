"""Which runners live, and the limits that people set for them: collection `<uploads>_runners`, a document each.

Owns the heartbeat. A runner's document is how another host sees it, and how its limits are changed from anywhere
while it works. What a runner does is in `runner.runner`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeVar

from bson.raw_bson import RawBSONDocument
from pymongo import ReturnDocument
from pymongo.collection import Collection
from pymongo.database import Database

from console.bson_decoding import RAW_CODEC, decode, decoded
from console.choices import MOST_PARALLEL
from console.models import Endpoint
from console.records.connection import Document
from console.records.transitions import NOW, at_endpoint, literal
from console.settings import TransferSettings

T = TypeVar("T")

HEARTBEAT_SECONDS: Final = 2.0
LIVE_SECONDS: Final = 15.0
LEAVING: Final = "leaving"
"""The kind of a runner that begins nothing more: nobody may count on it for new uploads."""
_FORGOTTEN_SECONDS: Final = 7 * 86_400
AUTO: Final = "auto"
"""In place of a number: as many as turn out best."""
_AT_ONCE: Final = range(1, MOST_PARALLEL + 1)


@dataclass(frozen=True, slots=True)
class Limits:
    """What all uploads of a runner share. `bandwidth` in bytes a second, 0 for none; `uploads` and `parts` at once,
    None as turns out best."""

    bandwidth: int
    uploads: int | None
    parts: int | None

    @classmethod
    def of(cls, settings: TransferSettings) -> Limits:
        """The limits that a runner starts with."""
        return cls(int(settings.bandwidth_limit), settings.parallel_uploads, settings.parallel_parts)

    @classmethod
    def read(cls, stored: object, otherwise: Limits) -> Limits:
        """Limits of a document; what is missing or makes no sense stays as it was."""
        document = stored if isinstance(stored, Mapping) else {}

        def at_once(name: str, current: int | None) -> int | None:
            return None if document.get(name) == AUTO else whole(name, _AT_ONCE, current)

        def whole(name: str, sensible: range, current: T) -> int | T:
            value = document.get(name)
            # A range walks through all its numbers for a subclass of int, which BSON's 64 bits are.
            if isinstance(value, int) and not isinstance(value, bool) and int(value) in sensible:
                return int(value)
            return current

        return cls(
            whole("bandwidth", range(2**63), otherwise.bandwidth),
            at_once("uploads", otherwise.uploads),
            at_once("parts", otherwise.parts),
        )

    def document(self) -> Document:
        return {"bandwidth": self.bandwidth, "uploads": self.uploads or AUTO, "parts": self.parts or AUTO}


@dataclass(frozen=True, slots=True)
class RunnerState:
    """A runner as its last heartbeat told. `kind` is console, watch, command or leaving; `seen_at` is server time."""

    runner: str
    host: str
    kind: str
    seen_at: datetime
    limits: Limits
    details: Mapping[str, Any]


class Runners:
    """The collection of runners. Thread-safe."""

    def __init__(self, database: Database[Document], uploads_name: str) -> None:
        self.collection: Collection[Document] = database[f"{uploads_name}_runners"]
        self._raw: Collection[RawBSONDocument] = self.collection.with_options(codec_options=RAW_CODEC)

    def heartbeat(
        self,
        runner: str,
        host: str,
        kind: str,
        limits: Limits,
        details: Mapping[str, Any],
        *,
        endpoint: Endpoint | None = None,
    ) -> Limits:
        """Say that the runner lives, and for which S3 service; gives the limits that it should keep from now on."""
        found = self._raw.find_one_and_update(
            {"_id": runner},
            [
                {
                    "$set": {
                        "host": literal(host),
                        "kind": literal(kind),
                        "endpoint": literal(endpoint.name if endpoint is not None else None),
                        "seen_at": NOW,
                        "limits": {"$ifNull": ["$limits", limits.document()]},
                        "details": literal(dict(details)),
                    }
                }
            ],
            upsert=True,
            return_document=ReturnDocument.AFTER,
        )
        document = decode(found.raw) if found is not None else {}
        return Limits.read(document.get("limits"), limits)

    def set_limits(self, runner: str, limits: Limits) -> bool:
        """Change a runner's limits, from any host; False if there is no such runner."""
        result = self.collection.update_one({"_id": runner}, {"$set": {"limits": limits.document()}})
        return result.matched_count == 1

    def leave(self, runner: str) -> None:
        """The runner ends in order."""
        self.collection.delete_one({"_id": runner})

    def live(
        self, host: str | None = None, kinds: Sequence[str] | None = None, endpoint: Endpoint | None = None
    ) -> list[RunnerState]:
        """Runners seen within the last `LIVE_SECONDS`; of one host, of some kinds, for one S3 service, or all."""
        recent = {"$expr": {"$gt": ["$seen_at", {"$subtract": [NOW, int(LIVE_SECONDS * 1000)]}]}}
        of = {
            **({"host": host} if host else {}),
            **({"kind": {"$in": kinds}} if kinds else {}),
            **(at_endpoint(endpoint) if endpoint is not None else {}),
        }
        return self._find({**recent, **of})

    def known(self) -> list[RunnerState]:
        """All that are remembered, also those that went silent; the long silent ones are forgotten."""
        forgotten = {"$expr": {"$lt": ["$seen_at", {"$subtract": [NOW, _FORGOTTEN_SECONDS * 1000]}]}}
        self.collection.delete_many(forgotten)
        return self._find({})

    def _find(self, wanted: Document) -> list[RunnerState]:
        default = Limits(0, 1, 1)
        return [
            RunnerState(
                runner=str(document["_id"]),
                host=str(document.get("host", "")),
                kind=str(document.get("kind", "")),
                seen_at=document["seen_at"],
                limits=Limits.read(document.get("limits"), default),
                details=details if isinstance(details := document.get("details"), Mapping) else {},
            )
            for document in decoded(self._raw.find(wanted))
            if isinstance(document.get("seen_at"), datetime)
        ]
