"""What users of other uploaders reported, tried with the command as they would. docs/public-reports.md has the list."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from console.records.database import Records
from tests.faults.breaking import Answer
from tests.faults.proxy import FaultProxy

from .conftest import Command

NAMES = {
    "peak/s5cmd#375": ["file_with$special@char.txt", "file with space.txt"],
    "aws/aws-cli#5050": ["KM_DC_SAMP\rIKM\x08\x08.jpg"],
    "peak/s5cmd#728": ["file\u3000name.txt", "file\u00a0name.txt", "file\x7fname.txt"],
    "peak/s5cmd#521": ["weird-filename\u200e.html"],
    "peak/s5cmd#691": ["Screenshot-2023-10-17-at-10.47.47\u202fPM-980x685.png"],
    "bloomreach/s4cmd#74": ["SPY2L7~E", "Foo – Bar"],
    "houtianze/bypy#346": ["a🏆 .jpg", "a👍.jpg", "a_.jpg"],
    "s3tools/s3cmd#554": ["folder foo bar/x", "folder+foo+bar/x"],
    "iterate-ch/cyberduck#15264": ["cat+mustache.gif"],
    "bji/libs3#35": ["1+2", "1 2"],
    "minio/mc#1852": ["f"],
}


@pytest.mark.parametrize("report", NAMES)
def test_files_of_these_names_arrive_are_verified_and_deleted(
    command: Command, records: Records, tmp_path: Path, s3: Any, bucket: str, report: str
) -> None:
    for name in NAMES[report]:
        path = tmp_path / "sent" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    assert command("upload", str(tmp_path / "sent")).code == 0
    documents = list(records.uploads.find({}))
    bodies = [s3.get_object(Bucket=bucket, Key=each["key"])["Body"].read().decode() for each in documents]
    assert sorted(bodies) == sorted(NAMES[report])
    assert command("verify", "--all").code == 0
    assert command("delete", "--all", "--yes").code == 0
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)


@pytest.mark.parametrize(
    "odd",
    ["a broken link", "a link in a circle", "a file that may not be read", "a pipe"],
)
def test_one_file_that_cannot_be_sent_keeps_no_other_back(
    command: Command, records: Records, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, odd: str
) -> None:
    """aws/aws-cli#487, #781, #3060, #3150 (broken links), #736, #856 (unreadable files)."""
    sent = tmp_path / "sent"
    sent.mkdir()
    (sent / "a-good").write_text("good")
    (sent / "z-good").write_text("good")
    match odd:
        case "a broken link":
            (sent / "m-odd").symlink_to("../nowhere")
        case "a link in a circle":
            (sent / "m-odd").symlink_to("m-odd")
        case "a pipe":
            os.mkfifo(sent / "m-odd")
        case _:
            if os.geteuid() == 0:
                pytest.skip("root may read everything")
            (sent / "m-odd").touch(0)
    answer = command("upload", str(sent), "--json")
    assert {each["filename"] for each in records.uploads.find({"status": "completed"})} == {"a-good", "z-good"}
    told = [line for line in map(json.loads, answer.out.splitlines()) if line["path"].endswith("m-odd")]
    assert answer.code == 1, answer
    assert told[0]["event"] == "refused"
    assert told[0]["message"]


@pytest.mark.parametrize(
    ("report", "endpoint", "words"),
    [
        ("restic/restic#315", "192.168.122.62:9000", "http"),
        ("restic/restic#2971", "https://{bucket}.s3.fr-par.scw.cloud", "holds the bucket.*https://s3.fr-par.scw.cloud"),
        (
            "restic/restic#5067",
            "https://s3.fr-par.scw.cloud/{bucket}/",
            "holds the bucket.*https://s3.fr-par.scw.cloud",
        ),
    ],
)
def test_an_endpoint_of_that_form_is_refused_with_the_right_one(
    command: Command, tmp_path: Path, bucket: str, report: str, endpoint: str, words: str
) -> None:
    (tmp_path / "file").write_text("x")
    answer = command("upload", str(tmp_path / "file"), "--s3-endpoint", endpoint.format(bucket=bucket))
    assert answer.code == 2
    assert answer.error is not None
    assert re.search(words, f"{answer.error.message} {answer.error.advice}")


def test_missing_credentials_are_said_to_be_missing(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """restic/restic#1671: "unable to open config file"."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    (tmp_path / "file").write_text("x")
    answer = command("upload", str(tmp_path / "file"))
    assert answer.code == 2
    assert answer.error is not None
    assert "no AWS credentials" in answer.error.message


def test_a_bucket_in_another_region_is_said_to_be_there(
    command: Command, environment: dict[str, str], tmp_path: Path
) -> None:
    """restic/restic#363."""
    with FaultProxy(environment["UPLOAD_CONSOLE_S3__ENDPOINT_URL"]) as proxy:
        environment["UPLOAD_CONSOLE_S3__ENDPOINT_URL"] = proxy.url
        words = "The bucket you are attempting to access must be addressed using the specified endpoint."
        proxy.plan("*", Answer(301, "PermanentRedirect", words), times=10_000)
        (tmp_path / "file").write_text("x")
        answer = command("upload", str(tmp_path / "file"), "--json")
        assert answer.code == 1
        assert "PermanentRedirect" in answer.out
        assert proxy.count("HeadBucket") <= 10
        doctor = command("doctor")
        assert doctor.code == 3
        assert "s3.region" in doctor.out


@pytest.mark.parametrize(
    "text",
    [
        '{"_data": "82F54892F8B8B8D4C53CCAEF364BB84E"}',
        '{"_data": "not hexadecimal"}',
        '{"_data": 5}',
        '{"token": {"_data": "82"}}',
    ],
)
def test_a_resume_token_that_is_none_is_told_and_named(
    command: Command, records: Records, tmp_path: Path, text: str
) -> None:
    """PeerDB-io/peerdb#4666, votem/mongo-stream#25, debezium/debezium#4506: errors 9, 40585, 40615 without an end."""
    file = tmp_path / "place"
    file.write_text(text)
    answer = command("events", "--json", "--resume-file", str(file), "--limit", "1")
    assert answer.error is not None
    assert answer.code in (1, 2)
    assert str(file) in answer.error.message
    assert answer.error.advice
