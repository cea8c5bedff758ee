"""`upload --dry-run`: each key, what it would overwrite, and what is left out or refused, and why. It changes nothing.

It needs S3, to see what is there, and no MongoDB.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from datetime import datetime
from typing import Final, Literal

from pydantic import BaseModel

from console.choices import DuplicatePolicy
from console.cli.output import json_line
from console.commands.upload_modes.same_as_there import is_identical
from console.files.refusals import Refusal
from console.formatting import byte_size, visible
from console.records.uploads import NewUpload
from console.runner.job_limits import JobLimit, more_are_left
from console.runner.working_hours import ALWAYS
from console.s3.object_listing import ListedObject, ObjectListing
from console.s3.transfer_errors import TransferError
from console.settings.schedule import ScheduleSettings
from console.transfer.intake import Intake
from console.transfer.sender import S3Sender

_MEANS: Final[dict[DuplicatePolicy, str]] = {
    "overwrite": "would overwrite",
    "skip_identical": "would overwrite, unless it is identical,",
    "new_name": "would get a number, as there is",
    "fail": "would fail, as there is",
}


class DryRunLine(BaseModel):
    """One line of `upload --dry-run --json`. Sizes in bytes."""

    event: Literal["would_upload", "would_fail", "left_out", "refused"]
    path: str
    destination: str | None = None
    size: int | None = None
    exists: bool | None = None
    existing_size: int | None = None
    existing_modified: datetime | None = None
    message: str | None = None


class DryRunReport:
    """Says what would happen, and counts it."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._numbers = dict.fromkeys(("would be uploaded", "left out", "refused"), 0)
        self._size = 0
        self.failing = 0

    def left_out(self, path: str, words: str) -> None:
        """What is not meant."""
        self._numbers["left out"] += 1
        self._say(DryRunLine(event="left_out", path=path, message=words), f"left out   {visible(path)}: {words}")

    def refused(self, refusal: Refusal) -> None:
        """What is meant, and may not or cannot be sent."""
        self._numbers["refused"] += 1
        line = DryRunLine(event="refused", path=refusal.path, message=refusal.reason)
        self._say(line, f"refused    {visible(refusal.path)}: {refusal.reason}")

    def upload(
        self,
        upload: NewUpload,
        there: ListedObject | None,
        policy: DuplicatePolicy,
        unknown: str,
        *,
        is_second: bool = False,
    ) -> None:
        """What would be sent. `there` is what has its key, `is_second`: another file of the job; `unknown`: why nobody
        can say whether there is anything."""
        fails = policy == "fail" and there is not None
        if fails:
            self.failing += 1
        else:
            self._numbers["would be uploaded"] += 1
            self._size += upload.size
        destination = f"s3://{upload.bucket}/{upload.key}"
        words = ""
        if there is not None:
            changed = f" of {there.modified:%Y-%m-%d %H:%M}" if there.modified is not None else ""
            words = f"{_MEANS[policy]} {byte_size(there.size)}{changed}"
        elif is_second:
            words = "would get a number, as another of these files has the key"
        elif unknown:
            words = f"what is there cannot be seen: {unknown}"
        line = DryRunLine(
            event="would_fail" if fails else "would_upload",
            path=upload.path,
            destination=destination,
            size=upload.size,
            exists=None if unknown else there is not None,
            existing_size=there.size if there is not None else None,
            existing_modified=there.modified if there is not None else None,
            message=words or None,
        )
        label = "fail" if fails else "upload"
        shown = f"{label:<10} {visible(upload.path)} → {visible(destination)} ({byte_size(upload.size)})"
        self._say(line, f"{shown}: {words}" if words else shown)

    def end(self) -> None:
        """What it comes to."""
        if not self._as_json:
            numbers = ", ".join(f"{number:,} {words}" for words, number in self._numbers.items())
            numbers += f", {self.failing:,} would fail" if self.failing else ""
            sys.stdout.write(f"Dry run: {numbers}; {byte_size(self._size)}. Nothing was changed.\n")

    def _say(self, line: DryRunLine, text: str) -> None:
        sys.stdout.write(f"{json_line(line) if self._as_json else text}\n")


def dry_run(
    sender: S3Sender,
    intake: Intake,
    batches: Iterable[list[NewUpload]],
    policy: DuplicatePolicy,
    report: DryRunReport,
    *,
    part_size: int | None = None,
    schedule: ScheduleSettings = ALWAYS,
) -> int:
    """Say what would become of what the intake finds. Gives the exit code: 1 where something would be refused, or
    fail."""
    listing: ObjectListing | None = None
    unknown = ""
    told = 0
    limit, stopped = JobLimit(schedule), ""
    keys: set[int] = set()
    for batch in batches:
        for upload in batch:
            listing = listing or sender.listing(upload.bucket)
            there = None
            if not unknown:
                try:
                    there = listing.find(upload.key)
                except TransferError as error:
                    unknown = visible(error.message)
            if policy == "skip_identical" and is_identical(part_size, upload, there):
                report.left_out(upload.path, "identical to what is there")
            elif stopped := limit.reached_by(upload):
                break
            else:
                named = upload.duplicates or policy
                is_second = named == "new_name" and hash(upload.key) in keys
                report.upload(upload, there, named, unknown, is_second=is_second)
                if policy == "new_name":
                    keys.add(hash(upload.key))
        for refusal in intake.refusals[told:]:
            report.refused(refusal)
        told = len(intake.refusals)
        if stopped:
            sys.stderr.write(f"{more_are_left(stopped)}\n")
            break
    for refusal in intake.refusals[told:]:
        report.refused(refusal)
    report.end()
    return 1 if intake.refusals or report.failing else 0
