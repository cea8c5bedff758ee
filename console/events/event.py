"""A change event as a value: what a change stream delivered, read once, tolerant of what it does not know.

This module reads a raw change event (MongoDB manual, "Change Events"). Its bytes are decoded by `bson_decoding`,
`stream.feed` keeps the stream open, `changes` says what changed, and `text` has the words for people.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from bson.raw_bson import RawBSONDocument
from bson.timestamp import Timestamp

from console.bson_decoding import decode

# Operations about documents. All others are about collections, databases or the cluster, and have no images.
DOCUMENT_OPERATIONS: Final = frozenset({"insert", "update", "replace", "delete"})
UNKNOWN_OPERATION: Final = "unknown"


@dataclass(frozen=True, slots=True)
class ChangeEvent:
    """One change event.

    `namespace` is "db.collection", "db" for events of a whole database, or "" where the event names none
    (invalidate). `before` and `after` are the pre- and post-image where the stream delivered them, `update` the
    `updateDescription`. `cluster_time` orders events of a deployment; `wall_time` (UTC, 6.0 and later) is the server's
    clock. `token` resumes a stream after this event. `raw` is the event as it came, with every other field.
    """

    operation: str
    namespace: str
    document_key: Mapping[str, Any] | None
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None
    update: Mapping[str, Any] | None
    cluster_time: Timestamp | None
    wall_time: datetime | None
    token: Mapping[str, Any]
    raw: Mapping[str, Any]

    @classmethod
    def from_raw(cls, raw: Mapping[str, Any]) -> ChangeEvent:
        """Read an event as the driver decoded it. Never raises: a field that is missing or odd reads as absent."""
        if isinstance(raw, RawBSONDocument):
            raw = decode(raw.raw)
        operation = raw.get("operationType")
        cluster_time = raw.get("clusterTime")
        return cls(
            operation=operation if isinstance(operation, str) and operation else UNKNOWN_OPERATION,
            namespace=namespace_text(raw.get("ns")),
            document_key=_mapping(raw.get("documentKey")),
            before=_mapping(raw.get("fullDocumentBeforeChange")),
            after=_mapping(raw.get("fullDocument")),
            update=_mapping(raw.get("updateDescription")),
            cluster_time=cluster_time if isinstance(cluster_time, Timestamp) else None,
            wall_time=_utc(raw.get("wallTime")),
            token=_mapping(raw.get("_id")) or {},
            raw=raw,
        )

    @property
    def document_id(self) -> Any:
        """The `_id` of the document, or None where the event is not about one."""
        return self.document_key.get("_id") if self.document_key is not None else None

    @property
    def time(self) -> datetime | None:
        """When it happened, UTC: the server's clock, else the second of the cluster time."""
        if self.wall_time is not None:
            return self.wall_time
        return self.cluster_time.as_datetime() if self.cluster_time is not None else None

    @property
    def renamed_to(self) -> str:
        """The new namespace of a rename, else ""."""
        return namespace_text(self.raw.get("to"))

    @property
    def description(self) -> Mapping[str, Any]:
        """`operationDescription`: what a DDL event (createIndexes, modify, shardCollection, ...) did; else empty."""
        return _mapping(self.raw.get("operationDescription")) or {}

    @property
    def lacks_before(self) -> bool:
        """The document existed before, and its pre-image did not come: images off, expired, or not asked for."""
        return self.before is None and self.operation in DOCUMENT_OPERATIONS - {"insert"}

    @property
    def lacks_after(self) -> bool:
        """The document existed afterwards, and its post-image did not come."""
        return self.after is None and self.operation in DOCUMENT_OPERATIONS - {"delete"}


def namespace_text(namespace: object) -> str:
    """`{"db": ..., "coll": ...}` as "db.collection", "db", or ""."""
    if not isinstance(namespace, Mapping):
        return ""
    return ".".join(part for name in ("db", "coll") if isinstance(part := namespace.get(name), str) and part)


def join_fragments(fragments: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """One raw event of the fragments that `$changeStreamSplitLargeEvent` made of it, in their order.

    Every top-level field is whole in one fragment (manual, "$changeStreamSplitLargeEvent"); the resume token is
    the last fragment's, after the whole event.
    """
    joined: dict[str, Any] = {}
    for fragment in fragments:
        joined.update(fragment)
    joined.pop("splitEvent", None)
    return joined


def _mapping(value: object) -> Mapping[str, Any] | None:
    return value if isinstance(value, Mapping) else None


def _utc(value: object) -> datetime | None:
    if not isinstance(value, datetime):
        return None
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value
