"""mongod processes with options of the tests' own: authentication, no replica set, failpoints."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from pymongo import MongoClient, timeout
from pymongo.errors import OperationFailure, PyMongoError

from console.embedded.lifetime import LOOPBACK, ServiceFolder, SupervisedProcess, free_port, wait_until
from console.embedded.mongod import find_mongod

SET_NAME = "tests"


class Mongod:
    """One running mongod. `client()` gives clients of its own that end with it."""

    def __init__(self, folder: ServiceFolder, *options: str) -> None:
        self.port = free_port()
        self._folder = folder
        self._options = options
        self._clients: list[MongoClient[dict[str, Any]]] = []
        self.process = self._launch()

    @property
    def address(self) -> str:
        return f"{LOOPBACK}:{self.port}"

    def _launch(self) -> SupervisedProcess:
        data = self._folder.path / f"mongod-{self.port}"
        data.mkdir(exist_ok=True)
        process = SupervisedProcess(
            [
                find_mongod(),
                *("--dbpath", data, "--bind_ip", LOOPBACK, "--port", str(self.port), "--nounixsocket", "--quiet"),
                *("--wiredTigerCacheSizeGB", "0.25", "--setParameter", "diagnosticDataCollectionEnabled=false"),
                *self._options,
            ],
            log=data.with_suffix(".log"),
            grace_seconds=0,
            folder=self._folder,
        )
        wait_until(lambda: self._answers(), what="answering", process=process, timeout_seconds=60)
        return process

    def _answers(self) -> bool:
        with suppress(PyMongoError), MongoClient(self.address, directConnection=True) as client:
            return bool(client.admin.command("hello"))
        return False

    def client(self, **options: Any) -> MongoClient[dict[str, Any]]:
        client: MongoClient[dict[str, Any]] = MongoClient(
            self.address, **{"serverSelectionTimeoutMS": 60_000, "tz_aware": True, **options}
        )
        self._clients.append(client)
        return client

    def initiate(self) -> None:
        """Make it the primary of a set of its own; with authentication on this is allowed until there is a user."""
        with MongoClient(self.address, directConnection=True) as client:
            configuration = {"_id": SET_NAME, "members": [{"_id": 0, "host": self.address}]}
            with suppress(OperationFailure):
                client.admin.command("replSetInitiate", configuration)
            wait_until(
                lambda: client.admin.command("hello")["isWritablePrimary"],
                what="becoming primary",
                process=self.process,
                timeout_seconds=60,
            )

    def restart(self) -> None:
        """As after a crash; returns when it is primary again."""
        self.process.kill()
        self.process = self._launch()
        self.initiate()

    def close(self) -> None:
        with timeout(0.1):  # for clients that have not noticed yet that it runs again
            for client in self._clients:
                client.close()
        self.process.stop()


@contextmanager
def running_mongod(*options: str, replica_set: bool = True) -> Iterator[Mongod]:
    """A mongod in a private folder; primary of a set of one unless told otherwise."""
    with ServiceFolder() as folder:
        mongod = Mongod(folder, *options, *(("--replSet", SET_NAME) if replica_set else ()))
        try:
            if replica_set:
                mongod.initiate()
            yield mongod
        finally:
            mongod.close()


@contextmanager
def failing(client: MongoClient[dict[str, Any]], times: int, **data: Any) -> Iterator[None]:
    """Let the next commands fail as `failCommand` does (server: src/mongo/db/commands.h); needs test commands.

    The block ends when all of them have: a fault that nothing met would be no test.
    """
    admin = client.admin
    entered = admin.command("configureFailPoint", "failCommand", mode={"times": times}, data=data)["count"]
    try:
        yield
        admin.command("waitForFailPoint", "failCommand", timesEntered=entered + times, maxTimeMS=60_000)
    finally:
        client.admin.command("configureFailPoint", "failCommand", mode="off")
