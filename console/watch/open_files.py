"""Whether somebody has a file open for writing, where the system tells.

Owns the two ways of asking Linux. A read lease is refused while anybody, in whichever container and as whichever
user, holds the file open (or mapped) for writing: one file, a few microseconds. But leases are for the file's owner
(or CAP_LEASE) and for local file systems. Where there is none, `/proc/*/fd` shows the files of the processes that
this user may look into. Elsewhere nobody knows, and the quiet time has to do.
"""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from console.files.beneath import open_file

_HAS_LEASES: Final = sys.platform == "linux"
_SNAPSHOT_SECONDS: Final = 1.0


class OpenFiles:
    """Answers for many files; `/proc` is read at most once a second. Not thread-safe."""

    def __init__(self, below: str | None = None) -> None:
        self._below = below
        self._by_name: dict[str, list[str]] = {}
        self._read_at = float("-inf")

    def is_open_for_writing(self, path: str) -> bool:
        """True if somebody has; False if nobody has, or nobody can tell."""
        refused = _lease_is_refused(path, self._below)
        return self._is_seen_open(path) if refused is None else refused

    def _is_seen_open(self, path: str) -> bool:
        if not _HAS_LEASES:
            return False
        now = time.monotonic()
        if now - self._read_at >= _SNAPSHOT_SECONDS:
            self._by_name = _open_by_name()
            self._read_at = now
        same_name = self._by_name.get(os.path.basename(path), ())  # noqa: PTH119 - names stay as the system has them
        return any(_is_written(descriptor, path) for descriptor in same_name)


def _lease_is_refused(path: str, below: str | None) -> bool | None:
    """Whether a writer stands in the way of a read lease; None where that cannot be asked."""
    if not _HAS_LEASES:
        return None
    try:
        descriptor = open_file(path, below)
    except OSError:
        return None
    try:
        # A writer that comes while the lease is held waits until it is closed, right below. Who holds a lease is told
        # so by a signal: SIGIO would end the process, SIGURG is ignored by default (signal(7)).
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as error:
        return True if error.errno == errno.EAGAIN else None
    else:
        return False
    finally:
        os.close(descriptor)


def _open_by_name() -> dict[str, list[str]]:
    """Descriptors under `/proc` by the base name of what they are open on. Names only: a `stat` may hang on a dead
    network share.
    """
    found: dict[str, list[str]] = {}
    for descriptor in _descriptors():
        with suppress(OSError):
            target = os.readlink(descriptor)  # noqa: PTH115
            if target.startswith("/"):
                found.setdefault(target.rpartition("/")[2], []).append(descriptor)
    return found


def _descriptors() -> Iterator[str]:
    own = str(os.getpid())
    for process in os.listdir("/proc"):  # noqa: PTH208
        if process.isdigit() and process != own:
            with suppress(OSError):
                folder = f"/proc/{process}/fd"
                yield from (f"{folder}/{number}" for number in os.listdir(folder))  # noqa: PTH208


def _is_written(descriptor: str, path: str) -> bool:
    try:
        if not os.path.samefile(descriptor, path):  # noqa: PTH121
            return False
        with open(descriptor.replace("/fd/", "/fdinfo/"), encoding="ascii") as info:  # noqa: PTH123
            flags = next(line.split()[1] for line in info if line.startswith("flags:"))
    except (OSError, StopIteration, ValueError):
        return False
    return int(flags, 8) & os.O_ACCMODE != os.O_RDONLY
