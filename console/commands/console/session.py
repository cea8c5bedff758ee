"""What works behind the full-screen console: records, sender, runner, feed and watches, opened behind the first
picture.

Importing boto3 and PyMongo and shaking hands takes longer than all the rest of the start, so it begins when the
screen has been drawn; until then questions wait, and the console can be left.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Final, cast

from pymongo.errors import PyMongoError

from console.commands.console.live_backend import ConsoleBackend
from console.errors import UsageError
from console.events.feed_items import FeedItem
from console.formatting import visible
from console.models import Requested
from console.records.connection import explain
from console.records.database import Records
from console.records.runners import Limits
from console.runner.policy import Policy
from console.runner.runner import Runner
from console.settings import Settings
from console.settings.watch_rules import WatchRule
from console.stream.feed import ChangeFeed
from console.transfer.sender import S3Sender
from console.ui.backend import Backend
from console.watch.reporting import nobody
from console.watch.service import WatchService

_LEAVE_SECONDS: Final = 4.0


class Opening:
    """One opening. `then` is called with the session when it has begun, `failed` when it will not begin."""

    def __init__(self, settings: Settings, then: Callable[[Session], None], failed: Callable[[], None]) -> None:
        self._settings = settings
        self._then = then
        self._failed = failed
        self._lock = threading.Lock()
        self._is_leaving = False
        self._begun = threading.Event()
        self._session: Session | None = None
        self.error: Exception | None = None

    def start(self) -> None:
        """Begin, in a thread that nobody waits for: a server that does not answer must not keep a person."""
        threading.Thread(target=self._run, name="opening", daemon=True).start()

    def wait(self, seconds: float | None = None) -> Session | None:
        """The session once it has begun; None where that takes longer."""
        self._begun.wait(seconds)
        return self._session

    @property
    def session(self) -> Session | None:
        return self._session

    def leave(self) -> Session | None:
        """The session to be closed, if there is one. None will begin from now on."""
        self._is_leaving = True
        # Held while a session begins: it is then closed like any other.
        if self._lock.acquire(timeout=_LEAVE_SECONDS):
            self._lock.release()
        return self._session

    def _run(self) -> None:
        try:
            records, sender = connect(self._settings)
            with self._lock:
                if self._is_leaving:
                    sender.close()
                    records.close()
                    return
                session = Session(self._settings, records, sender)
                try:
                    session.start()
                except BaseException:
                    session.close()
                    raise
                self._session = session
        except Exception as error:  # noqa: BLE001 - raised again by the command, when the screen has been left
            if not self._is_leaving:
                self.error = error
                self._report(self._failed)
        else:
            self._begun.set()
            self._report(lambda: self._then(session))

    def _report(self, call: Callable[[], None]) -> None:
        with suppress(RuntimeError):  # the screen was left in this moment: there is nobody to tell
            call()


class _DeferredBackend:
    """A backend from the start on: what is asked before the session has begun is answered then."""

    def __init__(self, opening: Opening) -> None:
        self._opening = opening

    @property
    def runner(self) -> str:
        session = self._opening.wait(0)
        return session.backend.runner if session is not None else ""

    @property
    def is_connected(self) -> bool:
        session = self._opening.wait(0)
        return session is not None and session.backend.is_connected

    def feed_take(self, timeout_seconds: float) -> list[FeedItem]:
        session = self._opening.wait(timeout_seconds)
        return session.backend.feed_take(timeout_seconds) if session is not None else []

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """Any other question: it may block, as the port says."""
        if name not in vars(Backend):
            raise AttributeError(name)

        def ask(*arguments: Any) -> Any:
            session = self._opening.wait()
            return getattr(session.backend, name)(*arguments) if session is not None else None

        return ask


def deferred_backend(opening: Opening) -> Backend:
    """The backend of a session that is still to begin."""
    return cast(Backend, _DeferredBackend(opening))


STOP_SECONDS: Final = 4.0


def connect(settings: Settings) -> tuple[Records, S3Sender]:
    """Both servers, ready to serve.

    Raises:
        ConsoleError: a setting is wrong, or a server is away or cannot serve.
    """
    with ExitStack() as stack:
        sender = stack.enter_context(S3Sender(settings.s3, settings.transfer))
        records = stack.enter_context(Records.open(settings.mongodb, endpoint=sender.endpoint))
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
        feed = self._feed = ChangeFeed(
            records.uploads.collection, snapshot=records.uploads.window
        )  # the only stream of this process: all in it listen
        limits = Limits.of(settings.transfer)
        self._runner = Runner(
            records, sender, limits, kind="console", policy=policy, feed=feed, schedule=settings.schedule
        )
        self._watches: WatchService | None = None
        self._rules = settings.watch
        self._watching = threading.Lock()
        self.backend = ConsoleBackend(records, sender, self._runner, settings, feed, self._watch_folder)
        self.notes = records.notes

    def start(self) -> None:
        """Watch folders, send uploads, read the change feed.

        Raises:
            ConsoleError: a rule is wrong, or MongoDB has just gone.
        """
        if self._rules:
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
            notify=nobody,
            feed=self._feed,
        )
        try:
            watches.start(self._rules)
        except PyMongoError as error:
            raise explain(error, self._records.connection) from error
        return watches

    def _watch_folder(self, folder: str) -> None:
        """Watch a folder as well, as long as this console runs."""
        with self._watching:
            if any(str(rule.folder) == folder for rule in self._rules):
                raise UsageError(f"{visible(folder)} is watched already", advice="w shows all watches.")
            before, self._rules = self._rules, (*self._rules, self._rule_of(folder))
            try:
                if self._watches is None:
                    self._watches = self._watch()
                else:
                    self._watches.follow(self._rules)
            except BaseException:
                self._rules = before
                raise

    def _rule_of(self, folder: str) -> WatchRule:
        return WatchRule(folder=Path(folder)).with_headers(self._settings.headers)

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
