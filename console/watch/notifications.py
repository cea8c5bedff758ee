"""Events of systems other than Linux, through watchfiles.

Owns the thread that reads them. watchfiles does not say that the system dropped events, and ends at names that it
cannot decode: after a flood, and after an error, everything is to be looked at.
"""

from __future__ import annotations

import threading
from typing import Final

from watchfiles import Change, watch

from console.watch.folder_events import Changes

_FLOOD: Final = 2_000
_MOST: Final = 50_000


class NotifiedEvents:
    """A `FolderEvents` that watches everything below the folder from the start."""

    is_polling = False

    def __init__(self, folder: str, *, recursive: bool) -> None:
        """Raises FileNotFoundError where the folder is missing, once `take` is called."""
        self._folder = folder
        self._recursive = recursive
        self._changes = Changes()
        self._changed = threading.Condition()
        self._is_woken = False
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="folder-events", daemon=True)
        self._thread.start()

    def enter(self, folder: str) -> None:
        """Nothing to do."""

    def take(self, timeout: float) -> Changes:
        """What was told since the last time."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_woken or self._has_news(), timeout)
            taken, self._changes, self._is_woken = self._changes, Changes(), False
            return taken

    def wake(self) -> None:
        """Let `take` return."""
        with self._changed:
            self._is_woken = True
            self._changed.notify_all()

    def close(self) -> None:
        """End the thread; it is not waited for."""
        self._closing.set()
        self.wake()

    def _has_news(self) -> bool:
        changes = self._changes
        return bool(changes.files or changes.folders or changes.lost or changes.moved)

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                self._read()
            except FileNotFoundError:
                self._tell(Changes(moved=True))
            except (OSError, RuntimeError):  # a name that is no UTF-8, say
                self._tell(Changes(lost=True))
            self._closing.wait(0.2)

    def _read(self) -> None:
        told = watch(
            self._folder,
            watch_filter=None,
            recursive=self._recursive,
            debounce=400,
            rust_timeout=1_000,
            yield_on_timeout=True,
            stop_event=self._closing,
            raise_interrupt=False,
            force_polling=False,
            ignore_permission_denied=True,
        )
        for batch in told:
            changes = Changes(lost=len(batch) >= _FLOOD)
            for kind, path in batch:
                if kind is not Change.deleted:
                    # A folder or a file: who looks will see.
                    changes.files.add(path)
                    changes.folders.add(path)
                elif path == self._folder:
                    changes.moved = True
            if batch:
                self._tell(changes)

    def _tell(self, changes: Changes) -> None:
        with self._changed:
            self._changes.add(changes, _MOST)
            self._changed.notify_all()
