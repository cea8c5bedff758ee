"""After how many files or bytes a job stops taking more: `--max-files`, `--max-bytes`."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator

from console.formatting import count
from console.records.uploads import NewUpload
from console.settings.schedule import ScheduleSettings


def limited(batches: Iterable[list[NewUpload]], schedule: ScheduleSettings) -> Iterator[list[NewUpload]]:
    """The first of them, as `max_files` and `max_bytes` have it: the file that would exceed the latter is the end."""
    files = size = 0
    for batch in batches:
        taken: list[NewUpload] = []
        for upload in batch:
            too_many = schedule.max_files is not None and files >= schedule.max_files
            if too_many or (schedule.max_bytes is not None and size + upload.size > schedule.max_bytes):
                if taken:
                    yield taken
                limit = "max_files" if too_many else "max_bytes"
                sys.stderr.write(f"Stopped by {limit} after {count(files, 'file')}: more are left.\n")
                return
            taken.append(upload)
            files, size = files + 1, size + upload.size
        yield taken
