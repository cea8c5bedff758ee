"""What every request says: SSE-C, who pays, whose bucket. Seen in the headers that botocore would send."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from typing import Any

import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse

from console.s3.client import ClientOptions, make_client, object_parameters
from console.s3.engines.engine import ObjectSettings

_KEY = bytes(range(32))


class _Body:
    def stream(self) -> list[bytes]:
        return [b"<a/>"]


@pytest.fixture
def headers_of(monkeypatch: pytest.MonkeyPatch) -> Callable[..., AWSPreparedRequest]:
    """The request that an operation makes; nothing is sent."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")

    def call(operation: str, options: ClientOptions, **parameters: Any) -> AWSPreparedRequest:
        client = make_client(options)
        seen: list[AWSPreparedRequest] = []

        def answer(request: AWSPreparedRequest, **_: Any) -> AWSResponse:
            seen.append(request)
            return AWSResponse(request.url, 200, {}, _Body())

        client.meta.events.register("before-send.s3", answer)
        getattr(client, operation)(**parameters)
        client.close()
        return seen[0]

    return call


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value


_OPERATIONS = [
    ("put_object", {"Bucket": "b", "Key": "k", "Body": b"x"}),
    ("create_multipart_upload", {"Bucket": "b", "Key": "k"}),
    ("upload_part", {"Bucket": "b", "Key": "k", "UploadId": "u", "PartNumber": 1, "Body": b"x"}),
    ("list_parts", {"Bucket": "b", "Key": "k", "UploadId": "u"}),
    ("complete_multipart_upload", {"Bucket": "b", "Key": "k", "UploadId": "u"}),
    ("head_object", {"Bucket": "b", "Key": "k"}),
    ("get_object", {"Bucket": "b", "Key": "k"}),
]
_WITHOUT_CONTENT = [
    ("abort_multipart_upload", {"Bucket": "b", "Key": "k", "UploadId": "u"}),
    ("delete_object", {"Bucket": "b", "Key": "k"}),
    ("delete_objects", {"Bucket": "b", "Delete": {"Objects": [{"Key": "k"}]}}),
    ("list_objects_v2", {"Bucket": "b"}),
    ("list_multipart_uploads", {"Bucket": "b"}),
]


@pytest.mark.parametrize(("operation", "parameters"), _OPERATIONS)
def test_every_request_says_key_payer_and_owner(
    headers_of: Callable[..., AWSPreparedRequest], operation: str, parameters: dict[str, Any]
) -> None:
    options = ClientOptions(
        region="eu-central-1", sse_customer_key=_KEY, requester_pays=True, expected_bucket_owner="123456789012"
    )
    headers = headers_of(operation, options, **parameters).headers
    assert _text(headers["x-amz-server-side-encryption-customer-key"]) == base64.b64encode(_KEY).decode()
    digest = base64.b64encode(hashlib.md5(_KEY, usedforsecurity=False).digest()).decode()
    assert _text(headers["x-amz-server-side-encryption-customer-key-MD5"]) == digest
    assert _text(headers["x-amz-server-side-encryption-customer-algorithm"]) == "AES256"
    assert _text(headers["x-amz-request-payer"]) == "requester"
    assert _text(headers["x-amz-expected-bucket-owner"]) == "123456789012"


@pytest.mark.parametrize(("operation", "parameters"), _WITHOUT_CONTENT)
def test_requests_that_need_no_key_say_who_pays_and_whose_bucket_it_is(
    headers_of: Callable[..., AWSPreparedRequest], operation: str, parameters: dict[str, Any]
) -> None:
    options = ClientOptions(
        region="eu-central-1", sse_customer_key=_KEY, requester_pays=True, expected_bucket_owner="123456789012"
    )
    headers = headers_of(operation, options, **parameters).headers
    assert _text(headers["x-amz-request-payer"]) == "requester"
    assert _text(headers["x-amz-expected-bucket-owner"]) == "123456789012"
    assert not [name for name in headers if "customer" in name.lower()]


def test_without_them_nothing_is_added(headers_of: Callable[..., AWSPreparedRequest]) -> None:
    headers = headers_of("put_object", ClientOptions(region="eu-central-1"), Bucket="b", Key="k", Body=b"x").headers
    assert not [name for name in headers if "customer" in name.lower() or "payer" in name.lower()]


@pytest.mark.parametrize(
    ("bucket", "host"),
    [
        (
            "arn:aws:s3:eu-central-1:123456789012:accesspoint/team",
            "https://team-123456789012.s3-accesspoint.eu-central-1.amazonaws.com/dir/k",
        ),
        (
            "arn:aws:s3:eu-central-1:123456789012:accesspoint:team",
            "https://team-123456789012.s3-accesspoint.eu-central-1.amazonaws.com/dir/k",
        ),
        ("team-abcdefgh-s3alias", "https://team-abcdefgh-s3alias.s3.eu-central-1.amazonaws.com/dir/k"),
    ],
)
def test_access_points_are_buckets(headers_of: Callable[..., AWSPreparedRequest], bucket: str, host: str) -> None:
    request = headers_of("put_object", ClientOptions(region="eu-central-1"), Bucket=bucket, Key="dir/k", Body=b"x")
    assert request.url == host


def test_lock_hold_and_context_are_headers_of_the_object(headers_of: Callable[..., AWSPreparedRequest]) -> None:
    settings = ObjectSettings(
        server_side_encryption="aws:kms",
        kms_context={"team": "a"},
        object_lock_mode="GOVERNANCE",
        object_lock_days=30,
        legal_hold=True,
        acl="bucket-owner-full-control",
        cache_control="no-cache",
        content_disposition="inline",
        content_encoding="gzip",
        content_language="de",
    )
    parameters = object_parameters("text/plain", settings)
    for operation, more in (("put_object", {"Body": b"x"}), ("create_multipart_upload", {})):
        request = headers_of(operation, ClientOptions(region="eu-central-1"), Bucket="b", Key="k", **more, **parameters)
        headers = {name.lower(): _text(value) for name, value in request.headers.items()}
        assert headers["x-amz-object-lock-mode"] == "GOVERNANCE"
        assert headers["x-amz-object-lock-retain-until-date"] > "2020"
        assert headers["x-amz-object-lock-legal-hold"] == "ON"
        assert base64.b64decode(headers["x-amz-server-side-encryption-context"]) == b'{"team": "a"}'
        assert headers["x-amz-acl"] == "bucket-owner-full-control"
        assert headers["cache-control"] == "no-cache"
        assert headers["content-disposition"] == "inline"
        assert headers["content-encoding"] == "gzip"
        assert headers["content-language"] == "de"
