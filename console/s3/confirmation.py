"""Whether S3 has what was sent: its answers compared with the digests of the file, and what a server can confirm at
all.

What cannot be compared counts as not confirmed, never as right. AWS is known to verify and return checksums. Of
another server nothing is known until its first answer: until then MD5 is sent as well and compared with the ETag.
What was learned can be wrong (a proxy had a bad moment, one node of several is older), so it is believed for ten
minutes, and dropped at once where an answer contradicts it. Shared by all threads; every change is one assignment.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Generic, Literal, TypeVar

from console.choices import ChecksumPolicy
from console.models import Checksum
from console.s3.checksums import Algorithm, Digests, combine, composite, multipart_etag, to_base64
from console.s3.engines.engine import StoredBody
from console.s3.transfer_errors import TransferError

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


def confirm_body(answer: StoredBody, digests: Digests) -> Checksum | None:
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


def size_alone(digests: Digests) -> Checksum:
    """Where S3 shows nothing of an object but its size, which is right: the MD5 of what was sent."""
    return Checksum(algorithm=Algorithm.MD5, value=digests[Algorithm.MD5].hex(), confirmed="size")


def confirm_object(answer: StoredBody, parts: Sequence[SentPart]) -> Checksum | None:
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


def looks_like_md5(answer: StoredBody) -> bool:
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


T = TypeVar("T")

ChecksumType = Literal["FULL_OBJECT", "COMPOSITE"]

_BELIEVED_SECONDS: Final = 600.0
_REFUSALS: Final = frozenset({"NotImplemented", "InvalidArgument", "InvalidRequest"})
"""How servers that do not know a header of a request say so."""
_PART_REFUSALS: Final = frozenset({"InvalidArgument", "InvalidRequest", "InvalidPartNumber", "TooManyParts", "400"})
_MISMATCHES: Final = frozenset(
    {
        *("BadDigest", "XAmzContentChecksumMismatch", "InvalidChecksum", "InvalidDigest"),
        *("InvalidArgument", "InvalidRequest"),
    }
)
"""What a completion with a checksum of the whole is refused with where that is not the one the server computes."""
_OF_PARTS: Final = re.compile(r"\bparts?\b|part ?number", re.IGNORECASE)
_NUMBER: Final = re.compile(r"\d[\d,]*")
_COMMON_LIMIT: Final = 1000


class _Learned(Generic[T]):
    """One thing that was seen of a server; None while nobody knows."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._held: tuple[T, float] | None = None

    def get(self) -> T | None:
        held = self._held
        return held[0] if held is not None and self._clock() < held[1] else None

    def set(self, value: T) -> None:
        self._held = (value, self._clock() + _BELIEVED_SECONDS)

    def forget(self) -> None:
        self._held = None


