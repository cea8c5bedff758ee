"""The two requests that carry bytes, and the answer to them: PutObject and UploadPart.

`boto3_engine` sends them, and `http_engine` the small ones: one request each, without retries of their own, the body's
checksums in its headers. They verify nothing: `s3.confirmation` does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from console.s3.checksums import Algorithm
from console.s3.transfer_errors import TransferError


@dataclass(frozen=True, slots=True)
class ObjectSettings:
    """How an object is kept. Names and values as S3 has them; `preserve`: what of the file goes into the metadata (see
    `transfer.job`); `compress` and `encrypt_to`: what is done to it on the way (see `staged`)."""

    storage_class: str | None = None
    server_side_encryption: str | None = None
    kms_key_id: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    kms_context: Mapping[str, str] = field(default_factory=dict)
    cache_control: str | None = None
    content_disposition: str | None = None
    content_encoding: str | None = None
    content_language: str | None = None
    acl: str | None = None
    object_lock_mode: str | None = None
    object_lock_days: int | None = None
    legal_hold: bool = False
    preserve: Sequence[str] = ()
    compress: str | None = None
    encrypt_to: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class PutRequest:
    """A whole object. `if_absent` asks S3 to refuse where the key exists."""

    bucket: str
    key: str
    content_type: str
    settings: ObjectSettings
    if_absent: bool = False


@dataclass(frozen=True, slots=True)
class PartRequest:
    """One part of a multipart upload."""

    bucket: str
    key: str
    upload_id: str
    number: int


@dataclass(frozen=True, slots=True)
class StoredBody:
    """What S3 says it stored. `etag` without quotes; `checksums` in base64; `etag_is_md5` unless encrypted with KMS or
    a key of ours, `by_customer_key`."""

    etag: str
    checksums: Mapping[Algorithm, str] = field(default_factory=dict)
    version_id: str | None = None
    etag_is_md5: bool = True
    by_customer_key: bool = False

    def require_customer_key(self) -> None:
        """Raises `TransferError` where S3 does not say that a key of ours encrypts: many a server passes over one, and
        would hold in the clear what was meant to be encrypted."""
        if not self.by_customer_key:
            raise TransferError("NotEncrypted", "the server did not encrypt it by the key of sse_customer_key_file")
