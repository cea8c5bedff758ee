"""What the screens ask for, done with records, sender and runner: the implementation of `ui.backend.Backend`.

Owns the translation, nothing else. Every method may block: the screens call it in thread workers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from bson import ObjectId
from pymongo.errors import PyMongoError

from console.commands.console.upload_plan import intake_for, plan
from console.errors import UsageError
from console.events.event import ChangeEvent
from console.events.feed_items import FeedItem, Lookup
from console.formatting import count, visible
from console.job_totals import JobTotals
from console.models import (
    BucketPage,
    Comparison,
    ObjectFacts,
    OpenMultipart,
    Requested,
    Upload,
    UploadStatus,
    read_upload,
)
from console.records.connection import explain
from console.records.database import Records
from console.records.requests import Outcome, change_priority, request_all, retry_all
from console.records.runners import Limits
from console.records.transitions import OPEN
from console.records.watches import KnownWatch, Presence
from console.runner.deletion import delete_all
from console.runner.policy import Policy
from console.runner.runner import Runner
from console.s3.transfer_errors import TransferError
from console.settings import Settings
from console.stream.feed import ChangeFeed
from console.stream.history import DocumentPast, document_past
from console.transfer.intake import Intake
from console.transfer.sender import S3Sender
from console.ui import backend as port

T = TypeVar("T")


class ConsoleBackend:
    """The uploads part of the full-screen console."""

    def __init__(
        self,
        records: Records,
        sender: S3Sender,
        runner: Runner,
        settings: Settings,
        feed: ChangeFeed,
        watch: Callable[[str], None],
    ) -> None:
        """`watch` begins to watch a folder; it may raise `ConsoleError` and PyMongoError."""
        self._watch = watch
        self._records = records
        self._sender = sender
        self._runner = runner
        self._settings = settings
        self._feed = feed
        self._lacking: dict[ObjectId, None] = {}
        self._presence = Presence.of(records.uploads)

    def start(self) -> None:
        self._feed.start()

    @property
    def runner(self) -> str:
        return self._runner.name

    @property
    def is_connected(self) -> bool:
        return self._records.connection.is_connected

    def now(self) -> datetime:
        """The time by which ages and leases are judged: the server's."""
        return self._records.connection.clock.now()

    def feed_take(self, timeout_seconds: float) -> list[FeedItem]:
        """What the feed brought. Changes without their document (no images are kept) are followed by the documents
        as they are now, lest a row be missing that the table has not held before."""
        items = self._feed.take(timeout_seconds)
        self._lacking |= {
            event.document_id: None
            for event in items
            if isinstance(event, ChangeEvent) and event.lacks_after and isinstance(event.document_id, ObjectId)
        }
        if not self._lacking:
            return items
        try:
            found = self._records.uploads.get(self._lacking)
        except PyMongoError:  # it is looked again with what comes next
            return items
        self._lacking.clear()
        return [*items, Lookup(found)]

    def feed_close(self) -> None:
        self._feed.close()

    def mongodb_health(self) -> port.ServerHealth:
        """Ask MongoDB how it is. The driver's monitors alone notice a server that was stopped after 20 seconds."""
        connection = self._records.connection
        link = port.Link.RECONNECTING
        if connection.is_connected:
            with suppress(PyMongoError):
                # A host that slept, or whose clock was slow all along, is told the time again.
                connection.clock.set(connection.client.admin.command("hello").get("localTime"))
                link = port.Link.CONNECTED
        return port.ServerHealth(link, connection.address)

    def s3_health(self) -> port.ServerHealth:
        address = visible(self._sender.address)
        try:
            self._sender.check_bucket()
        except TransferError as error:
            # Whoever may only write to a prefix gets AccessDenied here and can upload all the same.
            if error.code not in ("AccessDenied", "403"):
                return port.ServerHealth(port.Link.LOST, address, error.message)
        return port.ServerHealth(port.Link.CONNECTED, address)

    def counts(self) -> Mapping[UploadStatus, int]:
        return self._asked(self._records.uploads.counts)

    def page(self, query: port.PageQuery) -> list[port.Document]:
        uploads = self._records.uploads
        if query.group is port.PageGroup.WAITING:
            return self._asked(lambda: uploads.waiting_after(query.after, query.text, query.limit))  # type: ignore[arg-type]
        return self._asked(lambda: uploads.finished_after(query.after, query.text, query.limit))  # type: ignore[arg-type]

    def jobs(self, among: Sequence[ObjectId]) -> list[JobTotals]:
        """The totals of these jobs, or of the newest."""
        uploads = self._records.uploads
        return self._asked(lambda: uploads.jobs(among=among) if among else uploads.jobs(newest=port.MOST_JOBS))

    def uploads_of_job(self, job: ObjectId, statuses: Sequence[UploadStatus]) -> list[ObjectId]:
        """The ids of its uploads that have one of these statuses."""
        wanted = {"batch": job, "status": {"$in": [status.value for status in statuses]}}
        return self._asked(lambda: self._records.uploads.ids(wanted))

    def add_uploads(self, paths: Sequence[str], choices: port.UploadChoices | None = None) -> port.Added:
        intake = self._intake(choices, batch=ObjectId())
        added, total = 0, 0
        for batch in intake.batches(paths):
            self._asked(lambda batch=batch: self._records.uploads.add(batch))  # type: ignore[misc]
            added += len(batch)
            total += sum(upload.size for upload in batch)
        refusals = tuple(intake.refusals)
        return port.Added(added, total, refusals)

    def plan_uploads(
        self, paths: Sequence[str], choices: port.UploadChoices, told: Callable[[port.UploadPlan], bool]
    ) -> port.UploadPlan:
        def awaited(keys: Sequence[str]) -> int:
            read = self._records.uploads.read
            wanted = {"bucket": choices.bucket, "key": {"$in": list(keys)}, "status": {"$in": list(OPEN)}}
            return len(self._asked(lambda: {str(found["key"]) for found in read(wanted, ("key",))}))

        return plan(self._intake(choices), paths, lambda: self._sender.listing(choices.bucket), awaited, told)

    def prefixes(self, bucket: str, beginning: str) -> Sequence[str]:
        return self._sender.prefixes(bucket, beginning)

    def _intake(self, choices: port.UploadChoices | None, batch: ObjectId | None = None) -> Intake:
        return intake_for(
            self._settings, choices, host=self._runner.host, endpoint=self._sender.endpoint.name, batch=batch
        )

    def request(self, ids: Sequence[ObjectId], requested: Requested) -> Outcome:
        return self._asked(lambda: request_all(self._records.uploads, ids, requested))

    def retry(self, ids: Sequence[ObjectId]) -> Outcome:
        return self._asked(lambda: retry_all(self._records.uploads, ids))

    def delete(self, ids: Sequence[ObjectId]) -> Outcome:
        return self._asked(lambda: delete_all(self._records, self._sender, ids))

    def set_priority(self, ids: Sequence[ObjectId], change: int) -> Outcome:
        return self._asked(lambda: change_priority(self._records.uploads, ids, change))

    def link(self, upload_id: ObjectId, lifetime_seconds: int) -> str:
        """A presigned download link. A record of others' making gives none to what it has no business with."""
        upload = self._completed(upload_id)
        if (reason := Policy.of(self._settings, rules=self._settings.watch).refuses_destination(upload)) is not None:
            raise UsageError(f"no link: {reason}")
        return self._sender.link(upload, lifetime_seconds)

    def verify(self, upload_id: ObjectId) -> Comparison:
        return self._sender.verify(self._completed(upload_id))

    def runners(self) -> list[port.RunnerView]:
        """Every runner that lives, or is named by a running upload."""
        runners, uploads = self._records.runners, self._records.uploads
        known = {state.runner: state for state in self._asked(runners.known)}
        live = {state.runner for state in self._asked(runners.live)}
        held = self._asked(uploads.held_by_runner)
        return [
            port.RunnerView(name, known.get(name), *held.get(name, (0, 0)), name in live, name == self._runner.name)
            for name in sorted(known.keys() | held.keys())
            if name in live or name in held
        ]

    def take_over(self, runner: str) -> str:
        """Carry out what a runner holds that has gone."""
        live = {state.runner: state for state in self._asked(self._records.runners.live)}
        if runner in live:
            raise UsageError(
                f"{visible(runner)} is at work: its last heartbeat was a moment ago",
                advice="Pause its uploads and resume them once it has ended.",
            )
        number = self._asked(lambda: self._records.uploads.end_leases(runner))
        if not number:
            return "it holds nothing any more"
        return f"{count(number, 'upload')} may be claimed now, by any runner that sees the files"

    def set_runner_limits(self, runner: str, limits: Limits) -> None:
        if not self._asked(lambda: self._records.runners.set_limits(runner, limits)):
            raise UsageError(f"there is no runner {visible(runner)} any more")

    def past(self, upload_id: ObjectId) -> DocumentPast:
        """All that happened to a document."""
        documents = self._asked(lambda: self._records.uploads.get([upload_id]))
        created = documents[0].get("created_at") if documents else None
        since = min(created, upload_id.generation_time) if isinstance(created, datetime) else upload_id.generation_time
        return self._asked(lambda: document_past(self._records.uploads.collection, upload_id, since))

    def object_facts(self, upload_id: ObjectId) -> ObjectFacts:
        """What S3 says of its object."""
        upload = self._readable(upload_id)
        if (reason := Policy.of(self._settings, rules=self._settings.watch).refuses_destination(upload)) is not None:
            raise UsageError(f"not asked: {reason}")
        return self._sender.object_facts(upload)

    def bucket_page(self, prefix: str, after: str) -> BucketPage:
        return self._sender.bucket_page(prefix, after)

    def download(self, key: str, file: str, progress: Callable[[int], bool]) -> int:
        return self._sender.download(key, Path(file), progress)

    def document(self, upload_id: ObjectId) -> port.Document | None:
        """The document as it is now."""
        return next(iter(self._asked(lambda: self._records.uploads.get([upload_id]))), None)

    def limits(self) -> Limits:
        return self._runner.limits

    def waits_until(self) -> str:
        return self._runner.waits_until

    def set_limits(self, limits: Limits) -> None:
        """Change them, through the runner's document: so it is seen and done from any host alike."""
        if not self._asked(lambda: self._records.runners.set_limits(self._runner.name, limits)):
            raise UsageError("the runner has not told its first heartbeat yet", advice="Try again in a moment.")

    def drain(self) -> None:
        self._runner.drain()

    def running(self) -> list[ObjectId]:
        held = {"lease.runner": self._runner.name}
        return self._asked(lambda: self._records.uploads.ids(held))

    def orphans(self) -> list[OpenMultipart]:
        return self._asked(lambda: self._sender.orphans(self._records.uploads))

    def abort_orphans(self, orphans: Sequence[OpenMultipart]) -> int:
        return len(self._asked(lambda: self._sender.abort_orphans(self._records.uploads, orphans)))

    def watches(self) -> list[KnownWatch]:
        return self._asked(self._presence.known)

    def watch_folder(self, folder: str) -> None:
        self._asked(lambda: self._watch(folder))

    def pause_watch(self, host: str, rule: str, paused: bool) -> None:
        if not self._asked(lambda: self._presence.pause(host, rule, paused=paused)):
            raise UsageError(f"there is no watch rule {visible(rule)} on {visible(host)}")

    def _readable(self, upload_id: ObjectId) -> Upload:
        document = self.document(upload_id)
        upload = read_upload(document) if document is not None else None
        if not isinstance(upload, Upload):
            raise UsageError(f"there is no readable upload {upload_id}")
        return upload

    def _completed(self, upload_id: ObjectId) -> Upload:
        upload = self._readable(upload_id)
        if upload.status is not UploadStatus.COMPLETED:
            raise UsageError(f"{visible(upload.filename)} is {upload.status.value}: there is no object yet")
        return upload

    def _asked(self, question: Callable[[], T]) -> T:
        """Ask MongoDB; its errors become messages for people."""
        try:
            return question()
        except PyMongoError as error:
            raise explain(error, self._records.connection) from error
