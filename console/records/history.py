"""How far back a deployment's change streams can begin.

Owns the question to the oplog. Not here: what is done when a place is further back (`feed`, the commands).
"""

from __future__ import annotations

from dataclasses import dataclass

from bson import Timestamp
from pymongo import MongoClient
from pymongo.errors import PyMongoError

from console.records.connection import Document


@dataclass(frozen=True, slots=True)
class History:
    """`begins` is the cluster time of the oldest entry; `is_whole` says that nothing was before it."""

    begins: Timestamp
    is_whole: bool

    def reaches(self, at: Timestamp) -> bool:
        """Whether a stream may begin at that time and miss nothing."""
        return self.is_whole or self.begins <= at


def history(client: MongoClient[Document]) -> History | None:
    """The deployment's history; None where we may not look (no right to `local`, a sharded cluster, no server)."""
    try:
        oldest = client.local["oplog.rs"].find_one({}, {"ts": 1, "o.msg": 1}, sort=[("$natural", 1)])
    except PyMongoError:
        return None
    if oldest is None or not isinstance(oldest.get("ts"), Timestamp):
        return None
    # The entry that `replSetInitiate` writes.
    return History(oldest["ts"], (oldest.get("o") or {}).get("msg") == "initiating set")
