"""`upload -`: standard input as an object, on the real servers, through a real pipe."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from console.models import UploadStatus
from console.records.database import Records
from console.transfer.sources.pipe import part_length
from tests.commands.running import PATIENCE

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

MIB = 1024 * 1024


def _start(environment: dict[str, str], *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "console", "upload", "-", "--json", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **environment},
    )


def _upload(environment: dict[str, str], content: bytes, *arguments: str) -> tuple[int, list[dict[str, Any]], str]:
    with _start(environment, *arguments) as running:
        out, err = running.communicate(content, PATIENCE)
    return running.returncode, [json.loads(line) for line in out.splitlines()], err.decode()


def _document(records: Records) -> dict[str, Any]:
    found = records.uploads.collection.find_one({})
    assert found is not None
    return found


@pytest.mark.parametrize("size", [0, 5, 8 * MIB, 8 * MIB + 1, 30 * MIB + 7])
def test_what_comes_from_a_pipe_is_an_object_with_a_record(
    environment: dict[str, str], records: Records, s3: S3Client, bucket: str, size: int
) -> None:
    content = os.urandom(size)
    code, lines, err = _upload(environment, content, "--to", f"s3://{bucket}/dumps", "--name", "night.sql.gz")
    assert code == 0, err
    assert s3.get_object(Bucket=bucket, Key="dumps/night.sql.gz")["Body"].read() == content
    document = _document(records)
    assert (document["status"], document["size"], document["percentage"]) == ("completed", size, 100.0)
    assert document["content_type"] == "application/gzip"
    assert document["checksum"]["confirmed"] in ("etag", "checksum")
    if size <= 8 * MIB:
        assert document["etag"] == hashlib.md5(content, usedforsecurity=False).hexdigest()
    assert lines[-1]["event"] == "completed"
    assert lines[-1]["destination"] == f"s3://{bucket}/dumps/night.sql.gz"


def test_without_a_name_the_destination_is_the_whole_key(
    environment: dict[str, str], s3: S3Client, bucket: str
) -> None:
    assert _upload(environment, b"zip", "--to", f"s3://{bucket}/a/b.txt", "--compress", "gzip")[0] == 0
    assert gzip.decompress(s3.get_object(Bucket=bucket, Key="a/b.txt.gz")["Body"].read()) == b"zip"
    assert _upload(environment, b"one", "--to", f"s3://{bucket}/a/b.txt")[0] == 0
    assert s3.get_object(Bucket=bucket, Key="a/b.txt")["Body"].read() == b"one"
    code, lines, _ = _upload(environment, b"two", "--to", f"s3://{bucket}/a/b.txt", "--duplicates", "fail")
    assert code == 1
    assert lines[-1]["code"] == "ObjectExists"
    assert "cannot be resumed" in lines[-1]["message"]
    assert _upload(environment, b"two", "--to", f"s3://{bucket}/a/b.txt", "--duplicates", "new_name")[0] == 0
    assert s3.get_object(Bucket=bucket, Key="a/b-2.txt")["Body"].read() == b"two"
    assert s3.get_object(Bucket=bucket, Key="a/b.txt")["Body"].read() == b"one"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--duplicates", "skip_identical"), "a pipe can be read only once"),
        (("--dry-run",), "standard input goes alone"),
        (("README.md",), "standard input goes alone"),
        ((), "give the object a name"),
        (("--to", "s3://bucket/folder/"), "give the object a name"),
        (("--name", "x", "--delete"), "standard input goes alone"),
        (("--name", "x", "--between", "20:00-06:00", "--newer", "2d"), "--between, --newer cannot be done with a pipe"),
        (("--name", "x", "--sha256sums", "sums"), "--sha256sums cannot be done with a pipe"),
    ],
)
def test_what_a_pipe_cannot_do_is_said(environment: dict[str, str], arguments: tuple[str, ...], said: str) -> None:
    code, _, err = _upload(environment, b"x", *arguments)
    assert code == 2
    assert said in err


def test_one_that_is_interrupted_has_failed_and_leaves_nothing_behind(
    environment: dict[str, str], records: Records, s3: S3Client, bucket: str
) -> None:
    with _start(environment, "--name", "endless") as running:
        assert running.stdin is not None
        running.stdin.write(os.urandom(20 * MIB))
        running.stdin.flush()
        deadline = time.monotonic() + PATIENCE
        while not (found := records.uploads.collection.find_one({})) or not found["multipart"]:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        running.send_signal(signal.SIGINT)
        _, err = running.communicate(timeout=PATIENCE)
    assert running.returncode == 130
    assert "cannot be resumed: run the command again" in err.decode()
    assert "To go on" not in err.decode()
    document = _document(records)
    assert document["status"] == UploadStatus.FAILED.value
    assert document["error"]["code"] == "PipeEnded"
    assert document["multipart"] is None
    assert not s3.list_objects_v2(Bucket=bucket).get("Contents")


def test_a_standard_input_that_is_closed_is_no_empty_object(
    environment: dict[str, str], s3: S3Client, bucket: str
) -> None:
    command = f"{sys.executable} -m console upload - --name nothing"
    whole = {**os.environ, **environment}
    ended = subprocess.run(["sh", "-c", f"{command} <&-"], env=whole, capture_output=True, check=False)
    assert ended.returncode == 2
    assert b"standard input is closed" in ended.stderr
    assert not s3.list_objects_v2(Bucket=bucket).get("Contents")
    subprocess.run(["sh", "-c", f"{command} </dev/null"], env=whole, capture_output=True, check=True)
    assert s3.head_object(Bucket=bucket, Key="nothing")["ContentLength"] == 0


def test_headers_what_is_accepted_and_reports_hold_for_a_pipe_too(
    environment: dict[str, str], records: Records, s3: S3Client, bucket: str, tmp_path: Path
) -> None:
    report = tmp_path / "report"
    flags = ("--header", "*.html Cache-Control: no-cache", "--header", "Content-Type: text/odd", "--preserve", "mtime")
    assert _upload(environment, b"<html>", "--name", "page.html", *flags)[0] == 0
    found = s3.head_object(Bucket=bucket, Key="page.html")
    assert (found["CacheControl"], found["ContentType"]) == ("no-cache", "text/odd")
    begun = _document(records)["mtime_ns"] / 1e9  # rclone tells what is in the metadata, in whole seconds
    assert abs(found["LastModified"].timestamp() - begun) < 1
    code, lines, _ = _upload(environment, b"x", "--name", "a.txt", "--extensions", ".pdf", "--report", str(report))
    assert (code, lines[-1]["event"]) == (1, "refused")
    assert [json.loads(line)["event"] for line in report.read_text().splitlines()] == ["refused", "summary"]
    code, lines, _ = _upload(environment, b"%PDF-1.7\n", "--name", "b.pdf", "--content-types", "image/*")
    assert (code, lines[-1]["code"]) == (1, "NotAccepted")
    assert "application/pdf by content" in lines[-1]["message"]
    code, lines, _ = _upload(environment, os.urandom(20 * MIB), "--name", "c.bin", "--max-size", "10 MiB")
    assert (code, lines[-1]["code"]) == (1, "NotAccepted")
    assert [each["Key"] for each in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["page.html"]


def test_parts_grow_so_that_ten_thousand_hold_the_largest_object() -> None:
    assert part_length(1, None) == part_length(1000, None) == 8 * MIB
    assert part_length(1001, None) == 16 * MIB
    assert sum(part_length(number, None) for number in range(1, 10_001)) > 5 * 1024**4
    assert part_length(9_000, 64 * MIB) == 64 * MIB
