"""A world for watches: records, a bucket, a folder, and a service with a runner, all real."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from console.records.database import Records
from console.records.identity import RunnerIdentity
from console.records.runners import Limits
from console.runner.runner import Runner
from console.settings import Settings, load
from console.settings.watch_rules import WatchRule
from console.transfer.sender import S3Sender
from console.watch import service as service_module
from console.watch import watcher as watcher_module
from console.watch.completeness import OpenFiles
from console.watch.reporting import Note, NoteKind
from console.watch.service import WatchService
from tests.watch.waiting import until

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from pymongo.database import Database

    from console.embedded.services import EmbeddedServices

HOST = "watching-host"
QUICK: dict[str, Any] = {"quiet_seconds": 0.15, "poll_seconds": 0.3}


class Notes:
    """A listener that remembers."""

    def __init__(self) -> None:
        self._all: list[Note] = []
        self._lock = threading.Lock()

    def __call__(self, note: Note) -> None:
        with self._lock:
            self._all.append(note)

    def of(self, kind: NoteKind) -> list[Note]:
        with self._lock:
            return [note for note in self._all if note.kind is kind]

    def paths(self, kind: NoteKind) -> list[str]:
        return [note.path for note in self.of(kind)]


@dataclass
class World:
    """What a test needs to watch `folder`."""

    settings: Settings
    records: Records
    sender: S3Sender
    folder: Path
    s3: S3Client
    bucket: str
    state: Path
    asked_if_open: list[str]
    notes: Notes = field(default_factory=Notes)
    _running: list[Callable[[], object]] = field(default_factory=list)

    def rule(self, **settings: Any) -> WatchRule:
        return WatchRule(**{"folder": self.folder, **QUICK, **settings})

    def watch(self, *rules: WatchRule, host: str = HOST, holder: str = "one") -> WatchService:
        """A service that watches, without a runner."""
        service = WatchService(
            self.records,
            self.sender,
            self.settings.s3,
            self.settings.transfer,
            host=host,
            holder=holder,
            notify=self.notes,
        )
        self._running.append(service.stop)
        service.start(rules or (self.rule(),))
        return service

    def run(self, host: str = HOST) -> Runner:
        """A runner that sends what was queued."""
        runner = Runner(
            self.records,
            self.sender,
            Limits.of(self.settings.transfer),
            kind="watch",
            identity=RunnerIdentity(host, self.state),
        )
        self._running.append(runner.stop)
        runner.start()
        return runner

    def documents(self, **wanted: Any) -> list[dict[str, Any]]:
        return list(self.records.uploads.collection.find(wanted).sort("_id", 1))

    def completed(self, count: int) -> list[dict[str, Any]]:
        """The completed documents, once there are so many."""
        return until(lambda: found if len(found := self.documents(status="completed")) >= count else None)

    def scanned(self, *services: WatchService) -> None:
        """Return when each of their folders was looked at from beginning to end."""
        until(lambda: all(watcher.counters.scans for service in services for watcher in service.watchers()))

    def settle(self, service: WatchService) -> None:
        """Return when everything was looked at once more, from beginning to end, and all that came of it was done."""
        (watcher,) = service.watchers()
        for _ in range(2):  # the look that ends first may have begun before this
            scans = watcher.counters.scans
            watcher.look_again()
            until(lambda scans=scans: watcher.counters.scans > scans and not len(watcher.pending))

    def body(self, key: str) -> bytes:
        return self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read()

    def write(self, name: str, content: bytes | str = b"content", *, age_seconds: float = 0) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        if age_seconds:
            status = path.stat()
            moment = status.st_mtime_ns - int(age_seconds * 1e9)
            os.utime(path, ns=(moment, moment))
        return path

    def pass_time(self, seconds: float) -> None:
        """Let real time pass between two writes: what is tested is that it makes no difference."""
        threading.Event().wait(seconds)

    def block(
        self, monkeypatch: pytest.MonkeyPatch, owner: type, method: str, otherwise: Callable[[], object]
    ) -> threading.Event:
        """Let a method only give `otherwise()` until the event is set."""
        opened = threading.Event()
        real = getattr(owner, method)

        def blocked(self: object, *arguments: Any) -> object:
            if opened.is_set():
                return real(self, *arguments)
            opened.wait(0.05)
            return otherwise()

        monkeypatch.setattr(owner, method, blocked)
        return opened

    def close(self) -> None:
        for stop in reversed(self._running):
            stop()


@pytest.fixture
def environment(services: EmbeddedServices, database: Database[dict[str, Any]], bucket: str) -> dict[str, str]:
    """Where the test's servers are."""
    return {
        "UPLOAD_CONSOLE_MONGODB__URI": services.mongodb_uri,
        "UPLOAD_CONSOLE_MONGODB__DATABASE": database.name,
        "UPLOAD_CONSOLE_S3__ENDPOINT_URL": services.s3_endpoint,
        "UPLOAD_CONSOLE_S3__BUCKET": bucket,
    }


@pytest.fixture
def asked_if_open(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Of which files it was asked whether somebody has them open."""
    asked: list[str] = []
    real = OpenFiles.is_open_for_writing

    def is_open(self: OpenFiles, path: str) -> bool:
        asked.append(path)
        return real(self, path)

    monkeypatch.setattr(OpenFiles, "is_open_for_writing", is_open)
    return asked


@pytest.fixture
def world(
    environment: dict[str, str],
    tmp_path: Path,
    s3: S3Client,
    bucket: str,
    asked_if_open: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[World]:
    # What is noticed within seconds is noticed at once.
    monkeypatch.setattr(service_module, "HEARTBEAT_SECONDS", 0.2)
    monkeypatch.setattr(watcher_module, "_SEE_FOLDER_SECONDS", 0.2)
    monkeypatch.setattr(watcher_module, "_RETRY_SECONDS", 0.2)
    settings = load(None, environment, {})
    folder = tmp_path / "in"
    folder.mkdir()
    with Records.open(settings.mongodb) as records, S3Sender(settings.s3, settings.transfer) as sender:
        world = World(settings, records, sender, folder, s3, bucket, tmp_path / "state", asked_if_open)
        yield world
        world.close()
