"""Where on the time line a change stream begins and ends, as people type it.

This module reads `--since` and `--until`; whether the server still has that time is found by `stream.feed`.

    15m  90s  2h  3d  1w                  so long ago (for `--until`: from now)
    2026-01-02   2026-01-02T03:04[:05]    in local time; with Z or +01:00 in that zone
    14:30                                 today, in local time
    {"_data": "8265..."}   8265...        a resume token (not for `--until`)
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Any, Final

from bson import json_util
from bson.errors import BSONError
from bson.timestamp import Timestamp

from console.errors import UsageError
from console.events.event import ChangeEvent
from console.events.text import CANONICAL
from console.formatting import visible
from console.quantities import read_seconds

FORMS: Final = "15m, 2h, 3d, 2026-01-02, 2026-01-02T03:04 (local time, or with Z), 14:30"
_TOKEN: Final = re.compile(r"8[0-9A-Fa-f]{21,}")  # a timestamp (type 0x82) and more, as keystring in hexadecimal
_DATED: Final = re.compile(r"82[0-9A-Fa-f]{16}")
_SECONDS: Final = range(1, 2**32)  # of a BSON timestamp


@dataclass(frozen=True, slots=True)
class Start:
    """Where the stream begins: after a resume token, at a cluster time, or (both None) now."""

    token: Mapping[str, Any] | None = None
    at: Timestamp | None = None

    @property
    def time(self) -> Timestamp | None:
        """The cluster time of that place; None for now, and where the token does not tell."""
        return self.at if self.token is None else token_time(self.token)


def parse_since(text: str, now: datetime) -> Start:
    """Read `--since`. `now` has a zone. Raises `UsageError`, also for a time in the future."""
    text = text.strip()
    if text.startswith("{") or _TOKEN.fullmatch(text):
        return Start(token=parse_token(text))
    moment = _moment(text, now, -1, "--since", f"{FORMS}, or a resume token as JSON")
    if moment > now:
        raise UsageError(
            f"--since {visible(text)} is in the future", advice=f"Now is {now.astimezone():%Y-%m-%d %H:%M}."
        )
    # Increments within a second begin at 1.
    return Start(at=Timestamp(int(moment.timestamp()), 1))


def parse_until(text: str, now: datetime) -> datetime:
    """Read `--until`, in UTC; a length of time counts from `now`. Raises `UsageError`."""
    return _moment(text.strip(), now, 1, "--until", FORMS)


def parse_token(text: str) -> Mapping[str, Any]:
    """Read a resume token: its extended JSON, or the text in its `_data`. Raises `UsageError`."""
    if _TOKEN.fullmatch(text):
        return {"_data": text.upper()}
    try:
        token = json_util.loads(text, json_options=CANONICAL)
    except (ValueError, TypeError, KeyError, ArithmeticError, AttributeError, RecursionError, BSONError) as error:
        raise UsageError(f"not a valid resume token: {visible(str(error))}", advice=_EXAMPLE) from error
    if not isinstance(token, Mapping) or not token.get("_data"):
        raise UsageError("not a valid resume token: it has no _data", advice=_EXAMPLE)
    return token


def token_time(token: Mapping[str, Any]) -> Timestamp | None:
    """The cluster time that a resume token begins with; None where it has another form than servers since 4.2 write.

    `_data` is a keystring in hexadecimal: the type, then seconds and increment, four bytes each, big-endian (server:
    src/mongo/db/pipeline/resume_token.h, src/mongo/db/storage/key_string.cpp). Sharded clusters write the same.
    """
    data = token.get("_data")
    if not isinstance(data, str) or not _DATED.match(data):
        return None
    return Timestamp(int(data[2:10], 16), int(data[10:18], 16))


def is_before(event: ChangeEvent, until: datetime) -> bool:
    """Whether an event is before the moment at which a stream shall end.

    By the second of the cluster time, which orders events as the server's clocks do not; so that what one stream read
    up to a moment and another one from then on is everything, once.
    """
    if event.cluster_time is not None:
        return event.cluster_time.time < until.timestamp()
    return event.time is None or event.time < until


def _moment(text: str, now: datetime, direction: int, option: str, forms: str) -> datetime:
    try:
        moment = _read(text, now, direction)
        if moment is not None and int(moment.timestamp()) in _SECONDS:
            return moment.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise UsageError(f"{option} {visible(text)}: {visible(str(error))}", advice=f"It takes {forms}.") from error
    problem = "is out of range" if moment is not None else "is not a valid time"
    raise UsageError(f"{option} {visible(text)} {problem}", advice=f"It takes {forms}.")


def _read(text: str, now: datetime, direction: int) -> datetime | None:
    """The moment, with a zone; None for a text that has the form of no time."""
    with suppress(ValueError):
        return now + direction * timedelta(seconds=read_seconds(text))
    if re.fullmatch(r"\d{1,2}:\d{2}(:\d{2})?", text):
        return datetime.combine(
            now.astimezone().date(), time.fromisoformat(text if text[2] == ":" else f"0{text}")
        ).astimezone()
    if re.match(r"\d{4}-?\d", text):
        moment = datetime.fromisoformat(text)
        # Without a zone it is the local one, at that date: with or without summer time.
        return moment.astimezone() if moment.tzinfo is None else moment
    return None


_EXAMPLE: Final = 'A resume token is the _id of an event, like {"_data": "8265..."}.'
