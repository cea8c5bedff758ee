"""What makes a runner look at the documents: changes of what is wanted of them, so that it obeys at once.

Owns only the waking; the runner reads the documents themselves, and also looks now and then without being woken.
"""

from __future__ import annotations

import threading
from typing import Final

from console.events.event import ChangeEvent
from console.events.feed_items import FeedItem
from console.models import Requested, UploadStatus
from console.records.database import Records
from console.stream.feed import ChangeFeed, Interest, pipeline_for

_UPDATED: Final = "updateDescription.updatedFields"


def runner_interest(host: str) -> Interest:
    """Events that may concern a runner of the host: something is wanted of an upload, or one waits for the host."""
    waits = {
        "fullDocument.host": host,
        # Those that are held from the start are nobody's to claim, and come by the thousand.
        "fullDocument.status": {"$ne": UploadStatus.UPLOADING.value},
    }
    return Interest(
        {
            "$or": [
                {"operationType": {"$in": ["insert", "replace"]}, **waits},
                {f"{_UPDATED}.requested": {"$in": [word.value for word in Requested]}},
                {f"{_UPDATED}.status": UploadStatus.PENDING.value},
                {f"{_UPDATED}.priority": {"$exists": True}},
            ]
        },
        (
            *("operationType", "clusterTime", "fullDocument.host", "fullDocument.status"),
            *("fullDocument.priority", f"{_UPDATED}.requested", f"{_UPDATED}.status", f"{_UPDATED}.priority"),
        ),
    )


def concerns_runner(event: ChangeEvent, host: str) -> bool:
    """The same, of an event that others in this process wanted too."""
    if event.operation in ("insert", "replace"):
        after = event.after or {}
        return after.get("host") == host and after.get("status") != UploadStatus.UPLOADING.value
    updated = (event.update or {}).get("updatedFields") or {}
    is_wanted = "requested" in updated or "priority" in updated
    return is_wanted or updated.get("status") == UploadStatus.PENDING.value


def gives_priority(event: ChangeEvent) -> bool:
    """Whether what waits may have to begin in another order."""
    after = event.after if event.operation in ("insert", "replace") else None
    fields = after or (event.update or {}).get("updatedFields") or {}
    return bool(fields.get("priority")) or (after is None and "priority" in fields)


class Wakeups:
    """An event that is set when something is wanted in MongoDB. Thread-safe.

    `feed` is a stream of this process that brings what `runner_interest` says; without one it reads its own.
    """

    def __init__(self, records: Records, host: str, feed: ChangeFeed | None = None) -> None:
        self._host = host
        self._own = None
        if feed is None:
            pipeline = pipeline_for(runner_interest(host))
            feed = self._own = ChangeFeed(records.uploads.collection, pipeline=pipeline, images=False, capacity=0)
        self._woken = threading.Event()
        self._has_request = threading.Event()
        self._has_priority = threading.Event()
        self._feed = feed
        feed.attach(self._hear)

    def start(self) -> None:
        self._feed.start()

    def wake(self) -> None:
        self._woken.set()

    def wait(self, seconds: float) -> bool:
        """Until woken, at most `seconds`; True if somebody wants something."""
        self._woken.wait(seconds)
        self._woken.clear()
        has_request = self._has_request.is_set()
        self._has_request.clear()
        return has_request

    def take_priority(self) -> bool:
        """Whether a priority was given or changed since the last call."""
        is_set = self._has_priority.is_set()
        self._has_priority.clear()
        return is_set

    def close(self) -> None:
        if self._own is not None:
            self._own.close()
        self.wake()

    def _hear(self, item: FeedItem) -> None:
        if not isinstance(item, ChangeEvent) or concerns_runner(item, self._host):
            if isinstance(item, ChangeEvent) and gives_priority(item):
                self._has_priority.set()
            self._has_request.set()
            self.wake()
