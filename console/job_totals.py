"""What was started together, as one thing: how many files, how much of it is done, and the sentence when it is over.

A job is what one `u`, one command or one scan of a watched folder adds; its uploads have `batch` in common. Nothing is
asked here: `records.jobs` counts on the server, reports of commands count by themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from bson import ObjectId

from console.formatting import byte_size, count, long_duration, visible
from console.models import UploadStatus

_MOST_CODES: Final = 3
_OPEN: Final = (UploadStatus.PENDING, UploadStatus.UPLOADING, UploadStatus.PAUSED)


def summary(
    files: int, size: float, seconds: float | None, others: Mapping[str, int], failures: Mapping[str, int]
) -> str:
    """`480 files, 1.50 GiB, 12 min, 2 failed: FileGone`. `others` are numbers by their words, `failures` by codes."""
    parts = [count(files, "file"), byte_size(size), long_duration(seconds) if seconds is not None else ""]
    parts += [f"{number:,} {word}" for word, number in others.items() if number]
    if failed := sum(failures.values()):
        codes = sorted(failures, key=lambda code: (-failures[code], code))
        more = ", …" if len(codes) > _MOST_CODES else ""
        parts.append(f"{failed:,} failed: {', '.join(map(visible, codes[:_MOST_CODES]))}{more}")
    return ", ".join(filter(None, parts))


@dataclass(frozen=True, slots=True)
class JobTotals:
    """A job as the server counts it. Sizes in bytes, `rate` in bytes per second, times in UTC.

    `name` is the one file, or the folder that holds all of them; `failures` are numbers by error code.
    """

    id: ObjectId
    name: str
    source: str
    host: str
    numbers: Mapping[UploadStatus, int]
    size: int
    done: int
    sent: int
    rate: float
    failures: Mapping[str, int] = field(default_factory=dict)
    started_at: datetime | None = None
    finished_at: datetime | None = None

    @property
    def files(self) -> int:
        return sum(self.numbers.values())

    def number(self, *statuses: UploadStatus) -> int:
        """How many have one of these statuses."""
        return sum(self.numbers.get(status, 0) for status in statuses)

    @property
    def is_over(self) -> bool:
        """Whether nothing more happens unless somebody asks for it."""
        return self.number(*_OPEN) == 0

    @property
    def seconds_left(self) -> float | None:
        """Time to the end at the current rate, or None where nothing moves."""
        return max(0, self.size - self.done) / self.rate if self.rate > 0 else None

    @property
    def summary(self) -> str:
        """What it came to."""
        seconds = None
        if self.started_at is not None and self.finished_at is not None:
            seconds = max(0.0, (self.finished_at - self.started_at).total_seconds())
        others = {
            str(status): self.number(status) for status in (*_OPEN, UploadStatus.CANCELLED) if self.number(status)
        }
        return summary(self.files, self.sent, seconds, others, self.failures)
