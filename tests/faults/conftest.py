"""Fixtures of the fault suite: the real servers with a proxy of the tests' own before S3."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.faults.proxy import FaultProxy
from tests.faults.world import World

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from pymongo.database import Database

    from console.embedded.services import EmbeddedServices

MakeWorld = Callable[..., World]


@pytest.fixture
def proxy(services: EmbeddedServices) -> Iterator[FaultProxy]:
    """A proxy in front of the real S3 server, without faults yet."""
    with FaultProxy(services.s3_endpoint) as proxy:
        yield proxy


@pytest.fixture
def make_world(
    database: Database[dict[str, Any]],
    mongodb_uri: str,
    bucket: str,
    s3: S3Client,
    proxy: FaultProxy,
    tmp_path: Path,
) -> Iterator[MakeWorld]:
    """Makes the whole loop, with settings of `transfer` or another MongoDB."""
    with ExitStack() as stack:

        def make(
            *,
            mongodb_uri: str = mongodb_uri,
            proxy: FaultProxy = proxy,
            s3: S3Client = s3,
            **transfer: Any,
        ) -> World:
            world = World(
                mongodb_uri=mongodb_uri,
                database=database.name,
                bucket=bucket,
                s3=s3,
                proxy=proxy,
                folder=tmp_path,
                **transfer,
            )
            return stack.enter_context(world)

        yield make


@pytest.fixture
def world(make_world: MakeWorld) -> World:
    """The whole loop with usual settings; no runner yet."""
    return make_world()
