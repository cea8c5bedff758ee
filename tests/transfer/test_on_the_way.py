"""Files that are compressed or encrypted on the way: read back by the tools that people have."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyrage
import pytest
import zstandard

from console.models import Source, Storage, Upload
from console.runner.policy import Policy
from console.s3.control import Unattended
from console.s3.engines.source import SourceFile
from console.s3.engines.staged import StagedSource, stage, steps
from console.s3.transfer_errors import Stopped, TransferError
from console.settings import Settings, load
from console.transfer.intake import Intake
from console.transfer.send import send as send_one
from console.transfer.sender import S3Sender
from console.transfer.transport import Transport

from .doubles import MIB, Commands, Notes, an_upload, options, sent

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

    from console.embedded.services import EmbeddedServices

TEXT = b"the same line again and again\n" * 200_000


@pytest.fixture
def identity() -> pyrage.x25519.Identity:
    return pyrage.x25519.Identity.generate()


def configured(services: EmbeddedServices, bucket: str, **s3: Any) -> Settings:
    flags = {f"s3.{name}": value for name, value in s3.items()}
    return load(None, {}, {"s3.endpoint_url": services.s3_endpoint, "s3.bucket": bucket, **flags})


def recorded(settings: Settings, path: Path) -> Upload:
    with S3Sender(settings.s3, settings.transfer) as sender:
        endpoint = sender.endpoint.name
    intake = Intake(settings.s3, settings.transfer, host="h", source=Source.COMMAND, endpoint=endpoint)
    [[new]] = intake.batches([str(path)])
    return Upload.model_validate(new.document(datetime.now(UTC)))


def send(settings: Settings, upload: Upload) -> Upload:
    with S3Sender(settings.s3, settings.transfer) as sender:
        assert not sender.takes(upload)
        done = sender.send(upload, Unattended(), Unattended())
    return upload.model_copy(update={"checksum": done.checksum, "etag": done.etag})


@pytest.mark.parametrize(
    ("how", "suffix", "kind"), [("gzip", ".gz", "application/gzip"), ("zstd", ".zst", "application/zstd")]
)
def test_a_compressed_file_has_name_and_type_of_it_and_can_be_verified(
    services: EmbeddedServices, bucket: str, s3: S3Client, tmp_path: Path, how: str, suffix: str, kind: str
) -> None:
    path = tmp_path / "log.txt"
    path.write_bytes(TEXT)
    settings = configured(services, bucket, compress=how)
    upload = recorded(settings, path)
    assert (upload.key, upload.content_type, upload.size) == (f"log.txt{suffix}", "text/plain", len(TEXT))
    done = send(settings, upload)
    found = s3.get_object(Bucket=bucket, Key=upload.key)
    body = found["Body"].read()
    assert len(body) < len(TEXT) // 100
    assert found["ContentType"] == kind
    read = gzip.decompress(body) if how == "gzip" else zstandard.ZstdDecompressor().decompressobj().decompress(body)
    assert read == TEXT
    with S3Sender(settings.s3, settings.transfer) as sender:
        assert sender.verify(done).same is True
        s3.put_object(Bucket=bucket, Key=upload.key, Body=body[:-1] + b"x")
        assert sender.verify(done).same is False


def test_a_compression_that_content_encoding_tells_of_leaves_name_and_type(
    services: EmbeddedServices, bucket: str, s3: S3Client, tmp_path: Path
) -> None:
    for name, content in (("page.html", b"<html>" + TEXT), ("photo.jpg", b"\xff\xd8\xff")):
        (tmp_path / name).write_bytes(content)
    settings = configured(services, bucket, compress="gzip", content_encoding="gzip")
    page, photo = (recorded(settings, tmp_path / name) for name in ("page.html", "photo.jpg"))
    assert (page.key, photo.key) == ("page.html", "photo.jpg")
    done = send(settings, page)
    send(settings, photo)
    found = s3.get_object(Bucket=bucket, Key="page.html")
    assert (found["ContentType"], found["ContentEncoding"]) == ("text/html", "gzip")
    assert gzip.decompress(found["Body"].read()) == b"<html>" + TEXT
    found = s3.get_object(Bucket=bucket, Key="photo.jpg")
    assert found.get("ContentEncoding", "") == ""
    assert found["Body"].read() == b"\xff\xd8\xff"
    with S3Sender(settings.s3, settings.transfer) as sender:
        assert sender.verify(done).same is True


def test_what_is_encrypted_too_has_no_content_encoding(
    services: EmbeddedServices, bucket: str, tmp_path: Path, identity: pyrage.x25519.Identity
) -> None:
    (tmp_path / "page.html").write_bytes(TEXT)
    told = {"compress": "gzip", "content_encoding": "gzip", "encrypt_to": [str(identity.to_public())]}
    upload = recorded(configured(services, bucket, **told), tmp_path / "page.html")
    assert upload.key == "page.html.gz.age"
    assert upload.storage is not None
    assert not upload.storage.content_encoding


def test_what_is_compressed_already_stays_as_it_is(services: EmbeddedServices, bucket: str, tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    path.write_bytes(b"film")
    assert recorded(configured(services, bucket, compress="gzip"), path).key == "film.mp4"
    assert steps("image/svg+xml", "gzip", ()) == ("gzip",)
    assert steps("video/mp4", "gzip", ("age1",)) == ("age",)
    assert steps("text/plain", "none", ()) == ()


def test_of_two_files_that_come_to_one_key_the_second_is_refused(
    services: EmbeddedServices, bucket: str, tmp_path: Path
) -> None:
    top = tmp_path / "top"
    top.mkdir()
    (top / "a.txt").write_text("a")
    (top / "a.txt.gz").write_bytes(gzip.compress(b"another"))
    settings = configured(services, bucket, compress="gzip")
    intake = Intake(settings.s3, settings.transfer, host="h", source=Source.COMMAND, endpoint="e")
    assert [new.key for batch in intake.batches([str(top)]) for new in batch] == ["top/a.txt.gz"]
    [refusal] = intake.refusals
    assert "another file of these has its key already" in refusal.reason


def test_an_encrypted_file_can_be_read_by_its_recipients_alone(
    services: EmbeddedServices, bucket: str, s3: S3Client, tmp_path: Path, identity: pyrage.x25519.Identity
) -> None:
    path = tmp_path / "secret.txt"
    path.write_bytes(TEXT)
    settings = configured(services, bucket, compress="gzip", encrypt_to=[str(identity.to_public())])
    upload = recorded(settings, path)
    assert upload.key == "secret.txt.gz.age"
    done = send(settings, upload)
    body = s3.get_object(Bucket=bucket, Key=upload.key)["Body"].read()
    assert body.startswith(b"age-encryption.org/v1")
    assert gzip.decompress(pyrage.decrypt(body, [identity])) == TEXT
    with pytest.raises(pyrage.DecryptError):
        pyrage.decrypt(body, [pyrage.x25519.Identity.generate()])
    with S3Sender(settings.s3, settings.transfer) as sender:
        told = sender.verify(done)
        assert told.same is None
        assert "encrypted on the way" in told.message
        s3.put_object(Bucket=bucket, Key=upload.key, Body=b"another")
        assert sender.verify(done).same is False


def test_a_compressed_upload_goes_on_from_its_parts(
    transport: Transport, bucket: str, s3: S3Client, tmp_path: Path
) -> None:
    """The same content gives the same bytes, so the parts that arrived are those that would be sent."""
    path = tmp_path / "noise"
    path.write_bytes(os.urandom(22 * MIB))
    storage = Storage(compress="gzip")
    upload = an_upload(path, bucket, "noise.gz", content_type="text/plain").model_copy(update={"storage": storage})

    class StopsAfterAPart(Notes):
        def confirmed(self, total_bytes: int) -> None:
            super().confirmed(total_bytes)
            self.commands.stop()

    notes = StopsAfterAPart(Commands())
    with pytest.raises(Stopped):
        send_one(upload, transport=transport, options=options(), journal=notes, control=notes.commands)
    again = upload.model_copy(update={"multipart": notes.opened[0], "attempts": 2})
    done = sent(again, transport)
    assert done.sent_bytes < 20 * MIB
    assert gzip.decompress(s3.get_object(Bucket=bucket, Key="noise.gz")["Body"].read()) == path.read_bytes()


def test_nothing_goes_out_plain_where_it_cannot_be_encrypted(
    transport: Transport, bucket: str, s3: S3Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "secret"
    path.write_bytes(b"plain")
    upload = an_upload(path, bucket)
    for recipient, said in (("age1nobody", "is no recipient of age"), ("age1x", "pip install 'upload-console")):
        wanted = upload.model_copy(update={"storage": Storage(encrypt_to=(recipient,))})
        with pytest.raises(TransferError, match=r"recipient|pip install") as caught:
            sent(wanted, transport)
        assert caught.value.code == "EncryptionFailed"
        assert said in caught.value.message
        monkeypatch.setitem(sys.modules, "pyrage", None)
    assert not s3.list_objects_v2(Bucket=bucket).get("Contents")


def test_others_cannot_have_files_sent_plain_where_encryption_is_set(
    services: EmbeddedServices, bucket: str, tmp_path: Path, identity: pyrage.x25519.Identity
) -> None:
    path = tmp_path / "secret"
    path.write_bytes(b"plain")
    recipient = str(identity.to_public())
    settings = configured(services, bucket, encrypt_to=[recipient])
    settings = settings.model_copy(update={"transfer": settings.transfer.model_copy(update={"roots": (tmp_path,)})})
    policy = Policy.of(settings)
    asked = recorded(settings, path)
    assert policy.refuses(asked) is None
    for storage in (None, Storage(), Storage(encrypt_to=("age1other",)), Storage(compress="gzip")):
        refused = policy.refuses(asked.model_copy(update={"storage": storage}))
        assert refused is not None, storage


def test_a_file_that_changes_while_it_is_compressed_is_not_sent(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 3 * MIB)

    class Writes(Unattended):
        def check(self) -> None:
            os.utime(path, (1, 1))

    with SourceFile.open(str(path)) as source, pytest.raises(TransferError, match="was written to"):
        stage(source, ("gzip",), (), Writes())


def test_the_temporary_file_has_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tempfile

    path = tmp_path / "file"
    path.write_bytes(TEXT)
    there = tmp_path / "tmp"
    there.mkdir()
    monkeypatch.setenv("TMPDIR", str(there))
    monkeypatch.setattr(tempfile, "tempdir", None)
    with SourceFile.open(str(path)) as source:
        staged = stage(source, ("gzip",), (), Unattended())
        assert isinstance(staged, StagedSource)
        assert list(there.iterdir()) == []
        unpacked = subprocess.run(
            ["gzip", "-dc"], input=staged.read(0, staged.state.size), capture_output=True, check=True
        )
        assert unpacked.stdout == TEXT
        staged.drop()
