"""What `upload`, `resume` and `retry` show on a terminal: a bar for all bytes and one for each running upload.

Owns the looks. Not here: what is told, and JSON lines (`upload_report`).
"""

from __future__ import annotations

import signal
import time
from collections.abc import Sequence
from typing import Final

from bson import ObjectId
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.text import Text

from console.cli.output import hide_control_keys, show_control_keys
from console.commands.upload_report import ended_message, new_problem
from console.error_codes import explain
from console.formatting import byte_rate, byte_size, count, duration, visible
from console.models import Failure, Upload, UploadStatus
from console.records.uploads import NewUpload

_MOST_BARS: Final = 12
_SILENT_SECONDS: Final = 60.0


class _Moving(ProgressColumn):
    """Rate and time left, from the document."""

    def render(self, task: Task) -> Text:
        rate = float(task.fields.get("rate", 0.0))
        left = (float(task.total or 0) - task.completed) / rate if rate > 0 else None
        return Text(f"{byte_rate(rate):>12} {duration(left):>8}")


class TerminalReport:
    """A bar for all bytes and one for each running upload; a line for each that failed."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=False, highlight=False)
        self._progress = Progress(
            TextColumn("{task.fields[name]}", markup=False),
            BarColumn(bar_width=None),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.fields[amount]}", markup=False, justify="right"),
            _Moving(),
            console=self._console,
            refresh_per_second=5,
            expand=True,
            transient=True,
        )
        self._total = self._progress.add_task("", name="all", total=0, amount="", rate=0.0)
        self._bars: dict[ObjectId, TaskID] = {}
        self._running: dict[ObjectId, Upload] = {}
        self._all_bytes = 0
        self._done_bytes = 0
        self._count = 0
        self._refused = 0
        self._identical = 0
        self._deleted = 0
        self._silent_until: dict[str, float] = {}
        hide_control_keys()
        self._progress.start()

    def identical(self, upload: NewUpload) -> None:
        """Only counted: there may be very many."""
        self._identical += 1

    def refused(self, path: str, reason: str) -> None:
        self._refused += 1
        self._say(f"refused    {visible(path)}: {reason}", "yellow")

    def changed(self, before: Upload | None, upload: Upload) -> None:
        self._count += before is None
        self._all_bytes += upload.size - (before.size if before else 0)
        self._done_bytes += upload.current - (before.current if before else 0)
        if upload.status is UploadStatus.UPLOADING:
            self._running[upload.id] = upload
            self._draw_bar(upload)
            if (problem := new_problem(before, upload)) is not None:
                self._report_problem(upload, problem)
        else:
            self._end_bar(upload)
            if before is None or before.status is not upload.status:
                self._show_end(upload)

    def deleted(self, upload: Upload) -> None:
        self._deleted += 1
        self._count -= 1
        self._all_bytes -= upload.size
        self._done_bytes -= upload.current
        self._end_bar(upload)
        self._say(f"deleted    {visible(upload.path)}: somebody removed its record", "yellow")

    def connection(self, connected: bool, message: str) -> None:
        if not connected:
            self._say(f"MongoDB    reconnecting: {visible(message)}", "yellow")

    def interrupted(self, ids: Sequence[ObjectId], number: signal.Signals, *, is_paused: bool) -> None:
        self._say(ended_message(ids, number, is_paused=is_paused).rstrip("\n"), "yellow")

    def tick(self) -> None:
        rate = sum(upload.rate for upload in self._running.values())
        amount = f"{byte_size(self._done_bytes)} / {byte_size(self._all_bytes)}"
        self._progress.update(
            self._total,
            name=count(self._count, "upload"),
            total=self._all_bytes or 1,
            completed=self._done_bytes,
            amount=amount,
            rate=rate,
        )

    def ended(self, uploads: Sequence[Upload]) -> None:
        self.tick()
        self.close()
        by_status = {status: sum(upload.status is status for upload in uploads) for status in UploadStatus}
        words = [f"{number:,} {status.value}" for status, number in by_status.items() if number]
        others = {"deleted": self._deleted, "refused": self._refused, "identical": self._identical}
        words += [f"{number:,} {word}" for word, number in others.items() if number]
        sent = sum(upload.size for upload in uploads if upload.status is UploadStatus.COMPLETED)
        self._console.print(Text(f"{', '.join(words) or 'Nothing to upload'} · {byte_size(sent)}"))

    def close(self) -> None:
        self._progress.stop()
        show_control_keys()

    def _end_bar(self, upload: Upload) -> None:
        self._running.pop(upload.id, None)
        if (bar := self._bars.pop(upload.id, None)) is not None:
            self._progress.remove_task(bar)

    def _draw_bar(self, upload: Upload) -> None:
        bar = self._bars.get(upload.id)
        if bar is None:
            if len(self._bars) >= _MOST_BARS:
                return
            bar = self._bars[upload.id] = self._progress.add_task("", name="", amount="", total=upload.size, rate=0.0)
        name = visible(upload.filename)
        self._progress.update(
            bar,
            name=name if len(name) <= 40 else f"{name[:24]}…{name[-15:]}",
            total=upload.size or 1,
            completed=upload.current,
            amount=byte_size(upload.size),
            rate=upload.rate,
        )

    def _show_end(self, upload: Upload) -> None:
        if upload.status is UploadStatus.FAILED and upload.error is not None:
            self._say(f"failed     {visible(upload.path)}: {visible(upload.error.message)}", "red")
        elif upload.status is UploadStatus.COMPLETED:
            self._say(f"completed  {visible(upload.filename)} → {visible(upload.destination)}", "green")
        elif upload.status in (UploadStatus.PAUSED, UploadStatus.CANCELLED):
            self._say(f"{upload.status.value:<10} {visible(upload.path)}", "yellow")

    def _report_problem(self, upload: Upload, problem: Failure) -> None:
        """Once for each kind, and again after a while: an outage makes one for each attempt of each upload."""
        code, now = problem.code, time.monotonic()
        if now >= self._silent_until.get(code, now):
            self._silent_until[code] = now + _SILENT_SECONDS
            words = f"{explain(code).message}, trying again: {problem.message}"
            self._say(f"retrying   {visible(upload.path)}: {visible(words)}", "yellow")

    def _say(self, line: str, style: str) -> None:
        self._progress.console.print(Text(line, style=style), soft_wrap=True)
