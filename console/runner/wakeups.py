"""What makes a runner look at the documents: a change stream of intents, so that it obeys at once.

Owns only the waking; the runner reads the documents themselves, and also looks now and then without being woken.
"""

from __future__ import annotations

import threading
from typing import Any

from console.models import Requested, UploadStatus
from console.records.database import Records
from console.stream.feed import ChangeFeed


def intents_pipeline(host: str) -> list[dict[str, Any]]:
    """Events that may concern a runner of the host, without their documents."""
    updated = "updateDescription.updatedFields"
    return [
        {
            "$match": {
                "$or": [
                    # Those that are held from the start are nobody's to claim, and come by the thousand.
                    {
                        "operationType": "insert",
                        "fullDocument.host": host,
                        "fullDocument.status": {"$ne": UploadStatus.UPLOADING.value},
                    },
                    {"operationType": {"$in": ["replace", "delete"]}},
                    {f"{updated}.requested": {"$in": [word.value for word in Requested]}},
                    {f"{updated}.status": UploadStatus.PENDING.value},
                ]
            }
        },
        {"$project": {"operationType": 1, "clusterTime": 1}},
    ]


class Wakeups:
    """An event that intents in MongoDB set. Thread-safe."""

    def __init__(self, records: Records, host: str) -> None:
        self._feed = ChangeFeed(records.uploads.collection, pipeline=intents_pipeline(host), images=False)
        self._woken = threading.Event()
        self._has_intent = threading.Event()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="wakeups", daemon=True)

    def start(self) -> None:
        """Begin to listen."""
        self._feed.start()
        self._thread.start()

    def wake(self) -> None:
        """Let `wait` return."""
        self._woken.set()

    def wait(self, seconds: float) -> bool:
        """Until woken, at most `seconds`; True if somebody wants something."""
        self._woken.wait(seconds)
        self._woken.clear()
        has_intent = self._has_intent.is_set()
        self._has_intent.clear()
        return has_intent

    def close(self) -> None:
        """Let the threads end; they are not waited for."""
        self._closed.set()
        self._feed.close(timeout=0)
        self.wake()

    def _listen(self) -> None:
        while not self._closed.is_set():
            if self._feed.take(1.0):
                self._has_intent.set()
                self.wake()
