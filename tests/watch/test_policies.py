"""What becomes of files that change, are renamed, fail or are cancelled: by rule and records, on the real servers."""

from __future__ import annotations

import os
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

from bson import ObjectId

from console.models import Requested
from console.records.requests import remove, request_all
from console.watch.reporting import NoteKind
from console.watch.service import WatchService
from tests.watch.conftest import World
from tests.watch.waiting import until


def sent(world: World, name: str = "a.txt", content: str = "first", **rule: Any) -> tuple[Path, WatchService]:
    """A file that was sent by a watch that goes on."""
    path = world.write(name, content, age_seconds=600)
    world.run()
    service = world.watch(world.rule(**rule))
    world.completed(1)
    return path, service


def test_a_changed_file_is_a_new_upload_under_the_same_key(world: World) -> None:
    path, service = sent(world)
    path.write_text("second")
    world.completed(2)
    assert [document["key"] for document in world.documents()] == ["a.txt", "a.txt"]
    assert world.body("a.txt") == b"second"
    world.settle(service)
    assert len(world.documents()) == 2


def test_a_file_that_is_changed_back_is_sent_again(world: World) -> None:
    """The object holds the second version by then: that the first was sent once does not help."""
    path, service = sent(world)
    first = path.stat().st_mtime_ns
    path.write_text("second")
    world.completed(2)
    path.write_text("first")
    os.utime(path, ns=(first, first))
    world.completed(3)
    assert world.body("a.txt") == b"first"
    world.settle(service)
    assert len(world.documents()) == 3


def test_a_changed_file_is_a_version_under_a_key_of_its_own(world: World) -> None:
    path, service = sent(world, "dir/a.tar.gz", changed="version")
    path.write_text("second")
    world.completed(2)
    first, second = (document["key"] for document in world.documents())
    assert first == "dir/a.tar.gz"
    assert second.startswith("dir/a.2")
    assert second.endswith("Z.tar.gz")
    assert (world.body(first), world.body(second)) == (b"first", b"second")
    world.settle(service)
    assert len(world.documents()) == 2


def test_a_changed_file_is_left_alone_where_the_rule_says_so(world: World) -> None:
    path, service = sent(world, changed="ignore")
    path.write_text("second")
    until(lambda: world.notes.of(NoteKind.LEFT))
    world.settle(service)
    assert len(world.documents()) == 1
    assert world.body("a.txt") == b"first"
    assert [note.message for note in world.notes.of(NoteKind.LEFT)] == ["it changed after it was sent"]


def test_a_file_that_was_only_touched_is_recognised_by_its_checksum(world: World) -> None:
    path, service = sent(world)
    os.utime(path)
    until(lambda: world.notes.of(NoteKind.RECOGNISED))
    world.settle(service)
    (document,) = world.documents()
    assert document["mtime_ns"] == path.stat().st_mtime_ns
    assert len(world.notes.of(NoteKind.RECOGNISED)) == 1


WHATEVER_ITS_NAME = "{size}-{mtime:%Y%m%dT%H%M%S}"
"""A key that a file keeps when it is renamed."""


def test_a_file_that_is_renamed_and_keeps_its_key_is_no_new_upload_and_its_record_follows(world: World) -> None:
    path, service = sent(world, key_template=WHATEVER_ITS_NAME)
    (before,) = world.documents()
    path.rename(world.folder / "b.txt")
    until(lambda: world.notes.of(NoteKind.RECOGNISED))
    world.settle(service)
    (document,) = world.documents()
    assert (document["path"], document["key"]) == (str(world.folder / "b.txt"), before["key"])
    (world.folder / "b.txt").rename(world.folder / "c.txt")
    until(lambda: world.documents(filename="c.txt"))
    assert len(world.documents()) == 1


def test_a_file_that_gets_another_key_by_its_new_name_is_sent_under_that(world: World) -> None:
    path, service = sent(world)
    path.rename(world.folder / "b.txt")
    assert {document["key"] for document in world.completed(2)} == {"a.txt", "b.txt"}
    world.settle(service)
    assert len(world.documents()) == 2


