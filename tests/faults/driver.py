"""A runner in a process of its own, to be killed, stopped and woken.

Owns the process and what its parent sees of it. It runs until it is killed or told to leave.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

from console.records.database import Records
from console.records.identity import RunnerIdentity
from console.records.runners import Limits
from console.runner.runner import Runner
from console.s3.retry import RetryPolicy
from console.settings import MongoSettings, S3Settings, TransferSettings
from console.transfer.sender import S3Sender

START_SECONDS: Final = 60
# Forked from a server that has imported all this: so a process starts in a moment, and no thread of pytest is in it.
_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload([__name__])


@dataclass(frozen=True)
class Orders:
    """What a process is told before it starts. `rate` in bytes a second."""

    mongodb: MongoSettings
    s3: S3Settings
    transfer: TransferSettings
    host: str
    locks: Path
    rate: int
    lease_seconds: float
    credentials: dict[str, str]


class RunnerProcess:
    """A runner in a process of its own, until `kill`."""

    def __init__(self, orders: Orders) -> None:
        self._here, there = _processes.Pipe()
        self._process = _processes.Process(target=_run, args=(orders, there), daemon=True)
        self._process.start()
        there.close()
        assert self._here.poll(START_SECONDS), "the process does not start"
        self.name: str = self._here.recv()

    def kill(self) -> None:
        """As `kill -9` does, also where it is stopped; returns when it is gone. May be called twice."""
        self._process.kill()
        self._process.join()
        self._here.close()

    def signal(self, number: signal.Signals) -> None:
        """SIGSTOP, say."""
        assert self._process.pid is not None
        os.kill(self._process.pid, number)

    def is_idle(self) -> bool:
        """Whether its runner holds nothing, as it says itself now."""
        self._here.send("idle?")
        return bool(self._here.poll(START_SECONDS) and self._here.recv())


def _run(orders: Orders, parent: Connection) -> None:
    os.environ.update(orders.credentials)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    limits = Limits(orders.rate, orders.transfer.parallel_uploads, orders.transfer.parallel_parts)
    retry = RetryPolicy(retries=5, first_wait_seconds=0.01, longest_wait_seconds=0.05)
    with Records.open(orders.mongodb) as records, S3Sender(orders.s3, orders.transfer, retry=retry) as sender:
        identity = RunnerIdentity(orders.host, orders.locks)
        runner = Runner(records, sender, limits, kind="console", identity=identity, lease_seconds=orders.lease_seconds)
        runner.start()
        parent.send(runner.name)
        with suppress(EOFError):
            while parent.recv():
                parent.send(runner.wait_idle(0.0))
        runner.stop()
