"""What the Common Runtime raises, as the exceptions that `errors.classify` sorts.

Owns the table of the runtime's error names. Which of them pass by themselves is said by `verdicts`.
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from typing import Any, Final

from awscrt.exceptions import AwsCrtError
from awscrt.s3 import S3ResponseError

from console.formatting import visible
from console.transfer.errors import ServiceError, TransferError

# By the beginning of the name, the more special first. Whatever else has to do with sockets, TLS or HTTP is a
# connection that broke.
_CODES: Final[Mapping[str, str]] = {
    "AWS_IO_SOCKET_TIMEOUT": "ConnectTimeout",
    "AWS_IO_TLS_NEGOTIATION_TIMEOUT": "ConnectTimeout",
    "AWS_IO_SOCKET_CONNECTION_REFUSED": "ConnectionFailed",
    "AWS_IO_SOCKET_NO_ROUTE_TO_HOST": "ConnectionFailed",
    "AWS_IO_SOCKET_NETWORK_DOWN": "ConnectionFailed",
    "AWS_IO_DNS_": "ConnectionFailed",
    "AWS_ERROR_HTTP_CHANNEL_THROUGHPUT_FAILURE": "ReadTimeout",
    "AWS_ERROR_HTTP_RESPONSE_FIRST_BYTE_TIMEOUT": "ReadTimeout",
    "AWS_ERROR_S3_REQUEST_TIMEOUT": "ReadTimeout",
    "AWS_ERROR_S3_REQUEST_TIME_TOO_SKEWED": "RequestTimeTooSkewed",
    "AWS_ERROR_S3_INTERNAL_ERROR": "InternalError",
    "AWS_ERROR_S3_SLOW_DOWN": "SlowDown",
    "AWS_ERROR_HTTP_PROTOCOL_ERROR": "UnreadableAnswer",
    "AWS_ERROR_S3_MISSING_ETAG": "UnreadableAnswer",
    "AWS_ERROR_HTTP_INVALID_HEADER": "ParameterRefused",
    "AWS_ERROR_HTTP_INVALID_PATH": "ParameterRefused",
    "AWS_ERROR_S3_INCORRECT_CONTENT_LENGTH": "IncompleteBody",
    "AWS_ERROR_HTTP_OUTGOING_STREAM_LENGTH_INCORRECT": "IncompleteBody",
    "AWS_AUTH_": "CredentialsUnavailable",
    "AWS_IO_": "ConnectionClosed",
    "AWS_ERROR_HTTP_": "ConnectionClosed",
    "AWS_ERROR_S3_": "ConnectionClosed",
}


def as_boto3_would(error: BaseException) -> BaseException:
    """An exception that `errors.classify` knows, for one of the runtime; any other exception as it is."""
    if isinstance(error, S3ResponseError) and error.status_code is not None:
        return _refusal(int(error.status_code), error.body)
    if isinstance(error, AwsCrtError):
        code = next((code for name, code in _CODES.items() if error.name.startswith(name)), None)
        if code is not None:
            return TransferError(code, f"{visible(error.message)} ({error.name})")
    return error


def _refusal(status: int, body: Any) -> ServiceError | TransferError:
    if 200 <= status < 300:
        return TransferError("UnreadableAnswer", f"S3's answer with status {status} cannot be read")
    try:
        root = ElementTree.fromstring(body or b"")  # noqa: S314 - expat expands no external entities, and bounds others
    except ElementTree.ParseError:
        return ServiceError(str(status), f"S3 answered {status}", status)
    details = {element.tag.rpartition("}")[2]: element.text or "" for element in root}
    code = details.get("Code") or str(status)
    return ServiceError(code, details.get("Message") or f"S3 answered {code}", status)
