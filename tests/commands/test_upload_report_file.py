"""`upload --report FILE`: what became of each file, for who reads it later."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from .conftest import Command


def told(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_each_file_has_its_line_and_the_last_one_is_the_summary(command: Command, folder: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.jsonl"
    missing = str(folder / "nothing")
    first = command("upload", str(folder), missing, "--report", str(report))
    assert first.code == 1
    assert stat.S_IMODE(report.stat().st_mode) == 0o600
    *lines, summary = told(report)
    assert sorted(line["event"] for line in lines) == ["completed", "completed", "completed", "refused"]
    assert {line["path"] for line in lines if line["event"] == "refused"} == {missing}
    assert all(line["checksum"] and line["destination"] for line in lines if line["event"] == "completed")
    assert (summary["event"], summary["files"], summary["completed"], summary["refused"]) == ("summary", 3, 3, 1)
    assert summary["text"] == first.out.splitlines()[-1]

    again = command("upload", str(folder), "--report", str(report), "--duplicates", "skip_identical")
    assert again.code == 0, again.err
    *lines, summary = told(report)
    assert [line["event"] for line in lines] == ["identical"] * 3
    assert summary["identical"] == 3


def test_what_failed_is_told_with_its_reason(command: Command, folder: Path, tmp_path: Path) -> None:
    answer = command("upload", str(folder), "--bucket", "no-such-bucket-here", "--report", str(tmp_path), "--json")
    assert answer.code == 1
    [report] = tmp_path.glob("*.report.jsonl")
    *lines, summary = told(report)
    assert [(line["event"], line["code"]) for line in lines] == [("failed", "NoSuchBucket")] * 3
    assert summary["job"] == report.name.partition(".")[0]
    assert summary["text"].endswith("3 failed: NoSuchBucket")


def test_a_full_disk_is_said_and_the_uploads_go_on(command: Command, folder: Path) -> None:
    answer = command("upload", str(folder), "--report", "/dev/full")
    assert answer.code == 1
    assert answer.err.count("The report /dev/full ends here, and uploads go on: No space left on device") == 1
    assert answer.out.splitlines()[-1].startswith("3 files, ")


@pytest.mark.parametrize("more", [("--dry-run",), ("--detach",)])
def test_without_an_end_there_is_no_report(command: Command, folder: Path, tmp_path: Path, more: tuple[str]) -> None:
    assert command("upload", str(folder), "--report", str(tmp_path / "report"), *more).code == 2
    assert command("upload", str(folder), "--report", str(tmp_path / "no" / "report")).code == 2
