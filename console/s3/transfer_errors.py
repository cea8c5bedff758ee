"""The one place that sorts what can go wrong in a transfer.

    ConsoleError
    ├── TransferError   code, message and recovery: what the document's `error` shows
    └── Stopped         the transfer was told to stop (pause, cancel, end of the program); no error at all
    ServiceError        an engine's own, before it is sorted

`classify` sorts; what a code means is in `error_codes`.
"""

from __future__ import annotations

import errno
import http.client
import re
import xml.etree.ElementTree as ElementTree
from functools import cache
from typing import TYPE_CHECKING, Final

from console.capacity import shortage
from console.error_codes import DENIED, OUT_OF_REACH, Recovery, explain
from console.errors import ConsoleError, ServerUnreachable
from console.files.beneath import THROUGH_A_LINK
from console.formatting import visible

if TYPE_CHECKING:
    from botocore.exceptions import ClientError


class TransferError(ConsoleError):
    """A transfer failed. `code` is S3's where S3 gave one, else one of `error_codes`."""

    title = "S3"

    def __init__(self, code: str, message: str, recovery: Recovery | None = None, *, status: int | None = None) -> None:
        explanation = explain(code, status)
        super().__init__(message, advice=explanation.advice)
        self.code = code
        self.recovery = recovery or explanation.recovery
        if code in OUT_OF_REACH:
            self.title, self.exit_code = ServerUnreachable.title, ServerUnreachable.exit_code

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


class Stopped(ConsoleError):
    """The transfer must stop now. Raised by `Control.check`; subclasses say why."""

    title = "Stopped"

    def __init__(self, message: str = "stopped") -> None:
        super().__init__(message)


