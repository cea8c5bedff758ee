"""What the screens need from the rest of the program: one port, and the plain values that pass through it.

Owns the protocol and its values. The real implementation (MongoDB and S3) lives with the commands, a fake one with
the tests. Every method may block; the screens call each in a thread worker, never on the event loop. Methods raise
`ConsoleError` for what a person can fix, and that is shown as a notice with its title, message and advice. Whoever
opened a feed closes it: the screens do not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias, runtime_checkable

from bson import ObjectId

from console.choices import DuplicatePolicy
from console.events.feed_items import FeedItem
from console.files.refusals import Refusal
from console.models import BucketPage, Comparison, ObjectFacts, OpenMultipart, Requested, UploadStatus

if TYPE_CHECKING:
    # For its types alone: at run time it would bring PyMongo before the first picture.
    from console.job_totals import JobTotals
    from console.records.requests import Outcome
    from console.records.runners import Limits, RunnerState
    from console.records.watches import KnownWatch
    from console.stream.history import DocumentPast
    from console.stream.server import ImagesOf

Document: TypeAlias = Mapping[str, Any]


MOST_JOBS: Final = 100  # that are listed


class Link(StrEnum):
    CONNECTING = "connecting"
    CONNECTED = "connected"
    SILENT = "silent"
    RECONNECTING = "reconnecting"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class ServerHealth:
    """One server as last seen. `address` holds no password; `message` says what is wrong where something is."""

    link: Link
    address: str
    message: str = ""


@dataclass(frozen=True, slots=True)
class Added:
    """What became of the paths that were to be uploaded: documents inserted, their bytes, and what was refused."""

    uploads: int
    total_bytes: int
    refusals: tuple[Refusal, ...] = ()


@dataclass(frozen=True, slots=True)
class RunnerView:
    """A runner of any host: what its last heartbeat told, and what running uploads name it (`held`, `held_bytes`).
    `is_ours`: of this console. A `state` of None has told no heartbeat that is still known."""

    name: str
    state: RunnerState | None
    held: int
    held_bytes: int
    is_live: bool
    is_ours: bool


@dataclass(frozen=True, slots=True)
class UploadChoices:
    """Where uploads go, and how their objects are kept. An empty `storage_class` is S3's own."""

    bucket: str = ""
    prefix: str = ""
    duplicates: DuplicatePolicy = "overwrite"
    storage_class: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def destination(self) -> str:
        """`s3://bucket/prefix`; empty without a bucket."""
        return f"s3://{'/'.join(filter(None, (self.bucket, self.prefix)))}" if self.bucket else ""


@dataclass(frozen=True, slots=True)
class UploadPlan:
    """What uploading some paths would come to, as far as it is known.

    `first_key` is that of the first file. `refused` files are not uploaded, for the reasons of `refusals`, of which
    there are at most a few; `numbered` ones have the key of another one and get a number. Of the `looked_for` keys
    `existing` are in the bucket already, `existing_keys` being the first of these, and `other_size` of them have
    another size than their file; `awaited` ones are those of uploads that wait or run. `unknown` says why that cannot
    be seen. `is_whole`: nothing will be added any more.
    """

    files: int = 0
    total_bytes: int = 0
    first_path: str = ""
    first_key: str = ""
    refused: int = 0
    refusals: tuple[Refusal, ...] = ()
    numbered: int = 0
    is_counted: bool = False
    looked_for: int = 0
    existing: int = 0
    existing_keys: tuple[str, ...] = ()
    other_size: int = 0
    awaited: int = 0
    unknown: str = ""
    is_whole: bool = False


class PageGroup(StrEnum):
    """The two ends of the table that may be too long to hold."""

    WAITING = "waiting"
    FINISHED = "finished"


@dataclass(frozen=True, slots=True)
class PageQuery:
    """Documents of the collection that follow those which the table holds.

    WAITING is `pending`, in the order in which they will start: priority (highest first), created_at, _id.
    FINISHED is completed, failed and cancelled: finished_at (newest first), _id (largest first).
    `after` is the last document held of that group (None: from its beginning), as (priority, created_at, _id) or
    (finished_at, _id). The words of `text` are case-insensitive parts of name, path, destination,
    host, status, source or error code, and a document has all of them; empty for all.
    """

    group: PageGroup
    after: tuple[int, datetime, ObjectId] | tuple[datetime | None, ObjectId] | None = None
    text: str = ""
    limit: int = 500


