"""What does not work for a watch: each trouble told once, the last one remembered, and whether it is over.

Owns that memory, which is bounded. A trouble is over when a look at everything has ended without meeting it again.
Thread-safe.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

MOST_TOLD: Final = 1_000


class Troubles:
    """Troubles of one rule. `tell` is called with each that is news."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._lock = threading.Lock()
        self._seen: set[str] = set()
        self._seen_before: set[str] = set()
        self._is_looking = False
        self.last = ""
        self.last_at: datetime | None = None

    @property
    def are_there(self) -> bool:
        """Whether something does not work now."""
        with self._lock:
            return bool(self._seen or (self._is_looking and self._seen_before))

    def add(self, problem: str) -> None:
        """Something does not work."""
        with self._lock:
            self.last, self.last_at = problem, datetime.now(UTC)
            is_news = problem not in self._seen and problem not in self._seen_before and len(self._seen) < MOST_TOLD
            if len(self._seen) < MOST_TOLD:
                self._seen.add(problem)
        if is_news:
            self._tell(problem)

    def scan_begins(self) -> None:
        """Everything is about to be looked at: what does not work will be met again."""
        with self._lock:
            # A look that did not end has not seen all that does not work.
            self._seen_before = self._seen | self._seen_before if self._is_looking else self._seen
            self._seen = set()
            self._is_looking = True

    def scan_ended(self) -> None:
        """Everything was looked at."""
        with self._lock:
            self._is_looking = False
