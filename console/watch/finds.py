"""Files that were found, on their way to the queue: waited for until they are complete, then handed over in batches.

Owns what of a folder is kept in memory: files that are not complete yet, and one batch of those that are. Not here:
when to look (`watcher`), what a look finds (`scanning`), what becomes of complete files (`queueing`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Final

from console.watch.at_rest import AtRest, Found
from console.watch.queueing import Queue
from console.watch.refusals import Refusals
from console.watch.rules import WatchRule
from console.watch.scanning import Scanner, marker_time

BATCH: Final = 500


class Finds:
    """The finds of one rule. `make_room` is called before each batch and may wait, or raise. For one thread, but for
    `len()`, how many files wait, and `queued`, how many uploads were recorded.
    """

    def __init__(
        self,
        rule: WatchRule,
        at_rest: AtRest,
        scanner: Scanner,
        queue: Queue,
        refusals: Refusals,
        *,
        make_room: Callable[[], None],
    ) -> None:
        self._rule = rule
        self._at_rest = at_rest
        self._scanner = scanner
        self._queue = queue
        self._refusals = refusals
        self._make_room = make_room
        self._complete: dict[str, Found] = {}
        self.queued = 0

    def __len__(self) -> int:
        return len(self._at_rest) + len(self._complete)

    def see_all(self, files: Iterator[Found]) -> Iterator[None]:
        """Take files from a walk; stops after each batch that was handed over. Raises as `flush`."""
        for file in files:
            self._see(file)
            if len(self._complete) >= BATCH:
                self.flush()
                yield

    def see_folder(self, path: str) -> None:
        """A folder is new, or was moved here: its files have no events of their own. Raises as `flush`."""
        if self._scanner.is_folder(path):
            for _ in self.see_all(self._scanner.below(path)):
                pass

    def see_path(self, path: str) -> None:
        """Something happened to a file."""
        if self._rule.complete_when == "marked" and path.endswith(self._rule.marker_suffix):
            path = path.removesuffix(self._rule.marker_suffix)
        file = self._scanner.look(path)
        if file is not None:
            self._see(file)
            return
        self._at_rest.forget(path)
        if not os.path.lexists(path):
            self._refusals.forget(path)

    def see_due(self) -> None:
        """Look again at those that may be complete by now."""
        for path in self._at_rest.due():
            self.see_path(path)

    def flush(self) -> None:
        """Hand complete files over; they stay here until that has worked. Raises PyMongoError, and as `make_room`."""
        while self._complete:
            self._make_room()
            batch = [file for _, file in zip(range(BATCH), self._complete.values(), strict=False)]
            self.queued += self._queue.put(batch)
            for file in batch:
                del self._complete[file.path]

    def clear(self) -> None:
        """Forget all."""
        self._at_rest.clear()
        self._complete.clear()

    def _see(self, file: Found) -> None:
        if self._at_rest.look(file, marker_time(self._rule, file)):
            self._complete[file.path] = file
