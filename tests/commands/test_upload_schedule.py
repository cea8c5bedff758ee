"""`upload` that stops after so many files or failures: on the real servers."""

from __future__ import annotations

import signal
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from console.records.database import Records
from tests.commands.conftest import Command
from tests.commands.running import Running

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client


def test_it_stops_after_so_many_files(command: Command, folder: Path, s3: S3Client, bucket: str) -> None:
    answer = command("upload", str(folder), "--max-files", "2", "--between", "00:00-24:00")
    assert answer.code == 2  # hours whose ends are one are none
    answer = command("upload", str(folder), "--max-files", "2", "--bandwidth", "50 MiB")
    assert answer.code == 0, answer.err
    assert "Stopped by max_files after 2 files" in answer.err
    assert len(s3.list_objects_v2(Bucket=bucket)["Contents"]) == 2


def test_after_so_many_failures_what_is_left_is_paused(command: Command, tmp_path: Path, records: Records) -> None:
    top = tmp_path / "top"
    top.mkdir()
    for number in range(60):
        (top / f"{number:02}").write_text("x")
    answer = command("upload", str(top), "--to", "s3://no-such-bucket-here", "--max-failures", "3")
    assert answer.code == 1
    assert "3 uploads failed: nothing more is sent" in answer.err
    states = [document["status"] for document in records.uploads.collection.find({}, {"status": 1})]
    assert states.count("failed") >= 3
    assert set(states) <= {"failed", "paused"}


def test_outside_its_hours_nothing_is_recorded(environment: dict[str, str], folder: Path, records: Records) -> None:
    now = datetime.now().astimezone()
    hours = f"{now + timedelta(hours=2):%H:%M}-{now + timedelta(hours=4):%H:%M}"
    with Running("upload", str(folder), "--between", hours, environment=environment) as running:
        running.wait_for_error("Waiting: uploads run between")
        assert records.uploads.collection.count_documents({}) == 0
        running.signal(signal.SIGINT)
        assert running.end() == 130
    assert records.uploads.collection.count_documents({}) == 0


def test_a_dry_run_stops_where_the_upload_would(command: Command, folder: Path, s3: S3Client, bucket: str) -> None:
    answer = command("upload", str(folder), "--dry-run", "--max-files", "1")
    assert answer.code == 0
    assert "1 would be uploaded" in answer.out
    assert "Stopped by max_files after 1 file: more are left." in answer.err


def test_hours_are_not_lost_on_uploads_that_are_left_to_others(
    command: Command, folder: Path, records: Records
) -> None:
    answer = command("upload", str(folder), "--detach", "--between", "20:00-06:00", "--bandwidth", "1 MiB")
    assert answer.code == 2
    assert answer.error is not None
    assert "no --bandwidth with it" in answer.error.message
    assert command("upload", str(folder), "--detach", "--between", "20:00-06:00").code == 0
    for document in records.uploads.collection.find({}):
        assert document["hours"] == [{"start": 1200, "end": 1440}, {"start": 0, "end": 360}]


def test_after_so_many_failures_nothing_more_is_begun(command: Command, tmp_path: Path, records: Records) -> None:
    """Of hundreds of small files only those fail that were on their way by then."""
    (many := tmp_path / "many").mkdir()
    for number in range(300):
        (many / str(number)).write_text("content")
    answer = command("upload", str(many), "--to", "s3://no-such-bucket/x", "--max-failures", "3")
    assert answer.code == 1
    assert "3 uploads failed: nothing more is sent" in answer.err
    found = [document["status"] for document in records.uploads.collection.find({}, {"status": 1})]
    assert 3 <= found.count("failed") < 60
    assert found.count("paused") == len(found) - found.count("failed")
