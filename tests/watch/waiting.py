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
    give_up = time.monotonic() + seconds
    while not (result := condition()):
        if time.monotonic() > give_up:
            raise AssertionError(f"not within {seconds:g} s: {condition}")
        _PAUSE.wait(0.02)
    return result
