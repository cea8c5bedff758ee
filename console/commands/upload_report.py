"""What `upload`, `resume` and `retry` tell while uploads are carried out: in lines for people, or in lines of JSON.

It is told of documents as they change; it asks nothing. Not here: bars on a terminal (`terminal_report`, which imports
rich: a start of a tenth more that nobody needs in a pipe), and the file of `--report` (`upload_modes.report_file`).
"""

from __future__ import annotations

import signal
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, Literal

from bson import ObjectId
from pydantic import BaseModel

from console.cli.output import json_fields, json_line
from console.error_codes import OUT_OF_REACH, explain
from console.formatting import count, visible
from console.job_totals import summary
from console.models import Failure, Upload, UploadStatus
from console.records.uploads import NewUpload

_GO_ON: Final = "with the next console, `watch` or `resume` on this host."
_SILENT_SECONDS: Final = 60.0
_SAID_OTHERWISE: Final = (UploadStatus.COMPLETED, UploadStatus.FAILED)


EventName = Literal[
    "added", "progress", "retrying", "completed", "failed", "cancelled", "paused", "refused", "deleted", "identical"
]


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


class Report:
    """Told what happens. What a report has no use for it leaves alone."""

    def identical(self, upload: NewUpload) -> None:
        """A file whose object is there already; there is no record of it."""

    def refused(self, path: str, reason: str) -> None:
        """A file that will not be uploaded."""

    def changed(self, before: Upload | None, upload: Upload) -> None:
        """An upload is new, or another than before."""

    def deleted(self, upload: Upload) -> None:
        """Its record is gone before it came to its end."""

    def connection(self, connected: bool, message: str) -> None:
        """MongoDB is lost or found again."""

    def interrupted(self, ids: Sequence[ObjectId], number: signal.Signals, *, is_paused: bool) -> None:
        """A signal ended it; these are not done, and `is_paused` where their records say that somebody wants it so."""

    def tick(self) -> None:
        """Time passes."""

    def ended(self, uploads: Sequence[Upload]) -> None:
        """All are at their end, or it was interrupted."""

    def close(self) -> None:
        """Give the terminal back, whatever happened. May be called twice."""


