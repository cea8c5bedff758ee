"""The words, units and bounds that settings, flags and transfers have in common.

Imports next to nothing: `--help` reads it. Not here: what the words mean, which stands where they are obeyed.
"""

from __future__ import annotations

from typing import Final, Literal

DuplicatePolicy = Literal["overwrite", "skip_identical", "new_name", "fail"]
ChecksumPolicy = Literal["auto", "crc64nvme", "crc32c", "crc32", "sha256", "md5"]
EngineChoice = Literal["auto", "boto3"]
AddressingStyle = Literal["auto", "path", "virtual"]
STATUSES: Final = ("pending", "uploading", "paused", "completed", "failed", "cancelled")
"""As `models.UploadStatus` has them."""
Encryption = Literal["AES256", "aws:kms", "aws:kms:dsse"]
Acl = Literal[
    "private",
    "public-read",
    "public-read-write",
    "authenticated-read",
    "aws-exec-read",
    "bucket-owner-read",
    "bucket-owner-full-control",
]
LockMode = Literal["GOVERNANCE", "COMPLIANCE"]
Compression = Literal["none", "gzip", "zstd"]
Preserved = Literal["mtime", "mode", "owner", "md5"]

MOST_PARALLEL: Final = 256
"""Uploads, or parts of one."""

MEBIBYTE: Final = 1024 * 1024
GIBIBYTE: Final = 1024 * MEBIBYTE
