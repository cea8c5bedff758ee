"""When a file is complete: its size and times no longer change, or its writer gave the sign.

Pure, but for asking whether somebody has the file open for writing. Linux has two ways to tell. A read lease is
refused while anybody, in whichever container, holds the file open for writing; it is for the file's owner (or
CAP_LEASE) on local file systems. Else `/proc/*/fd` shows the files of the processes that this user may look into.
Elsewhere nobody knows, and the quiet time has to do.
"""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Self

from console.files.beneath import open_file
from console.files.walk import Found
from console.settings.watch_rules import CompleteWhen, WatchRule

MOST_WAITING: Final = 20_000
_NANO: Final = 1_000_000_000


@dataclass(slots=True)
class _Waiting:
    state: Found
    still_since: float
    due: float


class PendingFiles:
    """The files of one folder that are not complete yet, at most `capacity` of them.

    A file whose times are old enough has been still for that long, and need not be seen twice. `skew_seconds` is how
    far the file system's clock may be from this host's (on a network share it is another host's). Files that would
    have to wait longer than `horizon_seconds` are not kept: the next scan finds them.
    """

    def __init__(
        self,
        *,
        complete_when: CompleteWhen = "quiet",
        quiet_seconds: float = 5.0,
        minimum_age_seconds: float = 0.0,
        skew_seconds: float = 0.0,
        horizon_seconds: float = 300.0,
        capacity: int = MOST_WAITING,
        clock: Callable[[], float] = time.monotonic,
        wall_clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._complete_when = complete_when
        self._quiet = quiet_seconds
        self._minimum_age = minimum_age_seconds
        self._skew = skew_seconds
        self._horizon = horizon_seconds
        self._capacity = capacity
        self._clock = clock
        self._wall_ns = wall_clock_ns
        self._waiting: dict[str, _Waiting] = {}
        self.has_overflowed = False

    @classmethod
    def of(cls, rule: WatchRule, *, skew_seconds: float = 0.0, capacity: int = MOST_WAITING) -> Self:
        """As a rule says."""
        return cls(
            complete_when=rule.complete_when,
            quiet_seconds=rule.quiet_seconds,
            minimum_age_seconds=rule.minimum_age_seconds,
            skew_seconds=skew_seconds,
            horizon_seconds=max(rule.rescan_seconds, 2 * rule.quiet_seconds),
            capacity=capacity,
        )

    def __len__(self) -> int:
        return len(self._waiting)

    def look(self, file: Found, marker_mtime_ns: int | None = None) -> bool:
        """Whether the file, as it is now, is complete; if not, it is waited for where waiting can help.

        `marker_mtime_ns` is the time of its marker, where it has one.
        """
        now = self._clock()
        still_since = self._still_since(file, now)
        complete_at = max(self._complete_at(file, still_since, marker_mtime_ns, now), self._old_enough_at(file, now))
        if complete_at <= now:
            self.forget(file.path)
            return True
        self._wait(file, still_since, complete_at, now)
        return False

    def again(self, file: Found, seconds: float | None = None) -> None:
        """The file is not complete after all (somebody has it open, say): look once more, after the quiet time."""
        now = self._clock()
        self._wait(file, now, now + (self._quiet if seconds is None else seconds), now)

    def forget(self, path: str) -> None:
        """The file is gone, or taken care of."""
        self._waiting.pop(path, None)

    def clear(self) -> None:
        self._waiting.clear()

    def waiting(self) -> list[Found]:
        """All that are waited for, as they were last seen."""
        return [waiting.state for waiting in self._waiting.values()]

    def due(self) -> list[str]:
        """Files to look at again now, in the order in which they came."""
        now = self._clock()
        return [path for path, waiting in self._waiting.items() if waiting.due <= now]

    def next_due(self) -> float | None:
        """Seconds until the next file is due; None where none is waited for."""
        if not self._waiting:
            return None
        return max(0.0, min(waiting.due for waiting in self._waiting.values()) - self._clock())

    def take_overflow(self) -> bool:
        """Whether files were dropped because there were too many: a scan has to find them again."""
        overflowed, self.has_overflowed = self.has_overflowed, False
        return overflowed

    def _still_since(self, file: Found, now: float) -> float:
        """Since when, on our clock, the file is known to be as it is."""
        known = self._waiting.get(file.path)
        since = known.still_since if known is not None and known.state == file else now
        # The kernel alone sets the time of the last status change: a copy that keeps its source's mtime does not
        # look older by it, and a rename makes it new.
        age = (self._wall_ns() - max(self._changed_ns(file), file.ctime_ns)) / _NANO - self._skew
        return min(since, now - age) if age > 0 else since

    def _changed_ns(self, file: Found) -> int:
        """When its content changed last. Of a date in the future, that it is wrong is all that is known."""
        return file.mtime_ns if file.mtime_ns <= self._wall_ns() else min(file.mtime_ns, file.ctime_ns)

    def _complete_at(self, file: Found, still_since: float, marker_mtime_ns: int | None, now: float) -> float:
        if self._complete_when == "renamed":
            return now
        if self._complete_when == "marked":
            # A marker older than the file is one for an earlier file of that name.
            return now if marker_mtime_ns is not None and marker_mtime_ns >= self._changed_ns(file) else float("inf")
        return still_since + self._quiet

    def _old_enough_at(self, file: Found, now: float) -> float:
        age = (self._wall_ns() - self._changed_ns(file)) / _NANO
        return now + self._minimum_age - age if self._minimum_age else now

    def _wait(self, file: Found, still_since: float, due: float, now: float) -> None:
        if due - now > self._horizon:
            self.forget(file.path)
        elif file.path in self._waiting or len(self._waiting) < self._capacity:
            self._waiting[file.path] = _Waiting(file, still_since, due)
        else:
            self.has_overflowed = True


_HAS_LEASES: Final = sys.platform == "linux"
_SNAPSHOT_SECONDS: Final = 1.0


class OpenFiles:
    """Answers for many files; `/proc` is read at most once a second. Not thread-safe."""

    def __init__(self, below: str | None = None) -> None:
        self._below = below
        self._by_name: dict[str, list[str]] = {}
        self._read_at = float("-inf")

    def is_open_for_writing(self, path: str) -> bool:
        """True if somebody has; False if nobody has, or nobody can tell."""
        refused = _lease_is_refused(path, self._below)
        return self._is_seen_open(path) if refused is None else refused

    def _is_seen_open(self, path: str) -> bool:
        if not _HAS_LEASES:
            return False
        now = time.monotonic()
        if now - self._read_at >= _SNAPSHOT_SECONDS:
            self._by_name = _open_by_name()
            self._read_at = now
        same_name = self._by_name.get(os.path.basename(path), ())  # noqa: PTH119 - names stay as the system has them
        return any(_is_written(descriptor, path) for descriptor in same_name)


def _lease_is_refused(path: str, below: str | None) -> bool | None:
    """Whether a writer stands in the way of a read lease; None where that cannot be asked."""
    if not _HAS_LEASES:
        return None
    try:
        descriptor = open_file(path, below)
    except OSError:
        return None
    try:
        # A writer that comes while the lease is held waits until it is closed, right below. Who holds a lease is told
        # so by a signal: SIGIO would end the process, SIGURG is ignored by default (signal(7)).
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as error:
        return True if error.errno == errno.EAGAIN else None
    else:
        return False
    finally:
        os.close(descriptor)


def _open_by_name() -> dict[str, list[str]]:
    """Descriptors under `/proc` by the base name of what they are open on. Names only: a `stat` may hang on a dead
    network share.
    """
    found: dict[str, list[str]] = {}
    for descriptor in _descriptors():
        with suppress(OSError):
            target = os.readlink(descriptor)  # noqa: PTH115
            if target.startswith("/"):
                found.setdefault(target.rpartition("/")[2], []).append(descriptor)
    return found


def _descriptors() -> Iterator[str]:
    own = str(os.getpid())
    for process in os.listdir("/proc"):  # noqa: PTH208
        if process.isdigit() and process != own:
            with suppress(OSError):
                folder = f"/proc/{process}/fd"
                yield from (f"{folder}/{number}" for number in os.listdir(folder))  # noqa: PTH208


def _is_written(descriptor: str, path: str) -> bool:
    try:
        if not os.path.samefile(descriptor, path):  # noqa: PTH121
            return False
        with open(descriptor.replace("/fd/", "/fdinfo/"), encoding="ascii") as info:  # noqa: PTH123
            flags = next(line.split()[1] for line in info if line.startswith("flags:"))
    except (OSError, StopIteration, ValueError):
        return False
    return int(flags, 8) & os.O_ACCMODE != os.O_RDONLY
