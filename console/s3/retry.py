"""Trying again what passes by itself: how often, and how long to wait in between.

This module has the backoff. Which errors are worth it is in `error_codes`; waits go through `Control`, so a pause ends
them.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from console.error_codes import OUT_OF_REACH, Recovery
from console.s3.control import Control, Journal, Unattended
from console.s3.transfer_errors import Stopped, TransferError, classify

T = TypeVar("T")

START_AGAIN: Final = frozenset({"NoSuchUpload", "InvalidPart", "InvalidPartOrder", "PartsUnknown", "TooManyParts"})
"""The multipart upload is lost: sending the same request again is of no use."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """`retries` of each request beyond the first attempt. Waits are random ("full jitter", see the AWS Architecture
    Blog, "Exponential Backoff And Jitter") between 0 and `first_wait_seconds` doubled each time, up to the longest.
    While S3 does not answer at all, attempts do not count, for `outage_seconds`.
    """

    retries: int = 8
    first_wait_seconds: float = 0.5
    longest_wait_seconds: float = 30.0
    outage_seconds: float = 0.0


_MOST_DOUBLED: Final = 60
_SINGLE_REQUEST: Final = RetryPolicy(retries=3, first_wait_seconds=0.2, longest_wait_seconds=2.0)


def call(operation: Callable[[], T]) -> T:
    """Run one request; what goes wrong leaves it as `TransferError` or `Stopped`."""
    try:
        return operation()
    except (TransferError, Stopped):
        raise
    except Exception as error:
        raise classify(error) from error


def with_retries(operation: Callable[[], T], policy: RetryPolicy, control: Control, journal: Journal) -> T:
    """Run a request until it succeeds, fails for good, or the retries are used up.

    Raises:
        TransferError: the last one.
        Stopped: `control` said so.
    """
    began_at = time.monotonic()
    attempt = counted = 0
    while True:
        attempt += 1
        try:
            return call(operation)
        except TransferError as error:
            if error.recovery is not Recovery.RETRY or error.code in START_AGAIN:
                raise
            is_outage = error.code in OUT_OF_REACH
            counted += not (is_outage and time.monotonic() - began_at < policy.outage_seconds)
            if counted > policy.retries:
                raise
            # An outage may last for hundreds of attempts, and each note is an event that every console shows.
            if attempt <= policy.retries + 1:
                of_how_many = "" if is_outage else f" of {policy.retries + 1}"
                journal.noted(error.code, f"{error.message} (attempt {attempt}{of_how_many})")
        longest = min(policy.longest_wait_seconds, policy.first_wait_seconds * 2 ** min(attempt - 1, _MOST_DOUBLED))
        control.wait(random.uniform(0, longest))  # noqa: S311 - so that many do not come back at once


def call_with_retries(operation: Callable[[], T]) -> T:
    """A single request outside an upload: a few quick retries, not interruptible."""
    nobody = Unattended()
    return with_retries(operation, _SINGLE_REQUEST, nobody, nobody)
