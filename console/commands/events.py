"""`events`: the inspector on any namespace: full screen on a terminal, extended-JSON lines otherwise."""

from __future__ import annotations

import select
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import FrameType
from typing import Any, Final

from console.commands.event_stream import LiveSource, ReplaySource, Source, Watched
from console.config import Settings
from console.errors import UsageError
from console.events.event import ChangeEvent
from console.events.feed_items import FeedItem, FeedState, Gap
from console.events.resume_file import ResumeFile, last_token
from console.events.since import parse_until
from console.events.text import json_line
from console.formatting import visible

_TAKE_SECONDS: Final = 0.25
_KEEP_PLACE_SECONDS: Final = 5.0
_UNTIL_GRACE: Final = timedelta(seconds=2)  # for events that are on their way when the time has come
_INTERRUPTED: Final = 130


@dataclass(frozen=True, slots=True)
class EventOptions:
    """The flags of the command."""

    namespace: str | None
    since: str | None
    until: str | None
    match: str | None
    limit: int | None
    resume_file: Path | None
    record: Path | None
    replay: Path | None
    speed: float
    as_json: bool


def run(settings: Settings, options: EventOptions) -> int:
    """Show or print events. Returns the exit code.

    Raises:
        ConsoleError: an option makes no sense, or the server is away, refuses or has no change streams.
    """
    if options.replay is not None and (options.namespace or options.since or options.resume_file or options.record):
        raise UsageError("--replay reads a file: --namespace, --since, --resume-file and --record do not go with it")
    is_screen = not options.as_json and sys.stdin.isatty() and sys.stdout.isatty()
    if is_screen and (options.resume_file or options.until or options.limit):
        raise UsageError("--resume-file, --until and --limit go with --json")
    if is_screen:
        return _show(settings, _open(settings, options, None))
    return _Lines(settings, options).run()


def _open(settings: Settings, options: EventOptions, token: Mapping[str, Any] | None) -> Source:
    if options.replay is not None:
        return ReplaySource(options.replay, options.speed)
    watched = Watched(options.namespace, options.since, options.match, token, options.record)
    return LiveSource(settings, watched)


def _show(settings: Settings, source: Source) -> int:
    from console.ui.inspector import Inspector

    try:
        app = Inspector(source, theme=settings.ui.theme, event_capacity=settings.ui.event_buffer)
        app.run()
        return app.return_code or 0
    finally:
        source.feed_close()


class _Lines:
    """Events as lines on standard output, flushed with each batch; all else goes to standard error."""

    def __init__(self, settings: Settings, options: EventOptions) -> None:
        self._settings = settings
        self._options = options
        self._until = parse_until(options.until, datetime.now(UTC)) if options.until else None
        self._resume = ResumeFile(options.resume_file) if options.resume_file else None
        self._left = options.limit
        self._ending = threading.Event()
        self._signal = 0
        self._written: Mapping[str, Any] | None = None
        self._kept: Mapping[str, Any] | None = None
        self._keep_at = 0.0

    def run(self) -> int:
        """Print until the end that was asked for, a signal, or nobody reads any more."""
        token = self._settle()
        source = _open(self._settings, self._options, token)
        try:
            with self._ended_by_signals():
                self._print(source)
        except BrokenPipeError:
            # Whoever read has gone: a quiet end. What was not read has not been kept as read either.
            sys.stdout = open("/dev/null", "w")  # noqa: SIM115, PTH123 - for Python's own flush at exit
        finally:
            source.feed_close()
        return _INTERRUPTED if self._signal == signal.SIGINT else 0

    def _settle(self) -> Mapping[str, Any] | None:
        """The place to go on from: the kept one, or the last event that the output already has."""
        if self._resume is None:
            return None
        output = sys.stdout.fileno()
        return self._resume.settle(output) or last_token(output)

    def _print(self, source: Source) -> None:
        while not self._ending.is_set():
            items = source.feed_take(_TAKE_SECONDS)
            written = [line for item in items for line in self._lines(item)]
            if written:
                sys.stdout.write("".join(written))
                sys.stdout.flush()
            self._keep_place(source, is_idle=not items)
            if self._is_past_until(items) or _has_no_reader(sys.stdout.fileno()):
                return

    def _lines(self, item: FeedItem) -> Iterator[str]:
        if self._ending.is_set():
            return
        if isinstance(item, ChangeEvent):
            if self._until is not None and item.time is not None and item.time > self._until:
                self._ending.set()
                return
            yield f"{json_line(item.raw, relaxed=True)}\n"
            self._written = item.token
            if self._left is not None:
                self._left -= 1
                if self._left == 0:
                    self._ending.set()
        elif isinstance(item, Gap):
            gap = {"reason": item.reason, "since": item.since, "until": item.until}
            yield f"{json_line({'gap': gap}, relaxed=True)}\n"
        elif isinstance(item, FeedState):
            if item.ended and isinstance(self._options.replay, Path):
                self._ending.set()
            elif not item.connected:
                sys.stderr.write(f"reconnecting: {visible(item.message)}\n")

    def _keep_place(self, source: Source, *, is_idle: bool) -> None:
        """Behind what was written; now and then also while nothing comes, lest the oplog leave us behind."""
        if self._resume is None:
            return
        place = self._written
        if is_idle and (self._kept is None or time.monotonic() >= self._keep_at):
            place = source.position.token or place
        if place is not None and place != self._kept:
            self._resume.save(place)
            self._kept = place
            self._keep_at = time.monotonic() + _KEEP_PLACE_SECONDS

    def _is_past_until(self, items: list[FeedItem]) -> bool:
        return self._until is not None and not items and datetime.now(UTC) > self._until + _UNTIL_GRACE

    @contextmanager
    def _ended_by_signals(self) -> Iterator[None]:
        def end(number: int, _: FrameType | None) -> None:
            self._signal = number
            self._ending.set()

        before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _has_no_reader(output: int) -> bool:
    """Whether the pipe's other end is closed: without an event to write, nothing else would tell."""
    poll = select.poll()
    poll.register(output, 0)
    return any(events & select.POLLERR for _, events in poll.poll(0))
