"""Files and folders that are for this user alone, whatever the umask, and whose a file is that we are to believe.

What the program keeps (state, reports, recordings, the data of embedded servers) holds other people's documents, or
decides what is done with their files. Knows nothing of what is in them.
"""

from __future__ import annotations

import errno
import grp
import os
import pwd
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from console.formatting import visible

_FILE: Final = 0o600
_FOLDER: Final = 0o700
_OTHERS: Final = 0o077


def make_private_folder(folder: Path) -> None:
    """Make it, with the folders above that are missing; one that is there is closed to others.

    Raises:
        OSError: it cannot be made, or it, or a link in its place, belongs to another user, who could put what he likes
            in the place of its files.
    """
    make_missing_folders(folder)
    status = folder.stat()
    if status.st_uid != os.geteuid() or folder.lstat().st_uid not in (os.geteuid(), 0):
        raise PermissionError(errno.EPERM, "the folder belongs to another user", str(folder))
    if status.st_mode & _OTHERS:
        folder.chmod(_FOLDER)


def make_missing_folders(folder: Path) -> None:
    """Make it, and the folders above, where they are missing, for this user alone; those that are there stay as they
    are. Raises OSError."""
    for missing in reversed([parent for parent in folder.parents if not parent.exists()]):
        _make_folder(missing)
    _make_folder(folder)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(_FOLDER)
    except FileExistsError:
        if not folder.is_dir():
            raise
    else:
        folder.chmod(_FOLDER)  # a umask may have taken our own rights


def open_private(path: Path, flags: int = os.O_WRONLY | os.O_TRUNC, *, folder: int | None = None) -> int:
    """A descriptor of the file, made with mode 0600 where it is missing. Unless `flags` say O_EXCL, one that is there
    is taken with the mode that its owner gave it. `folder`: an open one, which a relative path starts from.

    Raises:
        OSError: it cannot be opened, or another user put there what is, who could read it or lead it elsewhere.
    """
    try:
        descriptor = os.open(path, flags | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _FILE, dir_fd=folder)
    except FileExistsError:
        if flags & os.O_EXCL:
            raise
    else:
        os.fchmod(descriptor, _FILE)
        return descriptor
    keeps_out_others = _keeps_out_others(path.parent.stat())
    _refuse_foreign(path.lstat(), path)
    follow = 0 if keeps_out_others else os.O_NOFOLLOW
    descriptor = os.open(path, flags & ~os.O_TRUNC | os.O_CREAT | os.O_CLOEXEC | follow, _FILE)
    try:
        status = os.fstat(descriptor)
        _refuse_foreign(status, path)
        if stat.S_ISREG(status.st_mode):
            if status.st_uid != os.geteuid() or (status.st_nlink > 1 and not keeps_out_others):
                raise PermissionError(
                    errno.EPERM, "the file belongs to another user, or has another name too", str(path)
                )
            # Truncated only when it is known whose it is.
            if flags & os.O_TRUNC:
                os.ftruncate(descriptor, 0)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _keeps_out_others(folder: os.stat_result) -> bool:
    """Whether nobody else can exchange our files and links in that folder for his own."""
    if folder.st_uid not in (os.geteuid(), 0):
        return False
    return bool(folder.st_mode & stat.S_ISVTX) or not _others_may_write(folder)


def _refuse_foreign(status: os.stat_result, path: Path) -> None:
    """A link would lead our lines into a file of his choice, or a FIFO to him."""
    if status.st_uid not in (os.geteuid(), 0):
        what = "link" if stat.S_ISLNK(status.st_mode) else "file"
        raise PermissionError(errno.EPERM, f"the {what} belongs to another user", str(path))


