"""How quick the console is for the person in front of it, and how little it asks of the machine and of the line.

    python -m tests.benchmarks.screen [--quick] [--only start,updates,running,idle,large] [--json FILE]

The program runs in a pseudo-terminal of 120x36 on real servers, in front of 50 running uploads of another host, and is
seen through a terminal emulator. What it is measured by stands beside each figure. Loopback only.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final, Self

from bson import Int64, ObjectId
from pymongo import MongoClient
from pymongo.collection import Collection

from console.embedded.services import EmbeddedServices
from console.models import Source, UploadStatus
from console.records.uploads import NewUpload
from tests.benchmarks.measuring import MEBIBYTE, cpu_seconds
from tests.benchmarks.screen_load import LINE_SECONDS, write_at
from tests.terminal import Terminal

Document = dict[str, Any]

PROGRAM: Final = f"{sys.exec_prefix}/bin/upload-console"
COLUMNS: Final = 120
LINES: Final = 36
RUNNING: Final = 50
MANY: Final = 100_000
_UPPER_LINES: Final = 20
"""The table of uploads ends above this line; the event log, which tells of the same updates, is below."""
# Letters that no file has and that take one cell: what the program answers is told from all else.
_LETTERS: Final = [chr(code) for code in range(0x100, 0x250) if not 0x1C0 <= code <= 0x1CC]


def document(number: int, status: UploadStatus, now: datetime) -> Document:
    """An upload of another host, as its runner writes it."""
    name = f"photo-{number:06}.jpg"
    new = NewUpload(
        *(name, f"/srv/photos/{name}", None, "camera-1", 200_000_000 + number, 1_790_000_000_000_000_000 + number),
        *(f"{number:032x}", "image/jpeg", "archive", f"photos/{name}", Source.WATCH),
    )
    # More than an hour ago: ages change once an hour then, as most that a person has in front of them.
    fields = new.document(now - timedelta(hours=2, seconds=number % 86_400), status)
    fields["started_at"] = fields["created_at"]
    if status is UploadStatus.UPLOADING:
        lease = {"runner": "camera-1:4711:00000000", "expires_at": now + timedelta(hours=6)}
        return fields | {"attempts": 1, "lease": lease}
    done = {"current": Int64(new.size), "percentage": 100.0, "etag": f"{number:032x}"}
    return fields | done | {"attempts": 1, "finished_at": fields["created_at"] + timedelta(seconds=9)}


@dataclass(slots=True)
class Figures:
    """What was measured, printed as it comes, beside what is wanted."""

    rows: list[tuple[str, float, str, float | None]] = field(default_factory=list)

    def tell(self, name: str, value: float, unit: str, goal: float | None = None) -> None:
        """One row of a Markdown table. `goal` is the most that is wanted."""
        self.rows.append((name, value, unit, goal))
        wanted = f"{goal:,g} {unit}" if goal is not None else ""
        recovery = "" if goal is None else "yes" if value <= goal else "**no**"
        print(f"| {name} | {value:,.{2 if value < 10 else 0}f} {unit} | {wanted} | {recovery} |", flush=True)

    def several(self, name: str, values: Sequence[float], unit: str, goal: float | None = None) -> None:
        """The median of several rounds, with the least and the most."""
        spread = f"{min(values):.2f} to {max(values):.2f}"
        self.tell(f"{name} (median of {len(values)}; {spread})", statistics.median(values), unit, goal)


class Bench:
    """The servers, and the console in front of them."""

    def __init__(self, stack: ExitStack, figures: Figures, *, quick: bool) -> None:
        self.figures = figures
        self.quick = quick
        self._folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="screen-bench-")))
        for number in range(20):
            (self._folder / f"file-{number:02}.txt").write_text("a file to look at\n")
        services = stack.enter_context(EmbeddedServices.start())
        self.uri = services.mongodb_uri
        self.mongod = services.replica_set.members[0].process.pid
        self._client = stack.enter_context(MongoClient[Document](self.uri))
        self.environment = {
            "AWS_ACCESS_KEY_ID": services.access_key,
            "AWS_SECRET_ACCESS_KEY": services.secret_key,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "UPLOAD_CONSOLE_MONGODB__URI": self.uri,
            "UPLOAD_CONSOLE_S3__ENDPOINT_URL": services.s3_endpoint,
            "UPLOAD_CONSOLE_S3__BUCKET": services.bucket,
            "UPLOAD_CONSOLE_UI__DIRECTORY": str(self._folder),
            "PYTHONDONTWRITEBYTECODE": "",  # as a person has it: compiled once
        }

    @property
    def uploads(self) -> Collection[Document]:
        """The collection that the console shows."""
        return self._client["upload_console"]["uploads"]

    def streams(self) -> int:
        """Change streams that mongod serves now."""
        pipeline: list[Document] = [
            {"$currentOp": {"idleCursors": True, "allUsers": True}},
            {"$match": {"ns": "upload_console.uploads", "cursor.cursorId": {"$exists": True}}},
        ]
        return len(list(self._client.admin.aggregate(pipeline)))

    def fill(self, count: int, status: UploadStatus) -> list[ObjectId]:
        """A collection of `count` uploads and nothing else; gives their ids."""
        # As a person has it: the collection is there already.
        subprocess.run([PROGRAM, "list"], env=os.environ | self.environment, check=True, stdout=subprocess.DEVNULL)
        self.uploads.delete_many({})
        now = datetime.now(UTC)
        ids: list[ObjectId] = []
        for start in range(0, count, 5_000):
            batch = [document(number, status, now) for number in range(start, min(start + 5_000, count))]
            ids += self.uploads.insert_many(batch, ordered=False).inserted_ids
        return ids

    @contextmanager
    def console(self) -> Iterator[Terminal]:
        """The console, all of it painted, until it was left again."""
        with Terminal([PROGRAM], columns=COLUMNS, lines=LINES, environment=self.environment) as terminal:
            terminal.wait_for("S3 connected")
            terminal.wait_for("photo-")
            yield terminal
            terminal.press("q")
            terminal.wait_end()

    @contextmanager
    def load(self, ids: Sequence[ObjectId], rate: int) -> Iterator[None]:
        """`rate` updates a second of these uploads, by another process."""
        writer = get_context("spawn").Process(target=write_at, args=(self.uri, list(ids), rate), daemon=True)
        writer.start()
        try:
            yield
        finally:
            writer.terminate()
            writer.join()

    # ---- what is measured

    def start(self) -> None:
        """From the start of the program to the first picture; and of --help."""
        rounds = 2 if self.quick else 7
        self.fill(RUNNING, UploadStatus.UPLOADING)
        self.figures.several("`--help`", [self._help() for _ in range(rounds)], "s", 0.25)
        self.figures.several("first paint after start", [self._start("Uploads") for _ in range(rounds)], "s", 0.7)

    def _help(self) -> float:
        began = time.monotonic()
        subprocess.run([PROGRAM, "--help"], check=True, stdout=subprocess.DEVNULL)
        return time.monotonic() - began

    def _start(self, seen: str) -> float:
        began = time.monotonic()
        with Terminal([PROGRAM], columns=COLUMNS, lines=LINES, environment=self.environment) as terminal:
            terminal.wait_for(seen)
            took = time.monotonic() - began
            terminal.wait_for("S3 connected")
            terminal.press("q")
            terminal.wait_end()
        return took

    def updates(self) -> None:
        """Commit to cell, and the longest wait of a key, at three rates."""
        ids = self.fill(RUNNING, UploadStatus.UPLOADING)
        for rate in (10, 100, 1_000):
            with self.console() as terminal, self.load(ids[:-1], rate):
                terminal.wait_for(_changes(terminal))
                terminal.press("1", "/")
                terminal.wait_for("part of a name")
                probe = Probe.of(self, terminal, ids[-1])  # the one on top
                terminal.press("escape")
                terminal.wait_for("q Leave")
            name = f"at {rate:,} updates/s: "
            cells, keys, writes = sorted(probe.cells), probe.keys, probe.writes
            self.figures.tell(f"{name}commit to cell, p50 of {len(cells)}", statistics.median(cells) * 1000, "ms")
            self.figures.tell(f"{name}commit to cell, p99", cells[int(len(cells) * 0.99)] * 1000, "ms", 150)
            self.figures.tell(f"{name}the write itself, longest", max(writes) * 1000, "ms")
            self.figures.tell(f"{name}a key, median of {len(keys)}", statistics.median(keys) * 1000, "ms")
            self.figures.tell(f"{name}a key, longest", max(keys) * 1000, "ms", 50)

    def running(self) -> None:
        """Bytes to the terminal and processor time in front of 50 uploads, each with news twice a second."""
        ids = self.fill(RUNNING, UploadStatus.UPLOADING)
        with self.console() as terminal, self.load(ids, round(RUNNING / LINE_SECONDS)):
            terminal.wait_for(_changes(terminal))
            cpu, received, took = self._watch(terminal)
        self.figures.tell("50 running uploads: to the terminal", received / took / 1024, "KiB/s", 8)
        self.figures.tell("50 running uploads: processor", cpu / took * 100, "% of a core", 15)

    def idle(self) -> None:
        """Processor time while nothing happens."""
        self.fill(RUNNING, UploadStatus.COMPLETED)
        with self.console() as terminal:
            cpu, _, took = self._watch(terminal)
        self.figures.tell("idle: processor", cpu / took * 100, "% of a core", 1)

    def _watch(self, terminal: Terminal) -> tuple[float, int, float]:
        """Processor seconds and bytes in some seconds from now."""
        seconds = 5.0 if self.quick else 20.0
        settled = time.monotonic() + 3.0
        while time.monotonic() < settled:
            terminal.look()
            time.sleep(0.02)
        before, received, began = cpu_seconds(terminal.process.pid), terminal.received, time.monotonic()
        while time.monotonic() - began < seconds:
            terminal.look()
            time.sleep(0.02)
        return (
            cpu_seconds(terminal.process.pid) - before,
            terminal.received - received,
            time.monotonic() - began,
        )

    def large(self) -> None:
        """Start and memory with 100,000 uploads in the collection."""
        count = MANY // (10 if self.quick else 1)
        self.fill(count, UploadStatus.COMPLETED)
        rounds = 1 if self.quick else 3
        took = [self._start("photo-") for _ in range(rounds)]
        self.figures.several(f"{count:,} uploads: first row after start", took, "s", 1.5)
        with self.console() as terminal:
            terminal.press("2", "end")
            self._watch(terminal)
            self.figures.tell(f"{count:,} uploads: memory", _resident(terminal) / MEBIBYTE, "MiB", 200)


@dataclass(frozen=True, slots=True)
class Probe:
    """Seconds that changes of one upload took to be seen once the majority had them; those of keys, between them; and
    those of the writes: mongod's disk is at times busy for a fifth of a second, and no event comes before."""

    cells: list[float]
    keys: list[float]
    writes: list[float]

    @classmethod
    def of(cls, bench: Bench, terminal: Terminal, upload_id: ObjectId) -> Self:
        """Change that upload again and again; the filter is being typed meanwhile."""
        probe = cls([], [], [])
        moments = random.Random(1)
        for number, letter in zip(range(20 if bench.quick else 100), itertools.cycle(_LETTERS), strict=False):
            name = f"probe-{number:03}"
            terminal.look()
            began = time.monotonic()
            bench.uploads.update_one({"_id": upload_id}, {"$set": {"filename": name}})
            committed = time.monotonic()
            terminal.wait_for(_in_table(name))
            probe.cells.append(time.monotonic() - committed)
            probe.writes.append(committed - began)
            time.sleep(moments.uniform(0.0, 0.25))
            probe.keys.append(terminal.answer_seconds(letter, letter))
            terminal.press("backspace")
            time.sleep(moments.uniform(0.0, 0.25))
        return probe


