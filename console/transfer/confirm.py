"""Does S3 have what was sent? Compares its answers with the digests of the file.

Owns the rules of checksums and ETags for one body and for a multipart object. Pure: no request is made here.
What cannot be compared counts as not confirmed, never as right.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from console.models import Checksum
from console.transfer.checksums import Algorithm, Digests, combine, composite, multipart_etag, to_base64
from console.transfer.engine import Answer
from console.transfer.errors import TransferError

_MD5: Final = re.compile(r"[0-9a-f]{32}", re.IGNORECASE)
_MULTIPART_ETAG: Final = re.compile(r"[0-9a-f]{32}-\d+", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class SentPart:
    """A part as the file has it (`length` in bytes) and as S3 named it. `is_confirmed`: S3 vouched for its bytes;
    False where its ETag looks like an MD5 and is another one; None where there was nothing to compare."""

    number: int
    length: int
    digests: Digests
    etag: str
    is_confirmed: bool | None = None


class EtagMismatch(TransferError):
    """An ETag looks like an MD5 and is not the file's: the object is damaged, or this server's ETags are no MD5s."""

    def __init__(self, message: str) -> None:
        super().__init__("ChecksumMismatch", message)


def confirm_body(answer: Answer, digests: Digests) -> Checksum | None:
    """What the answer to a PutObject or UploadPart vouches for, or None.

    Raises:
        TransferError: ChecksumMismatch; an `EtagMismatch` where only the ETag differs.
    """
    for algorithm, value in answer.checksums.items():
        if algorithm in digests and algorithm is not Algorithm.MD5:
            _compare(algorithm, to_base64(digests[algorithm]), value)
            return Checksum(algorithm=algorithm, value=value, confirmed="checksum")
    if Algorithm.MD5 in digests and looks_like_md5(answer):
        _compare_etags(digests[Algorithm.MD5].hex(), answer.etag.lower())
        return Checksum(algorithm=Algorithm.MD5, value=answer.etag.lower(), confirmed="etag")
    return None


def confirm_object(answer: Answer, parts: Sequence[SentPart]) -> Checksum | None:
    """What the answer to a CompleteMultipartUpload (or a HeadObject after it) vouches for, or None.

    Raises:
        TransferError: ChecksumMismatch; an `EtagMismatch` where only the ETag differs.
    """
    for algorithm, value in answer.checksums.items():
        expected = expected_checksum(algorithm, parts, composite_type="-" in value)
        if expected is not None:
            _compare(algorithm, expected.value, value)
            return expected.model_copy(update={"confirmed": "checksum"})
    md5 = digests_of(Algorithm.MD5, parts)
    if md5 is not None and answer.etag_is_md5 and _MULTIPART_ETAG.fullmatch(answer.etag):
        _compare_etags(multipart_etag(md5), answer.etag.lower())
        return Checksum(algorithm=Algorithm.MD5, value=answer.etag.lower(), kind="COMPOSITE", confirmed="etag")
    return None


def looks_like_md5(answer: Answer) -> bool:
    """Whether the ETag may be the MD5 of one body."""
    return answer.etag_is_md5 and _MD5.fullmatch(answer.etag) is not None


def expected_checksum(algorithm: Algorithm, parts: Sequence[SentPart], *, composite_type: bool) -> Checksum | None:
    """The checksum the object must have, or None where the parts' digests do not tell."""
    digests = digests_of(algorithm, parts)
    if digests is None or (not composite_type and not algorithm.is_crc):
        return None
    if composite_type:
        value = f"{to_base64(composite(algorithm, digests))}-{len(digests)}"
        return Checksum(algorithm=algorithm, value=value, kind="COMPOSITE", confirmed="size")
    whole = combine(algorithm, zip(digests, (part.length for part in parts), strict=True))
    return Checksum(algorithm=algorithm, value=to_base64(whole), kind="FULL_OBJECT", confirmed="size")


def digests_of(algorithm: Algorithm, parts: Sequence[SentPart]) -> list[bytes] | None:
    """That digest of every part in order, or None where one lacks it."""
    digests = [part.digests[algorithm] for part in parts if algorithm in part.digests]
    return digests if len(digests) == len(parts) else None


def _compare_etags(expected: str, found: str) -> None:
    if expected != found:
        raise EtagMismatch(f"ETag: the file has {expected}, S3 has {found}")


def _compare(name: str, expected: str, found: str) -> None:
    if expected != found:
        raise TransferError("ChecksumMismatch", f"{name}: the file has {expected}, S3 has {found}")
