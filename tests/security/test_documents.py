"""Documents are requests: what somebody who can write to the collection gets out of a runner."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from bson import ObjectId

from console.models import UploadStatus, read_upload
from console.runner.deletion import delete_all
from console.runner.policy import Policy
from console.s3.engines.source import SourceFile
from tests.faults.world import HERE, MIB, World, wait_for
from tests.security.conftest import Forge

Fields = dict[str, Any]

COMPLETED, FAILED = UploadStatus.COMPLETED, UploadStatus.FAILED
LATELY = timedelta(minutes=2)
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def left(world: World, upload_id: ObjectId) -> str:
    """The reason with which it was left, once it was."""
    wait_for(lambda: world.document(upload_id).get("refused_by"), "a runner has left it")
    document = world.document(upload_id)
    assert (document["status"], document["error"]["code"]) == ("pending", "NotAllowed")
    return str(document["error"]["message"])


def multipart_of_another_program(world: World, key: str) -> str:
    opened = world.s3.create_multipart_upload(Bucket=world.bucket, Key=key)["UploadId"]
    world.s3.upload_part(Bucket=world.bucket, Key=key, UploadId=opened, PartNumber=1, Body=b"theirs")
    return opened


# What is read, and where it goes ------------------------------------------------------------------------------------


def test_a_file_inside_a_root_goes_to_a_destination(world: World, forge: Forge, policy: Policy) -> None:
    """Of whomever, and whatever its document says of attempts, a multipart upload or a lease that ran out."""
    path = world.file(6 * MIB)
    ids = [
        forge(path),
        forge(path, key="team/2", attempts=7, multipart={"upload_id": "none", "part_size": 1}),
        forge(path, key="team/3", status="uploading", lease={"runner": "x", "expires_at": LONG_AGO}),
        forge(path, key="team/4", priority=2**40, size=17, current=9, percentage=300.0, rate=1e300),
    ]
    for upload_id in ids:
        world.expect(upload_id, path)
    world.start_runner(policy=policy, lease_seconds=3)
    world.wait_completed(ids)
    world.check()


def outside(world: World, name: str = "id_rsa", content: bytes = b"PRIVATE KEY") -> Path:
    path = world.folder / "outside" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    return path


def through_a_link(world: World) -> Path:
    (world.folder / "files" / "link").symlink_to(outside(world).parent)
    return world.folder / "files" / "link" / "id_rsa"


def through_a_link_of_its_own(world: World) -> Path:
    path = world.folder / "files" / "shown.pdf"
    path.symlink_to(outside(world))
    return path


def beside_a_root(world: World) -> Path:
    return outside(world).rename(world.folder / "files-of-others")


PATHS: dict[str, Callable[[World], Path | str]] = {
    "outside": outside,
    "by dots": lambda world: f"{world.folder}/files/../outside/{outside(world).name}",
    "beside a root": beside_a_root,
    "through a link": through_a_link,
    "a link": through_a_link_of_its_own,
    "relative": lambda world: os.path.relpath(outside(world)),
    "a device": lambda _: Path("/dev/zero"),
    "a folder": lambda world: world.folder / "files",
    "nul": lambda world: f"{world.folder}/files/a\0b",
}


@pytest.mark.parametrize("is_known", [False, True])
@pytest.mark.parametrize("kind", PATHS)
def test_a_file_outside_the_roots_is_left(
    world: World, forge: Forge, policy: Policy, kind: str, is_known: bool
) -> None:
    path = PATHS[kind](world)
    world.start_runner(policy=policy)
    if is_known:  # what the server can do: small files are sent in another way from then on
        world.wait_completed(world.add(world.file(1000)))
    upload_id = forge(outside(world), path=str(path), key="team/stolen")
    assert left(world, upload_id)
    assert "team/stolen" not in world.object_keys()
    assert "attempts" not in world.document(upload_id) or world.document(upload_id)["attempts"] <= 1


def test_a_fifo_is_left_and_nobody_waits_for_its_writer(world: World, forge: Forge, policy: Policy) -> None:
    """So is what this user may not read: whoever asked for it may."""
    path = world.folder / "files" / "fifo"
    os.mkfifo(path)
    upload_id, other = forge(path), forge(world.file(1000))
    world.expect(other, world.folder / "files" / "file.bin")
    world.start_runner(policy=policy)
    assert "not a regular file" in left(world, upload_id)
    world.wait_completed([other])


def test_the_path_that_people_see_is_the_one_that_is_read(world: World, forge: Forge, policy: Policy) -> None:
    secret = outside(world)
    ids = [forge(secret, path=shown, path_bytes=os.fsencode(secret)) for shown in ("/srv/report.pdf", "x")]
    upload = read_upload(world.document(ids[0]))
    assert "path is not what path_bytes says" in getattr(upload, "problem", "")
    world.start_runner(policy=replace(policy, roots=("/",)))
    world.wait_status(ids, FAILED)
    assert {world.document(upload_id)["error"]["code"] for upload_id in ids} == {"InvalidRecord"}
    assert world.object_keys() == set()


def test_a_small_size_in_the_document_reads_no_large_file_at_once(
    world: World, forge: Forge, policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Small files are read whole: what counts is how large the file is."""
    world.start_runner(policy=policy)
    small = world.file(1000, "small")
    world.wait_completed(world.add(small))  # now it is known what the server returns, and small files go at once
    longest = [0]
    read = SourceFile.read

    def noted(self: SourceFile, offset: int, length: int) -> bytes:
        longest[0] = max(longest[0], length)
        return read(self, offset, length)

    monkeypatch.setattr(SourceFile, "read", noted)
    path = world.file(12 * MIB)
    upload_id = forge(path, size=10)
    world.expect(upload_id, path)
    world.wait_completed([upload_id])
    assert longest[0] <= MIB
    world.check()


