"""How values are shown to a person, on the screen and on the command line alike.

Owns escaping of text that is not ours, and the short forms of sizes, rates, times. Pure: no terminal, no widget.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Final
from unicodedata import category

# Unicode's general categories: control characters, invisible and direction-changing format characters, line and
# paragraph separators, and the lone surrogates by which Python carries bytes that are no UTF-8 (PEP 383).
_UNSAFE: Final = frozenset({"Cc", "Cf", "Zl", "Zp", "Cs"})
_SHORT: Final = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}
_UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def visible(text: str) -> str:
    """Text as data: what a terminal would act on, or not show, is written as a backslash escape instead."""
    if text.isprintable():
        return text
    return "".join(_escape(character) if category(character) in _UNSAFE else character for character in text)


def as_text(name: str) -> str:
    """A name as BSON takes it: as it is where it is UTF-8, else escaped (`path_bytes` has the bytes)."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return visible(name)
    return name


def _escape(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x100:
        return _SHORT.get(character, f"\\x{code:02x}")
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def byte_size(count: float) -> str:
    """Bytes in binary units with three digits that matter: `0 B`, `17.4 MiB`, `200 MiB`."""
    value = float(count)
    for unit in _UNITS:
        if abs(value) < 999.5 or unit == _UNITS[-1]:
            break
        value /= 1024
    if unit == "B":
        return f"{value:.0f} B"
    return f"{value:.{0 if abs(value) >= 99.95 else 1 if abs(value) >= 9.995 else 2}f} {unit}"


def byte_rate(per_second: float) -> str:
    """Bytes per second, empty where nothing moves."""
    return f"{byte_size(per_second)}/s" if per_second >= 0.5 else ""


def duration(seconds: float | None) -> str:
    """Seconds as the two largest units: `7s`, `3m 20s`, `2h 05m`, `4d 06h`. Empty for None, and where it never ends."""
    if seconds is None or not math.isfinite(seconds):
        return ""
    total = max(0, round(seconds))
    if total < 60:
        return f"{total}s"
    if total < 3600:
        return f"{total // 60}m {total % 60:02d}s"
    if total < 86400:
        return f"{total // 3600}h {total % 3600 // 60:02d}m"
    return f"{total // 86400}d {total % 86400 // 3600:02d}h"


def long_duration(seconds: float) -> str:
    """Seconds as a sentence has them, the two largest units at most: `7 s`, `3 min 20 s`, `12 min`, `2 h 5 min`."""
    total = max(0, round(seconds))
    if total >= 600:
        total -= total % 60  # of so long nobody wants the seconds
    parts: list[str] = []
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        number, total = divmod(total, size)
        if number:
            parts.append(f"{number} {unit}")
    return " ".join(parts[:2]) or "0 s"


def age(moment: datetime | None, now: datetime) -> str:
    """How long ago, as the largest unit alone: `9s`, `3m`, `5h`, `12d`. Empty for None."""
    if moment is None:
        return ""
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    total = max(0, int((now - moment).total_seconds()))
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if total >= size:
            return f"{total // size}{unit}"
    return f"{total}s"


def count_at_once(number: int | None, singular: str) -> str:
    """`4 parts`; `parts: auto` where the number is found."""
    return f"{singular}s: auto" if number is None else count(number, singular)


def count(number: int, noun: str, plural: str = "") -> str:
    """`1 upload`, `12,400 uploads`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"
