"""What becomes of a file once its upload is completed: kept, moved away, or deleted.

Owns the conditions, and a thread of its own, since the whole file is read again, and a move may copy it. Nothing
happens before the record says completed, with a checksum, and before file and object were compared once more; files
are reached below the watched folder through no link. What is to be done follows from records and files alone: whatever
is interrupted or fails is found again by the next scan.
"""

from __future__ import annotations

import errno
import logging
import os
import queue
import stat
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from bson import ObjectId
from pymongo.errors import PyMongoError

from console.errors import ConsoleError
from console.files.beneath import is_below, parent_of, relative_to, status_of
from console.formatting import visible
from console.models import Upload, UploadStatus
from console.records.connection import words
from console.transfer.errors import TransferError
from console.watch.destination import Destination
from console.watch.judging import Verifier
from console.watch.moving import move, size_and_time
from console.watch.notes import Kind, Listener, Note
from console.watch.open_files import OpenFiles
from console.watch.rules import WatchRule
from console.watch.sent import SentFiles

_MOST_WAITING: Final = 10_000

_log = logging.getLogger(__name__)


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
        self._folder = str(rule.folder)
        self._sent_folder = _folder_for_sent(rule)
        self._open_files = OpenFiles(self._folder)
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
        before = self._as_sent(upload)
        if before is None:
            return
        if upload.checksum is None or not upload.checksum.is_confirmed:
            self._fail(upload, "stays where it is: S3 confirmed no checksum for it")
        elif not self._is_of_this_rule(upload):
            self._fail(upload, "stays where it is: its record is none of this watch's, whatever it says")
        elif not self._is_proven(upload):
            self._fail(upload, "stays where it is: nothing shows that the object its record names is this file's")
        elif self._open_files.is_open_for_writing(upload.os_path):
            self._fail(upload, "stays where it is for now: a process has it open for writing")
        elif not self._is_outdated(upload):
            self._remove(upload, before)

    def _as_sent(self, upload: Upload) -> os.stat_result | None:
        """The status of the upload's file, if it is there below the watched folder, and as it was sent."""
        try:
            status = status_of(upload.os_path, self._folder)
        except OSError as error:
            if error.errno == errno.EXDEV:  # whoever wrote that record does not decide about files elsewhere
                self._fail(upload, f"is left alone: it is not below {visible(self._folder)}")
            elif error.errno == errno.ELOOP:
                self._fail(upload, f"is left alone: it {error.strerror}")
            return None
        is_same = size_and_time(status) == (upload.size, upload.mtime_ns) and stat.S_ISREG(status.st_mode)
        return status if is_same else None

    def _is_of_this_rule(self, upload: Upload) -> bool:
        """Anybody may write a record with a watch in it: the rule is asked, not the record."""
        watched, here = upload.watch, self._destination
        named = (watched.rule, watched.scope) if watched is not None else ()
        return named == (self._rule.title, here.scope) and upload.bucket == here.bucket

    def _is_proven(self, upload: Upload) -> bool:
        """Whether S3 has the file: one of this user's processes saw that confirmed, or, where another user's or host's
        sent it, the object bears the upload's mark and holds what the file holds now."""
        if self._sent.is_confirmed(upload):
            return True
        try:
            return self._verifier.made(upload) and self._verifier.verify(upload).same is True
        except (TransferError, ConsoleError) as error:
            self._trouble(f"{visible(upload.path)}: {error.message}")
            return False

    def _is_outdated(self, upload: Upload) -> bool:
        """There is a later upload of the file: that one decides."""
        newest = self._sent.newest([upload.os_path]).get(upload.os_path)
        return newest is None or newest.id != upload.id

    def _remove(self, upload: Upload, before: os.stat_result) -> None:
        """Move or delete the file, if its object is there, under the record's key, with the content of the file."""
        how = "deleted" if self._rule.after == "delete" else "moved"
        try:
            comparison = self._verifier.verify(upload)
        except (TransferError, ConsoleError) as error:
            self._fail(upload, f"is not {how}: {error.message}")
            return
        # Where nothing but the size can be compared later, what S3 confirmed when it was sent is enough for a move.
        if comparison.same is False or (comparison.same is None and how == "deleted"):
            self._fail(upload, f"is not {how}: {comparison.words}")
            return
        try:
            if how == "deleted":
                self._delete(upload, before, comparison.words)
            else:
                self._move(upload, before)
        except FileNotFoundError:  # somebody else was faster
            return
        except OSError as error:
            where = f" to {visible(str(self._rule.move_to))}" if how == "moved" else ""
            self._fail(upload, f"cannot be {how}{where}: {error.strerror or error}")

    def _move(self, upload: Upload, before: os.stat_result) -> None:
        inner = relative_to(upload.os_path, self._folder)
        after = self._as_sent(upload)
        if after is None or not _is_same_file(before, after):
            return
        name = move(
            upload.os_path,
            f"{self._sent_folder}/{inner}",
            below=self._folder,
            into="/",
            size=upload.size,
            mtime_ns=upload.mtime_ns,
        )
        place = os.path.join(str(self._rule.move_to), os.path.dirname(inner), name)  # noqa: PTH118, PTH120
        self._remove_marker(upload.os_path)
        self._tell(Note(Kind.MOVED, self._rule.title, upload.os_path, f"to {visible(place)}", upload_id=str(upload.id)))
        self._follow(upload, place)

    def _follow(self, upload: Upload, place: str) -> None:
        """The record names the file where it is now, so that a later one of the former name is a new one."""
        with suppress(FileNotFoundError):  # somebody has taken it away already
            self._sent.moved(upload, self._destination.moved(upload, place))

    def _delete(self, upload: Upload, before: os.stat_result, words: str) -> None:
        with parent_of(upload.os_path, self._folder) as (folder, name):
            after = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if not _is_same_file(before, after):
                return  # the next scan sees what it is now
            os.unlink(name, dir_fd=folder)
        self._remove_marker(upload.os_path)
        self._tell(Note(Kind.DELETED, self._rule.title, upload.os_path, words, upload_id=str(upload.id)))

    def _remove_marker(self, path: str) -> None:
        if self._rule.complete_when == "marked":
            with suppress(OSError), parent_of(path + self._rule.marker_suffix, self._folder) as (folder, name):
                os.unlink(name, dir_fd=folder)

    def _fail(self, upload: Upload, problem: str) -> None:
        self._trouble(f"{visible(upload.path)} {problem}")


def _is_same_file(one: os.stat_result, other: os.stat_result) -> bool:
    """Whether nobody has touched or replaced it in between."""
    return all(
        getattr(one, name) == getattr(other, name)
        for name in ("st_dev", "st_ino", "st_size", "st_mtime_ns", "st_ctime_ns")
    )


def _folder_for_sent(rule: WatchRule) -> str:
    """The path of `move_to` as it is reached from the root through no link. Links above it, and above the watched
    folder, are those of whoever wrote the rule: they are resolved now, once.
    """
    if rule.move_to is None:
        return ""
    folder, target = str(rule.folder), str(rule.move_to)
    if is_below(target, folder):
        return f"{os.path.realpath(folder).rstrip('/')}/{relative_to(target, folder)}"
    above, _, name = target.rpartition("/")
    return f"{os.path.realpath(above or '/').rstrip('/')}/{name}"