def _in_table(words: str) -> Callable[[str], bool]:
    return lambda text: any(words in line for line in text.splitlines()[:_UPPER_LINES])


def _changes(terminal: Terminal) -> Callable[[str], bool]:
    """The load has begun: the picture is another one."""
    before = terminal.received
    return lambda _: terminal.received > before + 2_000


def _resident(terminal: Terminal) -> int:
    lines = Path(f"/proc/{terminal.process.pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) * 1024


MEASURES: Final[Mapping[str, Callable[[Bench], None]]] = {
    "start": Bench.start,
    "updates": Bench.updates,
    "running": Bench.running,
    "idle": Bench.idle,
    "large": Bench.large,
}


def main() -> int:
    """Run the benchmark; gives the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer and shorter: shows that everything works")
    parser.add_argument("--only", default=",".join(MEASURES), help="some of " + ",".join(MEASURES))
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    options = parser.parse_args()
    machine = f"{os.cpu_count()} cores, Python {platform.python_version()}, load before {os.getloadavg()[0]:.1f}"
    print(
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {machine}\n\n| | seen | goal | met |\n|---|---:|---:|---|", flush=True
    )
    figures = Figures()
    with ExitStack() as stack:
        bench = Bench(stack, figures, quick=options.quick)
        for name in options.only.split(","):
            MEASURES[name](bench)
    if options.json:
        options.json.write_text(json.dumps(figures.rows, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
