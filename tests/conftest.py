"""Fixtures: the real servers, once a process, and a world in which the person's own configuration does not exist."""

from __future__ import annotations

import gc
import inspect
import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from pymongo.database import Database

    from console.embedded.mongod import ReplicaSet
    from console.embedded.services import EmbeddedServices

Document = dict[str, Any]

_FOREIGN = ("AWS_", "UPLOAD_CONSOLE_", "RCLONE_", "XDG_")
_PROXIES = {"http_proxy", "https_proxy", "all_proxy", "no_proxy"}
# What waits for servers and programs in long modules begins, what is short comes last: no process is left with a long
# module while the others have nothing to do.
_FIRST = (
    "faults",
    "end_to_end",
    "embedded",
    "commands",
    "watch",
    "stream",
    "records",
    "security",
    "transfer",
    "runner",
    "ui",
)
# `.ci/check` runs what takes neither servers nor a screen. Nearly all tests in these folders work with servers, real or
# doubles; elsewhere whoever asks for one of these fixtures does.
_SERVER_FOLDERS = {
    *("faults", "end_to_end", "embedded", "commands", "watch", "stream", "security", "transfer", "runner"),
}
_SERVERS = {"services", "_replica_set_of_module", "guarded_mongod", "mongod", "faulty_mongod", "standalone"}
_numbers = count(1)


def _shut_out_the_persons_own_world(home: Path) -> None:
    """For this process and those it starts: empty home and configuration, no proxy, no instance metadata."""
    for name in list(os.environ):
        if name.startswith(_FOREIGN) or name.lower() in _PROXIES:
            del os.environ[name]
    os.environ |= {
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / ".config"),
        "XDG_CACHE_HOME": str(home / ".cache"),
        "XDG_DATA_HOME": str(home / ".local/share"),
        "XDG_STATE_HOME": str(home / ".local/state"),
        "AWS_CONFIG_FILE": str(home / ".aws/config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(home / ".aws/credentials"),
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "no-servers-asked-for",
        "AWS_SECRET_ACCESS_KEY": "use-the-services-fixture",
    }


def _ports_of_this_process() -> tuple[range, socket.socket]:
    """500 ports that no other test process uses, so that a server that comes back finds its own port free, whatever the
    others start meanwhile. The first of them is held for as long as the socket is open: that is what the others see.
    """
    for first in range(10_000, 32_000, 500):
        reservation = socket.socket()
        try:
            reservation.bind(("127.0.0.1", first))
        except OSError:
            reservation.close()
        else:
            return range(first + 1, first + 500), reservation
    raise RuntimeError("All 44 ranges of ports for tests are in use: are other test runs still there?")


def pytest_configure(config: pytest.Config) -> None:
    """Before any test module is imported: boto3 and platformdirs may be asked at import time."""
    from console.embedded import lifetime
    from console.embedded.lifetime import ServiceFolder

    ports, reservation = _ports_of_this_process()
    lifetime._PORTS = ports
    config.add_cleanup(reservation.close)
    # Goes with this process however that ends: xdist and `timeout` kill it without a word.
    home = ServiceFolder()
    config.add_cleanup(home.close)
    _shut_out_the_persons_own_world(home.path)
    # A property that held on a machine that stood still for a second has held: by default 0.2 s for an example.
    # Where a change is judged (`.ci/run`) the examples are always the same: new ones are sought everywhere else.
    settings.register_profile(
        "untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize="CI" in os.environ
    )
    settings.load_profile("untimed")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The folders in the order of `_FIRST`, and in each as before; and marks on what takes a server or a screen."""
    for item in items:
        if item.path.parent.name in _SERVER_FOLDERS or _SERVERS.intersection(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.server)
        if inspect.iscoroutinefunction(getattr(item, "function", None)):
            item.add_marker(pytest.mark.screen)
    places = {config.rootpath / "tests" / name: place for place, name in enumerate(_FIRST)}
    items.sort(key=lambda item: places.get(item.path.parent, len(places)))


def pytest_collection_finish() -> None:
    """What is imported by now stays: to look through all of it again and again is a fifth of the screens' tests."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


