"""How fast uploads are, compared with aws s3 cp, s5cmd and rclone on the same machine in the same minutes.

    python -m tests.benchmarks.transfer [--quick] [--cases large,small] [--rounds 5] [--json FILE]

Every round runs ours and s5cmd in turn (A B A B), all with `--clients all`, against a null-sink S3 server; ratios are
of the same round. Ours is `upload-console upload` with its records in a real mongod, as a person gets it; `untracked`
is the same without records. Loopback only. Installs the peers once, into an environment of their own in the cache
folder; files are made in /dev/shm (or TMPDIR) and removed at the end.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import platformdirs

from console.embedded.services import EmbeddedServices
from tests.benchmarks.clients import OURS, Command, Target, commands, peers
from tests.benchmarks.measuring import MEBIBYTE, Failed, Sample, Spread, cpu_seconds, run
from tests.benchmarks.samples import KIBIBYTE, Files, Make, mixed_tree, one_file, small_files
from tests.benchmarks.sink import NullSink, Unbuildable, build, make_certificate

GIBIBYTE: Final = 1024 * MEBIBYTE
_SECONDS_PER_RUN: Final = 600.0
_BUCKET: Final = "bench"


_SINKS: Final[Mapping[str, Sequence[str]]] = {
    "plain": (),
    "tls": (),
    "20ms": ("--delay-ms", "20"),
    "80ms": ("--delay-ms", "80"),
    "slow": ("--mbit", "100"),
    "md5": ("--answers", "md5"),
    "nothing": ("--answers", "nothing"),
}
"""The null sinks: loopback as it is, over TLS, with a delay before each answer, behind a slow link, and those that
confirm less."""


@dataclass(frozen=True, slots=True)
class Case:
    """One row of the benchmark. `server`: one of the null sinks, or demo, the demo's rclone server."""

    name: str
    make: Make
    server: str = "plain"
    rounds: int | None = None


def cases(*, quick: bool) -> list[Case]:
    """All cases; the quick ones are the same with less data."""
    large = one_file((256 if quick else 2048) * MEBIBYTE)
    small = small_files(300 if quick else 2000)
    mixed = mixed_tree(60 if quick else 500)
    far_medium = small_files(60 if quick else 400, 300 * KIBIBYTE)
    far_small = small_files(300 if quick else 2000, 4 * KIBIBYTE)
    far_large = one_file((64 if quick else 256) * MEBIBYTE)
    return [
        Case("large", large),
        Case("small", small),
        Case("mixed", mixed),
        Case("one", small_files(1, 4 * KIBIBYTE)),
        Case("large-tls", large, "tls"),
        Case("small-tls", small, "tls"),
        Case("mixed-tls", mixed, "tls"),
        *[
            Case(f"{name}-{delay}", make, delay)
            for delay in ("20ms", "80ms")
            for name, make in (("medium", far_medium), ("small", far_small), ("large", far_large))
        ],
        Case("slow-link", small_files(4 if quick else 40, 5 * MEBIBYTE), "slow", rounds=None if quick else 2),
        Case("small-md5", small, "md5"),
        Case("small-nothing", small, "nothing"),
        Case("many", small_files(2000 if quick else 20_000)),
        Case("demo-large", one_file((64 if quick else 512) * MEBIBYTE), "demo", rounds=1),
        Case("demo-small", small_files(50 if quick else 500), "demo", rounds=1),
    ]


@dataclass(slots=True)
class Result:
    """The samples of a case by client, round by round; seconds of processor time of mongod and sink in ours."""

    case: str
    files: Files
    samples: dict[str, list[Sample]] = field(default_factory=lambda: defaultdict(list))
    mongod_cpu: list[float] = field(default_factory=list)
    sink_cpu: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    requests: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))

    def plain(self) -> dict[str, Any]:
        """For JSON: `asdict` of Python 3.11 cannot copy a `defaultdict`."""
        return asdict(
            replace(self, samples=dict(self.samples), sink_cpu=dict(self.sink_cpu), requests=dict(self.requests))
        )

    def ratio(self, client: str) -> Spread:
        """How many times as long as ours a client took, round by round."""
        pairs = zip(self.samples[client], self.samples[OURS], strict=True)
        return Spread.of([other.wall / ours.wall for other, ours in pairs])


