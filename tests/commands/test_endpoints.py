"""Two S3 services with a bucket of the same name on one database: what is one's is never touched at the other."""

from __future__ import annotations

import json
import os
import pwd
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config

from console.embedded.lifetime import ServiceFolder
from console.embedded.s3 import S3Server
from console.models import Multipart, Upload
from console.records.identity import _actor, this_host
from console.records.runners import Limits
from console.records.seals import Seals
from console.runner.runner import Runner
from console.settings import load
from console.transfer.sender import S3Sender
from tests.faults.world import wait_for

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from console.embedded.services import EmbeddedServices
    from console.records.database import Records
    from tests.commands.conftest import Answer, Command

There = Callable[..., "Answer"]


@pytest.fixture(scope="module")
def other_server(services: EmbeddedServices) -> Iterator[S3Server]:
    with (
        ServiceFolder() as folder,
        S3Server(folder, bucket="any", access_key=services.s3_server.access_key) as server,
    ):
        yield server.start()


@pytest.fixture
def s3_there(other_server: S3Server, bucket: str) -> Iterator[S3Client]:
    """The other service, with a bucket of the same name."""
    style = Config(s3={"addressing_style": "path"})
    client = boto3.client("s3", endpoint_url=other_server.endpoint, region_name="us-east-1", config=style)
    client.create_bucket(Bucket=bucket)
    yield client
    client.close()


@pytest.fixture
def there(command: Command, other_server: S3Server, s3_there: S3Client) -> There:
    """Calls a command for the other service."""
    return lambda *arguments: command(*arguments, "--s3-endpoint", other_server.endpoint)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "letter.txt"
    path.write_text("dear S3")
    return path


def keys(s3: S3Client, bucket: str) -> list[str]:
    return [item["Key"] for item in s3.list_objects_v2(Bucket=bucket).get("Contents", [])]


def the_document(records: Records) -> dict[str, Any]:
    [document] = records.uploads.find({})
    return document


def assert_names_both(text: str, services: EmbeddedServices, other: S3Server) -> None:
    assert services.s3_endpoint in text
    assert other.endpoint in text
    assert "--s3-endpoint" in text


def test_what_was_asked_for_here_is_not_sent_there(
    command: Command,
    there: There,
    file: Path,
    records: Records,
    services: EmbeddedServices,
    other_server: S3Server,
    s3: S3Client,
    s3_there: S3Client,
    bucket: str,
) -> None:
    assert command("upload", str(file), "--detach").code == 0
    resumed = there("resume", "--all")
    assert resumed.code == 1
    assert_names_both(resumed.err, services, other_server)
    assert the_document(records)["status"] == "pending"
    assert command("resume", "--all").code == 0
    assert the_document(records)["endpoint"] == services.s3_endpoint
    assert (keys(s3, bucket), keys(s3_there, bucket)) == (["letter.txt"], [])


def test_deleting_verifying_and_listing_there_say_where_the_object_is(
    command: Command,
    there: There,
    file: Path,
    records: Records,
    services: EmbeddedServices,
    other_server: S3Server,
    s3: S3Client,
    s3_there: S3Client,
    bucket: str,
) -> None:
    assert command("upload", str(file)).code == 0
    s3_there.put_object(Bucket=bucket, Key="letter.txt", Body=b"dear S3")
    deleted = there("delete", "--all", "--yes")
    assert deleted.code == 1
    assert_names_both(deleted.err, services, other_server)
    assert the_document(records)["status"] == "completed"
    verified = there("verify", "--all", "--json")
    assert verified.code == 1
    line = json.loads(verified.out)
    assert line["same"] is None
    assert_names_both(line["words"], services, other_server)
    assert (keys(s3, bucket), keys(s3_there, bucket)) == (["letter.txt"], ["letter.txt"])
    assert services.s3_endpoint in there("list").out
    assert "ENDPOINT" not in command("list").out
    assert command("delete", "--all", "--yes").code == 0
    assert (keys(s3, bucket), keys(s3_there, bucket)) == ([], ["letter.txt"])


