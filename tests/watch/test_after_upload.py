"""What becomes of files that were sent: never touched before the record says completed, with a checksum."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from bson import ObjectId

from console.models import Comparison, Upload
from console.settings.watch_rules import WatchRule
from console.watch import after_upload
from console.watch.reporting import NoteKind
from tests.transfer.doubles import an_upload
from tests.watch.conftest import World
from tests.watch.waiting import until


def test_files_are_deleted_once_object_and_file_were_compared(world: World) -> None:
    path = world.write("sub/a.txt", "content", age_seconds=60)
    world.run()
    world.watch(world.rule(after="delete"))
    until(lambda: not path.exists())
    assert world.body("sub/a.txt") == b"content"
    (note,) = until(lambda: world.notes.of(NoteKind.DELETED))
    assert note.path == str(path)
    assert len(world.completed(1)) == 1


def test_files_are_moved_with_their_folders_and_a_later_one_of_the_name_is_new(world: World, tmp_path: Path) -> None:
    target = tmp_path / "sent"
    path = world.write("sub/a.txt", "first", age_seconds=60)
    world.run()
    world.watch(world.rule(after="move", move_to=target))
    until(lambda: world.documents(path=str(target / "sub" / "a.txt")))
    assert (target / "sub" / "a.txt").read_text() == "first"
    path.write_text("second")
    until(lambda: (target / "sub" / "a-2.txt").exists())
    assert len(world.completed(2)) == 2
    assert world.body("sub/a.txt") == b"second"


def test_the_folder_for_sent_files_may_be_within_the_watched_one(world: World) -> None:
    world.write("a.txt", age_seconds=60)
    world.run()
    service = world.watch(world.rule(after="move", move_to=world.folder / "sent"))
    until(lambda: (world.folder / "sent" / "a.txt").exists())
    world.settle(service)
    assert len(world.documents()) == 1


def test_nothing_is_deleted_before_the_upload_is_completed(world: World) -> None:
    path = world.write("a.txt", age_seconds=60)
    service = world.watch(world.rule(after="delete"))
    (document,) = until(lambda: world.documents())
    service.watchers()[0].completed(document["_id"])  # as if somebody said so too early
    assert service.watchers()[0].wait_for_after_upload(60)
    assert path.exists()


@pytest.mark.parametrize("after", ["delete", "move"])
def test_without_a_checksum_in_the_record_the_file_stays(world: World, tmp_path: Path, after: str) -> None:
    path = world.write("a.txt", age_seconds=60)
    service = world.watch(world.rule(after=after, move_to=tmp_path / "sent" if after == "move" else None))
    (document,) = until(lambda: world.documents())
    world.records.uploads.collection.update_one({"_id": document["_id"]}, {"$set": {"status": "completed"}})
    until(lambda: world.notes.of(NoteKind.TROUBLE))
    assert "S3 confirmed no checksum for it" in service.watchers()[0].problems.last
    assert path.exists()


@pytest.mark.parametrize("after", ["delete", "move"])
def test_a_version_that_comes_while_mongodb_is_asked_stays(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: str
) -> None:
    """As rsync and editors do it: renamed over the one that was sent."""
    path = world.write("a.txt", "sent", age_seconds=60)
    draft = tmp_path / "draft"
    draft.write_bytes(b"never sent")
    was_asked = threading.Event()
    is_outdated = after_upload.AfterUpload._is_outdated

    def asked(self: after_upload.AfterUpload, upload: Upload) -> bool:
        answer = is_outdated(self, upload)
        if not was_asked.is_set():
            draft.replace(path)
            was_asked.set()
        return answer

    monkeypatch.setattr(after_upload.AfterUpload, "_is_outdated", asked)
    world.run()
    service = world.watch(world.rule(after=after, move_to=tmp_path / "sent" if after == "move" else None))
    assert was_asked.wait(60)
    assert service.watchers()[0].wait_for_after_upload(60)
    until(lambda: world.documents(size=len(b"never sent"), status="completed"))
    assert world.body("a.txt") == b"never sent"


def test_a_file_of_which_s3_confirmed_the_size_alone_is_not_moved(world: World, tmp_path: Path) -> None:
    path = world.write("a.txt", age_seconds=60)
    service = world.watch(world.rule(after="move", move_to=tmp_path / "sent"))
    (document,) = until(lambda: world.documents())
    checksum = {"algorithm": "CRC32", "value": "AAAAAA==", "kind": "FULL_OBJECT", "confirmed": "size"}
    world.records.uploads.collection.update_one(
        {"_id": document["_id"]}, {"$set": {"status": "completed", "checksum": checksum}}
    )
    until(lambda: world.notes.of(NoteKind.TROUBLE))
    assert "S3 confirmed no checksum for it" in service.watchers()[0].problems.last
    assert path.exists()


def test_a_file_whose_object_is_another_one_by_now_is_not_deleted(world: World) -> None:
    path = world.write("a.txt", "content", age_seconds=60)
    world.run()
    keeping = world.watch(world.rule(name="w"))
    world.completed(1)
    keeping.stop()
    world.s3.put_object(Bucket=world.bucket, Key="a.txt", Body=b"CONTENT")
    service = world.watch(world.rule(name="w", after="delete"))
    until(lambda: world.notes.of(NoteKind.TROUBLE))
    assert "is not deleted" in service.watchers()[0].problems.last
    assert path.exists()


def test_a_file_that_changed_after_it_was_sent_is_sent_before_it_is_deleted(world: World) -> None:
    path = world.write("a.txt", "first", age_seconds=60)
    world.run()
    keeping = world.watch(world.rule(name="w"))
    world.completed(1)
    keeping.stop()
    path.write_text("second")
    world.watch(world.rule(name="w", after="delete"))
    until(lambda: not path.exists())
    assert world.body("a.txt") == b"second"


def test_a_full_disk_at_the_target_leaves_the_file_and_is_tried_again(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That a really full file system does so is seen in test_moving."""
    path = world.write("a.txt", age_seconds=60)
    is_full = True
    real = after_upload.move

    def move(source: str, target: str, **more: Any) -> str:
        if is_full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(source, target, **more)

    monkeypatch.setattr(after_upload, "move", move)
    world.run()
    service = world.watch(world.rule(after="move", move_to=tmp_path / "sent"))
    (note,) = until(lambda: world.notes.of(NoteKind.TROUBLE))
    assert "No space left on device" in note.message
    assert path.exists()
    is_full = False
    service.watchers()[0].look_again()
    until(lambda: (tmp_path / "sent" / "a.txt").exists())
    assert not path.exists()
    assert len(world.documents()) == 1


