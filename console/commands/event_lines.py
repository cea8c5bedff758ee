"""`events --json`: change events as extended-JSON lines on standard output.

Owns the loop: when it ends, what is said on standard error, and the place that is kept for the next start. Not here:
where the events come from (`event_stream`), standard output itself (`line_output`).
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from console.commands.event_stream import Source
from console.commands.line_output import LineOutput
from console.commands.signals import INTERRUPTED, TERMINATION, handling
from console.events.event import ChangeEvent
from console.events.feed_items import FeedItem, FeedState, Gap
from console.events.resume_file import ResumeFile, last_token
from console.events.since import is_before
from console.events.text import json_line
from console.formatting import visible

_TAKE_SECONDS: Final = 0.25
_KEEP_PLACE_SECONDS: Final = 5.0

OpenSource = Callable[[Mapping[str, Any] | None], Source]


@dataclass(frozen=True, slots=True)
class LineOptions:
    """What was asked for. `until` is the first moment that is no longer wanted."""

    until: datetime | None = None
    limit: int | None = None
    resume_file: Path | None = None
    canonical: bool = False


class EventLines:
    """Events as lines, written batch by batch; all else goes to standard error."""

    def __init__(self, options: LineOptions) -> None:
        self._options = options
        self._left = options.limit
        self._signal: signal.Signals | None = None
        self._is_done = False
        self._is_lost = False
        self._output = LineOutput(sys.stdout, lambda: self._signal is not None)
        self._place = _Place(ResumeFile(options.resume_file)) if options.resume_file else None

    def run(self, open_source: OpenSource) -> int:
        """Write until the end that was asked for, a signal, or nobody reads any more. Returns the exit code.

        `open_source` gets the resume token to go on from, or None. Raises `ConsoleError`.
        """
        source = open_source(self._place.settle(self._output.descriptor) if self._place else None)
        try:
            with handling((signal.SIGINT, *TERMINATION), self._end):
                self._write_all(source)
        except BrokenPipeError:
            pass  # whoever read has gone: a quiet end; what was not read has not been kept as read either
        finally:
            source.feed_close()
        return INTERRUPTED if self._signal is signal.SIGINT else 0

    def _end(self, number: signal.Signals) -> None:
        self._signal = number

    def _write_all(self, source: Source) -> None:
        while not (self._is_done or self._signal):
            items = source.feed_take(_TAKE_SECONDS)
            if not self._output.write([line for item in items for line in self._lines(item)]):
                return
            if self._place:
                self._place.keep(source, is_behind_all=not self._is_done, is_idle=not items)
            self._output.check_reader()
            if source.is_at_end or (not items and self._options.until and source.is_past(self._options.until)):
                return

    def _lines(self, item: FeedItem) -> Iterator[str]:
        if self._is_done:
            return
        if isinstance(item, ChangeEvent):
            if self._options.until is not None and not is_before(item, self._options.until):
                self._is_done = True
                return
            yield self._line(item.raw)
            if self._place:
                self._place.written = item.token
            if self._left is not None:
                self._left -= 1
                self._is_done = self._left == 0
        elif isinstance(item, Gap):
            yield self._line({"gap": {"reason": item.reason, "since": item.since, "until": item.until}})
            sys.stderr.write(f"gap: {visible(item.reason)}\n")
        elif isinstance(item, FeedState):
            self._tell(item)

    def _line(self, document: Mapping[str, Any]) -> str:
        return f"{json_line(document, relaxed=not self._options.canonical)}\n"

    def _tell(self, state: FeedState) -> None:
        if state.ended:
            return  # a recording is at its end; of a stream the source raises what is to be said
        if not state.connected:
            self._is_lost = True
            sys.stderr.write(f"reconnecting: {visible(state.message)}\n")
        elif self._is_lost:
            self._is_lost = False
            sys.stderr.write("connected again\n")


class _Place:
    """The place in the stream, kept behind what was written."""

    def __init__(self, file: ResumeFile) -> None:
        self._file = file
        self.written: Mapping[str, Any] | None = None
        self._kept: Mapping[str, Any] | None = None
        self._keep_at = 0.0

    def settle(self, output: int | None) -> Mapping[str, Any] | None:
        """The place to go on from: the kept one, or that of the last event which the output has already."""
        if output is None:
            return self._file.load()
        return self._file.settle(output) or last_token(output)

    def keep(self, source: Source, *, is_behind_all: bool, is_idle: bool) -> None:
        """Behind all that was taken; of what was not all written behind the last that was.

        Now and then also while nothing comes, lest the oplog leave us behind.
        """
        place = (source.position.token if is_behind_all else None) or self.written
        if place is None or place == self._kept:
            return
        if is_idle and self._kept is not None and time.monotonic() < self._keep_at:
            return
        self._file.save(place)
        self._kept, self.written = place, None
        self._keep_at = time.monotonic() + _KEEP_PLACE_SECONDS