class ServiceError(Exception):
    """An error answer of S3 to an `operation`, as an engine that is not boto3 hands it over."""

    def __init__(self, code: str, message: str, status: int, operation: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.operation = operation
        self.message = message
        self.status = status


def refusal(status: int, body: bytes, operation: str) -> ServiceError:
    """An answer that refuses the operation, as it came over HTTP."""
    try:
        root = ElementTree.fromstring(body)  # noqa: S314 - expat expands no external entities, and bounds others
    except ElementTree.ParseError:
        return ServiceError(str(status), _answered(status), status, operation)
    details = {element.tag.rpartition("}")[2]: element.text or "" for element in root}
    code = details.get("Code") or str(status)
    message = details.get("Message") or ""
    return ServiceError(code, message if message not in ("", code) else _answered(status, code), status, operation)


def _answered(status: int | None, code: str = "") -> str:
    """For an answer that gives no reason: proxies, and servers that leave it out."""
    number = f"{status} {http.client.responses.get(status, '')}".rstrip() if status else ""
    told = code if code != str(status) else ""
    meaning = explain(code or str(status), status).message
    return f"the server answered {' '.join(filter(None, (number, told))) or 'nothing'}, without a reason: {meaning}"


@cache
def _aws_codes() -> tuple[tuple[type[Exception], str], ...]:
    """From the most specific to the most general: the first that fits names the code."""
    import botocore.exceptions as aws  # a start without errors does without

    return (
        (aws.ConnectTimeoutError, "ConnectTimeout"),
        (aws.ReadTimeoutError, "ReadTimeout"),
        (aws.ProxyConnectionError, "ProxyFailed"),
        (aws.SSLError, "CertificateRefused"),
        (aws.ConnectionClosedError, "ConnectionClosed"),
        (aws.EndpointConnectionError, "ConnectionFailed"),
        (aws.ResponseStreamingError, "ConnectionClosed"),
        (aws.IncompleteReadError, "ConnectionClosed"),
        (aws.HTTPClientError, "ConnectionFailed"),
        (aws.ConnectionError, "ConnectionFailed"),
        (aws.NoCredentialsError, "CredentialsMissing"),
        (aws.PartialCredentialsError, "CredentialsMissing"),
        (aws.ProfileNotFound, "CredentialsMissing"),
        (aws.CredentialRetrievalError, "CredentialsUnavailable"),
        (aws.TokenRetrievalError, "CredentialsUnavailable"),
        (aws.SSOError, "CredentialsUnavailable"),
        (aws.MetadataRetrievalError, "CredentialsUnavailable"),
        (aws.InvalidRegionError, "AuthorizationHeaderMalformed"),
        (aws.ParamValidationError, "ParameterRefused"),
        (aws.BotoCoreError, "ParameterRefused"),
    )


# What `open`, `pread` and `stat` of the file say. Broken sockets never arrive here: botocore wraps them.
_FILE_CODES: Final[dict[int, str]] = {
    errno.ENOENT: "FileNotFound",
    errno.ENOTDIR: "FileNotFound",
    errno.ESTALE: "FileNotFound",
    errno.EACCES: "PermissionDenied",
    errno.EPERM: "PermissionDenied",
    errno.EISDIR: "NotARegularFile",
    errno.ENXIO: "NotARegularFile",
    errno.ELOOP: "FileNotFound",
    errno.ENAMETOOLONG: "FileNotFound",
}


class AnswerTooLong(Exception):
    """A server tells more than S3 ever would."""


def classify(exception: Exception) -> TransferError:
    """Sort an exception that came up while talking to S3. What it does not know is raised again: it is a bug."""
    if isinstance(exception, TransferError):
        return exception
    if lacking := shortage(exception):
        return TransferError("OutOfResources", lacking)
    if isinstance(exception, ServiceError):
        message = _with_right(exception.code, visible(exception.message), exception.operation)
        return TransferError(exception.code, message, status=exception.status)
    codes = _aws_codes()
    from botocore.exceptions import ClientError

    if isinstance(exception, ClientError):
        return _from_answer(exception)
    if "ResponseParserError" in {kind.__name__ for kind in type(exception).__mro__}:
        return TransferError("UnreadableAnswer", visible(str(exception)))
    # botocore may have wrapped it.
    for told in (exception, getattr(exception, "kwargs", {}).get("error")):
        if isinstance(told, AnswerTooLong):
            return TransferError("UnreadableAnswer", str(told))
    if isinstance(exception, RecursionError):
        return TransferError("UnreadableAnswer", "S3's answer is nested too deeply")
    for kind, code in codes:
        if isinstance(exception, kind):
            if code == "CertificateRefused" and "CERTIFICATE_VERIFY_FAILED" not in str(exception):
                code = "ConnectionClosed"
            if code == "ConnectionClosed" and _has_timed_out(exception):
                code = "WriteTimeout"
            return TransferError(code, visible(str(exception)))
    raise exception


def classify_file_error(error: OSError, path: str) -> TransferError:
    """Sort an error of the file itself, with the file's name in the message."""
    if lacking := shortage(error):
        return TransferError("OutOfResources", f"{visible(path)}: {lacking}")
    code = "NotARegularFile" if error.strerror == THROUGH_A_LINK else _FILE_CODES.get(error.errno or 0, "ReadFailed")
    return TransferError(code, f"{visible(path)}: {error.strerror or error}")


def _has_timed_out(exception: Exception) -> bool:
    """Whether it is closed because the server took nothing for too long: botocore says so in what it wraps."""
    cause = getattr(exception, "kwargs", {}).get("error")
    return any(isinstance(inner, TimeoutError) for inner in (cause, *getattr(cause, "args", ())))


def _from_answer(error: ClientError) -> TransferError:
    answer = error.response
    status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode")
    details = answer.get("Error", {})
    code = str(details.get("Code") or status or "Unknown")
    message = details.get("Message") or ""
    if message in ("", code) or (status is not None and message == http.client.responses.get(status)):
        message = f"{error.operation_name}: {_answered(status, code)}"
    if code == "404" and not error.operation_name.startswith("Head"):
        # Every 404 but one to a HEAD names what is missing (NoSuchUpload, NoSuchBucket): this answer was cut.
        return TransferError("UnreadableAnswer", "404 without an error code")
    return TransferError(code, _with_right(code, visible(message), error.operation_name), status=status)


# Operations whose right has another name (Amazon S3 API, "Required permissions for Amazon S3 API operations").
_RIGHTS: Final = {
    "HeadObject": "GetObject",
    "HeadBucket": "ListBucket",
    "ListObjectsV2": "ListBucket",
    "ListObjectVersions": "ListBucketVersions",
    "CreateMultipartUpload": "PutObject",
    "UploadPart": "PutObject",
    "CompleteMultipartUpload": "PutObject",
    "ListParts": "ListMultipartUploadParts",
    "ListMultipartUploads": "ListBucketMultipartUploads",
    "DeleteObjects": "DeleteObject",
}
_NAMES_A_RIGHT: Final = re.compile(r"\b[a-z0-9]+:[A-Z][A-Za-z]+")


def _with_right(code: str, message: str, operation: str) -> str:
    """Most servers say "Access Denied" and leave open to what; AWS names the right where it knows the user's policy."""
    if code not in DENIED or not operation or _NAMES_A_RIGHT.search(message):
        return message
    service = "sts" if operation.startswith("AssumeRole") else "s3"  # S3 is asked once a role's credentials are there
    return f"{message.rstrip('.')} ({operation} needs {service}:{_RIGHTS.get(operation, operation)})"
