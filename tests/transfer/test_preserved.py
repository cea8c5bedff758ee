"""Files as they were: what rclone reads of objects that we wrote."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from console.embedded.s3 import find_rclone
from console.s3.engines.engine import ObjectSettings
from console.transfer.job import seconds_text
from console.transfer.transport import Transport

from .conftest import Store, on_each_store
from .doubles import MIB, an_upload, sent

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

Rclone = Callable[..., str]
_OLD = 981_173_106_123_456_789


@pytest.fixture
def rclone_reads(store: Store, tmp_path: Path) -> Rclone:
    """Calls rclone on the store, as the remote `there:`."""

    def call(*arguments: str) -> str:
        environment = {
            **os.environ,
            "RCLONE_CONFIG": str(tmp_path / "rclone.conf"),
            "RCLONE_CONFIG_THERE_TYPE": "s3",
            "RCLONE_CONFIG_THERE_PROVIDER": "Other",
            "RCLONE_CONFIG_THERE_ENV_AUTH": "true",
            "RCLONE_CONFIG_THERE_ENDPOINT": store.endpoint,
            "TZ": "UTC",
        }
        done = subprocess.run(
            [find_rclone(), *arguments], env=environment, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout if arguments[0] == "lsl" else done.stderr

    return call


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [(_OLD, "981173106.123456789"), (1_500_000_000, "1.5"), (7_000_000_000, "7"), (-1_500_000_000, "-1.5"), (0, "0")],
)
def test_times_are_written_as_rclone_writes_them(nanoseconds: int, text: str) -> None:
    assert seconds_text(nanoseconds) == text


@on_each_store
def test_rclone_sees_equal_files(
    transport: Transport, bucket_there: str, tmp_path: Path, rclone_reads: Rclone, client: S3Client
) -> None:
    """Small ones, and those that are sent in parts: by time and by content."""
    top = tmp_path / "files"
    top.mkdir()
    preserve = ObjectSettings(preserve=("mtime", "mode", "owner", "md5"))
    for name, size in {"small.txt": 1000, "empty": 0, "large.bin": 11 * MIB}.items():
        path = top / name
        path.write_bytes(os.urandom(size))
        path.chmod(0o640)
        os.utime(path, ns=(_OLD, _OLD))
        sent(an_upload(path, bucket_there), transport, settings=preserve)
    metadata: Mapping[str, str] = client.head_object(Bucket=bucket_there, Key="large.bin")["Metadata"]
    told = {name.lower(): value for name, value in metadata.items()}
    assert told["mtime"] == "981173106.123456789"
    assert told["mode"] == "100640"
    assert (told["uid"], told["gid"]) == (str(os.getuid()), str(os.getgid()))
    listed = rclone_reads("lsl", f"there:{bucket_there}")
    assert {line.split()[-1]: " ".join(line.split()[1:3]) for line in listed.splitlines()} == dict.fromkeys(
        ("small.txt", "empty", "large.bin"), "2001-02-03 04:05:06.123456789"
    )
    checked = rclone_reads("check", str(top), f"there:{bucket_there}")
    assert "0 differences found" in checked
    assert "3 matching files" in checked
    assert "hashes could not be checked" not in checked
    copied = rclone_reads("copy", "-v", "--dry-run", str(top), f"there:{bucket_there}")
    assert "Skipped copy" not in copied
