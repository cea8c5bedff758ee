"""Opening the records on servers that serve, and on those that do not."""

from __future__ import annotations

import time
from contextlib import closing
from datetime import UTC, timedelta
from unittest.mock import patch

import bson
import pytest
from bson import DatetimeMS
from bson.raw_bson import RawBSONDocument
from pydantic import SecretStr
from pymongo import timeout
from pymongo.errors import ServerSelectionTimeoutError

from console.embedded.lifetime import LOOPBACK, ServiceFolder, free_port
from console.errors import ConsoleError, MongoRefuses, MongoUnsuitable, ServerUnreachable
from console.models import UploadStatus
from console.records.connection import WIRE_VERSION_6_0, check
from console.records.database import Records
from console.records.runners import Limits
from console.records.schema import INDEXES, prepare
from console.settings import MongoSettings
from console.stream import server
from console.stream.feed import ChangeFeed
from console.stream.server import Images, images_of
from tests.records.documents import new_upload
from tests.records.feeds import events, opened, take_until
from tests.records.servers import SET_NAME, Mongod, running_mongod

SECRET = "s3cr3t-pass"


def settings(uri, *, seconds=60, **more):
    return MongoSettings(uri=SecretStr(uri), timeout_seconds=seconds, **more)


def refusal(uri, said):
    """The error of opening, after seeing that no secret is in it.

    Where no server is of use the time-out runs out: a short one tells as much, unless the machine stands still.
    """
    for seconds in (0.5, 5, 60):
        with pytest.raises(ConsoleError) as caught:
            Records.open(settings(uri, seconds=seconds)).close()
        if said in caught.value.message:
            break
    assert said in caught.value.message
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
    error = refusal(f"mongodb://{standalone.address}", f"{standalone.address} is not a replica set")
    assert isinstance(error, MongoUnsuitable)
    assert "--replSet rs0" in error.advice
    assert "rs.initiate()" in error.advice


@pytest.mark.parametrize("asked", ["standalone", "guarded_mongod"])
def test_a_server_of_another_set_or_of_none_is_told_from_one_that_is_away(asked, request):
    mongod = request.getfixturevalue(asked)
    error = refusal(f"mongodb://{mongod.address}/?replicaSet=elsewhere", "is not of the replica set elsewhere")
    assert isinstance(error, MongoUnsuitable)
    assert "replicaSet" in error.advice


def test_a_set_that_was_never_initiated_says_what_to_run():
    with ServiceFolder() as folder, closing(Mongod(folder, "--replSet", SET_NAME)) as mongod:
        error = refusal(f"mongodb://{mongod.address}", "not initiated yet")
    assert isinstance(error, MongoUnsuitable)
    assert "rs.initiate()" in error.advice


def test_nobody_listening_is_named():
    port = free_port()
    error = refusal(f"mongodb://user:{SECRET}@{LOOPBACK}:{port}", "Connection refused")
    assert type(error) is ServerUnreachable
    assert f"MongoDB at {LOOPBACK}:{port} does not answer" in error.message
    assert "Topology" not in error.message


def test_a_wrong_password_is_named_as_such(guarded_mongod):
    error = refusal(f"mongodb://root:{SECRET}@{guarded_mongod.address}", "refuses user or password")
    assert type(error) is ServerUnreachable
    assert "authSource" in error.advice


def test_no_password_where_one_is_needed(guarded_mongod):
    error = refusal(f"mongodb://{guarded_mongod.address}", "requires a user and a password")
    assert isinstance(error, MongoUnsuitable)
    assert "mongodb://user:password@" in error.advice


def test_a_user_without_the_right_is_told_which_role_is_missing(guarded_mongod):
    admin = guarded_mongod.client(username="root", password="root").admin
    admin.command("createUser", "reader", pwd="p", roles=[{"role": "read", "db": "elsewhere"}])
    error = refusal(f"mongodb://reader:p@{guarded_mongod.address}/?authSource=admin", "upload_console.uploads")
    assert isinstance(error, MongoUnsuitable)
    assert "grantRolesToUser" in error.advice


