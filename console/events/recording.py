"""Recordings of a change stream, their replay, and the point at which a reader resumes.

A recording is lines of canonical extended JSON. One at `events.jsonl` consists of `events.jsonl.000001`, `.000002`,
... (full, never touched again) and `events.jsonl` itself, which is being written; nothing is ever deleted. A line is
a whole event as the server sent it, or `{"gap": {...}}` where history was lost. A resume file keeps the resume token
and the stream it belongs to, and finds its point again when the reader was killed between writing events and keeping
the token.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from bson import json_util
from bson.errors import BSONError

from console.errors import ConsoleError, UsageError
from console.events.event import ChangeEvent
from console.events.feed_items import Gap
from console.events.since import parse_token
from console.events.text import CANONICAL, json_line, unwrapped, wrapped
from console.formatting import visible
from console.private_files import WrittenByOthers, open_private, require_ours

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


_BLOCK: Final = 64 * 1024
# So far back a line of this stream is looked for in an output of which nothing is known.
_LOOKED_THROUGH: Final = 64 * 1024 * 1024
_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_UNREADABLE: Final = (ValueError, TypeError, KeyError, ArithmeticError, AttributeError, RecursionError, BSONError)


@dataclass(frozen=True, slots=True)
class StreamName:
    """Which stream a place belongs to. `namespace` is "db", "db.collection" or "*"; `match` the filter as typed."""

    deployment: str
    namespace: str
    match: str


class NoRoom(UsageError):
    """The disk of a resume file is full: its former place is still in it, and the next one may be kept again."""


class ResumeFile:
    """A file with a resume token as extended JSON and the name of its stream, replaced atomically: it holds the old
    place or the new one. A file with nothing but a token is read as well."""

    def __init__(self, path: Path, stream: StreamName | None = None) -> None:
        """Raises `UsageError` where somebody else can have put the file, or a link to another one, there."""
        try:
            require_ours(path)
        except FileNotFoundError:
            pass
        except WrittenByOthers as error:
            raise UsageError(
                f"resume file {visible(str(path))} {error.strerror}",
                advice="Name one in a folder of your own, or make this one yours (chown, chmod go-w).",
            ) from None
        except OSError as error:
            raise UsageError(f"resume file {visible(str(path))}: {_words(error)}") from None
        # A symbolic link stays one: its target is replaced.
        self.path = path.resolve()
        self._stream = stream

    def load(self) -> Mapping[str, Any] | None:
        """The token, or None where there is no file yet. Raises `UsageError` naming the file."""
        kept = self._read()
        return kept["token"] if kept is not None else None

    @property
    def is_of_this_stream(self) -> bool:
        """Whether the place is one of this stream; one of another tells the time alone from which to go on."""
        kept = self._read()
        return kept is None or self._stream is None or kept.get("stream") in (None, asdict(self._stream))

    def save(self, token: Mapping[str, Any], output: int | None = None) -> None:
        """Keep the token, and how far the file is written behind which `output` is the file descriptor; when this
        returns, it is on the disk. Raises `UsageError` naming the file."""
        place: dict[str, Any] = {"token": json.loads(json_line(token))}
        if self._stream is not None:
            place["stream"] = asdict(self._stream)
        if output is not None and (end := _end_of(output)) is not None:
            place["output"] = end
        temporary: Path | None = None
        try:
            handle, name = tempfile.mkstemp(prefix=f".{self.path.name}.", dir=self.path.parent)
            temporary = Path(name)
            with os.fdopen(handle, "wb") as file:
                file.write(f"{json.dumps(place)}\n".encode())
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self.path)
            _sync_folder(self.path.parent)
        except OSError as error:
            if temporary is not None:
                temporary.unlink(missing_ok=True)
            raise self._error(error) from error

    def settle(self, output: int, is_own: Callable[[ChangeEvent], bool]) -> Mapping[str, Any] | None:
        """The place to go on from, given the file descriptor to which events are written as JSON lines.

        Events are written before their token is kept, so a reader that is killed in between has written more than
        the file says. Where the output is a regular file that tells: a last line that was cut off is removed, and the
        last whole line that `is_own`, if it is after the kept token, is the place: several readers may write one file.
        Where it is a pipe, the kept token is, and the events of the last write may come twice.
        """
        kept = self._read()
        if kept is None:
            return last_token(output, is_own)
        token: Mapping[str, Any] = kept["token"]
        if not self.is_of_this_stream:
            return token
        last = last_token(output, is_own, kept.get("output"))
        # Tokens of one deployment order as text: `_data` is a keystring, made to be compared so.
        return last if last is not None and str(last["_data"]) > str(token["_data"]) else token

    def _read(self) -> dict[str, Any] | None:
        try:
            text = self.path.read_text("utf-8").strip()
            whole = json.loads(text)
            if isinstance(whole, dict) and "token" in whole:
                return {**whole, "token": parse_token(json.dumps(whole["token"]))}
            return {"token": parse_token(text)}
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._error(error) from error
        except (ValueError, RecursionError, UsageError) as error:  # also UnicodeError
            message = f"{visible(str(self.path))} holds no resume token"
            raise UsageError(message, advice="Remove it to begin again; what happened meanwhile is missed.") from error

    def _error(self, error: OSError) -> UsageError:
        kind = NoRoom if error.errno in _FULL else UsageError
        return kind(f"resume file {visible(str(self.path))}: {visible(error.strerror or str(error))}")


def last_token(
    output: int, is_own: Callable[[ChangeEvent], bool], behind: Mapping[str, Any] | None = None
) -> Mapping[str, Any] | None:
    """The resume token of the last whole line that `is_own` in a regular file; a last line without end is cut off.

    `behind` is what `save` knew of the file: only lines since then are looked at. None where the output is no regular
    file or cannot be read, and where there is no such line.
    """
    status = os.fstat(output)
    if not stat.S_ISREG(status.st_mode) or status.st_size == 0:
        return None
    first = max(0, status.st_size - _LOOKED_THROUGH)
    if behind is not None and (behind.get("device"), behind.get("inode")) == (status.st_dev, status.st_ino):
        first = min(int(behind.get("size") or 0), status.st_size)
    try:
        # The output itself is open for writing only; this opens the same file once more.
        with Path(f"/dev/fd/{output}").open("rb") as file:
            end = _find_back(file.fileno(), status.st_size) + 1
            events = filter(None, map(read_event, _lines_back(file.fileno(), end, first)))
            token = next((event.token for event in events if event.token.get("_data") and is_own(event)), None)
        if end < status.st_size:
            os.ftruncate(output, end)
    except OSError:
        return None
    return token


def read_event(line: bytes) -> ChangeEvent | None:
    """The event of a line; None for what is none.

    Each field is read by itself: a document may have a field named `$oid`, which extended JSON cannot tell from an
    ObjectId, and that must not hide whose line it is.
    """
    try:
        whole = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(whole, dict) or not isinstance(whole.get("_id"), dict):
        return None
    fields = {name: _value(value) for name, value in whole.items()}
    return ChangeEvent.from_raw(unwrapped(fields))


def _value(value: Any) -> Any:
    if not isinstance(value, (dict, list)):
        return value
    try:
        return json_util.loads(json.dumps(value), json_options=CANONICAL)
    except _UNREADABLE:
        return value


def _end_of(output: int) -> dict[str, int] | None:
    status = os.fstat(output)
    if not stat.S_ISREG(status.st_mode):
        return None
    return {"device": status.st_dev, "inode": status.st_ino, "size": status.st_size}


def _lines_back(file: int, end: int, first: int) -> Iterator[bytes]:
    """The lines before `end`, last first, that begin at `first` or later."""
    while end > first:
        start = _find_back(file, end - 1) + 1
        if start < first:
            return
        yield os.pread(file, end - start, start)
        end = start


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