class TextReport(Report):
    """Lines for people: what was sent on standard output, what went wrong on standard error, a summary at the end."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._refused = self._identical = self._deleted = 0
        self._silent_until: dict[str, float] = {}

    def identical(self, upload: NewUpload) -> None:
        """Only counted: there may be very many."""
        self._identical += 1

    def refused(self, path: str, reason: str) -> None:
        self._refused += 1
        self.warn(f"refused    {visible(path)}: {reason}")

    def changed(self, before: Upload | None, upload: Upload) -> None:
        if upload.status is UploadStatus.UPLOADING:
            if (problem := new_problem(before, upload)) is not None:
                self._report_problem(upload, problem)
        elif before is None or before.status is not upload.status:
            self._show_end(upload)

    def deleted(self, upload: Upload) -> None:
        self._deleted += 1
        self.warn(f"deleted    {visible(upload.path)}: somebody removed its record")

    def connection(self, connected: bool, message: str) -> None:
        if not connected:
            self.warn(f"MongoDB    reconnecting: {visible(message)}")

    def interrupted(self, ids: Sequence[ObjectId], number: signal.Signals, *, is_paused: bool) -> None:
        self.warn(ended_message(ids, number, is_paused=is_paused).rstrip("\n"))

    def tick(self) -> None:
        sys.stdout.flush()

    def ended(self, uploads: Sequence[Upload]) -> None:
        self.tick()
        self.close()
        skipped = {"identical": self._identical, "refused": self._refused, "deleted": self._deleted}
        self.say(job_summary(uploads, time.monotonic() - self._began, skipped))
        sys.stdout.flush()

    def say(self, line: str, style: str = "") -> None:
        """A line on standard output."""
        sys.stdout.write(f"{line}\n")

    def warn(self, line: str, style: str = "yellow") -> None:
        """A line on standard error."""
        sys.stderr.write(f"{line}\n")

    def _show_end(self, upload: Upload) -> None:
        if upload.status is UploadStatus.FAILED and upload.error is not None:
            self.warn(f"failed     {visible(upload.path)}: {visible(upload.error.message)}", "red")
        elif upload.status is UploadStatus.COMPLETED:
            self.say(f"completed  {visible(upload.filename)} → {visible(upload.destination)}", "green")
        elif upload.status in (UploadStatus.PAUSED, UploadStatus.CANCELLED):
            self.warn(f"{upload.status.value:<10} {visible(upload.path)}")

    def _report_problem(self, upload: Upload, problem: Failure) -> None:
        """Once for each kind, and again after a while: an outage makes one for each attempt of each upload."""
        code, now = problem.code, time.monotonic()
        if now >= self._silent_until.get(code, now):
            self._silent_until[code] = now + _SILENT_SECONDS
            words = f"{explain(code).message}, trying again: {problem.message}"
            self.warn(f"retrying   {visible(upload.path)}: {visible(words)}")


def job_summary(uploads: Sequence[Upload], seconds: float, skipped: Mapping[str, int]) -> str:
    """What it came to: `480 files, 1.50 GiB, 12 min, 2 failed: FileGone`."""
    if not uploads:
        words = [f"{number:,} {word}" for word, number in skipped.items() if number]
        return ", ".join(words) or "Nothing to upload: no file was found."
    sent = sum(upload.size for upload in uploads if upload.status is UploadStatus.COMPLETED)
    others = Counter(str(upload.status) for upload in uploads if upload.status not in _SAID_OTHERWISE)
    failures = Counter(
        upload.error.code if upload.error is not None else "unknown"
        for upload in uploads
        if upload.status is UploadStatus.FAILED
    )
    return summary(len(uploads), sent, seconds, {**others, **skipped}, failures)


class JsonReport(Report):
    """A line of JSON for each thing that happens, flushed several times a second."""

    def __init__(self) -> None:
        self._lines = 0

    def identical(self, upload: NewUpload) -> None:
        self._write(identical_line(upload))

    def refused(self, path: str, reason: str) -> None:
        self._write(UploadLine(event="refused", path=path, message=reason))

    def changed(self, before: Upload | None, upload: Upload) -> None:
        if before is None:
            self._line("added", upload)
        if upload.status is UploadStatus.UPLOADING:
            if upload.current != (before.current if before is not None else 0):
                self._line("progress", upload)
            if new_problem(before, upload) is not None:
                self._line("retrying", upload)
        elif upload.status is not UploadStatus.PENDING and (before is None or before.status is not upload.status):
            self._line(upload.status.value, upload)  # type: ignore[arg-type]

    def deleted(self, upload: Upload) -> None:
        self._line("deleted", upload)

    def connection(self, connected: bool, message: str) -> None:
        """On standard error: standard output is for lines about uploads."""
        if not connected:
            sys.stderr.write(f"MongoDB: reconnecting: {visible(message)}\n")

    def interrupted(self, ids: Sequence[ObjectId], number: signal.Signals, *, is_paused: bool) -> None:
        """On standard error."""
        sys.stderr.write(ended_message(ids, number, is_paused=is_paused))

    def tick(self) -> None:
        sys.stdout.flush()

    def ended(self, uploads: Sequence[Upload]) -> None:
        """Nothing more where each had its line; where there was none, a sentence on standard error."""
        if self._lines == 0:
            sys.stderr.write("Nothing to upload: no file was found.\n")
        sys.stdout.flush()

    def close(self) -> None:
        """Nothing was taken."""

    def _line(self, event: EventName, upload: Upload) -> None:
        self._lines += 1
        sys.stdout.write(upload_line(event, upload))

    def _write(self, line: UploadLine) -> None:
        self._lines += 1
        sys.stdout.write(json_line(line) + "\n")


def identical_line(upload: NewUpload) -> UploadLine:
    """The line of a file whose object is there already."""
    destination = f"s3://{upload.bucket}/{upload.key}"
    return UploadLine(event="identical", path=upload.path, destination=destination, size=upload.size)


def upload_line(event: EventName, upload: Upload) -> str:
    """What happened to an upload as a line of JSON: there may be very many."""
    failure = upload.error if event in ("failed", "retrying") else None
    checksum = upload.checksum
    fields = {  # those of `UploadLine`, in its order
        "event": event,
        "path": upload.os_path,
        "id": str(upload.id),
        "destination": upload.destination,
        "size": upload.size,
        "current": upload.current,
        "percentage": upload.percentage,
        "rate": upload.rate,
        "checksum": f"{checksum.algorithm}:{checksum.value}" if checksum is not None else None,
        "etag": upload.etag,
        "code": failure.code if failure is not None else None,
        "message": failure.message if failure is not None else None,
        "at": upload.updated_at,
    }
    return json_fields({name: value for name, value in fields.items() if value is not None}) + "\n"


def new_problem(before: Upload | None, upload: Upload) -> Failure | None:
    """What went wrong with a running upload since it was seen last, and is tried again."""
    return upload.error if before is not None and upload.error != before.error else None


def all_out_of_reach(failed: Sequence[Upload]) -> bool:
    """Whether nothing was wrong but that S3 did not answer."""
    return all(upload.error is not None and upload.error.code in OUT_OF_REACH for upload in failed)


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
