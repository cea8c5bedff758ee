"""Which settings hold and why; no secret is among them."""

from __future__ import annotations

from pathlib import Path

import pytest

from console.choices import STATUSES
from console.models import UploadStatus
from console.settings import load
from console.settings.effective import effective, example_text, without_password


def test_each_value_names_where_it_comes_from(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text('[s3]\nbucket = "of-file"\nprefix = "p"\n[[watch]]\nfolder = "/srv"\npriority = 3\n')
    environment = {"UPLOAD_CONSOLE_S3__PREFIX": "of-environment"}
    settings = load(file, environment, {"s3.bucket": None, "s3.endpoint_url": "http://localhost:1"})
    found = {each.key: (each.value, each.origin) for each in effective(settings)}
    assert found["s3.bucket"] == ('"of-file"', str(file))
    assert found["s3.prefix"] == ('"of-environment"', "UPLOAD_CONSOLE_S3__PREFIX")
    assert found["s3.endpoint_url"] == ('"http://localhost:1"', "--s3-endpoint")
    assert found["s3.region"] == ("", "default")
    assert found["transfer.part_size"] == ('"auto"', "default")
    assert found["watch[0].priority"] == ("3", str(file))
    assert "watch[0].after" not in found


def test_a_connection_string_of_a_file_is_from_there_and_shows_no_password(tmp_path: Path) -> None:
    secret = tmp_path / "uri"
    secret.write_text("mongodb://me:hunter2@db/?authSource=admin")
    secret.chmod(0o600)
    settings = load(None, {}, {"mongodb.uri_file": str(secret)})
    (uri,) = (each for each in effective(settings) if each.key == "mongodb.uri")
    assert (uri.value, uri.origin) == ('"mongodb://me:…@db/?authSource=admin"', str(secret))


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("mongodb://h:27017", "mongodb://h:27017"),
        ("mongodb://u:p%40w@h1,h2/db?replicaSet=rs", "mongodb://u:…@h1,h2/db?replicaSet=rs"),
        ("mongodb://u:a:b@h", "mongodb://u:…@h"),
        ("mongodb://u:p@w@h/db", "mongodb://u:…@h/db"),
        ("mongodb://u:p/w@h", "mongodb://u:…@h"),
        ("mongodb://u:p?w=x@h", "mongodb://u:…@h"),
        ("mongodb://u@x:secret@h", "mongodb://u:…@h"),
        ("mongodb://u@h", "mongodb://u@h"),
        ("u:secret@h", "…"),
        (
            "mongodb://h/?tlsCertificateKeyFilePassword=x&authMechanismProperties=AWS_SESSION_TOKEN:y&tls=true",
            "mongodb://h/?tlsCertificateKeyFilePassword=…&authMechanismProperties=…&tls=true",
        ),
    ],
)
def test_what_may_be_a_secret_is_not_shown(uri: str, shown: str) -> None:
    assert without_password(uri) == shown


def test_the_example_is_at_hand() -> None:
    assert "[transfer]" in example_text()


def test_the_words_for_statuses_are_those_of_the_records() -> None:
    assert tuple(map(str, UploadStatus)) == STATUSES
