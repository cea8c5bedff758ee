"""What a watch of one rule is put together from.

Owns the putting together, and what all watches of a process share. No behaviour of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from bson import ObjectId

from console.config import S3Settings, TransferSettings
from console.records.uploads import Uploads
from console.transfer.control import Control
from console.watch.aftercare import Aftercare
from console.watch.at_rest import Found
from console.watch.destination import Destination
from console.watch.judging import Judge, Verifier
from console.watch.notes import Listener
from console.watch.queueing import Queue
from console.watch.refusals import Refusals
from console.watch.rules import WatchRule
from console.watch.sent import SentFiles, count_wanted


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all watches of a process share. `host` as it stands in documents; `batch` marks the uploads of one run."""

    uploads: Uploads
    s3: S3Settings
    transfer: TransferSettings
    host: str
    verifier: Verifier
    tell: Listener
    is_host_alive: Callable[[str], bool]
    batch: ObjectId | None = None


@dataclass(frozen=True, slots=True)
class RuleParts:
    """The parts of one watch."""

    destination: Destination
    sent: SentFiles
    judge: Judge
    queue: Queue
    aftercare: Aftercare
    count_wanted: Callable[[int], int]

    @classmethod
    def make(
        cls,
        rule: WatchRule,
        around: Surroundings,
        refusals: Refusals,
        *,
        control: Control,
        again: Callable[[Found], None],
        trouble: Callable[[str], None],
    ) -> Self:
        """Raises ConfigurationError where neither rule nor settings name a bucket."""
        endpoint = around.verifier.endpoint
        destination = Destination(
            rule, around.s3, around.transfer, host=around.host, endpoint=endpoint.name, batch=around.batch
        )
        sent = SentFiles(around.uploads, destination.scope, endpoint, destination.bucket)
        judge = Judge(
            rule,
            destination,
            sent,
            host=around.host,
            verifier=around.verifier,
            control=control,
            is_host_alive=around.is_host_alive,
        )
        aftercare = Aftercare(rule, destination, sent, around.verifier, tell=around.tell, trouble=trouble)
        queue = Queue(rule.title, judge, sent, refusals, tell=around.tell, again=again, sent_already=aftercare.submit)
        return cls(
            destination,
            sent,
            judge,
            queue,
            aftercare,
            lambda limit: count_wanted(around.uploads, around.host, rule.title, limit=limit),
        )
