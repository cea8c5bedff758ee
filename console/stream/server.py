"""What a server can do for change streams: options by its version, how far back it goes, and whether a collection
keeps pre- and post-images.

Nothing is turned on by itself: a person is shown `command_text` and asked before `enable`.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from bson import Timestamp
from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError

from console.events.event import ChangeEvent
from console.formatting import duration, visible
from console.records.connection import WIRE_VERSION_6_0, Document, wire_version_of

_MARK: Final = "cursor.originatingCommand.comment"
_OPTION: Final[Document] = {"changeStreamPreAndPostImages": {"enabled": True}}


class Images(StrEnum):
    """Whether a namespace has pre- and post-images."""

    ON = "on"
    OFF = "off"
    NO_COLLECTION = "no collection"  # gone, or a view, a time series, a whole database
    TOO_OLD = "server too old"
    UNKNOWN = "unknown"  # we may not ask


@dataclass(frozen=True, slots=True)
class ImagesOf:
    """What is known of a namespace. `lifetime` is how long the server keeps images; None: as long as the oplog."""

    namespace: str
    images: Images
    lifetime: timedelta | None = None

    @property
    def can_be_enabled(self) -> bool:
        """Whether `enable` would change something."""
        return self.images in (Images.OFF, Images.UNKNOWN)

    def why_missing(self, event: ChangeEvent, now: datetime) -> str:
        """Why an event that lacks a document lacks it, in one sentence; "" for an event that lacks none."""
        if not (event.lacks_before or event.lacks_after):
            return ""
        name = visible(self.namespace)
        match self.images:
            case Images.OFF:
                return f"{name} keeps no pre- and post-images."
            case Images.NO_COLLECTION:
                return f"{name} is not a collection, or no longer one: its images are gone."
            case Images.TOO_OLD:
                return "The server is older than 6.0, or runs as if (featureCompatibilityVersion): it keeps no images."
            case Images.UNKNOWN:
                return f"The user may not see whether {name} keeps pre- and post-images."
        if self.lifetime is not None and event.time is not None and now - event.time > self.lifetime:
            return f"Expired: the server keeps images for {duration(self.lifetime.total_seconds())}."
        return f"{name} kept no images when this happened, or they went with the end of the oplog."


def images_of(client: MongoClient[Document], namespace: str) -> ImagesOf:
    """Ask about "db.collection". Raises `PyMongoError` where the server is away."""
    database, _, collection = namespace.partition(".")
    if not database or not collection:
        return ImagesOf(namespace, Images.NO_COLLECTION)
    if wire_version_of(client, client.admin.command("hello")) < WIRE_VERSION_6_0:
        return ImagesOf(namespace, Images.TOO_OLD)
    try:
        found = next(iter(client[database].list_collections(filter={"name": collection})), None)
    except OperationFailure:
        return ImagesOf(namespace, Images.UNKNOWN)
    if found is None or found.get("type", "collection") != "collection":
        return ImagesOf(namespace, Images.NO_COLLECTION)
    option = found.get("options", {}).get("changeStreamPreAndPostImages") or {}
    if not option.get("enabled"):
        return ImagesOf(namespace, Images.OFF)
    return ImagesOf(namespace, Images.ON, _lifetime(client))


def command_text(namespace: str) -> str:
    """What turns them on, to be typed into mongosh; and exactly what `enable` does."""
    database, _, collection = namespace.partition(".")
    option = "changeStreamPreAndPostImages: { enabled: true }"
    # JSON strings are JavaScript strings, and ASCII: nothing in a name acts on the terminal.
    return f"db.getSiblingDB({json.dumps(database)}).runCommand({{ collMod: {json.dumps(collection)}, {option} }})"


def enable(client: MongoClient[Document], namespace: str) -> None:
    """Turn them on; events from now on have their documents. Ask the person first: they take room on the server.

    Raises `PyMongoError`; with code 13 the user lacks the right to `collMod` (role `dbAdmin`).
    """
    database, _, collection = namespace.partition(".")
    client[database].command("collMod", collection, **_OPTION)


def _lifetime(client: MongoClient[Document]) -> timedelta | None:
    """`expireAfterSeconds` of the deployment; None where there is none, and where we may not ask."""
    try:
        answer: dict[str, Any] = client.admin.command("getClusterParameter", "changeStreamOptions")
        seconds = answer["clusterParameters"][0]["preAndPostImages"]["expireAfterSeconds"]
        return timedelta(seconds=int(seconds))
    except (PyMongoError, LookupError, TypeError, ValueError, OverflowError):  # "off" is a text
        return None


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
        hello = client.admin.command("hello")
        wire_version = wire_version_of(client, hello)
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


def mark_of_process() -> dict[str, Any]:
    """What the streams of this process bear on the server: where its number means something, and the number.

    A host's name may be that of many, so it is the start of its system that counts; in it each container has numbers of
    its own. Where these cannot be told they are empty.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        namespace = os.readlink("/proc/self/ns/pid")  # noqa: PTH115 - no path
    except OSError:
        boot = namespace = ""
    mark = {"program": "upload-console", "host": platform.node(), "boot": boot, "namespace": namespace}
    return {**mark, "process": os.getpid()}


def _is_running(process: int) -> bool:
    """Whether there is such a process, perhaps another user's."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


def end_streams_of_the_dead(client: MongoClient[Any]) -> int:
    """End the streams that processes of this host left on the server when they were killed: each would stay there for
    ten minutes, and read all that is written. Only those of the same MongoDB user are seen. Gives how many there were.

    Raises:
        PyMongoError: the server is away, or refuses.
    """
    mine = mark_of_process()
    if not mine["boot"]:
        return 0
    marks = {f"{_MARK}.{name}": value for name, value in mine.items() if name != "process"}
    pipeline = [
        {"$currentOp": {"idleCursors": True, "allUsers": False}},
        {"$match": {"cursor.cursorId": {"$exists": True}, **marks}},
    ]
    ended = 0
    for found in client.admin.aggregate(pipeline):
        process = found["cursor"]["originatingCommand"]["comment"].get("process")
        database, _, collection = found["ns"].partition(".")
        if isinstance(process, int) and process > 0 and not _is_running(process):
            client[database].command("killCursors", collection, cursors=[found["cursor"]["cursorId"]])
            ended += 1
    return ended
