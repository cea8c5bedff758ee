"""Standard output as a sequence of lines for other programs.

Owns writing whole lines at once, noticing that nobody reads any more, and never hanging in a write when the program
has been told to end. Not here: what the lines say.
"""

from __future__ import annotations

import os
import select
import stat
from collections.abc import Callable, Sequence
from typing import Final, TextIO

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
