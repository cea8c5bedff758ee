"""The collection as the console needs it: pre- and post-images, validator, indexes.

Owns creating it, bringing an existing one up to it with `collMod`, and telling our documents from those of others. A
collection that others use too is left as it is until a person says otherwise (`adopt`). Their documents stay, the
validator lets them pass and is `moderate` (MongoDB manual, validationLevel), and a validator that others set stays too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, get_args

from pymongo import ASCENDING, DESCENDING, IndexModel
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import CollectionInvalid, ExecutionTimeout, OperationFailure

from console.bson_decoding import RAW_CODEC
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
from console.records.transitions import KEY_CLAIM

_IMAGES: Final = "changeStreamPreAndPostImages"
_LABELS: Final = {"validator": "validator", _IMAGES: "pre- and post-images"}
_LOOK_MILLISECONDS: Final = 5_000
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

OURS: Final[Document] = {
    "_id": {"$type": "objectId"},
    **{name: {"$type": "string"} for name in ("path", "host", "fingerprint", "bucket", "key")},
    "source": {"$in": [word.value for word in Source]},
    "status": {"$in": [word.value for word in UploadStatus]},
    "requested": {"$in": [word.value for word in Requested]},
}
"""What every upload has, of whichever version: a document that lacks it is none, and no command that means many touches
it."""

_SCHEMA: Final[Document] = {
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
            "batch": _optional({"bsonType": "objectId"}),
            "source": _words(Source),
            "status": _words(UploadStatus),
            "requested": _words(Requested),
            "multipart": _optional(_record(upload_id=_TEXT, part_size=_COUNT)),
            "error": _optional(_record(code=_TEXT, message=_TEXT, at=_MOMENT)),
            "checksum": _optional(_record(algorithm=_TEXT, value=_TEXT)),
            "lease": _optional(_record(runner=_TEXT, expires_at=_MOMENT)),
            "watch": _optional(_record(rule=_TEXT, scope=_TEXT, digest=_TEXT)),
            "storage": _optional({"bsonType": "object"}),
            "hours": _optional({"bsonType": "array"}),
            "duplicates": {"enum": [*get_args(DuplicatePolicy), None]},
        },
    }
}

_SIGNS: Final = ("fingerprint", "bucket", "key", "requested")
# Only what looks like an upload has to be one.
VALIDATOR: Final[Document] = {"$or": [*({name: {"$exists": False}} for name in _SIGNS), _SCHEMA]}

# Equality first, then the order of the sort, `_id` included: then no query sorts in memory. Partial ones hold the few
# documents that somebody is at work on. None holds a field that progress writes.
_WAITING: Final = [("priority", DESCENDING), ("created_at", ASCENDING), ("_id", ASCENDING)]
# "paused", "pending" and "uploading", of all words for a status: whatever ends leaves such an index.
_IS_OPEN: Final = {"status": {"$gt": "o"}}
INDEXES: Final = (
    IndexModel([("host", ASCENDING), ("status", ASCENDING), *_WAITING], partialFilterExpression=_IS_OPEN),  # claim
    IndexModel([("status", ASCENDING), *_WAITING], partialFilterExpression=_IS_OPEN),  # the table: what waits
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
    IndexModel(  # of all uploads that are being sent, one has a key
        [(KEY_CLAIM, ASCENDING)], unique=True, partialFilterExpression={KEY_CLAIM: {"$type": "object"}}
    ),
    IndexModel(
        [("lease.runner", ASCENDING), ("requested", ASCENDING)],
        partialFilterExpression={"lease.runner": {"$exists": True}},
    ),
    IndexModel(
        [("multipart.upload_id", ASCENDING), ("status", ASCENDING), ("bucket", ASCENDING)],
        partialFilterExpression={"multipart.upload_id": {"$exists": True}},
    ),
    IndexModel(  # jobs: the newest, and what belongs to one
        [("batch", DESCENDING)], partialFilterExpression={"batch": {"$exists": True}}
    ),
    IndexModel(  # "cancel" and "pause": partial indexes know `$lt`, but neither `$ne` nor (before 6.0) `$in`
        [("requested", ASCENDING), ("status", ASCENDING)],
        partialFilterExpression={"requested": {"$lt": Requested.RUN.value}},
    ),
)


def prepare(
    database: Database[Document], name: str, *, wire_version: int, adopt: bool = False, endpoint: str | None = None
) -> list[str]:
    """Create the collection or bring it up to date; gives one sentence for each thing that was changed, or is missing.

    It stays as it is where the user has no right to change it, or where it holds documents of others and nobody said to
    `adopt` it. Where an older version set it up, whose uploads name no `endpoint`, they get this one.

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
            return prepare(database, name, wire_version=WIRE_VERSION_5_0, adopt=adopt, endpoint=endpoint)
        if error.code != _NAMESPACE_EXISTS:  # another console was faster by a moment
            raise
    else:
        return [f"created the collection {database.name}.{name}", *_index(database[name], is_new=True)]
    state = inspect(database, name, wire_version=WIRE_VERSION_6_0 if images else WIRE_VERSION_5_0)
    if state.is_complete:
        return []
    if state.is_shared and not adopt:
        return [state.words]
    notes = _bring_up_to_date(database, name, state.options) if state.options else []
    if state.names_no_endpoint and endpoint is not None:
        notes += _with_endpoint(database[name], endpoint)
    return [*notes, *_index(database[name], is_new=False)]


