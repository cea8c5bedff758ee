"""`events --match`: decided by the server where it can, here where it cannot; all the same to who reads."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pymongo import MongoClient

from console.errors import UsageError
from tests.commands.event_answers import Events, ids, place_of, soon

if TYPE_CHECKING:
    from console.embedded.services import EmbeddedServices
    from tests.commands.conftest import Command


@dataclass(frozen=True)
class Life:
    """Events in `namespace` between two places."""

    namespace: str
    since: str
    until: str


@pytest.fixture(scope="module")
def life(services: EmbeddedServices) -> Iterator[Life]:
    """Events that no test adds to, so that they are read up to a moment that is soon past."""
    with MongoClient[dict[str, Any]](services.mongodb_uri) as client:
        database = client[f"life_{os.getpid()}"]
        since = place_of(database)
        things = database.create_collection("things", changeStreamPreAndPostImages={"enabled": True})
        things.insert_many([{"_id": number, "n": number} for number in range(5)])
        things.update_one({"_id": 3}, {"$set": {"label": "late"}})
        things.update_one({"_id": 4}, {"$set": {"n": 44}})
        things.delete_one({"_id": 0})
        yield Life(database.name, since, soon())
        client.drop_database(database)


@pytest.fixture
def events(command: Command, life: Life) -> Events:
    """`events` of that life from its beginning on."""
    return partial(command, "events", "--json", "--namespace", life.namespace, "--since", life.since)


@pytest.mark.parametrize(
    ("match", "found"),
    [
        ("op:update", [3, 4]),
        ("op:update field:label", [3]),
        ("late", [3]),
        ("op:delete,update -key:4", [3, 0]),
        ('{"operationType": "update", "fullDocument.n": {"$gt": 10}}', [4]),
        ('op:insert {"fullDocument.n": {"$mod": [2, 0]}}', [0, 2, 4]),
        ('{"$expr": {"$eq": ["$updateDescription.updatedFields.label", "late"]}}', [3]),
        ('{"documentKey._id": {"$numberInt": "0"}, "operationType": "delete"}', [0]),
    ],
)
def test_what_passes(events: Events, life: Life, match: str, found: list[int]) -> None:
    assert ids(events("--match", match, "--until", life.until)) == found


def test_a_recording_has_what_passes(events: Events, life: Life, command: Command, tmp_path: Path) -> None:
    record = tmp_path / "r"
    answer = events("--match", "op:update field:label", "--until", life.until, "--record", str(record))
    assert ids(answer) == ids(command("events", "--json", "--replay", str(record))) == [3]


def test_a_replay_is_filtered_too(events: Events, life: Life, command: Command, tmp_path: Path) -> None:
    record = tmp_path / "r"
    events("--until", life.until, "--record", str(record))
    assert ids(command("events", "--json", "--replay", str(record), "--match", "op:update -late")) == [4]
    assert ids(command("events", "--json", "--replay", str(record), "--limit", "2")) == [0]


@pytest.mark.parametrize(
    "match", ["op:", "op:updated", '{"a": ', '{"a": {"$bogus": 1}}', '"open', '{"$expr": {"$bogus": 1}}']
)
def test_what_makes_no_sense_is_refused(events: Events, match: str) -> None:
    answer = events("--match", match)
    assert isinstance(answer.error, UsageError), answer
    assert answer.error.message.startswith("--match: ")


def test_a_replay_has_no_server_to_ask(events: Events, command: Command, tmp_path: Path) -> None:
    events("--limit", "1", "--record", str(tmp_path / "r"))
    answer = command("events", "--json", "--replay", str(tmp_path / "r"), "--match", '{"$expr": {"$eq": [1, 1]}}')
    assert isinstance(answer.error, UsageError)
    assert "$expr cannot be evaluated here" in answer.error.message
