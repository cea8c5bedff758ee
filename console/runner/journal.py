"""How a runner follows one transfer and stops it: the `Journal` and the `Control` that it hands to `transfer`.

Bytes go to the coalesced counters; what must be known before the transfer goes on (a multipart upload id, another
key) is written at once.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYetWritten
from contextlib import suppress
from datetime import UTC, datetime
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, Final, TypeVar

from bson import Int64, ObjectId
from pymongo.errors import PyMongoError

from console.formatting import visible
from console.models import Multipart, Upload, UploadStatus, stored_ns
from console.records.connection import describe_error
from console.records.seals import Seals
from console.records.transitions import NOW, Fields, completed, failure, literal, multipart_closed, multipart_opened
from console.records.writer import Progress, RecordWriter
from console.runner.key_claims import KeyClaims
from console.s3.control import Journal
from console.s3.transfer_errors import Stopped

if TYPE_CHECKING:
    from console.models import FileState
    from console.transfer.job import Confirmation


class StopReason(Enum):
    """Why a transfer must stop. A later reason does not replace one that weighs more (LOST, then LEAVING)."""

    REQUESTED = auto()
    LEAVING = auto()
    LOST = auto()


class StopOrdered(Stopped):
    """Raised in the transfer's threads once it must stop."""

    def __init__(self, reason: StopReason) -> None:
        super().__init__(reason.name.lower())
        self.reason = reason


