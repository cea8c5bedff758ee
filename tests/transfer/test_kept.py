"""How objects are kept, on a server that knows it: headers by pattern, Object Lock, keys of one's own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.exceptions import ClientError
from bson import ObjectId
from moto.server import ThreadedMotoServer

from console.errors import ConfigurationError
from console.models import Source, Storage, Upload
from console.runner.policy import Policy
from console.s3.control import Unattended
from console.s3.transfer_errors import TransferError
from console.settings import Settings, load
from console.transfer.intake import Intake, KeptAs
from console.transfer.sender import S3Sender
from tests import seaweed
from tests.seaweed import SeaweedFS

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

MIB = 1024 * 1024
HTML = {"pattern": "*.html", "cache_control": "no-cache", "content_type": "text/html; charset=utf-8"}


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
    client.create_bucket(Bucket="kept", ObjectLockEnabledForBucket=True)
    yield client
    client.close()


def configured(endpoint: str, **told: Any) -> Settings:
    flags = {name.replace("__", "."): value for name, value in told.items()}
    return load(None, {}, {"s3.endpoint_url": endpoint, "s3.bucket": "kept", **flags})


def recorded(settings: Settings, *paths: Path) -> dict[str, Upload]:
    intake = Intake(
        settings.s3,
        settings.transfer,
        host="h",
        source=Source.COMMAND,
        endpoint=str(settings.s3.endpoint_url),
        headers=settings.headers,
    )
    found = [upload for batch in intake.batches([str(path) for path in paths]) for upload in batch]
    return {new.filename: Upload.model_validate(new.document(datetime.now(UTC))) for new in found}


def send(settings: Settings, uploads: dict[str, Upload]) -> None:
    with S3Sender(settings.s3, settings.transfer) as sender:
        for upload in uploads.values():
            here = upload.model_copy(update={"endpoint": None})
            if not (sender.takes(here) and sender.send_small(here, Unattended(), Unattended(), lambda cancel: None)):
                sender.send(here, Unattended(), Unattended())


def test_headers_by_pattern_go_to_those_files_alone(endpoint: str, client: S3Client, tmp_path: Path) -> None:
    for name in ("index.html", "app.js", "logo.svg.gz", "more.html"):
        (tmp_path / name).write_text("content")
    rules = [
        HTML,
        {
            "pattern": ["*.gz"],
            "content_encoding": "gzip",
            "content_type": "image/svg+xml",
            "storage_class": "STANDARD_IA",
        },
        {"pattern": ["more*"], "cache_control": "max-age=60", "metadata": {"made": "here"}},
    ]
    settings = configured(endpoint, headers=rules)
    send(settings, recorded(settings, *sorted(tmp_path.iterdir())))
    heads = {name.name: client.head_object(Bucket="kept", Key=name.name) for name in tmp_path.iterdir()}
    assert heads["index.html"]["CacheControl"] == "no-cache"
    assert heads["index.html"]["ContentType"] == "text/html; charset=utf-8"
    assert "CacheControl" not in heads["app.js"]
    assert heads["app.js"]["ContentType"] == "text/javascript"
    assert heads["logo.svg.gz"]["ContentEncoding"] == "gzip"
    assert heads["logo.svg.gz"]["StorageClass"] == "STANDARD_IA"
    assert heads["more.html"]["CacheControl"] == "max-age=60"
    assert heads["more.html"]["Metadata"]["made"] == "here"


def test_a_lock_and_a_hold_are_on_the_objects(endpoint: str, client: S3Client, tmp_path: Path) -> None:
    """Through both engines. Of what is sent in parts moto forgets it: `test_common_parameters` has those requests."""
    (tmp_path / "small").write_text("content")
    (tmp_path / "small2").write_text("content of another")
    (tmp_path / "larger").write_bytes(b"x" * 2 * MIB)
    settings = configured(
        endpoint,
        s3__object_lock_mode="GOVERNANCE",
        s3__object_lock_days=30,
        s3__legal_hold=True,
    )
    send(settings, recorded(settings, *sorted(tmp_path.iterdir())))
    for name in ("small", "small2", "larger"):
        head = client.head_object(Bucket="kept", Key=name)
        assert head["ObjectLockMode"] == "GOVERNANCE", name
        assert abs(head["ObjectLockRetainUntilDate"] - datetime.now(UTC) - timedelta(days=30)) < timedelta(minutes=5)
        assert head["ObjectLockLegalHoldStatus"] == "ON"


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"s3__object_lock_days": 3}, "object_lock_mode and object_lock_days go together"),
        ({"s3__acl": "everybody"}, "--acl: s3.acl: expected 'private'"),
        ({"s3__cache_control": "a\nb"}, "--cache-control: s3.cache_control: expected the value of a header"),
        ({"s3__expected_bucket_owner": "12"}, "expected the number of an AWS account"),
        ({"headers": [{"pattern": "*", "content_type": "html"}]}, "expected a MIME type"),
        ({"headers": [{"pattern": "*", "cach_control": "x"}]}, "did you mean cache_control?"),
        ({"s3__preserve": ["time"]}, "--preserve: s3.preserve[0]: expected 'mtime', 'mode', 'owner' or 'md5'"),
    ],
)
def test_wrong_values_are_named(told: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        configured("http://127.0.0.1:1", **told)
    assert said in caught.value.message


def test_a_customer_key_is_read_from_its_file_and_never_recorded(endpoint: str, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("00" * 31)
    settings = configured(endpoint, s3__sse_customer_key_file=str(key))
    with pytest.raises(ConfigurationError, match="holds no key of 32 bytes"):
        S3Sender(settings.s3, settings.transfer)
    key.write_text("ab" * 32 + "\n")
    S3Sender(settings.s3, settings.transfer).close()
    file = tmp_path / "file"
    file.write_text("content")
    assert "ab" * 32 not in repr(recorded(settings, file))


def test_others_may_ask_only_for_what_the_configuration_of_the_runner_says(endpoint: str, tmp_path: Path) -> None:
    """Of headers, each must be one that a rule has; what the [s3] settings say is done anyhow."""
    file = tmp_path / "index.html"
    file.write_text("content")
    settings = configured(endpoint, headers=[HTML], transfer__roots=[str(tmp_path)])
    policy = Policy.of(settings)
    asked = recorded(settings, file)["index.html"]
    assert asked.storage is not None
    assert asked.storage.cache_control == "no-cache"
    assert policy.refuses(asked) is None
    for change in (
        {"acl": "public-read"},
        {"cache_control": "max-age=1"},
        {"legal_hold": True},
        {"preserve": ("owner",)},
        {"object_lock_mode": "COMPLIANCE", "object_lock_days": 36_000},
    ):
        forged = asked.model_copy(update={"storage": asked.storage.model_copy(update=change)})
        assert policy.refuses(forged) == "it asks for its object to be kept in a way that no rule of this runner has"
    own = asked.model_copy(update={"storage": asked.storage.model_copy(update={"legal_hold": True})})
    sealed = own.model_copy(update={"seal": policy.seals.request(own)})
    assert policy.refuses(sealed) is None
    broken = sealed.model_copy(update={"storage": asked.storage.model_copy(update={"acl": "public-read"})})
    assert policy.refuses(broken) is not None
    assert replace(policy, headers=()).refuses(asked) is not None


def recorded_as(storage: Storage) -> Upload:
    """Somebody else's request for a file below /in, to be kept so."""
    now = datetime.now(UTC)
    return Upload.model_validate(
        {
            "_id": ObjectId(),
            "filename": "a.html",
            "path": "/in/a.html",
            "host": "h",
            "size": 1,
            "mtime_ns": 1,
            "fingerprint": "1-1-1",
            "content_type": "text/html",
            "bucket": "kept",
            "key": "a.html",
            "source": "command",
            "status": "pending",
            "requested": "run",
            "created_at": now,
            "updated_at": now,
            "storage": storage.model_dump(),
        }
    )


