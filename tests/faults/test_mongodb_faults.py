"""MongoDB fails while uploads are on their way: they go on, and what was to be written is written."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from bson import ObjectId
from pydantic import SecretStr
from pymongo.errors import PyMongoError

from console.embedded.lifetime import ServiceFolder
from console.embedded.mongod import ReplicaSet
from console.models import Requested, UploadStatus
from console.records.requests import request_all
from console.runner import journal
from tests.faults.conftest import MakeWorld
from tests.faults.gate import Gate
from tests.faults.proxy import Answer
from tests.faults.world import MIB, World, wait_for
from tests.replica_set_faults import heal, kill_primary, step_down

if TYPE_CHECKING:
    from console.embedded.services import EmbeddedServices

UPLOADING, PAUSED, COMPLETED = UploadStatus.UPLOADING, UploadStatus.PAUSED, UploadStatus.COMPLETED
LEASE = 1.5  # seconds: shorter than the outages here
LARGE = 40 * MIB
PART = 5 * MIB
Fault = Callable[[ReplicaSet], object]


def start_work(world: World) -> list[ObjectId]:
    """A large upload, and small ones that finish one after the other meanwhile."""
    large = world.add(world.file(LARGE, "large"))
    small = world.add(*(world.file(200_000, f"small-{number}") for number in range(20)))
    return [*large, *small]


def send_more(world: World) -> None:
    """Two parts more of the large upload, of which S3 has one, arrive there whatever happens to MongoDB."""
    before = world.proxy.passed_bytes
    world.let(3)
    wait_for(lambda: world.proxy.passed_bytes >= before + 2 * PART, "uploads go on sending")


def outlive_the_lease() -> None:
    """Wait longer than a lease lasts that nobody can renew now, nor ask for."""
    begun = time.monotonic()
    wait_for(lambda: time.monotonic() - begun > LEASE, "the lease runs out")


@pytest.fixture
def alone() -> Iterator[ReplicaSet]:
    """A mongod of this test's own, the only member of its set."""
    with ServiceFolder() as folder, ReplicaSet(folder) as alone:
        yield alone.start()


@pytest.fixture
def gate(services: EmbeddedServices) -> Iterator[Gate]:
    """A connection to the tests' mongod that can break."""
    with Gate(services.mongodb_uri) as gate:
        yield gate


@pytest.mark.parametrize("fault", [step_down, kill_primary])
def test_the_primary_goes(replica_set: ReplicaSet, make_world: MakeWorld, fault: str) -> None:
    world = make_world(mongodb_uri=replica_set.uri)
    ids = start_work(world)
    world.let(1)
    world.start_runner()
    world.wait_parts(ids[0], 1)
    fault(replica_set)
    send_more(world)
    world.hurry()
    world.wait_completed(ids)
    assert world.proxy.passed_bytes == LARGE + 20 * 200_000  # nothing twice
    world.check()


def test_the_only_server_is_killed_and_started_again(alone: ReplicaSet, make_world: MakeWorld) -> None:
    """Two runners of one host: after the outage each goes on with its own uploads."""
    # Parts are held on their way for as long as MongoDB is away. On a busy machine that is longer than the usual ten
    # seconds, and a request that timed out sends its first bytes again, which are counted below.
    world = make_world(mongodb_uri=alone.uri, read_timeout_seconds=60)
    ids = [*start_work(world), *world.add(world.file(LARGE, "second"))]
    second = {"filename": "second"}
    world.let(1)
    world.start_runner(lease_seconds=LEASE, only={"$nor": [second]})
    world.start_runner(records=world.elsewhere, lease_seconds=LEASE, only=second)
    for large in (ids[0], ids[-1]):
        world.wait_parts(large, 1)
    alone.members[0].process.kill()
    wait_for(lambda: not world.records.connection.is_connected, "the screen says so")
    send_more(world)
    outlive_the_lease()
    heal(alone)
    world.hurry()
    world.wait_completed(ids)
    assert [world.document(upload_id)["attempts"] for upload_id in ids] == [1] * len(ids)
    assert world.proxy.passed_bytes == 2 * LARGE + 20 * 200_000
    world.check()


def test_the_only_server_says_nothing_for_longer_than_a_lease(alone: ReplicaSet, make_world: MakeWorld) -> None:
    world = make_world(mongodb_uri=alone.uri)
    ids = start_work(world)
    world.let(1)
    world.start_runner(lease_seconds=LEASE)
    world.wait_parts(ids[0], 1)
    alone.members[0].process.signal(signal.SIGSTOP)
    try:
        send_more(world)
        outlive_the_lease()
    finally:
        alone.members[0].process.signal(signal.SIGCONT)
    world.hurry()
    world.wait_completed(ids)
    assert world.proxy.passed_bytes == LARGE + 20 * 200_000
    world.check()


@pytest.mark.parametrize("fault", ["cut", "freeze"])
def test_the_connection_is_lost_for_longer_than_a_lease(gate: Gate, make_world: MakeWorld, fault: str) -> None:
    world = make_world(mongodb_uri=gate.uri)
    ids = start_work(world)
    world.let(1)
    world.start_runner(lease_seconds=LEASE)
    world.wait_parts(ids[0], 1)
    getattr(gate, fault)()
    send_more(world)
    outlive_the_lease()
    gate.mend()
    world.hurry()
    world.wait_completed(ids)
    assert world.proxy.passed_bytes == LARGE + 20 * 200_000
    world.check()


