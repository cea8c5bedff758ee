"""Checksums of parts and objects: computing, combining, and what a request and an answer call them.

This module has the arithmetic; which checksum a server is asked for, and comparing with its answers, is in
`confirmation`.

CRC64NVME and CRC32C come from the Common Runtime (7 and 14 GiB/s on one core here, without the GIL); CRC32 from zlib,
which is as fast as the runtime's (2 GiB/s). Where the runtime does not load, CRC32, SHA256 and MD5 remain.
"""

from __future__ import annotations

import binascii
import hashlib
import zlib
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from functools import cache
from types import ModuleType
from typing import Final, Protocol


@cache
def common_runtime() -> ModuleType | None:
    """The Common Runtime, loaded when it is first asked for: that takes 30 ms. None where there is no wheel of it."""
    try:
        from awscrt import checksums
    except ImportError:
        return None
    module: ModuleType = checksums
    return module


class Algorithm(StrEnum):
    """The checksums that are used, by S3's names."""

    CRC64NVME = "CRC64NVME"
    CRC32C = "CRC32C"
    CRC32 = "CRC32"
    SHA256 = "SHA256"
    MD5 = "MD5"

    @property
    def is_crc(self) -> bool:
        """Whether the checksum of the whole follows from those of the parts (S3's FULL_OBJECT type)."""
        return self in _CRC_BYTES

    @property
    def parameter(self) -> str:
        """The name of its value in boto3: `ChecksumCRC32`, `ContentMD5`."""
        return "ContentMD5" if self is Algorithm.MD5 else f"Checksum{self}"

    @property
    def header(self) -> str:
        """The name of its value in HTTP: `x-amz-checksum-crc32`, `content-md5`."""
        return "content-md5" if self is Algorithm.MD5 else f"x-amz-checksum-{self.lower()}"

    @property
    def is_available(self) -> bool:
        return self not in (Algorithm.CRC64NVME, Algorithm.CRC32C) or common_runtime() is not None


_CRC_BYTES: Final = {Algorithm.CRC64NVME: 8, Algorithm.CRC32C: 4, Algorithm.CRC32: 4}

Digests = Mapping[Algorithm, bytes]
"""Binary digests of the same bytes."""


class Digest(Protocol):
    def update(self, data: bytes | memoryview, /) -> None: ...

    def digest(self) -> bytes:
        """The value so far, big-endian."""


class _RunningCrc:
    def __init__(self, function: Callable[[bytes | memoryview, int], int], length: int) -> None:
        self._function = function
        self._length = length
        self._value = 0

    def update(self, data: bytes | memoryview, /) -> None:
        self._value = self._function(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(self._length)


def new_digest(algorithm: Algorithm) -> Digest:
    match algorithm:
        case Algorithm.MD5:
            return hashlib.md5(usedforsecurity=False)
        case Algorithm.SHA256:
            return hashlib.sha256()
        case Algorithm.CRC32:
            return _RunningCrc(zlib.crc32, 4)
        case Algorithm.CRC32C:
            return _RunningCrc(_runtime().crc32c, 4)
        case Algorithm.CRC64NVME:
            return _RunningCrc(_runtime().crc64nvme, 8)


def _runtime() -> ModuleType:
    if (crt := common_runtime()) is None:
        raise ModuleNotFoundError("awscrt")
    return crt


def digest_bytes(algorithm: Algorithm, data: bytes) -> bytes:
    if algorithm is Algorithm.CRC32C:  # as small files have it, by the thousand
        return int(_runtime().crc32c(data)).to_bytes(4)
    digest = new_digest(algorithm)
    digest.update(data)
    return digest.digest()


def combine(algorithm: Algorithm, parts: Iterable[tuple[bytes, int]]) -> bytes:
    """The CRC of a whole from (CRC, length in bytes) of its parts in order, without the bytes."""
    whole = 0
    for value, length in parts:
        whole = _combine_two(algorithm, whole, int.from_bytes(value), length)
    return whole.to_bytes(_CRC_BYTES[algorithm])


def composite(algorithm: Algorithm, parts: Iterable[bytes]) -> bytes:
    """The digest of the parts' digests: S3's COMPOSITE type, and what the ETag of a multipart object is made of."""
    return digest_bytes(algorithm, b"".join(parts))


def multipart_etag(md5_of_parts: list[bytes]) -> str:
    """The ETag (unquoted) that S3 gives a multipart object that is not encrypted with KMS: `md5-of-md5s-N`."""
    return f"{composite(Algorithm.MD5, md5_of_parts).hex()}-{len(md5_of_parts)}"


def to_base64(digest: bytes) -> str:
    """As checksums stand in headers."""
    return binascii.b2a_base64(digest, newline=False).decode("ascii")


def _combine_two(algorithm: Algorithm, first: int, second: int, second_length: int) -> int:
    if (crt := common_runtime()) is not None:
        combine_two = {
            Algorithm.CRC32: crt.combine_crc32,
            Algorithm.CRC32C: crt.combine_crc32c,
            Algorithm.CRC64NVME: crt.combine_crc64nvme,
        }[algorithm]
        return int(combine_two(first, second, second_length))
    return combine_crc32(first, second, second_length)


_CRC32_POLYNOMIAL: Final = 0xEDB88320


def combine_crc32(first: int, second: int, second_length: int) -> int:
    """The CRC32 of two stretches of bytes, as zlib's `crc32_combine`, for where the Common Runtime does not load.

    The first CRC is moved on by `second_length` zero bytes: a multiplication with x^(8*length) modulo the
    polynomial, built up by squaring.
    """
    power = 1 << 31  # x^0: in the reflected form the highest bit is the lowest power
    base = 1 << 23  # x^8: one byte
    while second_length:
        if second_length & 1:
            power = _multiply(power, base)
        base = _multiply(base, base)
        second_length >>= 1
    return _multiply(first, power) ^ second


def _multiply(left: int, right: int) -> int:
    product = 0
    while left:
        if left & (1 << 31):
            product ^= right
        left = (left << 1) & 0xFFFFFFFF
        right = (right >> 1) ^ _CRC32_POLYNOMIAL if right & 1 else right >> 1
    return product