@dataclass(frozen=True, slots=True)
class CollectionState:
    """A collection as it was found: what set-up would change, and why it may not just do so.

    `options` are those that `collMod` would set; `validator` is that of others, if there is one; `is_shared`: there is
    one, or there are documents that are no uploads, and no validator of ours says that somebody wanted us here.
    `names_no_endpoint`: it was set up by a version that knew one S3 service alone. Where others have set it up every
    upload names its own, so that no version that comes after another one need read them all.
    """

    name: str
    exists: bool
    options: Document
    indexes: int
    validator: Document | None = None
    names_no_endpoint: bool = False
    is_shared: bool = False

    @property
    def is_complete(self) -> bool:
        """Nothing would be changed."""
        return self.exists and not self.options and not self.indexes

    @property
    def words(self) -> str:
        if not self.exists:
            return f"{self.name} is not there yet: the first upload, watch or console creates it"
        if self.is_complete:
            return f"{self.name} is set up"
        labels = [_LABELS[key] for key in self.options if key in _LABELS]
        what = " and ".join([*labels, *([count(self.indexes, "index", "indexes")] if self.indexes else [])])
        if self.is_shared:
            return (
                f"{self.name} is also used by others (it holds documents that are no uploads, or has a validator of "
                f"theirs), so it is left as it is, without {what}: "
                "`upload-console setup` sets it up, after asking"
            )
        return f"{self.name} lacks {what}: the next upload, watch or console sets that up"


def inspect(database: Database[Document], name: str, *, wire_version: int) -> CollectionState:
    """Look at the collection and change nothing.

    Raises:
        MongoRefuses: there is a view or a time series of that name. PyMongoError: the server is away.
    """
    full_name = f"{database.name}.{name}"
    found = next(iter(database.list_collections(filter={"name": name})), None)
    if found is None:
        return CollectionState(full_name, exists=False, options={}, indexes=0)
    if found.get("type", "collection") != "collection":
        raise MongoRefuses(
            f"{full_name} is a {found['type']}, not a collection.", advice="Use another mongodb.collection."
        )
    options = found.get("options", {})
    wanted: Document = {}
    present = options.get("validator")
    is_ours = _is_ours(present)
    if not present or (is_ours and present != VALIDATOR):
        wanted |= {"validator": VALIDATOR, "validationLevel": "moderate"}
    images = {"enabled": True}
    if wire_version >= WIRE_VERSION_6_0 and options.get(_IMAGES) != images:
        wanted |= {_IMAGES: images}
    missing = len(_missing_indexes(database[name]))
    return CollectionState(
        full_name,
        exists=True,
        options=wanted,
        indexes=missing,
        validator=present if present and not is_ours else None,
        names_no_endpoint=is_ours
        and not any("endpoint" in schema.get("properties", {}) for schema in _schemas(present)),
        is_shared=bool(wanted or missing) and not is_ours and (bool(present) or _holds_foreign(database[name])),
    )


def _is_ours(validator: Document | None) -> bool:
    """Whether it is ours, of whichever version."""
    return any(schema.get("title") == _TITLE for schema in _schemas(validator))


def _schemas(validator: Document | None) -> list[Document]:
    parts = [validator, *validator.get("$or", ())] if validator else []
    return [part.get("$jsonSchema", {}) for part in parts]


def _holds_foreign(collection: Collection[Document]) -> bool:
    try:
        raw = collection.with_options(codec_options=RAW_CODEC)  # an id of theirs may be one that drivers cannot decode
        found = raw.find_one({"$nor": [OURS]}, {"_id": 1}, max_time_ms=_LOOK_MILLISECONDS)
    except ExecutionTimeout:
        return True  # it is large, and nobody has set it up: a person decides
    return found is not None


def _with_endpoint(collection: Collection[Document], endpoint: str) -> list[str]:
    """Uploads of versions that knew one S3 service alone are taken to be at this one, from now on."""
    changed = collection.update_many({**OURS, "endpoint": {"$exists": False}}, {"$set": {"endpoint": endpoint}})
    if not changed.modified_count:
        return []
    return [f"set the endpoint {endpoint} on {count(changed.modified_count, 'upload')} of an older version"]


def _bring_up_to_date(database: Database[Document], name: str, wanted: Document) -> list[str]:
    what = " and ".join(label for key, label in _LABELS.items() if key in wanted)
    try:
        database.command("collMod", name, **wanted)
    except OperationFailure as error:
        if error.code == INVALID_OPTIONS and _IMAGES in wanted:  # as in `prepare`
            others = {key: value for key, value in wanted.items() if key != _IMAGES}
            return _bring_up_to_date(database, name, others) if others else []
        if error.code != UNAUTHORIZED:
            raise
        return [f"no right to set {what} on {database.name}.{name} (collMod): the event log may lack documents"]
    return [f"set {what} on {database.name}.{name} (collMod)"]


def _index(collection: Collection[Document], *, is_new: bool) -> list[str]:
    """Create the indexes that are missing, whatever those that are there are called."""
    missing = _missing_indexes(collection)
    if not missing:
        return []
    try:
        collection.create_indexes(missing)
    except OperationFailure as error:
        if error.code != UNAUTHORIZED:
            raise
        return [f"no right to create indexes on {collection.full_name}: large collections will be slow"]
    return [] if is_new else [f"created {count(len(missing), 'index', 'indexes')} on {collection.full_name}"]


def _missing_indexes(collection: Collection[Document]) -> list[IndexModel]:
    present = [list(index["key"].items()) for index in collection.list_indexes()]
    return [index for index in INDEXES if list(index.document["key"].items()) not in present]
