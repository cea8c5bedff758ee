"""What is said about a connection string, about servers that are too old, and in which words."""

from __future__ import annotations

import traceback
from typing import Any
from unittest.mock import MagicMock
from urllib.parse import quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr
from pymongo.errors import AutoReconnect, OperationFailure, PyMongoError, ServerSelectionTimeoutError
from pymongo.errors import ConfigurationError as TooOldForPyMongo

from console.errors import ConfigurationError, ConsoleError, MongoRefuses, MongoUnsuitable, ServerUnreachable
from console.records import database
from console.records.connection import Connection, check, connect, describe_error, explain
from console.records.database import Records
from console.settings import MongoSettings
from console.stream.server import image_options

SECRET = "s3cr3t-pass"


def settings(uri: str) -> MongoSettings:
    return MongoSettings(uri=SecretStr(uri), timeout_seconds=0.2)


def refused(uri: str) -> ConfigurationError:
    with pytest.raises(ConfigurationError) as caught:
        connect(settings(uri)).close()
    return caught.value


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("", "must begin with 'mongodb://'"),
        ("http://host", "must begin with 'mongodb://'"),
        ("mongodb://", "at least one hostname"),
        ("mongodb://host:port", "Port contains non-digit characters"),
        ("mongodb://host:99999", "Port must be an integer"),
        ("mongodb://host/?replicaset", "mongodb.uri: "),
        ("mongodb://host/?bogus=1", "Unknown option: bogus"),
        ("mongodb://host/?tls=maybe", "tls must be 'true' or 'false'"),
        ("mongodb://host/?w=-5", "w must be a non negative integer"),
        ("mongodb://host/?tls=true&tlsCAFile=/no/such/file", "/no/such/file"),
        ("mongodb://host/?authMechanism=FOO", "authMechanism must be in"),
        (f"mongodb://user:{SECRET}@host/?bogus=1", "Unknown option: bogus"),
        (f"mongodb://user:{SECRET}@host:99999", "Port must be an integer"),
        (f"mongodb://user:{SECRET}/more@host", "user name and password"),
        (f"mongodb://user:{SECRET}@more@host", "user name and password"),
        (f"mongodb://user:abc@{SECRET}/more@host:1/", "user name and password"),
        (f"mongodb://user:abc@{SECRET}?more@host:1/", "user name and password"),
        (f"mongodb://user:abc@{SECRET}/x?y=z@host:1/?replicaSet=rs0", "mongodb.uri: "),
        (f"mongodb://user:{SECRET}:more@host", "user name, password"),
        (f"mongodb://user:{SECRET}%zz@host", "user name, password"),
        (f"mongodb://user:/{SECRET}@host:1/", "user name and password"),
        (f"mongodb://user:p@host/?authMechanismProperties={SECRET}", "authentication option"),
    ],
)
def test_a_wrong_uri_is_explained(uri, said):
    error = refused(uri)
    assert error.message.startswith("mongodb.uri: ")
    assert said in error.message
    assert "mongodb://user:password@host" in error.advice
    assert SECRET not in "".join(traceback.format_exception(error))


SECRETS = st.text(st.sampled_from("@:/?#%&=[]+ ,aé\u202e"), max_size=6).map(lambda text: f"{SECRET}{text}{SECRET}")


@given(SECRETS)
def test_a_password_that_is_not_quoted_is_never_repeated(secret):
    assert SECRET not in "".join(traceback.format_exception(refused(f"mongodb://user:{secret}@host/?bogus=1")))


def test_the_address_on_the_screen_has_no_credentials():
    connection = connect(settings(f"mongodb://user:{SECRET}@one:1,two:2/?replicaSet=rs0"))
    try:
        assert connection.address == "one:1,two:2"
        assert not connection.is_connected
        assert SECRET not in repr(connection)
    finally:
        connection.close()


