"""Whoever may write to a watched folder can put links in the place of its folders: nothing outside is touched."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from console.watch.reporting import NoteKind
from tests.watch.conftest import World
from tests.watch.waiting import until


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A file outside, of the name, size and date of the one that was looked at."""
    path = tmp_path / "outside" / "f.txt"
    path.parent.mkdir()
    path.write_text("OUTSIDE")
    os.utime(path, (1_000_000, 1_000_000))
    return path


def bait(world: World) -> Path:
    path = world.write("sub/f.txt", "INSIDE!")
    os.utime(path, (1_000_000, 1_000_000))
    return path


def keys(world: World) -> list[str]:
    return [each["Key"] for each in world.s3.list_objects_v2(Bucket=world.bucket).get("Contents", [])]


@pytest.mark.parametrize("after", ["keep", "delete", "move"])
def test_a_folder_that_is_swapped_before_its_file_is_sent(
    world: World, victim: Path, tmp_path: Path, after: str
) -> None:
    path = bait(world)
    rule: dict[str, Any] = {"after": after} | ({"move_to": tmp_path / "sent"} if after == "move" else {})
    service = world.watch(world.rule(**rule))
    until(lambda: world.documents())
    path.parent.rename(tmp_path / "away")
    path.parent.symlink_to(victim.parent)
    world.run()
    (document,) = until(lambda: world.documents(status="failed"))
    assert document["error"]["code"] == "NotARegularFile"
    assert "through a symbolic link" in document["error"]["message"]
    world.settle(service)
    assert (keys(world), victim.read_text()) == ([], "OUTSIDE")
    path.parent.unlink()
    (tmp_path / "away").rename(path.parent)
    world.write("sub/g.txt", age_seconds=60)  # a folder that is moved in, and one that is made, are both looked at
    service.watchers()[0].look_again()
    world.completed(2)
    assert world.body("sub/f.txt") == b"INSIDE!"


@pytest.mark.parametrize("after", ["delete", "move"])
def test_a_folder_that_is_swapped_after_its_file_was_sent(
    world: World, victim: Path, tmp_path: Path, after: str
) -> None:
    path = bait(world)
    world.run()
    keeping = world.watch(world.rule(name="w"))
    world.completed(1)
    keeping.stop()
    path.parent.rename(tmp_path / "away")
    path.parent.symlink_to(victim.parent)
    (document,) = world.documents()
    rule: dict[str, Any] = {"after": after} | ({"move_to": tmp_path / "sent"} if after == "move" else {})
    service = world.watch(world.rule(name="w", **rule))
    service.watchers()[0].completed(document["_id"])
    until(lambda: world.notes.of(NoteKind.TROUBLE))
    assert "is left alone: it is reached through a symbolic link" in world.notes.of(NoteKind.TROUBLE)[0].message
    assert victim.read_text() == "OUTSIDE"
    assert not (tmp_path / "sent").exists()


@pytest.mark.parametrize("place", ["beside the watched folder", "below it"])
def test_a_target_folder_that_is_swapped_receives_nothing(
    world: World, victim: Path, tmp_path: Path, place: str
) -> None:
    target = world.folder / "sent" if place == "below it" else tmp_path / "sent"
    target.mkdir()
    path = bait(world)
    service = world.watch(world.rule(after="move", move_to=target))
    until(lambda: world.documents())
    target.rmdir()
    target.symlink_to(victim.parent)
    world.run()
    until(lambda: world.notes.of(NoteKind.TROUBLE))
    assert "cannot be moved" in service.watchers()[0].problems.last
    assert path.read_text() == "INSIDE!"
    assert [each.name for each in victim.parent.iterdir()] == ["f.txt"]
    target.unlink()
    service.watchers()[0].look_again()
    until(lambda: (target / "sub" / "f.txt").exists())
