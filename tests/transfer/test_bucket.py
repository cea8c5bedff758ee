"""The client, links, deletion and open multipart uploads, against the real S3 server."""

from __future__ import annotations

import os
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from console.errors import ConfigurationError, UsageError
from console.s3.client import ClientOptions, is_aws, make_client
from console.s3.operations import (
    delete_object,
    head_object,
    open_multiparts,
    presign_download,
    stored_bytes,
)
from console.s3.probes import ConditionSupport, probe_bucket, probe_conditions
from console.s3.retry import call
from console.s3.transfer_errors import TransferError
from console.transfer.comparison import verify_upload
from console.transfer.send import send
from console.transfer.transport import Transport, open_transport
from tests.faults.proxy import Answer, FaultProxy, Reset

from .doubles import MIB, Commands, MakeFile, Notes, an_upload, options
from .strict_s3 import StrictS3


def test_no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(ConfigurationError, match="no AWS credentials") as caught:
        make_client(ClientOptions(region="eu-central-1"))
    assert "aws configure" in caught.value.advice


def test_no_region(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)
    monkeypatch.delenv("AWS_REGION", raising=False)
    with pytest.raises(ConfigurationError, match=r"s3\.region"):
        make_client(ClientOptions())
    make_client(ClientOptions(endpoint_url="http://127.0.0.1:1")).close()


def test_an_unknown_profile() -> None:
    with pytest.raises(ConfigurationError, match="'nobody'"):
        make_client(ClientOptions(profile="nobody"))


def test_who_is_amazon() -> None:
    amazon = make_client(ClientOptions(region="eu-central-1"))
    other = make_client(ClientOptions(endpoint_url="http://amazonaws.com.example:9000"))
    assert is_aws(amazon.meta.endpoint_url)
    assert not is_aws(other.meta.endpoint_url)
    amazon.close()
    other.close()


