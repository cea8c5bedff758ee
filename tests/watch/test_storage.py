"""How objects of a rule are kept: sent to a server that knows storage classes and tags (the embedded one does not)."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from console.files.walk import Scanner
from console.models import Upload
from console.s3.address import endpoint_name
from console.s3.control import Unattended
from console.s3.operations import OWNER
from console.settings import Settings, load
from console.settings.watch_rules import WatchRule
from console.transfer.sender import S3Sender
from console.watch.decisions import Destination

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def client(endpoint: str) -> Iterator[S3Client]:
    client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1")
    client.create_bucket(Bucket="kept")
    yield client
    client.close()


RULES_OWN: dict[str, Any] = {
    "storage_class": "STANDARD_IA",
    "server_side_encryption": "AES256",
    "metadata": {"origin": "scanner"},
    "tags": {"retention": "1 year"},
}


def settings_of(endpoint: str) -> Settings:
    told = {"s3.endpoint_url": endpoint, "s3.bucket": "other", "s3.metadata": {"a": "1"}, "s3.tags": {"t": "1"}}
    return load(None, {}, told)


def found_by(rule: WatchRule, settings: Settings) -> dict[str, Upload]:
    """The documents of the files in the rule's folder, by their names."""
    destination = Destination(
        rule, settings.s3, settings.transfer, host="h", endpoint=endpoint_name(str(settings.s3.endpoint_url))
    )
    made = [destination.upload(found) for found in Scanner(rule).files()]
    return {new.filename: Upload.model_validate(new.document(datetime.now(UTC))) for new in made}


def assert_kept_as_the_rule_says(client: S3Client, upload: Upload) -> None:
    key = upload.key
    head = client.head_object(Bucket="kept", Key=key)
    assert head["StorageClass"] == "STANDARD_IA"
    assert head["ServerSideEncryption"] == "AES256"
    assert head["Metadata"] == {"origin": "scanner", OWNER: str(upload.id)}
    tags = client.get_object_tagging(Bucket="kept", Key=key)["TagSet"]
    assert tags == [{"Key": "retention", "Value": "1 year"}]


def test_storage_class_encryption_metadata_and_tags_are_the_rules_over_the_settings(
    endpoint: str, client: S3Client, tmp_path: Path
) -> None:
    settings = settings_of(endpoint)
    rule = WatchRule(folder=tmp_path, to="s3://kept/in", duplicates="new_name", **RULES_OWN)
    (tmp_path / "a.txt").write_text("content")
    upload = found_by(rule, settings)["a.txt"]
    assert upload.duplicates == "new_name"
    with S3Sender(settings.s3, settings.transfer) as sender:
        sender.send(upload, Unattended(), Unattended())
    assert_kept_as_the_rule_says(client, upload)


def test_headers_and_what_is_done_on_the_way_are_the_rules_too(endpoint: str, client: S3Client, tmp_path: Path) -> None:
    """`[[headers]]` are those of a rule that has none of its own."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "page.html").write_text("content")
    (tmp_path / "in" / "photo.jpg").write_bytes(b"content")
    folder = str(tmp_path / "in")
    told = {
        "headers": [{"pattern": "*.html", "cache_control": "no-cache"}, {"pattern": "*.jpg", "acl": "private"}],
        "watch": [
            {"folder": folder, "to": "s3://kept/in", "compress": "gzip", "preserve": ["mtime"], "legal_hold": False}
        ],
    }
    settings = load(None, {}, {"s3.endpoint_url": endpoint, "s3.bucket": "other", **told})
    [rule] = settings.watch
    uploads = found_by(rule, settings)
    assert [uploads[name].key for name in ("page.html", "photo.jpg")] == ["in/page.html.gz", "in/photo.jpg"]
    with S3Sender(settings.s3, settings.transfer) as sender:
        for upload in uploads.values():
            sender.send(upload, Unattended(), Unattended())
    page = client.get_object(Bucket="kept", Key="in/page.html.gz")
    assert gzip.decompress(page["Body"].read()) == b"content"
    assert (page["CacheControl"], page["ContentType"]) == ("no-cache", "application/gzip")
    assert float(page["Metadata"]["mtime"]) == pytest.approx((tmp_path / "in" / "page.html").stat().st_mtime)
    photo = client.head_object(Bucket="kept", Key="in/photo.jpg")
    assert "CacheControl" not in photo
    assert photo["ContentType"] == "image/jpeg"


def test_so_they_are_where_a_small_file_needs_no_thread(endpoint: str, client: S3Client, tmp_path: Path) -> None:
    """The first tells what the server can do; from the second on they go many at once."""
    settings = settings_of(endpoint)
    rule = WatchRule(folder=tmp_path, to="s3://kept/in", **RULES_OWN)
    (tmp_path / "a.txt").write_text("content")
    (tmp_path / "b.txt").write_text("more content")
    uploads = found_by(rule, settings)
    with S3Sender(settings.s3, settings.transfer) as sender:
        sender.send(uploads["a.txt"], Unattended(), Unattended())
        assert sender.takes(uploads["b.txt"])
        assert sender.send_small(uploads["b.txt"], Unattended(), Unattended(), lambda cancel: None) is not None
    assert_kept_as_the_rule_says(client, uploads["b.txt"])
