"""Jobs: what was added together is one row, with how much of it is done; a key acts on all of its uploads, and enter
shows them in the table.

The server counts: the table holds a window of a large collection. It is asked every few seconds while the screen is
open, less often where counting takes long.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from time import monotonic
from typing import ClassVar, Final

from bson import ObjectId
from textual.binding import Binding, BindingType

from console.formatting import age, byte_rate, byte_size, duration, visible
from console.job_totals import JobTotals
from console.models import UploadStatus
from console.ui.backend import MOST_JOBS, Backend
from console.ui.main.actions import UploadAction
from console.ui.uploads.upload_cells import SIGNS, percent
from console.ui.widgets.cells import Column, Cut, Span, Tone
from console.ui.widgets.list_screen import PolledListScreen
from console.ui.widgets.list_view import Key, RowSource, RowsView

_PART_OF_TIME: Final = 4  # a count is followed by so many times its length without one
_STATES: Final = (UploadStatus.UPLOADING, UploadStatus.PENDING, UploadStatus.PAUSED, UploadStatus.FAILED)
_OVER: Final = (UploadStatus.COMPLETED, UploadStatus.FAILED, UploadStatus.CANCELLED)

COLUMNS: Final = (
    Column("sign", "", 1, 1, rank=0),
    Column("name", "Job", 14, 400, rank=0, share=3, cut=Cut.START, names=True),
    Column("files", "Files", 7, 15, rank=1, right=True, share=1),
    Column("percent", "%", 4, 4, rank=1, right=True),
    Column("size", "Done of", 20, 20, rank=4, right=True),
    Column("rate", "Rate", 10, 10, rank=3, right=True),
    Column("left", "Left", 7, 7, rank=2, right=True),
    Column("failed", "Failed", 8, 30, rank=2, share=1),
    Column("source", "From", 7, 7, rank=6),
    Column("host", "Host", 8, 20, rank=7, share=1),
    Column("age", "Age", 4, 4, rank=5, right=True),
)


def state_of(job: JobTotals) -> UploadStatus:
    """What a job is doing: what runs comes first, then what waits; what failed is said of one that is over."""
    return next(
        (status for status in _STATES if job.number(status)),
        UploadStatus.COMPLETED if job.number(UploadStatus.COMPLETED) else UploadStatus.CANCELLED,
    )


def failures_text(job: JobTotals) -> str:
    """How many failed, and of what most of them."""
    if not job.failures:
        return ""
    code = max(sorted(job.failures), key=lambda code: job.failures[code])
    return f"{sum(job.failures.values()):,} {visible(code)}"


class JobRows(RowSource):
    """Jobs as rows; the key of a row is the id that the uploads have in common."""

    columns: Sequence[Column] = COLUMNS

    def __init__(self, now: Callable[[], datetime]) -> None:
        self.jobs: Sequence[JobTotals] = ()
        self.words = "counting…"
        self._now = now

    def __len__(self) -> int:
        return len(self.jobs)

    def key(self, index: int) -> Key:
        return self.jobs[index].id

    def index_of(self, key: Key) -> int | None:
        return next((index for index, job in enumerate(self.jobs) if job.id == key), None)

    def empty_text(self) -> str:
        return self.words

    def cell(self, index: int, column: str, width: int) -> Sequence[Span]:
        job = self.jobs[index]
        match column:
            case "sign":
                return [Span(*SIGNS[state_of(job)])]
            case "name":
                return [Span(visible(job.name))]
            case "files":
                over = job.number(*_OVER)
                return [Span(f"{job.files:,}" if job.is_over else f"{over:,}/{job.files:,}")]
            case "percent":
                if job.size:
                    share = 100 * job.done / job.size
                else:
                    share = 100 * job.number(UploadStatus.COMPLETED) / job.files if job.files else 0
                return [Span(percent(share))]
            case "size":
                whole = byte_size(job.size)
                return [Span(whole if job.done >= job.size else f"{byte_size(job.done)} of {whole}")]
            case "rate":
                return [Span(byte_rate(job.rate), Tone.ACCENT)]
            case "left":
                return [Span(duration(job.seconds_left) if not job.is_over else "")]
            case "failed":
                return [Span(failures_text(job), Tone.BAD)]
            case "source":
                return [Span(visible(job.source), Tone.MUTED)]
            case "host":
                return [Span(visible(job.host), Tone.MUTED)]
            case "age":
                return [Span(age(job.started_at, self._now()), Tone.MUTED)]
        return [Span("")]


class JobsScreen(PolledListScreen[Sequence[JobTotals]]):
    """A list of jobs, the newest first."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("p", "act('pause')", "Pause", tooltip="Pause all uploads of the job; parts in S3 are kept."),
        Binding("r", "act('resume')", "Resume", tooltip="Resume the paused uploads of the job."),
        Binding("c", "act('cancel')", "Cancel", tooltip="Cancel what is not over of the job, after asking."),
        Binding("R", "act('retry')", "Retry", tooltip="Retry the failed and cancelled uploads of the job."),
        Binding("d", "act('delete')", "Delete", tooltip="Delete objects and records of the job, after asking."),
        Binding("v", "act('verify')", "Verify", show=False, tooltip="Compare its objects with their files."),
        Binding(
            "plus,equals_sign", "act('sooner')", "Sooner", key_display="+", show=False, tooltip="Raise its priority."
        ),
        Binding("minus", "act('later')", "Later", show=False, tooltip="Lower its priority."),
        Binding("escape,q", "dismiss", "Back", key_display="esc", tooltip="Back to the console."),
        Binding("question_mark", "app.keys", "Keys", key_display="?", tooltip="Show all keys."),
    ]

    def __init__(
        self,
        backend: Backend,
        now: Callable[[], datetime],
        *,
        start: ObjectId | None,
        opened: Callable[[JobTotals], None],
        act: Callable[[UploadAction, JobTotals], None],
    ) -> None:
        """`start` is the job to begin on, `opened` shows the uploads of one, `act` acts on all of them."""
        self._source = JobRows(now)
        super().__init__("Jobs", RowsView(self._source, activated=self._open))
        self._backend = backend
        self._start = start
        self._opened = opened
        self._act = act
        self._next_count = 0.0

    def ask(self) -> None:
        if monotonic() >= self._next_count:
            super().ask()

    def read(self) -> Sequence[JobTotals]:
        began = monotonic()
        jobs = self._backend.jobs(())
        ended = monotonic()
        self._next_count = ended + _PART_OF_TIME * (ended - began)
        return jobs

    def show(self, values: Sequence[JobTotals]) -> None:
        self._source.jobs = values
        self._source.words = "no jobs yet: mark files and press u"
        self._rows.reload()
        if self._start is not None and (place := self._source.index_of(self._start)) is not None:
            self._rows.move_to(place)
        self._start = None
        going = sum(not job.is_over for job in values)
        number = f"the newest {len(values):,}" if len(values) >= MOST_JOBS else f"{len(values):,}"
        self._title.show("Jobs", " · ".join(filter(None, (number, f"{going:,} not over" if going else ""))))

    def _job(self) -> JobTotals | None:
        index = self._source.index_of(self._rows.cursor_key)
        return self._source.jobs[index] if index is not None else None

    def _open(self, key: Key) -> None:
        job = self._job()
        if job is not None:
            self._opened(job)

    def action_act(self, action: str) -> None:
        """Act on all uploads of the job under the cursor."""
        job = self._job()
        if job is not None:
            self._act(UploadAction(action), job)
