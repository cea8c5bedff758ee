"""A backend without servers: documents in memory, and the events that a change stream would deliver for them."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from bson import ObjectId, Timestamp

from console.errors import ServerUnreachable
from console.events.event import ChangeEvent
from console.events.feed_items import FeedItem, FeedState, Snapshot
from console.job_totals import JobTotals
from console.models import BucketPage, Comparison, ObjectFacts, OpenMultipart, Requested, UploadStatus, read_upload
from console.records.requests import Outcome
from console.records.runners import Limits
from console.records.watches import KnownWatch
from console.stream.history import DocumentPast
from console.ui.backend import (
    Added,
    Link,
    PageGroup,
    PageQuery,
    Refusal,
    RunnerView,
    ServerHealth,
    UploadChoices,
    UploadPlan,
)
from console.ui.uploads.uploads_window import matches

NOW = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)
RUNNER = "alpha:4711"
HOST = "alpha"


def document(number: int, **fields: Any) -> dict[str, Any]:
    """A document of the collection; `number` makes its id, name and age."""
    size = fields.get("size", 17_400_000)
    status = UploadStatus(fields.get("status", "pending"))
    name = fields.get("filename", f"photo-{number:04}.jpg")
    base: dict[str, Any] = {
        "_id": ObjectId(f"{number:024x}"),
        "filename": name,
        "path": f"/srv/photos/{name}",
        "host": HOST,
        "size": size,
        "mtime_ns": 1_790_000_000_000_000_000 + number,
        "fingerprint": f"f{number}",
        "content_type": "image/jpeg",
        "bucket": "archive",
        "key": f"photos/2026/{name}",
        "source": "browser",
        "status": str(status),
        "requested": "run",
        "priority": 0,
        "current": 0,
        "percentage": 0.0,
        "rate": 0.0,
        "multipart": None,
        "attempts": 0,
        "error": None,
        "checksum": None,
        "etag": None,
        "version_id": None,
        "lease": None,
        "created_at": NOW - timedelta(minutes=number),
        "started_at": None,
        "updated_at": NOW,
        "finished_at": None,
    }
    base |= fields
    if status is UploadStatus.UPLOADING and "lease" not in fields:
        base["lease"] = {"runner": RUNNER, "expires_at": NOW + timedelta(days=365)}
    if status is UploadStatus.COMPLETED:
        base |= {"current": size, "percentage": 100.0}
    if status.is_terminal and "finished_at" not in fields:
        base["finished_at"] = NOW - timedelta(minutes=number)
    return base


class FakeBackend:
    """Does at once what real servers do later; `asked` keeps what was asked of it."""

    def __init__(self, documents: Sequence[Mapping[str, Any]] = (), *, runner: str = RUNNER) -> None:
        self.documents: dict[Any, dict[str, Any]] = {doc["_id"]: dict(doc) for doc in documents}
        self.runner = runner
        self.is_connected = True
        self.asked: list[tuple[Any, ...]] = []
        self.fails: Exception | None = None
        self.mongodb = ServerHealth(Link.CONNECTED, "db.example.com:27017")
        self.s3 = ServerHealth(Link.CONNECTED, "s3.example.com")
        self.waiting_until = ""
        self.held_limits = Limits(20 * 1024 * 1024, 4, 8)
        self.found_orphans: list[OpenMultipart] = []
        self.watch_states: list[KnownWatch] = []
        self.refusals: tuple[Refusal, ...] = ()
        self.keeps = ""
        self.keys: set[str] = set()
        self.known_prefixes: list[str] = []
        self.plan: dict[str, Any] = {}
        self.may_look = threading.Event()
        self.may_look.set()
        self.pasts: dict[Any, list[ChangeEvent]] = {}
        self.past_lacks = ""
        self.pages: dict[tuple[str, str], BucketPage] = {}
        self.held_jobs: list[JobTotals] = []
        self.runner_views: list[RunnerView] = []
        self.facts = ObjectFacts(exists=False)
        self.verification = Comparison(True, "SHA-256 of 17.4 MiB is the same")
        self._items: queue.Queue[FeedItem] = queue.Queue()
        self._lock = threading.RLock()
        self._events = 0
        self._number = 900_000
        self.bring(FeedState(True))
        self.bring(Snapshot([dict(doc) for doc in self.documents.values()]))

    # ---- what a test makes happen

    def bring(self, *items: FeedItem) -> None:
        """The feed brings these."""
        for item in items:
            self._items.put(item)

    def insert(self, doc: Mapping[str, Any]) -> None:
        """Somebody inserts a document."""
        with self._lock:
            self.documents[doc["_id"]] = dict(doc)
            self.bring(self.event("insert", doc["_id"], None, dict(doc)))

    def change(self, document_id: Any, **fields: Any) -> None:
        """Somebody changes a document."""
        with self._lock:
            before = self.documents[document_id]
            after = before | fields
            self.documents[document_id] = after
            changed = {name: value for name, value in fields.items() if before.get(name) != value}
            update = {"updatedFields": changed, "removedFields": [], "truncatedArrays": []}
            self.bring(self.event("update", document_id, before, after, update))

    def remove(self, document_id: Any) -> None:
        """Somebody deletes a document."""
        with self._lock:
            self.bring(self.event("delete", document_id, self.documents.pop(document_id), None))

    def event(
        self,
        operation: str,
        document_id: Any,
        before: Mapping[str, Any] | None,
        after: Mapping[str, Any] | None,
        update: Mapping[str, Any] | None = None,
        namespace: tuple[str, str] = ("upload_console", "uploads"),
    ) -> ChangeEvent:
        """An event as the driver would deliver it, one tenth of a second after the one before."""
        self._events += 1
        wall = NOW + timedelta(milliseconds=100 * self._events)
        raw: dict[str, Any] = {
            "_id": {"_data": f"{self._events:016X}"},
            "operationType": operation,
            "clusterTime": Timestamp(int(wall.timestamp()), self._events),
            "wallTime": wall,
            "ns": {"db": namespace[0], "coll": namespace[1]},
            "documentKey": {"_id": document_id},
        }
        for name, value in (
            ("fullDocumentBeforeChange", before),
            ("fullDocument", after),
            ("updateDescription", update),
        ):
            if value is not None:
                raw[name] = value
        return ChangeEvent.from_raw(raw)

    # ---- the port

    def feed_take(self, timeout_seconds: float) -> list[FeedItem]:
        items: list[FeedItem] = []
        with suppress(queue.Empty):
            items.append(self._items.get(timeout=timeout_seconds))
            while True:
                items.append(self._items.get_nowait())
        return items

    def mongodb_health(self) -> ServerHealth:
        return self.mongodb

    def s3_health(self) -> ServerHealth:
        return self.s3

    def counts(self) -> Mapping[UploadStatus, int]:
        counts = dict.fromkeys(UploadStatus, 0)
        with self._lock:
            for doc in self.documents.values():
                if doc.get("status") in counts:
                    counts[UploadStatus(doc["status"])] += 1
        return counts

    def page(self, query: PageQuery) -> list[Mapping[str, Any]]:
        self._ask("page", query)
        waiting = query.group is PageGroup.WAITING
        with self._lock:
            docs = [d for d in self.documents.values() if (d.get("status") == "pending") == waiting]
        if not waiting:
            docs = [d for d in docs if d.get("finished_at") is not None]

        def place(doc: Mapping[str, Any]) -> tuple[Any, ...]:
            if waiting:
                return (-doc["priority"], doc["created_at"], doc["_id"])
            return (-doc["finished_at"].timestamp(), -int(str(doc["_id"]), 16))

        words = query.text.casefold().split()
        docs = sorted((d for d in docs if matches(read_upload(d), words)), key=place)
        if query.after is not None:
            if waiting:
                priority, created_at, upload_id = query.after  # type: ignore[misc]
                last = (-priority, created_at, upload_id)
            else:
                finished_at, upload_id = query.after  # type: ignore[misc]
                last = (-finished_at.timestamp(), -int(str(upload_id), 16))
            docs = [doc for doc in docs if place(doc) > last]
        return docs[: query.limit]

    def jobs(self, among: Sequence[ObjectId]) -> list[JobTotals]:
        self._ask("jobs", tuple(among))
        return [job for job in self.held_jobs if not among or job.id in among]

    def uploads_of_job(self, job: ObjectId, statuses: Sequence[UploadStatus]) -> list[ObjectId]:
        self._ask("uploads_of_job", job, tuple(statuses))
        with self._lock:
            return [key for key, doc in self.documents.items() if doc.get("batch") == job and doc["status"] in statuses]

    def add_uploads(self, paths: Sequence[str], choices: UploadChoices | None = None) -> Added:
        self._ask("add_uploads", tuple(paths), *([choices] if choices is not None else []))
        total = 0
        for path in paths:
            self._number += 1
            name = Path(path).name
            size = Path(path).stat().st_size if Path(path).is_file() else 0
            total += size
            self.insert(
                document(self._number, filename=name, path=path, key=f"photos/{name}", size=size, created_at=NOW)
            )
        return Added(len(paths), total, self.refusals)

    def plan_uploads(
        self, paths: Sequence[str], choices: UploadChoices, told: Callable[[UploadPlan], bool]
    ) -> UploadPlan:
        """Of what lies directly under the paths, but for what `plan` says."""
        files = [path for path in paths if Path(path).is_file()]
        key = f"{choices.prefix}/{Path(paths[0]).name}"
        counted = UploadPlan(len(paths), sum(Path(f).stat().st_size for f in files), paths[0], key, is_counted=True)
        told(counted)
        self.may_look.wait(60)
        found = [each for each in paths if f"{choices.prefix}/{Path(each).name}" in self.keys]
        return replace(
            counted,
            looked_for=len(paths),
            existing=len(found),
            existing_keys=tuple(f"{choices.prefix}/{Path(each).name}" for each in found),
            is_whole=True,
            **self.plan,
        )

    def prefixes(self, bucket: str, beginning: str) -> Sequence[str]:
        return [prefix for prefix in self.known_prefixes if prefix.startswith(beginning)]

    def request(self, ids: Sequence[ObjectId], requested: Requested) -> Outcome:
        self._ask("request", tuple(ids), requested)
        for upload_id in ids:
            fields: dict[str, Any] = {"requested": str(requested)}
            status = self.documents[upload_id]["status"]
            if requested is Requested.PAUSE and status in ("pending", "uploading"):
                fields |= {"status": "paused", "lease": None, "rate": 0.0}
            elif requested is Requested.RUN and status == "paused":
                fields |= {"status": "pending"}
            elif requested is Requested.CANCEL and not UploadStatus(status).is_terminal:
                fields |= {"status": "cancelled", "finished_at": NOW, "lease": None}
            self.change(upload_id, **fields)
        return Outcome(len(ids))

    def retry(self, ids: Sequence[ObjectId]) -> Outcome:
        self._ask("retry", tuple(ids))
        refused = {}
        for upload_id in ids:
            if self.documents[upload_id]["status"] in ("failed", "cancelled"):
                self.change(upload_id, status="pending", requested="run", finished_at=None)
            else:
                refused[upload_id] = str(self.documents[upload_id]["status"])
        return Outcome(len(ids) - len(refused), refused)

    def delete(self, ids: Sequence[ObjectId]) -> Outcome:
        self._ask("delete", tuple(ids))
        for upload_id in ids:
            self.remove(upload_id)
        return Outcome(len(ids), kept=dict.fromkeys(ids, self.keeps) if self.keeps else {})

    def set_priority(self, ids: Sequence[ObjectId], change: int) -> Outcome:
        self._ask("set_priority", tuple(ids), change)
        for upload_id in ids:
            self.change(upload_id, priority=self.documents[upload_id]["priority"] + change)
        return Outcome(len(ids))

    def link(self, upload_id: ObjectId, lifetime_seconds: int) -> str:
        self._ask("link", upload_id, lifetime_seconds)
        return f"https://s3.example.com/archive/{upload_id}?X-Amz-Expires={lifetime_seconds}&X-Amz-Signature=0123"

    def verify(self, upload_id: ObjectId) -> Comparison:
        self._ask("verify", upload_id)
        return self.verification

    def runners(self) -> list[RunnerView]:
        self._ask("runners")
        return self.runner_views

    def take_over(self, runner: str) -> str:
        self._ask("take_over", runner)
        return "3 uploads may be claimed now"

    def set_runner_limits(self, runner: str, limits: Limits) -> None:
        self._ask("set_runner_limits", runner, limits)

    def past(self, upload_id: ObjectId) -> DocumentPast:
        self._ask("past", upload_id)
        return DocumentPast(tuple(self.pasts.get(upload_id, ())), self.past_lacks)

    def object_facts(self, upload_id: ObjectId) -> ObjectFacts:
        self._ask("object_facts", upload_id)
        return self.facts

    def bucket_page(self, prefix: str, after: str) -> BucketPage:
        self._ask("bucket_page", prefix, after)
        return self.pages[prefix, after]

    def download(self, key: str, file: str, progress: Callable[[int], bool]) -> int:
        self._ask("download", key, file)
        Path(file).write_bytes(b"12")
        return 2

    def document(self, upload_id: ObjectId) -> Mapping[str, Any] | None:
        return self.documents.get(upload_id)

    def limits(self) -> Limits:
        return self.held_limits

    def waits_until(self) -> str:
        return self.waiting_until

    def set_limits(self, limits: Limits) -> None:
        self._ask("set_limits", limits)
        self.held_limits = limits

    def drain(self) -> None:
        self._ask("drain")

    def orphans(self) -> list[OpenMultipart]:
        self._ask("orphans")
        return self.found_orphans

    def abort_orphans(self, orphans: Sequence[OpenMultipart]) -> int:
        self._ask("abort_orphans", tuple(orphans))
        return len(orphans)

    def watches(self) -> list[KnownWatch]:
        return self.watch_states

    def watch_folder(self, folder: str) -> None:
        self._ask("watch_folder", folder)

    def pause_watch(self, host: str, rule: str, paused: bool) -> None:
        self._ask("pause_watch", host, rule, paused)

    def _ask(self, *call: Any) -> None:
        self.asked.append(call)
        if self.fails is not None:
            raise self.fails


def unreachable() -> ServerUnreachable:
    return ServerUnreachable("db.example.com:27017 does not answer", advice="Is mongod running?")
