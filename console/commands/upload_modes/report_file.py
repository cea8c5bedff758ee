"""`upload --report FILE`: what became of each file, as lines of JSON, written as it goes.

A line has the fields of `upload --json`; the last one is the summary. A file without it belongs to a job that did not
come to its end.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, Literal

from bson import ObjectId
from pydantic import BaseModel

from console.cli.output import json_line
from console.commands.upload_report import Report, UploadLine, identical_line, job_summary, upload_line
from console.errors import UsageError
from console.formatting import visible
from console.models import Upload, UploadStatus
from console.private_files import open_private
from console.records.uploads import NewUpload

_TOLD: Final = (UploadStatus.COMPLETED, UploadStatus.FAILED, UploadStatus.CANCELLED, UploadStatus.PAUSED)


class SummaryLine(BaseModel):
    """The last line. `size` in bytes is what was sent, `seconds` how long it took; `text` is what people are told."""

    event: Literal["summary"]
    job: str
    files: int
    completed: int
    failed: int
    cancelled: int
    not_done: int
    identical: int
    refused: int
    deleted: int
    size: int
    seconds: float
    text: str


class FileReport(Report):
    """Passes on what it is told to another report, and writes what became of each file into one of its own, which only
    this user may read."""

    def __init__(self, path: Path, job: ObjectId, told: Report) -> None:
        """Raises UsageError where the file cannot be made: nothing has been sent by then."""
        self.path = path
        self._job = job
        self._told = told
        self._began = time.monotonic()
        self._skipped = {"identical": 0, "refused": 0, "deleted": 0}
        self.problem: OSError | None = None
        try:
            self._stream = os.fdopen(open_private(path), "w", encoding="utf-8")
        except OSError as error:
            raise UsageError(f"--report: {visible(str(path))}: {error.strerror or error}") from None

    def identical(self, upload: NewUpload) -> None:
        self._told.identical(upload)
        self._skipped["identical"] += 1
        self._write(json_line(identical_line(upload)) + "\n")

    def refused(self, path: str, reason: str) -> None:
        self._told.refused(path, reason)
        self._skipped["refused"] += 1
        self._write(json_line(UploadLine(event="refused", path=path, message=reason)) + "\n")

    def changed(self, before: Upload | None, upload: Upload) -> None:
        self._told.changed(before, upload)
        if upload.status in _TOLD and (before is None or before.status is not upload.status):
            self._write(upload_line(upload.status.value, upload))  # type: ignore[arg-type]

    def deleted(self, upload: Upload) -> None:
        self._told.deleted(upload)
        self._skipped["deleted"] += 1
        self._write(upload_line("deleted", upload))

    def connection(self, connected: bool, message: str) -> None:
        self._told.connection(connected, message)

    def interrupted(self, ids: Sequence[ObjectId], number: signal.Signals, *, is_paused: bool) -> None:
        self._told.interrupted(ids, number, is_paused=is_paused)
        self._flush()

    def tick(self) -> None:
        self._told.tick()
        self._flush()

    def ended(self, uploads: Sequence[Upload]) -> None:
        numbers = {status: sum(upload.status is status for upload in uploads) for status in UploadStatus}
        ends = {name: numbers[UploadStatus(name)] for name in ("completed", "failed", "cancelled")}
        seconds = time.monotonic() - self._began
        line = SummaryLine(
            event="summary",
            job=str(self._job),
            files=len(uploads),
            **ends,
            not_done=len(uploads) - sum(ends.values()),
            **self._skipped,
            size=sum(upload.size for upload in uploads if upload.status is UploadStatus.COMPLETED),
            seconds=round(seconds, 3),
            text=job_summary(uploads, seconds, self._skipped),
        )
        self._write(json_line(line) + "\n")
        self._flush()
        self._told.ended(uploads)

    def close(self) -> None:
        """The terminal is given back even where the file is not taken."""
        self._told.close()
        try:
            self._stream.close()
        except OSError as error:
            self._fail(error)

    def _write(self, line: str) -> None:
        if self.problem is None:
            try:
                self._stream.write(line)
            except OSError as error:
                self._fail(error)

    def _flush(self) -> None:
        if self.problem is None:
            try:
                self._stream.flush()
            except OSError as error:
                self._fail(error)

    def _fail(self, error: OSError) -> None:
        """Said once: the uploads go on, and the command ends as one that failed."""
        if self.problem is None:
            self.problem = error
            with suppress(OSError):
                reason = error.strerror or str(error)
                sys.stderr.write(f"The report {visible(str(self.path))} ends here, and uploads go on: {reason}\n")
