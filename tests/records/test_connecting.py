"""Opening the records on servers that serve, and on those that do not."""

from __future__ import annotations

from contextlib import closing

import bson
import pytest
from bson import DatetimeMS
from bson.raw_bson import RawBSONDocument
from pydantic import SecretStr
from pymongo import timeout
from pymongo.errors import ServerSelectionTimeoutError

from console.config import MongoSettings
from console.embedded.lifetime import LOOPBACK, ServiceFolder, free_port
from console.errors import ConsoleError, MongoUnsuitable, ServerUnreachable
from console.models import UploadStatus
from console.records.connection import check, connect
from console.records.database import Records
from tests.records.documents import new_upload
from tests.records.servers import SET_NAME, Mongod, running_mongod

SECRET = "s3cr3t-pass"


def settings(uri, **more):
    return MongoSettings(uri=SecretStr(uri), timeout_seconds=0.5, **more)


def refusal(uri):
    """The error of opening, after seeing that no secret is in it."""
    with pytest.raises(ConsoleError) as caught:
        Records.open(settings(uri)).close()
    assert SECRET not in str(caught.value)
    assert SECRET not in str(caught.value.__cause__)
    assert caught.value.advice
    return caught.value


@pytest.fixture(scope="module")
def standalone():
    with running_mongod(replica_set=False) as mongod:
        yield mongod


def test_records_open_on_a_replica_set(mongodb_uri, database):
    chosen = settings(mongodb_uri, database=database.name)
    with Records.open(chosen) as records:
        assert records.notes == (f"created the collection {database.name}.uploads",)
        assert records.connection.is_connected
        (upload_id,) = records.uploads.add([new_upload()])
        assert records.uploads.counts()[UploadStatus.PENDING] == 1
        assert records.uploads.get([upload_id])[0]["filename"].startswith("file-")
    with Records.open(chosen) as records:
        assert records.notes == ()


def test_documents_that_python_cannot_hold_are_read_all_the_same(mongodb_uri, database):
    with Records.open(settings(mongodb_uri, database=database.name)) as records:
        database.uploads.drop()
        broken = bson.encode({"_id": "a", "text": "XX"}).replace(b"XX", b"\xff\xfe")
        database.uploads.insert_many([RawBSONDocument(broken), {"_id": "b", "at": DatetimeMS(2**60)}])
        found = {document["_id"]: document for document in records.uploads.find({})}
    assert found["a"]["text"] == r"\xff\xfe"
    assert found["b"]["at"] == DatetimeMS(2**60)


def test_a_standalone_server_is_no_replica_set(standalone):
    error = refusal(f"mongodb://{standalone.address}")
    assert isinstance(error, MongoUnsuitable)
    assert f"{standalone.address} is not a replica set" in error.message
    assert "--replSet rs0" in error.advice
    assert "rs.initiate()" in error.advice


@pytest.mark.parametrize("asked", ["standalone", "guarded_mongod"])
def test_a_server_of_another_set_or_of_none_is_told_from_one_that_is_away(asked, request):
    mongod = request.getfixturevalue(asked)
    error = refusal(f"mongodb://{mongod.address}/?replicaSet=elsewhere")
    assert isinstance(error, MongoUnsuitable)
    assert "is not of the replica set elsewhere" in error.message
    assert "replicaSet" in error.advice


def test_a_set_that_was_never_initiated_says_what_to_run():
    with ServiceFolder() as folder, closing(Mongod(folder, "--replSet", SET_NAME)) as mongod:
        error = refusal(f"mongodb://{mongod.address}")
    assert isinstance(error, MongoUnsuitable)
    assert "not made one yet" in error.message
    assert "rs.initiate()" in error.advice


def test_nobody_listening_is_named():
    port = free_port()
    error = refusal(f"mongodb://user:{SECRET}@{LOOPBACK}:{port}")
    assert type(error) is ServerUnreachable
    assert f"MongoDB at {LOOPBACK}:{port} does not answer" in error.message
    assert "Connection refused" in error.message
    assert "Topology" not in error.message


def test_a_wrong_password_is_named_as_such(guarded_mongod):
    error = refusal(f"mongodb://root:{SECRET}@{guarded_mongod.address}")
    assert type(error) is ServerUnreachable
    assert "refuses user or password" in error.message
    assert "authSource" in error.advice


def test_no_password_where_one_is_needed(guarded_mongod):
    error = refusal(f"mongodb://{guarded_mongod.address}")
    assert "wants a user and a password" in error.message
    assert "mongodb://user:password@" in error.advice


def test_a_user_without_the_right_is_told_which_role_is_missing(guarded_mongod):
    admin = guarded_mongod.client(username="root", password="root").admin
    admin.command("createUser", "reader", pwd="p", roles=[{"role": "read", "db": "elsewhere"}])
    error = refusal(f"mongodb://reader:p@{guarded_mongod.address}/?authSource=admin")
    assert isinstance(error, MongoUnsuitable)
    assert "upload_console.uploads" in error.message
    assert "grantRolesToUser" in error.advice


def test_the_connection_knows_when_the_server_is_away():
    with running_mongod() as mongod, closing(connect(settings(f"mongodb://{mongod.address}"))) as connection:
        check(connection)
        assert connection.is_connected
        mongod.process.kill()
        with pytest.raises(ServerUnreachable):
            check(connection)
        assert not connection.is_connected


def test_closing_does_not_wait_for_a_server_that_is_away():
    """It would for `timeout_seconds`, and the test's own time limit ends before those."""
    with running_mongod() as mongod:
        chosen = MongoSettings(uri=SecretStr(f"mongodb://{mongod.address}"), timeout_seconds=3600)
        records = Records.open(chosen)
        mongod.process.kill()
        with timeout(1), pytest.raises(ServerSelectionTimeoutError):
            records.uploads.counts()
        records.close()
