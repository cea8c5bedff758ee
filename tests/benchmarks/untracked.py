"""Uploads as the command does them, without MongoDB: what tracking costs is the difference. For the benchmark alone.

python -m tests.benchmarks.untracked PATH s3://bucket/prefix
"""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

from console.commands.upload import _redirected
from console.config import load
from console.models import Source, Upload
from console.records.uploads import NewUpload
from console.transfer.control import Unattended
from console.transfer.intake import Intake
from console.transfer.sender import S3Sender


def _upload(new: NewUpload) -> Upload:
    return Upload.model_validate(new.document(datetime.now(UTC)))


def main() -> int:
    """Send what is under the path; gives the exit code."""
    path, to = sys.argv[1:]
    settings = _redirected(load(None, os.environ, {}), to)
    intake = Intake(settings.s3, settings.transfer, host="benchmark", source=Source.COMMAND)
    nobody = Unattended()
    with (
        S3Sender(settings.s3, settings.transfer) as sender,
        ThreadPoolExecutor(settings.transfer.parallel_uploads) as threads,
    ):
        for batch in intake.batches([path]):
            for _ in threads.map(lambda new: sender.send(_upload(new), nobody, nobody), batch):
                pass
    return 1 if intake.refusals else 0


if __name__ == "__main__":
    sys.exit(main())
