"""Running a program and measuring it: wall time, processor time, peak memory; and what several rounds come to.

Linux only: it reads /proc.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

_SAMPLE_SECONDS: Final = 0.05
_TICKS: Final = os.sysconf("SC_CLK_TCK")
MEBIBYTE: Final = 1024 * 1024


class Failed(Exception):
    """The program ended with an error, or took too long."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One run. Seconds of wall and of processor time (of the program and its children), peak memory in bytes."""

    wall: float
    cpu: float
    peak: int


@dataclass(frozen=True, slots=True)
class Spread:
    """What several rounds come to."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Of at least one value."""
        return cls(statistics.median(values), min(values), max(values))


class _PeakMemory:
    """Watches a process and its descendants: the sum of their resident high-water marks.

    `ru_maxrss` will not do: it begins with the size of the process that forked.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._ended = threading.Event()
        self._seen: dict[int, int] = {}
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def end(self) -> int:
        self._ended.set()
        self._thread.join()
        return sum(self._seen.values())

    def _watch(self) -> None:
        while not self._ended.wait(_SAMPLE_SECONDS if self._seen else 0.005):
            for pid in _tree(self._pid):
                with suppress(OSError, StopIteration, ValueError):
                    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
                    self._seen[pid] = int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) * 1024


def _tree(pid: int) -> list[int]:
    found = [pid]
    for parent in found:
        with suppress(OSError):
            for task in Path(f"/proc/{parent}/task").iterdir():
                found += [int(child) for child in (task / "children").read_text().split()]
    return found


def cpu_seconds(pid: int) -> float:
    """Processor time, user and system, that a running process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def run(command: Sequence[str], environment: Mapping[str, str], *, errors: IO[bytes], timeout: float) -> Sample:
    """Run a program to its end. Its standard output is dropped. Raises `Failed`."""
    errors.seek(0)
    errors.truncate()
    began = time.perf_counter()
    process = subprocess.Popen(
        command, env=dict(environment), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors
    )
    memory = _PeakMemory(process.pid)
    alarm = threading.Timer(timeout, process.kill)
    alarm.start()
    try:
        _, status, usage = os.wait4(process.pid, 0)
    finally:
        wall = time.perf_counter() - began
        alarm.cancel()
        peak = memory.end()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        errors.seek(0)
        said = errors.read()[-2000:].decode(errors="replace")
        raise Failed(f"{' '.join(command)}\nended with {process.returncode} after {wall:.1f} s\n{said}")
    return Sample(wall, usage.ru_utime + usage.ru_stime, peak)
