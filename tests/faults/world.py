"""The whole loop for a fault test: records, runners, S3 behind a proxy that breaks, and what must hold in the end.

Owns the set-up and the one check that every fault test ends with (`World.check`). Not here: the faults (`proxy`,
`gate`).
"""

from __future__ import annotations

import hashlib
import os
import random
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from bson import ObjectId
from pydantic import SecretStr

from console.choices import DuplicatePolicy
from console.error_codes import EXPLANATIONS, explain
from console.events.event import ChangeEvent
from console.events.feed_items import FeedItem, FeedState, Gap
from console.models import Requested, Source, Upload, UploadStatus, Watched, read_upload
from console.records.database import Records
from console.records.identity import RunnerIdentity
from console.records.requests import request_all, retry_all
from console.records.runners import Limits
from console.records.writer import LEASE_SECONDS
from console.runner.runner import Runner
from console.s3.address import endpoint_name
from console.s3.operations import OpenMultipart, open_multiparts
from console.s3.retry import RetryPolicy
from console.settings import MongoSettings, S3Settings, TransferSettings
from console.settings.schedule import ScheduleSettings
from console.stream.feed import ChangeFeed
from console.transfer.intake import Intake
from console.transfer.sender import S3Sender
from tests.faults.driver import Orders, RunnerProcess
from tests.faults.proxy import FaultProxy

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

Document = dict[str, Any]

MIB = 1024 * 1024
HERE = "here"
PATIENCE_SECONDS = 45.0
QUICK = RetryPolicy(retries=5, first_wait_seconds=0.01, longest_wait_seconds=0.05)


def wait_for(condition: Callable[[], object], what: str, seconds: float = PATIENCE_SECONDS) -> float:
    """Wait until the condition holds; gives how long that took, in seconds."""
    begun = time.monotonic()
    while not condition():
        if time.monotonic() - begun > seconds:
            raise AssertionError(f"not within {seconds:.0f} s: {what}")
        # Often at first. Later less so: each look may be a query, and takes from those who are waited for.
        time.sleep(min(0.1, 0.002 + (time.monotonic() - begun) / 20))
    return time.monotonic() - begun


