"""What a word of the uploads table's filter asks beside a text: `is:failed`, `is:active`, `is:today`, `host:alpha`,
`job:6745f0c2…`.

The table and the records read the same word, here for a row and there as a query. Any other word is a text to look for.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from bson import ObjectId

from console.choices import STATUSES

ACTIVE: Final = ("pending", "uploading", "paused")
TODAY: Final = "today"
_STATES: Final = {status: (status,) for status in STATUSES} | {"active": ACTIVE}


def states_of(word: str) -> tuple[str, ...] | None:
    """The statuses that `is:failed` or `is:active` lets pass; None for other words."""
    prefix, _, name = word.casefold().partition(":")
    return _STATES.get(name) if prefix == "is" else None


def is_today(word: str) -> bool:
    """Whether the word asks for what was changed today."""
    return word.casefold() == f"is:{TODAY}"


def host_of(word: str) -> str | None:
    """The host that `host:alpha` names; None for other words."""
    prefix, _, name = word.partition(":")
    return name if prefix.casefold() == "host" and name else None


def job_of(word: str) -> ObjectId | None:
    """The job that `job:` and its id names; None for other words."""
    prefix, _, name = word.partition(":")
    return ObjectId(name) if prefix.casefold() == "job" and ObjectId.is_valid(name) else None


def asks_state(word: str) -> bool:
    """Whether the word is one of these, and no text."""
    return states_of(word) is not None or is_today(word) or host_of(word) is not None or job_of(word) is not None


def midnight() -> datetime:
    """When today began, where this person is."""
    return datetime.now(UTC).astimezone().replace(hour=0, minute=0, second=0, microsecond=0).astimezone(UTC)
