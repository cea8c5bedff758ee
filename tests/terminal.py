"""A program in a pseudo-terminal of its own, seen through a terminal emulator, as a person sees it.

Owns the terminal; the program and what is expected of it are the tests' business. Waits for conditions, not for time.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Self

import pyte

KEYS = {
    "enter": "\r",
    "tab": "\t",
    "escape": "\x1b",
    "space": " ",
    "up": "\x1b[A",
    "down": "\x1b[B",
    "home": "\x1b[H",
    "end": "\x1b[F",
    "ctrl+c": "\x03",
    "backspace": "\x7f",
}

PATIENCE = float(os.environ.get("TEST_PATIENCE", "120"))  # seconds; less than pytest gives a test
# Where these are set, as on some CI machines, programs believe them more than their terminal.
_SIZE_VARIABLES = ("COLUMNS", "LINES")


class Terminal:
    """Starts `command` in a terminal of `columns` x `lines`."""

    def __init__(
        self, command: Sequence[str], *, columns: int, lines: int, environment: Mapping[str, str] | None = None
    ) -> None:
        self._screen = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self._screen)
        self.received = 0
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        inherited = {name: value for name, value in os.environ.items() if name not in _SIZE_VARIABLES}
        self.process = subprocess.Popen(
            command,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={**inherited, "TERM": "xterm-256color", "COLORTERM": "truecolor", **(environment or {})},
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(slave)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(PATIENCE)
        self.hang_up()

    @property
    def text(self) -> str:
        """The screen as lines of text."""
        return "\n".join(line.rstrip() for line in self._screen.display)

    def press(self, *keys: str) -> None:
        """Type keys by name, or characters as they are."""
        for key in keys:
            os.write(self._master, KEYS.get(key, key).encode())

    def answer_seconds(self, keys: str, echo: str, seconds: float = PATIENCE) -> float:
        """Type, and give the time until the program has written `echo`, which it must not do by itself."""
        began, wanted, tail = time.monotonic(), echo.encode(), b""
        os.write(self._master, keys.encode())
        while wanted not in tail:
            if time.monotonic() - began > seconds:
                raise AssertionError(f"no answer to {keys!r}\n--- the screen ---\n{self.text}")
            tail = tail[-len(wanted) :] + self._receive(0.2)
        return time.monotonic() - began

    def look(self) -> str:
        """Read what is there already; gives the screen's text."""
        while self._read(0):
            pass
        return self.text

    def hang_up(self) -> None:
        """Close the terminal, as a broken SSH connection does; a second time nothing happens."""
        # The number may be another's file by then: of a thread of PyMongo, say.
        master, self._master = self._master, -1
        if master >= 0:
            os.close(master)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the program."""
        self.process.send_signal(number)

    def wait_for(self, what: str | re.Pattern[str] | Callable[[str], bool], seconds: float = PATIENCE) -> str:
        """Read until the screen shows it; gives the screen's text."""
        until = time.monotonic() + seconds
        while True:
            text = self.text
            if _shows(text, what):
                return text
            left = until - time.monotonic()
            if left <= 0:
                raise AssertionError(f"never seen: {what}\n--- the screen ---\n{text}")
            has_ended = self.process.poll() is not None
            # Asked before the last look: what it wrote just before its end is seen.
            if not self._read(min(left, 0.5)) and has_ended:
                raise AssertionError(f"ended with {self.process.returncode} before: {what}\n--- the screen ---\n{text}")

    def wait_end(self, seconds: float = PATIENCE) -> int:
        """Read until the program ends; gives its exit code."""
        until = time.monotonic() + seconds
        while self.process.poll() is None:
            if time.monotonic() > until:
                raise AssertionError(f"still running\n--- the screen ---\n{self.text}")
            self._read(0.2)
        while self._read(0.05):
            pass
        return self.process.returncode

    def _read(self, seconds: float) -> bool:
        return bool(self._receive(seconds))

    def _receive(self, seconds: float) -> bytes:
        try:
            poll = select.poll()  # `select` fails from the 1,024th open file on
            poll.register(self._master, select.POLLIN)
            data = os.read(self._master, 65536) if poll.poll(seconds * 1000) else b""
        except OSError:  # EIO: the program has closed its side
            return b""
        self.received += len(data)
        self._stream.feed(data)
        return data


def _shows(text: str, what: str | re.Pattern[str] | Callable[[str], bool]) -> bool:
    if isinstance(what, str):
        return what in text
    if isinstance(what, re.Pattern):
        return what.search(text) is not None
    return what(text)
