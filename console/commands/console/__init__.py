"""`upload-console` without a command: the full-screen console, and a runner beside it.

This module starts and ends both, in every way in which a person or the system ends a program. What works behind the
screen is in `session`, which is opened when the first picture is seen.
"""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from console.capacity import start_thread
from console.cli.process import TERMINATION, handling, start_last_resort
from console.commands.console.served import end_with_server
from console.commands.console.session import Opening, deferred_backend
from console.commands.console.upload_plan import usual_choices
from console.errors import UsageError
from console.records.identity import this_host
from console.settings import Settings
from console.settings.effective import setting_lines
from console.ui.app import UploadConsole
from console.ui.backend import Leave
from console.ui.base_app import is_served
from console.ui.remembered import usual_path

if TYPE_CHECKING:
    from console.commands.console.session import Session

_LAST_RESORT_SECONDS: Final = 6.0


def run(settings: Settings, *, hints: Sequence[str] = ()) -> int:
    """Open the console; returns the exit code.

    Raises:
        ConsoleError: a setting is wrong, or a server is away or cannot serve.
    """
    if not (sys.stdin.isatty() and sys.stdout.isatty()) and not is_served():
        raise UsageError(
            "the console needs a terminal",
            advice="Without one: `upload-console upload`, `watch`, `list`, `events --json`.",
        )
    logging.getLogger("console").addHandler(logging.NullHandler())
    if is_served():
        end_with_server()

    def begun(session: Session) -> None:
        app.call_from_thread(app.show_notes, session.notes)

    def leave() -> None:
        app.call_from_thread(app.exit, Leave.NOW)

    def now() -> datetime:
        session = opening.session
        return session.backend.now() if session is not None else datetime.now(UTC)

    opening = Opening(settings, begun, leave)
    app = UploadConsole(
        deferred_backend(opening),
        directory=str(settings.ui.directory or Path.cwd()),
        host=this_host(),
        theme=settings.ui.theme,
        show_hidden=settings.ui.show_hidden,
        event_capacity=settings.ui.event_buffer,
        state_file=usual_path(),
        notes=hints,
        facts=settings.facts,
        drawn=opening.start,
        now=now,
        settings=lambda: setting_lines(settings),
        has_tour=True,
        usual=usual_choices(settings),
        has_sheet=settings.ui.upload_sheet,
        keys=settings.keys.model_dump(),
    )
    left: Leave | None = None
    try:
        with _ended_by_signals(opening, leave, lambda: app.exit(Leave.NOW)):
            left = app.run()
    finally:
        session = opening.leave()
        if session is not None:
            try:
                if left is Leave.CANCEL:
                    session.cancel()
            finally:
                session.close()
    if opening.error is not None:
        raise opening.error
    return app.return_code or 0


def _ended_by_signals(
    opening: Opening, leave: Callable[[], None], leave_at_once: Callable[[], None]
) -> AbstractContextManager[None]:
    """SIGTERM and SIGHUP pause what runs at once, whatever the screen is doing, and then end the program.

    A closed terminal can leave the screen hanging in a write; the uploads do not wait for it, nor does the end. `leave`
    is for other threads, `leave_at_once` for the screen's own, where the machine allows no further one.
    """

    def see_to_the_end(number: signal.Signals) -> None:
        start_last_resort(number, _LAST_RESORT_SECONDS)
        start_thread(leave, "leave")
        session = opening.leave()
        if session is not None:
            session.pause()

    def begin(number: signal.Signals) -> None:
        if not start_thread(partial(see_to_the_end, number), "signal"):
            leave_at_once()

    return handling(TERMINATION, begin)