def test_a_wrong_secret(services, bucket: str, make_file: MakeFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    transport = open_transport(ClientOptions(endpoint_url=services.s3_endpoint))
    with pytest.raises(TransferError) as caught:
        send(
            an_upload(make_file(10), bucket),
            transport=transport,
            options=options(),
            journal=Notes(),
            control=Commands(),
        )
    transport.close()
    assert caught.value.code == "SignatureDoesNotMatch"
    assert "wrong" not in str(caught.value)


def test_a_server_that_is_not_there() -> None:
    s3 = make_client(ClientOptions(endpoint_url="http://127.0.0.1:9", connect_timeout_seconds=2))
    with pytest.raises(TransferError, match="ConnectionFailed"):
        call(lambda: s3.head_bucket(Bucket="bucket"))
    s3.close()


@pytest.mark.parametrize("key", ["file.bin", "dir/a b [1] ü+&.txt", "%25?x#y", "quote\"'.txt"])
def test_odd_keys_all_the_way(transport: Transport, s3, bucket: str, make_file: MakeFile, key: str) -> None:
    for size in (100, 6 * MIB):
        path = make_file(size)
        upload = an_upload(path, bucket, key)
        done = send(upload, transport=transport, options=options(), journal=Notes(), control=Commands())
        assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == path.read_bytes()
        assert verify_upload(transport.s3, upload, Commands()).same is True
        link = presign_download(transport.s3, bucket, key, lifetime_seconds=3600)
        with urllib.request.urlopen(link) as answer:
            assert answer.read() == path.read_bytes()
        assert delete_object(transport.s3, bucket, key, etag=done.etag, owners=[str(upload.id)])
        assert head_object(transport.s3, bucket, key) is None


def test_verify_sees_what_differs(transport: Transport, s3, bucket: str, make_file: MakeFile) -> None:
    path = make_file(6 * MIB)
    upload = an_upload(path, bucket)
    send(upload, transport=transport, options=options(), journal=Notes(), control=Commands())
    s3.put_object(Bucket=bucket, Key="file.bin", Body=os.urandom(6 * MIB))
    assert verify_upload(transport.s3, upload, Commands()).same is False
    s3.put_object(Bucket=bucket, Key="file.bin", Body=b"short")
    assert "5 bytes" in verify_upload(transport.s3, upload, Commands()).message
    s3.delete_object(Bucket=bucket, Key="file.bin")
    assert "no longer exists" in verify_upload(transport.s3, upload, Commands()).message
    Path(path).write_bytes(b"x")
    s3.put_object(Bucket=bucket, Key="file.bin", Body=b"y")
    assert "the file changed" in verify_upload(transport.s3, upload, Commands()).message


def test_a_missing_bucket_is_not_a_missing_key(transport: Transport, bucket: str, make_file: MakeFile) -> None:
    assert not delete_object(transport.s3, bucket, "nothing", etag="x")
    with pytest.raises(TransferError, match="NoSuchBucket"):
        delete_object(transport.s3, f"{bucket}-gone", "nothing", etag="x")
    upload = an_upload(make_file(1), f"{bucket}-gone")
    with pytest.raises(TransferError, match="NoSuchBucket"):
        verify_upload(transport.s3, upload, Commands())


def test_links_last_as_long_as_s3_allows(transport: Transport) -> None:
    link = presign_download(transport.s3, "bucket", "k", lifetime_seconds=604_800, filename='a "ü"\r\n.txt')
    assert "X-Amz-Expires=604800" in link
    assert "%0A" not in link.upper().replace("%250A", "")
    for seconds in (0, 604_801):
        with pytest.raises(UsageError):
            presign_download(transport.s3, "bucket", "k", lifetime_seconds=seconds)


def test_open_multipart_uploads_are_listed(faulty: Transport, proxy: FaultProxy, s3, bucket: str) -> None:
    assert list(open_multiparts(s3, bucket)) == []
    for key in ("in/b", "in/a", "out/c"):
        upload_id = s3.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
        s3.upload_part(Bucket=bucket, Key=key, UploadId=upload_id, PartNumber=1, Body=b"12345")
    proxy.plan("*", Reset(), times=2)
    found = list(open_multiparts(faulty.s3, bucket, "in/"))
    assert sorted(upload.key for upload in found) == ["in/a", "in/b"]
    assert stored_bytes(faulty.s3, bucket, found[0].key, found[0].upload_id) == 5
    assert found[0].initiated_at.tzinfo is not None


def test_many_parts_are_listed_in_pages(transport: Transport, s3, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server may hand parts and uploads out one by one."""
    upload_id = s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    for number in range(1, 4):
        s3.upload_part(Bucket=bucket, Key="k", UploadId=upload_id, PartNumber=number, Body=b"x")
    transport.s3.meta.events.register(
        "provide-client-params.s3.ListParts", lambda params, **_: params | {"MaxParts": 1}
    )
    assert stored_bytes(transport.s3, bucket, "k", upload_id) == 3


@pytest.mark.parametrize("operation", ["ListParts", "AbortMultipartUpload"])
@pytest.mark.parametrize(
    ("status", "code"), [(403, "AccessDenied"), (501, "NotImplemented"), (405, "MethodNotAllowed")]
)
def test_what_an_upload_can_do_without_is_told(
    proxy: FaultProxy, s3, bucket: str, operation: str, status: int, code: str
) -> None:
    client = make_client(ClientOptions(endpoint_url=proxy.url))
    proxy.plan(operation, Answer(status, code, forwarded=operation == "AbortMultipartUpload"))
    assert {name: error.code for name, error in probe_bucket(client, bucket, "probe", {}).missing.items()} == {
        operation: code
    }
    client.close()
    assert list(open_multiparts(s3, bucket)) == []


@pytest.mark.parametrize("operation", ["CreateMultipartUpload", "UploadPart"])
def test_trying_a_bucket_names_what_is_refused(proxy: FaultProxy, s3, bucket: str, operation: str) -> None:
    client = make_client(ClientOptions(endpoint_url=proxy.url))
    assert probe_bucket(client, bucket, "probe", {}).checksums is not None
    proxy.plan(operation, Answer(403, "AccessDenied"))
    with pytest.raises(TransferError, match=f"^AccessDenied: {operation}: "):
        probe_bucket(client, bucket, "probe", {})
    client.close()
    assert list(open_multiparts(s3, bucket)) == []


@pytest.mark.parametrize(
    ("habits", "of_put", "of_completion"),
    [
        ({}, ConditionSupport.HONOURED, ConditionSupport.HONOURED),
        ({"conditions": "put"}, ConditionSupport.HONOURED, ConditionSupport.IGNORED),
        ({"conditions": "none"}, ConditionSupport.IGNORED, ConditionSupport.IGNORED),
        ({"conditions": "refused"}, ConditionSupport.REFUSED, ConditionSupport.REFUSED),
    ],
)
def test_what_a_server_makes_of_conditions_is_seen_and_nothing_stays(
    habits: dict[str, Any], of_put: ConditionSupport, of_completion: ConditionSupport
) -> None:
    with StrictS3(**habits) as strict:
        client = make_client(ClientOptions(endpoint_url=strict.url))
        found = probe_conditions(client, "bucket", "probe", {})
        client.close()
        assert found == {"PutObject": of_put, "CompleteMultipartUpload": of_completion}
        assert (strict.objects, strict.multiparts) == ({}, {})


def test_a_server_that_ignores_conditions_is_seen_to(s3, bucket: str) -> None:
    assert set(probe_conditions(s3, bucket, "probe", {}).values()) == {ConditionSupport.IGNORED}
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)


@pytest.mark.parametrize("knows_keys", [True, False])
def test_trying_a_bucket_tells_whether_a_key_of_ours_encrypts(knows_keys: bool) -> None:
    with StrictS3(customer_keys=knows_keys) as strict:
        client = make_client(ClientOptions(endpoint_url=strict.url, sse_customer_key=bytes(range(32))))
        assert probe_bucket(client, "bucket", "probe", {}).by_customer_key is knows_keys
        client.close()
