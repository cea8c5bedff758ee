"""What `upload`, `resume` and `retry` show on a terminal: a bar for all bytes and one for each running upload.

Owns the bars. Not here: what is told (`upload_report`).
"""

from __future__ import annotations

import sys
from typing import Final

from bson import ObjectId
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.text import Text

from console.cli.output import hide_control_keys, show_control_keys
from console.commands.upload_report import TextReport
from console.formatting import byte_rate, byte_size, count, duration, visible
from console.models import Upload, UploadStatus

_MOST_BARS: Final = 12


class _Moving(ProgressColumn):
    """Rate and time left, from the document."""

    def render(self, task: Task) -> Text:
        rate = float(task.fields.get("rate", 0.0))
        left = (float(task.total or 0) - task.completed) / rate if rate > 0 else None
        return Text(f"{byte_rate(rate):>12} {duration(left):>8}")


class TerminalReport(TextReport):
    """The lines of a `TextReport`, and below them a bar for all bytes and one for each running upload."""

    def __init__(self, console: Console | None = None) -> None:
        super().__init__()
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
            redirect_stderr=sys.stderr.isatty(),  # else it goes where somebody sent it
        )
        self._total = self._progress.add_task("", name="all", total=0, amount="", rate=0.0)
        self._bars: dict[ObjectId, TaskID] = {}
        self._running: dict[ObjectId, Upload] = {}
        self._all_bytes = 0
        self._done_bytes = 0
        self._count = 0
        hide_control_keys()
        self._progress.start()

    def changed(self, before: Upload | None, upload: Upload) -> None:
        self._count += before is None
        self._all_bytes += upload.size - (before.size if before else 0)
        self._done_bytes += upload.current - (before.current if before else 0)
        if upload.status is UploadStatus.UPLOADING:
            self._running[upload.id] = upload
            self._draw_bar(upload)
        else:
            self._end_bar(upload)
        super().changed(before, upload)

    def deleted(self, upload: Upload) -> None:
        self._count -= 1
        self._all_bytes -= upload.size
        self._done_bytes -= upload.current
        self._end_bar(upload)
        super().deleted(upload)

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

    def close(self) -> None:
        self._progress.stop()
        show_control_keys()

    def say(self, line: str, style: str = "") -> None:
        self._progress.console.print(Text(line, style=style), soft_wrap=True)

    def warn(self, line: str, style: str = "yellow") -> None:
        """Above the bars where standard error is this terminal too."""
        if sys.stderr.isatty():
            self.say(line, style)
        else:
            super().warn(line, style)

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
