"""What `watch` tells: a line for each note, for people or as JSON.

Owns the looks. Thread-safe: watches tell from several threads.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final

from pydantic import BaseModel

from console.commands.json_lines import json_line
from console.formatting import byte_size, visible
from console.watch.notes import Kind, Note

_LOUD: Final = frozenset({Kind.TROUBLE, Kind.MISSING, Kind.FAILED, Kind.REFUSED, Kind.OVERFLOW})


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


class WatchReport:
    """Lines on standard output. For people they begin with the time, unless the journal adds it anyway.

    Called by the threads of watches, which go on where nothing can be written any more: then `problem` is set, and
    `on_problem` called once.
    """

    def __init__(self, *, as_json: bool, environment: Mapping[str, str] = os.environ) -> None:
        self.problem: OSError | None = None
        self.on_problem: Callable[[], None] = _nothing
        self._as_json = as_json
        self._has_clock = "JOURNAL_STREAM" in environment
        self._lock = threading.Lock()

    def __call__(self, note: Note) -> None:
        """Write it, if it can be written."""
        try:
            self.write(note)
        except OSError as error:
            with self._lock:
                is_first, self.problem = self.problem is None, self.problem or error
            if is_first:
                self.on_problem()

    def write(self, note: Note) -> None:
        """Write it. Raises OSError where that cannot be: the reader has gone, or the disk is full."""
        line = _json(note) if self._as_json else words(note)
        if not self._as_json and not self._has_clock:
            line = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%SZ}  {line}"
        with self._lock:
            if self.problem is None:
                sys.stdout.write(f"{line}\n")
                sys.stdout.flush()


def _nothing() -> None:
    pass


def words(note: Note) -> str:
    """A note as people read it."""
    subject = visible(note.path) or note.rule
    size = f" ({byte_size(note.size)})" if note.size is not None else ""
    arrow = f" → {note.destination}" if note.destination else ""
    said = f": {note.words}" if note.words else ""
    sign = "! " if note.kind in _LOUD else "  "
    return f"{sign}{note.kind.value:<12} {subject}{size}{arrow}{said}"


def _json(note: Note) -> str:
    line = WatchLine.model_construct(  # not validated: a name need not be UTF-8
        event=note.kind.value.replace(" ", "_"),
        at=datetime.now(UTC),
        rule=note.rule,
        path=note.path or None,
        destination=note.destination or None,
        size=note.size,
        message=note.words or None,
        id=note.upload_id or None,
    )
    return json_line(line)
