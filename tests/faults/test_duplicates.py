"""Keys that are taken, under each policy: on a server that knows no conditional writes, and on one that does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config

from console.models import UploadStatus
from tests.faults.conftest import MakeWorld
from tests.faults.proxy import Do, FaultProxy
from tests.faults.world import MIB, World, sha256

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

THEIRS = b"somebody else's object"
SIZES = [pytest.param(1000, id="one request"), pytest.param(11 * MIB, id="parts")]
FAILED = UploadStatus.FAILED


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    """A server that honours `If-None-Match: *`, as AWS does."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def conditional(moto: str, services: Any, bucket: str) -> Iterator[tuple[FaultProxy, S3Client]]:
    """A proxy before it, and a client with a bucket of the test's own."""
    client = boto3.client(
        "s3",
        endpoint_url=moto,
        region_name="us-east-1",
        config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
    )
    client.create_bucket(Bucket=bucket)
    with FaultProxy(moto) as proxy:
        yield proxy, client
    client.close()


@pytest.fixture(params=["rclone", "moto"])
def make(request: pytest.FixtureRequest, make_world: MakeWorld) -> Callable[..., World]:
    """Makes a world with a policy, on either server."""
    if request.param == "rclone":
        return make_world
    proxy, client = request.getfixturevalue("conditional")
    return lambda **transfer: make_world(proxy=proxy, s3=client, **transfer)


def put_theirs(world: World) -> None:
    world.s3.put_object(Bucket=world.bucket, Key="file.bin", Body=THEIRS)


@pytest.mark.parametrize("size", SIZES)
def test_overwrite(make: Callable[..., World], size: int) -> None:
    world = make(duplicates="overwrite")
    put_theirs(world)
    ids = world.add(world.file(size))
    world.start_runner()
    world.wait_completed(ids)
    world.check()


@pytest.mark.parametrize("size", SIZES)
def test_skip_identical(make: Callable[..., World], size: int) -> None:
    world = make(duplicates="skip_identical")
    path = world.file(size)
    ids = world.add(path)
    world.start_runner()
    world.wait_completed(ids)
    sent = world.proxy.body_bytes
    ids += world.add(path)
    world.wait_completed(ids)
    assert world.proxy.body_bytes == sent == size
    put_theirs(world)  # the key is taken by other bytes: those are replaced
    ids += world.add(path)
    world.wait_completed(ids)
    assert world.proxy.body_bytes == 2 * size
    world.check()


@pytest.mark.parametrize("size", SIZES)
def test_new_name(make: Callable[..., World], size: int) -> None:
    world = make(duplicates="new_name")
    put_theirs(world)
    ids = world.add(world.file(size), world.file(size, "other/file.bin"))
    world.start_runner()
    world.wait_completed(ids)
    assert world.object_hash("file.bin") == sha256(THEIRS)
    assert "file-2.bin" in world.object_keys()
    world.check(foreign=["file.bin"])


@pytest.mark.parametrize("size", SIZES)
def test_fail(make: Callable[..., World], size: int) -> None:
    world = make(duplicates="fail")
    put_theirs(world)
    [upload_id] = world.add(world.file(size))
    world.start_runner()
    world.wait_status([upload_id], FAILED)
    error = world.upload(upload_id).error
    assert error is not None
    assert error.code == "ObjectExists"
    assert world.proxy.body_bytes == 0
    assert world.object_hash("file.bin") == sha256(THEIRS)
    world.check(foreign=["file.bin"])


def test_each_destination_has_its_own_policy(world: World) -> None:
    """It goes with the upload, whatever the settings of the runner that takes it."""
    put_theirs(world)
    path = world.file(1000)
    [kept] = world.add(path, duplicates="fail")
    [renamed] = world.add(path, duplicates="new_name")
    world.start_runner()
    world.wait_status([kept], FAILED)
    world.wait_completed([renamed])
    assert world.object_hash("file.bin") == sha256(THEIRS)
    world.check(foreign=["file.bin"])
    [replacing] = world.add(path)
    world.wait_completed([replacing])
    world.check()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("policy", ["fail", "new_name", "skip_identical"])
def test_a_key_that_is_taken_while_its_file_is_sent(
    conditional: tuple[FaultProxy, S3Client], make_world: MakeWorld, policy: str, size: int
) -> None:
    """Between the look and the write: a conditional write finds out, and the policy decides again."""
    proxy, client = conditional
    world = make_world(proxy=proxy, s3=client, duplicates=policy)
    operation = "PutObject" if size < MIB else "CompleteMultipartUpload"
    proxy.plan(operation, Do(lambda: put_theirs(world)))
    [upload_id] = world.add(world.file(size))
    world.start_runner()
    if policy == "fail":
        world.wait_status([upload_id], FAILED)
        error = world.upload(upload_id).error
        assert error is not None
        assert error.code == "ObjectExists"
    else:
        world.wait_completed([upload_id])
    if policy == "skip_identical":
        world.check()  # other bytes are replaced, whenever they came
    else:
        assert world.object_hash("file.bin") == sha256(THEIRS)
        world.check(foreign=["file.bin"])
    assert world.open_multiparts() == []
