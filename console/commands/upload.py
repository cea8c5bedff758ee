"""`upload`: files and folders without a screen."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path

from bson import ObjectId
from pymongo.errors import PyMongoError

from console.choices import DuplicatePolicy
from console.commands.carry import Carrier, Wanted
from console.commands.report import Report, make_report
from console.complaints import repeated
from console.config import Settings
from console.errors import UsageError
from console.formatting import count, visible
from console.keys import parse_destination
from console.models import Source, Upload
from console.records.connection import explain
from console.records.database import Records
from console.records.new_upload import NewUpload
from console.transfer.identity import this_host
from console.transfer.intake import Intake
from console.transfer.sender import S3Sender


def run(
    settings: Settings,
    paths: Sequence[Path],
    *,
    to: str | None,
    as_json: bool,
    detach: bool,
    duplicates: DuplicatePolicy | None = None,
) -> int:
    """Add an upload for each file and carry them out, unless `detach`ed. Returns 0 only if all completed.

    `duplicates` is for this destination, whoever carries the uploads out; None as the settings have it.
    """
    if to is not None:
        settings = _redirected(settings, to)
    batch = ObjectId()
    # Made before anything is recorded: without credentials nothing could be carried out.
    with S3Sender(settings.s3, settings.transfer) as sender, Records.open(settings.mongodb) as records:
        intake = Intake(
            settings.s3,
            settings.transfer,
            host=this_host(),
            source=Source.COMMAND,
            endpoint=sender.endpoint.name,
            batch=batch,
            duplicates=duplicates,
        )
        typed = [os.fspath(path) for path in paths]
        if detach:
            added = sum(map(len, _recorded(records, intake.batches(typed), records.uploads.insert)))
            for refusal in intake.refusals:
                sys.stderr.write(f"refused {visible(refusal.path)}: {refusal.reason}\n")
            sys.stdout.write(f"{count(added, 'upload')} recorded.\n")
            return 1 if intake.refusals else 0
        report = make_report(as_json=as_json)
        carrier = Carrier(records, sender, settings, Wanted.batch(batch), report, given=typed)
        code = carrier.run(_told(_recorded(records, intake.batches(typed), carrier.insert), intake, report))
    return code or (1 if intake.refusals else 0)


def _recorded(
    records: Records, batches: Iterable[list[NewUpload]], insert: Callable[[Sequence[NewUpload]], list[Upload]]
) -> Iterator[list[Upload]]:
    """Uploads, recorded as they are asked for: the first uploads run while further files are looked at."""
    try:
        for batch in batches:
            yield insert(batch)
    except PyMongoError as error:
        raise explain(error, records.connection) from error


def _told(batches: Iterable[list[Upload]], intake: Intake, report: Report) -> Iterator[list[Upload]]:
    """The same, and files that are refused are told."""
    told = 0
    for uploads in chain(batches, [[]]):
        for refusal in intake.refusals[told:]:
            report.refused(refusal.path, refusal.reason)
        told = len(intake.refusals)
        yield uploads


def _redirected(settings: Settings, to: str) -> Settings:
    """The same settings with another destination."""
    try:
        bucket, prefix = parse_destination(to)
    except ValueError as error:
        raise UsageError(f"--to: {error}{repeated(to)}") from None
    s3 = settings.s3.model_copy(update={"bucket": bucket, "prefix": prefix})
    return settings.model_copy(update={"s3": s3})
