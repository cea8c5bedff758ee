"""Which files of a watched folder are refused, and why: counted, with the latest by name.

Owns the memory of that, which is bounded. A refused file gets no record: it is no upload, it may be one of very many,
and each look at the folder tells anew. Thread-safe.
"""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from itertools import islice
from typing import Final

from console.transfer.refusal import Refusal

MOST_KEPT: Final = 10_000
_SHOWN: Final = 20


class Refusals:
    """Refused files of one rule."""

    def __init__(self, capacity: int = MOST_KEPT) -> None:
        self._capacity = capacity
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, str] = OrderedDict()
        self._uncounted: Counter[str] = Counter()
        self._seen: set[str] | None = None

    def add(self, refusal: Refusal) -> bool:
        """Count a refusal; whether it is news."""
        with self._lock:
            if self._seen is not None and len(self._seen) < self._capacity:
                self._seen.add(refusal.path)
            if self._kept.get(refusal.path) == refusal.reason:
                return False
            if refusal.path not in self._kept and len(self._kept) >= self._capacity:
                self._uncounted[_group(refusal.reason)] += 1
                return False
            self._kept[refusal.path] = refusal.reason
            self._kept.move_to_end(refusal.path)
            return True

    def forget(self, path: str) -> None:
        """The file is gone, or was taken after all."""
        with self._lock:
            self._kept.pop(path, None)

    def scan_begins(self) -> None:
        """Everything is about to be looked at: what is not refused again is refused no longer."""
        with self._lock:
            self._seen = set()
            self._uncounted.clear()

    def scan_ended(self) -> None:
        """Everything was looked at."""
        with self._lock:
            if self._seen is not None:
                for path in [path for path in self._kept if path not in self._seen]:
                    del self._kept[path]
            self._seen = None

    @property
    def total(self) -> int:
        """How many files are refused now."""
        with self._lock:
            return len(self._kept) + self._uncounted.total()

    def by_reason(self) -> dict[str, int]:
        """How many for each reason, most first."""
        with self._lock:
            return dict((Counter(map(_group, self._kept.values())) + self._uncounted).most_common())

    def latest(self) -> list[Refusal]:
        """The last few, latest first."""
        with self._lock:
            return [Refusal(path, reason) for path, reason in islice(reversed(self._kept.items()), _SHOWN)]


def _group(reason: str) -> str:
    """The reason without what is special to one file."""
    return reason.partition(" (")[0].rpartition(": ")[2]
