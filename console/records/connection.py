"""The client for MongoDB, and what is said when a deployment cannot serve the console.

Owns the connection's options, its state as people see it, and the check at start. Not here: the collection's
set-up (`schema`) or what is read and written.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from pymongo import MongoClient
from pymongo.errors import (
    ConfigurationError as PyMongoConfigurationError,
)
from pymongo.errors import (
    ConnectionFailure,
    InvalidURI,
    OperationFailure,
    PyMongoError,
)
from pymongo.monitoring import (
    TopologyClosedEvent,
    TopologyDescriptionChangedEvent,
    TopologyListener,
    TopologyOpenedEvent,
)
from pymongo.uri_parser import parse_uri

from console import __version__
from console.config import MongoSettings
from console.errors import ConfigurationError, ConsoleError, MongoUnsuitable, ServerUnreachable
from console.formatting import visible

Document = dict[str, Any]

# https://github.com/mongodb/specifications: wire versions. 4.4 has all that the conditional updates need
# ($$NOW in update pipelines is 4.2); before-images and exact post-images came with 6.0.
WIRE_VERSION_4_4: Final = 9
WIRE_VERSION_6_0: Final = 17

# Server error codes: https://github.com/mongodb/mongo/blob/master/src/mongo/base/error_codes.yml
UNAUTHORIZED: Final = 13
AUTHENTICATION_FAILED: Final = 18
NOT_A_REPLICA_SET: Final = 40573


class TopologyState(TopologyListener):
    """Whether a server that takes writes is known right now; fed by PyMongo's own monitors."""

    def __init__(self) -> None:
        self._connected = False

    @property
    def connected(self) -> bool:
        """True while a primary (or mongos) is known."""
        return self._connected

    def opened(self, event: TopologyOpenedEvent) -> None:
        """Nothing is known yet."""

    def description_changed(self, event: TopologyDescriptionChangedEvent) -> None:
        """A server was found or lost."""
        self._connected = event.new_description.has_writable_server()

    def closed(self, event: TopologyClosedEvent) -> None:
        """The client was closed."""
        self._connected = False


@dataclass(frozen=True, slots=True)
class Connection:
    """A client, its state, and how the deployment is called on the screen (no password in it)."""

    client: MongoClient[Document]
    state: TopologyState
    address: str
    settings: MongoSettings

    def close(self) -> None:
        """End the client and its monitor threads."""
        self.client.close()


def connect(settings: MongoSettings) -> Connection:
    """Make a client; nothing is sent yet.

    Raises:
        ConfigurationError: the URI is wrong. Its text is not repeated, for it may hold a password.
    """
    state = TopologyState()
    try:
        uri = settings.uri.get_secret_value()
        nodes = parse_uri(uri, validate=False, connect_timeout=settings.timeout_seconds)["nodelist"]
        client: MongoClient[Document] = MongoClient(
            uri,
            appname=f"upload-console {__version__}",
            serverSelectionTimeoutMS=int(settings.timeout_seconds * 1000),
            connectTimeoutMS=int(settings.timeout_seconds * 1000),
            tz_aware=True,
            # Documents of others may hold dates beyond Python's and strings that are no UTF-8: show, do not raise.
            datetime_conversion="DATETIME_AUTO",
            unicode_decode_error_handler="replace",
            event_listeners=[state],
            connect=False,
        )
    except (InvalidURI, PyMongoConfigurationError, ValueError) as error:
        raise ConfigurationError(
            f"mongodb.uri: {_without_password(str(error), settings)}",
            advice="Expected mongodb://user:password@host:27017/?replicaSet=rs0 or mongodb+srv://…; "
            "characters such as @ : / in name or password are written as %40 %3A %2F.",
        ) from None
    address = ",".join(f"{host}:{port}" for host, port in nodes)
    return Connection(client, state, visible(address), settings)


def check(connection: Connection) -> int:
    """See that the deployment answers and has change streams; gives its wire version.

    Raises:
        ServerUnreachable: it does not answer, or refuses the user.
        MongoUnsuitable: it is no replica set or sharded cluster, or older than 4.4.
    """
    try:
        hello = connection.client.admin.command("hello")
    except PyMongoError as error:
        raise explain(error, connection) from error
    if "setName" not in hello and hello.get("msg") != "isdbgrid":
        raise MongoUnsuitable(
            f"MongoDB at {connection.address} is not a replica set, so it has no change streams.",
            advice="Start mongod with --replSet rs0 and run once: mongosh --eval 'rs.initiate()'.",
        )
    wire_version = int(hello.get("maxWireVersion", 0))
    if wire_version < WIRE_VERSION_4_4:
        raise MongoUnsuitable(
            f"MongoDB at {connection.address} is older than 4.4.",
            advice="Upgrade it to 6.0 or later; from 6.0 on the event log also shows documents before each change.",
        )
    return wire_version


def explain(error: PyMongoError, connection: Connection) -> ConsoleError:
    """Turn a driver's error into what a person can act on."""
    text = visible(_without_password(str(error).split(", full error:")[0].split(", Timeout:")[0], connection.settings))
    if isinstance(error, OperationFailure):
        if error.code == AUTHENTICATION_FAILED:
            return ServerUnreachable(
                f"MongoDB at {connection.address} refuses user or password.",
                advice="Check mongodb.uri: user, password and authSource.",
            )
        if error.code == UNAUTHORIZED:
            namespace = f"{connection.settings.database}.{connection.settings.collection}"
            return MongoUnsuitable(
                f"The user may not do this on {namespace} at {connection.address}: {text}",
                advice=f"Let an administrator run: db.grantRolesToUser(USER, "
                f"[{{role: 'readWrite', db: '{connection.settings.database}'}}]); to change collection options "
                f"(pre-images) also the role 'dbAdmin'.",
            )
        if error.code == NOT_A_REPLICA_SET:
            return MongoUnsuitable(
                f"MongoDB at {connection.address} is not a replica set, so it has no change streams.",
                advice="Start mongod with --replSet rs0 and run once: mongosh --eval 'rs.initiate()'.",
            )
    if isinstance(error, ConnectionFailure):
        return ServerUnreachable(
            f"MongoDB at {connection.address} does not answer: {text}",
            advice="Is it running, and reachable from here? See mongodb.uri and mongodb.timeout_seconds.",
        )
    return ServerUnreachable(f"MongoDB at {connection.address}: {text}")


def _without_password(text: str, settings: MongoSettings) -> str:
    uri = settings.uri.get_secret_value()
    credentials = uri.partition("://")[2].rpartition("@")[0]
    for secret in filter(None, (uri, credentials, credentials.partition(":")[2])):
        text = text.replace(secret, "…")
    return text
