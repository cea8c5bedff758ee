"""The boto3 client that all transfers of a process share.

Owns how it is set up, and when: to import botocore and to have it read what it knows of S3 takes a third of the time of
a start. Where the environment leaves it nothing to find out (`PlainService`) it comes with the first request that needs
it; small files need none. Not here: where settings and credentials of AWS come from (`s3.credentials`).
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self, cast
from urllib.parse import urlencode, urlsplit

from console.choices import MEBIBYTE, AddressingStyle
from console.errors import ConfigurationError
from console.formatting import visible
from console.s3.address import Address
from console.s3.engines.body import LARGEST_PIECE
from console.s3.engines.engine import ObjectSettings
from console.s3.transfer_errors import AnswerTooLong

if TYPE_CHECKING:
    from botocore.config import Config
    from botocore.session import Session
    from mypy_boto3_s3.client import S3Client

_ENDPOINT_REGION: Final = "us-east-1"
"""What servers other than AWS expect in signatures unless told otherwise."""
_LONGEST_ANSWER: Final = 16 * MEBIBYTE
"""A list of 1,000 keys, the most that S3 gives at once, has at most 6."""
_SPARE_CONNECTIONS: Final = 8
"""For requests without a body, beside those that send parts."""


@dataclass(frozen=True, slots=True)
class ClientOptions:
    """Where S3 is and how it is reached. `connections`: how many requests with bodies may be under way at once."""

    endpoint_url: str | None = None
    region: str | None = None
    profile: str | None = None
    addressing_style: AddressingStyle = "auto"
    ca_bundle: Path | None = None
    connect_timeout_seconds: float = 10.0
    read_timeout_seconds: float = 60.0
    connections: int = 256
    sse_customer_key: bytes | None = None
    requester_pays: bool = False
    expected_bucket_owner: str | None = None


def make_client(options: ClientOptions, session: Session | None = None) -> S3Client:
    """A client without retries of its own (`retry` does that, and can be interrupted).

    Raises:
        ConfigurationError: no region for AWS, no credentials, an unknown profile, a wrong endpoint.
    """
    import botocore.exceptions as aws
    from botocore import httpsession

    from console.s3.credentials import open_session, require_ca_bundle, require_credentials

    session = session or open_session(options.profile, options.region)
    region = session.get_config_variable("region") or (_ENDPOINT_REGION if options.endpoint_url else None)
    if region is None:
        raise ConfigurationError(
            "s3.region: no AWS region is set", advice="Set s3.region, AWS_REGION, or the profile's region."
        )
    require_credentials(session)
    if options.ca_bundle is None and not (options.endpoint_url or "").startswith("http:"):
        require_ca_bundle(session)
    # The most that urllib3 asks of a body at once. No setting of a client reaches it; with 128 KiB, as botocore has it,
    # 2 GiB took 5.1 s and 5.9 s of processor time, with this 3.3 and 3.9.
    if httpsession.BUFFER_SIZE is not None:  # else this urllib3 has no such parameter
        httpsession.BUFFER_SIZE = LARGEST_PIECE
    _bound_answers()
    try:
        client: Any = session.create_client(
            "s3",
            region_name=region,
            endpoint_url=options.endpoint_url,
            verify=str(options.ca_bundle) if options.ca_bundle is not None else None,
            config=_config(options),
        )
        client.meta.events.register("before-parse.s3", _make_readable)
        if options.endpoint_url:
            client.meta.events.register("before-call.s3.HeadBucket", _stay_here)
        if common := common_parameters(options):
            _add_to_requests(client, common)
        return cast("S3Client", client)
    except (ValueError, aws.BotoCoreError) as error:
        raise ConfigurationError(f"S3 client: {visible(str(error))}", advice="Check the s3 settings.") from None


def _bound_answers() -> None:
    """botocore reads answers without an object's bytes whole, however long a server makes them."""
    import botocore.awsrequest

    if getattr(botocore.awsrequest.AWSResponse, "is_bounded", False):
        return

    class BoundedResponse(botocore.awsrequest.AWSResponse):
        is_bounded = True
        _content: bytes | None

        @property
        def content(self) -> bytes:
            if self._content is None:
                pieces: list[bytes] = []
                left = _LONGEST_ANSWER
                for piece in self.raw.stream():
                    left -= len(piece)
                    if left < 0:
                        self.raw.close()
                        raise AnswerTooLong(f"S3's answer is longer than {_LONGEST_ANSWER // MEBIBYTE} MiB")
                    pieces.append(piece)
                self._content = b"".join(pieces)
            return self._content

    botocore.awsrequest.AWSResponse = BoundedResponse  # type: ignore[misc]


