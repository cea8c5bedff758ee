"""The watched folder itself: whether it is there and still the same one, and where its events come from.

It notices that the folder was unmounted, removed or mounted again, and polls where the system watches no more
folders.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from console.formatting import duration
from console.settings.watch_rules import Mode, WatchRule
from console.watch.folder_events import Changes, FolderEvents, Silence, WatchesUsedUp

_NETWORK: Final = frozenset(
    {
        *("nfs", "nfs4", "cifs", "smb3", "smbfs", "ncpfs", "afs", "9p", "virtiofs", "vboxsf", "prl_fs"),
        *("ceph", "glusterfs", "lustre", "gpfs", "beegfs", "ocfs2", "gfs2", "orangefs", "pvfs2"),
    }
)
"""File systems that other hosts write to: the kernel tells nobody here of that."""
_NETWORK_SKEW_SECONDS: Final = 600.0
"""How far the clock of a file server may be from ours before files that are being written look old."""


def open_events(folder: str, mode: Mode, *, recursive: bool) -> FolderEvents:
    """Events for a folder; `auto` polls where other hosts may write to it.

    Raises:
        OSError: the folder cannot be watched; WatchesUsedUp where polling would do.
    """
    if mode == "polling" or (mode == "auto" and is_on_network(folder)):
        return Silence()
    if sys.platform == "linux":
        from console.watch.inotify import InotifyEvents

        return InotifyEvents(folder)
    from console.watch.watchfiles import NotifiedEvents

    return NotifiedEvents(folder, recursive=recursive)


def is_on_network(path: str, mounts: Path = Path("/proc/self/mountinfo")) -> bool:
    """Whether a path is on a file system that other hosts may write to, as far as Linux tells."""
    kind = file_system_of(path, mounts)
    return kind in _NETWORK or kind.startswith("fuse.")  # sshfs, s3fs, rclone …; fuseblk is a disk of this host


def clock_skew(path: str) -> float:
    """By how many seconds the times of files at a path may differ from this host's clock."""
    return _NETWORK_SKEW_SECONDS if is_on_network(path) else 0.0


def file_system_of(path: str, mounts: Path = Path("/proc/self/mountinfo")) -> str:
    """The type of the file system that holds a path, as in proc(5); empty where nobody tells."""
    try:
        lines = mounts.read_bytes().splitlines()
    except OSError:
        return ""
    real = os.fsencode(os.path.realpath(path))
    best, kind = b"", b""
    for line in lines:
        before, _, after = line.partition(b" - ")
        fields, described = before.split(), after.split()
        if len(fields) < 5 or not described:
            continue
        point = _unescaped(fields[4])
        holds = real == point or real.startswith(point.rstrip(b"/") + b"/")
        if holds and len(point) >= len(best):  # of two at the same place the later covers the earlier
            best, kind = point, described[0]
    return kind.decode("ascii", "replace")


def _unescaped(field_: bytes) -> bytes:
    for code in (b" ", b"\t", b"\n", b"\\"):
        field_ = field_.replace(b"\\%03o" % code[0], code)
    return field_


_MOST_CHANGES: Final = 50_000


class WatchedFolder:
    """One folder and what is told of it. `wake` is for any thread, the rest for one."""

    def __init__(self, rule: WatchRule, *, problem: Callable[[str], None], without_events: bool = False) -> None:
        self.path = str(rule.folder)
        self._rule = rule
        self._problem = problem
        self._without_events = without_events
        self._events: FolderEvents = Silence()
        self._identity: tuple[int, int] | None = None
        self._changes = Changes()

    @property
    def is_polling(self) -> bool:
        """Whether nothing is reported, so that it has to be looked at regularly."""
        return self._events.is_polling

    def is_there(self) -> bool:
        """Whether there is such a folder. Raises OSError where that cannot be seen."""
        try:
            return stat.S_ISDIR(os.stat(self.path).st_mode)  # noqa: PTH116 - the path stays as the system has it
        except (FileNotFoundError, NotADirectoryError):
            return False

    def is_new(self) -> bool:
        """Whether it is another folder than at the last call, as after a mount; it is watched from now on."""
        status = os.stat(self.path)  # noqa: PTH116
        identity = (status.st_dev, status.st_ino)
        if identity == self._identity:
            return False
        self.leave()
        self._identity = identity
        if not self._without_events:
            try:
                self._events = open_events(self.path, self._rule.mode, recursive=self._rule.recursive)
            except WatchesUsedUp as error:
                self._poll_instead(error)
        return True

    def enter(self, folder: str) -> None:
        """A folder below it is about to be read."""
        try:
            self._events.enter(folder)
        except WatchesUsedUp as error:
            self._poll_instead(error)

    def collect(self, timeout: float) -> None:
        """Keep what happened, waiting up to `timeout` seconds for the first of it."""
        self._changes.add(self._events.take(timeout), _MOST_CHANGES)

    def changes(self) -> Changes:
        """What was collected since the last call."""
        changes, self._changes = self._changes, Changes()
        if changes.moved:
            self._identity = None
        return changes

    def leave(self) -> None:
        """Forget all about it."""
        self._events.close()
        self._events = Silence()
        self._identity = None
        self._changes = Changes()

    def wake(self) -> None:
        self._events.wake()

    def _poll_instead(self, error: WatchesUsedUp) -> None:
        self._problem(f"{error.strerror}; until then it is looked at every {duration(self._rule.poll_seconds)}")
        self._events.close()
        self._events = Silence()