class TransferControl:
    """A `Control` that anybody may stop, once. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._reason: StopReason | None = None
        self._stopped: threading.Event | None = None  # where somebody waits: most small files never do

    @property
    def reason(self) -> StopReason | None:
        return self._reason

    def stop(self, reason: StopReason) -> None:
        """Let `check` and `wait` raise from now on."""
        with self._lock:
            if self._reason is None or reason.value > self._reason.value:
                self._reason = reason
            if self._stopped is not None:
                self._stopped.set()

    def check(self) -> None:
        """Raises `StopOrdered` when it must stop."""
        if self._reason is not None:
            raise StopOrdered(self._reason)

    def wait(self, seconds: float) -> None:
        """Sleep; raises `StopOrdered` at once when it must stop."""
        with self._lock:
            if self._stopped is None:
                self._stopped = threading.Event()
            stopped = self._stopped
        self.check()
        stopped.wait(max(0.0, seconds))
        self.check()


T = TypeVar("T")

_log = logging.getLogger(__name__)

_LOOK_AGAIN_SECONDS: Final = 0.5
_PATIENCE_SECONDS: Final = 10.0
"""So long is asked whose an upload is before it is completed without an answer: MongoDB may be away for hours."""


class RecordJournal(Journal):
    """Keeps one upload's document up to date while it is sent. Thread-safe.

    `upload` is the document as this claim left it, without what other runners write. Where this user asked for it,
    `is_own`, its seal (`records.seals`) is renewed with what that covers.
    """

    def __init__(
        self,
        upload: Upload,
        writer: RecordWriter,
        progress: Progress,
        control: TransferControl,
        claims: KeyClaims,
        seals: Seals | None = None,
        *,
        is_own: bool = True,
    ) -> None:
        self._claims = claims
        self._waits_for: ObjectId | None = None
        self._writer = writer
        self._progress = progress
        self._control = control
        self._seals = seals or Seals.of_this_user()
        self.is_own = is_own
        self.upload = upload

    def multipart_opened(self, multipart: Multipart) -> None:
        """In the document before the first part is sent, so that a crash leaves nothing unknown in the bucket."""
        sealed = self._seals.multipart(self.upload, multipart)
        self.upload = self.upload.model_copy(update={"multipart": sealed})
        self._write_durably(multipart_opened(sealed))

    def multipart_closed(self) -> None:
        self.upload = self.upload.model_copy(update={"multipart": None})
        self._progress.confirmed(0)
        self._write_durably(multipart_closed())

    def completing(self) -> None:
        """Where the lease has run out (MongoDB was away, the process stopped) another runner may be about to complete
        the same multipart upload. Not every server bears two at once: `rclone serve s3` can lose the object."""
        self._make_sure_ours(_PATIENCE_SECONDS)

    def aborting(self) -> None:
        """For the same reason. But what is dropped may be what another runner goes on with: no answer is no leave."""
        self._make_sure_ours(math.inf)

    def _make_sure_ours(self, patience: float) -> None:
        """Renew a lease that has run out. Raises `StopOrdered` where the upload is another runner's by now; returns
        also where there was no answer within `patience` seconds."""
        renewed = self._writer.renew_if_over(self.upload.id)
        if renewed is None:
            return
        until = time.monotonic() + patience
        while time.monotonic() < until:
            self._control.check()
            with suppress(NotYetWritten):
                if not renewed.result(_LOOK_AGAIN_SECONDS):
                    raise StopOrdered(StopReason.LOST)
                return

    def confirmed(self, total_bytes: int) -> None:
        self._progress.confirmed(total_bytes)

    def sent(self, byte_count: int) -> None:
        self._progress.sent(byte_count)

    def staged(self, size: int) -> None:
        self._progress.staged(size)

    def noted(self, code: str, message: str) -> None:
        """Seen in the document, and in its events, as the last thing that went wrong."""
        self._writer.write(self.upload.id, failure(code, message))

    def file_changed(self, state: FileState) -> None:
        self._progress.resized(state.size)
        changed = {"size": state.size, "mtime_ns": stored_ns(state.mtime_ns), "fingerprint": state.fingerprint}
        fields = {
            "size": Int64(state.size),
            "mtime_ns": Int64(stored_ns(state.mtime_ns)),
            "fingerprint": literal(state.fingerprint),
        }
        self._write_durably({**fields, **self._resealed(changed), "updated_at": NOW})

    def key_chosen(self, key: str) -> None:
        self._write_durably({"key": literal(key), **self._resealed({"key": key}), "updated_at": NOW})

    def completed(self, sent: Confirmation) -> tuple[Upload, Fields]:
        """The upload as its document will be, its times by the clock of this host, and what is written for that."""
        now = datetime.now(UTC)
        told: dict[str, Any] = {
            "key": sent.key,
            "checksum": sent.checksum,
            "etag": sent.etag,
            "version_id": sent.version_id,
        }
        upload = self.upload.model_copy(
            update={
                **told,
                "status": UploadStatus.COMPLETED,
                "error": None,
                "lease": None,
                "multipart": None,
                "rate": 0.0,
                "current": self.upload.size,
                "percentage": 100.0,
                "finished_at": now,
                "updated_at": now,
            }
        )
        return upload, completed(**told, result_seal=self._seals.result(upload, was_found=not sent.made))

    def _resealed(self, changed: Mapping[str, Any]) -> Fields:
        self.upload = self.upload.model_copy(update=dict(changed))
        if not self.is_own:
            return {}
        seal = self._seals.request(self.upload)
        self.upload = self.upload.model_copy(update={"seal": seal})
        return {"seal": literal(seal)}

    def take_key(self, key: str) -> bool:
        """Asks MongoDB, unless the lease has never been out since the upload got the key, and waits for it where it is
        away. For whom the upload waits is noted once."""
        if self._claims.has(self.upload, key) and self._writer.has_lease(self.upload.id):
            return True
        holder = self._asked(lambda: self._claims.take(self.upload, key))
        if holder is None:
            self.upload = self._claims.having(self.upload, key)
            return True
        if holder.id != self._waits_for:
            self._waits_for = holder.id
            self.noted(
                "KeyInUse",
                f"{visible(holder.destination)} is being written by upload {holder.id} "
                f"({visible(holder.path)} of {visible(holder.host)}): waits for its end",
            )
        return False

    def other_file(self, key: str) -> Upload | None:
        """Known for uploads of watches: a person who names a file means it."""
        return self._asked(lambda: self._claims.other_file(self.upload, key))

    def _asked(self, question: Callable[[], T]) -> T:
        """Without an answer nothing is written: it may be another file's only copy."""
        while True:
            try:
                return question()
            except PyMongoError as error:
                _log.info("upload %s waits for MongoDB: %s", self.upload.id, describe_error(error))
                self._control.wait(_LOOK_AGAIN_SECONDS)

    def _write_durably(self, fields: Fields) -> None:
        """Wait for the write, also through an outage of MongoDB, but not when the transfer must stop."""
        outcome: Future[bool] = self._writer.write(self.upload.id, fields)
        while True:
            try:
                is_ours = outcome.result(_LOOK_AGAIN_SECONDS)
            except NotYetWritten:
                self._control.check()
                continue
            if not is_ours:
                raise StopOrdered(StopReason.LOST)
            return