def test_of_two_copies_that_follow_one_file_both_are_known_or_sent(world: World) -> None:
    """Both look as if they were the file that was renamed."""
    path, service = sent(world, key_template=WHATEVER_ITS_NAME)
    service.stop()
    shutil.copy2(path, world.folder / "c.txt")
    path.rename(world.folder / "b.txt")
    world.watch(world.rule(key_template=WHATEVER_ITS_NAME))
    documents = world.completed(2)
    assert {document["filename"] for document in documents} == {"b.txt", "c.txt"}
    assert len(world.notes.of(NoteKind.RECOGNISED)) == 1
    assert {world.body(document["key"]) for document in documents} == {b"first"}


def test_a_renamed_file_whose_object_has_gone_is_sent_again(world: World) -> None:
    path, service = sent(world, key_template=WHATEVER_ITS_NAME)
    (before,) = world.documents()
    service.stop()
    world.s3.delete_object(Bucket=world.bucket, Key=before["key"])
    path.rename(world.folder / "b.txt")
    world.watch(world.rule(key_template=WHATEVER_ITS_NAME))
    _, again = world.completed(2)
    assert world.body(again["key"]) == b"first"


def test_a_file_that_is_renamed_after_some_of_its_parts_were_sent_begins_again_under_its_own_key(world: World) -> None:
    """Its parts would become an object under the former name, which the next file of that name would overwrite."""
    path = world.write("a.txt", age_seconds=60)
    service = world.watch()
    (document,) = until(lambda: world.documents())
    service.stop()
    parts = {"multipart": {"upload_id": "none", "part_size": 5}}
    world.records.uploads.collection.update_one({"_id": document["_id"]}, {"$set": parts})
    path.rename(world.folder / "b.txt")
    world.watch()
    until(lambda: world.documents(filename="a.txt", status="cancelled"))
    world.run()
    assert [document["key"] for document in world.completed(1)] == ["b.txt"]


def test_the_record_of_a_changed_file_is_newer_whatever_the_clocks_say(world: World) -> None:
    """Else the former one would be taken for the newest for ever, and a failed successor never be sent again."""
    path, service = sent(world)
    (former,) = world.documents()
    service.stop()
    ahead = former["created_at"] + timedelta(hours=1)  # another host's clock, or ours before it was put back
    world.records.uploads.collection.update_one({"_id": former["_id"]}, {"$set": {"created_at": ahead}})
    world.watch()
    path.write_text("second")
    world.completed(2)
    (successor,) = world.documents(size=6)
    assert successor["created_at"] > ahead


def test_a_file_whose_former_upload_somebody_cancelled_is_a_new_one_under_a_new_name(world: World) -> None:
    path = world.write("a.txt", age_seconds=60)
    service = world.watch()
    (document,) = until(lambda: world.documents())
    service.stop()
    fail(world, document["_id"], "FileNotFound")
    request_all(world.records.uploads, [document["_id"]], Requested.CANCEL)
    path.rename(world.folder / "b.txt")
    world.run()
    world.watch()
    (renamed,) = world.completed(1)
    assert renamed["filename"] == "b.txt"
    assert {document["status"] for document in world.documents(filename="a.txt")} == {"cancelled"}


def test_a_renamed_file_is_sent_again_where_the_rule_says_so(world: World) -> None:
    path, _ = sent(world, renamed="upload")
    path.rename(world.folder / "b.txt")
    assert {document["key"] for document in world.completed(2)} == {"a.txt", "b.txt"}


def test_a_copy_and_another_file_of_the_same_size_and_time_are_sent(world: World) -> None:
    """Only a file whose former name has gone, and whose content is the same, was renamed."""
    path, service = sent(world)
    status = path.stat()
    copy = world.write("copy.txt", "first")
    os.utime(copy, ns=(status.st_mtime_ns, status.st_mtime_ns))
    world.completed(2)
    path.unlink()
    other = world.write("other.txt", "FIRST")
    os.utime(other, ns=(status.st_mtime_ns, status.st_mtime_ns))
    assert {document["key"] for document in world.completed(3)} == {"a.txt", "copy.txt", "other.txt"}
    world.settle(service)
    assert len(world.documents()) == 3


