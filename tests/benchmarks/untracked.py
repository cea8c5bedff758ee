"""Uploads as the command does them, without MongoDB: what tracking costs is the difference. For the benchmark alone.

python -m tests.benchmarks.untracked PATH s3://bucket/prefix
"""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Final

from console.commands.upload import _redirected
from console.models import Source, Upload
from console.records.uploads import NewUpload
from console.s3.control import Unattended
from console.settings import load
from console.transfer.intake import Intake
from console.transfer.sender import S3Sender

_AT_ONCE: Final = 32


def _upload(new: NewUpload) -> Upload:
    return Upload.model_validate(new.document(datetime.now(UTC)))


def _send(sender: S3Sender, upload: Upload) -> None:
    """As the runner does: small ones over connections that are kept, if they go so."""
    nobody = Unattended()
    is_sent = sender.takes(upload) and sender.send_small(upload, nobody, nobody, lambda _: None)
    if not is_sent:
        sender.send(upload, nobody, nobody)


def main() -> int:
    """Send what is under the path; gives the exit code."""
    path, to = sys.argv[1:]
    settings = _redirected(load(None, os.environ, {}), to)
    with (
        S3Sender(settings.s3, settings.transfer) as sender,
        ThreadPoolExecutor(_AT_ONCE) as threads,
    ):
        intake = Intake(
            settings.s3, settings.transfer, host="benchmark", source=Source.COMMAND, endpoint=sender.endpoint.name
        )
        for batch in intake.batches([path]):
            for _ in threads.map(lambda new: _send(sender, _upload(new)), batch):
                pass
    return 1 if intake.refusals else 0


if __name__ == "__main__":
    sys.exit(main())
