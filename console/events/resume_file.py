"""The place in a change stream, kept in a file, so that a restarted reader misses nothing and repeats nothing.

Owns that file, and finding the place again when the reader was killed between writing events and keeping the place.
Not here: the stream (`records.feed`), the events' lines (`recording`).
"""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from bson import json_util
from bson.errors import BSONError

from console.errors import UsageError
from console.events.since import parse_token
from console.events.text import CANONICAL, json_line
from console.formatting import visible

_BLOCK: Final = 64 * 1024


class ResumeFile:
    """A file with one resume token as extended JSON, replaced atomically: it holds the old token or the new one."""

    def __init__(self, path: Path) -> None:
        # A symbolic link stays one: its target is replaced.
        self.path = path.resolve()

    def load(self) -> Mapping[str, Any] | None:
        """The token, or None where there is no file yet. Raises `UsageError` naming the file."""
        try:
            return parse_token(self.path.read_text("utf-8").strip())
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._error(error) from error
        except (UnicodeError, UsageError) as error:
            message = f"{visible(str(self.path))} holds no resume token"
            raise UsageError(message, advice="Remove it to begin anew; what happened meanwhile is missed.") from error

    def save(self, token: Mapping[str, Any]) -> None:
        """Keep the token; when this returns, it is on the disk. Raises `UsageError` naming the file."""
        temporary: Path | None = None
        try:
            handle, name = tempfile.mkstemp(prefix=f".{self.path.name}.", dir=self.path.parent)
            temporary = Path(name)
            with os.fdopen(handle, "wb") as file:
                file.write(f"{json_line(token)}\n".encode())
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self.path)
            _sync_folder(self.path.parent)
        except OSError as error:
            if temporary is not None:
                temporary.unlink(missing_ok=True)
            raise self._error(error) from error

    def settle(self, output: int) -> Mapping[str, Any] | None:
        """The place to go on from, given the file descriptor to which events are written as JSON lines.

        Events are written before their token is kept, so a reader that is killed in between has written more than
        the file says. Where the output is a regular file that tells: a last line that was cut off is removed, and the
        last whole line, if it is after the kept token, is the place. Where it is a pipe, the kept token is, and the
        events of the last write may come twice.
        """
        kept = self.load()
        if kept is None:
            return None
        last = last_token(output)
        # Tokens of one stream order as text: `_data` is a keystring, made to be compared so.
        return last if last is not None and str(last["_data"]) > str(kept["_data"]) else kept

    def _error(self, error: OSError) -> UsageError:
        return UsageError(f"resume file {visible(str(self.path))}: {visible(error.strerror or str(error))}")


def last_token(output: int) -> Mapping[str, Any] | None:
    """The resume token of the last whole line of a regular file, from which a line without end is cut off.

    None where the output is no regular file, cannot be read, or its last line is no event.
    """
    status = os.fstat(output)
    if not stat.S_ISREG(status.st_mode) or status.st_size == 0:
        return None
    try:
        # The output itself is open for writing only; this opens the same file once more.
        with Path(f"/dev/fd/{output}").open("rb") as file:
            end = _find_back(file.fileno(), status.st_size) + 1
            start = _find_back(file.fileno(), end - 1) + 1 if end else 0
            line = os.pread(file.fileno(), end - start, start)
        if end < status.st_size:
            os.ftruncate(output, end)
    except OSError:
        return None
    try:
        event = json_util.loads(line.decode("utf-8"), json_options=CANONICAL) if line.strip() else None
    except (ValueError, TypeError, KeyError, ArithmeticError, AttributeError, RecursionError, BSONError):
        return None
    token = event.get("_id") if isinstance(event, Mapping) else None
    return token if isinstance(token, Mapping) and token.get("_data") else None


def _find_back(file: int, end: int) -> int:
    """The place of the last line end before `end`; -1 where there is none."""
    while end > 0:
        start = max(0, end - _BLOCK)
        place = os.pread(file, end - start, start).rfind(b"\n")
        if place >= 0:
            return start + place
        end = start
    return -1


def _sync_folder(folder: Path) -> None:
    """The new name is on the disk as well, not only the content."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