DESTINATIONS: dict[str, Fields] = {
    "bucket": {"bucket": "attacker"},
    "an access point": {"bucket": "arn:aws:s3:us-east-1:1:accesspoint/x"},
    "prefix": {"key": "other/file.bin"},
    "a neighbour's prefix": {"key": "team-b/file.bin"},
    "no prefix": {"key": "file.bin"},
    "a key that leads upwards": {"key": "team/../other/file.bin"},
    "a key with a control character": {"key": "team/a\nb"},
    "an empty key": {"key": ""},
}
KEPT: dict[str, Fields] = {
    "a foreign KMS key": {"storage": {"server_side_encryption": "aws:kms", "kms_key_id": "arn:aws:kms:::key/theirs"}},
    "a storage class": {"storage": {"storage_class": "DEEP_ARCHIVE"}},
    "tags": {"storage": {"tags": {"public": "yes"}}},
    "metadata": {"storage": {"metadata": {"x": "y\r\nX-Amz-Acl: public-read"}}},
    "another policy for duplicates": {"duplicates": "new_name"},
    "a header in the content type": {"content_type": "text/plain\r\nx-amz-acl: public-read"},
}


@pytest.mark.parametrize("fields", [*DESTINATIONS.values(), *KEPT.values()], ids=[*DESTINATIONS, *KEPT])
def test_what_is_not_configured_is_left(world: World, forge: Forge, policy: Policy, fields: Fields) -> None:
    upload_id = forge(world.file(1000), **fields)
    world.start_runner(policy=policy)
    assert left(world, upload_id)
    assert world.object_keys() == set()
    assert world.s3.list_buckets()["Buckets"]


def test_what_is_left_waits_for_a_runner_that_may(world: World, forge: Forge, policy: Policy) -> None:
    path = outside(world)
    upload_id = forge(path)
    world.expect(upload_id, path)
    first = world.start_runner(policy=policy)
    assert "transfer.roots" in left(world, upload_id)
    other = world.start_runner(policy=replace(policy, roots=(str(path),)))
    world.wait_completed([upload_id])
    document = world.document(upload_id)
    assert (document["error"], document.get("refused_by")) == (None, None)
    assert first.gate.name != other.gate.name
    world.check()


def test_a_policy_that_changes_looks_again(world: World, forge: Forge, policy: Policy) -> None:
    upload_id = forge(outside(world))
    world.expect(upload_id, outside(world))
    runner = world.start_runner(policy=policy)
    left(world, upload_id)
    runner.follow(replace(policy, roots=(str(world.folder),)))
    world.wait_completed([upload_id])
    world.check()


