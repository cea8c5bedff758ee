"""A signal ends a command that carries out uploads: they pause, and the program ends in time.

This module has what happens from the signal on, up to the last resort. Handlers are installed by `cli.process`; what
the command does until then, and what it says of each upload at its end, is in `upload` and `upload_report`.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from functools import partial
from typing import Final

from bson import ObjectId
from pymongo.errors import PyMongoError

from console.capacity import start_thread
from console.cli.output import show_control_keys
from console.cli.process import LAST_RESORT_SECONDS, TERMINATION, end_at, handling
from console.commands.upload_report import Report
from console.models import Requested
from console.records.connection import describe_error
from console.records.requests import request_all
from console.records.uploads import Uploads

# Together less than five seconds, which is what a system that shuts down may be relied on to give.
_TELL_SECONDS: Final = 1.5
STOP_SECONDS: Final = 3.0
_NOTICE_SECONDS: Final = 0.5
_SHOW_CURSOR: Final = b"\x1b[?25h"


class Interruption:
    """The first signal that comes, as `number`; later ones change nothing.

    The main thread looks at it now and then, and calls `leave`. Where it does not come to that, `stop_runner` is called
    in another thread: it ends the command's own runner, if there is one, within `STOP_SECONDS`.
    """

    def __init__(self, uploads: Uploads, report: Report, stop_runner: Callable[[], object]) -> None:
        self.number: signal.Signals | None = None
        self._uploads = uploads
        self._report = report
        self._stop_runner = stop_runner
        self._is_leaving = threading.Event()

    def awaited(self) -> AbstractContextManager[None]:
        """For the length of a `with` block, in the main thread."""
        return handling((signal.SIGINT, *TERMINATION), self._begin)

    def leave(self, number: signal.Signals, ids: Sequence[ObjectId]) -> None:
        """In the main thread: say what the signal means for these uploads, which are not done.

        After Ctrl+C they wait for somebody to resume them. Another signal asks for no pause: what our runner
        has to release goes on with the next one of this host.
        """
        self._is_leaving.set()
        is_paused = threading.Event()
        if number is signal.SIGINT:
            # In a thread, as MongoDB may be away.
            is_told = threading.Event()

            def tell() -> None:
                self._request_pause(ids, is_paused)
                is_told.set()

            if start_thread(tell, "pause"):
                is_told.wait(_TELL_SECONDS)
        with suppress(OSError):
            self._report.interrupted(ids, number, is_paused=is_paused.is_set())

    def _request_pause(self, ids: Sequence[ObjectId], is_paused: threading.Event) -> None:
        try:
            request_all(self._uploads, ids, Requested.PAUSE)
        except PyMongoError as error:
            self._report.connection(connected=False, message=describe_error(error))
        else:
            is_paused.set()

    def _begin(self, number: signal.Signals) -> None:
        if self.number is None:
            self.number = number
            start_thread(partial(self._see_to_the_end, number), "signal")

    def _see_to_the_end(self, number: signal.Signals) -> None:
        """Uploads pause and the program ends in time, whatever the main thread waits for: a MongoDB that says nothing,
        a share that hangs, or a reader of what it tells that takes nothing."""
        moment = time.monotonic() + LAST_RESORT_SECONDS
        if not self._is_leaving.wait(_NOTICE_SECONDS):
            self._stop_runner()
        end_at(moment, number, _give_back_terminal)


def _give_back_terminal() -> None:
    """Bars hide the cursor; but nothing is waited for that does not take it."""
    with suppress(OSError, ValueError):
        if sys.stdout.isatty() and select.select([], [sys.stdout], [], 0)[1]:
            os.write(sys.stdout.fileno(), _SHOW_CURSOR)
    show_control_keys()
