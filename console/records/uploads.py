"""The collection `uploads`: documents are inserted, claimed and read here.

The changes of a document that exists are in `transitions`, a runner's writes in `writer`, people's in `requests`;
what was sent from watched folders is in `watched_files`.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Collection as AnyOf
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from bson import Int64, ObjectId
from bson.raw_bson import RawBSONDocument
from pymongo import ASCENDING, DESCENDING, ReadPreference, UpdateOne
from pymongo.client_session import ClientSession
from pymongo.collection import Collection
from pymongo.errors import BulkWriteError, DuplicateKeyError, WriteError
from pymongo.read_concern import ReadConcern

from console.bson_decoding import RAW_CODEC, decoded, lean
from console.choices import DuplicatePolicy
from console.events.feed_items import SNAPSHOT_WINDOW
from console.job_totals import JobTotals, job_rows, newest_jobs, read_totals
from console.models import (
    NOT_ALLOWED,
    TERMINAL,
    Endpoint,
    OpenHours,
    Requested,
    Source,
    Storage,
    UnreadableUpload,
    Upload,
    UploadStatus,
    Watched,
    chosen_folder,
    path_to_open,
    read_upload,
    stored_ns,
)
from console.records.connection import DUPLICATE_KEY, MAJORITY, Document, describe_error
from console.records.identity import this_actor
from console.records.seals import Seals
from console.records.transitions import (
    KEY_CLAIM,
    NOW,
    Fields,
    Filter,
    at_endpoint,
    claim,
    claimable,
    claimable_elsewhere,
    cleaned_up,
    failed,
    free,
    held_by,
    key_claim,
    lease_until,
    needs_cleanup,
    refused,
    released_since,
    stopped,
    unsettled,
)
from console.upload_filter import host_of, is_today, job_of, midnight, states_of


@dataclass(frozen=True, slots=True)
class NewUpload:
    """A file that is to be uploaded, as it goes into a document. `path_bytes` only where the name is no UTF-8;
    `folder_length` as in `models.chosen_folder`.

    `endpoint` is the name of the S3 service whose bucket is meant. `batch` is as in `Upload`.
    `duplicates` only where it is not as the settings have it.
    """

    filename: str
    path: str
    path_bytes: bytes | None
    host: str
    size: int
    mtime_ns: int
    fingerprint: str
    content_type: str
    bucket: str
    key: str
    source: Source
    priority: int = 0
    batch: ObjectId | None = None
    watch: Watched | None = None
    storage: Storage | None = None
    duplicates: DuplicatePolicy | None = None
    endpoint: str | None = None
    folder_length: int | None = None
    hours: tuple[OpenHours, ...] | None = None

    @property
    def os_path(self) -> str:
        """As `Upload.os_path`."""
        return path_to_open(self.path, self.path_bytes)

    @property
    def below(self) -> str | None:
        """As `Upload.below`."""
        return chosen_folder(self.path, self.path_bytes, self.folder_length)

    def document(self, now: datetime, status: UploadStatus = UploadStatus.PENDING) -> Document:
        """The document that is inserted for it."""
        return {
            "_id": ObjectId(),
            "filename": self.filename,
            "path": self.path,
            **({"path_bytes": self.path_bytes} if self.path_bytes is not None else {}),
            **({"folder_length": self.folder_length} if self.folder_length is not None else {}),
            **({"batch": self.batch} if self.batch is not None else {}),
            **({"watch": self.watch.model_dump(exclude_none=True)} if self.watch is not None else {}),
            **({"storage": self.storage.model_dump(exclude_none=True)} if self.storage is not None else {}),
            **({"duplicates": self.duplicates} if self.duplicates is not None else {}),
            **({"hours": [each.model_dump() for each in self.hours]} if self.hours else {}),
            "host": self.host,
            "size": Int64(self.size),
            "mtime_ns": Int64(stored_ns(self.mtime_ns)),
            "fingerprint": self.fingerprint,
            "content_type": self.content_type,
            **({"endpoint": self.endpoint} if self.endpoint is not None else {}),
            "bucket": self.bucket,
            "key": self.key,
            "source": self.source.value,
            "status": status.value,
            "requested": Requested.RUN.value,
            "priority": self.priority,
            "current": Int64(0),
            "percentage": 0.0,
            "rate": 0.0,
            "multipart": None,
            "attempts": 0,
            "error": None,
            "checksum": None,
            "etag": None,
            "version_id": None,
            "lease": None,
            "created_by": this_actor().model_dump(exclude_none=True),
            "created_at": now,
            "started_at": None,
            "updated_at": now,
            "finished_at": None,
        }

    def claimed_document(
        self, now: datetime, runner: str, lease_seconds: float, endpoint: Endpoint | None = None
    ) -> Document:
        """The document as `transitions.claim` would leave it; `now` is the server's time, as in every lease."""
        return {
            **self.document(now, UploadStatus.UPLOADING),
            **({KEY_CLAIM: key_claim(endpoint, self.bucket, self.key)} if endpoint is not None else {}),
            "lease": {"runner": runner, "expires_at": now + timedelta(seconds=lease_seconds)},
            "attempts": 1,
            "sent": None,
            "started_at": now,
        }