def test_deleting_there_stops_nothing_that_goes_on_here(
    command: Command, there: There, file: Path, records: Records
) -> None:
    assert command("upload", str(file), "--detach").code == 0
    assert there("delete", "--all", "--yes").code == 1
    assert the_document(records)["requested"] == "run"


def test_parts_are_dropped_where_they_are(
    command: Command, there: There, file: Path, records: Records, services: EmbeddedServices, s3: S3Client, bucket: str
) -> None:
    assert command("upload", str(file), "--detach").code == 0
    opened = s3.create_multipart_upload(Bucket=bucket, Key="letter.txt")
    upload = Upload.model_validate(the_document(records))
    sealed = Seals.of_this_user().multipart(upload, Multipart(upload_id=opened["UploadId"], part_size=5 * 1024 * 1024))
    multipart = sealed.model_dump()
    records.uploads.collection.update_one({}, {"$set": {"multipart": multipart}})
    cancelled = there("cancel", "--all")
    assert f"--s3-endpoint {services.s3_endpoint}" in cancelled.err
    assert the_document(records)["multipart"] == multipart
    assert len(s3.list_multipart_uploads(Bucket=bucket)["Uploads"]) == 1
    assert command("pause", "--all").code == 0  # any command that asks for something clears up
    assert the_document(records)["multipart"] is None
    assert not s3.list_multipart_uploads(Bucket=bucket).get("Uploads")


def test_a_record_of_an_older_version_becomes_that_of_the_service_which_first_takes_it(
    command: Command,
    there: There,
    file: Path,
    records: Records,
    other_server: S3Server,
    tmp_path: Path,
) -> None:
    """Older versions made no seal: the folder has to be one that the runner may read."""
    config = tmp_path / "config.toml"
    config.write_text(f'[transfer]\nroots = ["{file.parent}"]\n')
    assert command("upload", str(file), "--detach").code == 0
    records.uploads.collection.update_one({}, {"$unset": {"endpoint": 1}})
    assert there("resume", "--all", "--config", str(config)).code == 0
    assert the_document(records)["endpoint"] == other_server.endpoint


def test_a_watch_sends_to_each_service(
    command: Command, there: There, file: Path, records: Records, s3: S3Client, s3_there: S3Client, bucket: str
) -> None:
    arguments = ("watch", str(file.parent), "--once", "--to", f"s3://{bucket}")
    assert command(*arguments).code == 0
    # What still waits for the one service keeps nobody at the other one.
    records.uploads.collection.update_one({}, {"$set": {"status": "pending", "host": this_host()}})
    assert there(*arguments).code == 0
    assert (keys(s3, bucket), keys(s3_there, bucket)) == (["letter.txt"], ["letter.txt"])


def test_nobody_waits_for_a_runner_of_another_service(
    environment: dict[str, str], there: There, file: Path, records: Records, s3_there: S3Client, bucket: str
) -> None:
    settings = load(None, environment, {})
    with S3Sender(settings.s3, settings.transfer) as sender:
        runner = Runner(records, sender, Limits.of(settings.transfer), kind="console")
        runner.start()
        try:
            wait_for(lambda: records.runners.live(runner.host), "the first heartbeat")
            assert there("upload", str(file)).code == 0
        finally:
            runner.stop()
    assert keys(s3_there, bucket) == ["letter.txt"]


def test_who_asked_is_in_the_record(
    command: Command, file: Path, records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUDO_USER", "eve")
    _actor.cache_clear()
    try:
        assert command("upload", str(file), "--detach").code == 0
        assert command("pause", "--all").code == 0
    finally:
        _actor.cache_clear()
    document = the_document(records)
    user = pwd.getpwuid(os.geteuid()).pw_name
    expected = {"user": user, "host": this_host(), "process": os.getpid(), "sudo_user": "eve"}
    assert document["created_by"] == document["requested_by"] == expected
