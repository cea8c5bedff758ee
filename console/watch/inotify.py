"""Events of Linux: inotify, one watch for each folder.

Owns the watches and the reading of the kernel's queue. On Linux this is used instead of watchfiles, which in ordinary
work tells as much, but keeps to itself that events were lost (samuelcolvin/watchfiles issue 348). Seen with watchfiles
1.3 in a process that was held up (SIGSTOP) while things happened: of 20,001 new files it told 5,471; of 100 new files
after 20,000 writes to two others it told none, and nothing in what it did tell gives that away. Here the first ends
with `lost`, the second loses nothing, as single writes are not asked for. A name that is no UTF-8 ends watchfiles.
tests/watch/test_folder_events.py plays the second again.
"""

from __future__ import annotations

import errno
import os
import select
import threading
from contextlib import suppress
from typing import Final

from inotify_simple import INotify, flags

from console.watch.folder_events import Changes, WatchesUsedUp

# Not MODIFY: a file that is being written is looked at when it is closed, or as long as it is waited for.
_MASK: Final = (
    flags.CREATE | flags.CLOSE_WRITE | flags.MOVED_TO | flags.MOVED_FROM | flags.ATTRIB
    | flags.DELETE_SELF | flags.MOVE_SELF | flags.ONLYDIR | flags.EXCL_UNLINK
)  # fmt: skip
_COLLECT_SECONDS: Final = 0.02
_USED_UP: Final = (errno.ENOSPC, errno.EMFILE)


class InotifyEvents:
    """A `FolderEvents`. Which folders are watched grows as they are entered."""

    is_polling = False

    def __init__(self, folder: str) -> None:
        """`folder` is the watched folder; it is told of once it is entered.

        Raises:
            WatchesUsedUp: no more instances for this user (fs.inotify.max_user_instances).
        """
        self._top = folder
        self._folders: dict[int, str] = {}
        self._watches: dict[str, int] = {}
        self._closing = threading.Lock()
        self._is_closed = False
        self._read_end, self._write_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            self._inotify = INotify()
        except OSError as error:
            os.close(self._read_end)
            os.close(self._write_end)
            raise _explained(error) from error
        self._poll = select.poll()
        self._poll.register(self._inotify.fileno(), select.POLLIN)
        self._poll.register(self._read_end, select.POLLIN)

    def enter(self, folder: str) -> None:
        """Watch a folder. One that is watched already stays so."""
        try:
            watch = self._inotify.add_watch(folder, _MASK)
        except OSError as error:
            raise _explained(error) from error
        former = self._folders.get(watch)
        if former is not None and former != folder:
            self._watches.pop(former, None)  # it has been renamed
        self._folders[watch] = folder
        self._watches[folder] = watch

    def take(self, timeout: float) -> Changes:
        """What the kernel has told; a burst is given a moment to become one batch."""
        ready = {number for number, _ in self._poll.poll(max(0, int(timeout * 1000)))}
        if self._read_end in ready:
            with suppress(BlockingIOError):
                os.read(self._read_end, 4096)
        changes = Changes()
        if self._inotify.fileno() in ready:
            if timeout:
                select.select((), (), (), _COLLECT_SECONDS)
            for watch, mask, _, name in self._inotify.read(timeout=0):
                self._apply(changes, watch, mask, name)
        return changes

    def wake(self) -> None:
        with self._closing, suppress(BlockingIOError):
            if not self._is_closed:  # by now its number may be that of another file
                os.write(self._write_end, b"\0")

    def close(self) -> None:
        with self._closing:
            if not self._is_closed:
                self._is_closed = True
                self._inotify.close()
                os.close(self._read_end)
                os.close(self._write_end)

    def _apply(self, changes: Changes, watch: int, mask: int, name: str) -> None:
        if mask & flags.Q_OVERFLOW:
            changes.lost = True
            return
        folder = self._folders.get(watch)
        if folder is None:
            return
        if mask & (flags.IGNORED | flags.UNMOUNT | flags.DELETE_SELF | flags.MOVE_SELF) and not name:
            self._leave(changes, watch, folder, mask)
        elif mask & flags.ISDIR:
            path = f"{folder.rstrip('/')}/{name}"
            if mask & flags.MOVED_FROM:
                self._forget_below(path)
            elif name:
                changes.folders.add(path)
        elif name:
            changes.files.add(f"{folder.rstrip('/')}/{name}")

    def _leave(self, changes: Changes, watch: int, folder: str, mask: int) -> None:
        if folder == self._top:
            changes.moved = True
        if mask & flags.IGNORED:
            del self._folders[watch]
            if self._watches.get(folder) == watch:
                del self._watches[folder]

    def _forget_below(self, path: str) -> None:
        """A folder was moved away: what is told of it and of those below would bear wrong names."""
        below = f"{path}/"
        for folder in [name for name in self._watches if name == path or name.startswith(below)]:
            with suppress(OSError):
                self._inotify.rm_watch(self._watches[folder])


def _explained(error: OSError) -> OSError:
    if error.errno not in _USED_UP:
        return error
    return WatchesUsedUp(
        error.errno,
        "the system watches no more folders for this user: raise fs.inotify.max_user_watches and max_user_instances",
    )
