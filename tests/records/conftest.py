"""A prepared collection of uploads on the real server; mongods that tests may fault."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pymongo.database import Database

from console.events.event import EVENT_CODEC
from console.records.connection import WIRE_VERSION_6_0
from console.records.schema import prepare
from console.records.uploads import Uploads
from tests.records.servers import Mongod, running_mongod

Document = dict[str, Any]


@pytest.fixture
def uploads(database: Database[Document]) -> Uploads:
    prepare(database, "uploads", wire_version=WIRE_VERSION_6_0)
    return Uploads(database.with_options(codec_options=EVENT_CODEC).uploads)


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
