"""Waiting for a condition, never for a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_PAUSE = threading.Event()  # never set


def until(condition: Callable[[], T | None], *, seconds: float = 120.0) -> T:
    """What the condition gives, once that is true."""
    begun = time.monotonic()
    while not (result := condition()):
        if time.monotonic() - begun > seconds:
            raise AssertionError(f"not within {seconds:g} s: {condition}")
        # Often at first. Later less so: each look may be a query, and takes from those who are waited for.
        _PAUSE.wait(min(0.1, 0.005 + (time.monotonic() - begun) / 20))
    return result
