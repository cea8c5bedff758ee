"""A job that came to its end leaves a notice with what it came to.

Ends are seen in the change feed. Whether anything of the job is left is asked of the table first, which holds what
runs, and of the server only where the table knows of nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any, Final

from bson import ObjectId
from textual.screen import Screen

from console.events.event import ChangeEvent
from console.events.feed_items import FeedItem
from console.formatting import count, visible
from console.job_totals import JobTotals
from console.models import TERMINAL, Source, Upload, UploadStatus
from console.ui.backend import Backend
from console.ui.background import run_in_background
from console.ui.feed_pump import Throttle
from console.ui.uploads.uploads_window import UploadRows

LOOK_SECONDS: Final = 1.0
NOTICE_SECONDS: Final = 12.0
# A watch goes on adding to a job while files come without a pause (`watch.decisions`).
WATCH_PAUSE_SECONDS: Final = 60.0
_MOST_NAMED: Final = 3
_ENDS: Final = frozenset(status.value for status in TERMINAL)


class FinishedJobs:
    """Sees jobs end, on behalf of one screen. One upload alone is no job: its row says all."""

    def __init__(self, screen: Screen[Any], backend: Backend, uploads: UploadRows, now: Callable[[], datetime]) -> None:
        self._screen = screen
        self._backend = backend
        self._uploads = uploads
        self._now = now
        self._ending: set[ObjectId] = set()
        self._throttle = Throttle(screen, self._look, LOOK_SECONDS)
        self._is_asking = False

    def see(self, item: FeedItem) -> None:
        """An upload changed its status; the table has taken it over."""
        job = _ended_in(item) if isinstance(item, ChangeEvent) else None
        if job is not None:
            self._ending.add(job)
            self._throttle.mark()

    def _look(self) -> None:
        going = {row.batch for row in self._uploads.uploading()}
        if self._ending - going:
            going |= {
                row.batch
                for row in self._uploads.rows()
                if isinstance(row, Upload) and row.batch in self._ending and not row.status.is_terminal
            }
        over = self._ending - going
        if over and not self._is_asking:
            self._is_asking = True
            run_in_background(
                self._screen.app, partial(self._backend.jobs, tuple(over)), partial(self._counted, over), self._failed
            )

    def _failed(self, _: Exception) -> None:
        """The header says how the servers are."""
        self._is_asking = False
        self._look_again(LOOK_SECONDS)

    def _counted(self, asked: set[ObjectId], jobs: Sequence[JobTotals]) -> None:
        self._is_asking = False
        over = [job for job in jobs if job.is_over]
        coming = [job for job in over if self._may_grow(job)]
        ended = [job for job in over if job not in coming]
        are_gone = asked - {job.id for job in jobs}
        self._ending -= are_gone | {job.id for job in ended}
        told = [job for job in ended if job.files > 1]
        if told:
            self._tell(told)
        if coming:
            self._look_again(WATCH_PAUSE_SECONDS)

    def _look_again(self, seconds: float) -> None:
        self._screen.set_timer(seconds, self._throttle.mark)

    def _may_grow(self, job: JobTotals) -> bool:
        if job.source != Source.WATCH or job.finished_at is None:
            return False
        return (self._now() - job.finished_at).total_seconds() < WATCH_PAUSE_SECONDS

    def _tell(self, jobs: Sequence[JobTotals]) -> None:
        lines = [f"{visible(job.name)}: {job.summary}" if job.name else job.summary for job in jobs[:_MOST_NAMED]]
        if len(jobs) > _MOST_NAMED:
            lines.append(f"and {len(jobs) - _MOST_NAMED:,} more (J)")
        has_failed = any(job.number(UploadStatus.FAILED) for job in jobs)
        self._screen.app.notify(
            "\n".join(lines),
            title="Job finished" if len(jobs) == 1 else f"{count(len(jobs), 'job')} finished",
            severity="warning" if has_failed else "information",
            timeout=NOTICE_SECONDS,
            markup=False,
        )


def _ended_in(event: ChangeEvent) -> ObjectId | None:
    """The job of which an upload came to its end by this event."""
    after: Mapping[str, Any] = event.after or {}
    status, job = after.get("status"), after.get("batch")
    return job if isinstance(job, ObjectId) and isinstance(status, str) and status in _ENDS else None
