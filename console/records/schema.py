"""The collection as the console needs it: pre- and post-images, validator, indexes.

Owns creating it and bringing an existing one up to it with `collMod`. Documents that others wrote stay as they are:
the validator is `moderate` (MongoDB manual, validationLevel), so it never stands in the way of changing those.
"""

from __future__ import annotations

from typing import Any, Final

from pymongo import ASCENDING, DESCENDING, IndexModel
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import CollectionInvalid, OperationFailure

from console.models import Requested, Source, UploadStatus
from console.records.connection import UNAUTHORIZED, WIRE_VERSION_6_0, Document

_TEXT: Final = {"bsonType": "string"}
_COUNT: Final = {"bsonType": ["int", "long"], "minimum": 0}
_NUMBER: Final = {"bsonType": ["int", "long", "double"]}
_MOMENT: Final = {"bsonType": "date"}


def _optional(rule: dict[str, Any]) -> dict[str, Any]:
    kind = rule["bsonType"]
    return {**rule, "bsonType": [*(kind if isinstance(kind, list) else [kind]), "null"]}


def _words(vocabulary: type[UploadStatus | Requested | Source]) -> dict[str, Any]:
    return {"enum": [word.value for word in vocabulary]}


def _record(**fields: dict[str, Any]) -> dict[str, Any]:
    return {"bsonType": "object", "required": list(fields), "properties": fields}


VALIDATOR: Final[Document] = {
    "$jsonSchema": {
        "bsonType": "object",
        "required": [
            *("filename", "path", "host", "size", "mtime_ns", "fingerprint", "content_type", "bucket", "key"),
            *("source", "status", "requested", "created_at", "updated_at"),
        ],
        "properties": {
            **dict.fromkeys(("filename", "path", "host", "fingerprint", "content_type", "bucket", "key"), _TEXT),
            **dict.fromkeys(("size", "current", "attempts"), _COUNT),
            **dict.fromkeys(("mtime_ns", "percentage", "rate", "priority"), _NUMBER),
            **dict.fromkeys(("created_at", "updated_at"), _MOMENT),
            **dict.fromkeys(("started_at", "finished_at"), _optional(_MOMENT)),
            **dict.fromkeys(("etag", "version_id"), _optional(_TEXT)),
            "path_bytes": _optional({"bsonType": "binData"}),
            "source": _words(Source),
            "status": _words(UploadStatus),
            "requested": _words(Requested),
            "multipart": _optional(_record(upload_id=_TEXT, part_size=_COUNT)),
            "error": _optional(_record(code=_TEXT, message=_TEXT, at=_MOMENT)),
            "checksum": _optional(_record(algorithm=_TEXT, value=_TEXT)),
            "lease": _optional(_record(runner=_TEXT, expires_at=_MOMENT)),
        },
    }
}

INDEXES: Final = (
    IndexModel(
        [("host", ASCENDING), ("status", ASCENDING), ("priority", DESCENDING), ("created_at", ASCENDING)], name="claim"
    ),
    IndexModel([("lease.runner", ASCENDING), ("requested", ASCENDING)], name="held", sparse=True),
    IndexModel([("status", ASCENDING), ("updated_at", DESCENDING)], name="window"),
    IndexModel([("host", ASCENDING), ("path", ASCENDING)], name="file"),
    IndexModel([("bucket", ASCENDING), ("multipart.upload_id", ASCENDING)], name="multipart", sparse=True),
)


def prepare(database: Database[Document], name: str, *, wire_version: int) -> list[str]:
    """Create the collection or bring it up to date; gives one sentence for each thing that was changed.

    A user without the right to change options gets the collection as it is, with a sentence that says what is missing.

    Raises:
        PyMongoError: the server is away, or refuses to create the collection.
    """
    images: dict[str, Any] = (
        {"changeStreamPreAndPostImages": {"enabled": True}} if wire_version >= WIRE_VERSION_6_0 else {}
    )
    done: list[str] = []
    try:
        database.create_collection(name, validator=VALIDATOR, validationLevel="moderate", **images)
        done.append(f"created the collection {database.name}.{name}")
    except CollectionInvalid:
        done += _bring_up_to_date(database, name, images)
    done += _index(database[name])
    return done


def _bring_up_to_date(database: Database[Document], name: str, images: Document) -> list[str]:
    options = next(iter(database.list_collections(filter={"name": name})), {}).get("options", {})
    wanted: Document = {}
    if options.get("validator") != VALIDATOR:
        wanted |= {"validator": VALIDATOR, "validationLevel": "moderate"}
    if images and options.get("changeStreamPreAndPostImages") != images["changeStreamPreAndPostImages"]:
        wanted |= images
    if not wanted:
        return []
    what = " and ".join(
        label
        for key, label in (("validator", "validator"), ("changeStreamPreAndPostImages", "pre- and post-images"))
        if key in wanted
    )
    try:
        database.command("collMod", name, **wanted)
    except OperationFailure as error:
        if error.code != UNAUTHORIZED:
            raise
        return [f"no right to set {what} on {database.name}.{name} (collMod): the event log may lack documents"]
    return [f"set {what} on {database.name}.{name} (collMod)"]


def _index(collection: Collection[Document]) -> list[str]:
    present = collection.index_information()
    missing = [index for index in INDEXES if index.document["name"] not in present]
    if not missing:
        return []
    try:
        collection.create_indexes(missing)
    except OperationFailure as error:
        if error.code != UNAUTHORIZED:
            raise
        return [f"no right to create indexes on {collection.full_name}: large collections will be slow"]
    return []
