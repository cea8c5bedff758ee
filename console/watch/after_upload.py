"""What becomes of a file once its upload is completed: it is kept, moved away or deleted.

Nothing happens before the record says completed, with a checksum, and before file and object were compared once more.
Files are reached below the watched folder through no link (`files.beneath`), and nothing is overwritten by a move.
What is to be done follows from records and files alone: what is interrupted or fails is found again by the next scan.
"""

from __future__ import annotations

import errno
import logging
import os
import queue
import secrets
import shutil
import stat
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Final, NoReturn

from bson import ObjectId
from pymongo.errors import PyMongoError

from console.errors import ConsoleError
from console.files.beneath import is_below, parent_of, relative_to, status_of
from console.files.naming import numbered
from console.formatting import visible
from console.models import Upload, UploadStatus, stored_ns
from console.records.connection import describe_error
from console.records.watched_files import SentFiles
from console.s3.transfer_errors import TransferError
from console.settings.watch_rules import WatchRule
from console.transfer.sender import S3Sender
from console.watch.completeness import OpenFiles
from console.watch.decisions import Destination
from console.watch.reporting import Listener, Note, NoteKind

_MOST_NAMES: Final = 10_000
_COPY_CHUNK: Final = 1024 * 1024
_REPLACED: Final = "another file is in its place by now"
_TO_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_TO_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def move(source: str, target: str, *, below: str, into: str, size: int, mtime_ns: int) -> str:
    """Move a file to `target`, or to a numbered name where that is taken; gives the name that it has now.

    No link is followed below the folder `below` on the one side and `into` on the other; what is missing of the
    target's folders is created. Across file systems it is copied, forced to the disk and compared in size before the
    source goes; where the disk is full nothing is left at the target, and the source stays.
    `size` in bytes and `mtime_ns` (as a document has it) are those of the file that is meant: one that took its place
    meanwhile stays, or is put back, under a numbered name if there is yet another.

    Raises:
        OSError: it could not be moved, or was written to or replaced meanwhile. The source is where it was.
    """
    with parent_of(target, into, make=True) as there, parent_of(source, below) as here:
        wanted = (size, mtime_ns)
        place = (there[0], _reserved(*there))
        is_moved = False
        try:
            try:
                _replace(here, place)  # over the empty file that was reserved
                is_moved = True
            except OSError as error:
                if error.errno != errno.EXDEV:
                    raise
                _copy_over(here, place, wanted)
        except BaseException:
            with suppress(OSError):
                _unlink(place)
            raise
        if is_moved and size_and_time(_status(place)) != wanted:
            _put_back(place, here, source, target)
        return place[1]


def size_and_time(status: os.stat_result) -> tuple[int, int]:
    """Of a file, as its document has them."""
    return status.st_size, stored_ns(status.st_mtime_ns)


_Place = tuple[int, str]
"""A folder's descriptor, and a name in it."""


def _put_back(place: _Place, here: _Place, source: str, target: str) -> NoReturn:
    """What was moved is another file than was meant, and the only one of its kind: whatever happens, it is not removed.

    Raises:
        OSError: always; it says where the file is.
    """
    try:
        back = (here[0], _reserved(*here))
        try:
            _replace(place, back)
        except BaseException:
            _unlink(back)
            raise
    except OSError as error:
        moved = f"{target.rpartition('/')[0]}/{place[1]}"
        where = f"{_REPLACED}, and was moved to {visible(moved)}: {error.strerror or error}"
        raise OSError(errno.EBUSY, where, source) from error
    raise OSError(errno.EBUSY, _REPLACED, source)


def _reserved(folder: int, name: str) -> str:
    """The name, or a numbered one, of an empty file that is ours."""
    for number in range(1, _MOST_NAMES + 1):
        with suppress(FileExistsError):
            os.close(os.open(numbered(name, number), _TO_CREATE, 0o600, dir_fd=folder))
            return numbered(name, number)
    raise FileExistsError(errno.EEXIST, f"{_MOST_NAMES} files of that name are there already", name)


