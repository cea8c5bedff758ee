"""The watched folder itself: whether it is there, whether it is still the same one, and the events of it.

Owns noticing that it was unmounted, removed or mounted again, and polling where the system watches no more folders.
Not here: what is in it (`scanning`).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from typing import Final

from console.formatting import duration
from console.watch.folder_events import Changes, FolderEvents, Silence, WatchesUsedUp, open_events
from console.watch.rules import WatchRule

_MOST_CHANGES: Final = 50_000


class WatchedFolder:
    """One folder and what is told of it. `wake` is for any thread, the rest for one."""

    def __init__(self, rule: WatchRule, *, trouble: Callable[[str], None], without_events: bool = False) -> None:
        self.path = str(rule.folder)
        self._rule = rule
        self._trouble = trouble
        self._without_events = without_events
        self._events: FolderEvents = Silence()
        self._identity: tuple[int, int] | None = None
        self._changes = Changes()

    @property
    def is_polling(self) -> bool:
        """Whether nothing is told, so that it has to be looked at regularly."""
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
        """Let `collect` return."""
        self._events.wake()

    def _poll_instead(self, error: WatchesUsedUp) -> None:
        self._trouble(f"{error.strerror}; until then it is looked at every {duration(self._rule.poll_seconds)}")
        self._events.close()
        self._events = Silence()
