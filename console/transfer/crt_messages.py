"""What the Common Runtime is told to send, and what S3 answers: PutObject and UploadPart as HTTP has them.

Owns names and values of headers. Nothing is sent here (`crt_engine`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote

from awscrt.http import HttpHeaders, HttpRequest

from console.formatting import visible
from console.transfer.address import Address
from console.transfer.boto3_engine import answer_of, require_etag
from console.transfer.checksums import Algorithm, Digests, to_base64
from console.transfer.client import object_parameters
from console.transfer.crt_client import keep_thread
from console.transfer.engine import Answer, PartRequest, PutRequest
from console.transfer.errors import TransferError

_HEADERS: Final[Mapping[str, str]] = {
    "ContentType": "content-type",
    "StorageClass": "x-amz-storage-class",
    "ServerSideEncryption": "x-amz-server-side-encryption",
    "SSEKMSKeyId": "x-amz-server-side-encryption-aws-kms-key-id",
    "Tagging": "x-amz-tagging",
}


@dataclass(slots=True)
class Response:
    """The answer to one request, as it comes in."""

    headers: dict[str, str] = field(default_factory=dict)

    def take(self, *, status_code: int, headers: Sequence[tuple[str, str]], **_: Any) -> None:
        """Called by the runtime, on its thread."""
        keep_thread()
        self.headers = {name.lower(): value for name, value in headers}

    def answer(self) -> Answer:
        """What S3 says. Raises as `require_etag`."""
        return require_etag(
            answer_of(
                etag=self.headers.get("etag"),
                checksums={
                    algorithm: self.headers[algorithm.header]
                    for algorithm in Algorithm
                    if algorithm is not Algorithm.MD5 and algorithm.header in self.headers
                },
                version_id=self.headers.get("x-amz-version-id"),
                encryption=self.headers.get("x-amz-server-side-encryption"),
            )
        )


def put_message(address: Address, request: PutRequest, length: int) -> HttpRequest:
    """A PutObject, still without body and checksums. Raises `TransferError` (ParameterRefused)."""
    parameters = object_parameters(request.content_type, request.settings)
    headers = [(header, str(parameters[name])) for name, header in _HEADERS.items() if name in parameters]
    headers += [(f"x-amz-meta-{name}", value) for name, value in request.settings.metadata.items()]
    if request.if_absent:
        headers.append(("if-none-match", "*"))
    return _message(address, address.path(request.key), headers, length)


def part_message(address: Address, request: PartRequest, length: int) -> HttpRequest:
    """An UploadPart, still without body and checksums."""
    query = f"partNumber={request.number}&uploadId={quote(request.upload_id, safe='~')}"
    return _message(address, f"{address.path(request.key)}?{query}", [], length)


def _message(address: Address, target: str, headers: list[tuple[str, str]], length: int) -> HttpRequest:
    for name, value in headers:
        if not (name.isascii() and value.isascii()):
            raise TransferError("ParameterRefused", f"{visible(name)}: only ASCII characters are allowed")
    common = [("host", address.host), ("content-length", str(length))]
    return HttpRequest("PUT", target, HttpHeaders([*common, *headers]))


def name_checksums(headers: HttpHeaders, digests: Digests) -> None:
    """Have S3 compare these."""
    for algorithm, digest in digests.items():
        headers.set(algorithm.header, to_base64(digest))
        if algorithm is not Algorithm.MD5:
            # As AWS's own clients say it: some servers return a checksum only then.
            headers.set("x-amz-sdk-checksum-algorithm", algorithm.value)
