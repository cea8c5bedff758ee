"""Trees that are there already, and objects that are not here: on the real servers, through a proxy that counts."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from console.records.database import Records
from tests.commands.conftest import Command
from tests.faults.proxy import FaultProxy

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

MIB = 1024 * 1024


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Forty small files in folders, and one that is sent in parts."""
    top = tmp_path / "site"
    for number in range(40):
        path = top / f"{number % 4}" / f"{number:02}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"file {number}")
    (top / "large.bin").write_bytes(os.urandom(20 * MIB))
    return top


def _keys(s3: S3Client, bucket: str) -> set[str]:
    return {found["Key"] for found in s3.list_objects_v2(Bucket=bucket).get("Contents", [])}


def _events(out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.splitlines()]


def test_what_is_identical_costs_no_request_and_no_record(
    command: Command, environment: dict[str, str], tree: Path, records: Records, s3: S3Client, bucket: str
) -> None:
    assert command("upload", str(tree)).code == 0
    records.uploads.collection.delete_many({})
    (tree / "2" / "02.txt").write_text("FILE 2")  # of the same size
    (tree / "3" / "new.txt").write_text("new")
    with FaultProxy(environment["UPLOAD_CONSOLE_S3__ENDPOINT_URL"]) as proxy:
        environment["UPLOAD_CONSOLE_S3__ENDPOINT_URL"] = proxy.url
        answer = command("upload", str(tree), "--duplicates", "skip_identical", "--json")
        operations = [seen.operation for seen in proxy.requests]
    assert answer.code == 0, answer.err
    events = _events(answer.out)
    assert sum(event["event"] == "identical" for event in events) == 40
    completed = {Path(event["path"]).name for event in events if event["event"] == "completed"}
    assert completed == {"02.txt", "new.txt"}
    assert operations.count("ListObjects") + operations.count("ListObjectsV2") <= 3
    assert operations.count("HeadObject") <= 2
    assert records.uploads.collection.count_documents({}) == 2
    assert s3.get_object(Bucket=bucket, Key="site/2/02.txt")["Body"].read() == b"FILE 2"


def test_objects_that_are_not_here_are_deleted_where_that_is_asked_for_and_agreed(
    command: Command, tree: Path, s3: S3Client, bucket: str
) -> None:
    assert command("upload", str(tree)).code == 0
    for key in ("site/gone.txt", "site/1/gone.log", "sites/neighbour", "other"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    kept = _keys(s3, bucket)
    shown = command(
        "upload", str(tree), "--delete", "--exclude", "*.log", "--dry-run", "--duplicates", "skip_identical"
    )
    assert shown.code == 0, shown.err
    assert f"would delete s3://{bucket}/site/gone.txt" in shown.out
    assert "gone.log" not in shown.out
    assert "neighbour" not in shown.out
    assert _keys(s3, bucket) == kept
    unasked = command("upload", str(tree), "--delete", "--exclude", "*.log", "--duplicates", "skip_identical")
    assert unasked.code == 1
    assert "There is no terminal to ask on: add --yes" in unasked.err
    assert _keys(s3, bucket) == kept
    answer = command("upload", str(tree), "--delete", "--exclude", "*.log", "--duplicates", "skip_identical", "--yes")
    assert answer.code == 0, answer.err
    assert _keys(s3, bucket) == kept - {"site/gone.txt"}


def test_a_large_share_is_not_deleted(command: Command, tree: Path, s3: S3Client, bucket: str) -> None:
    assert command("upload", str(tree)).code == 0
    for path in list((tree / "1").iterdir()) + list((tree / "2").iterdir()):
        path.unlink()
    options = ("--delete", "--yes", "--duplicates", "skip_identical")
    answer = command("upload", str(tree), *options)
    assert answer.code == 1
    assert "20 objects" in answer.err
    assert "are more than 25 %" in answer.err
    assert len(_keys(s3, bucket)) == 41
    assert command("upload", str(tree), *options, "--delete-at-most-percent", "60").code == 0
    assert len(_keys(s3, bucket)) == 21


def test_nothing_is_deleted_where_a_file_was_not_uploaded(
    command: Command, tree: Path, s3: S3Client, bucket: str
) -> None:
    s3.put_object(Bucket=bucket, Key="site/gone.txt", Body=b"x")
    os.mkfifo(tree / "pipe")
    answer = command("upload", str(tree), "--delete", "--yes")
    assert answer.code == 1
    assert "Nothing is deleted, as not all was uploaded." in answer.err
    assert "site/gone.txt" in _keys(s3, bucket)


@pytest.mark.parametrize(
    "more",
    [
        ("--newer", "1d"),
        ("--max-files", "3"),
        ("--detach",),
        ("--duplicates", "new_name"),
        ("--files-from", "-"),
    ],
)
def test_where_it_is_not_clear_what_would_be_deleted_nothing_happens(
    command: Command, tree: Path, s3: S3Client, bucket: str, more: tuple[str, ...]
) -> None:
    answer = command("upload", str(tree), "--delete", "--yes", *more)
    assert answer.code == 2
    assert command("upload", str(tree / "large.bin"), "--delete", "--yes").code == 2
    assert not _keys(s3, bucket)
