"""The boto3 client that all transfers of a process share.

Owns how it is set up. Not here: where settings and credentials of AWS come from (`s3.credentials`).
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import urlencode, urlsplit

import botocore.exceptions as aws
from botocore import httpsession
from botocore.config import Config
from botocore.session import Session

from console.choices import AddressingStyle
from console.errors import ConfigurationError
from console.formatting import visible
from console.s3.credentials import open_session, require_ca_bundle, require_credentials
from console.s3.engines.body import LARGEST_PIECE
from console.s3.engines.engine import ObjectSettings

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

_ENDPOINT_REGION: Final = "us-east-1"
"""What servers other than AWS expect in signatures unless told otherwise."""
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
    try:
        client: Any = session.create_client(
            "s3",
            region_name=region,
            endpoint_url=options.endpoint_url,
            verify=str(options.ca_bundle) if options.ca_bundle is not None else None,
            config=_config(options),
        )
        if common := common_parameters(options):
            _add_to_requests(client, common)
        return cast("S3Client", client)
    except (ValueError, aws.BotoCoreError) as error:
        raise ConfigurationError(f"S3 client: {visible(str(error))}", advice="Check the s3 settings.") from None


def is_aws(s3: S3Client) -> bool:
    """Whether the client talks to Amazon's own S3."""
    host = urlsplit(s3.meta.endpoint_url).hostname or ""
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
