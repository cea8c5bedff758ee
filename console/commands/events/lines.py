"""`events` without a screen: change events as lines on standard output, for people or (`--json`) as extended JSON.

This module has the loop: what is said on standard error, and the place that is kept for the next start. Where the
events come from and where they end is in `sources`, standard output itself in `cli.output`.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from typing import Any, Final

from console.cli.output import LineOutput
from console.cli.process import INTERRUPTED, TERMINATION, handling
from console.commands.events.sources import EventInput
from console.events.changes import summary
from console.events.event import ChangeEvent
from console.events.feed_items import FeedItem, FeedState, Gap
from console.events.recording import NoRoom, ResumeFile
from console.events.text import json_line, value_text
from console.formatting import visible

_TAKE_SECONDS: Final = 0.25
_KEEP_PLACE_SECONDS: Final = 5.0
_MOST_CELLS: Final = 400

OpenSource = Callable[[Mapping[str, Any] | None], EventInput]


class LineForm(Enum):
    """How an event is written."""

    TEXT = "text"
    RELAXED = "relaxed"
    CANONICAL = "canonical"


def event_text(event: ChangeEvent) -> str:
    """An event as people read it, in one line: when (UTC), what, where, which document, and what changed."""
    when = f"{event.time:%Y-%m-%d %H:%M:%SZ}" if event.time is not None else ""
    document = value_text(event.document_id, _MOST_CELLS) if event.document_key is not None else ""
    parts = [when, f"{visible(event.operation):<8}", visible(event.namespace), document, summary(event, _MOST_CELLS)]
    return "  ".join(filter(None, parts)).rstrip()


class EventLines:
    """Events as lines, written batch by batch; all else goes to standard error."""

    def __init__(self, resume_file: ResumeFile | None, is_own: Callable[[ChangeEvent], bool], form: LineForm) -> None:
        """`is_own` tells whether an event may be one of this stream."""
        self._form = form
        self._signal: signal.Signals | None = None
        self._is_lost = False
        self._output = LineOutput(sys.stdout, lambda: self._signal is not None)
        self._place = _Place(resume_file, self._output.descriptor, is_own) if resume_file else None

    def run(self, open_source: OpenSource) -> int:
        """Write until the source ends, a signal comes, or nobody reads any more. Returns the exit code.

        `open_source` gets the resume token to go on from, or None. Raises `ConsoleError`.
        """
        source = open_source(self._place.settle() if self._place else None)
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

    def _write_all(self, source: EventInput) -> None:
        while not (self._signal or source.is_at_end):
            items = source.feed_take(_TAKE_SECONDS)
            if not self._output.write([line for item in items for line in self._lines(item)]):
                return
            if self._place:
                self._place.keep(source.position.token, is_idle=not items)
            self._output.check_reader()
        if self._place:  # also after what was read last and did not pass a filter
            self._place.keep(source.position.token, is_idle=False, is_last=True)

    def _lines(self, item: FeedItem) -> Iterator[str]:
        if isinstance(item, ChangeEvent):
            yield self._line(item.raw) if self._form is not LineForm.TEXT else f"{event_text(item)}\n"
        elif isinstance(item, Gap):
            if self._form is not LineForm.TEXT:
                yield self._line({"gap": {"reason": item.reason, "since": item.since, "until": item.until}})
            sys.stderr.write(f"gap: {visible(item.reason)}\n")
        elif isinstance(item, FeedState):
            self._report(item)

    def _line(self, document: Mapping[str, Any]) -> str:
        return f"{json_line(document, relaxed=self._form is not LineForm.CANONICAL)}\n"

    def _report(self, state: FeedState) -> None:
        if state.ended:
            return  # a recording is at its end; of a stream the source raises what is to be said
        if not state.connected:
            self._is_lost = True
            sys.stderr.write(f"reconnecting: {visible(state.message)}\n")
        elif self._is_lost:
            self._is_lost = False
            sys.stderr.write("connected again\n")


class _Place:
    """The place in the stream, kept after the events are written."""

    def __init__(self, file: ResumeFile, output: int | None, is_own: Callable[[ChangeEvent], bool]) -> None:
        self._file = file
        self._output = output
        self._is_own = is_own
        self._kept: Mapping[str, Any] | None = None
        self._keep_at = 0.0
        self._has_room = True

    def settle(self) -> Mapping[str, Any] | None:
        """The place to go on from: the kept one, or that of the last event which the output has already."""
        return self._file.load() if self._output is None else self._file.settle(self._output, self._is_own)

    def keep(self, place: Mapping[str, Any] | None, *, is_idle: bool, is_last: bool = False) -> None:
        """Keep the place; while nothing comes only now and then, lest the oplog leave us behind. A full disk stops no
        events: the place is kept again once there is room, and is an error only at the end."""
        if place is None or place == self._kept:
            return
        is_patient = not self._has_room or (is_idle and self._kept is not None)
        if is_patient and not is_last and time.monotonic() < self._keep_at:
            return
        self._keep_at = time.monotonic() + _KEEP_PLACE_SECONDS
        try:
            self._file.save(place, self._output)
        except NoRoom as error:
            if is_last:
                raise
            if self._has_room:
                sys.stderr.write(f"{error.message}: events go on, and come again after a restart\n")
            self._has_room = False
            return
        if not self._has_room:
            sys.stderr.write("the resume file is kept again\n")
        self._has_room = True
        self._kept = place
