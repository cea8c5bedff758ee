"""`upload-console` without a command: the full-screen console, and a runner beside it.

Owns starting and ending both, in every way in which a person or the system ends a program.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Final

from pymongo.errors import PyMongoError

from console.commands.backend import ConsoleBackend
from console.config import Settings
from console.errors import UsageError
from console.models import Requested
from console.records.connection import explain
from console.records.database import Records
from console.records.runners import Limits
from console.transfer.runner import Runner
from console.transfer.sender import S3Sender
from console.ui.app import UploadConsole
from console.ui.backend import Leave
from console.watch.notes import nobody
from console.watch.service import WatchService

STOP_SECONDS: Final = 4.0
_LAST_RESORT_SECONDS: Final = 6.0


def run(settings: Settings, *, hints: Sequence[str] = ()) -> int:
    """Open the console; returns the exit code.

    Raises:
        ConsoleError: a setting is wrong, or a server is away or cannot serve.
    """
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError(
            "the console needs a terminal",
            advice="Without one: `upload-console upload`, `watch`, `list`, `events --json`.",
        )
    logging.getLogger("console").addHandler(logging.NullHandler())
    with Records.open(settings.mongodb) as records:
        sender = S3Sender(settings.s3, settings.transfer)
        runner = Runner(records, sender, Limits.of(settings.transfer), kind="console")
        backend = ConsoleBackend(records, sender, runner, settings)
        app = UploadConsole(
            backend,
            directory=str(settings.ui.directory or Path.cwd()),
            host=runner.host,
            theme=settings.ui.theme,
            show_hidden=settings.ui.show_hidden,
            event_capacity=settings.ui.event_buffer,
            notes=(*records.notes, *hints),
        )
        watches = _watches(settings, records, sender, runner)
        runner.start()
        backend.start()
        try:
            with _ended_by_signals(runner, lambda: app.call_from_thread(app.exit, Leave.NOW)):
                left = app.run()
            if left is Leave.CANCEL:
                backend.request(backend.running(), Requested.CANCEL)
                runner.drain()
                runner.wait_idle(STOP_SECONDS)
        finally:
            backend.feed_close()
            if watches is not None:
                watches.stop(STOP_SECONDS)
            runner.stop(STOP_SECONDS)
            sender.close()
    return app.return_code or 0


def _watches(settings: Settings, records: Records, sender: S3Sender, runner: Runner) -> WatchService | None:
    """The watches of the configuration's rules, begun; None where there are no rules."""
    if not settings.watch:
        return None
    watches = WatchService(
        records, sender, settings.s3, settings.transfer, host=runner.host, holder=runner.name, tell=nobody
    )
    try:
        watches.start(settings.watch)
    except PyMongoError as error:
        raise explain(error, records.connection) from error
    return watches


@contextmanager
def _ended_by_signals(runner: Runner, leave: Callable[[], None]) -> Iterator[None]:
    """SIGTERM and SIGHUP pause what runs at once, whatever the screen is doing, and then end the program.

    A closed terminal can leave the screen hanging in a write; the uploads do not wait for it, nor does the end.
    """

    def end(number: int, _: FrameType | None) -> None:
        threading.Thread(target=_end, args=(number,), name="signal", daemon=True).start()

    def _end(number: int) -> None:
        last_resort = threading.Timer(_LAST_RESORT_SECONDS, os._exit, (128 + number,))
        last_resort.daemon = True
        last_resort.start()
        threading.Thread(target=leave, name="leave", daemon=True).start()
        runner.stop(STOP_SECONDS)

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
