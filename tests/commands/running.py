"""`upload-console` in a process of its own, for tests of signals, pipes and kills."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

PATIENCE = 120.0  # seconds; less than pytest gives a test


class Running:
    """The command; standard output is a pipe unless a file is given, standard error always a pipe."""

    def __init__(self, *arguments: str, environment: Mapping[str, str], out: IO[bytes] | None = None) -> None:
        # A shell that starts the tests in the background has SIGINT ignored, and children inherit that.
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "console", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=out or subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={**os.environ, **environment},
            )
        finally:
            signal.signal(signal.SIGINT, before)
        self._errors = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.wait(PATIENCE)
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()

    @property
    def out(self) -> IO[bytes]:
        """Standard output, to be read."""
        assert self.process.stdout is not None
        return self.process.stdout

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait_for(self, condition: Callable[[], Any]) -> None:
        """Wait until it holds; the command must not end before."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert self.process.poll() is None, f"ended with {self.process.returncode}: {self.errors()}"
            assert time.monotonic() < deadline, self.errors()
            time.sleep(0.01)

    def wait_for_error(self, text: str) -> None:
        """Wait until standard error says so."""
        self.wait_for(lambda: text in self.errors())

    def errors(self) -> str:
        """What was said on standard error so far."""
        assert self.process.stderr is not None
        while select.select([self.process.stderr], [], [], 0)[0]:
            if not (data := os.read(self.process.stderr.fileno(), 65536)):
                break
            self._errors += data
        return self._errors.decode()

    def end(self) -> int:
        """Wait for its end; gives the exit code."""
        return self.process.wait(PATIENCE)


def is_filled(path: Path) -> bool:
    """Whether something was written there."""
    return path.exists() and path.stat().st_size > 0
