"""A fault of this program: an exception that no handler foresaw.

Owns the report in a file, the sentence that names it, and that one handler's fault ends neither its widget nor the
application, and so not the uploads. The report has no values of variables: these may be somebody's documents.
"""

from __future__ import annotations

import functools
import platform
import sys
import traceback
from collections.abc import Callable
from datetime import UTC, datetime

import platformdirs
from textual.message import Message
from textual.message_pump import MessagePump
from textual.worker import WorkerFailed

import console
from console.capacity import shortage
from console.formatting import visible
from console.private_files import make_private_folder, write_private


class Faults:
    """The faults of one application. Each is told once, however often it happens; `tell` is called with the words."""

    def __init__(self, tell: Callable[[str], object]) -> None:
        self._tell = tell
        self._known: set[str] = set()

    def survive(self, error: BaseException) -> None:
        """Keep a report of the exception, and tell of it."""
        if isinstance(error, WorkerFailed):
            error = error.error
        place = traceback.extract_tb(error.__traceback__)[-1:]
        name = f"{type(error).__name__} {place[0].filename}:{place[0].lineno}" if place else type(error).__name__
        if name not in self._known:
            self._known.add(name)
            lacking = shortage(error)
            self._tell(f"{lacking}." if lacking else f"{_about(error)}\n{_kept(error)}")

    @property
    def known(self) -> frozenset[str]:
        """Kind and place of each."""
        return frozenset(self._known)


def keep_dispatching() -> None:
    """Let a widget whose handler raised go on with its next message.

    Textual ends the widget's loop and then the application. The way every message takes is a private method of it
    (`MessagePump._dispatch_message`, checked with 8.2); docs/architecture.md lists it.
    """
    dispatch = MessagePump._dispatch_message
    if hasattr(dispatch, "__wrapped__"):
        return

    @functools.wraps(dispatch)
    async def dispatch_and_survive(pump: MessagePump, message: Message) -> None:
        try:
            await dispatch(pump, message)
        except Exception as error:  # noqa: BLE001 - whatever it is, the person is told and the next message is handled
            pump.app._handle_exception(error)

    MessagePump._dispatch_message = dispatch_and_survive  # type: ignore[method-assign, assignment]


def report() -> str:
    """Keep the exception that is being handled in a file; returns what to tell the person whose console ended."""
    error = sys.exception()
    uploads = "Uploads that ran here are paused; a console or `resume` continues them where they stopped."
    if error is not None and (lacking := shortage(error)):
        return f"The console ended: {lacking}.\n{uploads}"
    words = f"The console ended because of an internal error: {_about(error)}"
    return f"{words}\n{uploads}\n{_kept(error)}"


def _about(error: BaseException | None) -> str:
    return f"{type(error).__name__}: {visible(str(error))[:500]}"


def _kept(error: BaseException | None) -> str:
    """Keep a report of it in a file; what to do with that, in words."""
    now = datetime.now(UTC)
    path = platformdirs.user_state_path("upload-console") / f"fault-{now:%Y%m%d-%H%M%S-%f}.txt"
    try:
        make_private_folder(path.parent)
        write_private(path, _text(error, now))
    except OSError as failure:
        return f"No report could be written to {path}: {failure.strerror}."
    return f"Please send the report, and say what you did last: {path}"


def _text(error: BaseException | None, now: datetime) -> str:
    lines = traceback.format_exception(error) if error is not None else ["no exception\n"]
    about = f"upload-console {console.__version__}, Python {platform.python_version()}, {platform.platform()}"
    return f"{now:%Y-%m-%d %H:%M:%S} UTC\n{about}\n\n{''.join(lines)}"
