"""One rule for the output of every command: text for people, also in a pipe and there without colours; lines of JSON
only with `--json`; what went wrong on standard error."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from bson import ObjectId

from console.cli import app
from console.models import UploadStatus
from console.records.database import Records

from .conftest import Command
from .test_uploads import new_upload

# Each with something to tell, and whether it knows `--json`.
COMMANDS: dict[str, Sequence[str]] = {
    "upload": ("upload", "{folder}"),
    "upload --detach": ("upload", "{folder}", "--detach"),
    "upload --dry-run": ("upload", "{folder}", "--dry-run"),
    "upload --delete": ("upload", "{folder}", "--delete", "--yes"),
    "upload --delete --dry-run": ("upload", "{folder}", "--delete", "--dry-run"),
    "list": ("list",),
    "pause": ("pause", "{waiting}"),
    "resume": ("resume", "{paused}"),
    "retry": ("retry", "{failed}"),
    "cancel": ("cancel", "{waiting}"),
    "priority": ("priority", "{waiting}"),
    "delete": ("delete", "{done}", "--yes"),
    "verify": ("verify", "{done}"),
    "sweep": ("sweep", "--yes"),
    "doctor": ("doctor",),
    "watch": ("watch", "--once", "{folder}"),
    "watch --dry-run": ("watch", "--dry-run", "{folder}"),
    "events": ("events", "--since", "1h", "--until", "0s"),
    "config": ("config",),
}
WITHOUT_JSON: dict[str, Sequence[str]] = {
    "setup": ("setup", "--adopt"),
    "config --example": ("config", "--example"),
    "manifest": ("manifest", "{folder}.manifest", "{done}"),
}
QUIET_IN_JSON = {"sweep"}  # nothing to abort is no line
OTHERS = {
    "demo": "needs a terminal",
    "services": "runs until it is ended: tests/embedded/test_services_command.py",
    "serve": "runs until it is ended",
    "init": "asks its questions on a terminal",
    "limits": "shows runners at work: test_uploads.py",
}


@pytest.fixture
def words(command: Command, records: Records, folder: Path, tmp_path: Path, bucket: str) -> dict[str, str]:
    """What the names in the table stand for."""
    path = tmp_path / "known"
    path.write_text("known")
    assert command("upload", str(path)).code == 0
    [done] = [str(document["_id"]) for document in records.uploads.find({})]
    waiting, paused, failed = records.uploads.add([new_upload(path, bucket) for _ in range(3)])
    others = {paused: UploadStatus.PAUSED, failed: UploadStatus.FAILED}
    for upload_id, status in others.items():
        change = {"status": str(status), "requested": "pause" if status is UploadStatus.PAUSED else "run"}
        records.uploads.collection.update_one({"_id": upload_id}, {"$set": change})
    records.uploads.collection.update_many({"_id": {"$in": [paused, failed]}}, {"$set": {"host": "elsewhere"}})
    return {"folder": str(folder), "done": done, "waiting": str(waiting), "paused": str(paused), "failed": str(failed)}


def filled(arguments: Sequence[str], words: dict[str, str]) -> list[str]:
    return [argument.format(**words) for argument in arguments]


def is_json(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


def test_the_table_has_every_command() -> None:
    tables = {*COMMANDS, *WITHOUT_JSON, *OTHERS}
    called = {each.name or getattr(each.callback, "__name__", "") for each in app.registered_commands}
    assert called <= {name.partition(" ")[0] for name in tables}


@pytest.mark.parametrize("name", [*COMMANDS, *WITHOUT_JSON])
def test_in_a_pipe_each_command_writes_text_without_colours(command: Command, words: dict[str, str], name: str) -> None:
    arguments = filled({**COMMANDS, **WITHOUT_JSON}[name], words)
    answer = command(*arguments, *(["--detach"] if name in ("resume", "retry") else []))
    assert answer.code in (0, 3 if name == "doctor" else 0), answer.err
    assert answer.out.strip()
    assert not [line for line in answer.out.splitlines() if is_json(line)]
    assert "\x1b" not in answer.out + answer.err


@pytest.mark.parametrize("name", COMMANDS)
def test_with_json_each_line_is_an_object(command: Command, words: dict[str, str], name: str) -> None:
    arguments = filled(COMMANDS[name], words)
    answer = command(*arguments, "--json", *(["--detach"] if name in ("resume", "retry") else []))
    assert answer.code in (0, 3 if name == "doctor" else 0), answer.err
    assert all(is_json(line) for line in answer.out.splitlines()), answer.out
    assert answer.out or name in QUIET_IN_JSON


@pytest.mark.parametrize("form", [(), ("--json",)])
@pytest.mark.parametrize("name", ["pause", "resume", "retry", "cancel", "priority", "verify", "list"])
def test_what_went_wrong_is_on_standard_error(command: Command, name: str, form: Sequence[str]) -> None:
    unknown = str(ObjectId())
    answer = command(name, unknown, *form)
    assert answer.code == 1
    assert "no such upload" in answer.err or unknown in answer.out  # a line of JSON has it where one was asked for
    assert form or unknown not in answer.out


def test_a_file_that_cannot_be_sent_is_on_standard_error(command: Command, folder: Path, records: Records) -> None:
    answer = command("upload", str(folder), str(folder / "nothing"), "--bucket", "no-such-bucket-here")
    assert answer.code == 1
    assert [line.split()[0] for line in answer.err.splitlines()].count("failed") == 3
    assert "refused" in answer.err
    [summary] = answer.out.splitlines()
    assert summary.startswith("3 files, 0 B, ")
    assert summary.endswith(", 1 refused, 3 failed: NoSuchBucket")


def test_a_resumed_upload_is_told_in_text(command: Command, records: Records, tmp_path: Path) -> None:
    path = tmp_path / "again"
    path.write_text("again")
    assert command("upload", str(path), "--detach").code == 0
    [upload_id] = records.uploads.ids({})
    assert command("pause", str(upload_id)).code == 0
    answer = command("resume", str(upload_id))
    told, completed, summary = answer.out.splitlines()
    assert told == "1 upload resumed."
    assert completed.startswith("completed  again → s3://")
    assert summary.startswith("1 file, 5 B, ")