class Bench:
    """The servers, the files and the clients, while they are there."""

    def __init__(self, stack: ExitStack, folder: Path, cache: Path, chosen: Sequence[str] | None) -> None:
        self._folder = folder
        self._files: dict[int, Files] = {}
        self._stack = stack
        self._cache = cache
        self._services = stack.enter_context(EmbeddedServices.start(folder / "services"))
        self._errors = stack.enter_context((folder / "errors.txt").open("w+b"))
        self._sinks: dict[str, NullSink | None] = {}
        self._certificate: tuple[Path, Path] | None = None
        every = commands(peers(cache))
        self._clients: Mapping[str, Command] = {
            name: command for name, command in every.items() if not chosen or name in chosen or name == OURS
        }

    def measure(self, case: Case, rounds: int) -> Result | None:
        """Run a case; None where its server is not there."""
        target = self._target(case.server)
        if target is None:
            return None
        environment = target.environment(self._folder)
        files = case.make(self._folder)
        result = Result(case.name, files)
        # As a person has it: the collection is there already.
        run([f"{sys.exec_prefix}/bin/upload-console", "list"], environment, errors=self._errors, timeout=60.0)
        try:
            for number in range(case.rounds or rounds):
                for client, command in self._clients.items():
                    prefix = f"{case.name}/{client.replace(' ', '-')}/{number}"
                    self._run(result, case, client, command(target, files.path, prefix), environment)
        finally:
            shutil.rmtree(files.path) if files.path.is_dir() else files.path.unlink()
            shutil.rmtree(self._services.s3_server.objects / self._services.bucket / case.name, ignore_errors=True)
        return result

    def _run(self, result: Result, case: Case, client: str, command: list[str], environment: Mapping[str, str]) -> None:
        sink = self._sinks.get(case.server)
        mongod = self._services.replica_set.members[0].process.pid
        if sink is not None:
            sink.take_stats()
        before = cpu_seconds(mongod), sink.cpu_seconds if sink else 0.0
        sample = run(command, environment, errors=self._errors, timeout=_SECONDS_PER_RUN)
        result.samples[client].append(sample)
        if client == OURS:
            result.mongod_cpu.append(cpu_seconds(mongod) - before[0])
        if sink is not None:
            result.sink_cpu[client].append(sink.cpu_seconds - before[1])
            arrived = sink.take_stats()
            result.requests[client].append(arrived.requests)
            # Bytes that were sent twice are seen in the requests; objects that are missing are no measurement.
            if arrived.objects < result.files.count or arrived.bytes < result.files.size:
                raise Failed(f"{client} sent {arrived}, not {result.files.count} objects, {result.files.size} bytes")
        print(f"  {client:<15} {sample.wall:7.2f} s", file=sys.stderr)

    def _target(self, server: str) -> Target | None:
        uri = self._services.mongodb_uri
        if server == "demo":
            own = self._services
            return Target(own.s3_endpoint, own.bucket, own.access_key, own.secret_key, mongodb_uri=uri)
        sink = self._sink(server)
        if sink is None:
            return None
        trusted = self._certificate[0] if self._certificate is not None and server == "tls" else None
        return Target(sink.endpoint, _BUCKET, "anybody", "any-secret", trusted, mongodb_uri=uri)

    def _sink(self, server: str) -> NullSink | None:
        """The sink, started when it is first asked for; None where it cannot be built here."""
        if server not in self._sinks:
            self._sinks[server] = None
            try:
                if server == "tls":
                    self._certificate = make_certificate(self._folder)
                program = build(self._cache, tls=server in ("tls", "md5"))
                certificate = self._certificate if server == "tls" else None
                self._sinks[server] = self._stack.enter_context(NullSink(program, certificate, _SINKS[server]))
            except Unbuildable as problem:
                print(f"No {server} cases: {problem}", file=sys.stderr)
        return self._sinks[server]