def test_a_failure_during_an_outage_is_told_after_it(gate: Gate, make_world: MakeWorld) -> None:
    world = make_world(mongodb_uri=gate.uri)
    [upload_id] = world.add(world.file(LARGE))
    world.proxy.plan("UploadPart", Answer(403, "ExpiredToken"), times=1000, skip=1)
    world.let(1)
    world.start_runner()
    world.wait_parts(upload_id, 1)
    gate.cut()
    world.hurry()
    wait_for(lambda: any(request.fault for request in world.proxy.requests), "the fault")
    gate.mend()
    world.wait_status([upload_id], UploadStatus.FAILED)
    error = world.upload(upload_id).error
    assert error is not None
    assert error.code == "ExpiredToken"
    world.check()


def test_an_intent_from_elsewhere_during_the_outage_is_obeyed_after_it(
    gate: Gate, make_world: MakeWorld, mongodb_uri: str
) -> None:
    """The lease has run out by then, so whoever asks settles it, and the runner finds that it is no longer its own."""
    world = make_world(mongodb_uri=gate.uri, parallel_parts=8)  # as many as both have
    paused, cancelled = world.add(world.file(16 * MIB, "paused"), world.file(16 * MIB, "cancelled"))
    outside = world.open_records(uri=SecretStr(mongodb_uri))
    world.let(1)
    runner = world.start_runner(lease_seconds=LEASE)
    world.wait_parts(paused, 1)
    world.wait_parts(cancelled, 1)
    gate.cut()
    wait_for(lambda: outside.uploads.expired("here") != [], "the lease runs out")
    assert request_all(outside.uploads, [paused], Requested.PAUSE).changed == 1
    assert request_all(outside.uploads, [cancelled], Requested.CANCEL).changed == 1
    gate.mend()
    wait_for(lambda: runner.wait_idle(0.01), "the runner has let go")
    world.wait_until_tidy(cancelled)
    wait_for(lambda: len(world.open_multiparts()) == 1, "the cancelled parts are gone")
    world.check()
    world.hurry()
    world.resume(paused)
    world.wait_completed([paused])
    world.check()


@pytest.mark.parametrize("requested", [Requested.PAUSE, Requested.CANCEL])
def test_an_object_that_is_complete_before_the_intent_is_known_is_told_as_complete(
    gate: Gate, make_world: MakeWorld, mongodb_uri: str, requested: Requested, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "_PATIENCE_SECONDS", 0.1)  # nobody will answer
    world = make_world(mongodb_uri=gate.uri)
    [upload_id] = world.add(world.file(21 * MIB))
    outside = world.open_records(uri=SecretStr(mongodb_uri))
    world.let(1)
    world.start_runner(lease_seconds=LEASE)
    world.wait_parts(upload_id, 1)
    gate.cut()
    wait_for(lambda: outside.uploads.expired("here") != [], "the lease runs out")
    assert request_all(outside.uploads, [upload_id], requested).changed == 1
    world.hurry()
    wait_for(lambda: world.object_keys() != set(), "the object is complete")
    gate.mend()
    world.wait_completed([upload_id])
    world.check()


def test_a_runner_that_is_cut_off_gives_way_to_the_one_that_adopted(
    gate: Gate, make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "_PATIENCE_SECONDS", 60.0)  # however slow the machine is
    world = make_world(parallel_parts=8)  # as many as both have
    sizes = (21 * MIB, 11 * MIB)
    ids = world.add(*(world.file(size, f"{size}.bin") for size in sizes))
    world.let(1)
    cut_off = world.start_runner(records=world.open_records(uri=SecretStr(gate.uri)), lease_seconds=LEASE)
    world.wait_parts(ids[0], 1)
    gate.cut()
    other = world.start_runner(lease_seconds=LEASE)
    wait_for(lambda: (world.document(ids[0])["lease"] or {}).get("runner") == other.name, "adopted")
    gate.mend()
    world.hurry()
    wait_for(lambda: cut_off.wait_idle(0.01), "the first one has let go")
    world.wait_completed(ids)
    print(f"sent {world.proxy.passed_bytes / sum(sizes):.2f} times what was needed, with two runners at once")
    world.check()


def test_leaving_while_mongodb_is_away_takes_no_longer(gate: Gate, make_world: MakeWorld) -> None:
    """Once the process has ended, the next runner of the host goes on at once: `test_leaving`."""
    world = make_world()
    [upload_id] = world.add(world.file(LARGE))
    world.let(1)
    runner = world.start_runner(records=world.open_records(uri=SecretStr(gate.uri)))
    world.wait_parts(upload_id, 1)
    gate.cut()
    with suppress(PyMongoError):
        seconds = wait_for(lambda: runner.stop(2.0) is not None, "the runner's end")
    print(f"left within {seconds:.2f} s without MongoDB")
    assert seconds < 5
    assert world.statuses([upload_id]) == ["uploading"]
