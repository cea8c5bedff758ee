"""Moving a file that was sent out of the watched folder: nothing is ever overwritten, nor lost half-way.

Owns the move, within a file system and across. Not here: whether it may be moved (`aftercare`).
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Final, NoReturn

from console.formatting import visible

_MOST_NAMES: Final = 10_000
_COPY_CHUNK: Final = 1024 * 1024
_REPLACED: Final = "another file is in its place by now"


def move(source: str, target: str, *, size: int, mtime_ns: int) -> str:
    """Move a file to `target`, or to a numbered name where that is taken; gives the path where it is now.

    Its folders are created. Across file systems it is copied, forced to the disk and compared in size before the
    source goes; where the disk is full nothing is left at the target, and the source stays.
    `size` in bytes and `mtime_ns` are those of the file that is meant: one that took its place meanwhile stays, or is
    put back, under a numbered name if there is yet another.

    Raises:
        OSError: it could not be moved, or was written to or replaced meanwhile. The source is where it was.
    """
    Path(target).parent.mkdir(parents=True, exist_ok=True)
    place = _reserved(target)
    wanted = (size, mtime_ns)
    is_moved = False
    try:
        try:
            os.replace(source, place)  # noqa: PTH105 - over the empty file that was reserved
            is_moved = True
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            _copy_over(source, place, wanted)
    except BaseException:
        with suppress(OSError):
            os.unlink(place)  # noqa: PTH108
        raise
    if is_moved and _size_and_time(os.lstat(place)) != wanted:
        _put_back(place, source)
    return place


def _put_back(place: str, source: str) -> NoReturn:
    """What was moved is another file than was meant, and the only one of its kind: whatever happens, it is not removed.

    Raises:
        OSError: always; it says where the file is.
    """
    try:
        back = _reserved(source)
        try:
            os.replace(place, back)  # noqa: PTH105
        except BaseException:
            os.unlink(back)  # noqa: PTH108
            raise
    except OSError as error:
        where = f"{_REPLACED}, and was moved to {visible(place)}: {error.strerror or error}"
        raise OSError(errno.EBUSY, where, source) from error
    raise OSError(errno.EBUSY, _REPLACED, source)


def _reserved(target: str) -> str:
    """An empty file of the wanted name, or of a numbered one, that is ours."""
    folder, name = os.path.split(target)
    stem, dot, suffixes = name.lstrip(".").partition(".")
    hidden = name[: len(name) - len(name.lstrip("."))]
    for number in range(1, _MOST_NAMES + 1):
        numbered = name if number == 1 else f"{hidden}{stem}-{number}{dot}{suffixes}"
        path = os.path.join(folder, numbered)  # noqa: PTH118 - names stay as the system has them
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
            return path
    raise FileExistsError(errno.EEXIST, f"{_MOST_NAMES} files of that name are there already", target)


def _copy_over(source: str, place: str, wanted: tuple[int, int]) -> None:
    temporary = f"{os.path.dirname(place)}/.{secrets.token_hex(6)}.part"  # noqa: PTH120
    try:
        with open(source, "rb") as reader, open(temporary, "xb") as writer:  # noqa: PTH123
            before = os.fstat(reader.fileno())
            if _size_and_time(before) != wanted:
                raise OSError(errno.EBUSY, _REPLACED, source)
            shutil.copyfileobj(reader, writer, _COPY_CHUNK)
            writer.flush()
            os.fsync(writer.fileno())
            shutil.copystat(source, temporary)
            after = os.stat(source)  # noqa: PTH116
            if _state(before) != _state(after) or os.fstat(writer.fileno()).st_size != before.st_size:
                raise OSError(errno.EBUSY, "the file was written to while it was being moved", source)
        os.replace(temporary, place)  # noqa: PTH105
        os.unlink(source)  # noqa: PTH108
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)  # noqa: PTH108
        raise


def _size_and_time(status: os.stat_result) -> tuple[int, int]:
    return status.st_size, status.st_mtime_ns


def _state(status: os.stat_result) -> tuple[int, int, int, int]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
