"""Where settings and environment say all of an S3 service, botocore is not asked, and would come to the same."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from console.s3.address import address_of
from console.s3.client import ClientOptions, PlainService, make_client

PLAIN = ClientOptions(endpoint_url="http://127.0.0.1:9000")


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("AWS_PROFILE", "AWS_REGION", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")


@pytest.mark.parametrize(
    "options",
    [
        PLAIN,
        replace(PLAIN, endpoint_url="https://s3.example.com"),
        replace(PLAIN, endpoint_url="http://host:80/"),
        replace(PLAIN, region="us-west-2"),
        replace(PLAIN, addressing_style="path"),
    ],
)
@pytest.mark.parametrize("bucket", ["bucket", "with.dots", "b-1"])
def test_it_is_what_botocore_makes_of_it(options: ClientOptions, bucket: str) -> None:
    plain = PlainService.of(options)
    client = make_client(options)
    assert plain is not None
    assert plain.address(bucket) == address_of(client, bucket)
    assert plain.region == client.meta.region_name
    assert plain.url == client.meta.endpoint_url.rstrip("/")
    assert plain.credentials.get_frozen_credentials() == ("key", "secret", None)


@pytest.mark.parametrize(
    "options",
    [
        ClientOptions(),
        replace(PLAIN, profile="other"),
        replace(PLAIN, addressing_style="virtual"),
        replace(PLAIN, endpoint_url="https://s3.eu-central-1.amazonaws.com"),
        replace(PLAIN, endpoint_url="http://127.0.0.1:9000/base"),
        replace(PLAIN, region="nowhere at all"),
    ],
)
def test_botocore_is_asked_where_there_is_something_to_find_out(options: ClientOptions) -> None:
    assert PlainService.of(options) is None


@pytest.mark.parametrize("name", ["AWS_PROFILE", "AWS_REGION", "AWS_ENDPOINT_URL_S3", "AWS_WEB_IDENTITY_TOKEN_FILE"])
def test_botocore_is_asked_what_other_variables_mean(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "anything")
    assert PlainService.of(PLAIN) is None


def test_botocore_is_asked_for_credentials_that_no_variable_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    assert PlainService.of(PLAIN) is None


@pytest.mark.parametrize("name", ["config", "credentials"])
def test_botocore_reads_its_files(tmp_path: Path, name: str) -> None:
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / name).write_text("[default]\nregion = us-east-2\n")
    assert PlainService.of(PLAIN) is None


def test_a_start_imports_no_botocore() -> None:
    code = (
        "import sys; import console.commands.upload; from console.transfer.transport import open_transport;"
        "from console.s3.client import ClientOptions;"
        "open_transport(ClientOptions(endpoint_url='http://127.0.0.1:9')).close();"
        "print([name for name in ('botocore', 'boto3', 'urllib3', 'textual', 'rich') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert found.stdout.strip() == "[]"
