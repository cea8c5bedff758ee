"""The two requests that carry bytes, as an interface: PutObject and UploadPart.

Everything else that is asked of S3 goes through boto3. Implementations: `boto3_engine` and `crt_engine`. They send one
request each, without retries of their own, the body's checksums in its headers, and verify nothing: `confirm` does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from console.s3.checksums import Algorithm, Digests
from console.s3.engines.body import Body


@dataclass(frozen=True, slots=True)
class ObjectSettings:
    """How an object is kept. Names and values as S3 has them."""

    storage_class: str | None = None
    server_side_encryption: str | None = None
    kms_key_id: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)


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
    """What S3 says it stored. `etag` without quotes; `checksums` in base64; `etag_is_md5` unless encrypted with KMS."""

    etag: str
    checksums: Mapping[Algorithm, str] = field(default_factory=dict)
    version_id: str | None = None
    etag_is_md5: bool = True


class Engine(Protocol):
    """Sends bodies; safe to use from several threads."""

    def put_object(self, request: PutRequest, body: Body) -> StoredBody:
        """Send a whole object. Raises `Stopped`, or what `errors.classify` knows."""
        ...

    def upload_part(self, request: PartRequest, body: Body) -> StoredBody:
        """Send one part. Raises as `put_object`."""
        ...

    def close(self) -> None:
        """End connections and threads."""
        ...


@runtime_checkable
class PipeliningEngine(Engine, Protocol):
    """An engine that can also send without a thread waiting for each request."""

    def takes_at_once(self, bucket: str) -> bool:
        """Whether `begin_put` may be used for this bucket now."""
        ...

    def begin_put(
        self, request: PutRequest, content: bytes, digests: Digests, done: Callable[[StoredBody | BaseException], None]
    ) -> Callable[[], None]:
        """Begin to send a small object and return at once; gives what cancels it. `digests` go into the headers.

        `done` gets the answer, or what `errors.classify` knows, on a thread of the engine: it must be quick, and not
        raise. Raises what keeps the request from being sent at all; `done` is not called then.
        """
        ...