class ServerTraits:
    """The habits of one server."""

    def __init__(
        self, *, is_aws: bool, policy: ChecksumPolicy = "auto", clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.is_aws: Final = is_aws
        self.algorithm: Final = _choose(policy, is_aws)
        # Some servers know checksums of objects and none of parts, or the other way round.
        self._put_checksums = _Learned[bool](clock)
        self._part_checksums = _Learned[bool](clock)
        self._takes_conditions = _Learned[bool](clock)
        self._checksum_type = _Learned[ChecksumType](clock)
        self._etags_are_md5 = _Learned[bool](clock)
        self._most_parts = _Learned[int](clock)

    @property
    def returns_checksums(self) -> bool | None:
        """Whether the answer to a PutObject carries the checksum that was sent; None while nobody knows."""
        return self._returns(self._put_checksums, self._part_checksums)

    @property
    def returns_part_checksums(self) -> bool | None:
        """The same of an UploadPart."""
        return self._returns(self._part_checksums, self._put_checksums)

    @property
    def takes_conditions(self) -> bool:
        """Whether `If-None-Match` may be sent at all; some servers refuse the header."""
        return self._takes_conditions.get() is not False

    @property
    def checksum_type(self) -> ChecksumType:
        """The type of a multipart object's checksum to ask for. Some know only that of the parts' checksums."""
        if not self.algorithm.is_crc:
            return "COMPOSITE"
        return self._checksum_type.get() or "FULL_OBJECT"

    @property
    def etags_are_md5(self) -> bool | None:
        """Whether an ETag that looks like an MD5 is one; None while nobody knows."""
        return self._etags_are_md5.get()

    @property
    def most_parts(self) -> int | None:
        """How many parts an object may have; None where no limit below S3's has shown."""
        return self._most_parts.get()

    def algorithms(self, *, in_parts: bool = False) -> tuple[Algorithm, ...]:
        """What has to be computed of the next body, and goes with its request."""
        known = self.returns_part_checksums if in_parts else self.returns_checksums
        if known:
            return (self.algorithm,)
        if known is None:
            return (self.algorithm, Algorithm.MD5)
        return (Algorithm.MD5,)

    def without_md5(self, answer: StoredBody) -> StoredBody:
        """The answer as it is to be read, where this server's ETags only look like MD5s."""
        return replace(answer, etag_is_md5=False) if self.etags_are_md5 is False else answer

    def learn(self, returns_checksums: bool, *, in_parts: bool = False) -> None:
        """An answer came to a request that carried a checksum."""
        own = self._part_checksums if in_parts else self._put_checksums
        if own.get() is None or not returns_checksums:
            own.set(returns_checksums)

    def learn_etags(self, *, are_md5: bool) -> None:
        """An ETag was compared with the MD5 of what is known to be stored."""
        self._etags_are_md5.set(are_md5)

    def learn_from_refusal(self, code: str, *, conditional: bool, had_checksums: bool, in_parts: bool = False) -> bool:
        """A request that carried these was refused with `code`. Whether the next one will be a simpler one, so that
        trying pays; it is so too where others under way at the same time were refused first."""
        if code not in _REFUSALS:
            return False
        if conditional and code == "NotImplemented":
            # S3's code for a header that it does not know. It says nothing of the checksums: should it have meant
            # those, the next request tells. (Backblaze refuses checksums as InvalidArgument, and takes conditions.)
            self._takes_conditions.set(False)
            return True
        own = self._part_checksums if in_parts else self._put_checksums
        known = self.returns_part_checksums if in_parts else self.returns_checksums
        if had_checksums and self.algorithm is not Algorithm.MD5 and not known and not self.is_aws:
            own.set(False)
            return True
        if not had_checksums and not conditional:
            # The simplest request of all is refused as well: what was left out was not the reason.
            self._takes_conditions.forget()
            if own.get() is False:
                own.forget()
        return False

    def learn_from_refused_creation(self, code: str, *, checksum_type: ChecksumType | None) -> bool:
        """A CreateMultipartUpload that asked for that type of checksum was refused. Whether a simpler one pays."""
        if code not in _REFUSALS or self.is_aws or self.algorithm is Algorithm.MD5:
            return False
        if checksum_type is None:
            self._checksum_type.forget()
            self._part_checksums.forget()
            return False
        if checksum_type == "FULL_OBJECT":
            self._checksum_type.set("COMPOSITE")
        else:
            self._part_checksums.set(False)
        return True

    def learn_from_refused_completion(self, code: str) -> bool:
        """A CompleteMultipartUpload was refused that named the checksum of the whole, of parts that were all confirmed:
        the server may compute another one. Whether a completion without it pays."""
        if code not in _MISMATCHES or self.is_aws or self.checksum_type != "FULL_OBJECT":
            return False
        self._checksum_type.set("COMPOSITE")
        return True

    def forget_checksum_type(self) -> None:
        """A completion without the checksum of the whole was refused just so: it was not the reason."""
        self._checksum_type.forget()

    def learn_part_limit(self, number: int, refusal: TransferError) -> bool:
        """The part with that number, or a completion with so many, was refused. Whether larger parts pay."""
        if self.is_aws or number < 2 or refusal.code not in _PART_REFUSALS:
            return False
        if not _OF_PARTS.search(refusal.code + " " + refusal.message) and "Part" not in refusal.code:
            return False
        named = [int(figure.replace(",", "")) for figure in _NUMBER.findall(refusal.message)]
        limit = max((figure for figure in named if 1 < figure < number), default=0)
        self._most_parts.set(limit or (_COMMON_LIMIT if number > _COMMON_LIMIT else number - 1))
        return True

    def _returns(self, own: _Learned[bool], other: _Learned[bool]) -> bool | None:
        if self.algorithm is Algorithm.MD5:
            return False
        known = own.get()
        if known is not None or self.is_aws:
            return known is not False
        return other.get()


def _choose(policy: ChecksumPolicy, is_aws: bool) -> Algorithm:
    # Servers other than AWS know the four of 2022, of which the processor has an instruction for this one.
    wanted = Algorithm[policy.upper()] if policy != "auto" else Algorithm.CRC64NVME if is_aws else Algorithm.CRC32C
    return wanted if wanted.is_available else Algorithm.CRC32
