"""Files below a watched folder, and what somebody who can write records gets done to them."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from bson import Int64, ObjectId

from console.records.identity import RunnerIdentity
from console.records.runners import Limits
from console.runner.policy import Policy
from console.runner.runner import Runner
from console.s3.engines.source import file_state
from console.watch.reporting import NoteKind
from tests.watch.conftest import HOST, World
from tests.watch.waiting import until


def record_of(world: World, path: Path, **fields: Any) -> dict[str, Any]:
    """As somebody would write it who has read those of a watch."""
    state, now = file_state(os.fspath(path)), datetime.now(UTC) + timedelta(hours=1)
    return {
        "_id": ObjectId(),
        "filename": path.name,
        "path": os.fspath(path),
        "host": HOST,
        "size": Int64(state.size),
        "mtime_ns": Int64(state.mtime_ns),
        "fingerprint": state.fingerprint,
        "content_type": "text/plain",
        "endpoint": world.sender.endpoint.name,
        "bucket": world.bucket,
        "key": path.name,
        "source": "watch",
        "status": "completed",
        "requested": "run",
        "watch": {"rule": "w", "scope": HOST, "digest": str(ObjectId())},
        "created_at": now,
        "updated_at": now,
        "finished_at": now,
        **fields,
    }


@pytest.mark.parametrize("after", ["delete", "move"])
@pytest.mark.parametrize("place", ["outside", "excluded"])
def test_a_record_that_others_completed_touches_no_file(
    world: World,
    tmp_path: Path,
    after: str,
    place: str,
) -> None:
    """Though its words are those of the true record of an object with just this content."""
    world.run()
    service = world.watch(
        world.rule(name="w", after=after, move_to=tmp_path / "sent" if after == "move" else None, exclude=["kept/"])
    )
    world.write("like-it.txt", "content", age_seconds=60)
    [true] = world.completed(1)
    until(lambda: world.notes.of(NoteKind.DELETED if after == "delete" else NoteKind.MOVED))
    if place == "outside":
        victim = tmp_path / "victim.txt"
        victim.write_text("content")
    else:
        victim = world.write("kept/victim.txt", "content", age_seconds=60)
    checksum = {name: true[name] for name in ("checksum", "etag", "key", "result_seal", "seal")}
    forged = record_of(world, victim, **checksum)
    world.records.uploads.collection.insert_one(forged)
    service.watchers()[0].completed(forged["_id"])
    assert service.watchers()[0].wait_for_after_upload(60)
    assert victim.read_text() == "content"


def test_a_file_that_no_rule_took_is_not_removed_once_others_had_it_sent(
    world: World,
) -> None:
    """It lies below a root of the runner, so it may be sent; but no watch asked for it."""
    victim = world.write("kept/victim.txt", "content", age_seconds=60)
    service = world.watch(world.rule(name="w", after="delete", exclude=["kept/"]))
    policy = Policy(roots=(str(world.folder),), destinations=((world.bucket, ""),))
    runner = Runner(
        world.records,
        world.sender,
        Limits.of(world.settings.transfer),
        kind="watch",
        identity=RunnerIdentity(HOST, world.state),
        policy=policy,
    )
    world._running.append(runner.stop)
    runner.start()
    world.records.uploads.collection.insert_one(record_of(world, victim, status="pending", finished_at=None))
    world.completed(1)
    until(lambda: world.notes.of(NoteKind.TROUBLE))
    assert "nothing shows that this watch recorded it" in service.watchers()[0].problems.last
    assert victim.read_text() == "content"
