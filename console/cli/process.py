"""Signals of a program that wants to end in its own way.

This module installs handlers, puts back what was there, says which exit code belongs to a signal, and has the last
resort that ends the process. What a command does when it is told to end is the command's: see `commands.interruption`.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final

from console.capacity import start_thread

TERMINATION: Final = (signal.SIGTERM, signal.SIGHUP)
LAST_RESORT_SECONDS: Final = 5.0


def exit_code(number: signal.Signals) -> int:
    """The exit code of a program that a signal has ended, as a shell gives it."""
    return 128 + number


INTERRUPTED: Final = exit_code(signal.SIGINT)
"""Exit code after Ctrl+C."""


def end_at(moment: float, number: signal.Signals, farewell: Callable[[], object] = lambda: None) -> None:
    """End the process at a moment of `time.monotonic`, whatever hangs in it."""
    time.sleep(max(0.0, moment - time.monotonic()))
    farewell()
    os._exit(exit_code(number))


def start_last_resort(number: signal.Signals, seconds: float) -> None:
    """End the process after so long, and go on meanwhile."""
    start_thread(partial(end_at, time.monotonic() + seconds, number), "last resort")


@contextmanager
def handling(numbers: tuple[signal.Signals, ...], handler: Callable[[signal.Signals], None]) -> Iterator[None]:
    """Call `handler` in the main thread whenever one of the signals comes. For the main thread only."""
    before = {number: signal.signal(number, lambda got, _: handler(signal.Signals(got))) for number in numbers}
    try:
        yield
    finally:
        for number, former in before.items():
            signal.signal(number, former)
