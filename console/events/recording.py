"""Recordings of a change stream: canonical extended-JSON lines in files that are rotated by size, and their replay.

Owns the files. A recording at `events.jsonl` is `events.jsonl.000001`, `.000002`, ... (full, never touched again) and
`events.jsonl` itself, which is being written; nothing is ever deleted. Lines are whole events as the server sent
them, or `{"gap": {...}}` where history was lost. Not here: the pace of a replay (whoever shows it), the place in a
stream (`resume_file`).
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from bson import json_util
from bson.errors import BSONError

from console.errors import ConsoleError, UsageError
from console.events.event import ChangeEvent
from console.events.feed_items import Gap
from console.events.text import CANONICAL, json_line, unwrapped, wrapped
from console.formatting import visible
from console.private_files import open_private

MAX_BYTES: Final = 256 * 1024 * 1024
_DIGITS: Final = 6


class RecordingFailed(ConsoleError):
    """The recording cannot be written any further; what was written before is whole."""

    title = "Recording"


class Recorder:
    """Writes a recording. An existing one at the path is continued.

    `write` returns when the lines are with the operating system, so that they survive the end of this program however
    it comes; they are on the disk (fsync) when a file is full and on `close`. A file has at most `max_bytes`, but for
    a single line that is longer. One process writes a recording at a time. Raises `RecordingFailed` and, at the
    start, `UsageError`.
    """

    def __init__(self, path: Path, max_bytes: int = MAX_BYTES) -> None:
        self.path = path
        self._max_bytes = max_bytes
        self._file = self._open()
        self._size = os.fstat(self._file).st_size
        self._end_cut_off_line()

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def write(self, items: Iterable[ChangeEvent | Gap]) -> None:
        """Write all items, in order. On an error the file ends with the last whole line, and the recorder is closed."""
        chunk: list[bytes] = []
        planned = self._size
        for item in items:
            line = f"{json_line(_document(item))}\n".encode()
            if planned and planned + len(line) > self._max_bytes:
                self._put(b"".join(chunk))
                self._rotate()
                chunk, planned = [], 0
            chunk.append(line)
            planned += len(line)
        self._put(b"".join(chunk))

    def close(self) -> None:
        """Everything on the disk; a second time nothing happens."""
        if self._file >= 0:
            file, self._file = self._file, -1
            with suppress(OSError):  # a file system without fsync
                os.fsync(file)
            os.close(file)

    def _open(self) -> int:
        try:
            file = open_private(self.path, os.O_RDWR | os.O_APPEND)
        except OSError as error:
            raise UsageError(f"recording {visible(str(self.path))}: {_words(error)}") from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(file)
            raise UsageError(f"recording {visible(str(self.path))}: another process is writing it") from error
        except OSError:  # a file system without locks
            pass
        return file

    def _end_cut_off_line(self) -> None:
        """A line that a killed writer left unfinished must not swallow the first of ours; replay reports it."""
        if self._size and os.pread(self._file, 1, self._size - 1) != b"\n":
            self._put(b"\n")

    def _put(self, data: bytes) -> None:
        if self._file < 0:
            raise RecordingFailed(f"recording {visible(str(self.path))} is closed")
        left = memoryview(data)
        try:
            while left:
                left = left[os.write(self._file, left) :]
        except OSError as error:
            written = data[: len(data) - len(left)]
            with suppress(OSError):
                os.ftruncate(self._file, self._size + written.rfind(b"\n") + 1)
            self.close()
            raise RecordingFailed(
                f"recording {visible(str(self.path))} stopped: {_words(error)}",
                advice="Make room, then start it again: it goes on in the same file.",
            ) from error
        self._size += len(data)

    def _rotate(self) -> None:
        earlier = _full_files(self.path)
        number = _number(earlier[-1]) + 1 if earlier else 1
        full = self.path.with_name(f"{self.path.name}.{number:0{_DIGITS}d}")
        try:
            self.path.rename(full)
            self.close()
            self._file = self._open()
        except (OSError, UsageError) as error:
            self.close()
            words = error.message if isinstance(error, UsageError) else _words(error)
            raise RecordingFailed(f"recording {visible(str(self.path))} stopped: {words}") from error
        self._size = 0


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line of a recording that is no event; it was skipped. `line` counts from 1."""

    path: Path
    line: int
    reason: str

    def __str__(self) -> str:
        return f"{visible(str(self.path))}, line {self.line:,}: {visible(self.reason)}"


def replay(*paths: Path) -> Iterator[ChangeEvent | Gap | BadLine]:
    """What was recorded, in order; of each path also the full files of the same recording, which come before it.

    Times are the events' own (`ChangeEvent.time`); the pace is the caller's. Raises `UsageError` where a file cannot be
    read. Relaxed extended JSON is read as well, with the types that it tells.
    """
    for path in paths:
        for file in recorded_files(path):
            yield from _replay_file(file)


def recorded_files(path: Path) -> list[Path]:
    """The files of the recording at a path, oldest first. Raises `UsageError` where there is none."""
    files = [*_full_files(path), *([path] if path.exists() else [])]
    if not files:
        raise UsageError(f"no recording at {visible(str(path))}")
    return files


def _replay_file(path: Path) -> Iterator[ChangeEvent | Gap | BadLine]:
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    item = _read_line(line)
                    yield item if not isinstance(item, str) else BadLine(path, number, item)
    except OSError as error:
        raise UsageError(f"recording {visible(str(path))}: {_words(error)}") from error


def _read_line(line: bytes) -> ChangeEvent | Gap | str:
    """The item, or why it is none."""
    if not line.endswith(b"\n") and not line.rstrip().endswith(b"}"):
        return "the line was cut off"
    try:
        document = json_util.loads(line.decode("utf-8"), json_options=CANONICAL)
    except (ValueError, TypeError, KeyError, ArithmeticError, AttributeError, RecursionError, BSONError) as error:
        return f"not valid extended JSON: {error}"
    if not isinstance(document, Mapping):
        return "no document"
    if isinstance(gap := document.get("gap"), Mapping) and len(document) == 1:
        since, until = (
            moment if isinstance(moment := gap.get(name), datetime) else None for name in ("since", "until")
        )
        return Gap(str(gap.get("reason", "")), since, until)
    document = unwrapped(document)
    return ChangeEvent.from_raw(document) if "operationType" in document else "not a change event: no operationType"


def _document(item: ChangeEvent | Gap) -> Mapping[str, Any]:
    if isinstance(item, ChangeEvent):
        return wrapped(item.raw)
    return {"gap": {"reason": item.reason, "since": item.since, "until": item.until}}


def _full_files(path: Path) -> list[Path]:
    pattern = re.compile(rf"{re.escape(path.name)}\.\d{{{_DIGITS},}}")
    try:
        return sorted((file for file in path.parent.iterdir() if pattern.fullmatch(file.name)), key=_number)
    except OSError as error:
        raise UsageError(f"recording {visible(str(path))}: {_words(error)}") from error


def _number(full: Path) -> int:
    return int(full.suffix[1:])


def _words(error: OSError) -> str:
    return visible(error.strerror or str(error))
