"""Multipart uploads that nobody owns: found after a while, aborted when a person agrees, never those of an upload."""

from __future__ import annotations

import json
import os

import pytest
from typer.testing import CliRunner

from console.cli import app
from console.models import UploadStatus
from console.s3.transfer_errors import TransferError
from console.transfer.orphans import abort_orphans, find_orphans
from tests.faults.conftest import MakeWorld
from tests.faults.proxy import Answer
from tests.faults.world import MIB, World


def open_one(world: World, key: str, parts: int = 1) -> str:
    """A multipart upload of another program, or of a console whose record is gone."""
    upload_id: str = world.s3.create_multipart_upload(Bucket=world.bucket, Key=key)["UploadId"]
    for number in range(1, parts + 1):
        world.s3.upload_part(
            Bucket=world.bucket, Key=key, UploadId=upload_id, PartNumber=number, Body=os.urandom(5 * MIB)
        )
    return upload_id


def sweep(world: World, *arguments: str) -> list[dict[str, object]]:
    """The command; its lines."""
    settings = {
        "UPLOAD_CONSOLE_MONGODB__URI": world.mongodb.uri.get_secret_value(),
        "UPLOAD_CONSOLE_MONGODB__DATABASE": world.mongodb.database,
        "UPLOAD_CONSOLE_S3__ENDPOINT_URL": world.proxy.url,
        "UPLOAD_CONSOLE_S3__BUCKET": world.bucket,
    }
    answer = CliRunner().invoke(app, ["sweep", "--json", *arguments], env=settings)
    assert answer.exit_code == 0, answer.output
    return [json.loads(line) for line in answer.stdout.splitlines()]


def test_a_sweep_takes_orphans_and_nothing_else(make_world: MakeWorld) -> None:
    """Owned ones: at work, paused, and failed for a reason that a person can mend."""
    world = make_world(parallel_parts=12)  # as many as all have
    at_work, paused, failed = world.add(*(world.file(16 * MIB, name) for name in ("at work", "paused", "failed")))
    world.proxy.plan(
        "UploadPart", Answer(403, "ExpiredToken"), times=1000, skip=1, when=lambda request: request.key == "failed"
    )
    world.let(2)
    world.start_runner()
    world.wait_status([failed], UploadStatus.FAILED)
    world.wait_parts(paused, 1)
    world.pause(paused)
    world.wait_parts(at_work, 1)
    orphan = open_one(world, "orphan", parts=2)
    assert sweep(world, "--yes") == []  # too young: its record may just be on its way
    assert len(world.open_multiparts()) == 4
    listed = sweep(world, "--older-than", "0")
    assert [(line["key"], line["stored_bytes"], line["aborted"]) for line in listed] == [("orphan", 10 * MIB, False)]
    aborted = sweep(world, "--older-than", "0", "--yes")
    assert [(line["upload_id"], line["aborted"]) for line in aborted] == [(orphan, True)]
    assert sorted(multipart.key for multipart in world.open_multiparts()) == ["at work", "failed", "paused"]
    world.proxy.heal()
    world.hurry()
    world.resume(paused)
    world.retry(failed)
    world.wait_completed([at_work, paused, failed])
    world.check()


def test_one_that_cannot_be_aborted_keeps_no_other(world: World) -> None:
    for key in ("first", "second", "third"):
        open_one(world, key)
    found = find_orphans(world.s3, world.records.uploads, world.bucket, "", youngest_seconds=0)
    world.proxy.plan("AbortMultipartUpload", Answer(403, "AccessDenied"), when=lambda request: request.key == "first")
    with world.open_sender() as sender, pytest.raises(TransferError, match="AccessDenied: 1 of 3 stay"):
        sender.abort_orphans(world.records.uploads, found)
    assert [multipart.key for multipart in world.open_multiparts()] == ["first"]


def test_an_upload_that_is_recorded_between_the_look_and_the_sweep_is_spared(world: World) -> None:
    """A runner has opened it, and its record comes late; whoever sweeps has been asked meanwhile."""
    [upload_id] = world.add(world.file(21 * MIB))
    opened = open_one(world, "file.bin")
    uploads = world.records.uploads
    found = find_orphans(world.s3, uploads, world.bucket, "", youngest_seconds=0)
    assert [orphan.upload_id for orphan in found] == [opened]
    multipart = {"upload_id": opened, "part_size": 5 * MIB}
    uploads.collection.update_one({"_id": upload_id}, {"$set": {"multipart": multipart}})
    assert abort_orphans(world.s3, uploads, world.bucket, found) == []
    world.start_runner()
    world.wait_completed([upload_id])
    # Nothing proves that the record's upload id is ours: the runner opened one of its own, and left that one alone.
    world.check(orphans=1)


def test_only_what_lies_under_the_prefix_is_listed(world: World) -> None:
    open_one(world, "ours/file")
    other = open_one(world, "others/file")
    found = find_orphans(world.s3, world.records.uploads, world.bucket, "ours", youngest_seconds=0)
    assert [orphan.key for orphan in found] == ["ours/file"]
    assert abort_orphans(world.s3, world.records.uploads, world.bucket, found) == found
    assert [multipart.upload_id for multipart in world.open_multiparts()] == [other]


@pytest.mark.parametrize(
    ("template", "ours"),
    [
        ("{prefix}/{relative_path}", ["team/file"]),
        ("{prefix}-{relative_path}", ["team-b/file", "team/file", "teamwork.iso"]),
    ],
)
def test_a_neighbour_whose_prefix_begins_like_ours_is_let_be(world: World, template: str, ours: list[str]) -> None:
    for key in ("team/file", "team-b/file", "teamwork.iso"):
        open_one(world, key)
    world.s3_settings = world.s3_settings.model_copy(update={"prefix": "/team/"})
    with world.open_sender(key_template=template) as sender:
        found = sender.orphans(world.records.uploads, youngest_seconds=0)
    assert sorted(orphan.key for orphan in found) == ours
