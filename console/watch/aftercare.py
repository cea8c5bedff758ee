"""What becomes of a file once its upload is completed: kept, moved away, or deleted.

Owns the conditions, and a thread of its own, since a move may copy and a deletion reads the whole file again. Nothing
happens before the record says completed, with a checksum; a deletion compares file and object once more. What is to be
done follows from records and files alone: whatever is interrupted or fails is found again by the next scan.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Protocol

from bson import ObjectId
from pymongo.errors import PyMongoError

from console.errors import ConsoleError
from console.formatting import visible
from console.models import Endpoint, Upload, UploadStatus
from console.records.connection import words
from console.transfer.errors import TransferError
from console.transfer.refusal import Refusal
from console.transfer.verify import Comparison
from console.watch.at_rest import Found
from console.watch.destination import Destination
from console.watch.moving import move
from console.watch.notes import Kind, Listener, Note
from console.watch.open_files import OpenFiles
from console.watch.rules import WatchRule
from console.watch.sent import Record, SentFiles

_MOST_WAITING: Final = 10_000

_log = logging.getLogger(__name__)


class Verifier(Protocol):
    """What deleting asks of S3; `transfer.sender.S3Sender` is one."""

    @property
    def endpoint(self) -> Endpoint:
        """Which S3 service that is."""
        ...

    def verify(self, upload: Upload) -> Comparison:
        """Compare file and object as both are now. Raises `TransferError`."""
        ...


class Aftercare:
    """Carries out `after` for the sent files of one rule."""

    def __init__(
        self,
        rule: WatchRule,
        destination: Destination,
        sent: SentFiles,
        verifier: Verifier,
        *,
        tell: Listener,
        trouble: Callable[[str], None],
    ) -> None:
        self._rule = rule
        self._destination = destination
        self._sent = sent
        self._verifier = verifier
        self._tell = tell
        self._trouble = trouble
        self._open_files = OpenFiles()
        self._waiting: queue.Queue[ObjectId | None] = queue.Queue(_MOST_WAITING)
        self._known: set[ObjectId] = set()
        self._idle = threading.Condition()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"aftercare-{rule.title}", daemon=True)

    @property
    def is_needed(self) -> bool:
        """Whether sent files are not simply kept."""
        return self._rule.after != "keep"

    def start(self) -> None:
        """Begin."""
        if self.is_needed:
            self._thread.start()

    def submit(self, upload_id: ObjectId) -> None:
        """The upload is completed and its file may still be there. Where too many wait, the next scan tells again."""
        with self._idle:
            if not self.is_needed or upload_id in self._known:
                return
            with suppress(queue.Full):
                self._waiting.put_nowait(upload_id)
                self._known.add(upload_id)

    def wait_idle(self, timeout: float) -> bool:
        """Wait until nothing is waiting; False if that took longer."""
        with self._idle:
            return self._idle.wait_for(lambda: not self._known, timeout)

    def close(self, timeout: float) -> None:
        """End after the file that is at hand."""
        self._closing.set()
        with suppress(queue.Full):
            self._waiting.put_nowait(None)
        if self._thread.is_alive():
            self._thread.join(timeout)

    def _run(self) -> None:
        while not self._closing.is_set():
            upload_id = self._waiting.get()
            if upload_id is None:
                continue
            try:
                self._care_for(upload_id)
            except PyMongoError as error:
                self._trouble(f"MongoDB: {words(error)}")
            except Exception as error:  # noqa: BLE001 - one file must not end the care for the others
                _log.exception("after the upload %s", upload_id)
                self._trouble(f"{type(error).__name__}: {visible(str(error))}")
            finally:
                with self._idle:
                    self._known.discard(upload_id)
                    self._idle.notify_all()

    def _care_for(self, upload_id: ObjectId) -> None:
        upload = self._sent.upload(upload_id)
        if upload is None or upload.status is not UploadStatus.COMPLETED or upload.watch is None:
            return
        if not is_as_sent(upload):
            return
        if upload.checksum is None or not upload.checksum.is_confirmed:
            self._fail(upload, "stays where it is: S3 confirmed no checksum for it")
        elif self._open_files.is_open_for_writing(upload.os_path):
            self._fail(upload, "stays where it is for now: a process has it open for writing")
        elif self._is_outdated(upload):
            return
        elif self._rule.after == "move":
            self._move(upload)
        else:
            self._delete(upload)

    def _is_outdated(self, upload: Upload) -> bool:
        """There is a later upload of the file: that one decides."""
        newest = self._sent.newest([upload.os_path]).get(upload.os_path)
        return newest is None or newest.id != upload.id

    def _move(self, upload: Upload) -> None:
        target = os.path.join(str(self._rule.move_to), self._relative(upload.os_path))  # noqa: PTH118
        try:
            if not is_as_sent(upload):  # MongoDB was asked meanwhile, which may take seconds
                return
            place = move(upload.os_path, target, size=upload.size, mtime_ns=upload.mtime_ns)
        except OSError as error:
            self._fail(upload, f"cannot be moved to {visible(str(self._rule.move_to))}: {error.strerror or error}")
            return
        self._remove_marker(upload.os_path)
        self._tell(Note(Kind.MOVED, self._rule.title, upload.os_path, f"to {visible(place)}", upload_id=str(upload.id)))
        self._follow(upload, place)

    def _follow(self, upload: Upload, place: str) -> None:
        """The record names the file where it is now, so that a later one of the former name is a new one."""
        status = os.stat(place)  # noqa: PTH116
        identity = (status.st_dev, status.st_ino)
        found = Found(place, self._relative(upload.os_path), status.st_size, status.st_mtime_ns, 0, identity)
        moved = self._destination.upload(found)
        record = _record(upload)
        if not isinstance(moved, Refusal) and record is not None:
            self._sent.follow(record, self._destination.claimed(moved, str(upload.id)))

    def _delete(self, upload: Upload) -> None:
        try:
            comparison = self._verifier.verify(upload)
        except (TransferError, ConsoleError) as error:
            self._fail(upload, f"is not deleted: {error.message}")
            return
        if comparison.same is not True:
            self._fail(upload, f"is not deleted: {comparison.words}")
            return
        try:
            if not is_as_sent(upload):
                return
            os.unlink(upload.os_path)  # noqa: PTH108
        except OSError as error:
            self._fail(upload, f"cannot be deleted: {error.strerror or error}")
            return
        self._remove_marker(upload.os_path)
        self._tell(Note(Kind.DELETED, self._rule.title, upload.os_path, comparison.words, upload_id=str(upload.id)))

    def _relative(self, path: str) -> str:
        return os.path.relpath(path, str(self._rule.folder))

    def _remove_marker(self, path: str) -> None:
        if self._rule.complete_when == "marked":
            with suppress(OSError):
                os.unlink(path + self._rule.marker_suffix)  # noqa: PTH108

    def _fail(self, upload: Upload, problem: str) -> None:
        self._trouble(f"{visible(upload.path)} {problem}")


def is_as_sent(upload: Upload) -> bool:
    """Whether the upload's file is there and as it was when it was sent, by size and time, and no link."""
    try:
        status = os.lstat(upload.os_path)
    except OSError:
        return False
    return (status.st_size, status.st_mtime_ns) == (upload.size, upload.mtime_ns)


def _record(upload: Upload) -> Record | None:
    return Record.read(upload.model_dump(by_alias=True))
