"""Two files that would become one object: on a server that knows no conditional writes the records arbitrate."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from bson import MaxKey

from console.models import UploadStatus
from tests.faults.conftest import MakeWorld
from tests.faults.world import MIB, World, sha256, wait_for

FAILED, COMPLETED = UploadStatus.FAILED, UploadStatus.COMPLETED
ENDED = (FAILED, COMPLETED)


def two_files(world: World, size: int) -> list[Path]:
    """Different ones of the same name, one for each of two hosts."""
    return [world.file(size, f"{folder}/file.bin") for folder in ("a", "b")]


def two_hosts(world: World) -> None:
    """Each with a runner of its own, which shares nothing with the other but MongoDB and S3."""
    for host in ("one", "two"):
        world.start_runner(host, records=world.open_records())


def ended(world: World, ids: list[Any]) -> list[str]:
    world.wait_status(ids, *ENDED)
    return sorted(world.statuses(ids))


def claims(world: World) -> list[dict[str, Any]]:
    return list(world.records.uploads.collection.find({"key_claim": {"$exists": True}}))


def test_of_two_hosts_one_alone_makes_the_object(make_world: MakeWorld) -> None:
    world = make_world(duplicates="fail")
    first, second = two_files(world, 11 * MIB)
    ids = [*world.add(first, host="one"), *world.add(second, host="two")]
    world.let(1)  # both are in the midst, unless one waits for the other
    two_hosts(world)
    wait_for(lambda: "KeyInUse" in {(world.document(i)["error"] or {}).get("code") for i in ids}, "one waits")
    world.hurry()
    assert ended(world, ids) == ["completed", "failed"]
    loser = next(world.upload(upload_id) for upload_id in ids if world.upload(upload_id).status is FAILED)
    assert loser.error is not None
    assert loser.error.code == "ObjectExists"
    world.check()


def test_of_two_hosts_each_gets_a_name_of_its_own(make_world: MakeWorld) -> None:
    world = make_world(duplicates="new_name")
    first, second = two_files(world, 11 * MIB)
    ids = [*world.add(first, host="one"), *world.add(second, host="two")]
    two_hosts(world)
    world.wait_completed(ids)
    assert world.object_keys() == {"file.bin", "file-2.bin"}
    world.check()


@pytest.mark.parametrize("size", [1000, 11 * MIB], ids=["one request", "parts"])
def test_one_that_overwrites_does_not_meet_one_that_must_not(make_world: MakeWorld, size: int) -> None:
    """Whichever comes first: the object is that of a completed upload, and the other one knows that it is not."""
    world = make_world()
    first, second = two_files(world, size)
    ids = [*world.add(first, host="one", duplicates="fail"), *world.add(second, host="two")]
    two_hosts(world)
    ended(world, ids)
    last = world.upload(ids[1])
    assert last.status is COMPLETED
    assert world.object_hash("file.bin") == sha256(second.read_bytes())
    careful = world.upload(ids[0])
    if careful.status is COMPLETED:  # it came first, and was then replaced by one that may
        assert careful.finished_at is not None
        assert last.finished_at is not None
        assert careful.finished_at <= last.finished_at


def test_a_runner_that_died_keeps_no_key(make_world: MakeWorld) -> None:
    world = make_world(duplicates="fail")
    first, second = two_files(world, 6 * MIB)
    [left] = world.add(first, host="gone")
    world.let(1)
    process = world.start_process("gone", lease_seconds=2)
    world.wait_parts(left, 1)
    assert len(claims(world)) == 1
    process.kill()
    world.hurry()
    [upload_id] = world.add(second)
    world.start_runner()
    world.wait_completed([upload_id])
    assert world.object_hash("file.bin") == sha256(second.read_bytes())


def test_what_came_under_the_key_while_parts_were_sent_stays(make_world: MakeWorld) -> None:
    world = make_world(duplicates="fail")
    [upload_id] = world.add(world.file(11 * MIB))
    world.let(1)
    world.start_runner()
    world.wait_parts(upload_id, 1)
    world.s3.put_object(Bucket=world.bucket, Key="file.bin", Body=b"theirs")
    world.hurry()
    world.wait_status([upload_id], FAILED)
    assert world.object_hash("file.bin") == sha256(b"theirs")
    world.check(foreign=["file.bin"])


def test_claims_go_with_their_uploads(world: World) -> None:
    ids = world.add(*(world.file(1000, f"{number}.bin") for number in range(5)), world.file(6 * MIB, "large"))
    runner = world.start_runner()
    world.wait_completed(ids)
    runner.stop()
    assert claims(world) == []
    world.check()


def test_small_files_of_one_key_wait_for_each_other(world: World) -> None:
    """Also where they are claimed together: all are sent, one after the other."""
    files = [world.file(1000 + number, f"{number}/file.bin") for number in range(4)]
    ids = [upload_id for file in files for upload_id in world.add(file)]
    ids += world.add(*(world.file(10, f"{number}.bin") for number in range(5)))
    world.start_runner()
    world.wait_completed(ids)
    last = max((world.upload(upload_id) for upload_id in ids[:4]), key=lambda upload: (upload.finished_at, upload.id))
    assert world.object_hash("file.bin") in {sha256(file.read_bytes()) for file in files}
    assert last.status is COMPLETED
    assert claims(world) == []


def test_who_has_no_unique_index_looks_at_the_others(make_world: MakeWorld) -> None:
    """A user may lack the right to create it, and a collection that is shared is left as it is."""
    world = make_world(duplicates="fail")
    world.records.uploads.collection.drop_index("key_claim_1")
    pairs = [(world.file(MIB, f"a/{number}"), world.file(MIB, f"b/{number}")) for number in range(4)]
    ids = [[*world.add(first, host="one"), *world.add(second, host="two")] for first, second in pairs]
    two_hosts(world)
    for pair in ids:
        assert ended(world, pair) == ["completed", "failed"]
    world.check()


def test_a_claim_that_somebody_left_gives_way(world: World) -> None:
    """Of a runner that died and will not be followed by another one, or of whoever wrote into the collection."""
    collection = world.records.uploads.collection
    ids = world.add(world.file(1000), world.file(6 * MIB, "large"))
    for upload_id in ids:
        upload = world.upload(upload_id)
        [left] = world.add(world.file(1000, f"left-{upload.size}"), host="elsewhere")
        claim = {"endpoint": upload.endpoint, "bucket": upload.bucket, "key": upload.key}
        collection.update_one({"_id": left}, {"$set": {"key_claim": claim, "status": "uploading"}})
    world.start_runner()
    world.wait_completed(ids)


def test_what_others_write_as_claims_holds_up_no_other_upload(world: World) -> None:
    """Documents that claim a key and are at no work, whatever their lease is."""
    collection = world.records.uploads.collection
    collection.database.command("collMod", collection.name, validationLevel="off")
    (first,) = world.add(world.file(10, "f0"))
    leases: list[Any] = [None, 7, {"expires_at": MaxKey()}, {"expires_at": datetime(9000, 1, 1, tzinfo=UTC)}, ["a"]]
    claimed = []
    for number, lease in enumerate(leases):
        (upload_id,) = world.add(world.file(10, f"g{number}"))
        document = world.document(upload_id)
        claim = {"endpoint": document["endpoint"], "bucket": document["bucket"], "key": document["key"]}
        status = ["paused", "nonsense", "completed"][number % 3]
        collection.insert_one({"_id": f"other-{number}", "key_claim": claim, "status": status, "lease": lease})
        claimed.append(upload_id)
    world.start_runner()
    assert ended(world, [first, *claimed]) == ["completed"] * (len(leases) + 1)


def test_a_claim_that_cannot_be_read_fails_the_one_upload_of_its_key(world: World) -> None:
    collection = world.records.uploads.collection
    collection.database.command("collMod", collection.name, validationLevel="off")
    first, second = world.add(world.file(10, "f0"), world.file(10, "f1"))
    document = world.document(first)
    claim = {"endpoint": document["endpoint"], "bucket": document["bucket"], "key": document["key"]}
    forever = {"runner": "x", "expires_at": datetime(9000, 1, 1, tzinfo=UTC)}
    collection.insert_one({"_id": "other", "key_claim": claim, "status": "uploading", "lease": forever})
    world.start_runner()
    assert ended(world, [second]) == ["completed"]
    wait_for(lambda: "KeyInUse" in str(world.document(first)["error"]), "it is said why it waits")