_log = logging.getLogger(__name__)

_MOST_AHEAD: Final = 500
_MOST_LOOKS: Final = 20
"""So many pages of documents that are all refused are gone through for one claim; the next goes on behind them."""
_OWN_RUNNER_SECONDS: Final = 60.0
"""So long the parts of a cancelled upload are left, without a word, to a runner of the user who opened it."""
_FINISHED: Final = [status.value for status in sorted(TERMINAL)]
_FINISHED_ORDER: Final = [("finished_at", DESCENDING), ("_id", DESCENDING)]
_SEARCHED: Final = ("filename", "path", "key", "bucket", "host", "status", "source", "error.code")
_OURS: Final[Filter] = {"$type": "objectId"}
_SCHEME: Final = "s3://"
_WAITING_ORDER: Final = [("priority", DESCENDING), ("created_at", ASCENDING), ("_id", ASCENDING)]


@dataclass(frozen=True, slots=True)
class Gate:
    """Which uploads a runner may carry out: why not, or None. `name` tells it from gates that answer otherwise; whose
    seal begins with `prefix` is worth a claim without a look."""

    name: str
    refuses: Callable[[Upload], str | None]
    prefix: str = ""

    def refusals(self, documents: Iterable[Document]) -> dict[ObjectId, str]:
        """Those that it refuses. One that cannot be read is nobody's: whoever claims it says so in it."""
        uploads = (read_upload(document) for document in documents)
        found = {upload.id: self.refuses(upload) for upload in uploads if isinstance(upload, Upload)}
        return {upload_id: reason for upload_id, reason in found.items() if reason is not None}

    def trusts(self, document: Document) -> bool:
        """Whether it need not be looked at before it is claimed. What is claimed is looked at all the same."""
        seal = document.get("seal")
        return isinstance(seal, str) and seal.startswith(self.prefix)


OPEN_GATE: Final = Gate("", lambda _: None)


