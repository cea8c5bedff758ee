"""The MIME type of a file: by its name where that is known, else by its first bytes."""

from __future__ import annotations

import mimetypes
import os
from functools import cache
from typing import Final

from console.files.beneath import open_file

UNKNOWN: Final = "application/octet-stream"

_HEAD: Final = 4096
_ZIP: Final = b"PK\x03\x04"
_ENCODED: Final = {
    "gzip": "application/gzip",
    "bzip2": "application/x-bzip2",
    "xz": "application/x-xz",
    "compress": "application/x-compress",
    "br": "application/x-brotli",
}
# Not in the standard library's table, and common in what people upload.
_MORE: Final = {
    ".7z": "application/x-7z-compressed",
    ".avif": "image/avif",
    ".flac": "audio/flac",
    ".gz": "application/gzip",
    ".log": "text/plain",
    ".md": "text/markdown",
    ".mkv": "video/x-matroska",
    ".parquet": "application/vnd.apache.parquet",
    ".toml": "application/toml",
    ".webp": "image/webp",
    ".xz": "application/x-xz",
    ".yaml": "application/yaml",
    ".yml": "application/yaml",
    ".zst": "application/zstd",
}


def content_type(path: str, below: str | None = None) -> str:
    """The type of the file at `path`. A file that cannot be read is of unknown type, not an error."""
    return by_name(os.path.basename(path)) or by_content(path, below) or UNKNOWN  # noqa: PTH119


def by_name(filename: str) -> str | None:
    """The type that the suffix stands for; a compressed file is of its compression's type, not of its content's."""
    suffix = os.path.splitext(filename)[1].lower()  # noqa: PTH122
    return _of_suffix(suffix) if suffix else None


@cache
def _table() -> mimetypes.MimeTypes:
    # Without the host's own files (/etc/mime.types), so that every host says the same.
    table = mimetypes.MimeTypes()
    for suffix, kind in _MORE.items():
        table.add_type(kind, suffix)
    return table


def _of_suffix(suffix: str) -> str | None:
    # Of the name only its suffix: `guess_type` takes a URL, and would read `data:,x.png` as one.
    kind, encoding = _table().guess_type(f"name{suffix}")
    return _ENCODED.get(encoding, UNKNOWN) if encoding else kind


def by_content(path: str, below: str | None = None) -> str | None:
    """The type that the first 4 KiB tell, or None. The file is reached as `files.beneath` does."""
    try:
        descriptor = open_file(path, below)
    except OSError:
        return None
    try:
        head = os.pread(descriptor, _HEAD, 0)
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return _of_bytes(head) if head else None


def _of_bytes(head: bytes) -> str | None:
    if head.startswith(_ZIP):
        return "application/zip"  # many formats are ZIP archives inside; the first bytes do not tell which
    import puremagic  # reads its table of signatures when imported: only where it is needed

    try:
        kind = puremagic.from_string(head, mime=True)
    except (puremagic.PureError, ValueError):
        kind = ""
    return kind or ("text/plain" if _is_text(head) else None)


def _is_text(head: bytes) -> bool:
    """UTF-8 without control characters, allowing for a letter that is cut at the end."""
    try:
        text = head.decode()
    except UnicodeDecodeError as error:
        if len(head) < _HEAD or error.start < len(head) - 3:
            return False
        text = head[: error.start].decode()
    return not any(character < " " and character not in "\t\n\r\f\x1b" for character in text)
