"""What a change feed hands over besides the events themselves.

Owns the values only: a fresh snapshot, a hole in the history, and the state of the connection. Not here: how a feed
is read from MongoDB (`console.stream.feed`), nor what a reader makes of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeAlias

from console.events.event import ChangeEvent

SNAPSHOT_WINDOW: Final = 500
"""How many waiting and how many finished uploads the snapshot of the console holds at most; the table pages on."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Documents as they are at the point where the events that follow begin; replaces all that was known before."""

    documents: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Lookup:
    """Documents as they are now, of events that came without them."""

    documents: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Gap:
    """Events between two times (UTC, None where unknown) that nobody can read any more, and why."""

    reason: str
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class FeedState:
    """Whether the feed is connected, with a sentence for people (`reconnecting: primary stepped down`).

    `ended` says that the feed has given up for good: no right to watch, no replica set, or a replay at its end.
    """

    connected: bool
    message: str = ""
    ended: bool = False


FeedItem: TypeAlias = Snapshot | Lookup | ChangeEvent | Gap | FeedState
