"""Manifests and checksums of a job, on the real servers, checked by what did not write them."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from bson import ObjectId

from console.commands.upload_modes.manifest import Proof, read_manifest, sha256sum_line
from console.records.database import Records
from tests.commands.conftest import Command

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client


@pytest.fixture
def manifest(command: Command, folder: Path, tmp_path: Path) -> Path:
    """Of an upload of three files."""
    (folder / "back\\slash").write_text("odd")
    (folder / os.fsdecode(b"no\xffutf8")).write_text("odder")
    path = tmp_path / "job.jsonl"
    answer = command("upload", str(folder), "--manifest", str(path), "--sha256sums", str(tmp_path / "sums"))
    assert answer.code == 0, answer.err
    return path


def test_a_manifest_says_what_was_stored(manifest: Path, command: Command, bucket: str) -> None:
    head, *entries, foot = [json.loads(line) for line in manifest.read_text().splitlines()]
    assert (head["objects"], head["not_completed"]) == (5, 0)
    assert len(entries) == 5
    assert {entry["key"] for entry in entries} >= {"outgoing/empty", "outgoing/inner/letter.txt"}
    assert all(entry["checksum"]["confirmed"] in ("etag", "checksum") for entry in entries)
    assert set(foot) == {"sha256", "seal"}
    answer = command("verify", "--manifest", str(manifest))
    assert answer.code == 0, answer.out
    assert answer.out.count("same ") == 5
    assert f"s3://{bucket}/outgoing/empty" in answer.out


def test_an_object_that_was_replaced_or_deleted_is_found(
    manifest: Path, command: Command, s3: S3Client, bucket: str
) -> None:
    s3.put_object(Bucket=bucket, Key="outgoing/inner/letter.txt", Body=b"dear S2")
    s3.delete_object(Bucket=bucket, Key="outgoing/empty")
    answer = command("verify", "--manifest", str(manifest), "--json")
    assert answer.code == 1
    told = {line["destination"].rpartition("/")[2]: line for line in map(json.loads, answer.out.splitlines())}
    assert told["letter.txt"]["same"] is False
    assert "ETag" in told["letter.txt"]["words"]
    assert told["empty"]["words"] == "it no longer exists"
    assert sum(line["same"] for line in told.values()) == 3


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text.replace('"size": 7', '"size": 8', 1), "was changed since it was written"),
        (lambda text: text.rsplit("{", 1)[0], "is no manifest, or not whole"),
        (lambda text: "\n".join(text.splitlines()[:1] + text.splitlines()[2:]) + "\n", "was changed since"),
        (lambda _: "hello", "is no manifest"),
    ],
)
def test_a_manifest_that_was_changed_proves_nothing(
    manifest: Path, command: Command, change: object, said: str
) -> None:
    manifest.write_text(change(manifest.read_text()))  # type: ignore[operator]
    answer = command("verify", "--manifest", str(manifest))
    assert answer.code == 2
    assert answer.error is not None
    assert said in answer.error.message


def test_one_whose_digest_was_made_to_fit_is_not_sealed(manifest: Path, command: Command) -> None:
    import hashlib

    *lines, last = manifest.read_text().splitlines(keepends=True)
    lines[1] = lines[1].replace("outgoing", "elsewhere")
    foot = {**json.loads(last), "sha256": hashlib.sha256("".join(lines).encode()).hexdigest()}
    manifest.write_text("".join(lines) + json.dumps(foot) + "\n")
    answer = command("verify", "--manifest", str(manifest))
    assert answer.code == 2
    assert answer.error is not None
    assert "is not sealed by the key of this user" in answer.error.message


def test_what_others_wrote_into_the_records_of_the_job_is_not_vouched_for(
    manifest: Path, records: Records, capsys: pytest.CaptureFixture[str]
) -> None:
    head, *before, _ = [json.loads(line) for line in manifest.read_text().splitlines()]
    job = ObjectId(head["job"])
    uploads = records.uploads.collection
    some = uploads.find_one({"batch": job})
    assert some is not None
    uploads.insert_one({**some, "_id": ObjectId(), "key": "outgoing/theirs"})
    uploads.update_one({"_id": some["_id"]}, {"$set": {"etag": "0" * 32, "version_id": "theirs"}})
    again, sums = manifest.with_name("again.jsonl"), manifest.with_name("again")
    assert Proof(job, again, sums).write(records.uploads, head["endpoint"]) == 1
    assert "2 records of the job say completed without the seal" in capsys.readouterr().err
    head, *entries, _ = [json.loads(line) for line in again.read_text().splitlines()]
    assert (head["objects"], head["not_completed"]) == (4, 2)
    assert entries == [entry for entry in before if entry["id"] != str(some["_id"])]
    assert read_manifest(again, records.uploads.seals)
    assert Proof(job, None, sums).write(records.uploads, head["endpoint"]) == 0
    assert len(sums.read_bytes().splitlines()) == 4


def test_sha256sum_finds_the_checksums_right(manifest: Path, tmp_path: Path) -> None:
    checked = subprocess.run(["sha256sum", "--check", tmp_path / "sums"], capture_output=True, check=False)
    assert checked.returncode == 0, checked.stderr
    assert checked.stdout.count(b"OK") == 5


def test_names_are_escaped_as_coreutils_does() -> None:
    assert sha256sum_line("ab", "/a b") == "ab  /a b\n"
    assert sha256sum_line("ab", "/a\\b\nc") == "\\ab  /a\\\\b\\nc\n"


def test_a_place_where_nothing_can_be_written_is_said_before_anything_is_sent(
    command: Command, folder: Path, s3: S3Client, bucket: str
) -> None:
    answer = command("upload", str(folder), "--manifest", "/proc/none/here")
    assert answer.code == 2
    assert not s3.list_objects_v2(Bucket=bucket).get("Contents")


def test_what_was_there_already_is_proven_too(
    manifest: Path, folder: Path, command: Command, tmp_path: Path, bucket: str, s3: S3Client
) -> None:
    (folder / "new").write_text("new")
    flags = ("--manifest", str(manifest), "--sha256sums", str(tmp_path / "sums"), "--duplicates", "skip_identical")
    answer = command("upload", str(folder), *flags)
    assert answer.code == 0, answer.err
    head, *entries, _ = [json.loads(line) for line in manifest.read_text().splitlines()]
    assert head["objects"] == 6
    assert sorted(entry["is_identical"] for entry in entries) == [False, True, True, True, True, True]
    assert command("verify", "--manifest", str(manifest)).code == 0
    checked = subprocess.run(["sha256sum", "--check", tmp_path / "sums"], capture_output=True, check=False)
    assert (checked.returncode, checked.stdout.count(b"OK")) == (0, 6)
    s3.put_object(Bucket=bucket, Key="outgoing/inner/letter.txt", Body=b"dear S2")
    assert command("verify", "--manifest", str(manifest)).code == 1


def test_a_manifest_can_be_written_later_of_what_a_watch_or_anybody_sent(
    environment: dict[str, str], command: Command, folder: Path, tmp_path: Path
) -> None:
    assert command("watch", str(folder), "--once").code in (0, 1)  # its hostile name is refused on some systems
    path = tmp_path / "night.jsonl"
    answer = command("manifest", str(path), "--match", '{"source": "watch"}')
    assert answer.code == 0, answer.err
    number = len(path.read_text().splitlines()) - 2
    assert number >= 2
    assert answer.out == f"{path}: {number} objects, sealed by this user.\n"
    checked = command("verify", "--manifest", str(path))
    assert checked.code == 0, checked.out
    assert f"{number} objects, sealed by this user." in checked.out
    assert command("manifest", str(path)).code == 2  # which, it does not say
    assert command("manifest", "/proc/none/here", "--all").code == 2
