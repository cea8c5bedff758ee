"""The types of settings that several sections have.

This module says what they accept; the settings themselves are in `settings/__init__.py` and `watch_rules`.
"""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BeforeValidator, ByteSize, Field
from pydantic_core import PydanticKnownError

from console.quantities import read_seconds


def _no_bool(value: Any) -> Any:
    """Python counts true as 1; a person who writes it for a number means something else."""
    if isinstance(value, bool):
        raise PydanticKnownError("int_type")
    return value


Number = Annotated[float, BeforeValidator(_no_bool)]
Count = Annotated[int, BeforeValidator(_no_bool)]
Size = Annotated[ByteSize, BeforeValidator(_no_bool)]
"""Bytes, as a number or as text such as 8MiB."""


def absolute(path: str) -> str:
    """The path from the root, so that it means what it means to the system: `link/../f` is beside what the link leads
    to. Names are as they were typed, but for those before a `..`.
    """
    steps = path.split("/")
    if ".." in steps:
        behind = len(steps) - steps[::-1].index("..")
        path = "/".join([os.path.realpath("/".join(steps[:behind])).rstrip("/"), *steps[behind:]])
    # POSIX leaves open what `//` means at the beginning; here it is the root, and one file has one path.
    return os.path.abspath(f"/{path.lstrip('/')}" if path.startswith("//") else path)  # noqa: PTH100 - a Path would lose nothing, but names stay as the system has them


def _pattern(line: str) -> str:
    if line.strip() in ("!", "/", "!/"):
        raise ValueError("expected a pattern as in .gitignore")
    if not line.strip() or line.startswith("#"):
        raise ValueError("expected a pattern as in .gitignore, not an empty line or a comment")
    return line


def _suffix(extension: str) -> str:
    if not extension.strip(".") or "/" in extension:
        raise ValueError("expected the end of a file's name, such as .pdf")
    return f".{extension.lstrip('.').lower()}"


def _media_type(pattern: str) -> str:
    kind, slash, subtype = pattern.partition("/")
    if not (kind and slash and subtype) or "/" in subtype:
        raise ValueError("expected a MIME type such as application/pdf or image/*")
    return pattern.lower()


def _several(value: Any) -> Any:
    if isinstance(value, str):
        raise ValueError('expected a list, such as ["*.pdf"]')
    return value


LIST: Final = (BeforeValidator(_several), Field(strict=False))
Patterns = Annotated[tuple[Annotated[str, AfterValidator(_pattern)], ...], *LIST]
Suffixes = Annotated[tuple[Annotated[str, AfterValidator(_suffix)], ...], *LIST]
MediaTypes = Annotated[tuple[Annotated[str, AfterValidator(_media_type)], ...], *LIST]


def _moment_or_age(text: str) -> str:
    since(text, datetime.now(UTC))
    return text


Since = Annotated[str, AfterValidator(_moment_or_age)]
"""A moment, or how long ago: `2026-11-01`, `2026-11-01T08:00`, `36h`, `2d`."""


def since(text: str, now: datetime) -> datetime:
    """The moment that a `Since` means; a date without a zone is this host's.

    Raises:
        ValueError: it is neither.
    """
    with suppress(ValueError, OverflowError):
        return now - timedelta(seconds=read_seconds(text))
    try:
        return datetime.fromisoformat(text.strip()).astimezone()
    except (ValueError, OverflowError):
        raise ValueError("expected a date such as 2026-11-01, or an age such as 36h or 2d") from None