_NO_XML: Final = re.compile(
    rb"[\x00-\x08\x0b\x0c\x0e-\x1f]|&#(?:x0*(?:[0-8bcefBCEF]|1[0-9a-fA-F])|0*(?:[0-8]|1[124-9]|2\d|3[01]));"
)
_RESULT: Final = re.compile(rb"\s*(?:<\?xml[^>]*>\s*)?<(?:\w+:)?\w+Result[\s>]")


def _make_readable(response_dict: dict[str, Any], **_: Any) -> None:
    """S3 repeats keys in its answers, and XML has no way to write most control characters: S3 writes them all the same,
    and botocore takes an answer with one for an error of the server."""
    body = response_dict.get("body")
    if isinstance(body, bytes) and (readable := _NO_XML.sub("\ufffd".encode(), body)) != body:
        response_dict["body"] = readable
        if response_dict["status_code"] == HTTPStatus.INTERNAL_SERVER_ERROR and _RESULT.match(readable):
            response_dict["status_code"] = HTTPStatus.OK.value


def _stay_here(params: dict[str, Any], **_: Any) -> None:
    """To follow a redirect botocore asks with a HeadBucket for the region, and follows the redirect that it gets to
    this one in the same way: a server that names no region was asked until Python had no more stack."""
    params["context"].setdefault("s3_redirect", {})["redirected"] = True


