"""`doctor`: what is well is said so, and what is wrong by its own name."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pymongo import MongoClient

from console.commands import doctor
from tests.faults.breaking import Answer
from tests.faults.proxy import FaultProxy

from .conftest import Command

if TYPE_CHECKING:
    from console.embedded.services import EmbeddedServices

Findings = dict[str, dict[str, Any]]


@pytest.fixture
def proxy(services: EmbeddedServices, environment: dict[str, str]) -> Iterator[FaultProxy]:
    """What stands between `doctor` and S3."""
    with FaultProxy(services.s3_endpoint) as proxy:
        environment["UPLOAD_CONSOLE_S3__ENDPOINT_URL"] = proxy.url
        yield proxy


@pytest.fixture
def findings(command: Command, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Calls it with some arguments; the worst finding of each check."""
    monkeypatch.setattr(doctor, "_EVENT_SECONDS", 60)

    def call(*arguments: str) -> Findings:
        answer = command("doctor", "--json", *arguments)
        found: Findings = {}
        for finding in map(json.loads, answer.out.splitlines()):
            if finding["grade"] >= found.get(finding["check"], finding)["grade"]:
                found[finding["check"]] = finding
        assert answer.code == (3 if any(finding["grade"] == 2 for finding in found.values()) else 0), answer
        return found

    return call


def test_doctor_finds_all_well(findings: Any, s3: Any, bucket: str) -> None:
    found = findings()
    for check in (
        *("configuration", "MongoDB", "collection", "change stream"),
        *("bucket", "clock", "multipart", "checksums", "rights"),
    ):
        assert found[check]["grade"] == 0, found[check]
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)  # what it made is gone


def test_doctor_names_what_is_away(command: Command, environment: dict[str, str]) -> None:
    environment["UPLOAD_CONSOLE_MONGODB__URI"] = "mongodb://person:secret@127.0.0.1:1/"
    environment["UPLOAD_CONSOLE_MONGODB__TIMEOUT_SECONDS"] = "0.2"
    environment["UPLOAD_CONSOLE_S3__BUCKET"] = "no-such-bucket"
    answer = command("doctor")
    assert answer.code == 3
    assert "127.0.0.1:1" in answer.out
    assert "secret" not in answer.out
    assert "✗ bucket" in answer.out


@pytest.mark.parametrize(
    ("variable", "words"),
    [
        ("AWS_SECRET_ACCESS_KEY", "the secret key is wrong"),
        ("AWS_ACCESS_KEY_ID", "S3 does not know the access key"),
    ],
)
def test_wrong_credentials_are_no_missing_rights(
    findings: Any, monkeypatch: pytest.MonkeyPatch, variable: str, words: str
) -> None:
    monkeypatch.setenv(variable, "WRONG")
    found = findings()
    assert found["credentials"]["grade"] == 2
    assert words in found["credentials"]["words"]
    assert not {"bucket", "multipart", "rights"} & found.keys()


def test_expired_credentials_are_said_to_be(findings: Any, proxy: FaultProxy) -> None:
    proxy.plan("*", Answer(400, "ExpiredToken", "The provided token has expired."), times=100)
    assert "the credentials have expired" in findings()["credentials"]["words"]


@pytest.mark.parametrize("code", ["RequestTimeTooSkewed", "AccessDenied"])
def test_a_wrong_clock_is_said_to_be_wrong(findings: Any, proxy: FaultProxy, code: str) -> None:
    theirs = format_datetime(datetime.now(UTC) + timedelta(minutes=20), usegmt=True)
    proxy.plan("*", Answer(403, code, date=theirs), times=100)
    found = findings()
    assert found["clock"]["grade"] == 2
    assert "differ by 1," in found["clock"]["words"]
    assert "NTP" in found["clock"]["mend"]
    assert not {"bucket", "credentials", "rights"} & found.keys()


@pytest.mark.parametrize(
    ("operation", "action", "grade"),
    [
        ("ListMultipartUploads", "s3:ListBucketMultipartUploads", 1),
        ("ListObjects", "s3:ListBucket", 1),
        ("DeleteObject", "s3:DeleteObject", 1),
        ("GetObject", "s3:GetObject", 1),
        ("PutObject", "s3:PutObject", 2),
    ],
)
def test_each_missing_right_is_named(
    findings: Any, proxy: FaultProxy, s3: Any, bucket: str, operation: str, action: str, grade: int
) -> None:
    proxy.plan(operation, Answer(403, "AccessDenied"), times=100)
    found = findings()
    assert found["rights"]["grade"] == grade
    assert f"{action} on {bucket} is refused" in found["rights"]["words"]
    assert action in found["rights"]["mend"]
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)


