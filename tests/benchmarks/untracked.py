"""Uploads as the command does them, without MongoDB: what tracking costs is the difference. For the benchmark alone.

python -m tests.benchmarks.untracked PATH s3://bucket/prefix
"""

from __future__ import annotations

import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

from console.commands.upload import _redirected
from console.models import Source, Upload
from console.records.uploads import NewUpload
from console.s3.control import Unattended
from console.settings import load
from console.transfer.intake import Intake
from console.transfer.job import Confirmation
from console.transfer.sender import S3Sender


def _upload(new: NewUpload) -> Upload:
    return Upload.model_validate(new.document(datetime.now(UTC)))


class _Sending:
    """Sends uploads as the runner does: small ones without a thread for each."""

    def __init__(self, sender: S3Sender) -> None:
        self._sender = sender
        self._nobody = Unattended()
        self._changed = threading.Condition()
        self._under_way = 0
        self._again: list[Upload] = []

    def send(self, upload: Upload) -> None:
        if not (self._sender.takes(upload) and self._begin(upload)):
            self._sender.send(upload, self._nobody, self._nobody)

    def wait(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: not self._under_way)
        for upload in self._again:
            self._sender.send(upload, self._nobody, self._nobody)

    def _begin(self, upload: Upload) -> bool:
        def ended(sent: Confirmation | None) -> None:
            with self._changed:
                self._under_way -= 1
                if sent is None:
                    self._again.append(upload)
                self._changed.notify()

        with self._changed:
            self._under_way += 1
        if self._sender.begin(upload, self._nobody, self._nobody, ended) is None:
            with self._changed:
                self._under_way -= 1
            return False
        return True


def main() -> int:
    """Send what is under the path; gives the exit code."""
    path, to = sys.argv[1:]
    settings = _redirected(load(None, os.environ, {}), to)
    with (
        S3Sender(settings.s3, settings.transfer) as sender,
        ThreadPoolExecutor(settings.transfer.parallel_uploads or 8) as threads,
    ):
        intake = Intake(
            settings.s3, settings.transfer, host="benchmark", source=Source.COMMAND, endpoint=sender.endpoint.name
        )
        sending = _Sending(sender)
        for batch in intake.batches([path]):
            for _ in threads.map(lambda new: sending.send(_upload(new)), batch):
                pass
        sending.wait()
    return 1 if intake.refusals else 0


if __name__ == "__main__":
    sys.exit(main())
