"""Signals of a program that wants to end in its own way.

This module installs handlers, puts back what was there, and says which exit code belongs to a signal. What a command
does when it is told to end is the command's: see `commands.interruption`.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

TERMINATION: Final = (signal.SIGTERM, signal.SIGHUP)


def exit_code(number: signal.Signals) -> int:
    """The exit code of a program that a signal has ended, as a shell gives it."""
    return 128 + number


INTERRUPTED: Final = exit_code(signal.SIGINT)
"""Exit code after Ctrl+C."""


@contextmanager
def handling(numbers: tuple[signal.Signals, ...], handler: Callable[[signal.Signals], None]) -> Iterator[None]:
    """Call `handler` in the main thread whenever one of the signals comes. For the main thread only."""
    before = {number: signal.signal(number, lambda got, _: handler(signal.Signals(got))) for number in numbers}
    try:
        yield
    finally:
        for number, former in before.items():
            signal.signal(number, former)
