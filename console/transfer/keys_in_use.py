"""Keys that uploads of this process are about to make.

Owns that no two of them choose the same one: between the look at a key and the write there is time for another
thread, and not every server knows a conditional write that would tell.
"""

from __future__ import annotations

import threading


class KeysInUse:
    """Who is at work on which key of which bucket. Thread-safe."""

    def __init__(self) -> None:
        self._owners: dict[tuple[str, str], object] = {}
        self._lock = threading.Lock()

    def take(self, bucket: str, key: str, owner: object) -> bool:
        """Whether the key is the owner's from now on: nobody else has it."""
        with self._lock:
            return self._owners.setdefault((bucket, key), owner) is owner

    def release(self, owner: object) -> None:
        """The owner's keys are free again."""
        with self._lock:
            self._owners = {place: held_by for place, held_by in self._owners.items() if held_by is not owner}