def test_headers_are_told_one_by_one_and_by_the_stronger_place() -> None:
    told: dict[str, Any] = {
        "s3.bucket": "kept",
        "s3.metadata": {"team": "a", "kind": "none"},
        "headers": [
            {"pattern": "*", "metadata": {"kind": "any"}, "cache_control": "max-age=60"},
            {"pattern": "*.html", "metadata": {"page": "yes"}, "cache_control": "no-cache"},
        ],
        "watch": [
            {"folder": "/in", "name": "plain"},
            {"folder": "/in2", "name": "own", "cache_control": "private", "metadata": {"kind": "own"}},
        ],
    }
    settings = load(None, {}, told)
    found, _ = KeptAs(settings.s3, None, settings.headers).storage("site/a.html", "text/html")
    assert found is not None
    assert (found.metadata, found.cache_control) == ({"team": "a", "kind": "any", "page": "yes"}, "no-cache")
    # A document of somebody else may ask for what patterns and settings come to together, and for nothing beside it.
    policy = Policy.of(settings, rules=settings.watch)
    asked = recorded_as(found)
    assert policy.refuses(asked) is None
    more = found.model_copy(update={"metadata": {**(found.metadata or {}), "owner": "me"}})
    assert "in a way that no rule" in str(policy.refuses(recorded_as(more)))
    plain, own = settings.watch
    assert plain.headers == settings.headers
    found, _ = KeptAs(settings.s3, own.storage, own.headers or ()).storage("a.html", "text/html")
    assert found is not None
    assert (found.metadata, found.cache_control) == ({"kind": "own", "page": "yes"}, "private")


