"""Events of systems other than Linux, through watchfiles.

Owns the thread that reads them. watchfiles keeps to itself that the system dropped events, and ends at a name that is
no UTF-8: after a flood, and after an error, everything is to be looked at.
"""

from __future__ import annotations

import threading
from typing import Final

from watchfiles import Change
from watchfiles._rust_notify import RustNotify

from console.watch.folder_events import Changes

_FLOOD: Final = 2_000
_MOST: Final = 50_000
_DEBOUNCE_MS: Final = 400
_STEP_MS: Final = 50


class NotifiedEvents:
    """A `FolderEvents` that watches everything below the folder from the start.

    It is watchfiles' Rust interface that is used: `watchfiles.watch` begins to watch only once it is read from, and
    drops what came in between when it is asked to stop or times out.
    """

    is_polling = False

    def __init__(self, folder: str, *, recursive: bool) -> None:
        self._folder = folder
        self._changes = Changes()
        self._changed = threading.Condition()
        self._is_woken = False
        self._closing = threading.Event()
        notify = RustNotify([folder], False, False, 0, recursive, True)
        self._thread = threading.Thread(target=self._run, args=(notify,), name="folder-events", daemon=True)
        self._thread.start()

    def enter(self, folder: str) -> None:
        """Nothing to do."""

    def take(self, timeout: float) -> Changes:
        """What was told since the last time."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_woken or self._changes != Changes(), timeout)
            taken, self._changes, self._is_woken = self._changes, Changes(), False
            return taken

    def wake(self) -> None:
        with self._changed:
            self._is_woken = True
            self._changed.notify_all()

    def close(self) -> None:
        """End the thread; it is not waited for."""
        self._closing.set()
        self.wake()

    def _run(self, notify: RustNotify) -> None:
        try:
            while not self._closing.is_set():
                self._read(notify)
        except (OSError, RuntimeError):  # a name that is no UTF-8, say
            self._notify(Changes(moved=True))  # then who watches begins again
        finally:
            notify.close()

    def _read(self, notify: RustNotify) -> None:
        reported = notify.watch(_DEBOUNCE_MS, _STEP_MS, 0, self._closing)
        if not isinstance(reported, set):
            return  # it is to end
        changes = Changes(lost=len(reported) >= _FLOOD)
        for kind, path in reported:
            if kind != Change.deleted:
                # A folder or a file: who looks will see.
                changes.files.add(path)
                changes.folders.add(path)
            elif path == self._folder:
                changes.moved = True
        self._notify(changes)

    def _notify(self, changes: Changes) -> None:
        with self._changed:
            self._changes.add(changes, _MOST)
            self._changed.notify_all()
