"""Files that look like others, or come under the same name or key: each has its own object before it is removed."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from bson import ObjectId

from console.models import Comparison
from console.transfer.sender import S3Sender
from console.watch.reporting import NoteKind
from tests.watch.conftest import World
from tests.watch.waiting import until

LONG_AGO = 1_704_067_200


def template(folder: Path, content: bytes = b"template") -> Path:
    """A file that is copied with its date, as by `cp -p`."""
    path = folder / "template"
    path.write_bytes(content)
    os.utime(path, (LONG_AGO, LONG_AGO))
    return path


def bodies(world: World) -> dict[str, bytes]:
    """What can be read of the bucket: of an object that is just being overwritten the server answers with an error."""
    found: dict[str, bytes] = {}
    for each in world.s3.list_objects_v2(Bucket=world.bucket).get("Contents", []):
        with suppress(ClientError):
            found[each["Key"]] = world.body(each["Key"])
    return found


def test_equal_files_that_come_one_after_the_other_are_each_sent_before_they_are_deleted(
    world: World, tmp_path: Path
) -> None:
    original = template(tmp_path)
    world.run()
    world.watch(world.rule(after="delete"))
    for name in ("day1", "day2", "day3"):
        shutil.copy2(original, world.folder / name)
        until(lambda name=name: not (world.folder / name).exists())
    assert bodies(world) == dict.fromkeys(("day1", "day2", "day3"), b"template")


def test_equal_files_are_each_sent_before_they_are_moved_also_when_the_first_has_left_its_place(
    world: World, tmp_path: Path
) -> None:
    original, target = template(tmp_path), tmp_path / "sent"
    world.run()
    world.watch(world.rule(after="move", move_to=target))
    for name in ("day1", "day2"):
        shutil.copy2(original, world.folder / name)
        until(lambda name=name: world.documents(path=str(target / name)))
        (target / name).unlink()
    assert bodies(world) == dict.fromkeys(("day1", "day2"), b"template")


def test_the_same_report_has_an_object_under_the_key_of_each_day(world: World) -> None:
    world.run()
    world.watch(world.rule(after="delete", key_template="{mtime:%Y%m%d}/{filename}"))
    for day in range(2):
        path = world.folder / "report.csv"
        path.write_text("nothing happened")
        os.utime(path, (LONG_AGO + day * 86_400,) * 2)
        until(lambda path=path: not path.exists())
    assert sorted(bodies(world)) == ["20240101/report.csv", "20240102/report.csv"]


def test_a_file_that_comes_back_equal_to_the_last_byte_and_date_is_in_s3_when_it_is_deleted_again(
    world: World, tmp_path: Path
) -> None:
    original = template(tmp_path)
    world.run()
    world.watch(world.rule(after="delete"))
    for _ in range(2):
        shutil.copy2(original, world.folder / "a")
        until(lambda: not (world.folder / "a").exists())
        assert bodies(world) == {"a": b"template"}
        world.s3.delete_object(Bucket=world.bucket, Key="a")  # whoever fetches it takes it away


def test_another_file_of_the_same_size_and_date_is_sent_and_not_taken_for_the_one_that_was_deleted(
    world: World, tmp_path: Path
) -> None:
    world.run()
    world.watch(world.rule(after="delete"))
    for content in (b"monday", b"friday"):
        shutil.copy2(template(tmp_path, content), world.folder / "a")
        until(lambda: not (world.folder / "a").exists())
        assert bodies(world) == {"a": content}


def test_a_scanner_that_always_writes_the_same_name_overwrites_no_page_that_was_given_its_own(world: World) -> None:
    world.run()
    service = world.watch()
    for number in range(3):
        world.write("scan.pdf", f"page {number}")
        until(lambda number=number: bodies(world).get("scan.pdf") == b"page %d" % number)
        (world.folder / "scan.pdf").rename(world.folder / f"invoice-{number}.pdf")
        world.settle(service)
    world.completed(6)
    assert bodies(world) == {
        "scan.pdf": b"page 2",
        **{f"invoice-{number}.pdf": b"page %d" % number for number in range(3)},
    }


def test_no_generation_of_a_rotated_log_is_lost(world: World) -> None:
    world.run()
    service = world.watch()
    names = ["app.log", "app.log.1", "app.log.2", "app.log.3"]
    for generation in range(4):
        for older, newer in reversed(list(zip(names[1:], names, strict=False))):
            if (world.folder / newer).exists():
                (world.folder / newer).rename(world.folder / older)
                if generation % 2:  # also where it is seen in between, when there is no new log yet
                    world.settle(service)
        world.write("app.log", f"generation {generation}")
        until(lambda number=generation: bodies(world).get("app.log") == b"generation %d" % number)
    until(lambda: len(bodies(world)) == 4)
    until(lambda: set(bodies(world).values()) == {b"generation %d" % number for number in range(4)})


def test_a_file_that_is_moved_into_another_watched_folder_is_sent_there_before_it_is_deleted(
    world: World, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    to = f"s3://{world.bucket}/other"
    path = world.write("a", "content", age_seconds=60)
    world.run()
    world.watch(world.rule(name="keeps"), world.rule(name="deletes", folder=other, to=to, after="delete"))
    world.completed(1)
    path.rename(other / "a")
    until(lambda: not (other / "a").exists())
    assert bodies(world) == {"a": b"content", "other/a": b"content"}


@pytest.mark.parametrize("at_once", [True, False])
def test_files_whose_names_give_one_key_are_all_in_the_bucket(world: World, at_once: bool) -> None:
    rule = world.rule(after="delete", key_template="{filename}")
    paths = [world.folder / folder / "report.csv" for folder in ("a", "b", "c")]
    if not at_once:
        world.run()
        world.watch(rule)
    for path in paths:
        world.write(f"{path.parent.name}/report.csv", path.parent.name, age_seconds=60)
        if not at_once:
            until(lambda path=path: not path.exists())
    if at_once:
        world.watch(rule)
        world.run()
    until(lambda: not any(path.exists() for path in paths))
    assert sorted(bodies(world)) == ["report-2.csv", "report-3.csv", "report.csv"]
    assert sorted(bodies(world).values()) == [b"a", b"b", b"c"]


def test_a_file_keeps_the_key_that_it_was_given_when_it_changes(world: World) -> None:
    world.run()
    world.watch(world.rule(key_template="{filename}"))
    for folder in ("a", "b"):
        world.write(f"{folder}/report.csv", f"{folder} at first")
        until(lambda folder=folder: f"{folder} at first".encode() in bodies(world).values())
    world.write("b/report.csv", "b later")
    until(lambda: bodies(world) == {"report.csv": b"a at first", "report-2.csv": b"b later"})
    assert "its key is that of" in world.notes.of(NoteKind.QUEUED)[1].message


def test_a_key_that_is_that_of_another_programs_file_is_not_overwritten(world: World, tmp_path: Path) -> None:
    """Of an upload by hand, say, which this host's watch knows by its record alone."""
    path = world.write("a", "by the watch", age_seconds=60)
    world.s3.put_object(Bucket=world.bucket, Key="a", Body=b"by hand")
    service = world.watch()
    (document,) = until(lambda: world.documents())
    service.stop()
    by_hand = {name: value for name, value in document.items() if name not in ("_id", "watch")}
    elsewhere = {"path": str(tmp_path / "elsewhere" / "a"), "fingerprint": "1-7-1", "status": "completed"}
    world.records.uploads.collection.delete_many({})
    world.records.uploads.collection.insert_one(by_hand | elsewhere | {"source": "command"})
    world.run()
    world.watch()
    until(lambda: bodies(world) == {"a": b"by hand", "a-2": b"by the watch"})
    assert path.exists()


