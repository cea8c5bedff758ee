"""Files and folders that are for this user alone, whatever the umask.

What the program keeps (state, reports, recordings, the data of embedded servers) holds other people's documents, or
decides what is done with their files. Knows nothing of what is in them.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Final

_FILE: Final = 0o600
_FOLDER: Final = 0o700
_OTHERS: Final = 0o077


def make_private_folder(folder: Path) -> None:
    """Make it, with the folders above that are missing; one that is there is closed to others.

    Raises:
        OSError: it cannot be made, or belongs to another user, who could put what he likes in the place of its files.
    """
    for missing in reversed([parent for parent in folder.parents if not parent.exists()]):
        _make_folder(missing)
    _make_folder(folder)
    status = folder.stat()
    if status.st_uid != os.geteuid():
        raise PermissionError(errno.EPERM, "the folder belongs to another user", str(folder))
    if status.st_mode & _OTHERS:
        folder.chmod(_FOLDER)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(_FOLDER)
    except FileExistsError:
        if not folder.is_dir():
            raise
    else:
        folder.chmod(_FOLDER)  # a umask may have taken our own rights


def open_private(path: Path, flags: int = os.O_WRONLY | os.O_TRUNC) -> int:
    """A descriptor of the file, made with mode 0600 where it is missing. Unless `flags` say O_EXCL, one that is there
    is taken with the mode that its owner gave it.

    Raises:
        OSError: it cannot be opened, or another user, who could read it, made it before us.
    """
    try:
        descriptor = os.open(path, flags | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _FILE)
    except FileExistsError:
        if flags & os.O_EXCL:
            raise
    else:
        os.fchmod(descriptor, _FILE)
        return descriptor
    # Truncated only when it is known whose it is.
    descriptor = os.open(path, flags & ~os.O_TRUNC | os.O_CREAT | os.O_CLOEXEC, _FILE)
    try:
        status = os.fstat(descriptor)
        if stat.S_ISREG(status.st_mode):
            if status.st_uid != os.geteuid():
                raise PermissionError(errno.EPERM, "the file belongs to another user", str(path))
            if flags & os.O_TRUNC:
                os.ftruncate(descriptor, 0)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
