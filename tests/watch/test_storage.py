"""How objects of a rule are kept: sent to a server that knows storage classes and tags (the embedded one does not)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer

from console.config import load
from console.models import Upload
from console.transfer.control import Unattended
from console.transfer.sender import S3Sender
from console.watch.destination import Destination
from console.watch.rules import WatchRule
from console.watch.scanning import Scanner


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def test_storage_class_encryption_metadata_and_tags_are_the_rules_over_the_settings(
    endpoint: str, tmp_path: Path
) -> None:
    client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1")
    client.create_bucket(Bucket="kept")
    settings = load(
        None, {}, {"s3.endpoint_url": endpoint, "s3.bucket": "other", "s3.metadata": {"a": "1"}, "s3.tags": {"t": "1"}}
    )
    rule = WatchRule(
        folder=tmp_path,
        to="s3://kept/in",
        storage_class="STANDARD_IA",
        server_side_encryption="AES256",
        metadata={"origin": "scanner"},
        tags={"retention": "1 year"},
        duplicates="new_name",
    )
    (tmp_path / "a.txt").write_text("content")
    (found,) = Scanner(rule).files()
    made = Destination(rule, settings.s3, settings.transfer, host="h").upload(found)
    upload = Upload.model_validate(made.document(datetime.now(UTC)))
    assert upload.duplicates == "new_name"
    with S3Sender(settings.s3, settings.transfer) as sender:
        sender.send(upload, Unattended(), Unattended())
    head = client.head_object(Bucket="kept", Key="in/a.txt")
    assert head["StorageClass"] == "STANDARD_IA"
    assert head["ServerSideEncryption"] == "AES256"
    assert head["Metadata"] == {"origin": "scanner"}
    tags = client.get_object_tagging(Bucket="kept", Key="in/a.txt")["TagSet"]
    assert tags == [{"Key": "retention", "Value": "1 year"}]
    client.close()
