"""Work that blocks: run in a thread, and told in one place when it fails.

Owns the threads of the screen's calls and the notice for a failure. Not here: what is called.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from functools import partial
from typing import Any, Final, TypeVar

from textual.app import App
from textual.worker import Worker

from console.capacity import shortage
from console.errors import ConsoleError
from console.formatting import visible

T = TypeVar("T")

NOTICE_SECONDS: Final = 10.0

logger = logging.getLogger(__name__)


async def in_thread(call: Callable[[], T]) -> T:
    """The result of a blocking call.

    In a daemon thread of its own, not in asyncio's pool: leaving the console would wait for a server that does not
    answer, or for a file system that hangs.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(outcome: Callable[[], None]) -> None:
        if not future.done():
            outcome()

    def run() -> None:
        try:
            result = call()
        except Exception as error:  # noqa: BLE001 - handed on to whoever awaits
            failure = error
            _later(loop, lambda: settle(lambda: future.set_exception(failure)))
        else:
            _later(loop, lambda: settle(lambda: future.set_result(result)))

    threading.Thread(target=run, name="screen-call", daemon=True).start()
    return await future


def _later(loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
    """Into the event loop, if it still runs."""
    if not loop.is_closed():
        loop.call_soon_threadsafe(callback)


def run_in_background(
    app: App[Any],
    call: Callable[[], T],
    then: Callable[[T], None] | None = None,
    failed: Callable[[Exception], None] | None = None,
) -> None:
    """Run a blocking call in a thread; `then` gets its result on the event loop.

    A failure becomes a notice, or goes to `failed` where one is given: for questions that nobody has asked by hand.
    What `then` raises is a fault of this program.
    """

    async def work() -> None:
        try:
            result = await in_thread(call)
        except Exception as error:  # noqa: BLE001 - every failure of such a call is told here, and nowhere else
            (failed or partial(notify_error, app))(error)
        else:
            if then is not None:
                then(result)

    # The function, not its coroutine: a worker that is cancelled before it began would leave that one unawaited.
    _worker: Worker[None] = app.run_worker(work, group="ask")


def notify_error(app: App[Any], error: Exception) -> None:
    """Show a failure as a notice: title, what happened, what to do. Thread-safe."""
    title, message = title_and_text(error)
    app.notify(message, title=title, severity="error", timeout=NOTICE_SECONDS, markup=False)


def title_and_text(error: Exception) -> tuple[str, str]:
    """Title and text for a failure. One that was not foreseen goes to the log with all it knows."""
    if isinstance(error, ConsoleError):
        lines = [error.message, error.advice] if error.advice else [error.message]
        return error.title, "\n".join(visible_lines(line) for line in lines)
    if lacking := shortage(error):
        return "Out of resources", lacking
    logger.error("unexpected failure", exc_info=error)
    detail = visible(str(error)) or "no details"
    return "Unexpected error", f"{type(error).__name__}: {detail}"


def visible_lines(text: str) -> str:
    """Text of several lines with everything but its line ends made visible."""
    return "\n".join(visible(line) for line in text.splitlines())
