"""Who carries uploads out is said, and `--here` keeps them in the command's own process."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from bson import ObjectId

from console.records.database import Records
from console.records.identity import this_host
from console.records.runners import Limits
from console.runner.policy import Policy
from console.runner.runner import Runner
from console.settings import load
from console.transfer.sender import S3Sender
from tests.records.documents import new_upload
from tests.watch.waiting import until

from .conftest import Command

LARGE = 20 * 1024 * 1024  # more than one PutObject takes: it waits to be claimed


@pytest.fixture
def carried_out(environment: dict[str, str], tmp_path: Path) -> Iterator[list[ObjectId]]:
    """What the runner of a console on this host completes, while it is there."""
    settings = load(None, environment, {})
    completed: list[ObjectId] = []
    with (
        S3Sender(settings.s3, settings.transfer) as sender,
        Records.open(settings.mongodb, endpoint=sender.endpoint) as records,
    ):
        runner = Runner(
            records,
            sender,
            Limits(7 * 1024 * 1024 * 1024, None, None),
            kind="console",
            policy=Policy.of(settings, [tmp_path]),
            completed=lambda upload: completed.append(upload.id),
        )
        runner.start()
        until(lambda: records.runners.live())
        yield completed
        runner.stop(10)


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    (tmp_path / "large").write_bytes(bytes(LARGE))
    (tmp_path / "small").write_bytes(b"12")
    return [str(tmp_path / "large"), str(tmp_path / "small")]


def test_a_runner_of_another_process_is_named_with_its_limits(
    command: Command, carried_out: list[ObjectId], files: list[str]
) -> None:
    answer = command("upload", *files, "--json")
    assert answer.code == 0, answer
    assert "Carried out by " in answer.err
    assert "(console), with its limits: at most 7.00 GiB/s. `--here`" in answer.err
    until(lambda: len(carried_out) == 2)


def test_here_means_in_this_process(
    command: Command, carried_out: list[ObjectId], files: list[str], records: Any
) -> None:
    answer = command("upload", *files, "--json", "--here")
    assert answer.code == 0, answer
    assert "Carried out by" not in answer.err
    assert carried_out == []
    assert {document["status"] for document in records.uploads.collection.find()} == {"completed"}


def test_here_and_detach_exclude_each_other(command: Command, files: list[str]) -> None:
    assert command("upload", *files, "--here", "--detach").code == 2


def test_leases_of_a_runner_that_has_gone_can_be_ended(records: Any) -> None:
    uploads = records.uploads
    (upload_id,) = uploads.add([new_upload(host=this_host())])
    later = datetime.now(UTC) + timedelta(minutes=1)
    lease = {"status": "uploading", "lease": {"runner": "gone:1", "expires_at": later}}
    uploads.collection.update_one({"_id": upload_id}, {"$set": lease})
    assert uploads.held_by_runner() == {"gone:1": (1, 1000)}
    assert uploads.expired(this_host()) == []
    assert uploads.end_leases("gone:1") == 1
    until(lambda: uploads.expired(this_host()) == [upload_id])