def write_private(path: Path, content: str | bytes, *, is_new: bool = False) -> None:
    """Write a file of mode 0600: all of it or nothing, so that a full disk costs nobody what was there before. With
    `is_new` one that is there stays as it is.

    Raises:
        OSError: it cannot be written, or is there already; the error names it.
    """
    draft = path.with_name(f".{secrets.token_hex(8)}.part")  # short: the name may be as long as names can be
    try:
        with naming(path):
            with os.fdopen(open_private(draft, os.O_WRONLY | os.O_EXCL), "wb") as file:
                file.write(content if isinstance(content, bytes) else content.encode("utf-8", "backslashreplace"))
            if is_new:
                put_in_place(draft, path)
            else:
                draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def put_in_place(draft: Path, path: Path, *, folder: int | None = None) -> None:
    """Give a file its name: never over one that came meanwhile, where the file system knows links. `folder`: an open
    one, which relative paths start from. Raises OSError."""
    try:
        os.link(draft, path, src_dir_fd=folder, dst_dir_fd=folder)
    except FileExistsError:
        raise
    except OSError:
        if is_there(path, folder=folder):
            raise
        os.rename(draft, path, src_dir_fd=folder, dst_dir_fd=folder)


def is_there(path: Path, *, folder: int | None = None) -> bool:
    """Whether something has that name, be it a link that leads nowhere. Raises OSError."""
    try:
        os.stat(path, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Let an error say which file it met: of a write that finds the disk full the system tells nothing else."""
    try:
        yield
    except OSError as error:
        error.filename = str(path)
        raise


class WrittenByOthers(PermissionError):
    """Somebody else can have written a file that decides what we do; `strerror` says why, after the file's name."""


@contextmanager
def opened_ours(path: Path) -> Iterator[BinaryIO]:
    """A file to be read that decides what is done with our rights: only we or root can have written it, and have put it
    in its place.

    Raises:
        WrittenByOthers: somebody else can. OSError: it cannot be opened.
    """
    # A FIFO of somebody else would keep whoever opens it waiting.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as stream:
        status = os.fstat(descriptor)
        if reason := why_not_ours(path, status):
            raise WrittenByOthers(errno.EPERM, reason, str(path))
        os.set_blocking(descriptor, True)
        if stat.S_ISFIFO(status.st_mode) and path.is_fifo():
            with path.open("rb") as waiting:  # for whoever writes into it
                yield waiting
        else:
            yield stream


def require_ours(path: Path) -> None:
    """As `opened_ours`, for a file or folder that a library reads by its name."""
    if reason := why_not_ours(path, path.lstat()) or why_not_ours(path, path.stat()):
        raise WrittenByOthers(errno.EPERM, reason, str(path))


def why_not_ours(path: Path, status: os.stat_result) -> str:
    """Why somebody else may have written this file, whose `status` is that of its open descriptor, or have put a link
    to it in this place; empty where that can only have been we or root."""
    link = path.lstat()
    for found in (link, status):
        if found.st_uid not in (os.geteuid(), 0):
            what = "is a link that belongs" if found is link and stat.S_ISLNK(link.st_mode) else "belongs"
            return f"{what} to {_user(found.st_uid)}, neither to you nor to root"
    if not (stat.S_ISCHR(status.st_mode) or stat.S_ISLNK(status.st_mode)) and _others_may_write(status):
        return f"can be written by other users (mode {stat.S_IMODE(status.st_mode):04o})"
    return ""


def _others_may_write(status: os.stat_result) -> bool:
    return bool(status.st_mode & stat.S_IWOTH or (status.st_mode & stat.S_IWGRP and not _is_group_of_one(status)))


def others_may_read(status: os.stat_result) -> bool:
    """Whether users other than its owner can. A group is one that was chosen where the file is root's: a service's."""
    if not stat.S_ISREG(status.st_mode):
        return False
    is_chosen = status.st_uid == 0 != os.geteuid() or _is_group_of_one(status)
    return bool(status.st_mode & stat.S_IROTH or (status.st_mode & stat.S_IRGRP and not is_chosen))


def _is_group_of_one(status: os.stat_result) -> bool:
    """Many systems give each user a group of the same name and a umask of 002: writable by it is by nobody else."""
    try:
        owner, group = pwd.getpwuid(status.st_uid), grp.getgrgid(status.st_gid)
    except KeyError:
        return False
    return owner.pw_gid == group.gr_gid and owner.pw_name == group.gr_name and set(group.gr_mem) <= {owner.pw_name}


def _user(number: int) -> str:
    try:
        return f"the user {visible(pwd.getpwuid(number).pw_name)} (uid {number})"
    except KeyError:
        return f"the user of uid {number}"
