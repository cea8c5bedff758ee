"""What was started together, as one thing: how many files, how much of it is done, and the sentence when it is over.

A job is what one `u`, one command or one scan of a watched folder adds; its uploads have `batch` in common. Nothing is
asked here: `Uploads.jobs` has the server count, reports of commands count by themselves.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

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


def newest_jobs(number: int) -> list[dict[str, Any]]:
    """A pipeline that gives the ids of the newest jobs. In this form the server steps from job to job in the index and
    looks at no document (DISTINCT_SCAN)."""
    every = {"batch": {"$gt": ObjectId(b"\0" * 12)}}
    group = {"$group": {"_id": "$batch"}}
    return [{"$match": every}, {"$sort": {"batch": -1}}, group, {"$sort": {"_id": -1}}, {"$limit": number}]


def job_rows(ids: Sequence[ObjectId]) -> list[dict[str, Any]]:
    """A pipeline that gives a row for each job, status and error code."""
    failed = {"$eq": ["$status", UploadStatus.FAILED.value]}
    running = {"$eq": ["$status", UploadStatus.UPLOADING.value]}
    # Others may have written anything: what is no number counts nothing.
    under_way = {"$cond": [running, {"$max": ["$current", "$sent"]}, "$current"]}
    key = {"job": "$batch", "status": "$status", "code": {"$cond": [failed, "$error.code", None]}}
    sums = {
        "number": {"$sum": 1},
        "size": {"$sum": "$size"},
        "done": {"$sum": under_way},
        "rate": {"$sum": {"$cond": [running, "$rate", 0]}},
        **{f"{end}_{name}": {f"${end}": f"${name}"} for end in ("min", "max") for name in ("path", "created_at")},
        "max_finished_at": {"$max": "$finished_at"},
        "source": {"$min": "$source"},
        "host": {"$min": "$host"},
    }
    return [{"$match": {"batch": {"$in": list(ids)}}}, {"$group": {"_id": key, **sums}}]


def read_totals(rows: Iterable[Mapping[str, Any]]) -> list[JobTotals]:
    """Jobs, newest first, of the rows that `job_rows` gives."""
    by_job: dict[ObjectId, list[Mapping[str, Any]]] = {}
    for row in rows:
        if isinstance(job := row["_id"].get("job"), ObjectId):
            by_job.setdefault(job, []).append(row)
    return [_totals(job, by_job[job]) for job in sorted(by_job, reverse=True)]


def _totals(job: ObjectId, rows: Sequence[Mapping[str, Any]]) -> JobTotals:
    numbers: Counter[UploadStatus] = Counter()
    failures: Counter[str] = Counter()
    sent = 0
    for row in rows:
        known = {status.value: status for status in UploadStatus}
        word = row["_id"].get("status")
        status = known.get(word) if isinstance(word, str) else None
        if status is None:
            continue  # a document of others' making
        numbers[status] += row["number"]
        if status is UploadStatus.FAILED:
            failures[str(row["_id"].get("code") or "unknown")] += row["number"]
        if status is UploadStatus.COMPLETED:
            sent += int(row["size"])
    paths = [path for row in rows for path in (row["min_path"], row["max_path"]) if isinstance(path, str)]
    return JobTotals(
        id=job,
        name=common_name(min(paths, default=""), max(paths, default="")),
        source=_first(rows, "source"),
        host=_first(rows, "host"),
        numbers=numbers,
        size=int(sum(row["size"] for row in rows)),
        done=int(sum(row["done"] for row in rows)),
        sent=sent,
        rate=float(sum(row["rate"] for row in rows)),
        failures=failures,
        started_at=min(_moments(rows, "min_created_at"), default=None),
        finished_at=max(_moments(rows, "max_finished_at"), default=None),
    )


def common_name(first: str, last: str) -> str:
    """What holds all paths between these two, in the order of their letters: the folder, or the one file."""
    return first if first == last else os.path.commonpath([first, last]) if first[:1] == last[:1] == "/" else ""


def _first(rows: Sequence[Mapping[str, Any]], name: str) -> str:
    return next((value for row in rows if isinstance(value := row[name], str)), "")


def _moments(rows: Sequence[Mapping[str, Any]], name: str) -> list[datetime]:
    moments = [value for row in rows if isinstance(value := row[name], datetime)]
    return [moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC) for moment in moments]
