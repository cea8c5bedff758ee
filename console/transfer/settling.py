"""What becomes of an upload in hand once nothing is sent for it any more: completed, failed, or let go.

Owns the last write of a claim, and what is left of it in the bucket. Not here: what the transitions are
(`records.transitions`), and how they reach MongoDB (`records.writer`).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass

from pymongo.errors import PyMongoError

from console.models import Upload
from console.records.connection import words
from console.records.transitions import NOT_ALLOWED, Fields, failed, refused, stopped
from console.records.uploads import Gate, Uploads
from console.records.writer import RecordWriter
from console.transfer.errors import TransferError
from console.transfer.job import Confirmation
from console.transfer.record_journal import RecordJournal
from console.transfer.sender_port import Sender
from console.transfer.tidying import is_aborted
from console.transfer.transfer_control import StopReason, TransferControl
from console.transfer.verdicts import Verdict

_log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Active:
    """An upload that a runner holds, since when, if it was claimed. `cancel` where it is on its way without a thread of
    its own."""

    upload: Upload
    control: TransferControl
    journal: RecordJournal
    claimed_at: float | None = None
    cancel: Callable[[], None] | None = None

    def stop(self, reason: StopReason) -> None:
        """Whether a thread sends it, or it is on its way without one."""
        self.control.stop(reason)
        if self.cancel is not None:
            self.cancel()


class Settling:
    """Writes how claims end; `forget` is called once that is done, or cannot be. Thread-safe."""

    def __init__(
        self, uploads: Uploads, sender: Sender, writer: RecordWriter, forget: Callable[[Active], None]
    ) -> None:
        self._uploads = uploads
        self._sender = sender
        self._writer = writer
        self._forget = forget

    def complete(self, active: Active, sent: Confirmation) -> None:
        """S3 confirmed the object."""
        fields = active.journal.completed(sent)

        def settled(outcome: Future[bool]) -> None:
            is_refused = not outcome.cancelled() and outcome.exception() is None and not outcome.result()
            if is_refused:  # asks the server, so not on the writer's thread
                threading.Thread(target=self._complete_late, args=(active, fields), name="late", daemon=True).start()
            else:
                self._forget(active)

        self._writer.write(active.upload.id, fields, lets_go=True).add_done_callback(settled)

    def fail(self, active: Active, error: TransferError) -> None:
        """It cannot go on; after a final error nothing of it is left in the bucket."""
        gone = error.verdict is Verdict.FINAL and self._abort(active)
        self._settle(active, failed(error.code, error.message, multipart_gone=gone))

    def refuse(self, active: Active, gate: Gate, reason: str) -> None:
        """This runner may not read the file, but whoever asked for it was not this user: somebody else may."""
        self._settle(active, stopped(leaving=False) | refused(gate.name, NOT_ALLOWED, reason))

    def let_go(self, active: Active, *, leaving: bool) -> None:
        """The transfer stopped: leave the document to whoever is next, or settle what was requested.

        The parts of a cancelled upload are the tidier's: S3 may take its time.
        """
        if active.control.reason is StopReason.LOST:
            self._drop_if_deleted(active)
            self._forget(active)
        else:
            self._settle(active, stopped(leaving=leaving))

    def _settle(self, active: Active, fields: Fields) -> None:
        outcome = self._writer.write(active.upload.id, fields, lets_go=True)
        outcome.add_done_callback(lambda _: self._forget(active))

    def _complete_late(self, active: Active, fields: Fields) -> None:
        try:
            if self._uploads.complete_late(active.upload.id, active.upload.attempts, fields):
                _log.warning("upload %s was taken from us, but its object is complete", active.upload.id)
        except PyMongoError as error:
            _log.warning("whoever has %s now will find its object: %s", active.upload.id, words(error))
        self._forget(active)

    def _drop_if_deleted(self, active: Active) -> None:
        """Without a document nobody would ever know of the parts; with one they are its new runner's."""
        try:
            if not self._uploads.get([active.upload.id]):
                self._abort(active)
        except PyMongoError as error:
            _log.warning("a sweep has to find what is left of %s: %s", active.upload.id, words(error))

    def _abort(self, active: Active) -> bool:
        """Whether nothing is left in the bucket."""
        # Under the key where it was opened, which may be another one than claimed (duplicates: new_name).
        return is_aborted(self._sender, active.journal.upload)
