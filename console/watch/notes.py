"""What a watch tells while it works: values, for log lines, for JSON, for a screen.

Owns the kinds and their fields. Not here: how they look (`commands.watch_report`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What happened."""

    WATCHING = "watching"  # the folder is watched from now on
    SCANNING = "scanning"  # a look at everything begins; told again as it goes on
    SCANNED = "scanned"
    QUEUED = "queued"  # an upload was recorded
    RECOGNISED = "recognised"  # a file that was sent bears a new name or time: no new upload
    REFUSED = "refused"
    LEFT = "left"  # not sent, for a reason that people should know
    COMPLETED = "completed"
    FAILED = "failed"
    MOVED = "moved"
    DELETED = "deleted"
    TROUBLE = "trouble"  # something does not work; it is tried again
    MISSING = "missing"  # the folder is not there
    OVERFLOW = "overflow"  # events were lost: everything is looked at
    PAUSED = "paused"
    RESUMED = "resumed"
    STANDBY = "standby"  # another process of this host watches the folder
    STOPPED = "stopped"
    # Only in a dry run:
    WOULD_SEND = "would send"
    SENT = "sent already"
    PENDING = "pending"
    LEFT_OUT = "left out"


@dataclass(frozen=True, slots=True)
class Note:
    """One thing that happened to a rule, or to one of its files. `size` in bytes; `path` as `open()` takes it."""

    kind: Kind
    rule: str
    path: str = ""
    words: str = ""
    destination: str = ""
    size: int | None = None
    upload_id: str = ""


Listener = Callable[[Note], None]
"""Told of notes, from several threads; must not block for long and must not raise."""


def nobody(_: Note) -> None:
    """A listener that does not listen."""
