"""Opening the servers while the first picture of the console is already seen.

Owns the thread that opens, what is answered until then, and leaving in the midst of it. Importing boto3 and PyMongo
and shaking hands takes longer than all the rest of the start, so it begins when the screen has been drawn. Not here:
what is opened (`session`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, cast

from console.config import Settings
from console.events.feed_items import FeedItem
from console.ui.backend import Backend

if TYPE_CHECKING:
    # At run time it is imported by the thread that opens.
    from console.commands.session import Session

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

    def leave(self) -> Session | None:
        """The session to be closed, if there is one. None will begin from now on."""
        self._is_leaving = True
        # Held while a session begins: it is then closed like any other.
        if self._lock.acquire(timeout=_LEAVE_SECONDS):
            self._lock.release()
        return self._session

    def _run(self) -> None:
        try:
            from console.commands.session import Session, connect

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
                self._tell(self._failed)
        else:
            self._begun.set()
            self._tell(lambda: self._then(session))

    def _tell(self, call: Callable[[], None]) -> None:
        with suppress(RuntimeError):  # the screen was left in this moment: there is nobody to tell
            call()


class _Late:
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


def late_backend(opening: Opening) -> Backend:
    """The backend of a session that is still to begin."""
    return cast(Backend, _Late(opening))
