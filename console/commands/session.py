"""What works behind the full-screen console: records, sender, runner, feed and watches, as one.

Owns opening, starting and ending them, in that order. Imported by `opening` alone, and late: it brings boto3 and
PyMongo. Not here: the screen, signals (`fullscreen`).
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Final

from pymongo.errors import PyMongoError

from console.commands.backend import ConsoleBackend
from console.config import Settings
from console.models import Requested
from console.records.connection import explain
from console.records.database import Records
from console.records.runners import Limits
from console.runner.policy import Policy
from console.transfer.runner import Runner
from console.transfer.sender import S3Sender
from console.watch.notes import nobody
from console.watch.service import WatchService

STOP_SECONDS: Final = 4.0


def connect(settings: Settings) -> tuple[Records, S3Sender]:
    """Both servers, ready to serve.

    Raises:
        ConsoleError: a setting is wrong, or a server is away or cannot serve.
    """
    with ExitStack() as stack:
        records = stack.enter_context(Records.open(settings.mongodb))
        sender = S3Sender(settings.s3, settings.transfer)
        stack.pop_all()
    return records, sender


class Session:
    """Everything behind one console; it owns the servers that it is given. `close` ends what was begun, and no more."""

    def __init__(self, settings: Settings, records: Records, sender: S3Sender) -> None:
        self._settings = settings
        self._records = records
        self._sender = sender
        browsed = settings.ui.directory or Path.cwd()
        policy = Policy.of(settings, [browsed], settings.watch)
        self._runner = Runner(records, sender, Limits.of(settings.transfer), kind="console", policy=policy)
        self._watches: WatchService | None = None
        self.backend = ConsoleBackend(records, sender, self._runner, settings)
        self.notes = records.notes

    def start(self) -> None:
        """Watch folders, send uploads, read the change feed.

        Raises:
            ConsoleError: a rule is wrong, or MongoDB has just gone.
        """
        if self._settings.watch:
            self._watches = self._watch()
        self._runner.start()
        self.backend.start()

    def _watch(self) -> WatchService:
        settings, runner = self._settings, self._runner
        watches = WatchService(
            self._records,
            self._sender,
            settings.s3,
            settings.transfer,
            host=runner.host,
            holder=runner.name,
            tell=nobody,
        )
        try:
            watches.start(settings.watch)
        except PyMongoError as error:
            raise explain(error, self._records.connection) from error
        return watches

    def pause(self) -> None:
        """Pause what runs, at once, and claim nothing more; from any thread."""
        self._runner.stop(STOP_SECONDS)

    def cancel(self) -> None:
        """Cancel what runs here, and wait a moment for that."""
        self._runner.drain()
        self.backend.request(self.backend.running(), Requested.CANCEL)
        self._runner.wait_idle(STOP_SECONDS)

    def close(self) -> None:
        """Pause what runs and end everything, within some seconds."""
        self.backend.feed_close()
        if self._watches is not None:
            self._watches.stop(STOP_SECONDS)
        self._runner.stop(STOP_SECONDS)
        self._sender.close()
        self._records.close()