def test_what_is_left_stands_in_nobodys_way_and_is_not_looked_at_again(
    world: World, forge: Forge, policy: Policy
) -> None:
    """Though it comes first, and is more than a runner looks at for a claim."""
    secret = outside(world)
    world.elsewhere.uploads.collection.insert_many(
        [{**world.document(forge(secret)), "_id": ObjectId(), "priority": 9} for _ in range(1_500)]
    )
    mine = forge(world.file(1000))
    world.expect(mine, world.folder / "files" / "file.bin")
    world.start_runner(policy=policy)
    world.wait_completed([mine])
    wait_for(lambda: all(document.get("refused_by") for document in world.records.uploads.find({"priority": 9})), "all")
    before = {document["_id"]: document for document in world.records.uploads.find({"priority": 9})}
    world.wait_completed(world.add(world.file(1000, "another")))
    assert {document["_id"]: document for document in world.records.uploads.find({"priority": 9})} == before


# What this user asked for ---------------------------------------------------------------------------------------------


def test_what_this_user_asked_for_goes_from_anywhere(world: World) -> None:
    """By any later process: the one that asked may be gone."""
    ids = world.add(outside(world), outside(world, "large", os.urandom(6 * MIB)))
    world.start_runner()
    world.wait_completed(ids)
    world.check()


CHANGES: dict[str, Fields] = {
    "path": {"path": "/etc/passwd", "filename": "passwd"},
    "bucket": {"bucket": "attacker"},
    "key": {"key": "somewhere/else"},
    "storage": {"storage": {"storage_class": "GLACIER"}},
    "duplicates": {"duplicates": "fail"},
    "content type": {"content_type": "text/html"},
    "fingerprint": {"fingerprint": "1-0-0"},
    "folder": {"folder_length": 0},
    "watch": {"watch": {"rule": "w", "scope": "s", "digest": "d"}},
    "seal": {"seal": "0" * 81},
}


@pytest.mark.parametrize("changed", CHANGES.values(), ids=CHANGES)
def test_a_request_that_others_change_is_not_this_users_any_more(world: World, changed: Fields) -> None:
    [upload_id] = world.add(outside(world))
    world.elsewhere.uploads.collection.update_one({"_id": upload_id}, {"$set": changed})
    world.start_runner()
    assert left(world, upload_id)
    assert world.object_keys() == set()


def test_a_seal_is_good_for_its_own_document_alone(world: World) -> None:
    [upload_id] = world.add(outside(world))
    copied = {**world.document(upload_id), "_id": ObjectId()}
    world.elsewhere.uploads.collection.insert_one(copied)
    world.start_runner()
    world.wait_completed([upload_id])
    assert left(world, copied["_id"])


def test_a_file_that_changes_and_a_key_that_is_taken_break_no_seal(world: World) -> None:
    """What a runner writes of them is sealed anew, so that the next one may go on."""
    world.s3.put_object(Bucket=world.bucket, Key="file.bin", Body=b"theirs")
    path = world.file(11 * MIB)
    [upload_id] = world.add(path, duplicates="new_name")
    world.expect(upload_id, world.file(12 * MIB))
    world.let(1)
    first = world.start_runner()
    world.wait_parts(upload_id, 1)
    assert world.document(upload_id)["key"] == "file-2.bin"
    first.stop()
    world.hurry()
    world.start_runner()
    world.wait_completed([upload_id])
    world.check(foreign=["file.bin"])


# What S3 holds --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["cancelled", "pending"])
def test_another_programs_multipart_upload_is_neither_aborted_nor_completed(
    world: World, forge: Forge, policy: Policy, status: str
) -> None:
    path = world.file(6 * MIB)
    theirs = multipart_of_another_program(world, "team/file.bin")
    fields: Fields = {"status": status, "multipart": {"upload_id": theirs, "part_size": 5 * MIB}}
    if status == "cancelled":
        long_ago = datetime.now(UTC) - LATELY
        fields |= {"requested": "cancel", "finished_at": long_ago, "updated_at": long_ago}
    upload_id = forge(path, **fields)
    world.expect(upload_id, path)
    world.start_runner(policy=policy)
    if status == "pending":
        world.wait_completed([upload_id])
    else:
        wait_for(lambda: world.document(upload_id).get("refused_by"), "it is left")
        assert "sweep" in world.document(upload_id)["error"]["message"]
        assert world.document(upload_id)["multipart"] is not None
    assert theirs in {multipart.upload_id for multipart in world.open_multiparts()}
    world.s3.upload_part(Bucket=world.bucket, Key="team/file.bin", UploadId=theirs, PartNumber=2, Body=b"theirs")


