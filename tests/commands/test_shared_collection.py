"""A collection that another application uses too: nothing of that application's is touched, and nobody is kept out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pymongo.database import Database

    from tests.commands.conftest import Command

READING = [
    ("list",),
    ("doctor",),
    ("verify", "--all"),
    ("limits",),
    ("sweep",),
    ("pause", "--all"),
    ("cancel", "--all"),
    ("delete", "--all", "--yes"),
    ("events", "--json", "--limit", "1", "--until", "0s"),
]


@pytest.fixture
def shop(database: Database[dict[str, Any]]) -> Database[dict[str, Any]]:
    database.uploads.insert_many([{"_id": f"order-{n}", "owner": "shop", "status": "paid"} for n in range(5)])
    return database


def look(database: Database[dict[str, Any]]) -> Any:
    """What set-up could change."""
    collections = {found["name"]: found["options"] for found in database.list_collections()}
    return collections, database.uploads.index_information(), list(database.uploads.find({"owner": "shop"}))


@pytest.mark.parametrize("arguments", READING, ids=lambda arguments: arguments[0])
def test_commands_that_add_nothing_change_no_collection(
    command: Command, shop: Database[dict[str, Any]], arguments: tuple[str, ...]
) -> None:
    before = look(shop)
    command(*arguments)
    assert look(shop) == before


@pytest.mark.parametrize("arguments", READING, ids=lambda arguments: arguments[0])
def test_they_make_none_either(
    command: Command, database: Database[dict[str, Any]], arguments: tuple[str, ...]
) -> None:
    command(*arguments)
    assert database.list_collection_names() == []


def test_an_upload_works_beside_others_and_leaves_the_collection_as_it_is(
    command: Command, shop: Database[dict[str, Any]], folder: Path
) -> None:
    before = look(shop)
    sent = command("upload", str(folder))
    assert sent.code == 0
    assert "upload-console setup" in sent.err
    collections, indexes, others = look(shop)
    assert (collections["uploads"], indexes, others) == (before[0]["uploads"], before[1], before[2])
    shop.uploads.insert_one({"owner": "shop"})
    assert command("delete", "--all", "--yes").code == 0
    assert shop.uploads.count_documents({}) == shop.uploads.count_documents({"owner": "shop"}) == 6


def test_a_filter_means_uploads_alone(command: Command, shop: Database[dict[str, Any]]) -> None:
    assert json.loads(command("delete", "--match", '{"status": "paid"}', "--yes", "--json").out)["changed"] == 0
    assert shop.uploads.count_documents({}) == 5


def test_setup_asks_before_it_changes_the_collection_of_others(
    command: Command, shop: Database[dict[str, Any]]
) -> None:
    before = look(shop)
    refused = command("setup")
    assert refused.code == 2
    assert refused.error is not None
    assert "--adopt" in refused.error.advice
    assert look(shop) == before
    adopted = command("setup", "--adopt")
    assert adopted.code == 0
    assert "set validator and pre- and post-images" in adopted.out
    shop.uploads.insert_one({"owner": "shop", "fingerprint": 7, "status": ["any"]})
    assert "is set up" in command("setup").out


def test_doctor_names_the_validator_of_others(command: Command, database: Database[dict[str, Any]]) -> None:
    database.create_collection("uploads", validator={"$jsonSchema": {"required": ["owner"]}})
    found = {line["check"]: line for line in map(json.loads, command("doctor", "--json").out.splitlines())}
    assert "owner" in json.dumps(found["validator"])


def test_an_upload_that_their_validator_refuses_names_it(
    command: Command, database: Database[dict[str, Any]], folder: Path
) -> None:
    database.create_collection("uploads", validator={"$jsonSchema": {"required": ["owner"]}})
    refused = command("upload", str(folder))
    assert refused.code == 2
    assert refused.error is not None
    assert "failed validation" in refused.error.message
