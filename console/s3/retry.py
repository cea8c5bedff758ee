"""Trying again what passes by itself: how often, and how long to wait in between.

Owns the backoff. Which errors are worth it is in `verdicts`; waits go through `Control`, so a pause ends them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception, wait_random_exponential

from console.s3.control import Control, Journal, Unattended
from console.s3.error_codes import OUT_OF_REACH, Recovery
from console.s3.transfer_errors import Stopped, TransferError, classify

T = TypeVar("T")

START_AGAIN: Final = frozenset({"NoSuchUpload", "InvalidPart", "InvalidPartOrder", "TooManyParts"})
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
    counted = 0

    def is_enough(state: RetryCallState) -> bool:
        nonlocal counted
        if not (_is_out_of_reach(state) and (state.seconds_since_start or 0.0) < policy.outage_seconds):
            counted += 1
        return counted > policy.retries

    def note(state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        # An outage may last for hundreds of attempts, and each note is an event that every console shows.
        if isinstance(error, TransferError) and state.attempt_number <= policy.retries + 1:
            attempts = "" if _is_out_of_reach(state) else f" of {policy.retries + 1}"
            journal.noted(error.code, f"{error.message} (attempt {state.attempt_number}{attempts})")

    retrying = Retrying(
        stop=is_enough,
        wait=wait_random_exponential(multiplier=policy.first_wait_seconds, max=policy.longest_wait_seconds),
        retry=retry_if_exception(_passes_by_itself),
        sleep=control.wait,
        before_sleep=note,
        reraise=True,
    )
    result: T = retrying(call, operation)
    return result


def call_with_retries(operation: Callable[[], T]) -> T:
    """A single request outside an upload: a few quick retries, not interruptible."""
    nobody = Unattended()
    return with_retries(operation, _SINGLE_REQUEST, nobody, nobody)


def _is_out_of_reach(state: RetryCallState) -> bool:
    error = state.outcome.exception() if state.outcome else None
    return isinstance(error, TransferError) and error.code in OUT_OF_REACH


def _passes_by_itself(error: BaseException) -> bool:
    return isinstance(error, TransferError) and error.recovery is Recovery.RETRY and error.code not in START_AGAIN
