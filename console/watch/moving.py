"""Moving a file that was sent out of the watched folder: nothing is ever overwritten, nor lost half-way.

Owns the move, within a file system and across, by descriptors of the two folders: see `files.beneath`. Not here:
whether it may be moved (`aftercare`).
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from contextlib import suppress
from typing import Final, NoReturn

from console.files.beneath import parent_of
from console.formatting import visible
from console.models import stored_ns

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
    stem, dot, suffixes = name.lstrip(".").partition(".")
    hidden = name[: len(name) - len(name.lstrip("."))]
    for number in range(1, _MOST_NAMES + 1):
        numbered = name if number == 1 else f"{hidden}{stem}-{number}{dot}{suffixes}"
        with suppress(FileExistsError):
            os.close(os.open(numbered, _TO_CREATE, 0o600, dir_fd=folder))
            return numbered
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