class Uploads:
    """The collection `uploads`. Thread-safe, as PyMongo's collection is."""

    def __init__(self, collection: Collection[Document], seals: Seals | None = None) -> None:
        """`seals` are by default those of this user."""
        self.seals = seals or Seals.of_this_user()
        # Transitions are read from the primary and written to the majority (design, rule 4).
        self.collection = collection.with_options(write_concern=MAJORITY, read_preference=ReadPreference.PRIMARY)
        self._raw: Collection[RawBSONDocument] = self.collection.with_options(codec_options=RAW_CODEC)

    def read(
        self,
        wanted: Filter,
        fields: Sequence[str] | None = None,
        *,
        order: Sequence[tuple[str, int]] = (),
        limit: int = 0,
        majority: bool = False,
        session: ClientSession | None = None,
    ) -> Iterator[Document]:
        """Documents that match. Each is decoded by itself: what drivers cannot decode of one is `Malformed` in it, and
        keeps no other from being read. With `fields` only these of them, and `_id`."""
        collection = self._raw.with_options(read_concern=ReadConcern("majority")) if majority else self._raw
        projection = dict.fromkeys(fields, 1) if fields is not None else None
        cursor = collection.find(wanted, projection, session=session, limit=limit, sort=list(order) or None)
        with cursor:
            yield from decoded(cursor)

    def add(self, uploads: Iterable[NewUpload]) -> list[ObjectId]:
        """Insert a pending document for each; gives their ids in order."""
        return [upload.id for upload in self.insert(uploads)]

    def insert(self, uploads: Iterable[NewUpload]) -> list[Upload]:
        """Insert a pending document for each; gives them in order."""
        now = self._server_time()
        return self._insert([upload.document(now) for upload in uploads])

    def insert_claimed(
        self, uploads: Sequence[NewUpload], runner: str, *, lease_seconds: float, endpoint: Endpoint | None = None
    ) -> list[Upload]:
        """Insert documents that the runner holds from the start: claiming one costs as much as three inserts. Each has
        its key at `endpoint`, unless another upload has that."""
        if not uploads:
            return []
        now = self._server_time()
        return self._insert([upload.claimed_document(now, runner, lease_seconds, endpoint) for upload in uploads])

    def _server_time(self) -> datetime:
        """Ages and leases of all hosts are by one clock."""
        now: datetime = self.collection.database.command("hello")["localTime"]
        return now if now.tzinfo is not None else now.replace(tzinfo=UTC)

    def _insert(self, documents: list[Document]) -> list[Upload]:
        uploads = [self.seal(document) for document in documents]
        try:
            if documents:
                self.collection.insert_many(documents, ordered=False)
        except BulkWriteError as error:
            refused = error.details.get("writeErrors", ())
            if error.details.get("writeConcernErrors") or not all(map(_is_of_key, refused)):
                raise
            for each in refused:
                index = each["index"]
                del documents[index][KEY_CLAIM]
                uploads[index] = uploads[index].model_copy(update={KEY_CLAIM: None})
            self.collection.insert_many([documents[each["index"]] for each in refused], ordered=False)
        return uploads

    def seal(self, document: Document) -> Upload:
        """Write into a new document that this user's process asks for it; gives it as an upload."""
        upload = Upload.model_validate(document)
        document["seal"] = self.seals.request(upload)
        return upload.model_copy(update={"seal": document["seal"]})

    def get(self, ids: Iterable[object]) -> list[Document]:
        """The documents that exist, as they are, in the order of `ids`. Ids of another type than ours have none."""
        ids = [upload_id for upload_id in ids if isinstance(upload_id, ObjectId)]
        found = {document["_id"]: document for document in self.read({"_id": {"$in": ids}})} if ids else {}
        return [found[upload_id] for upload_id in ids if upload_id in found]

    def find(self, wanted: Filter, *, limit: int = 0) -> list[Document]:
        """Documents that match, newest first."""
        return list(self.newest_first(wanted, limit=limit))

    def newest_first(self, wanted: Filter, *, limit: int = 0) -> Iterator[Document]:
        """The same, one by one: there may be more than fit in memory."""
        return self.read(wanted, order=[("created_at", DESCENDING), ("_id", DESCENDING)], limit=limit)

    def ids(self, wanted: Filter, *, limit: int = 0) -> list[ObjectId]:
        """The ids of documents that match; those of documents that others keep in the collection may be of any type,
        and are left out."""
        return [document["_id"] for document in self.read(_ours(wanted), ("_id",), limit=limit)]

    def claim(
        self,
        runner: str,
        host: str,
        *,
        lease_seconds: float,
        slots: int,
        most_bytes_ahead: int,
        dead: Sequence[str] = (),
        only: Filter | None = None,
        at_work: AnyOf[ObjectId] = (),
        endpoint: Endpoint | None = None,
        small: int | None = None,
        gate: Gate = OPEN_GATE,
    ) -> list[Upload]:
        """Take what may be taken, in order of priority and age: `slots` uploads, and further small ones.

        Further ones are taken while they have at most `most_bytes_ahead` bytes together, so that many small files cost
        few round trips and a large one is not kept from another runner. `at_work` are uploads that the
        runner has not released: they are not taken again, also when their lease ran out. Nothing is taken of another
        S3 service than `endpoint`. Files of up to `small` bytes get their keys too, where those are free. Those that
        `gate` refuses are left for another runner, with the reason; they stand in nobody's way, however many they are.
        """
        conditions: list[Filter] = [claimable(host, dead), _of(endpoint), *([only] if only is not None else [])]
        wanted: Filter = {"$and": conditions, "_id": {**_OURS}, "refused_by": {"$ne": gate.name}}
        if at_work:
            wanted["_id"]["$nin"] = list(at_work)
        for _ in range(_MOST_LOOKS):
            candidates: list[ObjectId] = []
            page = list(self.read(wanted, ("size", "seal"), order=_WAITING_ORDER, limit=slots + _MOST_AHEAD))
            foreign = [document["_id"] for document in page if not gate.trusts(document)]
            refusals = gate.refusals(self.read({"_id": {"$in": foreign}})) if foreign else {}
            ahead = 0
            for document in page:
                if document["_id"] in refusals:
                    continue
                if len(candidates) >= slots:
                    size = document.get("size")
                    ahead += size if isinstance(size, int) else 0
                    if ahead > most_bytes_ahead:
                        break
                candidates.append(document["_id"])
            self.refuse(gate, refusals, wanted)
            if candidates or not refusals:
                break
        change = claim(runner, lease_seconds, endpoint=endpoint, small=small)
        return self._take(runner, candidates, wanted, change, gate)

    def claim_elsewhere(
        self,
        runner: str,
        host: str,
        ids: Sequence[ObjectId],
        *,
        lease_seconds: float,
        endpoint: Endpoint | None = None,
        gate: Gate = OPEN_GATE,
    ) -> list[Upload]:
        """Take uploads of another host whose runner has gone, and make them this host's; the caller has seen that their
        files are here too."""
        wanted: Filter = {"$and": [claimable_elsewhere(), _of(endpoint)]}
        change = claim(runner, lease_seconds, endpoint=endpoint, to_host=host)
        return self._take(runner, list(ids), wanted, change, gate)

    def refuse(self, gate: Gate, reasons: Mapping[ObjectId, str], wanted: Filter) -> None:
        """Leave documents that still match for a runner that may carry them out, and say why."""
        changes = [
            UpdateOne({"$and": [wanted, {"_id": upload_id}]}, [{"$set": refused(gate.name, reason)}])
            for upload_id, reason in reasons.items()
        ]
        try:
            if changes:
                self.collection.bulk_write(changes, ordered=False)
        except BulkWriteError as error:  # the validator refuses one: that keeps no other from being left
            _log.error("uploads that are left for other runners cannot be marked: %s", describe_error(error))

    def _take(self, runner: str, ids: list[ObjectId], wanted: Filter, change: Fields, gate: Gate) -> list[Upload]:
        if not ids:
            return []
        among: Filter = {"_id": {"$in": ids}}
        for upload_id, words in self.update_each(wanted, ids, change)[1].items():
            _log.error("upload %s cannot be claimed: %s", upload_id, words)
            self._end_unclaimable(wanted, upload_id, words)
        mine: dict[ObjectId, Upload] = {}
        for document in self.read({**among, **held_by(runner)}):
            upload = read_upload(document)
            # What is carried out is what was claimed: somebody may have changed it since it was looked at.
            if isinstance(upload, UnreadableUpload):
                self._give_back(runner, upload.id, failed("InvalidRecord", upload.problem, multipart_gone=False))
            elif (reason := gate.refuses(upload)) is not None:
                self._give_back(runner, upload.id, stopped(leaving=False) | refused(gate.name, reason))
            else:
                mine[upload.id] = upload
        return [mine[upload_id] for upload_id in ids if upload_id in mine]

    def _end_unclaimable(self, wanted: Filter, upload_id: ObjectId, reason: str) -> None:
        """Else it would be tried every other second, and waited for, without an end."""
        ends = failed("InvalidRecord", reason, multipart_gone=False)
        self.update_each(wanted, [upload_id], ends)

    def _give_back(self, runner: str, upload_id: ObjectId, ends: Fields) -> None:
        self.collection.update_one({"_id": upload_id, **held_by(runner)}, [{"$set": ends}])

    def update_each(self, wanted: Filter, ids: Sequence[ObjectId], change: Fields) -> tuple[int, dict[ObjectId, str]]:
        """One statement for all; where the server refuses it for the sake of one document (the validator does, of a
        number at the end of its range, an index, of a key that another upload has, and the limit of 16 MiB), less and
        less in each, so that no other is kept from it. Gives how many match, and which are refused, with the reason."""
        if not ids:
            return 0, {}
        try:
            among = {"$and": [wanted, {"_id": {"$in": list(ids)}}]}
            return self.collection.update_many(among, [{"$set": change}]).matched_count, {}
        except WriteError as error:
            if len(ids) > 1:
                half = len(ids) // 2
                first, refused_first = self.update_each(wanted, ids[:half], change)
                second, refused_second = self.update_each(wanted, ids[half:], change)
                return first + second, refused_first | refused_second
            if isinstance(error, DuplicateKeyError) and change.get(KEY_CLAIM) != "$$REMOVE":
                return self.update_each(wanted, ids, {**change, KEY_CLAIM: "$$REMOVE"})
            return 0, {ids[0]: f"MongoDB refuses the change: {describe_error(error)}"}

    def update_once(self, wanted: Filter, ids: Sequence[ObjectId], change: Fields) -> tuple[int, dict[ObjectId, str]]:
        """The same for a change that adds to what is there: of a statement for many that is refused nobody knows where
        it took place."""
        if not ids:
            return 0, {}
        operations = [UpdateOne({"$and": [wanted, {"_id": upload_id}]}, [{"$set": change}]) for upload_id in ids]
        try:
            return self.collection.bulk_write(operations, ordered=False).matched_count, {}
        except BulkWriteError as error:
            if error.details.get("writeConcernErrors"):
                raise
            refused = error.details.get("writeErrors", ())
            return error.details.get("nMatched", 0), {
                ids[each["index"]]: f"MongoDB refuses the change: {each['errmsg']}" for each in refused
            }

    def priorities(self, ids: Sequence[ObjectId]) -> dict[ObjectId, int]:
        """What was said of each of them last; 0 where that is no number."""
        found = self.read({"_id": {"$in": list(ids)}}, ("priority",))
        return {each["_id"]: value if isinstance(value := each.get("priority"), int) else 0 for each in found}

    def highest_claimable(self, host: str, only: Sequence[Filter] = ()) -> int | None:
        """The highest priority among what waits for a runner of the host and matches; None where nothing does."""
        waits: Filter = {"host": host, "status": UploadStatus.PENDING.value, "requested": Requested.RUN.value}
        wanted: Filter = {"$and": [waits, *only]}
        found = next(self.read(wanted, ("priority",), order=_WAITING_ORDER, limit=1), {})
        priority = found.get("priority")
        return priority if isinstance(priority, int) else None

    def stalled(self, host: str, which: Filter, *, limit: int = 0) -> list[Upload | UnreadableUpload]:
        """Uploads of other hosts whose runner has gone, among those that match, in the order of their ids."""
        wanted = _ours({"$and": [{"host": {"$ne": host}, **claimable_elsewhere()}, which]})
        return [read_upload(document) for document in self.read(wanted, order=[("_id", ASCENDING)], limit=limit)]

    def nobodys(self, ids: Sequence[ObjectId], hosts: AnyOf[str]) -> list[ObjectId]:
        """Those of some uploads that nobody holds, and that are of none of these hosts."""
        return self.ids({"_id": {"$in": list(ids)}, "host": {"$nin": list(hosts)}, **free()})

    def expired(self, host: str, *, limit: int = 1_000) -> list[ObjectId]:
        """Uploads of the host that somebody holds by a lease which was not renewed in time."""
        return self.ids({"host": host, **claimable_elsewhere()}, limit=limit)

    def settle(self, dead: Sequence[str] = ()) -> int:
        """Pause and cancel, on any host, what shall be and has nobody at work on it; gives how many those were.

        `dead` are runners that are known to have ended before their leases do.
        """
        ends = stopped(leaving=False)
        return self.update_each(unsettled(dead), self.ids(unsettled(dead)), ends)[0]

    def complete_late(self, upload_id: ObjectId, attempt: int, fields: Fields) -> bool:
        """The object is there, though the upload was taken from its runner meanwhile; False if another one has it now.

        `attempt` is the document's `attempts` as the claim left it. The truth is told also where somebody cancelled.
        """
        wanted: Filter = {"_id": upload_id, **released_since(attempt)}
        return self.collection.update_one(wanted, [{"$set": fields}]).matched_count == 1

    def lease_holders(self, host: str) -> list[str]:
        """Which runners the host's running uploads name."""
        wanted: Filter = {"host": host, "status": UploadStatus.UPLOADING.value, "lease.runner": {"$type": "string"}}
        rows = decoded(self._raw.aggregate([{"$match": wanted}, {"$group": {"_id": "$lease.runner"}}]))
        return sorted(row["_id"] for row in rows if type(row["_id"]) is str)

    def held_by_runner(self) -> dict[str, tuple[int, int]]:
        """How many running uploads name each runner, and their bytes."""
        wanted: Filter = {"status": UploadStatus.UPLOADING.value, "lease.runner": {"$type": "string"}}
        sums = {"number": {"$sum": 1}, "size": {"$sum": "$size"}}
        rows = decoded(self._raw.aggregate([{"$match": wanted}, {"$group": {"_id": "$lease.runner", **sums}}]))
        return {row["_id"]: (int(row["number"]), int(row["size"] or 0)) for row in rows if type(row["_id"]) is str}

    def end_leases(self, runner: str) -> int:
        """Let the leases of a runner that has gone run out now; gives how many those were. One that lives after all
        renews them."""
        wanted: Filter = {"status": UploadStatus.UPLOADING.value, **held_by(runner)}
        ends: Fields = {"lease.expires_at": NOW}
        return self.collection.update_many(_ours(wanted), [{"$set": ends}]).matched_count

    def holds_beside(self, runner: str, at_work: AnyOf[ObjectId], gate: Gate = OPEN_GATE) -> bool:
        """Whether the runner holds an upload that may go on beside those that it is at work on: an answer was lost."""
        wanted: Filter = {**held_by(runner), "requested": Requested.RUN.value, "_id": {**_OURS, "$nin": list(at_work)}}
        wanted["refused_by"] = {"$ne": gate.name}
        return self._raw.find_one(wanted, {"_id": 1}) is not None

    def requested_of(self, runner: str) -> dict[ObjectId, Requested]:
        """What is wanted of the uploads that the runner holds, where that is not to run."""
        others = {word.value: word for word in Requested if word is not Requested.RUN}
        wanted = _ours({"lease.runner": runner, "requested": {"$in": list(others)}})
        found = {document["_id"]: document["requested"] for document in self.read(wanted, ("requested",))}
        # MongoDB finds a value within an array, too.
        return {upload_id: others[word] for upload_id, word in found.items() if type(word) is str}

    def has_cleanup(self) -> bool:
        """Whether a cancelled upload has an open multipart upload that nobody is aborting right now."""
        return bool(self.ids(needs_cleanup(), limit=1))

    def cleanup_endpoints(self) -> list[str | None]:
        """Which S3 services hold such multipart uploads."""
        by_endpoint = self._raw.aggregate([{"$match": _ours(needs_cleanup())}, {"$group": {"_id": "$endpoint"}}])
        found = [row["_id"] for row in decoded(by_endpoint)]
        return [name for name in found if name is None or type(name) is str]

    def to_clean_up(
        self, runner: str, *, lease_seconds: float, limit: int = 10, endpoint: Endpoint | None = None
    ) -> list[Upload]:
        """Take cancelled uploads that still have an open multipart upload, to abort those. One that is not known for
        ours may be another program's: it is left, and said."""
        gate = Gate(f"parts {self.seals.prefix}", self._refuses_to_clean_up)
        wanted: Filter = {**needs_cleanup(), **_of(endpoint), "_id": {**_OURS}, "refused_by": {"$ne": gate.name}}
        ids: list[ObjectId] = []
        refusals: dict[ObjectId, str] = {}
        for document in self.read(wanted):
            reasons = gate.refusals([document])
            if not reasons:
                ids.append(document["_id"])
            elif _is_older(document, self._server_time(), _OWN_RUNNER_SECONDS):
                refusals |= reasons
            if len(ids) == limit or len(refusals) == _MOST_AHEAD:
                break
        self.refuse(gate, refusals, wanted)
        if not ids:
            return []
        lease = [{"$set": {"lease": lease_until(runner, lease_seconds)}}]
        self.collection.update_many({**wanted, "_id": {"$in": ids}}, lease)
        taken = self.read({"_id": {"$in": ids}, **_cleaned_up_by(runner)})
        return [found for document in taken if isinstance(found := read_upload(document), Upload)]

    def _refuses_to_clean_up(self, upload: Upload) -> str | None:
        if self.seals.is_own_multipart(upload):
            return None
        return "its multipart upload stays open: nothing shows that one of this user's processes opened it (see sweep)"

    def cleaned_up(self, runner: str, upload_id: ObjectId) -> None:
        """The multipart upload of a cancelled document is gone. (Else it is tried again once the lease ran out.)"""
        self.collection.update_one({"_id": upload_id, **_cleaned_up_by(runner)}, [{"$set": cleaned_up()}])

    def multipart_ids(self, bucket: str, endpoint: Endpoint | None = None) -> set[str]:
        """Upload ids in the bucket that documents know of."""
        wanted: Filter = {"bucket": bucket, "multipart.upload_id": {"$exists": True}, **_of(endpoint)}
        # What no runner may abort by itself is for a person to decide about.
        wanted["$nor"] = [{"status": UploadStatus.CANCELLED.value, "error.code": NOT_ALLOWED}]
        return {
            str(multipart.get("upload_id"))
            for document in self.read(wanted, ("multipart.upload_id",))
            if isinstance(multipart := document.get("multipart"), Mapping)
        }

    def counts(self) -> dict[UploadStatus, int]:
        """How many documents there are of each status."""
        rows = decoded(self._raw.aggregate([{"$group": {"_id": "$status", "count": {"$sum": 1}}}]))
        found = {row["_id"]: row["count"] for row in rows if type(row["_id"]) is str}
        return {status: found.get(status.value, 0) for status in UploadStatus}

    def jobs(self, *, newest: int = 0, among: Iterable[ObjectId] = ()) -> list[JobTotals]:
        """The totals of the `newest` jobs, or of those `among` which are named, newest first."""
        ids = list(among)
        if newest:
            ids += [row["_id"] for row in self._raw.aggregate(newest_jobs(newest)) if type(row["_id"]) is ObjectId]
        return read_totals(decoded(self._raw.aggregate(job_rows(ids)))) if ids else []

    def window(self, session: ClientSession | None = None) -> list[Mapping[str, Any]]:
        """What the uploads table starts with: all that is under way, and the near ends of the rest.

        Documents whose status is no word of ours come too, so that they are seen.
        """
        parts = (
            ({"status": {"$nin": [*_FINISHED, UploadStatus.PENDING.value]}}, [("_id", ASCENDING)]),
            ({"status": UploadStatus.PENDING.value}, _WAITING_ORDER),
            ({"status": {"$in": _FINISHED}}, _FINISHED_ORDER),
        )
        return [
            lean(document)
            for wanted, order in parts
            for document in self.read(wanted, order=order, limit=SNAPSHOT_WINDOW, majority=True, session=session)
        ]

    def waiting_after(
        self, after: tuple[int, datetime, ObjectId] | None, text: str, limit: int
    ) -> list[Mapping[str, Any]]:
        """Pending documents in the order in which they will start, after the one given by its order's values."""
        wanted: Filter = {"status": UploadStatus.PENDING.value, **_containing(text)}
        if after is not None:
            priority, created_at, last = after
            wanted["$or"] = [
                {"priority": {"$lt": priority}},
                {"priority": priority, "created_at": {"$gt": created_at}},
                {"priority": priority, "created_at": created_at, "_id": {"$gt": last}},
            ]
        return list(map(lean, self.read(wanted, order=_WAITING_ORDER, limit=limit)))

    def finished_after(
        self, after: tuple[datetime | None, ObjectId] | None, text: str, limit: int
    ) -> list[Mapping[str, Any]]:
        """Finished documents, newest first, after the one given by its order's values."""
        wanted: Filter = {"status": {"$in": _FINISHED}, **_containing(text)}
        if after is not None:
            finished_at, last = after
            earlier: list[Filter] = [{"finished_at": finished_at, "_id": {"$lt": last}}]
            if finished_at is not None:
                earlier += [{"finished_at": {"$lt": finished_at}}, {"finished_at": None}]
            wanted["$or"] = earlier
        return list(map(lean, self.read(wanted, order=_FINISHED_ORDER, limit=limit)))


