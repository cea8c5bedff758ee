"""How fast watched folders are: from creation to completed record, and the first scan of a large tree.

    python -m tests.benchmarks.watch [--quick] [--cases created,tree] [--files 5000] [--tree 100000]

`created`: so many small files are written into a folder that `upload-console watch` watches; the clock runs from the
first of them to the last completed record. `tree`: that many files in a thousand folders, none of them sent yet: how
long a dry run, the first start (until all are completed) and a second start (until all are known to be sent) take,
and how much memory each. Records are in a real mongod, objects go to a null sink. Loopback only; Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeVar

import platformdirs
from pymongo import MongoClient
from pymongo.collection import Collection

from console.embedded.services import EmbeddedServices
from tests.benchmarks.clients import Target
from tests.benchmarks.measuring import MEBIBYTE, Failed, cpu_seconds, run
from tests.benchmarks.sink import NullSink, Unbuildable, build

_PROGRAM: Final = f"{sys.exec_prefix}/bin/upload-console"
_BUCKET: Final = "bench"
_SMALL: Final = os.urandom(4096)
_TREE_FILE: Final = b"x" * 200
_FOLDERS: Final = 1_000
_MOST_SECONDS: Final = 600.0
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Row:
    """One measurement. Seconds of wall time and of the watch's processor time, its peak memory in bytes."""

    name: str
    files: int
    wall: float
    cpu: float
    peak: int
    note: str = ""


