"""Sizes, lengths of time and numbers at once, as people type them: in settings, flags and forms alike.

How such values are shown is in `formatting`. What cannot be read raises `ValueError`; whoever asked says what it takes.
"""

from __future__ import annotations

import re
from typing import Final

from console.choices import MOST_PARALLEL

_LENGTH: Final = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)\s*([smhdw])", re.IGNORECASE | re.ASCII)
_SECONDS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 7 * 86_400}


def read_bytes(text: str) -> int:
    """A size as the settings take it: `500`, `500k` (1000 each), `20MiB` (1024 each)."""
    from pydantic import ByteSize, TypeAdapter

    try:
        size = TypeAdapter(ByteSize).validate_python(text) if text.isascii() else -1
    except OverflowError:
        size = -1
    if not 0 <= size < 2**63:
        raise ValueError("out of range")
    return size


def read_rate(text: str) -> int:
    """Bytes per second: a size, `20 MiB/s`; nothing, `0` or `none` for no limit."""
    entered = text.strip().casefold()
    return 0 if entered in ("", "none", "no limit") else read_bytes(entered.removesuffix("/s").replace(",", "."))


def read_seconds(text: str) -> float:
    """A length of time: `90m`, `24h`, `7d`, `1h 30m`."""
    parts = _LENGTH.findall(text)
    if not parts or _LENGTH.sub("", text).strip():
        raise ValueError("not a length of time")
    return sum(float(number) * _SECONDS[unit.lower()] for number, unit in parts)


def read_parallel(text: str) -> int | None:
    """How many at once; None for `auto`."""
    entered = text.strip().casefold()
    if entered == "auto":
        return None
    if not (entered.isascii() and entered.isdecimal()) or not 1 <= int(entered) <= MOST_PARALLEL:
        raise ValueError("not a number that makes sense")
    return int(entered)