def _random_bytes(source: random.Random, size: int) -> bytes:
    """Blocks that differ in their first bytes alone: making all of them at random took a fifth of these tests."""
    block = source.randbytes(min(size, 65_536))
    if size <= len(block):
        return block
    numbered = (number.to_bytes(8, "big") + block[8:] for number in range(-(-size // len(block))))
    return b"".join(numbered)[:size]


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class World:
    """Records, S3 behind `proxy`, files, and any number of runners. A context manager; `check` in the end."""

    def __init__(
        self,
        *,
        mongodb_uri: str,
        database: str,
        bucket: str,
        s3: S3Client,
        proxy: FaultProxy,
        folder: Path,
        **transfer: Any,
    ) -> None:
        self.bucket = bucket
        self.s3 = s3
        self.proxy = proxy
        self.folder = folder
        self.locks = folder / "locks"
        self.mongodb = MongoSettings(uri=SecretStr(mongodb_uri), database=database, timeout_seconds=5)
        self.s3_settings = S3Settings(bucket=bucket, endpoint_url=proxy.url)
        self.transfer = TransferSettings.model_validate(
            {
                "part_size": 5 * MIB,
                "multipart_threshold": 5 * MIB,
                "parallel_uploads": 3,
                "parallel_parts": 4,
                "connect_timeout_seconds": 5,
                "read_timeout_seconds": 10,
            }
            | transfer
        )
        self._stack = ExitStack()
        self._senders: list[S3Sender] = []
        self._random = random.Random(int(hashlib.md5(str(folder.name).encode()).hexdigest(), 16))
        self._bytes_added: dict[ObjectId, set[str]] = {}
        self.items: list[FeedItem] = []
        self.records = self.open_records()
        self.elsewhere = self.open_records()
        self._feed = ChangeFeed(self.records.uploads.collection, snapshot=lambda _: [])
        self._feed.start()
        # What happens before its first look at the clock would be no event.
        wait_for(self._is_followed, "the feed is connected")

    def __enter__(self) -> Self:
        self._stack.callback(self._feed.close, 0.0)  # it waits for the next event; its client ends right after
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)

    def _is_followed(self) -> bool:
        self.items += self._feed.take(0.02)
        return any(isinstance(item, FeedState) and item.connected for item in self.items)

    def open_records(self, **mongodb: Any) -> Records:
        """A connection to MongoDB of its own, as another process or host has it."""
        return self._stack.enter_context(Records.open(self.mongodb.model_copy(update=mongodb)))

    def open_sender(self, retry: RetryPolicy = QUICK, **transfer: Any) -> S3Sender:
        """S3 through the proxy, with retries that do not wait long."""
        settings = TransferSettings.model_validate(self.transfer.model_dump() | transfer)
        return self._stack.enter_context(S3Sender(self.s3_settings, settings, retry=retry))

    def start_runner(
        self,
        host: str = HERE,
        *,
        records: Records | None = None,
        sender: S3Sender | None = None,
        locks: Path | None = None,
        rate: int = 0,
        **options: Any,
    ) -> Runner:
        """A runner at work, stopped at the end of the test. `rate` limits its bandwidth (bytes a second)."""
        limits = Limits(rate, self.transfer.parallel_uploads, self.transfer.parallel_parts)
        sender = sender or self.open_sender()
        self._senders.append(sender)
        identity = RunnerIdentity(host, locks or self.locks)
        self._stack.callback(identity.release)
        runner = Runner(
            records or self.records,
            sender,
            limits,
            kind="console",
            identity=identity,
            **options,
        )
        self._stack.callback(runner.stop, 5.0)
        runner.start()
        return runner

    def start_process(
        self, host: str = HERE, *, locks: Path | None = None, rate: int = 0, lease_seconds: float = LEASE_SECONDS
    ) -> RunnerProcess:
        """A runner at work in a process of its own, ended with the test at the latest."""
        orders = Orders(
            mongodb=self.mongodb,
            s3=self.s3_settings,
            transfer=self.transfer,
            host=host,
            locks=locks or self.locks,
            rate=rate,
            lease_seconds=lease_seconds,
            credentials={name: os.environ[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")},
        )
        process = RunnerProcess(orders)
        self._stack.callback(process.kill)
        return process

    def let(self, parts: int) -> None:
        """S3 gets so many parts of each upload and no more before `hurry`: what happens now is in its middle.

        Parts that wait keep their places: where several uploads have parts, `parallel_parts` must be enough for all.
        """
        self.proxy.turnstile.let(parts)

    def hurry(self) -> None:
        """No part waits, no bandwidth limit any more: what was to happen in the middle has happened."""
        self.proxy.turnstile.let(None)
        for sender in self._senders:
            sender.set_limits(Limits(0, self.transfer.parallel_uploads, self.transfer.parallel_parts))

    def file(self, size: int, name: str = "file.bin") -> Path:
        """A file of random bytes (the same for the same test)."""
        path = self.folder / "files" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_random_bytes(self._random, size))
        return path

    def add(
        self,
        *paths: Path,
        host: str = HERE,
        bucket: str | None = None,
        duplicates: DuplicatePolicy | None = None,
        watch: Watched | None = None,
        schedule: ScheduleSettings | None = None,
    ) -> list[ObjectId]:
        """Pending documents for the files, as `upload --detach` makes them, or a watch."""
        settings = self.s3_settings.model_copy(update={"bucket": bucket or self.bucket})
        intake = Intake(
            settings,
            self.transfer,
            host=host,
            source=Source.COMMAND,
            endpoint=endpoint_name(self.proxy.url),
            duplicates=duplicates,
            schedule=schedule,
        )
        ids: list[ObjectId] = []
        for found in intake.batches([os.fspath(path) for path in paths]):
            batch = [replace(upload, watch=watch) for upload in found]
            added = self.records.uploads.add(batch)
            ids += added
            for upload_id, upload in zip(added, batch, strict=True):
                self.expect(upload_id, Path(upload.path))
        assert not intake.refusals
        return ids

    def expect(self, upload_id: ObjectId, path: Path) -> None:
        """The upload's object may be what the file is now (besides what it was before)."""
        self._bytes_added.setdefault(upload_id, set()).add(sha256(path.read_bytes()))

    def document(self, upload_id: ObjectId) -> Document:
        """The document as it is now."""
        [document] = self.records.uploads.get([upload_id])
        return document

    def upload(self, upload_id: ObjectId) -> Upload:
        """The same, read."""
        upload = read_upload(self.document(upload_id))
        assert isinstance(upload, Upload)
        return upload

    def statuses(self, ids: Sequence[ObjectId]) -> list[str]:
        return [document["status"] for document in self.records.uploads.get(ids)]

    def wait_status(self, ids: Sequence[ObjectId], *status: UploadStatus, seconds: float = PATIENCE_SECONDS) -> float:
        """Wait until all have one of the statuses; the seconds that it took."""
        try:
            return wait_for(
                lambda: set(self.statuses(ids)) <= {word.value for word in status}, f"all {status}", seconds
            )
        except AssertionError as error:
            raise AssertionError(f"{error}: {[self.document(upload_id) for upload_id in ids]}") from None

    def wait_completed(self, ids: Sequence[ObjectId], seconds: float = PATIENCE_SECONDS) -> float:
        return self.wait_status(ids, UploadStatus.COMPLETED, seconds=seconds)

    def wait_parts(self, upload_id: ObjectId, at_least: int) -> None:
        """Wait until S3 holds so many parts of the upload."""
        wait_for(lambda: len(self.parts(upload_id)) >= at_least, f"{at_least} parts in S3")

    def parts(self, upload_id: ObjectId) -> dict[int, int]:
        """The parts that S3 holds for the upload: sizes by number."""
        upload = self.upload(upload_id)
        if upload.multipart is None:
            return {}
        try:
            answer = self.s3.list_parts(Bucket=upload.bucket, Key=upload.key, UploadId=upload.multipart.upload_id)
        except self.s3.exceptions.NoSuchUpload:
            return {}
        return {part["PartNumber"]: part["Size"] for part in answer.get("Parts", [])}

    def open_multiparts(self) -> list[OpenMultipart]:
        return list(open_multiparts(self.s3, self.bucket))

    def object_hash(self, key: str) -> str:
        return sha256(self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read())

    def object_keys(self) -> set[str]:
        return {item["Key"] for item in self.s3.list_objects_v2(Bucket=self.bucket).get("Contents", [])}

    # What people do, from another connection than the runner's

    def request(self, requested: Requested, *ids: ObjectId) -> None:
        outcome = request_all(self.elsewhere.uploads, ids, requested)
        assert not outcome.refused, outcome

    def retry(self, *ids: ObjectId) -> None:
        outcome = retry_all(self.elsewhere.uploads, ids)
        assert not outcome.refused, outcome

    def pause(self, *ids: ObjectId) -> float:
        """Ask for a pause; the seconds until all are paused."""
        self.request(Requested.PAUSE, *ids)
        return self.wait_status(ids, UploadStatus.PAUSED)

    def resume(self, *ids: ObjectId) -> None:
        self.request(Requested.RUN, *ids)

    def cancel(self, *ids: ObjectId) -> float:
        """Cancel; the seconds until all are cancelled."""
        self.request(Requested.CANCEL, *ids)
        return self.wait_status(ids, UploadStatus.CANCELLED)

    def wait_until_tidy(self, *ids: ObjectId) -> float:
        """Wait until no multipart upload of theirs is known any more; the seconds that it took."""
        return wait_for(lambda: all(self.document(i)["multipart"] is None for i in ids), "the parts are dropped")

    # What must hold after every fault

    def check(self, *, is_gap_allowed: bool = False, foreign: Sequence[str] = (), orphans: int = 0) -> None:
        """Objects equal files, documents tell the truth, nothing is left in the bucket, no event is missing.

        `foreign` are keys of objects that no upload made, `orphans` how many multipart uploads nobody can know of.
        """
        documents = {document["_id"]: document for document in self.records.uploads.find({})}
        for document in documents.values():
            self._check_document(document)
        completed = {d["key"] for d in documents.values() if d["status"] == "completed" and d["bucket"] == self.bucket}
        assert self.object_keys() == completed | set(foreign)
        owned = {d["multipart"]["upload_id"] for d in documents.values() if d["multipart"]}
        open_ones = {multipart.upload_id for multipart in self.open_multiparts()}
        assert len(open_ones - owned) == orphans, self._requests_for(open_ones - owned)
        self._check_events(documents, is_gap_allowed=is_gap_allowed)

    def _requests_for(self, multiparts: Collection[str]) -> list[str]:
        """What was asked of S3 about these multipart uploads and to begin any, in the order of arrival."""
        return [
            f"{request.operation} {request.key} {dict(request.query)} passed {request.passed_bytes}"
            for request in self.proxy.requests
            if request.query.get("uploadId") in multiparts or request.operation == "CreateMultipartUpload"
        ]

    def _check_document(self, document: Document) -> None:
        upload = read_upload(document)
        assert isinstance(upload, Upload), upload
        self._check_arrived(upload)
        assert upload.lease is None, document
        assert upload.rate == 0, document
        assert (upload.finished_at is not None) == upload.status.is_terminal, document
        match upload.status:
            case UploadStatus.COMPLETED:
                assert upload.error is None
                assert upload.current == upload.size
                assert upload.percentage == 100
                assert upload.multipart is None
                assert upload.checksum is not None
                assert upload.checksum.confirmed in ("checksum", "etag")
                assert upload.etag
                assert self.object_hash(upload.key) in self._bytes_added[upload.id]
            case UploadStatus.FAILED:
                assert upload.error is not None
                assert upload.error.code in EXPLANATIONS, upload.error
                assert explain(upload.error.code).message
                assert upload.error.message
            case UploadStatus.CANCELLED:
                assert upload.multipart is None
            case UploadStatus.PENDING | UploadStatus.PAUSED:
                assert upload.current < upload.size or not upload.size
            case UploadStatus.UPLOADING:
                raise AssertionError(f"nobody is at work on it any more: {document}")

    def _check_arrived(self, upload: Upload) -> None:
        """What the document says to have arrived is in the bucket; it may lag behind."""
        if upload.status is UploadStatus.COMPLETED:
            return
        held = sum(self.parts(upload.id).values())
        assert upload.current <= held, (upload, held)

    def _check_events(self, documents: Mapping[ObjectId, Document], *, is_gap_allowed: bool) -> None:
        """Each event's before-image is the after-image of the one before; the last is the document itself."""

        def has_all() -> bool:
            self.items += self._feed.take(0.02)
            return self._last_images() == documents

        wait_for(has_all, "the last event of every document", 20)
        if not is_gap_allowed:
            assert not [item for item in self.items if isinstance(item, Gap)]
        images: dict[ObjectId, Mapping[str, Any] | None] = {}
        for event in self.events():
            assert event.before == images.get(event.document_id), event.raw
            assert event.operation in ("insert", "update", "delete")
            images[event.document_id] = event.after

    def _last_images(self) -> dict[ObjectId, Mapping[str, Any]]:
        last: dict[ObjectId, Mapping[str, Any] | None] = {}
        for event in self.events():
            last[event.document_id] = event.after
        return {upload_id: image for upload_id, image in last.items() if image is not None}

    def events(self, upload_id: ObjectId | None = None) -> Iterator[ChangeEvent]:
        """Change events that came so far; those of one upload, once the last one has come."""
        self.items += self._feed.take(0)
        if upload_id is not None:
            wait_for(lambda: self._has_last_event(upload_id), "the last event of the upload")
        for item in self.items:
            if isinstance(item, ChangeEvent) and upload_id in (None, item.document_id):
                yield item

    def _has_last_event(self, upload_id: ObjectId) -> bool:
        self.items += self._feed.take(0.02)
        documents = self.records.uploads.get([upload_id])
        return self._last_images().get(upload_id) == (documents[0] if documents else None)

    def history(self, upload_id: ObjectId) -> list[str]:
        """The statuses that the upload went through, as its events tell."""
        words: list[str] = []
        for event in self.events(upload_id):
            if event.after is not None and event.after["status"] not in words[-1:]:
                words.append(event.after["status"])
        return words

    def noted(self, upload_id: ObjectId) -> list[str]:
        """The codes of the errors that its document showed one after the other."""
        codes: list[str] = []
        for event in self.events(upload_id):
            if event.update is not None and (error := event.update.get("updatedFields", {}).get("error")):
                codes.append(error["code"])
        return codes