class Watch:
    """`upload-console watch` on one rule, and the lines that it has written so far."""

    def __init__(self, bench: Bench, rule: str) -> None:
        self._out = bench.folder / "watch.out"
        (bench.folder / "config.toml").write_text(rule)
        self._stream = self._out.open("wb")
        self._lines = self._out.open("rb")
        self._said: dict[str, dict[str, Any]] = {}
        self.process = subprocess.Popen(
            [_PROGRAM, "watch", "--config", str(bench.folder / "config.toml"), "--json"],
            env=bench.environment,
            stdin=subprocess.DEVNULL,
            stdout=self._stream,
        )

    def said(self, event: str) -> dict[str, Any] | None:
        """The first line of that kind."""
        place = self._lines.tell()
        for line in self._lines:
            if not line.endswith(b"\n"):
                self._lines.seek(place)
                break
            place += len(line)
            kind = line.partition(b'"event":"')[2].partition(b'"')[0].decode()
            if kind not in self._said:
                self._said[kind] = json.loads(line)
        return self._said.get(event)

    @property
    def peak(self) -> int:
        """Bytes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return int(next(line for line in status if line.startswith("VmHWM")).split()[1]) * 1024

    @property
    def cpu(self) -> float:
        """Seconds so far."""
        return cpu_seconds(self.process.pid)

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=60)
        self._stream.close()
        self._lines.close()


class Bench:
    """The servers and a folder to work in."""

    def __init__(self, stack: ExitStack, folder: Path, cache: Path) -> None:
        self.folder = folder
        services = stack.enter_context(EmbeddedServices.start(folder / "services"))
        sink = stack.enter_context(NullSink(build(cache, tls=False)))
        target = Target(sink.endpoint, _BUCKET, "anybody", "any-secret", mongodb_uri=services.mongodb_uri)
        self.environment = target.environment(folder)
        client: MongoClient[dict[str, Any]] = stack.enter_context(MongoClient(services.mongodb_uri))
        self.uploads: Collection[dict[str, Any]] = client["upload_console"]["uploads"]

    def completed(self, wanted: int) -> Callable[[], bool]:
        """Whether so many uploads are."""
        return lambda: self.uploads.count_documents({"status": "completed"}) >= wanted

    def watch(self, folder: Path, **settings: str) -> Watch:
        """Begin to watch."""
        rule = {"folder": f'"{folder}"', **settings}
        return Watch(self, "[[watch]]\n" + "".join(f"{name} = {value}\n" for name, value in rule.items()))

    def forget(self) -> None:
        """As if nothing had ever been sent."""
        self.uploads.delete_many({})


def created(bench: Bench, files: int, complete_when: str, quiet_seconds: float) -> Row:
    """From the creation of the first file to the last completed record."""
    folder = bench.folder / "in"
    folder.mkdir()
    try:
        with bench.watch(folder, complete_when=f'"{complete_when}"', quiet_seconds=f"{quiet_seconds}") as watch:
            _until(lambda: watch.said("scanned"))
            cpu = watch.cpu
            began = time.perf_counter()
            for number in range(files):
                (folder / f"{number:05}.bin").write_bytes(_SMALL)
            written = time.perf_counter() - began
            _until(bench.completed(files))
            ended = time.perf_counter()
            note = f"written within {written:.2f} s; overflows: {'yes' if watch.said('overflow') else 'no'}"
            name = f"created, {complete_when}" + (f" {quiet_seconds:g} s" if complete_when == "quiet" else "")
            return Row(name, files, ended - began, watch.cpu - cpu, watch.peak, note)
    finally:
        shutil.rmtree(folder)
        bench.forget()


def tree(bench: Bench, files: int) -> Iterator[Row]:
    """The first look at a large tree: dry, for the first time, and when all was sent."""
    folder = bench.folder / "tree"
    for number in range(_FOLDERS):
        (folder / f"{number // 100:02}" / f"{number:04}").mkdir(parents=True)
    for number in range(files):
        (folder / f"{number % _FOLDERS // 100:02}" / f"{number % _FOLDERS:04}" / f"{number}.txt").write_bytes(
            _TREE_FILE
        )
    (bench.folder / "config.toml").write_text(f'[[watch]]\nfolder = "{folder}"\nquiet_seconds = 0.5\n')
    with (bench.folder / "errors.txt").open("w+b") as errors:
        command = [_PROGRAM, "watch", "--dry-run", "--config", str(bench.folder / "config.toml")]
        dry = run(command, bench.environment, errors=errors, timeout=_MOST_SECONDS)
    yield Row("tree, dry run", files, dry.wall, dry.cpu, dry.peak)
    for name, wanted in (("tree, first start", bench.completed(files)), ("tree, all sent before", lambda: True)):
        began = time.perf_counter()
        with bench.watch(folder, quiet_seconds="0.5") as watch:
            said = _until(lambda watch=watch: watch.said("scanned"))
            scanned = time.perf_counter() - began
            _until(wanted)
            wall = time.perf_counter() - began
            yield Row(name, files, wall, watch.cpu, watch.peak, f"{said['message']}, {scanned:.1f} s from the start")


def _until(condition: Callable[[], T | None]) -> T:
    give_up = time.monotonic() + _MOST_SECONDS
    while not (result := condition()):
        if time.monotonic() > give_up:
            raise Failed(f"not within {_MOST_SECONDS:.0f} s")
        time.sleep(0.05)
    return result


@contextmanager
def _working_folder() -> Iterator[Path]:
    place = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(prefix="watch-bench-", dir=place) as folder:
        yield Path(folder)


def _line(row: Row) -> str:
    pace = row.files / row.wall
    figures = f"{row.files:,} | {row.wall:.1f} | {pace:,.0f} | {row.cpu:.1f} | {row.peak / MEBIBYTE:.0f}"
    return f"| {row.name} | {figures} | {row.note} |"


def _measure(bench: Bench, cases: str, files: int, many: int) -> Iterator[Row]:
    if "created" in cases:
        yield created(bench, files, "renamed", 1.0)
        yield created(bench, files, "quiet", 5.0)
    if "tree" in cases:
        yield from tree(bench, many)


def main() -> int:
    """Run the benchmark; gives the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tenth of the files: shows that everything works")
    parser.add_argument("--cases", default="created,tree", help="created, tree, or both")
    parser.add_argument("--files", type=int, default=5_000, help="files that are created in a watched folder")
    parser.add_argument("--tree", type=int, default=100_000, help="files that are there at the first start")
    options = parser.parse_args()
    files, many = (number // 10 if options.quick else number for number in (options.files, options.tree))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1024**3
    machine = f"{os.cpu_count()} cores, {memory:.0f} GiB, Python {platform.python_version()}"
    print(f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {machine}, load before {os.getloadavg()[0]:.1f}\n", flush=True)
    print("| case | files | wall s | files/s | CPU s | peak MiB | |\n|---|---|---|---|---|---|---|", flush=True)
    try:
        with _working_folder() as folder, ExitStack() as stack:
            bench = Bench(stack, folder, platformdirs.user_cache_path("upload-console-bench"))
            for row in _measure(bench, options.cases, files, many):
                print(_line(row), flush=True)
    except (Failed, Unbuildable) as problem:
        print(f"watch benchmark: {problem}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
