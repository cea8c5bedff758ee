"""The client for MongoDB, and what is said when a deployment cannot serve the console.

Owns the connection's options, its state as people see it, and the check at start. Not here: the collection's
set-up (`schema`) or what is read and written.
"""

from __future__ import annotations

import re
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import unquote_plus

from bson.raw_bson import RawBSONDocument
from pymongo import MongoClient, WriteConcern, timeout
from pymongo.common import get_validated_options
from pymongo.errors import (
    BulkWriteError,
    ConnectionFailure,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
    WTimeoutError,
)
from pymongo.errors import (
    ConfigurationError as PyMongoConfigurationError,
)
from pymongo.uri_parser import parse_uri

from console import __version__
from console.errors import ConfigurationError, ConsoleError, MongoRefuses, MongoUnsuitable, ServerUnreachable
from console.formatting import visible
from console.settings import MongoSettings

Document = dict[str, Any]

# https://github.com/mongodb/specifications: wire versions. 4.4 has all that the conditional updates need
# ($$NOW in update pipelines is 4.2); before-images and exact post-images came with 6.0.
_FIRST_TO_CONFIRM: Final = 7
WIRE_VERSION_4_4: Final = 9
WIRE_VERSION_5_0: Final = 13
WIRE_VERSION_6_0: Final = 17
_FIRST_WITH_IMAGES: Final = 6

# Server error codes: https://github.com/mongodb/mongo/blob/master/src/mongo/base/error_codes.yml
UNAUTHORIZED: Final = 13
INVALID_OPTIONS: Final = 72
DUPLICATE_KEY: Final = 11000
AUTHENTICATION_FAILED: Final = 18
NOT_A_REPLICA_SET: Final = 40573

# A transition counts once the majority has it (design, rule 4). Where no majority answers, an error says so in the
# end, instead of a call that never returns.
MAJORITY: Final = WriteConcern("majority", wtimeout=10_000)

_REFUSALS: Final = {
    73: "Give another --namespace, or another mongodb.database and mongodb.collection.",  # InvalidNamespace
    85: "Let an administrator drop that index, or set another mongodb.collection.",  # IndexOptionsConflict
    86: "Let an administrator drop that index, or set another mongodb.collection.",  # IndexKeySpecsConflict
    121: "Its validator wants other documents: use another mongodb.collection, or let its owner allow uploads.",
    166: "Give the name of a collection: change streams know no views.",  # CommandNotSupportedOnView
    13297: "Names of databases must not differ in case alone: set mongodb.database as it is written there.",
}
# A server that starts, ends or elects says these (specification "Retryable Reads"), and will do what was asked later.
_PASSING: Final = frozenset(
    {6, 7, 50, 64, 89, 91, 112, 133, 134, 189, 202, 211, 262, 9001, 10107, 11600, 11602, 13435, 13436}
)
_OPTION_NAMES: Final = re.compile(r"(?<=[?&;])([^=&;]+)=")
_OPTION: Final = re.compile(r"[A-Za-z]+=")
_FAREWELL_SECONDS: Final = 0.5
_NO_SET_ADVICE: Final = "Start mongod with --replSet rs0 and run once: mongosh --eval 'rs.initiate()'."
_POOL: Final = 100  # PyMongo's own
_GHOST: Final = "RSGhost"  # server discovery specification: started with --replSet, and not (yet) in a set
_SECRET_OPTION: Final = re.compile(r"(?i)(?<=[?&;])(\w*password|authmechanismproperties)=[^&;]*")


class ServerClock:
    """The server's time: leases and ages are told by it, whatever the clock of this host says. Thread-safe."""

    def __init__(self) -> None:
        self._offset: float | None = None

    def set(self, local_time: object) -> None:
        """The server has just said that it is `local_time` (of `hello`)."""
        if isinstance(local_time, datetime):
            told = local_time if local_time.tzinfo is not None else local_time.replace(tzinfo=UTC)
            self._offset = told.timestamp() - time.monotonic()

    def now(self) -> datetime:
        """The time, in UTC; this host's until the server has told its own."""
        if self._offset is None:
            return datetime.now(UTC)
        return datetime.fromtimestamp(self._offset + time.monotonic(), UTC)