def _copy_over(here: _Place, place: _Place, wanted: tuple[int, int]) -> None:
    temporary = (place[0], f".{secrets.token_hex(6)}.part")
    try:
        with (
            open(os.open(here[1], _TO_READ, dir_fd=here[0]), "rb") as reader,  # noqa: PTH123
            open(os.open(temporary[1], _TO_CREATE, 0o600, dir_fd=temporary[0]), "wb") as writer,  # noqa: PTH123
        ):
            before = os.fstat(reader.fileno())
            if size_and_time(before) != wanted:
                raise OSError(errno.EBUSY, _REPLACED, here[1])
            shutil.copyfileobj(reader, writer, _COPY_CHUNK)
            writer.flush()
            os.fsync(writer.fileno())
            # It takes descriptors, as all the functions do that it calls.
            shutil.copystat(reader.fileno(), writer.fileno())  # type: ignore[arg-type]
            after = _status(here)
            if _state(before) != _state(after) or os.fstat(writer.fileno()).st_size != before.st_size:
                raise OSError(errno.EBUSY, "the file was written to while it was being moved", here[1])
        _replace(temporary, place)
        _unlink(here)
    except BaseException:
        with suppress(OSError):
            _unlink(temporary)
        raise


def _replace(source: _Place, target: _Place) -> None:
    os.replace(source[1], target[1], src_dir_fd=source[0], dst_dir_fd=target[0])


def _unlink(place: _Place) -> None:
    os.unlink(place[1], dir_fd=place[0])


def _status(place: _Place) -> os.stat_result:
    return os.stat(place[1], dir_fd=place[0], follow_symlinks=False)


def _state(status: os.stat_result) -> tuple[int, int, int, int]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


_MOST_WAITING: Final = 10_000

_log = logging.getLogger(__name__)


class AfterUpload:
    """Carries out `after` for the sent files of one rule."""

    def __init__(
        self,
        rule: WatchRule,
        destination: Destination,
        sent: SentFiles,
        verifier: S3Sender,
        *,
        notify: Listener,
        problem: Callable[[str], None],
    ) -> None:
        self._rule = rule
        self._destination = destination
        self._sent = sent
        self._verifier = verifier
        self._notify = notify
        self._problem = problem
        self._folder = str(rule.folder)
        self._sent_folder = _folder_for_sent(rule)
        self._open_files = OpenFiles(self._folder)
        self._waiting: queue.Queue[ObjectId | None] = queue.Queue(_MOST_WAITING)
        self._known: set[ObjectId] = set()
        self._idle = threading.Condition()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"after_upload-{rule.title}", daemon=True)

    @property
    def is_needed(self) -> bool:
        """Whether sent files are not simply kept."""
        return self._rule.after != "keep"

    def start(self) -> None:
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
                self._problem(f"MongoDB: {describe_error(error)}")
            except Exception as error:  # noqa: BLE001 - one file must not end the care for the others
                _log.exception("after the upload %s", upload_id)
                self._problem(f"{type(error).__name__}: {visible(str(error))}")
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
            self._fail(upload, "stays where it is: nothing shows that this watch recorded it, and S3 has it")
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
        """Whether a watch of this user recorded the file, and S3 has it: one of this user's processes saw that
        confirmed, or, where another user's sent it, the object bears the upload's mark and holds what the file holds.

        What others recorded below the folder no rule has judged.
        """
        if not self._sent.is_own(upload):
            return False
        if self._sent.is_confirmed(upload):
            return True
        try:
            return self._verifier.made(upload) and self._verifier.verify(upload).same is True
        except (TransferError, ConsoleError) as error:
            self._problem(f"{visible(upload.path)}: {error.message}")
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
            self._fail(upload, f"is not {how}: {comparison.message}")
            return
        try:
            if how == "deleted":
                self._delete(upload, before, comparison.message)
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
        self._notify(
            Note(NoteKind.MOVED, self._rule.title, upload.os_path, f"to {visible(place)}", upload_id=str(upload.id))
        )
        self._follow(upload, place)

    def _follow(self, upload: Upload, place: str) -> None:
        """The record names the file where it is now, so that a later one of the former name is a new one."""
        with suppress(FileNotFoundError):  # somebody has taken it away already
            self._sent.moved(upload, self._destination.moved(upload, place))

    def _delete(self, upload: Upload, before: os.stat_result, message: str) -> None:
        with parent_of(upload.os_path, self._folder) as (folder, name):
            after = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if not _is_same_file(before, after):
                return  # the next scan sees what it is now
            os.unlink(name, dir_fd=folder)
        self._remove_marker(upload.os_path)
        self._notify(Note(NoteKind.DELETED, self._rule.title, upload.os_path, message, upload_id=str(upload.id)))

    def _remove_marker(self, path: str) -> None:
        if self._rule.complete_when == "marked":
            with suppress(OSError), parent_of(path + self._rule.marker_suffix, self._folder) as (folder, name):
                os.unlink(name, dir_fd=folder)

    def _fail(self, upload: Upload, problem: str) -> None:
        self._problem(f"{visible(upload.path)} {problem}")


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
