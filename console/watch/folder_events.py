"""That something happened below a watched folder: the interface which `inotify`, `watchfiles` and polling implement.

Events only say where to look; what is there is seen by looking (`files.walk`).
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(slots=True)
class Changes:
    """What happened since the last time: paths of files, and folders that are new.

    `lost`: events were dropped, so everything has to be looked at. `moved`: the watched folder itself has gone.
    """

    files: set[str] = field(default_factory=set)
    folders: set[str] = field(default_factory=set)
    lost: bool = False
    moved: bool = False

    def add(self, later: Changes, most: int) -> None:
        """Join what happened later; more than `most` paths are dropped, as if the system had dropped them."""
        self.files |= later.files
        self.folders |= later.folders
        self.lost |= later.lost
        self.moved |= later.moved
        if len(self.files) + len(self.folders) > most:
            self.files.clear()
            self.folders.clear()
            self.lost = True


class FolderEvents(Protocol):
    """Events of one watched folder. `take` is for one thread, `wake` for any."""

    is_polling: bool
    """Whether nothing is reported, and looking regularly has to do."""

    def enter(self, folder: str) -> None:
        """Tell of this folder from now on, too.

        Raises:
            WatchesUsedUp: the system watches no more folders for this user.
        """

    def take(self, timeout: float) -> Changes:
        """What happened, waiting up to `timeout` seconds for the first of it or for `wake`."""

    def wake(self) -> None:
        """Let `take` return."""

    def close(self) -> None:
        """End; nothing is told any more."""


class WatchesUsedUp(OSError):
    """The system watches no more folders for this user (Linux: fs.inotify.max_user_watches or max_user_instances)."""


class Silence:
    """No events: for polling. A `FolderEvents`."""

    is_polling = True

    def __init__(self) -> None:
        self._woken = threading.Event()

    def enter(self, folder: str) -> None:
        """Nothing to do."""

    def take(self, timeout: float) -> Changes:
        self._woken.wait(timeout)
        self._woken.clear()
        return Changes()

    def wake(self) -> None:
        self._woken.set()

    def close(self) -> None:
        """Nothing to do."""
