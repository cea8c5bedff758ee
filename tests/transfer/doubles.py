"""What the tests of transfers share: a control, a journal that remembers, and documents of files just added."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bson import ObjectId

from console.models import FileState, Multipart, Requested, Source, Upload, UploadStatus
from console.s3.engines.source import file_state
from console.s3.retry import RetryPolicy
from console.s3.transfer_errors import Stopped
from console.transfer.job import Confirmation, SendOptions
from console.transfer.send import send
from console.transfer.transport import Transport

MIB = 1024 * 1024
SMALL, LARGE = 70_000, 6 * MIB
"""One request; two parts."""
QUICK = RetryPolicy(retries=4, first_wait_seconds=0.001, longest_wait_seconds=0.01)


class Commands:
    """A `Control` that stops when told, or once `after_bytes` have been sent."""

    def __init__(self, after_bytes: int | None = None) -> None:
        self.after_bytes = after_bytes
        self._stop = threading.Event()

    def stop(self) -> None:
        self._stop.set()

    def check(self) -> None:
        if self._stop.is_set():
            raise Stopped

    def wait(self, seconds: float) -> None:
        if self._stop.wait(seconds):
            raise Stopped


@dataclass
class Notes:
    """A `Journal` that remembers; stops `commands` at its threshold."""

    commands: Commands = field(default_factory=Commands)
    opened: list[Multipart] = field(default_factory=list)
    closed: int = 0
    totals: list[int] = field(default_factory=list)
    net_sent: int = 0
    codes: list[str] = field(default_factory=list)
    states: list[FileState] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    is_taken_over: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def multipart_opened(self, multipart: Multipart) -> None:
        self.opened.append(multipart)

    def multipart_closed(self) -> None:
        self.closed += 1

    def completing(self) -> None:
        if self.is_taken_over:
            raise Stopped

    def aborting(self) -> None:
        self.completing()

    def confirmed(self, total_bytes: int) -> None:
        self.totals.append(total_bytes)

    def sent(self, byte_count: int) -> None:
        with self._lock:
            self.net_sent += byte_count
        if self.commands.after_bytes is not None and self.net_sent >= self.commands.after_bytes:
            self.commands.stop()

    def noted(self, code: str, message: str) -> None:
        self.codes.append(code)

    def staged(self, size: int) -> None:
        pass

    def file_changed(self, state: FileState) -> None:
        self.states.append(state)

    def key_chosen(self, key: str) -> None:
        self.keys.append(key)

    def take_key(self, key: str) -> bool:
        return True

    def other_file(self, key: str) -> Upload | None:
        return None


MakeFile = Callable[..., Path]


def an_upload(path: Path, bucket: str, key: str | None = None, **fields: Any) -> Upload:
    """The document of a file that was just added."""
    state = file_state(str(path))
    now = datetime.now(UTC)
    values: dict[str, Any] = {
        "_id": ObjectId(),
        "filename": path.name,
        "path": str(path),
        "host": "here",
        "size": state.size,
        "mtime_ns": state.mtime_ns,
        "fingerprint": state.fingerprint,
        "content_type": "application/octet-stream",
        "bucket": bucket,
        "key": key if key is not None else path.name,
        "source": Source.COMMAND,
        "status": UploadStatus.PENDING,
        "requested": Requested.RUN,
        "created_at": now,
        "updated_at": now,
    }
    return Upload.model_validate(values | fields)


def options(**values: Any) -> SendOptions:
    """5 MiB parts from 5 MiB on, and retries without long waits."""
    return SendOptions(**({"part_size": 5 * MIB, "multipart_threshold": 5 * MIB, "retry": QUICK} | values))


def sent(upload: Upload, transport: Transport, notes: Notes | None = None, **values: object) -> Confirmation:
    """Sent with `options` of these values."""
    return send(upload, transport=transport, options=options(**values), journal=notes or Notes(), control=Commands())
