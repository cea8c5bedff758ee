"""Files below a folder, reached by descriptors and through no symbolic link.

Between the look at a file and what is done with it, whoever may write to the folder can put a link in the place of a
sub-folder, and the same path then means a file of somebody else. So whatever is opened, sent, moved or deleted below a
folder that was chosen is reached from a descriptor of that folder: by `openat2(2)` with RESOLVE_BENEATH in one step
where the kernel has it (Linux 5.6), folder by folder with O_NOFOLLOW elsewhere. The path of the chosen folder itself is
trusted: links in it are followed.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import Final

THROUGH_A_LINK: Final = "is reached through a symbolic link"

_TO_READ: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC  # opening a FIFO would otherwise wait for a writer
_FOLDER: Final = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC

_NEW_FOLDER: Final = 0o775
"""Less what the umask says; nobody but owner and group can exchange what lies in it, whatever that says."""

_OPENAT2: Final = 437  # the same number on every architecture that Python runs on, but for alpha
_AT_FDCWD: Final = -100
_NO_MAGICLINKS: Final = 0x02
_NO_SYMLINKS: Final = 0x04
_BENEATH: Final = 0x08
_TRIES: Final = 20


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


_LENGTH: Final = ctypes.sizeof(_OpenHow)


def open_file(path: str, below: str | None) -> int:
    """A descriptor of a file to be read. Below the folder `below` no link is followed, but one in the file's own place
    that leads to a file of the same folder. Without `below`, links are followed as the system does.

    Raises:
        OSError: as `os.open`; ELOOP where the path leads through a link.
    """
    if "\0" in path:  # from a document: no file is called so
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), path)
    if below is None:
        return os.open(path, _TO_READ)
    top = os.open(below, _FOLDER)
    try:
        return open_beneath(top, relative_to(path, below), _TO_READ)
    except OSError as error:
        if error.errno != errno.ELOOP or not is_link(path, below):
            raise
    finally:
        os.close(top)
    target, real = os.path.realpath(path), os.path.realpath(below)
    if not is_below(target, real):
        raise through_a_link(path)
    with opened(real) as top:
        return open_beneath(top, relative_to(target, real), _TO_READ)


def status_of(path: str, below: str | None) -> os.stat_result:
    """As `os.lstat`, reached as `open_file` does. Raises OSError."""
    with parent_of(path, below) as (folder, name):
        return os.stat(name, dir_fd=folder, follow_symlinks=False)


def is_link(path: str, below: str | None) -> bool:
    """Whether a link is in the place of the file itself. Raises OSError where one is in its path."""
    return stat.S_ISLNK(status_of(path, below).st_mode)


@contextmanager
def parent_of(path: str, below: str | None, *, make: bool = False) -> Iterator[tuple[int, str]]:
    """The folder that holds a file, open, and the file's name in it: what is done by these two is done to no file
    elsewhere. `make`: create the folders that are missing. Raises OSError.
    """
    folder, _, name = path.rpartition("/")
    if below is None:
        with opened(folder or "/") as descriptor:
            yield descriptor, name
        return
    with opened(below) as top:
        inner = relative_to(path, below).rpartition("/")[0]
        descriptor = _made(top, inner) if make else _opened_folder(top, inner)
        try:
            yield descriptor, name
        finally:
            os.close(descriptor)


@contextmanager
def opened(folder: str) -> Iterator[int]:
    """A folder that is trusted, for steps below it. Raises OSError."""
    descriptor = os.open(folder, _FOLDER)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def listed(path: str, below: str | None) -> Iterator[Iterator[os.DirEntry[str]]]:
    """The entries of a folder, as `os.scandir` gives them for a descriptor: `path` is the name. Raises OSError."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    if below is None or path == below:
        descriptor = os.open(path, flags)
    else:
        with opened(below) as top:
            descriptor = open_beneath(top, relative_to(path, below), flags)
    try:
        with os.scandir(descriptor) as entries:
            yield entries
    finally:
        os.close(descriptor)


def open_beneath(top: int, relative: str, flags: int) -> int:
    """Open `relative` to the descriptor `top` through no link at all.

    Raises:
        OSError: as `os.open`; ELOOP where a link is in the path, or in its end.
    """
    return (open_at_once if has_openat2() else open_step_by_step)(top, relative, flags)