@dataclass(frozen=True, slots=True)
class Connection:
    """A client, and how the deployment is called on the screen (no password in it)."""

    client: MongoClient[Document]
    address: str
    settings: MongoSettings
    clock: ServerClock = field(default_factory=ServerClock)

    @property
    def is_connected(self) -> bool:
        """Whether a server that takes writes is known right now, as PyMongo's monitors see it."""
        return self.client.topology_description.has_writable_server()

    def close(self) -> None:
        """End the client and its monitor threads."""
        # PyMongo tells the server that the sessions end, and would look for one as long as for any command.
        with timeout(_FAREWELL_SECONDS):
            self.client.close()


def connect(settings: MongoSettings, *, raw: bool = False) -> Connection:
    """Make a client; nothing is sent yet (but a `mongodb+srv` address is looked up).

    With `raw` it gives documents as their bytes, for a stream of the whole deployment, which takes no other codec.

    Raises:
        ConfigurationError: the URI is wrong. No part of it that may be a password is repeated.
    """
    uri = settings.uri.get_secret_value()
    try:
        if _has_unescaped_password(uri):  # PyMongo would take a part of it for a host, and show it as such
            raise ValueError("a character in name or password is to be escaped")
        client, nodes = _client(uri, settings, RawBSONDocument if raw else dict)
    except (PyMongoError, ValueError, TypeError, OSError, UserWarning):
        raise ConfigurationError(
            f"mongodb.uri: {_complaint(uri, settings)}",
            advice="Expected mongodb://user:password@host:27017/?replicaSet=rs0 or mongodb+srv://…; "
            "characters such as @ : / in name or password are written as %40 %3A %2F.",
        ) from None
    return Connection(client, visible(",".join(f"{host}:{port}" for host, port in nodes)), settings)


def _client(
    uri: str, settings: MongoSettings, document_class: type[Any] = dict
) -> tuple[MongoClient[Document], Sequence[tuple[str, int | None]]]:
    """A client and the servers that its URI names."""
    milliseconds = int(settings.timeout_seconds * 1000)
    with warnings.catch_warnings():
        # PyMongo drops an option that it does not know, or whose value is wrong, with a mere warning.
        warnings.simplefilter("error", UserWarning)
        nodes = parse_uri(uri, validate=False, connect_timeout=settings.timeout_seconds)["nodelist"]
        client = MongoClient[Document](
            uri,
            document_class=document_class,
            appname=f"upload-console {__version__}",
            # What the console needs, whatever the URI says: a pool for its threads, and streams that wait for seconds.
            maxPoolSize=_POOL,
            waitQueueTimeoutMS=None,
            socketTimeoutMS=0,
            timeoutMS=None,
            serverSelectionTimeoutMS=milliseconds,
            connectTimeoutMS=milliseconds,
            tz_aware=True,
            # Near to `bson_decoding.EVENT_CODEC`, whatever the URI says, for streams of the whole deployment: nothing
            # that others wrote raises or loses its type. (A client does not take "backslashreplace".)
            datetime_conversion="DATETIME_AUTO",
            unicode_decode_error_handler="replace",
            uuidRepresentation="unspecified",
            connect=False,
            **_compression(uri),
        )
    return client, nodes


