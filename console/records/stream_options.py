"""What a change stream is asked for, by what the server is able to do.

Owns the options and stages that depend on the server's version. Not here: reading the stream (`feed`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from pymongo import MongoClient

from console.records.connection import WIRE_VERSION_6_0, Document

# https://github.com/mongodb/specifications: wire versions.
_WIRE_VERSION_7_0: Final = 21
# Manual, "$changeStreamSplitLargeEvent": new in 7.0, and also in 6.0.9.
_FIRST_6_0_TO_SPLIT: Final = (6, 0, 9)


@dataclass(frozen=True, slots=True)
class Abilities:
    """What the server's change streams can do."""

    wire_version: int
    splits: bool

    @classmethod
    def of(cls, client: MongoClient[Document]) -> Abilities:
        """Ask the server. Raises `PyMongoError`."""
        wire_version = int(client.admin.command("hello").get("maxWireVersion", 0))
        return cls(wire_version, splits_large_events(wire_version, _version(client, wire_version)))

    @property
    def expands(self) -> bool:
        """Whether there are events of create, createIndexes, dropIndexes, modify, ... (`showExpandedEvents`)."""
        return self.wire_version >= WIRE_VERSION_6_0


def image_options(wire_version: int, *, before: bool = True) -> dict[str, str]:
    """What a stream is asked for so that events carry their documents.

    `updateLookup` gives a document as it is now, not as the event left it: only where there is nothing better.
    `whenAvailable` and not `required`, which ends the stream at the first image that has expired.
    """
    if wire_version < WIRE_VERSION_6_0:
        return {"full_document": "updateLookup"}
    earlier = {"full_document_before_change": "whenAvailable"} if before else {}
    return {"full_document": "whenAvailable", **earlier}


def splits_large_events(wire_version: int, version: Sequence[int]) -> bool:
    """Whether the server has `$changeStreamSplitLargeEvent`; `version` as in `buildInfo.versionArray`."""
    if wire_version >= _WIRE_VERSION_7_0:
        return True
    return wire_version == WIRE_VERSION_6_0 and tuple(version[:3]) >= _FIRST_6_0_TO_SPLIT


def _version(client: MongoClient[Document], wire_version: int) -> Sequence[int]:
    """The version of a server whose wire version does not tell enough."""
    if wire_version != WIRE_VERSION_6_0:
        return ()
    version: Any = client.admin.command("buildInfo").get("versionArray")
    return version if isinstance(version, list) else ()
