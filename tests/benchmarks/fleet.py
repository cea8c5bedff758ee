"""A fleet on one replica set: how soon a change is on a screen, and what mongod has to do for all of them.

    python -m tests.benchmarks.fleet [--quick] [--watches 50] [--consoles 5] [--rate 500]

The watches are simulated: each has a client, a change stream, heartbeats and looks for work of its own, as the runner
of a `watch` has, twenty-five to a process. One console is the true program in a pseudo-terminal, in front of 50 running
uploads; the others read what a console reads and draw nothing. Everything runs on this machine, so that mongod has less
of it than a server of its own would.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from multiprocessing import get_context
from typing import Any, Final

from pydantic import SecretStr

from console.models import UploadStatus
from console.records.database import Records
from console.records.runners import HEARTBEAT_SECONDS, Limits
from console.runner.wakeups import Wakeups
from console.settings import MongoSettings
from console.stream.feed import ChangeFeed
from tests.benchmarks.measuring import cpu_seconds
from tests.benchmarks.screen import RUNNING, Bench, Figures, Probe

_WATCHES_IN_A_PROCESS: Final = 25
_CONSOLES_IN_A_PROCESS: Final = 2


def watch_for_ever(uri: str, names: list[str]) -> None:
    """What each of these watches asks of mongod while it has nothing to send."""
    watches: list[tuple[str, Records, Wakeups]] = []
    for name in names:
        records = Records.open(MongoSettings(uri=SecretStr(uri)), sets_up=False)
        wakeups = Wakeups(records, name)
        wakeups.start()
        watches.append((name, records, wakeups))
    while True:
        began = time.monotonic()
        for name, records, _ in watches:
            records.runners.heartbeat(f"{name}:1:0", name, "watch", Limits(0, None, None), {})
            records.uploads.claim(f"{name}:1:0", name, lease_seconds=30, slots=4, most_bytes_ahead=2**20)
            time.sleep(HEARTBEAT_SECONDS / len(watches) / 2)
        time.sleep(max(0.0, HEARTBEAT_SECONDS - (time.monotonic() - began)))


def read_for_ever(uri: str, consoles: int) -> None:
    """What so many consoles read."""
    feeds: list[ChangeFeed] = []
    for _ in range(consoles):
        records = Records.open(MongoSettings(uri=SecretStr(uri)), sets_up=False)
        feed = ChangeFeed(records.uploads.collection, snapshot=records.uploads.window)
        feed.start()
        feeds.append(feed)
    while True:
        for feed in feeds:
            feed.take(0.05)


@contextmanager
def others(uri: str, watches: int, consoles: int) -> Iterator[None]:
    """So many watches, and consoles without a screen, in processes of their own."""
    context = get_context("spawn")
    work: list[tuple[Callable[..., None], tuple[Any, ...]]] = []
    for start in range(0, watches, _WATCHES_IN_A_PROCESS):
        numbers = range(start, min(watches, start + _WATCHES_IN_A_PROCESS))
        work.append((watch_for_ever, (uri, [f"camera-{number}" for number in numbers])))
    for start in range(0, consoles, _CONSOLES_IN_A_PROCESS):
        work.append((read_for_ever, (uri, min(_CONSOLES_IN_A_PROCESS, consoles - start))))
    processes = [context.Process(target=target, args=given, daemon=True) for target, given in work]
    for process in processes:
        process.start()
    try:
        yield
    finally:
        for process in processes:
            process.terminate()
            process.join()


def measure(bench: Bench, *, watches: int, consoles: int, rate: int) -> None:
    """Commit to cell in front of the fleet, and mongod's processor time."""
    ids = bench.fill(RUNNING, UploadStatus.UPLOADING)
    with others(bench.uri, watches, consoles - 1), bench.console() as terminal, bench.load(ids[:-1], rate):
        until = time.monotonic() + 120
        while bench.streams() < watches + consoles and time.monotonic() < until:
            terminal.look()
            time.sleep(0.05)
        bench.figures.tell("change streams", bench.streams(), "")
        terminal.press("1", "/")
        terminal.wait_for("part of a name")
        before, began = cpu_seconds(bench.mongod), time.monotonic()
        probe = Probe.of(bench, terminal, ids[-1])
        used = (cpu_seconds(bench.mongod) - before) / (time.monotonic() - began)
        terminal.press("escape")
        terminal.wait_for("q Leave")
    cells = sorted(probe.cells)
    bench.figures.tell(f"commit to cell, p50 of {len(cells)}", statistics.median(cells) * 1000, "ms")
    bench.figures.tell("commit to cell, p99", cells[int(len(cells) * 0.99)] * 1000, "ms", 500)
    bench.figures.tell("a key, longest", max(probe.keys) * 1000, "ms")
    bench.figures.tell("mongod", used * 100, "% of a core")


def main() -> int:
    """Run the benchmark; gives the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer changes: shows that everything works")
    parser.add_argument("--watches", type=int, default=50)
    parser.add_argument("--consoles", type=int, default=5)
    parser.add_argument("--rate", type=int, default=500, help="updates a second")
    options = parser.parse_args()
    machine = f"{os.cpu_count()} cores, Python {platform.python_version()}, load before {os.getloadavg()[0]:.1f}"
    print(f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {machine}, {vars(options)}\n\n| | seen | goal | met |")
    print("|---|---:|---:|---|", flush=True)
    with ExitStack() as stack:
        bench = Bench(stack, Figures(), quick=options.quick)
        measure(bench, watches=options.watches, consoles=options.consoles, rate=options.rate)
    return 0


if __name__ == "__main__":
    sys.exit(main())