@pytest.mark.parametrize(
    "option", ["readPreference=secondary", "w=3", "maxPoolSize=1", "timeoutMS=1", "socketTimeoutMS=1"]
)
def test_the_uri_does_not_change_how_our_own_collections_are_used(mongodb_uri, database, option):
    with Records.open(settings(f"{mongodb_uri}&{option}", database=database.name)) as records:
        (upload_id,) = records.uploads.add([new_upload()])
        records.runners.heartbeat("r", "here", "watch", Limits(0, 1, 1), {})
        assert [runner.runner for runner in records.runners.live()] == ["r"]
        assert records.uploads.get([upload_id])
        feed = ChangeFeed(records.uploads.collection, snapshot=records.uploads.window)
        feed.start()
        assert opened(take_until(feed, opened))
        feed.close()


def test_what_goes_over_the_line_is_compressed(mongodb_uri, database):
    def compressed():
        found = database.client.admin.command("serverStatus")["network"]["compression"]
        return sum(each["decompressor"]["bytesIn"] for each in found.values())

    before = compressed()
    with Records.open(settings(mongodb_uri, database=database.name)) as records:
        records.uploads.add([new_upload()])
    assert compressed() > before


class TestWhatTheServerRefuses:
    """It is named, and no server is called out of reach."""

    def refused(self, mongodb_uri, **options):
        with pytest.raises(ConsoleError) as caught:
            Records.open(settings(mongodb_uri, **options)).close()
        assert isinstance(caught.value, MongoRefuses)
        assert (caught.value.exit_code, bool(caught.value.advice)) == (2, True)
        return caught.value.message

    def test_an_index_in_the_way(self, mongodb_uri, database):
        (first, *_) = INDEXES
        database.uploads.create_index([("a", 1)], name=first.document["name"])
        assert "existing index" in self.refused(mongodb_uri, database=database.name)

    def test_a_name_that_differs_in_case_alone(self, mongodb_uri, database):
        database.things.insert_one({})
        assert database.name in self.refused(mongodb_uri, database=database.name.upper())

    def test_a_view(self, mongodb_uri, database):
        database.command("create", "uploads", viewOn="things", pipeline=[])
        assert "is a view" in self.refused(mongodb_uri, database=database.name)


def test_a_server_that_runs_as_an_older_version_serves_without_documents_before_a_change():
    """How every server is after an upgrade, until an administrator raises featureCompatibilityVersion."""
    with running_mongod() as mongod:
        client = mongod.client()
        client.admin.command("setFeatureCompatibilityVersion", "5.0")
        with Records.open(settings(f"mongodb://{mongod.address}")) as records:
            feed = ChangeFeed(records.uploads.collection, snapshot=records.uploads.window)
            feed.start()
            take_until(feed, opened)
            (upload_id,) = records.uploads.add([new_upload()])
            records.uploads.collection.update_one({"_id": upload_id}, {"$set": {"priority": 5}})
            items = take_until(feed, lambda items: len(events(items)) == 2)
            assert events(items)[-1].after["priority"] == 5
            assert images_of(client, "upload_console.uploads").images is Images.TOO_OLD
            feed.close()
        # To the same end where nobody tells the version (no right to ask).
        assert prepare(client.upload_console, "others", wire_version=WIRE_VERSION_6_0)
        with patch.object(server, "wire_version_of", lambda *_: WIRE_VERSION_6_0):
            feed = ChangeFeed(client.upload_console.others)
            feed.start()
            assert opened(take_until(feed, opened))
            feed.close()


def test_the_time_is_the_servers(mongodb_uri, database):
    with Records.open(settings(mongodb_uri, database=database.name)) as records:
        clock = records.connection.clock
        told = database.client.admin.command("hello")["localTime"].replace(tzinfo=UTC)
        assert abs((clock.now() - told).total_seconds()) < 60
        clock.set(told + timedelta(hours=3))
        assert abs((clock.now() - told).total_seconds() - 3 * 3600) < 60


def test_a_server_that_goes_away_is_noticed_and_not_waited_for():
    """Closing would wait for `timeout_seconds`, and the test's own time limit ends before those."""
    with running_mongod() as mongod:
        records = Records.open(settings(f"mongodb://{mongod.address}", seconds=3600))
        check(records.connection)
        assert records.connection.is_connected
        mongod.process.kill()
        with timeout(1), pytest.raises(ServerUnreachable):
            check(records.connection)
        deadline = time.monotonic() + 60
        while records.connection.is_connected:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        with timeout(1), pytest.raises(ServerSelectionTimeoutError):
            records.uploads.counts()
        records.close()
