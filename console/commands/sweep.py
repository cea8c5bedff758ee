"""`sweep`: multipart uploads in the bucket that no record owns; listed, and aborted after asking."""

from __future__ import annotations

import sys
from datetime import UTC, datetime

from pydantic import BaseModel

from console.cli.output import SILENT_S3, json_line, telling_if_long
from console.cli.selection import agreed, can_ask
from console.errors import UsageError
from console.formatting import age, byte_size, count, visible
from console.models import OpenMultipart
from console.records.database import Records
from console.settings import Settings
from console.transfer.sender import S3Sender


class OrphanLine(BaseModel):
    """One line of `sweep --json`. `stored_bytes` is what S3 keeps, and bills, for it."""

    key: str
    upload_id: str
    initiated_at: datetime
    stored_bytes: int | None
    aborted: bool


def run(settings: Settings, *, older_than: float, yes: bool, as_json: bool) -> int:
    """List orphans opened more than `older_than` seconds ago; abort them if a person agrees or `yes` was given.

    With `as_json` nobody is asked: what follows is for a program.
    """
    if not settings.s3.bucket:
        raise UsageError("no bucket is set", advice="Set s3.bucket or give --bucket.")
    with Records.open(settings.mongodb, sets_up=False) as records, S3Sender(settings.s3, settings.transfer) as sender:
        with telling_if_long(SILENT_S3):
            orphans = sender.orphans(records.uploads, youngest_seconds=older_than)
        if not as_json:
            _report(settings.s3.bucket, orphans)
        is_wanted = bool(orphans) and (yes or (not as_json and _agreed(len(orphans))))
        with telling_if_long(SILENT_S3):
            aborted = sender.abort_orphans(records.uploads, orphans) if is_wanted else []
    if as_json:
        for orphan in orphans:
            sys.stdout.write(json_line(_line(orphan, aborted=orphan in aborted), with_nulls=True) + "\n")
    elif is_wanted:
        sys.stdout.write(f"{count(len(aborted), 'multipart upload')} aborted.\n")
    return 0


def _report(bucket: str, orphans: list[OpenMultipart]) -> None:
    if not orphans:
        sys.stdout.write(f"No multipart upload in {visible(bucket)} is without a record.\n")
        return
    now = datetime.now(UTC)
    for orphan in orphans:
        stored = "?" if orphan.stored_bytes is None else byte_size(orphan.stored_bytes)
        opened = age(orphan.initiated_at, now)
        sys.stdout.write(f"{stored:>9}  {opened:>4} old  {visible(orphan.key)}\n")
    sys.stdout.write("These may also belong to other programs that upload to this bucket.\n")


def _agreed(number: int) -> bool:
    if not can_ask():
        sys.stderr.write("None is aborted: there is no terminal to ask on. Add --yes to abort them.\n")
        return False
    return agreed(f"Abort {count(number, 'multipart upload')} and drop the parts?")


def _line(orphan: OpenMultipart, *, aborted: bool) -> OrphanLine:
    return OrphanLine(
        key=orphan.key,
        upload_id=orphan.upload_id,
        initiated_at=orphan.initiated_at,
        stored_bytes=orphan.stored_bytes,
        aborted=aborted,
    )