@pytest.mark.parametrize("operation", ["ListParts", "AbortMultipartUpload"])
@pytest.mark.parametrize("code", ["AccessDenied", "NotImplemented"])
def test_what_an_upload_can_do_without_is_not_called_wrong(
    findings: Any, proxy: FaultProxy, operation: str, code: str
) -> None:
    status = 403 if code == "AccessDenied" else 501
    proxy.plan(operation, Answer(status, code, forwarded=operation == "AbortMultipartUpload"), times=100)
    found = findings()
    assert found["multipart"]["grade"] == 1
    assert f"{operation} is refused ({code})" in found["multipart"]["words"]
    assert found["multipart"]["mend"]


@pytest.mark.parametrize(("duplicates", "grade"), [("overwrite", 0), ("fail", 1)])
def test_what_a_server_guarantees_of_conditional_writes_is_said(
    findings: Any, environment: dict[str, str], s3: Any, bucket: str, duplicates: str, grade: int
) -> None:
    environment["UPLOAD_CONSOLE_TRANSFER__DUPLICATES"] = duplicates
    found = findings()
    assert found["conditions"]["grade"] == grade
    assert "PutObject ignores it, CompleteMultipartUpload ignores it" in found["conditions"]["words"]
    assert "another program" in found["conditions"]["words"]
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)


@pytest.mark.parametrize(
    ("wire_version", "version", "mend"),
    [
        (9, "4.4.2", "Upgrade MongoDB to 5.0, then to 6.0, and set featureCompatibilityVersion after each step"),
        (13, "5.0.31", "Upgrade MongoDB to 6.0, and set featureCompatibilityVersion"),
        (13, "6.0.5", "db.adminCommand({setFeatureCompatibilityVersion: '6.0'})"),
        (13, "8.0.4", "db.adminCommand({setFeatureCompatibilityVersion: '8.0', confirm: true})"),
        (13, "unknown", "Upgrade MongoDB to 5.0, then to 6.0"),
    ],
)
def test_what_an_older_mongodb_needs_can_be_done(
    findings: Any, monkeypatch: pytest.MonkeyPatch, wire_version: int, version: str, mend: str
) -> None:
    monkeypatch.setattr(doctor, "check", lambda _: wire_version)
    monkeypatch.setattr(MongoClient, "server_info", lambda *_: {"version": version})
    found = findings()
    assert found["images"]["grade"] == 1
    assert mend in found["images"]["mend"]


def test_reading_is_needed_where_duplicates_are_compared(
    findings: Any, proxy: FaultProxy, environment: dict[str, str]
) -> None:
    environment["UPLOAD_CONSOLE_TRANSFER__DUPLICATES"] = "skip_identical"
    proxy.plan("GetObject", Answer(403, "AccessDenied"), times=100)
    assert findings()["rights"]["grade"] == 2


def test_who_may_not_list_may_still_upload(findings: Any, proxy: FaultProxy) -> None:
    for operation in ("HeadBucket", "ListObjects"):
        proxy.plan(operation, Answer(403, "AccessDenied"), times=100)
    found = findings()
    assert found["multipart"]["grade"] == 0
    assert "s3:ListBucket on" in found["rights"]["words"]


def test_the_bucket_of_each_watched_folder_is_tried(findings: Any, bucket: str, tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text(
        f'[[watch]]\nfolder = "{tmp_path}"\nto = "s3://no-such-bucket/x"\n[[watch]]\nfolder = "{tmp_path}/none"\n'
    )
    found = findings("--config", str(config))
    assert str(config) in found["configuration"]["words"]
    assert found["bucket"]["grade"] == 2
    assert found["multipart"]["grade"] == 0
    assert f"{tmp_path}/none is not there" in found["watch"]["words"]


def test_what_another_command_would_refuse_is_found(findings: Any, environment: dict[str, str]) -> None:
    environment["UPLOAD_CONSOLE_UI__THEME"] = "mauve"
    environment["UPLOAD_CONSOLE_TRANSFER__KEY_TEMPLATE"] = "{nonsense}"
    found = findings()
    assert "mauve" in found["theme"]["words"]
    assert "nonsense" in found["key template"]["words"]


def test_a_user_who_may_only_read_is_told_what_that_means(
    findings: Any, services: EmbeddedServices, database: Any, environment: dict[str, str]
) -> None:
    role = {"role": "read", "db": database.name}
    database.client.admin.command("createUser", "only-reads", pwd="p", roles=[role])
    password = services.replica_set.password
    environment["UPLOAD_CONSOLE_MONGODB__URI"] = services.mongodb_uri.replace(f"console:{password}", "only-reads:p")
    try:
        found = findings()
    finally:
        database.client.admin.command("dropUser", "only-reads")
    assert found["rights"]["grade"] == 2
    assert f"may only read {database.name}.uploads" in found["rights"]["words"]
    assert "readWrite" in found["rights"]["mend"]