class Backend(Protocol):
    """The uploads part: the feed of the `uploads` collection, and everything a person can ask for."""

    @property
    def runner(self) -> str:
        """Name of the runner in this process as in `lease.runner`, empty where none runs."""

    @property
    def is_connected(self) -> bool:
        """Whether MongoDB can be reached, as far as its driver knows right now; nothing is asked for it."""

    def feed_take(self, timeout_seconds: float) -> list[FeedItem]:
        """What the feed brought since the last call, waiting up to the timeout for the first item; empty if none.

        The first item ever is a `FeedState` or a `Snapshot`. A snapshot holds every upload that is uploading or
        paused, and up to SNAPSHOT_WINDOW each of the first waiting and the newest finished ones. Called from one
        thread only.
        """

    def mongodb_health(self) -> ServerHealth:
        """Ask MongoDB how it is: a cheap request, for as long as it takes, without raising."""

    def s3_health(self) -> ServerHealth:
        """Ask S3 how it is, in the same way."""

    def counts(self) -> Mapping[UploadStatus, int]:
        """How many documents the collection has of each status."""

    def page(self, query: PageQuery) -> list[Document]:
        """Documents further down than the table holds; fewer than `query.limit` means that was all."""

    def jobs(self, among: Sequence[ObjectId]) -> list[JobTotals]:
        """The totals of the jobs with these ids, newest first; of the newest MOST_JOBS where none is named."""
        ...

    def uploads_of_job(self, job: ObjectId, statuses: Sequence[UploadStatus]) -> list[ObjectId]:
        """The ids of its uploads that have one of these statuses."""
        ...

    def add_uploads(self, paths: Sequence[str], choices: UploadChoices | None = None) -> Added:
        """Insert a pending document for each file (folders are walked); paths as `open()` takes them. Without choices
        they go where the settings say."""

    def plan_uploads(
        self, paths: Sequence[str], choices: UploadChoices, told: Callable[[UploadPlan], bool]
    ) -> UploadPlan:
        """What adding them would come to; nothing is written. `told` gets what is known from time to time, and ends it
        by False."""
        ...

    def prefixes(self, bucket: str, beginning: str) -> Sequence[str]:
        """Prefixes of a bucket, each with its slash, that go on from a beginning: the first hundred or so."""
        ...

    def request(self, ids: Sequence[ObjectId], requested: Requested) -> Outcome:
        """Write `requested`, and settle the status where nobody holds a live lease."""

    def retry(self, ids: Sequence[ObjectId]) -> Outcome:
        """Failed and cancelled uploads become pending again."""

    def delete(self, ids: Sequence[ObjectId]) -> Outcome:
        """Remove object and document; uploads that run are refused."""

    def set_priority(self, ids: Sequence[ObjectId], change: int) -> Outcome:
        """Add `change` to the priority; a higher one starts earlier."""

    def link(self, upload_id: ObjectId, lifetime_seconds: int) -> str:
        """A presigned download link; stored nowhere."""

    def verify(self, upload_id: ObjectId) -> Comparison:
        """Compare object and file again; reads the whole file."""

    def past(self, upload_id: ObjectId) -> DocumentPast:
        """All that happened to an upload's document, as far back as the server remembers."""
        ...

    def object_facts(self, upload_id: ObjectId) -> ObjectFacts:
        """What S3 says of the object under the upload's key."""
        ...

    def bucket_page(self, prefix: str, after: str) -> BucketPage:
        """What lies directly under a prefix of the configured bucket, behind a place that the page before named."""
        ...

    def download(self, key: str, file: str, progress: Callable[[int], bool]) -> int:
        """Write an object of the configured bucket into a new file; gives its size. `progress` gets the bytes that have
        come, and ends it by False."""
        ...

    def document(self, upload_id: ObjectId) -> Document | None:
        """The upload's document as it is now, also one that the table does not hold; None where there is none."""
        ...

    def runners(self) -> list[RunnerView]:
        """Every runner that lives, or is named by a running upload."""
        ...

    def take_over(self, runner: str) -> str:
        """Carry out what a runner holds that has gone; a sentence says what that comes to. One that lives is
        refused."""
        ...

    def set_runner_limits(self, runner: str, limits: Limits) -> None:
        """Change the limits of a runner of any host."""
        ...

    def limits(self) -> Limits: ...

    def waits_until(self) -> str:
        """That the runner of this process lets uploads wait just now, and until when; empty where none has to."""

    def set_limits(self, limits: Limits) -> None:
        """Change them while uploads run."""

    def drain(self) -> None:
        """Start no further upload in this process; the running ones go on."""

    def orphans(self) -> list[OpenMultipart]:
        """Multipart uploads of ours in the bucket that no record owns."""

    def abort_orphans(self, orphans: Sequence[OpenMultipart]) -> int:
        """Abort them; how many were."""

    def watches(self) -> list[KnownWatch]:
        """Every watch rule of every host."""

    def watch_folder(self, folder: str) -> None:
        """Upload what comes into a folder of this host, for as long as this console runs."""
        ...

    def pause_watch(self, host: str, rule: str, paused: bool) -> None:
        """Pause or resume a rule, also one of another host."""


class Leave(StrEnum):
    """How a person left the console: what `UploadConsole.run()` returns, for the command to carry out."""

    NOW = "now"
    PAUSE = "pause"
    CANCEL = "cancel"


@runtime_checkable
class ImageSource(Protocol):
    """A source of events that knows whether collections keep pre- and post-images, and can have them kept."""

    def images_of(self, namespace: str) -> ImagesOf:
        """Whether "db.collection" keeps them."""

    def enable_images(self, namespace: str) -> None:
        """Have them kept from now on; only after a person was asked."""


class EventSource(Protocol):
    """What the inspector alone needs (`upload-console events`): a feed, live or replayed."""

    @property
    def title(self) -> str:
        """What is watched, for the header: `shop.orders on db.example.com`."""

    def feed_take(self, timeout_seconds: float) -> list[FeedItem]:
        """As `Backend.feed_take`; a replay that is at its end says so in a `FeedState`."""
