"""What `upload`, `resume` and `retry` tell while uploads are carried out, and as JSON lines in a pipe.

It is told of documents as they change; it asks nothing. Not here: bars on a terminal (`terminal_report`).

What `upload`, `resume` and `retry` show on a terminal: a bar for all bytes and one for each running upload.

Owns the looks. Not here: what is told, and JSON lines (`report`).
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Final, Literal, Protocol

from bson import ObjectId
from pydantic import BaseModel
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.text import Text

from console.cli.output import hide_control_keys, json_line, show_control_keys
from console.formatting import byte_rate, byte_size, count, duration, visible
from console.models import Failure, Upload, UploadStatus
from console.s3.error_codes import explain

_GO_ON: Final = "with the next console, `watch` or `resume` on this host."


EventName = Literal["added", "progress", "retrying", "completed", "failed", "cancelled", "paused", "refused", "deleted"]


class UploadLine(BaseModel):
    """One line of `upload --json`. Sizes in bytes, rate in bytes per second."""

    event: EventName
    path: str
    id: str | None = None
    destination: str | None = None
    size: int | None = None
    current: int | None = None
    percentage: float | None = None
    rate: float | None = None
    checksum: str | None = None
    etag: str | None = None
    code: str | None = None
    message: str | None = None
    at: datetime | None = None


class Report(Protocol):
    """Told what happens."""

    def refused(self, path: str, reason: str) -> None:
        """A file that will not be uploaded."""
        ...

    def changed(self, before: Upload | None, upload: Upload) -> None:
        """An upload is new, or another than before."""
        ...

    def deleted(self, upload: Upload) -> None:
        """Its record is gone before it came to its end."""
        ...

    def connection(self, connected: bool, message: str) -> None:
        """MongoDB is lost or found again."""
        ...

    def interrupted(self, ids: Sequence[ObjectId], number: signal.Signals, *, is_paused: bool) -> None:
        """A signal ended it; these are not done, and `is_paused` where their records say that somebody wants it so."""
        ...

    def tick(self) -> None:
        """Time passes."""
        ...

    def ended(self, uploads: Sequence[Upload]) -> None:
        """All are at their end, or it was interrupted."""
        ...

    def close(self) -> None:
        """Give the terminal back, whatever happened. May be called twice."""
        ...


def is_in_lines(*, as_json: bool) -> bool:
    """Whether uploads are told in JSON lines: where they are asked for, or where nobody watches."""
    return as_json or not sys.stdout.isatty()


def make_report(*, as_json: bool) -> Report:
    """Bars where a person watches, else JSON lines."""
    if is_in_lines(as_json=as_json):
        return JsonReport()

    return TerminalReport()


class JsonReport:
    """A line of JSON for each thing that happens, flushed several times a second."""

    def refused(self, path: str, reason: str) -> None:
        """A line with `refused`."""
        self._write(UploadLine(event="refused", path=path, message=reason))

    def changed(self, before: Upload | None, upload: Upload) -> None:
        """A line for a new status or progress."""
        if before is None:
            self._line("added", upload)
        if upload.status is UploadStatus.UPLOADING:
            if upload.current != (before.current if before is not None else 0):
                self._line("progress", upload)
            if new_trouble(before, upload) is not None:
                self._line("retrying", upload)
        elif upload.status is not UploadStatus.PENDING and (before is None or before.status is not upload.status):
            self._line(upload.status.value, upload)  # type: ignore[arg-type]

    def deleted(self, upload: Upload) -> None:
        """A line with `deleted`."""
        self._line("deleted", upload)

    def connection(self, connected: bool, message: str) -> None:
        """On standard error: standard output is for lines about uploads."""
        if not connected:
            sys.stderr.write(f"MongoDB: reconnecting: {visible(message)}\n")

    def interrupted(self, ids: Sequence[ObjectId], number: signal.Signals, *, is_paused: bool) -> None:
        """On standard error."""
        sys.stderr.write(ended_message(ids, number, is_paused=is_paused))

    def tick(self) -> None:
        """What was told is seen by whoever reads."""
        sys.stdout.flush()

    def ended(self, uploads: Sequence[Upload]) -> None:
        """Nothing more: each had its line."""
        sys.stdout.flush()

    def close(self) -> None:
        """Nothing was taken."""

    def _line(self, event: EventName, upload: Upload) -> None:
        failure = upload.error if event in ("failed", "retrying") else None
        self._write(
            UploadLine.model_construct(  # not validated: it is made of what was, and there may be very many
                event=event,
                path=upload.os_path,
                id=str(upload.id),
                destination=upload.destination,
                size=upload.size,
                current=upload.current,
                percentage=upload.percentage,
                rate=upload.rate,
                checksum=f"{upload.checksum.algorithm}:{upload.checksum.value}" if upload.checksum else None,
                etag=upload.etag,
                code=failure.code if failure else None,
                message=failure.message if failure else None,
                at=upload.updated_at,
            )
        )

    def _write(self, line: UploadLine) -> None:
        sys.stdout.write(json_line(line) + "\n")


def new_trouble(before: Upload | None, upload: Upload) -> Failure | None:
    """What went wrong with a running upload since it was seen last, and is tried again."""
    return upload.error if before is not None and upload.error != before.error else None


def ended_message(ids: Sequence[ObjectId], number: signal.Signals, *, is_paused: bool) -> str:
    """What a signal means for what is not done."""
    if not ids:
        return "Interrupted.\n"
    if not is_paused:
        why = f"Ended by {number.name}"
        if number is signal.SIGINT:
            why = "Interrupted; MongoDB does not answer, so nothing is paused"
        they_go_on = "It continues" if len(ids) == 1 else "They continue"
        return f"{why}; {count(len(ids), 'upload')} not done. {they_go_on} {_GO_ON}\n"
    which = str(ids[0]) if len(ids) == 1 else "--status paused"
    return f"Interrupted; {count(len(ids), 'upload')} paused. To go on: upload-console resume {which}\n"


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
        self._deleted = 0
        self._silent_until: dict[str, float] = {}
        hide_control_keys()
        self._progress.start()

    def refused(self, path: str, reason: str) -> None:
        """A line."""
        self._refused += 1
        self._say(f"refused    {visible(path)}: {reason}", "yellow")

    def changed(self, before: Upload | None, upload: Upload) -> None:
        """Move its bar."""
        self._count += before is None
        self._all_bytes += upload.size - (before.size if before else 0)
        self._done_bytes += upload.current - (before.current if before else 0)
        if upload.status is UploadStatus.UPLOADING:
            self._running[upload.id] = upload
            self._draw_bar(upload)
            if (trouble := new_trouble(before, upload)) is not None:
                self._tell_trouble(upload, trouble)
        else:
            self._end_bar(upload)
            if before is None or before.status is not upload.status:
                self._show_end(upload)

    def deleted(self, upload: Upload) -> None:
        """A line."""
        self._deleted += 1
        self._count -= 1
        self._all_bytes -= upload.size
        self._done_bytes -= upload.current
        self._end_bar(upload)
        self._say(f"deleted    {visible(upload.path)}: somebody removed its record", "yellow")

    def connection(self, connected: bool, message: str) -> None:
        """A line when MongoDB is lost."""
        if not connected:
            self._say(f"MongoDB    reconnecting: {visible(message)}", "yellow")

    def interrupted(self, ids: Sequence[ObjectId], number: signal.Signals, *, is_paused: bool) -> None:
        """How to go on."""
        self._say(ended_message(ids, number, is_paused=is_paused).rstrip("\n"), "yellow")

    def tick(self) -> None:
        """Move the bar of all bytes."""
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
        """A sentence that says what came of it."""
        self.tick()
        self.close()
        by_status = {status: sum(upload.status is status for upload in uploads) for status in UploadStatus}
        words = [f"{number:,} {status.value}" for status, number in by_status.items() if number]
        others = {"deleted": self._deleted, "refused": self._refused}
        words += [f"{number:,} {word}" for word, number in others.items() if number]
        sent = sum(upload.size for upload in uploads if upload.status is UploadStatus.COMPLETED)
        self._console.print(Text(f"{', '.join(words) or 'Nothing to upload'} · {byte_size(sent)}"))

    def close(self) -> None:
        """No bars any more; the cursor is seen again."""
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

    def _tell_trouble(self, upload: Upload, trouble: Failure) -> None:
        """Once for each kind, and again after a while: an outage makes one for each attempt of each upload."""
        code, now = trouble.code, time.monotonic()
        if now >= self._silent_until.get(code, now):
            self._silent_until[code] = now + _SILENT_SECONDS
            words = f"{explain(code).message}, trying again: {trouble.message}"
            self._say(f"retrying   {visible(upload.path)}: {visible(words)}", "yellow")

    def _say(self, line: str, style: str) -> None:
        self._progress.console.print(Text(line, style=style), soft_wrap=True)
