"""What a runner asks of S3: the one port between the two, so that a runner can be tested without S3.

Owns the protocol; `transfer.sender.S3Sender` is the real one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from console.models import Endpoint, Multipart, Upload
from console.records.runners import Limits
from console.records.uploads import NewUpload
from console.runner.journal import RecordJournal, TransferControl
from console.transfer.job import Confirmation


class Sender(Protocol):
    """Sends bytes, and drops those that nobody wants. Thread-safe."""

    @property
    def endpoint(self) -> Endpoint:
        """The S3 service to which it does so."""

    def send(self, upload: Upload, journal: RecordJournal, control: TransferControl) -> Confirmation:
        """Send the file. Raises `TransferError` or `Stopped`, nothing else."""

    @property
    def small_up_to(self) -> int | None:
        """Up to which size files go by `send_small` if nothing speaks against it; None where none do."""

    def takes(self, upload: Upload) -> bool:
        """Whether `send_small` may be tried with it."""

    def takes_new(self, upload: NewUpload) -> bool:
        """The same of one that has no document yet."""

    def send_small(
        self,
        upload: Upload,
        journal: RecordJournal,
        control: TransferControl,
        on_the_way: Callable[[Callable[[], None]], None],
    ) -> Confirmation | None:
        """Send a small file; None where `send` has to do it. `on_the_way` gets what breaks it off. Raises `Stopped`."""

    def abort(self, upload: Upload, multipart: Multipart) -> bool:
        """Drop the parts that S3 holds; False where the server cannot. Raises `TransferError` where that failed."""

    def set_limits(self, limits: Limits) -> None: ...

    @property
    def uploads_at_once(self) -> int:
        """How many files may be sent at once now, each by a thread."""

    @property
    def small_at_once(self) -> int:
        """How many small files may be sent at once now, each by a thread."""

    def is_here(self, upload: Upload) -> bool:
        """Whether the upload's file is seen at the same path, unchanged."""
