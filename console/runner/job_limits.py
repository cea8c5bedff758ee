"""After how many files or bytes a job, or a watch since its start, takes no more: `max_files`, `max_bytes`."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator

from console.formatting import count
from console.records.uploads import NewUpload
from console.settings.schedule import ScheduleSettings


class JobLimit:
    """How much a job has taken, and whether there is more that it may take."""

    def __init__(self, schedule: ScheduleSettings) -> None:
        self._most_files, self._most_bytes = schedule.max_files, schedule.max_bytes
        self._files = self._bytes = 0

    def reached_by(self, upload: NewUpload) -> str:
        """What says that this file is too much, in words; empty where it is taken."""
        limit = ""
        if self._most_files is not None and self._files >= self._most_files:
            limit = "max_files"
        elif self._most_bytes is not None and self._bytes + upload.size > self._most_bytes:
            limit = "max_bytes"
        if limit:
            return f"stopped by {limit} after {count(self._files, 'file')}"
        self._files, self._bytes = self._files + 1, self._bytes + upload.size
        return ""


def more_are_left(words: str) -> str:
    """The sentence that ends a job."""
    return f"{words.capitalize()}: more are left."


def limited(batches: Iterable[list[NewUpload]], schedule: ScheduleSettings) -> Iterator[list[NewUpload]]:
    """The first of them, as `max_files` and `max_bytes` have it: the file that would exceed the latter is the end."""
    limit = JobLimit(schedule)
    for batch in batches:
        taken: list[NewUpload] = []
        for upload in batch:
            if words := limit.reached_by(upload):
                if taken:
                    yield taken
                sys.stderr.write(f"{more_are_left(words)}\n")
                return
            taken.append(upload)
        yield taken
