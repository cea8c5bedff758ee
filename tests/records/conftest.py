"""A prepared collection of uploads on the real server; mongods that tests may fault."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.database import Database

from console.bson_decoding import EVENT_CODEC
from console.records.connection import WIRE_VERSION_6_0
from console.records.schema import VALIDATOR, prepare
from console.records.uploads import Uploads
from tests.records.servers import Mongod, running_mongod

Document = dict[str, Any]


@pytest.fixture(scope="session")
def _records_database(mongodb_uri: str) -> Iterator[Database[Document]]:
    with MongoClient[Document](mongodb_uri, serverSelectionTimeoutMS=10_000) as client:
        name = f"records_{os.getpid()}"
        yield client.get_database(name, codec_options=EVENT_CODEC)
        client.drop_database(name)


@pytest.fixture
def uploads(_records_database: Database[Document]) -> Uploads:
    """Empty and prepared, whatever the test before did to it."""
    if _records_database.uploads.options().get("validator") != VALIDATOR:  # set-up leaves one that is not ours
        _records_database.drop_collection("uploads")
    _records_database.uploads.delete_many({})
    prepare(_records_database, "uploads", wire_version=WIRE_VERSION_6_0)
    return Uploads(_records_database.uploads)


@pytest.fixture(scope="session")
def guarded_mongod(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mongod]:
    """A primary that asks for a password; there is the user root, password root."""
    key = tmp_path_factory.mktemp("key") / "key"
    key.write_text("0123456789abcdef" * 4)
    key.chmod(0o600)
    with running_mongod("--auth", "--keyFile", str(key)) as mongod:
        # Allowed without a password until there is a user (manual, "Localhost Exception").
        mongod.client(directConnection=True).admin.command("createUser", "root", pwd="root", roles=["root"])
        yield mongod


@pytest.fixture(scope="session")
def faulty_mongod() -> Iterator[Mongod]:
    """A primary that knows failpoints, and that may be restarted."""
    with running_mongod("--setParameter", "enableTestCommands=1") as mongod:
        yield mongod


@pytest.fixture
def faulty_uploads(faulty_mongod: Mongod, request: pytest.FixtureRequest) -> Uploads:
    """A prepared collection of this test's own on it."""
    database = faulty_mongod.client(datetime_conversion="DATETIME_AUTO").faults
    name = request.node.name.translate(str.maketrans("[].-", "____"))[:80]
    database.drop_collection(name)
    prepare(database, name, wire_version=WIRE_VERSION_6_0)
    return Uploads(database[name])
