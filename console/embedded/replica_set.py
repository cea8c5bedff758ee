"""A replica set of mongod processes on this machine: one member for the demo, several for fault tests.

Owns starting and configuring the members together, and the faults: stepping down, killing, healing. Not here: the
single process (`mongod`), and what is stored in it.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from types import TracebackType
from typing import Any, Final, Self

from pymongo import MongoClient
from pymongo.errors import AutoReconnect, OperationFailure, PyMongoError

from console.embedded.lifetime import ServiceFolder, SupervisedProcess, wait_until
from console.embedded.mongod import SET_NAME, START_SECONDS, Document, KeyFile, Member, find_mongod
from console.errors import EmbeddedServerFailed

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
            self._make_user()
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
