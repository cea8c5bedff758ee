"""Fixtures for transfers: a transport to the real S3 server, and files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from console.s3.client import ClientOptions
from console.transfer.transport import Transport, open_transport
from tests import seaweed
from tests.faults.proxy import FaultProxy
from tests.seaweed import SeaweedFS

from .doubles import MakeFile
from .strict_s3 import StrictS3

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

    from console.embedded.services import EmbeddedServices

Connect = Callable[..., tuple[StrictS3, FaultProxy, Transport]]


@pytest.fixture
def make_file(tmp_path: Path) -> MakeFile:
    def make(size: int, name: str = "file.bin") -> Path:
        path = tmp_path / name
        path.write_bytes(os.urandom(size))
        return path

    return make


@dataclass(frozen=True)
class Store:
    """A real S3 server. `confirmed` is what it vouches for a small object by."""

    endpoint: str
    s3: S3Client
    confirmed: str


on_each_store = pytest.mark.parametrize("store", ["rclone", "seaweedfs"], indirect=True)
"""SeaweedFS confirms checksums and honours If-None-Match; rclone does neither, and loses what it is asked to complete
twice."""


@pytest.fixture(scope="session")
def seaweedfs() -> Iterator[SeaweedFS]:
    with SeaweedFS() as running:
        yield running


@pytest.fixture(scope="session")
def rclone(services: EmbeddedServices, s3: S3Client) -> Store:
    return Store(services.s3_endpoint, s3, "etag")


@pytest.fixture
def store(request: pytest.FixtureRequest, rclone: Store, monkeypatch: pytest.MonkeyPatch) -> Store:
    """rclone, or what `on_each_store` asks for."""
    if getattr(request, "param", "rclone") == "rclone":
        return rclone
    running: SeaweedFS = request.getfixturevalue("seaweedfs")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", seaweed.ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", seaweed.SECRET_KEY)
    return Store(running.endpoint, running.s3, "checksum")


@pytest.fixture
def client(store: Store) -> S3Client:
    """A client of the server that the test is for."""
    return store.s3


@pytest.fixture
def bucket_there(store: Store, rclone: Store, bucket: str) -> Iterator[str]:
    """The name of an empty bucket there."""
    if store is rclone:
        yield bucket
        return
    store.s3.create_bucket(Bucket=bucket)
    yield bucket
    store.s3.delete_bucket(Bucket=bucket)  # with what is in it; each bucket has seven volumes of its own


@pytest.fixture
def transport(store: Store) -> Iterator[Transport]:
    """To the real S3 server."""
    transport = open_transport(ClientOptions(endpoint_url=store.endpoint), parts=4)
    yield transport
    transport.close()


@pytest.fixture
def proxy(store: Store) -> Iterator[FaultProxy]:
    """A proxy in front of the real S3 server, without faults yet."""
    with FaultProxy(store.endpoint) as proxy:
        yield proxy


@pytest.fixture
def faulty(proxy: FaultProxy) -> Iterator[Transport]:
    """To the real S3 server through the proxy."""
    # Longer than any machine stands still: a timeout would be one more attempt, and the attempts are counted.
    options = ClientOptions(endpoint_url=proxy.url, read_timeout_seconds=90, connect_timeout_seconds=90)
    transport = open_transport(options, parts=4)
    yield transport
    transport.close()


@pytest.fixture
def connect() -> Iterator[Connect]:
    """A strict server, a proxy before it and a transport through that."""
    with ExitStack() as stack:

        def connect(checksum: str = "auto", **habits: Any) -> tuple[StrictS3, FaultProxy, Transport]:
            strict = stack.enter_context(StrictS3(**habits))
            proxy = stack.enter_context(FaultProxy(strict.url))
            transport = open_transport(
                ClientOptions(endpoint_url=proxy.url, read_timeout_seconds=90),
                parts=4,
                checksum=checksum,  # type: ignore[arg-type]
            )
            stack.callback(transport.close)
            return strict, proxy, transport

        yield connect
