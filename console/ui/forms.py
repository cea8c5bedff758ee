"""What a person types into forms, read as values.

Owns the words accepted for sizes and times. Pure; a text that makes no sense raises `UsageError` saying what would.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from console.errors import UsageError
from console.formatting import byte_size, duration
from console.ui.dialogs import Field

if TYPE_CHECKING:
    # For its types alone: at run time it would bring PyMongo before the first picture.
    from console.records.runners import Limits

# S3 presigned links of Signature Version 4 live at most a week ("expiration", AWS S3 User Guide).
LONGEST_LINK_SECONDS: Final = 7 * 86_400
DEFAULT_LINK_SECONDS: Final = 3_600
MOST_PARALLEL: Final = 256

_SIZE: Final = re.compile(r"(\d+(?:[.,]\d+)?)\s*([kmgt]?)(i?b?)(?:/s)?", re.IGNORECASE | re.ASCII)
_POWERS: Final = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
_TIME: Final = re.compile(r"(\d+)\s*([smhdw])", re.IGNORECASE | re.ASCII)
_SECONDS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}


def read_rate(text: str) -> int:
    """Bytes per second: `20 MiB/s`, `500k`, `1.5g`; nothing, `0` or `none` for no limit. Units are binary."""
    words = text.strip().casefold()
    if words in ("", "0", "none", "no limit"):
        return 0
    match = _SIZE.fullmatch(words)
    if match is None:
        raise UsageError(f"expected a rate such as 20 MiB/s, or none: {text}")
    return int(float(match[1].replace(",", ".")) * 1024 ** _POWERS[match[2].casefold()])


def read_seconds(text: str) -> int:
    """A link's lifetime: `90m`, `24h`, `7d`, `1h 30m`."""
    words = text.strip()
    parts = _TIME.findall(words)
    if not parts or _TIME.sub("", words).strip():
        raise UsageError(f"expected a time such as 30m, 12h or 7d: {text}")
    seconds = sum(int(number) * _SECONDS[unit.casefold()] for number, unit in parts)
    if not 1 <= seconds <= LONGEST_LINK_SECONDS:
        raise UsageError(f"S3 takes from 1s to {duration(LONGEST_LINK_SECONDS)} for a link: {text}")
    return seconds


def read_parallel(text: str) -> int | None:
    """How many at once: 1 to 256; None for `auto`."""
    words = text.strip()
    if words.casefold() == "auto":
        return None
    if not (words.isascii() and words.isdecimal()) or not 1 <= int(words) <= MOST_PARALLEL:
        raise UsageError(f"expected auto, or a number from 1 to {MOST_PARALLEL}: {text}")
    return int(words)


def limit_fields(limits: Limits) -> list[Field]:
    """The form for what all uploads share."""
    rate = f"{byte_size(limits.bandwidth)}/s" if limits.bandwidth else "none"
    return [
        Field("bandwidth", "Bandwidth of this console, all uploads together", rate, read_rate),
        Field("uploads", "Uploads at the same time", _parallel(limits.uploads), read_parallel),
        Field("parts", "Parts at the same time", _parallel(limits.parts), read_parallel),
    ]


def _parallel(number: int | None) -> str:
    return "auto" if number is None else str(number)


def read_limits(values: Mapping[str, Any]) -> Limits:
    """The answer to `limit_fields`."""
    from console.records.runners import Limits

    return Limits(values["bandwidth"], values["uploads"], values["parts"])


def lifetime_fields() -> list[Field]:
    """The form for a download link."""
    return [Field("seconds", "The link works for", duration(DEFAULT_LINK_SECONDS), read_seconds)]