@pytest.fixture(scope="session", autouse=True)
def _empty_working_directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """No `./config.toml` of whoever runs the tests."""
    before = Path.cwd()
    directory = tmp_path_factory.mktemp("cwd")
    os.chdir(directory)
    yield directory
    os.chdir(before)


@pytest.fixture(scope="session", autouse=True)
def _botocore_reads_its_models_once() -> Iterator[None]:
    """Each session of boto3 parses the same megabytes of JSON again, and looks into hundreds of folders for which there
    are: a third of a second for each of many clients.
    """
    from botocore.loaders import JSONFileLoader, Loader

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(JSONFileLoader, "load_file", staticmethod(cache(JSONFileLoader().load_file)))
        listed = cache(Loader().list_available_services)
        patch.setattr(Loader, "list_available_services", lambda _, type_name: listed(type_name))
        yield


@pytest.fixture(scope="session")
def services() -> Iterator[EmbeddedServices]:
    """A real mongod and S3 server, started once in this process; boto3's own credential chain finds the key."""
    from console.embedded.services import EmbeddedServices

    with EmbeddedServices.start() as running, pytest.MonkeyPatch.context() as environment:
        environment.setenv("AWS_ACCESS_KEY_ID", running.access_key)
        environment.setenv("AWS_SECRET_ACCESS_KEY", running.secret_key)
        yield running


@pytest.fixture(scope="session")
def mongodb_uri(services: EmbeddedServices) -> str:
    """The connection string of the one-member replica set."""
    return services.mongodb_uri


@pytest.fixture
def database(mongodb_uri: str) -> Iterator[Database[Document]]:
    """An empty database of this test's own, dropped afterwards; `.client` is a client of its own."""
    from pymongo import MongoClient

    with MongoClient[Document](mongodb_uri, tz_aware=True, serverSelectionTimeoutMS=60_000) as client:
        database = client[f"test_{os.getpid()}_{next(_numbers)}"]
        yield database
        client.drop_database(database)


@pytest.fixture(scope="session")
def s3(services: EmbeddedServices) -> Iterator[S3Client]:
    """A client for the embedded S3 server: path style, no retries."""
    import boto3
    from botocore.config import Config

    client = boto3.client(
        "s3",
        endpoint_url=services.s3_endpoint,
        region_name="us-east-1",
        aws_access_key_id=services.access_key,
        aws_secret_access_key=services.secret_key,
        config=Config(
            s3={"addressing_style": "path"},
            retries={"total_max_attempts": 1, "mode": "standard"},
            connect_timeout=60,
            read_timeout=60,
        ),
    )
    yield client
    client.close()


@pytest.fixture
def bucket(services: EmbeddedServices, s3: S3Client) -> Iterator[str]:
    """The name of an empty bucket of this test's own; afterwards its objects and multipart uploads are gone."""
    name = f"test-{os.getpid()}-{next(_numbers)}"
    s3.create_bucket(Bucket=name)
    yield name
    # rclone answers NoSuchUpload for a bucket in which no multipart upload was ever opened.
    with suppress(s3.exceptions.NoSuchUpload):
        for upload in s3.list_multipart_uploads(Bucket=name).get("Uploads", []):
            s3.abort_multipart_upload(Bucket=name, Key=upload["Key"], UploadId=upload["UploadId"])
    shutil.rmtree(services.s3_server.objects / name, ignore_errors=True)


@pytest.fixture(scope="module")
def _replica_set_of_module() -> Iterator[ReplicaSet]:
    from console.embedded.lifetime import ServiceFolder
    from console.embedded.mongod import ReplicaSet

    with ServiceFolder() as folder, ReplicaSet(folder, members=3) as running:
        yield running.start()


@pytest.fixture
def replica_set(_replica_set_of_module: ReplicaSet) -> Iterator[ReplicaSet]:
    """Three members to break; whatever the test did to them, the next one finds them well."""
    yield _replica_set_of_module
    from tests.replica_set_faults import heal

    heal(_replica_set_of_module)
