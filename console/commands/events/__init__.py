"""`events`: the inspector on any namespace: full screen on a terminal, lines otherwise, extended JSON with `--json`.

This module decides which of the two it is and which options go together. The lines are in `lines`, the screen is in
`ui.inspector`, and what is read, from where to where, is in `sources`.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from console.capacity import start_thread
from console.cli.process import LAST_RESORT_SECONDS, TERMINATION, handling, start_last_resort
from console.commands.events.lines import EventLines, LineForm
from console.commands.events.sources import (
    Bounded,
    EventInput,
    LiveSource,
    OwnEvents,
    Place,
    Recorded,
    ReplaySource,
    WatchedNamespace,
    namespace_of,
)
from console.errors import UsageError
from console.events.event import ChangeEvent
from console.events.recording import ResumeFile
from console.events.since import parse_until
from console.settings import Settings


@dataclass(frozen=True, slots=True)
class EventOptions:
    namespace: str | None = None
    since: str | None = None
    until: str | None = None
    match: str | None = None
    limit: int | None = None
    resume_file: Path | None = None
    record: Path | None = None
    replay: Path | None = None
    speed: float = 0.0
    as_json: bool = False
    canonical: bool = False

    @property
    def form(self) -> LineForm:
        """How lines are written."""
        if self.canonical:
            return LineForm.CANONICAL
        return LineForm.RELAXED if self.as_json else LineForm.TEXT


def run(settings: Settings, options: EventOptions) -> int:
    """Show or print events. Returns the exit code.

    Raises:
        ConsoleError: an option makes no sense, or the server is away, refuses or has no change streams.
    """
    as_lines = options.as_json or options.canonical or not (sys.stdin.isatty() and sys.stdout.isatty())
    _check(options, as_lines=as_lines)
    if as_lines:
        return _print(settings, options)
    source = _open(settings, options, None)
    images = source if isinstance(source, LiveSource) else None  # also where it is recorded
    return _show(settings, _recorded(source, options.record, None), images)


def _check(options: EventOptions, *, as_lines: bool) -> None:
    """Raise `UsageError` for options that do not go together."""
    if options.replay is not None and (options.namespace or options.since or options.resume_file or options.record):
        raise UsageError("--replay reads a file: --namespace, --since, --resume-file and --record do not go with it")
    if options.speed and options.replay is None:
        raise UsageError("--speed goes with --replay")
    if not as_lines and (options.resume_file or options.until or options.limit):
        raise UsageError("--resume-file, --until and --limit go with --json")


def _open(settings: Settings, options: EventOptions, place: Place | None) -> EventInput:
    if options.replay is not None:
        return ReplaySource(options.replay, options.speed, options.match)
    return LiveSource(settings, WatchedNamespace(options.namespace, options.since, options.match, place))


def _recorded(source: EventInput, path: Path | None, is_own: Callable[[ChangeEvent], bool] | None) -> EventInput:
    if path is None:
        return source
    try:
        return Recorded(source, path, is_own)
    except BaseException:
        source.feed_close()
        raise


def _print(settings: Settings, options: EventOptions) -> int:
    until = parse_until(options.until, datetime.now(UTC)) if options.until else None
    own = OwnEvents(namespace_of(options.namespace, settings), options.match)
    file = ResumeFile(options.resume_file, own.stream(settings)) if options.resume_file is not None else None

    def open_source(token: Mapping[str, Any] | None) -> EventInput:
        place = None
        if token is not None:
            name = str(file.path) if file is not None else ""
            place = Place(token, is_own=file is None or file.is_of_this_stream, file=name)
        source = Bounded(_open(settings, options, place), until, options.limit)
        return _recorded(source, options.record, own.may_have if token is not None else None)

    return EventLines(file, own.may_have, options.form).run(open_source)


def _show(settings: Settings, source: EventInput, images: LiveSource | None) -> int:
    from console.ui.inspector import Inspector

    app = Inspector(
        source, images, theme=settings.ui.theme, event_capacity=settings.ui.event_buffer, facts=settings.facts
    )

    def leave(number: signal.Signals) -> None:
        # A terminal that has gone can leave the screen hanging in a write, and there is nothing to be lost by ending.
        start_last_resort(number, LAST_RESORT_SECONDS)
        if not start_thread(partial(app.call_from_thread, app.exit), "leave"):
            app.exit()

    try:
        with handling(TERMINATION, leave):
            app.run()
        return app.return_code or 0
    finally:
        source.feed_close()