def _compression(uri: str) -> dict[str, Any]:
    """Whatever of the compressors is installed, unless the URI names some: over a slow line reads are five to ten times
    shorter, and to compress a document on the fastest level costs 10 µs."""
    options = {name.lower() for name in _OPTION_NAMES.findall(uri)}
    if "compressors" in options:
        return {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyMongo takes out, with a warning each, what is not installed
        installed = get_validated_options({"compressors": "zstd,snappy,zlib"})["compressors"]
    level = {} if "zlibcompressionlevel" in options else {"zlibCompressionLevel": 1}
    return {"compressors": ",".join(installed), **level} if installed else {}


def _has_unescaped_password(uri: str) -> bool:
    """Whether name and password have an `@`, `/` or `?` of their own: a URI's last `@` before its options ends them."""
    rest = uri.partition("://")[2]
    before, _, options = rest.partition("?")
    if not all(_OPTION.match(option) for option in re.split("[&;]", options) if option):
        before = rest
    return any(character in before.rpartition("@")[0] for character in "@/?")


def _complaint(uri: str, settings: MongoSettings) -> str:
    """What PyMongo says about the URI once its secrets are replaced: its texts quote whatever part they stumble on."""
    if _has_unescaped_password(uri):
        return "user name and password hold a character that a URI wants escaped"
    scheme, separator, rest = uri.partition("://")
    _, at, hosts = rest.rpartition("@")
    public = scheme + separator + at.replace("@", "user:password@") + _SECRET_OPTION.sub(r"\1=SERVICE_NAME:x", hosts)
    try:
        _client(public, settings)[0].close()
    except (PyMongoError, ValueError, TypeError, OSError, UserWarning) as error:
        text = (isinstance(error, (UserWarning, OSError)) and _wrong_option(hosts)) or str(error)
        return visible(text.split(" Did you mean")[0])
    return "user name, password or an authentication option is not written as a URI wants it"


def _wrong_option(hosts: str) -> str | None:
    """The first wrong option and what PyMongo says of it alone; of a whole URI it names neither option nor value (from
    4.20.1 on)."""
    for option in re.split("[&;]", hosts.partition("?")[2]):
        name, _, value = option.partition("=")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", UserWarning)
                get_validated_options({name: unquote_plus(value)})
        except (PyMongoError, ValueError, TypeError, OSError, UserWarning) as error:
            return f"{option}: {error}"
    return None


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
    connection.clock.set(hello.get("localTime"))
    if "setName" not in hello and hello.get("msg") != "isdbgrid":
        raise _no_replica_set(connection)
    wire_version = wire_version_of(connection.client, hello)
    if wire_version < WIRE_VERSION_4_4:
        raise MongoUnsuitable(
            f"MongoDB at {connection.address} is older than 4.4.",
            advice="Upgrade it to 4.4 or later, one major version after the other; from 6.0 on the event log also "
            "shows documents before each change.",
        )
    return wire_version


def wire_version_of(client: MongoClient[Any], hello: Mapping[str, Any]) -> int:
    """What the server can do: less than its version says where it still runs as an older one, as each does after an
    upgrade until an administrator has raised `featureCompatibilityVersion`. Raises `PyMongoError`."""
    wire_version = int(hello.get("maxWireVersion", 0))
    if wire_version < WIRE_VERSION_6_0 or hello.get("msg") == "isdbgrid":  # a mongos has no such parameter
        return wire_version
    try:
        found = client.admin.command("getParameter", 1, featureCompatibilityVersion=1)["featureCompatibilityVersion"]
        major = int(str(found["version"]).partition(".")[0])
    except (OperationFailure, LookupError, TypeError, ValueError):  # no right to ask (role clusterMonitor)
        return wire_version
    return wire_version if major >= _FIRST_WITH_IMAGES else WIRE_VERSION_5_0


def how_to_get_images(version: str) -> str:
    """What an administrator does so that a server without pre- and post-images has them: from one major version to the
    next, as MongoDB does not let any be left out, or only its feature compatibility version."""
    major = int(found[0]) if (found := re.match(r"\d+", version)) else 0
    if major >= _FIRST_WITH_IMAGES:
        confirmed = ", confirm: true" if major >= _FIRST_TO_CONFIRM else ""
        command = f"db.adminCommand({{setFeatureCompatibilityVersion: '{major}.0'{confirmed}}})"
        return f"The server runs as an older one; let an administrator run: {command}"
    steps = [f"{each}.0" for each in range(max(major + 1, _FIRST_WITH_IMAGES - 1), _FIRST_WITH_IMAGES + 1)]
    return (
        f"Upgrade MongoDB to {', then to '.join(steps)}, and set featureCompatibilityVersion after each step. "
        "Without it everything but the documents before a change works."
    )


def describe_error(error: PyMongoError) -> str:
    """The driver's message without the dumps of time-outs, topology and command that follow it."""
    text = str(error)
    if isinstance(error, BulkWriteError) and (refused := error.details.get("writeErrors")):
        text = str(refused[0].get("errmsg"))  # the error itself says of many only that some were refused
    text = re.split(r", full error:| \(configured timeouts:|, Timeout:", text, maxsplit=1)[0]
    return visible(re.sub(r"to execute command \{ (\w+): .*", r"to execute the command \1", text, flags=re.DOTALL))


def is_refused(error: PyMongoError) -> bool:
    """Whether the server refuses the user, or what the user may not do: waiting helps nobody."""
    return isinstance(error, OperationFailure) and error.code in (UNAUTHORIZED, AUTHENTICATION_FAILED)


def explain(error: PyMongoError, connection: Connection) -> ConsoleError:
    """Turn a driver's error into what a person can act on."""
    text = _without_secrets(describe_error(error), connection.settings)
    if isinstance(error, OperationFailure):
        if error.code == AUTHENTICATION_FAILED:
            return ServerUnreachable(
                f"MongoDB at {connection.address} refuses user or password.",
                advice="Check mongodb.uri: user, password and authSource.",
            )
        if error.code == UNAUTHORIZED:
            return _no_right(text, connection)
        if error.code == NOT_A_REPLICA_SET:
            return _no_replica_set(connection)
    if isinstance(error, ServerSelectionTimeoutError) and (cause := _unselectable(connection)) is not None:
        return cause
    if isinstance(error, PyMongoConfigurationError):  # the server is older than this driver can speak to
        return MongoUnsuitable(f"MongoDB at {connection.address}: {text}", advice="Upgrade it to 6.0 or later.")
    if isinstance(error, ConnectionFailure):
        return ServerUnreachable(
            f"MongoDB at {connection.address} does not answer: {text}",
            advice="Is it running, and reachable from here? See mongodb.uri and mongodb.timeout_seconds.",
        )
    if isinstance(error, OperationFailure) and error.code not in _PASSING and not isinstance(error, WTimeoutError):
        refused = (error.details or {}).get("writeErrors") or [{}]
        advice = _REFUSALS.get(refused[0].get("code", error.code) or 0, "")
        return MongoRefuses(f"MongoDB at {connection.address} refuses: {text}", advice=advice)
    return ServerUnreachable(f"MongoDB at {connection.address}: {text}")


def _no_replica_set(connection: Connection) -> MongoUnsuitable:
    return MongoUnsuitable(
        f"MongoDB at {connection.address} is not a replica set, so it has no change streams.", advice=_NO_SET_ADVICE
    )


def _no_right(text: str, connection: Connection) -> MongoUnsuitable:
    if "requires authentication" in text:
        return MongoUnsuitable(
            f"MongoDB at {connection.address} requires a user and a password.",
            advice="Write them into mongodb.uri: mongodb://user:password@host:27017/?authSource=admin.",
        )
    database = connection.settings.database
    return MongoUnsuitable(
        f"The user may not do this on {database}.{connection.settings.collection} at {connection.address}: {text}",
        advice=f"Let an administrator run: db.grantRolesToUser(USER, [{{role: 'readWrite', db: '{database}'}}]); "
        "to change collection options (pre-images) also the role 'dbAdmin'.",
    )


def _unselectable(connection: Connection) -> ConsoleError | None:
    """Why servers that do answer are of no use; None where they do not even answer."""
    topology = connection.client.topology_description
    servers = topology.server_descriptions().values()
    if any(server.server_type_name == _GHOST for server in servers):
        return MongoUnsuitable(
            f"MongoDB at {connection.address} was started with --replSet, but the replica set is not initiated yet.",
            advice="Run once: mongosh --eval 'rs.initiate()'. If it was, it is just starting: try again.",
        )
    if not servers:  # PyMongo forgets servers that answer and are not of the set that the URI names
        return MongoUnsuitable(
            f"MongoDB at {connection.address} answers, but is not of the replica set "
            f"{visible(str(topology.replica_set_name))} that mongodb.uri asks for.",
            advice="Correct or remove replicaSet in mongodb.uri (its name: mongosh --eval 'rs.status().set'). "
            f"If that says there is none: {_NO_SET_ADVICE}",
        )
    if any(server.is_server_type_known for server in servers):
        return ServerUnreachable(
            f"The replica set at {connection.address} has no primary.",
            advice="An election takes some seconds, and needs most of its members: mongosh --eval 'rs.status()'.",
        )
    return None


def _without_secrets(text: str, settings: MongoSettings) -> str:
    """The driver's errors hold none, as far as is known; this is the second lock."""
    uri = settings.uri.get_secret_value()
    credentials = uri.partition("://")[2].rpartition("@")[0]
    password = credentials.partition(":")[2]
    for secret in filter(None, (uri, credentials)):
        text = text.replace(secret, "…")
    for secret in {password, unquote_plus(password)}:
        if len(secret) > 3:  # a shorter one would be found within ordinary words
            text = text.replace(secret, "…")
    return text