def test_a_cancelled_upload_whose_parts_nobody_may_abort_is_swept(world: World, forge: Forge, policy: Policy) -> None:
    """By a person, who sees what it is."""
    theirs = multipart_of_another_program(world, "team/file.bin")
    long_ago = datetime.now(UTC) - LATELY
    forge(
        world.file(1000),
        status="cancelled",
        updated_at=long_ago,
        finished_at=long_ago,
        multipart={"upload_id": theirs, "part_size": 5 * MIB},
    )
    sender = world.open_sender()
    assert sender.orphans(world.records.uploads, youngest_seconds=0) == []
    world.start_runner(policy=policy)
    found = wait_for_orphans(world)
    assert [orphan.upload_id for orphan in found] == [theirs]


def wait_for_orphans(world: World) -> list[Any]:
    sender = world.open_sender()
    wait_for(lambda: sender.orphans(world.records.uploads, youngest_seconds=0), "it is listed")
    return sender.orphans(world.records.uploads, youngest_seconds=0)


def test_deleting_a_forged_record_leaves_what_it_names(world: World, forge: Forge) -> None:
    """Its words may be copied from the record of the object that it means, with all that S3 confirmed."""
    path = world.file(1000)
    ids = world.add(path)
    world.start_runner()
    world.wait_completed(ids)
    world.s3.put_object(Bucket=world.bucket, Key="theirs", Body=b"of another program")
    found = world.s3.head_object(Bucket=world.bucket, Key="theirs")
    theirs = multipart_of_another_program(world, "open")
    later = datetime.now(UTC) + timedelta(days=1)
    true = world.document(ids[0])
    forged = [
        forge(path, status="completed", finished_at=later, key="theirs", etag=found["ETag"].strip('"')),
        forge(path, status="completed", finished_at=later, key=true["key"], etag=true["etag"]),
        forge(path, status="failed", key="open", multipart={"upload_id": theirs, "part_size": 5 * MIB}),
    ]
    copied = {**true, "_id": ObjectId(), "finished_at": later}
    world.elsewhere.uploads.collection.insert_one(copied)
    with world.open_sender() as sender:
        outcome = delete_all(world.elsewhere, sender, [*forged, copied["_id"]])
    assert (outcome.changed, outcome.refused) == (4, {})
    assert set(outcome.kept) == {*forged, copied["_id"]}
    assert world.object_keys() == {"theirs", true["key"]}
    assert [multipart.upload_id for multipart in world.open_multiparts()] == [theirs]
    with world.open_sender() as sender:
        assert delete_all(world.elsewhere, sender, ids).kept == {}
    assert world.object_keys() == {"theirs"}


def test_of_uploads_to_one_key_any_may_have_made_the_object(world: World) -> None:
    """The second found what the first had made: both records go, and the object with them."""
    path = world.file(1000)
    world.start_runner()
    ids: list[ObjectId] = []
    for _ in range(2):
        ids += world.add(path, duplicates="skip_identical")
        world.wait_completed(ids)
    with world.open_sender() as sender:
        assert delete_all(world.elsewhere, sender, ids).kept == {}
    assert world.object_keys() == set()


def test_an_object_that_was_found_is_not_deleted(world: World) -> None:
    """It was there before, and is whoever's who put it there."""
    path = world.file(1000)
    world.s3.put_object(Bucket=world.bucket, Key="file.bin", Body=path.read_bytes())
    ids = world.add(path, duplicates="skip_identical")
    world.start_runner()
    world.wait_completed(ids)
    with world.open_sender() as sender:
        assert set(delete_all(world.elsewhere, sender, ids).kept) == set(ids)
    assert world.object_keys() == {"file.bin"}


def test_no_runner_is_taken_for_another_by_its_name(world: World, forge: Forge, policy: Policy) -> None:
    """Documents that name it as their holder, which it may not carry out, neither stop nor busy it."""
    runner = world.start_runner(policy=policy)
    far = datetime.now(UTC) + timedelta(hours=1)
    held = forge(outside(world), status="uploading", attempts=1, lease={"runner": runner.name, "expires_at": far})
    mine = world.add(world.file(1000))
    world.wait_completed(mine)
    assert world.document(held)["status"] == "uploading"
    assert runner.host == HERE
