"""What each error code of a transfer means: what the program does about it, and what a person can do.

Owns the table of codes. Pure, imports no S3 library: the screens ask it too. How an exception
becomes a code is in `s3.transfer_errors`, the waiting between attempts in `s3.retry`.

Codes are S3's own where S3 gave one (https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html),
otherwise one of ours, named in the same style.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Recovery(StrEnum):
    """What becomes of a transfer that met an error."""

    RETRY = "retry"
    """Passes by itself: tried again after a while."""
    NEEDS_ACTION = "needs_action"
    """Someone has to fix something first; what arrived is kept for the retry."""
    PERMANENT = "permanent"
    """Cannot succeed with this file and this destination."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """An error code in words, short enough for a table, and what to do about it."""

    recovery: Recovery
    message: str
    advice: str = ""


def _retry(message: str, advice: str = "") -> Explanation:
    return Explanation(Recovery.RETRY, message, advice)


def _needs_action(message: str, advice: str) -> Explanation:
    return Explanation(Recovery.NEEDS_ACTION, message, advice)


def _permanent(message: str, advice: str = "") -> Explanation:
    return Explanation(Recovery.PERMANENT, message, advice)


_NEW_CREDENTIALS: Final = "Renew the credentials (`aws sso login`, or a new access key), then retry."
_RIGHTS: Final = (
    "Ask for s3:PutObject, s3:AbortMultipartUpload and s3:ListMultipartUploadParts on the destination, then retry."
)
_KMS: Final = "Check the KMS key and the right to kms:GenerateDataKey and kms:Decrypt, then retry."
_NETWORK: Final = "Check network, proxy and endpoint if it lasts."
_BUSY: Final = "Lower the number of parallel parts or the bandwidth if it lasts."

EXPLANATIONS: Final[dict[str, Explanation]] = {
    # Throttling and trouble inside the service
    "SlowDown": _retry("S3 asks for fewer requests", _BUSY),
    "SlowDownRead": _retry("S3 asks for fewer requests", _BUSY),  # MinIO's
    "SlowDownWrite": _retry("S3 asks for fewer requests", _BUSY),
    "Throttling": _retry("requests are throttled", _BUSY),
    "ThrottlingException": _retry("requests are throttled", _BUSY),
    "TooManyRequests": _retry("too many requests", _BUSY),
    "RequestLimitExceeded": _retry("too many requests", _BUSY),
    "BandwidthLimitExceeded": _retry("the service limits the bandwidth", _BUSY),
    "InternalError": _retry("error inside S3"),
    "InternalServerError": _retry("error inside S3"),
    "ServiceUnavailable": _retry("S3 is unavailable"),
    "ServiceUnavailableException": _retry("S3 is unavailable"),
    "503": _retry("S3 is unavailable"),
    "XMinioServerNotInitialized": _retry("S3 is still starting"),
    "TemporaryRedirect": _retry("the bucket's name is not known everywhere yet", "A new bucket takes a while."),
    "OperationAborted": _retry("another operation on the object is in progress"),
    "KeyInUse": _retry("another upload is writing to the same key", "It goes on by itself once that one has ended."),
    "ConditionalRequestConflict": _retry("another write to the same key is in progress"),
    # The way there and back
    "RequestTimeout": _retry("S3 waited too long for the data", _NETWORK),
    "ConnectTimeout": _retry("S3 does not answer", _NETWORK),
    "ReadTimeout": _retry("S3 took too long to answer", _NETWORK),
    "WriteTimeout": _retry("S3 takes no more data", _NETWORK),
    "ConnectionFailed": _retry("S3 cannot be reached", _NETWORK),
    "ConnectionClosed": _retry("the connection broke", _NETWORK),
    "ProxyFailed": _retry("the proxy did not answer", "Check HTTPS_PROXY and the proxy if it lasts."),
    "UnreadableAnswer": _retry("S3's answer was cut or garbled", _NETWORK),
    "BadDigest": _retry("data was damaged on the way", "If it lasts, suspect a proxy, the network card or the memory."),
    "XAmzContentSHA256Mismatch": _retry("data was damaged on the way"),
    "XAmzContentChecksumMismatch": _retry("data was damaged on the way"),
    "IncompleteBody": _retry("data arrived incomplete"),
    "ChecksumMismatch": _retry(
        "what S3 stored is not what was sent", "If it lasts, suspect a proxy, the network card or the memory."
    ),
    "NoSuchUpload": _retry("the multipart upload is gone", "It starts again by itself."),
    "InvalidPart": _retry("a part is missing in S3", "It starts again by itself."),
    "PartsUnknown": _retry("the server does not tell which parts arrived", "It starts again by itself."),
    "TooManyParts": _needs_action("the server takes fewer parts", "Raise transfer.part_size, then retry."),
    "InvalidPartOrder": _retry("the parts do not fit together", "It starts again by itself."),
    "OutOfResources": _retry("this machine allows no more at once", "Raise its limits (`ulimit -a`) if it lasts."),
    # For a person
    "CredentialsMissing": _needs_action(
        "no AWS credentials", "Run `aws configure` or `aws sso login`, or set s3.profile; then retry."
    ),
    "CredentialsUnavailable": _needs_action("the credentials could not be fetched", _NEW_CREDENTIALS),
    "ExpiredToken": _needs_action("the credentials have expired", _NEW_CREDENTIALS),
    "ExpiredTokenException": _needs_action("the credentials have expired", _NEW_CREDENTIALS),
    "TokenRefreshRequired": _needs_action("the credentials have expired", _NEW_CREDENTIALS),
    "RequestExpired": _needs_action("the credentials have expired", _NEW_CREDENTIALS),
    "InvalidToken": _needs_action("the session token is not valid", _NEW_CREDENTIALS),
    "InvalidAccessKeyId": _needs_action("S3 does not know the access key", _NEW_CREDENTIALS),
    "SignatureDoesNotMatch": _needs_action("the secret key is wrong", "Check the secret access key and the region."),
    "AuthorizationHeaderMalformed": _needs_action("the region is wrong", "Set s3.region to the bucket's region."),
    "AccessDenied": _needs_action("access denied", _RIGHTS),
    "AllAccessDisabled": _needs_action("access to the bucket is disabled", "Ask its owner, then retry."),
    "AccountProblem": _needs_action("something is wrong with the AWS account", "Ask AWS support, then retry."),
    "403": _needs_action("access denied", _RIGHTS),
    "UnauthorizedAccess": _needs_action("access denied", _RIGHTS),
    "NotSignedUp": _needs_action("the AWS account is not signed up for S3", "Ask AWS support, then retry."),
    "IllegalLocationConstraintException": _needs_action(
        "the bucket is in another region", "Set s3.region to the bucket's region."
    ),
    "InvalidDigest": _needs_action("S3 refuses the checksum", "Choose another transfer.checksum, then retry."),
    "InvalidSecurity": _needs_action("the credentials are not valid", _NEW_CREDENTIALS),
    "OtherEndpoint": _needs_action("its object is at another S3 service", "Use that one's --s3-endpoint."),
    "NoSuchBucket": _needs_action("the bucket does not exist", "Create it or correct its name, then retry."),
    "InvalidBucketName": _needs_action("not a valid bucket name", "Correct s3.bucket."),
    "PermanentRedirect": _needs_action("the bucket is in another region", "Set s3.region to the bucket's region."),
    "RequestTimeTooSkewed": _needs_action("this host's clock is wrong", "Set the clock (NTP), then retry."),
    "CertificateRefused": _needs_action(
        "S3's TLS certificate is not trusted", "Set s3.ca_bundle, or fix the certificate."
    ),
    "KMS.DisabledException": _needs_action("the KMS key is disabled", _KMS),
    "KMS.InvalidStateException": _needs_action("the KMS key cannot be used now", _KMS),
    "KMS.NotFoundException": _needs_action("the KMS key does not exist", _KMS),
    "KMS.KMSInvalidStateException": _needs_action("the KMS key cannot be used now", _KMS),
    "KMS.InvalidKeyUsageException": _needs_action("the KMS key is not for encryption", _KMS),
    "ServerSideEncryptionConfigurationNotFoundError": _needs_action("the bucket has no encryption set up", _KMS),
    "QuotaExceeded": _needs_action("the storage quota is used up", "Make room or raise the quota, then retry."),
    "XMinioStorageFull": _needs_action("the server's disk is full", "Make room on the server, then retry."),
    "InsufficientStorage": _needs_action("the server's disk is full", "Make room on the server, then retry."),
    "PermissionDenied": _needs_action("the file may not be read", "Give this user the right to read it, then retry."),
    "NotAllowed": _needs_action(
        "left for a runner that may carry it out",
        "Start one as the user who recorded it, or extend transfer.roots or transfer.destinations.",
    ),
    "ReadFailed": _needs_action("the file could not be read", "Check the disk or the network share, then retry."),
    # Answers to HEAD have no body, and so no code but their status.
    "301": _needs_action("the bucket is in another region", "Set s3.region to the bucket's region."),
    "400": _needs_action(
        "S3 refuses the request", "Often expired credentials or a wrong region: renew or correct them."
    ),
    "407": _needs_action("the proxy asks for a user", "Put user and password into HTTPS_PROXY, then retry."),
    "411": _needs_action("a server on the way wants a length", "Let it pass `content-length` on, then retry."),
    "413": _needs_action(
        "a server on the way takes no body of this size",
        "Lower transfer.part_size and transfer.multipart_threshold (5 MiB is the least), or raise the proxy's limit "
        "(nginx: client_max_body_size); then retry.",
    ),
    "404": _needs_action("bucket or object not found", "Check the name of the bucket."),
    "TooSlow": _needs_action(
        "slower than schedule.slowest", "Retry when the line is better: it goes on from what arrived."
    ),
    "CompressionFailed": _needs_action("it could not be compressed", "Install what is missing, then retry."),
    "EncryptionFailed": _needs_action(
        "it could not be encrypted, so it was not sent", "The message says what is wrong or missing; then retry."
    ),
    # Final
    "FileNotFound": _permanent("the file is gone", "Put it back and retry, or delete the upload."),
    "NotAccepted": _permanent("it is not accepted", "[accept] says what is; the message says why this is not."),
    "PipeEnded": _permanent("what came from a pipe was not sent whole", "Run the command again, from its beginning."),
    "FileChanged": _permanent("the file changed while it was being sent", "Retry once nothing writes to it any more."),
    "NotARegularFile": _permanent("not a regular file", "Only regular files can be uploaded."),
    "EntityTooLarge": _permanent("larger than S3 takes", "Split the file."),
    "EntityTooSmall": _permanent("a part is smaller than S3 takes", "Raise transfer.part_size."),
    "KeyTooLongError": _permanent("the key is longer than 1,024 bytes", "Shorten the key template or the path."),
    "KeyTooLong": _permanent("the key is longer than 1,024 bytes", "Shorten the key template or the path."),
    "InvalidRequest": _permanent("S3 refuses the request", "The message says why; check the s3 settings."),
    "InvalidArgument": _permanent("S3 refuses an argument", "The message says which; check key and s3 settings."),
    "InvalidURI": _permanent("S3 refuses the key", "Correct the key template."),
    "InvalidStorageClass": _permanent("the storage class is not known here", "Correct s3.storage_class."),
    "InvalidTag": _permanent("a tag is not valid", "Correct s3.tags."),
    "MetadataTooLarge": _permanent("the metadata is larger than 2 KB", "Shorten s3.metadata."),
    "InvalidEncryptionAlgorithmError": _permanent(
        "the encryption is not known here", "Correct s3.server_side_encryption."
    ),
    "NotEncrypted": _permanent(
        "the server passes over the key that is to encrypt",
        "It does not know SSE-C: use another server, or encrypt_to, which needs none.",
    ),
    "InvalidObjectState": _permanent("the object is archived", "Restore it or choose another key."),
    "MethodNotAllowed": _permanent("the server does not do this", "Check s3.endpoint_url."),
    "NotImplemented": _permanent("the server does not know this request", "The message says which part."),
    "ParameterRefused": _permanent("a parameter of the request is not valid", "The message says which."),
    "PreconditionFailed": _permanent(
        "the object exists already", "Choose another key or duplicate policy, then retry."
    ),
    "KeyOfOtherFile": _permanent(
        "the key holds the object of another file",
        'Give the rule a key_template with {relative_path}, or duplicates = "new_name"; then delete this upload: the '
        "watch sends the file again.",
    ),
    "ObjectExists": _permanent("the object exists already", "Choose another key or duplicate policy, then retry."),
}

# What arrived is kept: an answer that nobody foresaw is no reason to give it up.
_UNKNOWN: Final = _needs_action("the upload failed", "The message says why.")
_UNKNOWN_KMS: Final = _needs_action("the KMS key cannot be used", _KMS)
_UNKNOWN_SERVER_ERROR: Final = _retry("error inside S3")

_ASK_FOR_LESS: Final = frozenset(
    {
        *("SlowDown", "SlowDownRead", "SlowDownWrite", "Throttling", "ThrottlingException", "TooManyRequests", "429"),
        *("RequestLimitExceeded", "BandwidthLimitExceeded", "ServiceUnavailable", "ServiceUnavailableException", "503"),
        *("RequestTimeout", "ConnectTimeout", "ReadTimeout", "WriteTimeout"),
    }
)
"""S3 says that it gets more than it can take, or the way there and back does."""

OUT_OF_REACH: Final = frozenset({"ConnectionFailed", "ConnectTimeout", "ProxyFailed", "ReadTimeout", "WriteTimeout"})
"""Nobody answered: the network is away, or the server hangs, and no count of attempts tells when it comes back."""

UNSUPPORTED: Final = frozenset({"NotImplemented", "MethodNotAllowed", "501", "405"})
"""The server does not know the request at all; to ask again is of no use."""

DENIED: Final = frozenset({"403", "AccessDenied", "UnauthorizedAccess"})
"""The user has no right to it."""

CREDENTIAL_CODES: Final = frozenset(
    {
        "CredentialsMissing",
        "CredentialsUnavailable",
        "ExpiredToken",
        "ExpiredTokenException",
        "InvalidAccessKeyId",
        "InvalidSecurity",
        "InvalidToken",
        "RequestExpired",
        "SignatureDoesNotMatch",
        "TokenRefreshRequired",
    }
)
"""What says that the credentials themselves are at fault, not what they allow."""


def asks_for_less(code: str) -> bool:
    """Whether fewer requests at once would help."""
    return code in _ASK_FOR_LESS


def explain(code: str, status: int | None = None) -> Explanation:
    """What `code` means. `status` is the HTTP status of the answer, for codes that are not in the table."""
    known = EXPLANATIONS.get(code)
    if known is not None:
        return known
    if code.startswith("KMS."):
        return _UNKNOWN_KMS
    if status is None and code.isdigit():
        status = int(code)
    if status is not None and (status >= 500 or status in (408, 429)) and status != 501:
        return _UNKNOWN_SERVER_ERROR
    if status in (401, 403):
        return EXPLANATIONS["AccessDenied"]
    return _UNKNOWN