def test_two_names_of_one_file_are_two_objects(world: World) -> None:
    path = world.write("a", "content", age_seconds=60)
    os.link(path, world.folder / "b")
    world.run()
    world.watch(world.rule(after="delete"))
    until(lambda: not list(world.folder.iterdir()))
    assert bodies(world) == {"a": b"content", "b": b"content"}


def test_a_file_that_is_replaced_by_one_that_looks_like_it_while_it_is_compared_is_not_deleted_unsent(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = world.write("a", "monday", age_seconds=60)
    status = path.stat()
    real = S3Sender.verify
    replaced: list[bool] = []

    def verify(self: S3Sender, *arguments: Any) -> Comparison:
        comparison = real(self, *arguments)
        if not replaced:
            replaced.append(True)
            other = tmp_path / "other"
            other.write_text("friday")
            os.utime(other, ns=(status.st_mtime_ns, status.st_mtime_ns))
            other.replace(path)
        return comparison

    monkeypatch.setattr(S3Sender, "verify", verify)
    world.run()
    service = world.watch(world.rule(after="delete"))
    until(lambda: replaced)
    until(lambda: service.watchers()[0].look_again() or not path.exists())
    assert bodies(world) == {"a": b"friday"}


def test_a_file_is_not_moved_where_its_object_is_another_one_by_now(world: World, tmp_path: Path) -> None:
    path = world.write("a", "content", age_seconds=60)
    world.run()
    keeping = world.watch(world.rule(name="w"))
    world.completed(1)
    keeping.stop()
    world.s3.put_object(Bucket=world.bucket, Key="a", Body=b"CONTENT")
    service = world.watch(world.rule(name="w", after="move", move_to=tmp_path / "sent"))
    until(lambda: world.notes.of(NoteKind.TROUBLE))
    assert "is not moved" in service.watchers()[0].problems.last
    assert path.exists()


def test_a_key_that_another_hosts_file_got_meanwhile_is_left_to_it(world: World) -> None:
    """Each host chose the key when neither knew of the other."""
    world.write("a", "ours", age_seconds=60)
    service = world.watch()
    (document,) = until(lambda: world.documents())
    watch = {**document["watch"], "scope": "elsewhere", "digest": "elsewhere"}
    theirs = {"_id": ObjectId(), "host": "elsewhere", "path": "/elsewhere/a", "fingerprint": "1-6-1", "watch": watch}
    done = {"status": "completed", "finished_at": datetime.now(UTC)}
    world.s3.put_object(Bucket=world.bucket, Key="a", Body=b"theirs")
    world.records.uploads.collection.insert_one({**document, **theirs, **done})
    world.run()
    until(lambda: world.documents(status="failed"))
    until(lambda: service.watchers()[0].look_again() or len(bodies(world)) == 2)
    assert bodies(world) == {"a": b"theirs", "a-2": b"ours"}