def open_at_once(top: int, relative: str, flags: int) -> int:
    """`open_beneath` by one system call."""
    _steps(relative)
    how = _through_no_link(flags)
    for _ in range(_TRIES):
        descriptor, number = _openat2(top, relative, how)
        if descriptor >= 0:
            return descriptor
        if number not in (errno.EAGAIN, errno.EINTR):  # something was renamed meanwhile: openat2(2)
            break
    raise OSError(number, THROUGH_A_LINK if number == errno.ELOOP else os.strerror(number), relative)


@cache
def _through_no_link(flags: int) -> _OpenHow:
    return _OpenHow(flags | os.O_CLOEXEC, 0, _BENEATH | _NO_SYMLINKS | _NO_MAGICLINKS)


def open_step_by_step(top: int, relative: str, flags: int) -> int:
    """`open_beneath` for systems without `openat2`."""
    *folders, name = _steps(relative)
    descriptor = os.dup(top)
    try:
        for folder in folders:
            inner = _step(descriptor, folder, _FOLDER)
            os.close(descriptor)
            descriptor = inner
        return _step(descriptor, name, flags)
    finally:
        os.close(descriptor)


@cache
def has_openat2() -> bool:
    """Whether the kernel has `openat2`, and whatever confines this process lets it pass."""
    if not sys.platform.startswith("linux"):
        return False
    descriptor, _ = _openat2(_AT_FDCWD, ".", _OpenHow(_FOLDER, 0, 0))
    if descriptor < 0:
        return False
    os.close(descriptor)
    return True


def relative_to(path: str, folder: str) -> str:
    """The path from a folder to what is below it, both as `open()` takes them.

    Raises:
        OSError: it is not below.
    """
    if not is_below(path, folder):
        raise OSError(errno.EXDEV, f"is not below {folder}", path)
    return path[len(folder.rstrip("/")) + 1 :]


def is_below(path: str, folder: str) -> bool:
    """Whether one path begins with the other; links are not looked at."""
    return path.startswith(folder.rstrip("/") + "/")


def through_a_link(path: str) -> OSError:
    """The error for a path that leads through a link."""
    return OSError(errno.ELOOP, THROUGH_A_LINK, path)


def _openat2(top: int, relative: str, how: _OpenHow) -> tuple[int, int]:
    """The descriptor or -1, and the error's number."""
    name = os.fsencode(relative)
    descriptor: int = _libc().syscall(_OPENAT2, top, name, how, _LENGTH)
    return descriptor, ctypes.get_errno() if descriptor < 0 else 0


@cache
def _libc() -> ctypes.CDLL:
    library = ctypes.CDLL(None, use_errno=True)
    library.syscall.restype = ctypes.c_long
    library.syscall.argtypes = [
        *(ctypes.c_long, ctypes.c_int, ctypes.c_char_p),
        *(ctypes.POINTER(_OpenHow), ctypes.c_size_t),
    ]
    return library


def _steps(relative: str) -> list[str]:
    steps = relative.split("/")
    if any(step in ("", ".", "..") or "\0" in step for step in steps):
        raise OSError(errno.EXDEV, "is not a path below a folder", relative)
    return steps


def _step(folder: int, name: str, flags: int) -> int:
    try:
        return os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    except NotADirectoryError:
        with suppress(FileNotFoundError):
            if stat.S_ISLNK(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
                raise through_a_link(name) from None
        raise
    except OSError as error:
        raise through_a_link(name) if error.errno == errno.ELOOP else error from None


def _opened_folder(top: int, inner: str) -> int:
    return open_beneath(top, inner, _FOLDER) if inner else os.dup(top)


def _made(top: int, inner: str) -> int:
    """The folder, with those that hold it, created where they are missing."""
    descriptor = os.dup(top)
    try:
        for name in _steps(inner) if inner else ():
            with suppress(FileExistsError):
                os.mkdir(name, _NEW_FOLDER, dir_fd=descriptor)
            folder = _step(descriptor, name, _FOLDER)
            os.close(descriptor)
            descriptor = folder
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
