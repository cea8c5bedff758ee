"""Which uploads a runner may take over from another one.

Owns the three ways to know that a runner is gone: its lock file on this host is free; its lease ran out and was not
renewed for a while; the same for another host's upload whose file is seen here too. `runner` takes them.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable
from typing import Final, NamedTuple

from bson import ObjectId
from pymongo.errors import PyMongoError

from console.capacity import shortage
from console.models import Endpoint, Upload, UploadStatus
from console.records.connection import describe_error
from console.records.identity import RunnerIdentity
from console.records.transitions import Filter, at_endpoint
from console.records.uploads import Uploads

_LOOK_SECONDS: Final = 2.0
_LOOKS_APART_SECONDS: Final = 30.0
"""Looks that are further apart say nothing of the time between them, in which a lease may have been renewed."""
_ELSEWHERE_AT_ONCE: Final = 50
"""Of how many uploads of other hosts the files are looked for at a time."""

_log = logging.getLogger(__name__)


class _Seen(NamedTuple):
    """When an upload was found overdue first and last, by the monotonic clock."""

    first: float
    last: float


class Adoption:
    """What a runner asks before it claims. For one thread, but for `dead`."""

    def __init__(
        self,
        uploads: Uploads,
        identity: RunnerIdentity,
        is_here: Callable[[Upload], bool],
        lease_seconds: float,
        endpoint: Endpoint,
    ) -> None:
        self._uploads = uploads
        self._identity = identity
        self._is_here = is_here
        self._at_endpoint = at_endpoint(endpoint)
        # Leases of all runners run out during an outage of MongoDB; those that live renew them once it is over.
        self._grace_seconds = lease_seconds / 3
        self._overdue: dict[ObjectId, _Seen] = {}
        self._overdue_elsewhere: dict[ObjectId, _Seen] = {}
        self._seen_elsewhere: ObjectId | None = None
        self._past_grace_elsewhere: list[ObjectId] = []
        self._looked_elsewhere = 0.0
        self._looking: threading.Thread | None = None
        self._dead: list[str] = []
        self._long_overdue: list[ObjectId] = []
        self._next_look = 0.0
        self._next_look_elsewhere = 0.0

    def dead(self) -> list[str]:
        """Runners of this host that are known to have ended, among those that documents name."""
        named = self._uploads.lease_holders(self._identity.host)
        dead = self._identity.dead_among(named)
        self._identity.forget(named)
        return dead

    def takeable(self, at_work: Collection[ObjectId], *, own: bool = False) -> tuple[list[str], Filter]:
        """Runners that are not at work on what they hold, and a filter for documents of this host that are new, theirs,
        or long overdue.

        Looks only now and then: many claims follow each other closely.
        With `own` the runner itself is among them: it may hold uploads beside those `at_work` without knowing of it.
        """
        self.look(at_work)
        idle = [*self._dead, self._identity.name] if own else self._dead
        return idle, {
            "$or": [
                {"status": {"$ne": UploadStatus.UPLOADING.value}},
                {"lease.runner": {"$in": idle}},
                {"_id": {"$in": self._long_overdue}},
            ]
        }

    def look(self, at_work: Collection[ObjectId]) -> None:
        """See which runners of this host are gone, and what is long overdue, if that was not looked at just now. Also
        for a runner without room: what is found overdue for the first time once there is room could not be taken."""
        begun = time.monotonic()
        if begun >= self._next_look:
            self._next_look = begun + min(_LOOK_SECONDS, self._grace_seconds)
            self._dead = self.dead()
            overdue = set(self._uploads.expired(self._identity.host)) - set(at_work)
            self._long_overdue = self._past_grace(overdue, self._overdue, begun)

    def takeable_elsewhere(self, at_work: Collection[ObjectId]) -> list[ObjectId]:
        """Long overdue uploads of other hosts whose files are seen here, as found since they were asked for last,
        without those `at_work`.

        They are looked for now and then, in a thread of its own: files of others may lie in a share that hangs.
        """
        past_grace, self._past_grace_elsewhere = self._past_grace_elsewhere, []
        if time.monotonic() - self._looked_elsewhere > _LOOKS_APART_SECONDS:
            past_grace = []  # a busy runner asks rarely
        is_looking = self._looking is not None and self._looking.is_alive()
        if time.monotonic() >= self._next_look_elsewhere and not is_looking:
            self._next_look_elsewhere = time.monotonic() + min(_LOOK_SECONDS, self._grace_seconds)
            look = threading.Thread(target=self._look_elsewhere, args=(set(at_work),), name="elsewhere", daemon=True)
            try:
                look.start()
                self._looking = look
            except (RuntimeError, MemoryError) as error:
                if not shortage(error):
                    raise
                # The machine allows no further thread: what waits here is claimed all the same.
        # A look that began before a claim may end after it, and does not know that the runner is at work on it by now.
        return [upload_id for upload_id in past_grace if upload_id not in at_work]

    def _look_elsewhere(self, at_work: set[ObjectId]) -> None:
        """At those whose files were here before, and at some more: there may be many whose files never are."""
        begun = time.monotonic()
        try:
            known = self._stalled({"_id": {"$in": list(self._overdue_elsewhere)}})
            more = self._stalled_next()
            here = {found.id: found for found in (*known, *more) if found.id not in at_work and self._is_here(found)}
            self._past_grace_elsewhere = self._past_grace(here, self._overdue_elsewhere, begun)
            self._looked_elsewhere = time.monotonic()
        except PyMongoError as error:
            _log.info("looking for uploads of other hosts waits for MongoDB: %s", describe_error(error))
        except Exception:  # noqa: BLE001 - Python would print the traceback into the screen
            _log.exception("looking for uploads of other hosts")

    def _stalled_next(self) -> list[Upload]:
        behind: Filter = {"_id": {"$gt": self._seen_elsewhere}} if self._seen_elsewhere is not None else {}
        wanted = {**behind, **self._at_endpoint}
        page = self._uploads.stalled(self._identity.host, wanted, limit=_ELSEWHERE_AT_ONCE)
        self._seen_elsewhere = page[-1].id if len(page) == _ELSEWHERE_AT_ONCE else None
        return [found for found in page if isinstance(found, Upload)]

    def _stalled(self, which: Filter) -> list[Upload]:
        found = self._uploads.stalled(self._identity.host, which)
        return [upload for upload in found if isinstance(upload, Upload)]

    def _past_grace(self, overdue: Iterable[ObjectId], before: dict[ObjectId, _Seen], begun: float) -> list[ObjectId]:
        """Those that were found overdue at every look for the length of the grace, this one having `begun` then."""
        now = time.monotonic()
        seen: dict[ObjectId, _Seen] = {}
        for upload_id in overdue:
            earlier = before.get(upload_id)
            goes_on = earlier is not None and begun - earlier.last <= _LOOKS_APART_SECONDS
            seen[upload_id] = _Seen(earlier.first if earlier and goes_on else now, now)
        before.clear()
        before.update(seen)
        return [upload_id for upload_id, found in seen.items() if now - found.first >= self._grace_seconds]