def test_what_was_completed_while_the_watch_was_away_is_cared_for_when_it_is_back(world: World) -> None:
    path = world.write("a.txt", age_seconds=60)
    rule = world.rule(after="delete")
    service = world.watch(rule)
    until(lambda: world.documents())
    service.stop()
    world.run()
    world.completed(1)
    assert path.exists()
    world.watch(rule)
    until(lambda: not path.exists())


def test_a_file_that_somebody_has_open_for_writing_stays(world: World) -> None:
    path = world.write("a.txt", age_seconds=60)
    rule = world.rule(after="delete")
    service = world.watch(rule)
    until(lambda: world.documents())
    with path.open("ab"):
        world.run()
        world.completed(1)
        until(lambda: world.notes.of(NoteKind.TROUBLE))
        assert "open for writing" in service.watchers()[0].problems.last
        assert path.exists()
    service.watchers()[0].look_again()
    until(lambda: not path.exists())


@pytest.mark.parametrize(
    ("changed", "stays"),
    [
        ({}, False),
        ({"same": None}, True),
        ({"same": False}, True),
        ({"is_newest": False}, True),
        ({"is_own": False}, True),
        ({"is_own": False, "made": True}, True),
        ({"is_confirmed": False}, True),
        ({"is_confirmed": False, "made": True}, False),
        ({"is_confirmed": False, "made": True, "same": None}, True),
        ({"rule": "another"}, True),
        ({"bucket": "another"}, True),
    ],
)
def test_only_what_is_surely_in_s3_and_has_no_later_upload_is_deleted(
    tmp_path: Path, changed: dict[str, Any], stays: bool
) -> None:
    """Where only the size can be compared, nobody knows; where a process of this user saw no object confirmed, the
    object must say that the upload made it; and a record is asked for by the rule, whatever it says.
    """
    case = {
        "same": True,
        "is_newest": True,
        "is_own": True,
        "is_confirmed": True,
        "made": False,
        "rule": "in",
        "bucket": "bucket",
    }
    case |= changed
    path = tmp_path / "a.txt"
    path.write_text("content")
    upload = an_upload(
        path,
        case["bucket"],
        status="completed",
        checksum={"algorithm": "CRC32", "value": "x", "kind": "FULL_OBJECT", "confirmed": "checksum"},
        watch={"rule": case["rule"], "scope": "here", "digest": "d"},
    )
    newest = SimpleNamespace(id=upload.id if case["is_newest"] else ObjectId())
    sent: Any = SimpleNamespace(
        upload=lambda upload_id: upload,
        newest=lambda paths: {str(path): newest},
        is_own=lambda upload: case["is_own"],
        is_confirmed=lambda upload: case["is_confirmed"],
    )
    verifier: Any = SimpleNamespace(
        verify=lambda upload: Comparison(case["same"], "compared"), made=lambda upload: case["made"]
    )
    destination: Any = SimpleNamespace(scope="here", bucket="bucket")
    rule = WatchRule.model_validate({"folder": str(tmp_path), "after": "delete", "name": "in"})
    care = after_upload.AfterUpload(
        rule, destination, sent, verifier, notify=lambda note: None, problem=lambda problem: None
    )
    care._care_for(upload.id)
    assert path.exists() is stays
