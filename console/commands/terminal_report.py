"""What `upload`, `resume` and `retry` show on a terminal: a bar for all bytes and one for each running upload.

Owns the bars. Not here: what is told (`upload_report`).
"""

from __future__ import annotations

import sys
from typing import Final

from bson import ObjectId
from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.table import Column
from rich.text import Text

from console.cli.output import hide_control_keys, show_control_keys
from console.commands.upload_report import TextReport
from console.formatting import byte_rate, byte_size, count, duration, visible
from console.models import Upload, UploadStatus

_MOST_BARS: Final = 12
_LONGEST_NAME: Final = 40
_SHORTEST_NAME: Final = 10
# A narrower terminal has no room for sizes beside bar, percentage, rate and time left.
_ROOM_FOR_SIZES: Final = 80
_BESIDE_NAME: Final = 38  # a short bar, percentage, rate and time left, with the gaps between them
_SIZES: Final = 22


class _Moving(ProgressColumn):
    """Rate and time left, from the document."""

    def __init__(self) -> None:
        super().__init__(table_column=Column(no_wrap=True))

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
            TextColumn("{task.fields[name]}", markup=False, table_column=Column(no_wrap=True)),
            BarColumn(bar_width=None),
            TextColumn("{task.percentage:>3.0f}%", table_column=Column(no_wrap=True)),
            TextColumn("{task.fields[amount]}", markup=False, justify="right", table_column=Column(no_wrap=True)),
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
            amount=amount if self._shows_sizes else "",
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

    @property
    def _shows_sizes(self) -> bool:
        return self._console.width >= _ROOM_FOR_SIZES

    def _cut(self, name: str) -> str:
        """In the middle: names begin alike, and end with what they are."""
        room = self._console.width - _BESIDE_NAME - (_SIZES if self._shows_sizes else 0)
        room = max(_SHORTEST_NAME, min(_LONGEST_NAME, room))
        end = room * 3 // 8
        return name if cell_len(name) <= room else f"{set_cell_size(name, room - end - 1).rstrip()}…{name[-end:]}"

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
            name=self._cut(name),
            total=upload.size or 1,
            completed=upload.current,
            amount=byte_size(upload.size) if self._shows_sizes else "",
            rate=upload.rate,
        )
