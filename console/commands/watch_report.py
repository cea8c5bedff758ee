"""What `watch` tells: a line for each note, for people or as JSON.

Owns the looks. Thread-safe: watches tell from several threads.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Mapping
from datetime import UTC, datetime

from pydantic import BaseModel

from console.formatting import byte_size, visible
from console.watch.notes import Kind, Listener, Note

_LOUD = frozenset({Kind.TROUBLE, Kind.MISSING, Kind.FAILED, Kind.REFUSED, Kind.OVERFLOW})


class WatchLine(BaseModel):
    """One line of `watch --json`. `size` in bytes, `at` in UTC."""

    event: str
    at: datetime
    rule: str
    path: str | None = None
    destination: str | None = None
    size: int | None = None
    message: str | None = None
    id: str | None = None


def make_listener(*, as_json: bool, environment: Mapping[str, str] = os.environ) -> Listener:
    """Lines on standard output. For people they begin with the time, unless the journal adds it anyway."""
    lock = threading.Lock()
    has_clock = "JOURNAL_STREAM" in environment

    def tell(note: Note) -> None:
        line = _json(note) if as_json else words(note)
        if not as_json and not has_clock:
            line = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%SZ}  {line}"
        with lock:
            sys.stdout.write(f"{line}\n")
            sys.stdout.flush()

    return tell


def words(note: Note) -> str:
    """A note as people read it."""
    subject = visible(note.path) or note.rule
    size = f" ({byte_size(note.size)})" if note.size is not None else ""
    arrow = f" → {note.destination}" if note.destination else ""
    said = f": {note.words}" if note.words else ""
    sign = "! " if note.kind in _LOUD else "  "
    return f"{sign}{note.kind.value:<12} {subject}{size}{arrow}{said}"


def _json(note: Note) -> str:
    return WatchLine(
        event=note.kind.value.replace(" ", "_"),
        at=datetime.now(UTC),
        rule=note.rule,
        path=visible(note.path) or None,
        destination=note.destination or None,
        size=note.size,
        message=note.words or None,
        id=note.upload_id or None,
    ).model_dump_json(exclude_none=True)
