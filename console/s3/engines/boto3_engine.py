"""Request bodies through boto3: all but small ones, and those too where `http_engine` is not fit for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from console.s3.checksums import Algorithm, Digests, to_base64
from console.s3.client import object_parameters
from console.s3.engines.body import Body
from console.s3.engines.engine import PartRequest, PutRequest, StoredBody
from console.s3.transfer_errors import TransferError

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

_IN_ONE_PIECE: Final = 64 * 1024
"""Bodies up to this size are sent with their headers; for a stream botocore would ask `100-continue` first."""

_UNVERSIONED: Final = "null"
"""The version id of objects in buckets that keep no versions."""


class Boto3Engine:
    """Sends with the client that also does everything else. The client must have been made by `client.make_client`;
    `has_customer_key`: it has a key by which S3 is to encrypt."""

    def __init__(self, s3: S3Client, *, has_customer_key: bool = False) -> None:
        self._s3 = s3
        self._has_customer_key = has_customer_key

    def put_object(self, request: PutRequest, body: Body) -> StoredBody:
        """Send a whole object. Raises `Stopped`, or what `transfer_errors.classify` knows."""
        parameters = object_parameters(request.content_type, request.settings)
        if request.if_absent:
            parameters["IfNoneMatch"] = "*"
        answer = _send(self._s3.put_object, body, Bucket=request.bucket, Key=request.key, **parameters)
        if self._has_customer_key:
            try:
                answer.require_customer_key()
            except TransferError:
                version: dict[str, Any] = {"VersionId": answer.version_id} if answer.version_id else {}
                self._s3.delete_object(Bucket=request.bucket, Key=request.key, **version)
                raise
        return answer

    def upload_part(self, request: PartRequest, body: Body) -> StoredBody:
        """Send one part. Raises as `put_object`."""
        answer = _send(
            self._s3.upload_part,
            body,
            Bucket=request.bucket,
            Key=request.key,
            UploadId=request.upload_id,
            PartNumber=request.number,
        )
        if self._has_customer_key:
            answer.require_customer_key()
        return answer


def _send(operation: Callable[..., Any], body: Body, **parameters: Any) -> StoredBody:
    length = len(body)
    try:
        checksums = _checksum_parameters(body.digests())
        content = body.read() if length <= _IN_ONE_PIECE else body
        return require_etag(read_answer(operation(Body=content, ContentLength=length, **checksums, **parameters)))
    except Exception:
        if body.failure is not None:
            raise body.failure from None
        raise


def _checksum_parameters(digests: Digests) -> dict[str, Any]:
    parameters = {algorithm.parameter: to_base64(digest) for algorithm, digest in digests.items()}
    for algorithm in digests:
        if algorithm is not Algorithm.MD5:
            # As AWS's own clients say it: some servers return a checksum only then.
            parameters["ChecksumAlgorithm"] = algorithm.value
    return parameters


def read_answer(answer: Mapping[str, Any]) -> StoredBody:
    """The parts of an answer of boto3 that say what was stored."""
    return answer_of(
        etag=answer.get("ETag"),
        checksums={
            algorithm: answer[algorithm.parameter] for algorithm in Algorithm if answer.get(algorithm.parameter)
        },
        version_id=answer.get("VersionId"),
        encryption=answer.get("ServerSideEncryption"),
        by_customer_key=bool(answer.get("SSECustomerAlgorithm")),
    )


def answer_of(
    *,
    etag: str | None,
    checksums: Mapping[Algorithm, str],
    version_id: str | None,
    encryption: str | None,
    by_customer_key: bool = False,
) -> StoredBody:
    """What these mean, as S3 writes them: in the headers of an answer, whoever read those."""
    return StoredBody(
        # Proxies that compress make weak ones of them. S3 itself knows the strong one, and nothing else is compared.
        etag=(etag or "").removeprefix("W/").strip('"'),
        checksums=checksums,
        version_id=version_id if version_id != _UNVERSIONED else None,
        etag_is_md5=not by_customer_key and not (encryption or "").startswith("aws:kms"),
        by_customer_key=by_customer_key,
    )


def require_etag(answer: StoredBody) -> StoredBody:
    """The answer, if it names an ETag. Raises as `require`."""
    if not answer.etag:
        raise TransferError("UnreadableAnswer", "S3's answer came without ETag")
    return answer


def require(answer: Mapping[str, Any], name: str) -> Any:
    """A field that every whole answer has: one that was cut within its headers still looks like one.

    Raises:
        TransferError: UnreadableAnswer.
    """
    if name not in answer:
        raise TransferError("UnreadableAnswer", f"S3's answer came without {name}")
    return answer[name]
