"""The collection as the console needs it: pre- and post-images, validator, indexes.

Owns creating it and bringing an existing one up to it with `collMod`. Documents that others wrote stay as they are:
the validator is `moderate` (MongoDB manual, validationLevel), so it never stands in the way of changing those; and a
validator that others set stays too.
"""

from __future__ import annotations

from typing import Any, Final, get_args

from pymongo import ASCENDING, DESCENDING, IndexModel
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import CollectionInvalid, OperationFailure

from console.choices import DuplicatePolicy
from console.errors import MongoRefuses
from console.formatting import count
from console.models import Requested, Source, UploadStatus
from console.records.connection import (
    INVALID_OPTIONS,
    UNAUTHORIZED,
    WIRE_VERSION_5_0,
    WIRE_VERSION_6_0,
    Document,
)

_NAMESPACE_EXISTS: Final = 48  # server: src/mongo/base/error_codes.yml

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


_TITLE: Final = "upload-console"  # tells our validator, of whichever version, from one that others set

VALIDATOR: Final[Document] = {
    "$jsonSchema": {
        "title": _TITLE,
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
            "endpoint": _optional(_TEXT),
            "source": _words(Source),
            "status": _words(UploadStatus),
            "requested": _words(Requested),
            "multipart": _optional(_record(upload_id=_TEXT, part_size=_COUNT)),
            "error": _optional(_record(code=_TEXT, message=_TEXT, at=_MOMENT)),
            "checksum": _optional(_record(algorithm=_TEXT, value=_TEXT)),
            "lease": _optional(_record(runner=_TEXT, expires_at=_MOMENT)),
            "watch": _optional(_record(rule=_TEXT, scope=_TEXT, digest=_TEXT)),
            "storage": _optional({"bsonType": "object"}),
            "duplicates": {"enum": [*get_args(DuplicatePolicy), None]},
        },
    }
}

# Equality first, then the order of the sort, `_id` included: then no query sorts in memory. Partial ones hold the few
# documents that somebody is at work on. None holds a field that progress writes.
_WAITING: Final = [("priority", DESCENDING), ("created_at", ASCENDING), ("_id", ASCENDING)]
INDEXES: Final = (
    IndexModel([("host", ASCENDING), ("status", ASCENDING), *_WAITING]),  # claim
    IndexModel([("status", ASCENDING), *_WAITING]),  # the table: what waits
    IndexModel([("status", ASCENDING), ("finished_at", DESCENDING), ("_id", DESCENDING)]),  # the table: what is done
    IndexModel(  # watches: of all that find a file, one adds it
        [("watch.digest", ASCENDING)], unique=True, partialFilterExpression={"watch.digest": {"$exists": True}}
    ),
    IndexModel(  # watches: what was sent already
        [("watch.scope", ASCENDING), ("path", ASCENDING)], partialFilterExpression={"watch.scope": {"$exists": True}}
    ),
    IndexModel(  # watches: what was sent already, under another name
        [("watch.scope", ASCENDING), ("fingerprint", ASCENDING)],
        partialFilterExpression={"watch.scope": {"$exists": True}},
    ),
    IndexModel([("key", ASCENDING), ("bucket", ASCENDING)]),  # whose object a key has
    IndexModel(
        [("lease.runner", ASCENDING), ("requested", ASCENDING)],
        partialFilterExpression={"lease.runner": {"$exists": True}},
    ),
    IndexModel(
        [("multipart.upload_id", ASCENDING), ("status", ASCENDING), ("bucket", ASCENDING)],
        partialFilterExpression={"multipart.upload_id": {"$exists": True}},
    ),
    IndexModel(  # "cancel" and "pause": partial indexes know `$lt`, but neither `$ne` nor (before 6.0) `$in`
        [("requested", ASCENDING), ("status", ASCENDING)],
        partialFilterExpression={"requested": {"$lt": Requested.RUN.value}},
    ),
)


def prepare(database: Database[Document], name: str, *, wire_version: int) -> list[str]:
    """Create the collection or bring it up to date; gives one sentence for each thing that was changed.

    A user without the right to change options gets the collection as it is, with a sentence that says what is missing.

    Raises:
        MongoRefuses: there is a view or a time series of that name.
        PyMongoError: the server is away, or refuses to create the collection.
    """
    images: dict[str, Any] = (
        {"changeStreamPreAndPostImages": {"enabled": True}} if wire_version >= WIRE_VERSION_6_0 else {}
    )
    try:
        database.create_collection(name, validator=VALIDATOR, validationLevel="moderate", **images)
    except CollectionInvalid:
        pass
    except OperationFailure as error:
        if error.code == INVALID_OPTIONS and images:  # it runs as an older version, and we may not ask it
            return prepare(database, name, wire_version=WIRE_VERSION_5_0)
        if error.code != _NAMESPACE_EXISTS:  # another console was faster by a moment
            raise
    else:
        return [f"created the collection {database.name}.{name}", *_index(database[name], is_new=True)]
    return [*_bring_up_to_date(database, name, images), *_index(database[name], is_new=False)]


def _bring_up_to_date(database: Database[Document], name: str, images: Document) -> list[str]:
    found = next(iter(database.list_collections(filter={"name": name})), {})
    if found.get("type", "collection") != "collection":
        raise MongoRefuses(
            f"{database.name}.{name} is a {found['type']}, not a collection.", advice="Use another mongodb.collection."
        )
    options = found.get("options", {})
    wanted: Document = {}
    present = options.get("validator")
    if not present or (present != VALIDATOR and present.get("$jsonSchema", {}).get("title") == _TITLE):
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
        if error.code == INVALID_OPTIONS and images:  # as in `prepare`
            return _bring_up_to_date(database, name, {})
        if error.code != UNAUTHORIZED:
            raise
        return [f"no right to set {what} on {database.name}.{name} (collMod): the event log may lack documents"]
    return [f"set {what} on {database.name}.{name} (collMod)"]


def _index(collection: Collection[Document], *, is_new: bool) -> list[str]:
    """Create the indexes that are missing, whatever those that are there are called."""
    present = [list(index["key"].items()) for index in collection.list_indexes()]
    missing = [index for index in INDEXES if list(index.document["key"].items()) not in present]
    if not missing:
        return []
    try:
        collection.create_indexes(missing)
    except OperationFailure as error:
        if error.code != UNAUTHORIZED:
            raise
        return [f"no right to create indexes on {collection.full_name}: large collections will be slow"]
    return [] if is_new else [f"created {count(len(missing), 'index', 'indexes')} on {collection.full_name}"]