def test_a_watch_has_a_key_of_its_own_and_nobody_reads_the_object_without(
    seaweedfs: SeaweedFS, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """On a server that encrypts by it: what is sent as one request, and in parts, and what `verify` asks."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", seaweed.ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", seaweed.SECRET_KEY)
    folder, key = tmp_path / "in", tmp_path / "key"
    folder.mkdir()
    key.write_bytes(bytes(range(32)))
    (folder / "small").write_text("content")
    (folder / "large").write_bytes(b"x" * 6 * MIB)
    told = {"folder": str(folder), "sse_customer_key_file": str(key), "requester_pays": True}
    settings = configured(seaweedfs.endpoint, watch=[told], transfer__multipart_threshold="5 MiB")
    (rule,) = settings.watch
    seaweedfs.s3.create_bucket(Bucket="kept")
    intake = Intake(
        settings.s3, settings.transfer, host="h", source=Source.WATCH, endpoint=seaweedfs.endpoint, storage=rule.storage
    )
    found = [new for batch in intake.batches([str(folder)]) for new in batch]
    uploads = [Upload.model_validate(new.document(datetime.now(UTC))) for new in found]
    with S3Sender(settings.s3, settings.transfer) as sender:
        for upload in uploads:
            assert not sender.takes(upload)
            done = sender.send(upload, Unattended(), Unattended())
            sent = upload.model_copy(update={"checksum": done.checksum, "etag": done.etag})
            assert sender.verify(sent).same is True
            assert bytes(range(32)).hex() not in repr(upload)
            with pytest.raises(ClientError):
                seaweedfs.s3.get_object(Bucket="kept", Key=upload.key)
        key.unlink()
        assert sender.verify(sent).same is True  # a process reads it once
    with (
        S3Sender(settings.s3, settings.transfer) as another,
        pytest.raises(TransferError, match="No such file") as caught,
    ):
        another.verify(sent)
    assert caught.value.code == "EncryptionFailed"
    # Somebody else may ask for it where a rule of the runner names the same file, and for no other one.
    policy = Policy.of(settings, rules=settings.watch)
    assert policy.refuses(uploads[0]) is None
    forged = uploads[0].model_copy(update={"storage": Storage(sse_customer_key_file="/etc/hostname")})
    assert "in a way that no rule" in str(policy.refuses(forged))


def test_what_is_locked_stays_whatever_it_was_sent_as(
    seaweedfs: SeaweedFS, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """On a server that keeps locks, also of what is sent in parts."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", seaweed.ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", seaweed.SECRET_KEY)
    (tmp_path / "small").write_text("content")
    (tmp_path / "large").write_bytes(b"x" * 6 * MIB)
    settings = configured(
        seaweedfs.endpoint,
        s3__bucket="locked",
        s3__object_lock_mode="GOVERNANCE",
        s3__object_lock_days=30,
        s3__legal_hold=True,
        transfer__multipart_threshold="5 MiB",
    )
    seaweedfs.s3.create_bucket(Bucket="locked", ObjectLockEnabledForBucket=True)
    send(settings, recorded(settings, tmp_path / "small", tmp_path / "large"))
    for name in ("small", "large"):
        head = seaweedfs.s3.head_object(Bucket="locked", Key=name)
        assert (head["ObjectLockMode"], head["ObjectLockLegalHoldStatus"]) == ("GOVERNANCE", "ON")
        assert abs(head["ObjectLockRetainUntilDate"] - datetime.now(UTC) - timedelta(days=30)) < timedelta(minutes=5)
        with pytest.raises(ClientError, match="AccessDenied"):
            seaweedfs.s3.delete_object(Bucket="locked", Key=name, VersionId=head["VersionId"])


def test_a_key_of_kms_with_a_context_encrypts(
    seaweedfs: SeaweedFS, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """On a server that keeps keys, small and in parts. The ETag of such an object is no MD5, and that is known."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", seaweed.ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", seaweed.SECRET_KEY)
    (tmp_path / "small").write_text("content")
    (tmp_path / "large").write_bytes(b"x" * 6 * MIB)
    settings = configured(
        seaweedfs.endpoint,
        s3__bucket="with-kms",
        s3__server_side_encryption="aws:kms",
        s3__kms_key_id="of-the-team",
        s3__kms_context={"team": "a"},
        transfer__multipart_threshold="5 MiB",
    )
    seaweedfs.s3.create_bucket(Bucket="with-kms")
    send(settings, recorded(settings, tmp_path / "small", tmp_path / "large"))
    for name in ("small", "large"):
        found = seaweedfs.s3.get_object(Bucket="with-kms", Key=name)
        assert (found["ServerSideEncryption"], found["SSEKMSKeyId"]) == ("aws:kms", "of-the-team")
        assert found["Body"].read() == (tmp_path / name).read_bytes()