def test_a_file_that_is_renamed_while_it_waits_is_sent_under_its_new_name(world: World) -> None:
    path = world.write("a.txt", age_seconds=60)
    world.watch()
    until(lambda: world.documents())
    path.rename(world.folder / "b.txt")
    until(lambda: world.documents(filename="b.txt"))
    world.run()
    assert [document["key"] for document in world.completed(1)] == ["b.txt"]
    assert len(world.documents()) == 1


def test_what_somebody_cancelled_or_paused_is_not_sent_behind_his_back(world: World) -> None:
    for name in ("a.txt", "b.txt"):
        world.write(name, age_seconds=60)
    service = world.watch()
    first, second = until(lambda: found if len(found := world.documents()) == 2 else None)
    request_all(world.records.uploads, [first["_id"]], Requested.CANCEL)
    request_all(world.records.uploads, [second["_id"]], Requested.PAUSE)
    world.settle(service)
    assert {document["status"] for document in world.documents()} == {"cancelled", "paused"}
    assert {note.message for note in world.notes.of(NoteKind.LEFT)} == {
        "its upload was cancelled",
        "its upload was paused",
    }
    (world.folder / first["filename"]).write_text("it is another one by now")
    until(lambda: len(world.documents()) == 3)


def fail(world: World, upload_id: ObjectId, code: str) -> None:
    world.records.uploads.collection.update_one(
        {"_id": upload_id},
        [
            {
                "$set": {
                    "status": "failed",
                    "finished_at": {"$subtract": ["$$NOW", 60_000]},
                    "error": {"code": code, "message": "played", "at": "$$NOW"},
                }
            }
        ],
    )


def test_uploads_that_failed_for_want_of_credentials_are_tried_again_by_themselves(world: World) -> None:
    world.write("a.txt", age_seconds=60)
    service = world.watch(world.rule(retry_failed_seconds=30.0))
    (document,) = until(lambda: world.documents())
    fail(world, document["_id"], "ExpiredToken")
    world.settle(service)
    until(lambda: world.documents(status="pending"))
    assert len(world.documents()) == 1


def test_uploads_that_can_never_work_or_not_yet_are_left_for_a_person(world: World) -> None:
    for name in ("a.txt", "b.txt"):
        world.write(name, age_seconds=60)
    service = world.watch(world.rule(retry_failed_seconds=3600.0))
    first, second = until(lambda: found if len(found := world.documents()) == 2 else None)
    fail(world, first["_id"], "KeyTooLongError")
    fail(world, second["_id"], "AccessDenied")
    world.settle(service)
    assert len(world.documents(status="failed")) == 2
    assert {note.message for note in world.notes.of(NoteKind.LEFT)} == {
        "its upload failed: played; retry it once that is fixed",
        "its upload failed: played; it is retried automatically",
    }


def test_a_record_that_was_deleted_leaves_a_file_that_was_never_sent(world: World) -> None:
    _, service = sent(world)
    (document,) = world.documents()
    remove(world.records.uploads, [document["_id"]])
    world.settle(service)
    assert len(world.completed(1)) == 1


def test_a_host_that_has_gone_leaves_its_waiting_files_to_those_that_share_the_folder(world: World) -> None:
    world.write("a.txt", age_seconds=60)
    rule = world.rule(shared_as="archive")
    gone = world.watch(rule, host="gone", holder="gone")
    until(lambda: world.documents(host="gone"))
    gone.stop()
    world.run("here")
    world.watch(rule, host="here", holder="here")
    (document,) = world.completed(1)
    assert document["host"] == "here"
    assert len(world.documents()) == 1


def test_the_order_of_the_queue_is_that_of_the_rule(world: World) -> None:
    for age in (300, 100, 200):
        world.write(f"{age}", age_seconds=age)
    world.watch(world.rule(order="newest", complete_when="renamed"))
    until(lambda: len(world.documents()) == 3)
    waiting = world.records.uploads.waiting_after(None, "", 10)
    assert [document["filename"] for document in waiting] == ["100", "200", "300"]
