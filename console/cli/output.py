"""What commands write: whole lines at once, values as lines of JSON, log lines without traceback, and a terminal
whose echo of control keys is off while bars are on it.

Writing notices that nobody reads any more, and never hangs when the program has been told to end.
"""

from __future__ import annotations

import json
import logging
import os
import select
import signal
import stat
import sys
import termios
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final, TextIO

from pydantic import BaseModel
from pydantic_core import PydanticSerializationError

from console.errors import ConsoleError
from console.formatting import visible

_POLL_MILLISECONDS: Final = 250


class OutputFailed(ConsoleError):
    """Standard output takes no more: the disk is full, say."""

    title = "Standard output"


class LineOutput:
    """Lines to a pipe, a file or a terminal, with the operating system when `write` returns."""

    def __init__(self, stream: TextIO, is_ending: Callable[[], bool]) -> None:
        """`is_ending` tells whether a reader that takes nothing is to be waited for no longer."""
        self._stream = stream
        self._is_ending = is_ending
        self.descriptor = _descriptor(stream)
        # A file, or a place that takes all there is: it never makes anybody wait, and has no reader to lose.
        self._waits = self.descriptor is not None and not stat.S_ISREG(os.fstat(self.descriptor).st_mode)

    def write(self, lines: Sequence[str]) -> bool:
        """Write lines that have their ends. False where it was given up because the program ends.

        Raises:
            BrokenPipeError: nobody reads any more.
            OutputFailed: it cannot be written.
        """
        text = "".join(lines)
        if self.descriptor is None:
            self._stream.write(text)
            self._stream.flush()
            return True
        left = memoryview(text.encode())
        while left:
            if self._waits and not self._has_room():
                if self._is_ending():
                    return False
                continue
            try:
                # A pipe that has room takes so much without waiting (POSIX, PIPE_BUF).
                left = left[os.write(self.descriptor, left[: select.PIPE_BUF] if self._waits else left) :]
            except BrokenPipeError:
                raise
            except OSError as error:
                raise OutputFailed(f"cannot be written: {visible(error.strerror or str(error))}") from error
        return True

    def check_reader(self) -> None:
        """Raises BrokenPipeError where the other end is closed: without anything to write, nothing else would tell."""
        if self._waits:
            self._poll(0)

    def _has_room(self) -> bool:
        return bool(self._poll(_POLL_MILLISECONDS) & select.POLLOUT)

    def _poll(self, milliseconds: int) -> int:
        poll = select.poll()
        poll.register(self.descriptor or 0, select.POLLOUT)
        events = dict(poll.poll(milliseconds)).get(self.descriptor or 0, 0)
        if events & (select.POLLERR | select.POLLHUP):
            raise BrokenPipeError
        return events


def _descriptor(stream: TextIO) -> int | None:
    """The file descriptor; None for a stream that is only an object of this program."""
    try:
        return stream.fileno()
    except (OSError, ValueError):
        return None


SILENT_S3: Final = "S3 does not answer yet."
_NOTICE_SECONDS: Final = 5.0
"""Requests that time out are asked several times again, for minutes together: nobody should wonder meanwhile."""


@contextmanager
def telling_if_long(message: str) -> Iterator[None]:
    """Say so on standard error if what is done takes longer than a few seconds."""
    notice = threading.Timer(_NOTICE_SECONDS, sys.stderr.write, [f"{message}\n"])
    notice.daemon = True
    with suppress(RuntimeError):  # no further thread: then nothing is said
        notice.start()
    try:
        yield
    finally:
        notice.cancel()


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


def json_line(value: BaseModel, *, with_nulls: bool = False) -> str:
    """One line without its end, and without fields that are None unless `with_nulls`.

    A name that is not UTF-8 has its bytes as lone surrogates, as `os.fsdecode` gives them: `json.loads` and
    `os.fsencode` bring them back. What a terminal would obey, or could not show, is escaped.
    """
    try:
        line = value.model_dump_json(exclude_none=not with_nulls)
    except (PydanticSerializationError, UnicodeEncodeError):
        line = ""
    if line and line.isprintable() and (line.isascii() or _is_utf8(sys.stdout.encoding)):
        return line
    return json.dumps(value.model_dump(mode="python", exclude_none=not with_nulls), default=_text)


def json_fields(fields: Mapping[str, object]) -> str:
    """As `json_line`, of fields that are values of JSON or moments: there may be very many such lines."""
    line = _COMPACT.encode(fields)
    if line.isprintable() and (line.isascii() or _is_utf8(sys.stdout.encoding)):
        return line
    return json.dumps(fields, default=_text)


def _is_utf8(encoding: str | None) -> bool:
    return encoding is None or encoding.lower().replace("-", "") == "utf8"


def _text(value: object) -> str:
    """As pydantic writes them: moments in ISO 8601 with a Z."""
    return value.isoformat().replace("+00:00", "Z") if hasattr(value, "isoformat") else str(value)


_COMPACT: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=_text)


class _Lines(logging.Handler):
    """Writes to what standard error is at that moment: bars that are drawn meanwhile put it above them."""

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        error = record.exc_info[1] if record.exc_info else None
        if error is not None:
            text += f": {type(error).__name__}: {error}"
        sys.stderr.write(visible(text) + "\n")


_LINES: Final = _Lines(logging.WARNING)


def tell_in_lines() -> None:
    """From now on, warnings and worse."""
    logging.getLogger("console").addHandler(_LINES)


def tell_notes(notes: Sequence[str]) -> None:
    """What the collection of uploads is from now on, or lacks, for people. That it was made is no news to who sees the
    first upload in it."""
    for note in notes:
        if not note.startswith("created"):
            sys.stderr.write(f"{visible(note)}\n")
