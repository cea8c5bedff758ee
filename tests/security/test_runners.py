"""What commands make of runners, of whose life anybody may write."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bson import ObjectId

from console.records.database import Records
from console.records.identity import RunnerIdentity, lives_here, this_host
from console.records.runners import Limits
from tests.commands.conftest import Command, command, environment, records  # noqa: F401 - fixtures


def test_a_heartbeat_alone_is_no_runner(command: Command, records: Records, tmp_path: Path) -> None:  # noqa: F811
    """A document says that one of this host lives: the command does not leave its uploads to it."""
    path = tmp_path / "file.txt"
    path.write_text("content")
    far = datetime.now(UTC) + timedelta(hours=1)
    for name in (f"{this_host()}:1:forged", "../../x", "x" * 5_000, "\0", 7):
        records.runners.collection.insert_one(
            {
                "_id": name,
                "host": this_host(),
                "kind": "watch",
                "seen_at": far,
                "limits": Limits(1, 1, 1).document(),
                "details": {},
            }
        )
    answer = command("upload", str(path), "--json")
    assert answer.code == 0, answer
    assert json.loads(answer.out.splitlines()[-1])["event"] == "completed"


def test_a_runner_lives_while_its_lock_is_held(tmp_path: Path) -> None:
    """And as this user's: another one's locks lie in another folder."""
    identity = RunnerIdentity("here", tmp_path)
    assert lives_here(identity.name, tmp_path)
    assert not lives_here(identity.name, tmp_path / "of-another-user")
    identity.release()
    assert not lives_here(identity.name, tmp_path)


def test_resume_says_what_not_even_its_own_runner_may_have(
    command: Command,  # noqa: F811
    records: Records,  # noqa: F811
    tmp_path: Path,
) -> None:
    """And does not wait for ever."""
    path = tmp_path / "file.txt"
    path.write_text("content")
    assert command("upload", str(path), "--detach").code == 0
    [document] = records.uploads.find({})
    secret = tmp_path / "secret"
    secret.write_text("of somebody else")
    forged = {**document, "_id": ObjectId(), "path": os.fspath(secret), "key": "stolen"}
    records.uploads.collection.insert_one(forged)
    answer = command("resume", "--all", "--json")
    assert answer.code == 1
    told = [json.loads(line) for line in answer.out.splitlines()[1:]]
    refused = [line for line in told if line["event"] == "refused"]
    assert [line["path"] for line in refused] == [os.fspath(secret)]
    assert "transfer.roots" in refused[0]["message"]
    assert [document["status"] for document in records.uploads.get([document["_id"], forged["_id"]])] == [
        "completed",
        "pending",
    ]
    assert "NotAllowed" in command("list").out
