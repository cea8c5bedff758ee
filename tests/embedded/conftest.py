"""A process of its own that runs `services`, and what must hold of it and its descendants."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import boto3
import psutil
import pytest
from botocore.config import Config

PATIENCE_SECONDS = 120


@dataclass
class ServicesProcess:
    process: subprocess.Popen[str]
    line: dict[str, str]
    descendants: list[psutil.Process]

    def server(self, name: str) -> psutil.Process:
        return next(process for process in self.descendants if process.name() == name)

    @property
    def folder(self) -> Path:
        arguments = self.server("mongod").cmdline()
        return Path(arguments[arguments.index("--dbpath") + 1]).parent

    def s3(self, **other: str):
        names = {"aws_access_key_id": self.line["access_key"], "aws_secret_access_key": self.line["secret_key"]}
        return boto3.client(
            "s3",
            endpoint_url=self.line["s3_endpoint"],
            region_name="us-east-1",
            config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
            **names | other,
        )

    def end(self, number: int) -> int:
        """Send a signal; returns the exit code, once no descendant is left either."""
        self.process.send_signal(number)
        code = self.process.wait(PATIENCE_SECONDS)
        self.assert_nothing_is_left()
        return code

    def assert_nothing_is_left(self) -> None:
        _, alive = psutil.wait_procs(self.descendants, timeout=PATIENCE_SECONDS)
        assert not alive


def command(directory: Path | None) -> list[str]:
    return [sys.executable, "-m", "console", "services", "--json", *(["--dir", str(directory)] if directory else [])]


@contextmanager
def _running(directory: Path | None) -> Iterator[ServicesProcess]:
    with subprocess.Popen(command(directory), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            line = process.stdout.readline()
            assert line, process.stderr.read()
            descendants = psutil.Process(process.pid).children(recursive=True)
            yield ServicesProcess(process, json.loads(line), descendants)
        finally:
            process.kill()


@pytest.fixture
def start_services() -> Iterator[Callable[..., ServicesProcess]]:
    """Start `services --json [--dir DIR]` in a process of its own; returns when it has printed its line."""
    with ExitStack() as stack:
        yield lambda directory=None: stack.enter_context(_running(directory))


@pytest.fixture(scope="module")
def running_services() -> Iterator[ServicesProcess]:
    """One for all tests that leave it as it is."""
    with _running(None) as services:
        yield services


@pytest.fixture
def refused_services() -> Callable[[Path], subprocess.CompletedProcess[str]]:
    """The same where it is expected to end by itself."""
    return lambda directory: subprocess.run(
        command(directory), capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
    )