_PLAIN_URL: Final = re.compile(r"https?://[A-Za-z0-9.-]+(:\d{1,5})?/?")
_PLAIN_REGION: Final = re.compile(r"[a-z0-9-]+")
_PLAIN_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_PLAIN_VARIABLES: Final = frozenset(
    {
        *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_DEFAULT_REGION"),
        *("AWS_CA_BUNDLE", "AWS_EC2_METADATA_DISABLED", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"),
    }
)
_FILES: Final = {"AWS_CONFIG_FILE": "~/.aws/config", "AWS_SHARED_CREDENTIALS_FILE": "~/.aws/credentials"}


class EnvironmentCredentials(NamedTuple):
    """Credentials of AWS's variables, with the one method of botocore's that signing needs."""

    access_key: str
    secret_key: str
    token: str | None

    def get_frozen_credentials(self) -> Self:
        return self


@dataclass(frozen=True, slots=True)
class PlainService:
    """An S3 service of which settings and environment say all: botocore would come to the same."""

    url: str
    region: str
    credentials: EnvironmentCredentials

    @classmethod
    def of(cls, options: ClientOptions) -> Self | None:
        """None where there is an AWS file, a profile, a variable of another kind or anything that is not plain."""
        url, variables = options.endpoint_url or "", {name for name in os.environ if name.startswith("AWS_")}
        access_key, secret_key = os.environ.get("AWS_ACCESS_KEY_ID"), os.environ.get("AWS_SECRET_ACCESS_KEY")
        region = options.region or os.environ.get("AWS_DEFAULT_REGION") or _ENDPOINT_REGION
        is_plain = (
            options.profile is None
            and options.addressing_style in ("auto", "path")
            and _PLAIN_URL.fullmatch(url) is not None
            and not is_aws(url)
            and _PLAIN_REGION.fullmatch(region) is not None
            and variables <= _PLAIN_VARIABLES
            and not any(Path(os.environ.get(*names)).expanduser().exists() for names in _FILES.items())
            and Path(os.environ.get("AWS_CA_BUNDLE") or "/").exists()
        )
        if not (is_plain and access_key and secret_key):
            return None
        token = os.environ.get("AWS_SESSION_TOKEN") or None
        return cls(url.rstrip("/"), region, EnvironmentCredentials(access_key, secret_key, token))

    def address(self, bucket: str) -> Address | None:
        """Where botocore would put the bucket's objects; None for a name that it has to look at."""
        if not _PLAIN_BUCKET.fullmatch(bucket):
            return None
        url = urlsplit(self.url)
        return Address(url.netloc, f"/{bucket}/", url.scheme == "https")


class ClientOnDemand:
    """Stands for a client that is made when it is first used. Thread-safe."""

    def __init__(self, make: Callable[[], S3Client]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._made: S3Client | None = None

    def __getattr__(self, name: str) -> Any:
        with self._lock:
            if self._made is None:
                self._made = self._make()
        return getattr(self._made, name)

    def close(self) -> None:
        """End its connections, if there are any."""
        with self._lock:
            if self._made is not None:
                self._made.close()


def is_aws(url: str) -> bool:
    """Whether it is an address of Amazon's own S3."""
    host = urlsplit(url).hostname or ""
    return host.endswith((".amazonaws.com", ".amazonaws.com.cn", ".api.aws"))


def object_parameters(content_type: str, settings: ObjectSettings) -> dict[str, Any]:
    """What PutObject and CreateMultipartUpload are told about the object, in boto3's names."""
    parameters: dict[str, Any] = {
        "ContentType": content_type,
        "StorageClass": settings.storage_class,
        "ServerSideEncryption": settings.server_side_encryption,
        "SSEKMSKeyId": settings.kms_key_id,
        "SSEKMSEncryptionContext": _kms_context(settings.kms_context),
        "Metadata": dict(settings.metadata),
        "Tagging": urlencode(settings.tags),
        "CacheControl": settings.cache_control,
        "ContentDisposition": settings.content_disposition,
        "ContentEncoding": settings.content_encoding,
        "ContentLanguage": settings.content_language,
        "ACL": settings.acl,
        "ObjectLockLegalHoldStatus": "ON" if settings.legal_hold else None,
    }
    if settings.object_lock_mode and settings.object_lock_days:
        until = datetime.now(UTC) + timedelta(days=settings.object_lock_days)
        parameters |= {"ObjectLockMode": settings.object_lock_mode, "ObjectLockRetainUntilDate": until}
    return {name: value for name, value in parameters.items() if value}


def _kms_context(context: Mapping[str, str]) -> str:
    """As its header has it: Base64 of JSON, the same for the same context."""
    return base64.b64encode(json.dumps(dict(context), sort_keys=True).encode()).decode() if context else ""


def common_parameters(options: ClientOptions) -> dict[str, str]:
    """What every request says that knows such a parameter, in boto3's names: which key of ours encrypts, who pays, and
    whose bucket it must be."""
    parameters: dict[str, str] = {}
    if (key := options.sse_customer_key) is not None:
        digest = hashlib.md5(key, usedforsecurity=False).digest()
        parameters |= {
            "SSECustomerAlgorithm": "AES256",
            "SSECustomerKey": base64.b64encode(key).decode(),
            "SSECustomerKeyMD5": base64.b64encode(digest).decode(),
        }
    if options.requester_pays:
        parameters["RequestPayer"] = "requester"
    if options.expected_bucket_owner is not None:
        parameters["ExpectedBucketOwner"] = options.expected_bucket_owner
    return parameters


def _add_to_requests(client: Any, common: Mapping[str, Any]) -> None:
    """By botocore's event before parameters are read: no caller has to think of them."""

    def add(params: dict[str, Any], model: Any, **_: Any) -> None:
        known = model.input_shape.members if model.input_shape is not None else {}
        for name, value in common.items():
            if name in known:
                params.setdefault(name, value)

    client.meta.events.register_first("before-parameter-build.s3", add)


def _config(options: ClientOptions) -> Config:
    from botocore.config import Config

    return Config(
        connect_timeout=options.connect_timeout_seconds,
        read_timeout=options.read_timeout_seconds,
        retries={"total_max_attempts": 1},
        max_pool_connections=options.connections + _SPARE_CONNECTIONS,
        tcp_keepalive=True,
        # For an endpoint of one's own botocore would still presign links by version 2, which few servers take.
        signature_version="s3v4",
        # Checksums are computed here, once, and kept: botocore is not to add its own.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        s3={
            "addressing_style": _addressing_style(options),
            # Over plain HTTP botocore would read every body once more for a SHA-256 in the signature. The signed
            # checksum headers guard the bytes as well.
            "payload_signing_enabled": False,
        },
    )


def _addressing_style(options: ClientOptions) -> AddressingStyle:
    """With an endpoint of one's own `auto` means path: bucket names rarely have a DNS entry there."""
    if options.addressing_style == "auto" and options.endpoint_url:
        return "path"
    return options.addressing_style
