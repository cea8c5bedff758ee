"""The runner: claims uploads of its host, has them sent by worker threads, and obeys what their documents request.

Owns which uploads it takes, and when. It knows only documents: a person or another host reaches it through them alone.
The life of an upload between its claim and its end is in `active`; how bytes are sent is in `transfer.send`, what is
written in `records`.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import pymongo
from bson import ObjectId
from pymongo.errors import PyMongoError

from console import __version__
from console.capacity import shortage
from console.formatting import visible
from console.models import Upload, are_open
from console.records.connection import describe_error
from console.records.database import Records
from console.records.identity import RunnerIdentity, this_actor
from console.records.runners import HEARTBEAT_SECONDS, LEAVING, Limits
from console.records.transitions import Filter, within_hours
from console.records.uploads import Gate, NewUpload
from console.records.writer import LEASE_SECONDS, RecordWriter
from console.runner.active import ActiveUploads, Capacity
from console.runner.adoption import Adoption
from console.runner.cleanup import Cleanup
from console.runner.key_claims import KeyClaims
from console.runner.policy import Policy
from console.runner.wakeups import Wakeups
from console.runner.working_hours import ALWAYS, CrawlWatch, RuleHours, WorkingHours, minute_of_day
from console.s3.transfer_errors import TransferError
from console.settings.schedule import ScheduleSettings
from console.stream.feed import ChangeFeed
from console.transfer.sender import S3Sender

_MOST_HELD: Final = 1_000
"""While it holds as many uploads nothing more is inserted for it: what waits costs memory, and a lease each."""
_LOOK_ANYWAY_SECONDS: Final = 2.0
_DRAIN_SECONDS: Final = 3.0
_MOST_TOLD: Final = 20  # roots and destinations in a heartbeat

_log = logging.getLogger(__name__)


class Runner:
    """Carries out uploads until stopped. One for a process is enough.

    `kind` (console, watch, command) is what other hosts see of it. `only` bounds it to documents that match; with
    `keeps_all` what it inserts waits for no other runner. Without a `policy` it carries out what this user's own
    processes asked for, and nothing else. `feed` is a stream of the process that it shares (see `Wakeups`).
    `completed` gets each upload that it completed, once the majority has it so: nobody need read it back; it must
    neither wait nor raise. After `most_failures` it begins nothing more. Outside the hours of the `schedule` it carries
    out nothing, and what it held waits as pending.
    """

    def __init__(
        self,
        records: Records,
        sender: S3Sender,
        limits: Limits,
        *,
        kind: str,
        identity: RunnerIdentity | None = None,
        only: Filter | None = None,
        policy: Policy | None = None,
        keeps_all: bool = False,
        lease_seconds: float = LEASE_SECONDS,
        feed: ChangeFeed | None = None,
        completed: Callable[[Upload], None] = lambda _: None,
        schedule: ScheduleSettings = ALWAYS,
        most_failures: int | None = None,
    ) -> None:
        self._records = records
        self._sender = sender
        self._limits = limits
        self._hours = WorkingHours(schedule)
        self._crawl = CrawlWatch(schedule)
        self._closed_rules: dict[str, str] = {}
        self._minute = -1
        self._rates: dict[str, int] = {}
        self._is_closed = bool(self._hours.why_closed)
        self._bandwidth = self._hours.bandwidth(limits.bandwidth)
        self._kind = kind
        self._identity = identity or RunnerIdentity(deployment=records.deployment)
        self._only = only
        self._policy = policy or Policy(seals=records.uploads.seals)
        self._rule_hours = RuleHours(self._policy.schedules)
        self._keeps_all = keeps_all
        self._lease_seconds = lease_seconds
        self._writer = RecordWriter(
            records.uploads.collection, self.name, on_lost=self._lost, lease_seconds=lease_seconds
        )
        self._wakeups = Wakeups(records, self.host, feed)
        self._leaving = threading.Event()
        self._active_uploads = ActiveUploads(
            records.uploads,
            sender,
            self._writer,
            KeyClaims(records.uploads, sender.endpoint, self.name),
            policy=lambda: self._policy,
            leaving=self._leaving,
            wants_more=self._wake_for_more,
            completed=completed,
            failed=self._one_failed,
        )
        self._most_failures = most_failures
        self._failures = itertools.count(1)
        self._draining = False
        self._may_find_more = True
        self._claim_may_be_lost = False  # it took place, but the answer did not come
        self._insert_may_be_lost = False
        self._becoming_held = threading.Lock()
        self._stopping = threading.Lock()
        self._stopped: bool | None = None
        self._next_heartbeat = 0.0
        self._adoption = Adoption(records.uploads, self._identity, self._is_here, lease_seconds, sender.endpoint)
        self._cleanup = Cleanup(records, sender, self.name, self._adoption.dead, lease_seconds)
        self._thread = threading.Thread(target=self._run, name="runner", daemon=True)

    @property
    def name(self) -> str:
        """The runner as it stands in leases."""
        return self._identity.name

    @property
    def host(self) -> str:
        return self._identity.host

    @property
    def limits(self) -> Limits:
        return self._limits

    @property
    def gate(self) -> Gate:
        return self._policy.gate

    def follow(self, policy: Policy) -> None:
        """Do what this policy allows from now on."""
        self._policy = policy
        self._rule_hours = RuleHours(policy.schedules)
        self._wakeups.wake()

    def start(self) -> None:
        self._sender.set_limits(self._limits_now())
        self._wakeups.start()
        self._cleanup.start()
        self._thread.start()

    def holds(self) -> set[ObjectId]:
        """What it has claimed and not ended."""
        return self._active_uploads.ids()

    @property
    def has_room(self) -> bool:
        """Whether it makes sense to `insert` more already."""
        return len(self._active_uploads) < _MOST_HELD

    def insert(self, uploads: Sequence[NewUpload]) -> list[Upload]:
        """Insert documents for new uploads. Small files that can be begun at once are held by this runner from the
        start, with `keeps_all` all of them; the others wait to be claimed, by it or another one.

        Raises:
            PyMongoError: the server is away. Those that it has nevertheless taken are carried out.
        """
        is_ending = self._draining or self._leaving.is_set() or self._is_closed
        held: list[NewUpload] = []
        others: list[NewUpload] = []
        for new in uploads:
            is_open = are_open(new.hours, minute_of_day())
            is_held = not is_ending and is_open and (self._keeps_all or self._sender.takes_new(new))
            (held if is_held else others).append(new)
        waiting = self._records.uploads.insert(others)
        with self._becoming_held:
            try:
                claimed = self._records.uploads.insert_claimed(
                    held, self.name, lease_seconds=self._lease_seconds, endpoint=self._sender.endpoint
                )
            except PyMongoError:
                self._insert_may_be_lost = True
                raise
            self._active_uploads.take(claimed, claimed=False)
        self._wakeups.wake()
        return [*waiting, *claimed]

    def drain(self) -> None:
        """Begin nothing more; what has begun goes on. May wait for MongoDB, for some seconds."""
        self._draining = True
        self._next_heartbeat = 0.0
        self._wakeups.wake()
        self._active_uploads.keep_begun(_DRAIN_SECONDS)

    def _one_failed(self) -> None:
        """Called by the threads that send: whoever waits for the records to tell is hundreds of small files late."""
        if self._most_failures is not None and next(self._failures) >= self._most_failures and not self._draining:
            self._draining = True
            self._active_uploads.keep_begun(0.0)

    def wait_idle(self, timeout: float | None = None) -> bool:
        """Wait until nothing is claimed or sent any more; False if that took longer."""
        return self._active_uploads.wait_idle(timeout)

    def stop(self, timeout: float = 5.0) -> bool:
        """Pause what runs, keep what arrived, and end; True if all was written within `timeout` seconds.

        What could not be written in time is adopted by the next runner of this host. A second call waits for the
        first and gives its answer.
        """
        with self._stopping:
            if self._stopped is None:
                self._stopped = self._stop(timeout)
            return self._stopped

    def _stop(self, timeout: float) -> bool:
        until = time.monotonic() + timeout
        self._leaving.set()
        self._wakeups.close()
        self._active_uploads.leave()
        if self._thread.is_alive():
            self._thread.join(timeout / 2)
        if not self.wait_idle(timeout / 4):
            self._active_uploads.cancel()
        # While it lives it may still be claiming.
        settled = not self._thread.is_alive() and self.wait_idle(max(0.1, until - time.monotonic() - 0.5))
        written = self._writer.close(max(0.2, until - time.monotonic()))
        is_well = settled and written
        self._cleanup.close(max(0.0, until - time.monotonic()) if is_well else 0.0)
        if is_well:
            try:
                with pymongo.timeout(max(0.2, until - time.monotonic())):  # MongoDB may fall silent just now
                    self._records.runners.leave(self.name)
            except PyMongoError as error:
                _log.warning("the runner could not take its leave: %s", describe_error(error))
            self._identity.release()
        return is_well

    def _run(self) -> None:
        has_request = True
        next_look = 0.0
        while not self._leaving.is_set():
            try:
                self._heartbeat()
                self._keep_hours()
                self._active_uploads.start_missing()
                if has_request or time.monotonic() >= next_look:
                    self._may_find_more = True
                    self._obey()
                    self._let_priorities_overtake()
                    self._adoption.look(self._active_uploads.ids())
                    has_request, next_look = False, time.monotonic() + _LOOK_ANYWAY_SECONDS
                self._claim()
            except PyMongoError as error:
                _log.info("the runner waits for MongoDB: %s", describe_error(error))
                self._leaving.wait(0.5)
            except Exception as error:  # noqa: BLE001 - a runner that ended unnoticed would obey nobody any more
                if lacking := shortage(error):
                    _log.warning("the runner waits: %s", lacking)
                else:
                    _log.exception("the runner goes on after a fault of its own")
                self._leaving.wait(0.5)
            if self._wakeups.wait(_LOOK_ANYWAY_SECONDS):
                has_request = True  # until it was obeyed: MongoDB may be away just now
                self._cleanup.wake()

    def _details(self) -> Mapping[str, Any]:
        """What people on other hosts are told of it: who runs it, and what it may carry out for others."""
        policy, actor = self._policy, this_actor()
        return {
            "user": actor.user,
            "pid": actor.process,
            "version": __version__,
            "roots": list(policy.roots[:_MOST_TOLD]),
            "destinations": [f"s3://{bucket}/{prefix}" for bucket, prefix in policy.destinations[:_MOST_TOLD]],
            "waits": self.why_closed,
        }

    def _heartbeat(self) -> None:
        if time.monotonic() < self._next_heartbeat:
            return
        kind = LEAVING if self._draining else self._kind
        limits = self._records.runners.heartbeat(
            self.name, self.host, kind, self._limits, self._details(), endpoint=self._sender.endpoint
        )
        self._next_heartbeat = time.monotonic() + HEARTBEAT_SECONDS
        if limits != self._limits:
            self._limits = limits
            self._sender.set_limits(self._limits_now())

    def _limits_now(self) -> Limits:
        """What people set, with the bandwidth of the time of day."""
        return replace(self._limits, bandwidth=self._hours.bandwidth(self._limits.bandwidth))

    @property
    def why_closed(self) -> str:
        """Why uploads wait here, in words; empty where none has to: by `[schedule]`, or by that of their watch."""
        if why := self._hours.why_closed:
            return why
        return "; ".join(f"{visible(title)}: {why}" for title, why in self._rule_hours.closed.items())

    @property
    def waits_until(self) -> str:
        """The same in few words: `waits until 20:00`."""
        if moment := self._hours.opens:
            return f"waits until {moment}"
        return "; ".join(f"{visible(title)} waits until {moment}" for title, moment in self._rule_hours.opens.items())

    def _keep_hours(self) -> None:
        was_closed, self._is_closed = self._is_closed, bool(self._hours.why_closed)
        closed_before, self._closed_rules = self._closed_rules, self._rule_hours.closed
        if was_closed != self._is_closed or closed_before != self._closed_rules:
            self._next_heartbeat = 0.0  # others are told why what they wait for waits
            self._may_find_more = True
        if self._is_closed and not was_closed:
            _log.info("%s: what is not done waits", self._hours.why_closed)
            self._active_uploads.release()
        elif self._closed_rules or self._minute != minute_of_day():
            minute = self._minute = minute_of_day()  # what is claimed within it is open
            self._active_uploads.release(lambda upload: not self._is_open(upload, minute))
        bandwidth = self._hours.bandwidth(self._limits.bandwidth)
        if bandwidth != self._bandwidth:
            self._bandwidth = bandwidth
            self._sender.set_limits(self._limits_now())
        if (rates := self._rule_hours.rates) != self._rates:
            self._rates = rates
            self._sender.set_rates(rates)
        moved = self._active_uploads.moved()
        crawling = self._crawl.crawling(moved) | self._rule_hours.crawling(moved, self._active_uploads.rules())
        for upload_id, words in crawling.items():
            self._active_uploads.give_up(upload_id, TransferError("TooSlow", words))

    def _obey(self) -> None:
        """Stop what shall pause or be cancelled, and what is no longer ours."""
        if not len(self._active_uploads):
            return
        for upload_id in self._records.uploads.requested_of(self.name):
            self._active_uploads.obey(upload_id)

    def _let_priorities_overtake(self) -> None:
        """What is only claimed begins in the order of priorities, and is given back where another one comes first."""
        waiting = self._active_uploads.waiting()
        if not waiting or not self._wakeups.take_priority():
            return
        priorities = self._records.uploads.priorities(waiting)
        highest = self._records.uploads.highest_claimable(self.host, list(self._bounds()))
        self._active_uploads.prioritise(priorities, highest)

    def _claim(self) -> None:
        if self._draining or self._leaving.is_set() or self._is_closed or not self._may_find_more:
            return
        capacity = self._active_uploads.capacity()
        if capacity is None:
            return
        if not (self._claim_may_be_lost or self._insert_may_be_lost):
            self._claim_into(capacity, own=False)
            return
        with self._becoming_held:  # what is just being inserted as held is not lost
            self._claim_into(capacity, own=True)
            # Where there was little room, or others were older, some may be left.
            self._claim_may_be_lost = True  # also where this look fails
            is_left = self._records.uploads.holds_beside(self.name, self._active_uploads.ids(), self.gate)
            self._claim_may_be_lost = self._insert_may_be_lost = is_left

    def _claim_into(self, capacity: Capacity, *, own: bool) -> None:
        """Claim, and begin. `own`: also what the runner may hold without knowing of it."""
        at_work = self._active_uploads.ids()
        gate = self.gate
        idle, takeable = self._adoption.takeable(at_work, own=own)
        self._claim_may_be_lost = True
        claimed = self._records.uploads.claim(
            self.name,
            self.host,
            lease_seconds=self._lease_seconds,
            slots=capacity.slots,
            most_bytes_ahead=capacity.bytes_ahead,
            dead=idle,
            only={"$and": [takeable, *self._bounds()]},
            at_work=at_work,
            endpoint=self._sender.endpoint,
            small=self._sender.small_up_to,
            gate=gate,
        )
        if not claimed and capacity.slots and self._only is None and not self._closed_rules:
            elsewhere = self._adoption.takeable_elsewhere(at_work)[: capacity.slots]
            claimed = self._records.uploads.claim_elsewhere(
                self.name,
                self.host,
                elsewhere,
                lease_seconds=self._lease_seconds,
                endpoint=self._sender.endpoint,
                gate=gate,
            )
        # Where no slot was free, the next one may only have been too large to wait here.
        self._may_find_more = bool(claimed) or not capacity.slots
        self._claim_may_be_lost = False
        self._active_uploads.take(claimed, claimed=True)

    def _bounds(self) -> Iterator[Filter]:
        """What else an upload has to be."""
        if self._only is not None:
            yield self._only
        if self._closed_rules:
            yield {"watch.rule": {"$nin": list(self._closed_rules)}}
        yield {"$or": [within_hours(minute_of_day()), {"watch.rule": {"$in": list(self._policy.schedules)}}]}

    def _is_open(self, upload: Upload, minute: int) -> bool:
        """Whether it may be carried out now. What a watch of this process says counts for its uploads, else what was
        recorded."""
        if upload.watch is not None and upload.watch.rule in self._policy.schedules:
            return upload.watch.rule not in self._closed_rules
        return are_open(upload.hours, minute)

    def _is_here(self, upload: Upload) -> bool:
        """Whether it may be carried out, and its file is seen: one that may not be read is not even looked at."""
        policy = self._policy
        if policy.refuses(upload) is not None:
            return False
        return self._sender.is_here(policy.prepared(upload, is_own=policy.seals.is_own_request(upload)))

    def _wake_for_more(self) -> None:
        if self._may_find_more:
            self._wakeups.wake()

    def _lost(self, upload_id: ObjectId, attempt: int) -> None:
        if self._active_uploads.lose(upload_id, attempt):
            _log.warning("upload %s is no longer ours", upload_id)