def connection_that_says(answer: dict[str, Any] | PyMongoError, uri: str = "mongodb://h") -> Connection:
    client = MagicMock()
    client.admin.command.side_effect = [answer]
    return Connection(client, "h:27017", settings(uri))


@pytest.mark.parametrize(
    ("answer", "kind", "said"),
    [
        ({"maxWireVersion": 17}, MongoUnsuitable, "is not a replica set"),
        ({"setName": "rs0", "maxWireVersion": 8}, MongoUnsuitable, "is older than 4.4"),
        ({"setName": "rs0"}, MongoUnsuitable, "is older than 4.4"),
        (OperationFailure("Authentication failed.", 18), ServerUnreachable, "refuses user or password"),
        (OperationFailure("x requires authentication", 13), MongoUnsuitable, "requires a user and a password"),
        (OperationFailure("not allowed to do it", 13), MongoUnsuitable, "not allowed to do it"),
        (TooOldForPyMongo("reports wire version 5"), MongoUnsuitable, "reports wire version 5"),
        (AutoReconnect("connection closed"), ServerUnreachable, "does not answer: connection closed"),
        (OperationFailure("odd", 1), MongoRefuses, "odd"),
        (OperationFailure("in recovery", 11602), ServerUnreachable, "in recovery"),
    ],
)
def test_what_the_check_says(answer, kind, said):
    with pytest.raises(kind) as caught:
        check(connection_that_says(answer))
    assert said in caught.value.message
    assert "h:27017" in caught.value.message


@pytest.mark.parametrize("hello", [{"setName": "rs0", "maxWireVersion": 9}, {"msg": "isdbgrid", "maxWireVersion": 21}])
def test_replica_sets_and_sharded_clusters_from_4_4_will_do(hello):
    assert check(connection_that_says(hello)) == hello["maxWireVersion"]


def test_no_password_in_what_is_said_about_a_drivers_error():
    secret = "p@ss word"
    connection = connection_that_says({}, f"mongodb://user:{quote_plus(secret)}@h")
    for quoted in (secret, quote_plus(secret), connection.settings.uri.get_secret_value()):
        message = explain(OperationFailure(f"cannot use {quoted} here", 1), connection).message
        assert quoted not in message
        assert "cannot use" in message


def test_words_leave_the_drivers_dumps_out():
    text = "h:1: refused (configured timeouts: connectTimeoutMS: 20000.0ms), Timeout: 10s, Topology Description: <…>"
    assert describe_error(ServerSelectionTimeoutError(text)) == "h:1: refused"
    assert describe_error(OperationFailure("no\x1b[31m, full error: {…}", 1)) == r"no\x1b[31m"


def test_old_servers_are_asked_for_what_they_know():
    assert image_options(16) == {"full_document": "updateLookup"}
    assert image_options(17) == {"full_document": "whenAvailable", "full_document_before_change": "whenAvailable"}


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (AutoReconnect("connection closed"), "MongoDB at h:27017 does not answer: connection closed"),
        (OperationFailure("not allowed to watch", 13), "The user may not do this"),
    ],
)
def test_what_ends_work_with_the_records_is_said_as_people_can_act_on_it(error: PyMongoError, words: str) -> None:
    nothing: Any = None
    records = Records(connection_that_says({}), nothing, nothing, nothing, ())
    with pytest.raises(ConsoleError, match=words), records:
        raise error
    records.connection.client.close.assert_called_once_with()  # type: ignore[attr-defined]


def test_why_no_server_is_found_is_asked_before_the_client_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A closed one has forgotten all members."""
    nothing: Any = None
    connection = connection_that_says({})
    records = Records(connection, nothing, nothing, nothing, ())

    def reason(error: PyMongoError, _: Connection) -> ServerUnreachable:
        assert not connection.client.close.called  # type: ignore[attr-defined]
        return ServerUnreachable(f"asked: {error}")

    monkeypatch.setattr(database, "explain", reason)
    with pytest.raises(ServerUnreachable, match="asked: no primary"), records:
        raise ServerSelectionTimeoutError("no primary")
