"""The terminal's echo of control keys, while bars are on it.

They fill their lines: a `^C` behind them would push them down by one, and the first of them would stay. Owns one state
for the process, as there is one terminal.
"""

from __future__ import annotations

import os
import signal
import sys
import termios
from contextlib import suppress
from typing import Any

_before: list[tuple[int, list[Any]]] = []


def hide_control_keys() -> None:
    """Write no `^C` from now on, if standard input is the terminal and this process in its foreground."""
    with suppress(OSError, ValueError, termios.error):
        terminal = sys.stdin.fileno()
        if not _before and os.tcgetpgrp(terminal) == os.getpgrp():
            found = termios.tcgetattr(terminal)
            _before.append((terminal, found))
            _set(terminal, [*found[:3], found[3] & ~termios.ECHOCTL, *found[4:]])


def show_control_keys() -> None:
    """As it was before. May be called twice, and from any thread; takes no time."""
    while _before:
        _set(*_before.pop())


def _set(terminal: int, attributes: list[Any]) -> None:
    # A job that was sent into the background meanwhile would be stopped for it.
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTTOU])
    try:
        with suppress(OSError, termios.error):
            termios.tcsetattr(terminal, termios.TCSANOW, attributes)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