def table(result: Result) -> Iterator[str]:
    """The rows of a case, as Markdown: medians, least and most in brackets."""
    files = result.files
    rate = "MiB/s" if files.count == 1 else "files/s"
    yield f"### {result.case}: {files.count:,} file{'s' * (files.count > 1)}, {files.size / MEBIBYTE:,.0f} MiB"
    yield ""
    yield f"| client | wall s | {rate} | CPU s | CPU s/GiB | peak MiB | time ÷ ours | sink CPU s |"
    yield "|---|---|---|---|---|---|---|---|"
    amount = files.size / MEBIBYTE if files.count == 1 else files.count
    for client, samples in result.samples.items():
        wall, cpu = Spread.of([one.wall for one in samples]), Spread.of([one.cpu for one in samples])
        peak = max(one.peak for one in samples) / MEBIBYTE
        ratio = result.ratio(client)
        sink = statistics.median(result.sink_cpu[client]) if client in result.sink_cpu else 0.0
        yield (
            f"| {client} | {_spread(wall)} | {amount / wall.median:,.0f} | {_spread(cpu)} "
            f"| {cpu.median / files.size * GIBIBYTE:.2f} | {peak:.0f} | {_spread(ratio)} | {sink:.2f} |"
        )
    yield ""
    amount = statistics.median(result.mongod_cpu)
    yield f"mongod used {amount:.2f} CPU s for ours; {_requests(result)}."
    yield ""


def _requests(result: Result) -> str:
    counts = ", ".join(f"{client} {statistics.median(counted):,.0f}" for client, counted in result.requests.items())
    return f"requests to S3: {counts or 'not counted'}; load afterwards {os.getloadavg()[0]:.1f}"


def _spread(values: Spread) -> str:
    return f"{values.median:.2f} ({values.least:.2f} to {values.most:.2f})"


def _machine() -> str:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIBIBYTE
    load = os.getloadavg()[0]
    return f"{os.cpu_count()} cores, {memory:.0f} GiB, Python {platform.python_version()}, load before {load:.1f}"


@contextmanager
def _working_folder(needed: int) -> Iterator[Path]:
    places = [Path("/dev/shm"), Path(tempfile.gettempdir())]
    place = next((place for place in places if place.is_dir() and shutil.disk_usage(place).free > needed), None)
    if place is None:
        raise Failed(f"no room for {needed / GIBIBYTE:.0f} GiB in {' or '.join(map(str, places))}")
    with tempfile.TemporaryDirectory(prefix="upload-bench-", dir=place) as folder:
        yield Path(folder)


def main() -> int:
    """Run the benchmark; gives the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="less data, 2 rounds: shows that everything works")
    parser.add_argument("--cases", help="some cases only: " + ",".join(case.name for case in cases(quick=False)))
    parser.add_argument("--clients", default="s5cmd", help="whom to compare with, by commas (s5cmd), or all")
    parser.add_argument("--rounds", type=int, help="rounds of each case (5; quick: 2)")
    parser.add_argument("--json", type=Path, help="write all samples to this file")
    options = parser.parse_args()
    rounds = options.rounds or (2 if options.quick else 5)
    wanted = (
        options.cases.split(",") if options.cases else [one.name for one in cases(quick=True) if one.name != "many"]
    )
    chosen = [case for case in cases(quick=options.quick) if case.name in wanted]
    print(f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {_machine()}, {rounds} rounds\n", flush=True)
    results = []
    try:
        with _working_folder((2 if options.quick else 6) * GIBIBYTE) as folder, ExitStack() as stack:
            cache = platformdirs.user_cache_path("upload-console-bench")
            bench = Bench(stack, folder, cache, None if options.clients == "all" else options.clients.split(","))
            for case in chosen:
                print(case.name, file=sys.stderr)
                if (result := bench.measure(case, rounds)) is not None:
                    results.append(result)
                    print("\n".join(table(result)), flush=True)
    except (Failed, Unbuildable, subprocess.CalledProcessError) as problem:
        print(f"transfer benchmark: {problem}", file=sys.stderr)
        return 1
    if options.json:
        options.json.write_text(json.dumps([result.plain() for result in results], default=str, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
