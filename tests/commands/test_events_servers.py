"""`events` on servers that go away, have forgotten, or refuse."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from bson import Timestamp
from pymongo import MongoClient

from console.errors import MongoUnsuitable, UsageError
from tests.commands.event_answers import second
from tests.commands.running import Running, is_filled
from tests.records.servers import Mongod, running_mongod

if TYPE_CHECKING:
    from tests.commands.conftest import Command

URI = "UPLOAD_CONSOLE_MONGODB__URI"


def numbers(text: str) -> list[int]:
    return [line["documentKey"]["_id"] for line in map(json.loads, text.splitlines()) if "documentKey" in line]


def test_a_connection_that_is_lost_is_told_of_and_found_again(tmp_path: Path) -> None:
    with running_mongod() as mongod:
        client = mongod.client()
        client.lost.create_collection("things")
        place = tmp_path / "place"
        # So long the outage is waited for before it is told of; a slow machine may take a while to answer, too.
        environment = {URI: f"mongodb://{mongod.address}", "UPLOAD_CONSOLE_MONGODB__TIMEOUT_SECONDS": "5"}
        arguments = ("events", "--json", "--namespace", "lost.things", "--resume-file", str(place))
        with Running(*arguments, environment=environment) as running:
            running.wait_for(lambda: is_filled(place))
            client.lost.things.insert_one({"_id": 1})
            assert json.loads(running.out.readline())["documentKey"] == {"_id": 1}
            mongod.process.kill()
            running.wait_for_error(f"reconnecting: {mongod.address}: [Errno 111] Connection refused\n")
            mongod.restart()
            client.lost.things.insert_one({"_id": 2})
            assert json.loads(running.out.readline())["documentKey"] == {"_id": 2}
            assert running.errors().endswith("connected again\n")


class TestForgotten:
    """A server whose oplog has let go of the beginning."""

    @pytest.fixture(scope="class")
    def forgotten(self) -> Iterator[tuple[Mongod, str]]:
        """The server, and a resume token that it has forgotten."""
        # The oplog is cut back only behind a checkpoint, of which there is one every `syncdelay` seconds.
        options = ("--oplogSize", "1", "--syncdelay", "1", "--setParameter", "minSnapshotHistoryWindowInSeconds=0")
        with running_mongod(*options) as mongod:
            client = mongod.client()
            client.gaps.create_collection("things")
            with client.gaps.things.watch() as stream:
                token = json.dumps(stream.resume_token)
            before = client.admin.command("ping")["operationTime"]
            while _begins(client) <= before:
                client.gaps.other.insert_many([{"bytes": bytes(100_000)} for _ in range(5)])
            yield mongod, token

    @pytest.fixture
    def command(self, forgotten: tuple[Mongod, str], environment: dict[str, str], command: Command) -> Command:
        environment[URI] = f"mongodb://{forgotten[0].address}"
        return command

    def test_since_says_the_oldest_time_there_is(self, command: Command, forgotten: tuple[Mongod, str]) -> None:
        client, token = forgotten[0].client(), forgotten[1]
        for since in ("1h", token):
            before = _begins(client)
            answer = command("events", "--json", "--namespace", "gaps.things", "--since", since)
            assert isinstance(answer.error, UsageError), answer
            assert answer.code == 2
            named = datetime.fromisoformat(answer.error.message.split()[-1])
            assert answer.error.message == f"--since: the oldest time available is {second(named)}"
            # The next whole second; in the background the server may go on letting go of what is old.
            assert before.time + 1 <= named.timestamp() <= _begins(client).time + 1
            while datetime.now(UTC) < named:
                client.admin.command("ping")
            answer = command(
                "events", "--json", "--namespace", "gaps.nothing", "--since", second(named), "--until", "0s"
            )
            assert answer.code == 0 or _begins(client).time >= named.timestamp()

    def test_a_resume_file_goes_on_with_the_oldest_event_and_tells_the_gap(
        self, command: Command, forgotten: tuple[Mongod, str], tmp_path: Path
    ) -> None:
        mongod, token = forgotten
        mongod.client().gaps.things.insert_one({"_id": 1})
        (tmp_path / "place").write_text(token)
        options = ("--namespace", "gaps.things", "--resume-file", str(tmp_path / "place"), "--limit", "1")
        answer = command("events", "--json", *options)
        assert answer.code == 0
        *gaps, event = map(json.loads, answer.out.splitlines())
        # More than one where the server has let go of the next oldest events, too, by the time they are asked for.
        assert {tuple(gap) for gap in gaps} == {("gap",)}
        assert event["documentKey"] == {"_id": 1}
        assert answer.err.startswith("gap: ")
        mongod.client().gaps.things.insert_one({"_id": 2})
        assert numbers(command("events", "--json", *options).out) == [2]


def _begins(client: MongoClient[dict[str, Any]]) -> Timestamp:
    oldest = client.local["oplog.rs"].find_one(sort=[("$natural", 1)])
    assert oldest is not None
    return oldest["ts"]


class TestRights:
    """A user who may not watch is told so, and what to ask for."""

    @pytest.fixture(scope="class")
    def guarded(self, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mongod]:
        key = tmp_path_factory.mktemp("key") / "key"
        key.write_text("0123456789abcdef" * 4)
        key.chmod(0o600)
        with running_mongod("--auth", "--keyFile", str(key)) as mongod:
            mongod.client(directConnection=True).admin.command("createUser", "root", pwd="root", roles=["root"])
            mongod.client(username="root", password="root").admin.command(
                "createUser", "reader", pwd="s3cr3t-pass", roles=[{"role": "read", "db": "shop"}]
            )
            yield mongod

    @pytest.mark.parametrize(
        ("namespace", "role"),
        [
            ("stock.items", "{role: 'read', db: 'stock'}"),
            ("stock", "{role: 'read', db: 'stock'}"),
            ("*", "{role: 'readAnyDatabase', db: 'admin'}"),
        ],
    )
    def test_no_right_to_watch(
        self, guarded: Mongod, command: Command, environment: dict[str, str], namespace: str, role: str
    ) -> None:
        environment[URI] = f"mongodb://reader:s3cr3t-pass@{guarded.address}/?authSource=admin"
        answer = command("events", "--json", "--namespace", namespace)
        assert answer.code == 3
        assert isinstance(answer.error, MongoUnsuitable)
        assert f"The user may not watch {namespace} at {guarded.address}" in answer.error.message
        assert role in answer.error.advice
        assert "s3cr3t-pass" not in f"{answer.error.message}{answer.error.advice}{answer.err}"

    def test_who_may_watch_needs_no_right_to_the_oplog(
        self, guarded: Mongod, command: Command, environment: dict[str, str]
    ) -> None:
        environment[URI] = f"mongodb://reader:s3cr3t-pass@{guarded.address}/?authSource=admin"
        guarded.client(username="root", password="root").shop.items.insert_one({"_id": 1})
        answer = command("events", "--json", "--namespace", "shop.items", "--since", "1h", "--until", "0s")
        assert numbers(answer.out) == [1]

    def test_no_password(self, guarded: Mongod, command: Command, environment: dict[str, str]) -> None:
        environment[URI] = f"mongodb://{guarded.address}"
        answer = command("events", "--json", "--namespace", "shop.items")
        assert answer.code == 3
        assert "requires a user and a password" in str(answer.error)


def test_a_standalone_server_has_no_change_streams(command: Command, environment: dict[str, str]) -> None:
    with running_mongod(replica_set=False) as mongod:
        environment[URI] = f"mongodb://{mongod.address}"
        answer = command("events", "--json")
    assert answer.code == 3
    assert "is not a replica set" in str(answer.error)
