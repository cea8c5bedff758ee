"""Clearing up after uploads whose runner is gone: requests that nobody carries out, parts that nobody wants.

    from console.runner.cleanup import clean_up
    clean_up(records, sender, runner_name)

Owns ending documents that no runner holds and the aborting of what cancelled ones still hold in the bucket; for a
runner in a thread of its own, so that an S3 server that hangs does not keep the runner from obeying.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Final

from pymongo.errors import PyMongoError

from console.models import Upload
from console.records.connection import describe_error
from console.records.database import Records
from console.records.writer import LEASE_SECONDS
from console.s3.transfer_errors import TransferError
from console.transfer.sender import S3Sender

_LOOK_ANYWAY_SECONDS: Final = 5.0
_LEAST_PAUSE_SECONDS: Final = 0.5
"""Between two looks, however often the clean-up is woken."""

_log = logging.getLogger(__name__)


def clean_up(
    records: Records,
    sender: S3Sender,
    runner: str,
    *,
    dead: Sequence[str] = (),
    lease_seconds: float = LEASE_SECONDS,
) -> int:
    """Do all that is to be done now, in the name of `runner`; gives how many multipart uploads are gone.

    What S3 refuses is left for whoever looks once the lease has run out. `dead` are runners known to have ended.

    Raises:
        PyMongoError: MongoDB is away.
    """
    uploads = records.uploads
    uploads.settle(dead)
    gone = 0
    while taken := uploads.to_clean_up(runner, lease_seconds=lease_seconds, endpoint=sender.endpoint):
        aborted = [upload.id for upload in taken if is_aborted(sender, upload)]
        for upload_id in aborted:
            uploads.cleaned_up(runner, upload_id)
        gone += len(aborted)
        if not aborted:
            break  # S3 takes nothing now
    return gone


class Cleanup:
    """Cleans up now and then, and soon after it is woken, until closed."""

    def __init__(
        self, records: Records, sender: S3Sender, runner: str, dead: Callable[[], Sequence[str]], lease_seconds: float
    ) -> None:
        self._clean_up: Callable[[], int] = lambda: clean_up(
            records, sender, runner, dead=dead(), lease_seconds=lease_seconds
        )
        self._woken = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="cleanup", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        """Somebody may have cancelled something."""
        self._woken.set()

    def close(self, timeout: float) -> None:
        """Clean up once more, for what was cancelled in the end, and end; waits at most `timeout` seconds for that."""
        self._closing.set()
        self._woken.set()
        if self._thread.is_alive():
            self._thread.join(timeout)

    def _run(self) -> None:
        while True:
            self._woken.clear()
            is_last = self._closing.is_set()
            try:
                self._clean_up()
            except PyMongoError as error:
                _log.info("cleaning up waits for MongoDB: %s", describe_error(error))
            except Exception:  # noqa: BLE001 - the next look may go well
                _log.exception("cleaning up")
            if is_last:
                return
            self._closing.wait(_LEAST_PAUSE_SECONDS)
            self._woken.wait(_LOOK_ANYWAY_SECONDS)


def is_aborted(sender: S3Sender, upload: Upload) -> bool:
    """Whether nothing of it is left in the bucket."""
    try:
        if upload.multipart is not None:
            sender.abort(upload, upload.multipart)
    except TransferError as error:
        _log.warning("the parts of %s stay in the bucket for now: %s", upload.id, error)
        return False
    return True
