"""Fixtures for transfers: a transport to the real S3 server, and files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from console.s3.client import ClientOptions
from console.transfer.transport import Transport, open_transport
from tests.faults.proxy import FaultProxy

from .doubles import MakeFile
from .strict_s3 import StrictS3

if TYPE_CHECKING:
    from console.embedded.services import EmbeddedServices

Connect = Callable[..., tuple[StrictS3, FaultProxy, Transport]]


@pytest.fixture
def make_file(tmp_path: Path) -> MakeFile:
    def make(size: int, name: str = "file.bin") -> Path:
        path = tmp_path / name
        path.write_bytes(os.urandom(size))
        return path

    return make


@pytest.fixture
def transport(services: EmbeddedServices) -> Iterator[Transport]:
    """To the real S3 server."""
    transport = open_transport(ClientOptions(endpoint_url=services.s3_endpoint), parts=4)
    yield transport
    transport.close()


@pytest.fixture
def proxy(services: EmbeddedServices) -> Iterator[FaultProxy]:
    """A proxy in front of the real S3 server, without faults yet."""
    with FaultProxy(services.s3_endpoint) as proxy:
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