def _ours(wanted: Filter) -> Filter:
    """Of the documents that match, those with ids as we make them."""
    return {"$and": [wanted, {"_id": _OURS}]}


def _is_of_key(refused: Mapping[str, Any]) -> bool:
    """Whether a document was refused because another upload has its key."""
    return refused["code"] == DUPLICATE_KEY and f" {KEY_CLAIM}" in refused.get("errmsg", "")


def _of(endpoint: Endpoint | None) -> Filter:
    """That S3 service's uploads, or those of all."""
    return at_endpoint(endpoint) if endpoint is not None else {}


def _is_older(document: Mapping[str, Any], now: datetime, seconds: float) -> bool:
    """Whether nobody has changed it for so long."""
    changed_at = document.get("updated_at")
    return not isinstance(changed_at, datetime) or now - changed_at > timedelta(seconds=seconds)


def _containing(text: str) -> Filter:
    """Every word somewhere in what the table's own filter looks at, as it is, in either case; or what it says."""
    words = text.split()
    return {"$and": [_asking(word) for word in words]} if words else {}


def _asking(word: str) -> Filter:
    if (states := states_of(word)) is not None:
        return {"status": {"$in": list(states)}}
    if is_today(word):
        return {"updated_at": {"$gte": midnight()}}
    if (host := host_of(word)) is not None:
        return {"host": _pattern(f"^{re.escape(host)}$")}
    if (job := job_of(word)) is not None:
        return {"batch": job}
    return {"$or": [*_in_one_field(word), *_in_destination(word)]}


def _in_one_field(word: str) -> list[Filter]:
    return [{name: _pattern(re.escape(word))} for name in _SEARCHED]


def _in_destination(word: str) -> list[Filter]:
    """`s3://bucket/key` is in no field: a word with a slash may end in the bucket's name or begin there."""
    scheme, rest = (_SCHEME, word[len(_SCHEME) :]) if word.lower().startswith(_SCHEME) else ("", word)
    bucket, slash, key = rest.partition("/")
    start, end = "^" if scheme else "", "$" if slash else ""
    if not scheme and not slash:
        return []
    return [{"bucket": _pattern(start + re.escape(bucket) + end), "key": _pattern("^" + re.escape(key))}]


def _pattern(regex: str) -> Filter:
    return {"$regex": regex, "$options": "i"}


def _cleaned_up_by(runner: str) -> Filter:
    return {"status": UploadStatus.CANCELLED.value, "lease.runner": runner}
