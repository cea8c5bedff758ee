"""`upload -`: standard input as one object, with a record like any other.

The record names no file that anybody could open (`transfer.sources.pipe`), and this process carries it out itself.
"""

from __future__ import annotations

import fcntl
import os
import sys
import time
from collections.abc import Collection
from pathlib import Path
from typing import Final

from bson import ObjectId

from console.choices import DuplicatePolicy
from console.errors import ConfigurationError, UsageError
from console.files.content_type import UNKNOWN, by_name
from console.formatting import as_text
from console.models import FROM_PIPE, Source
from console.records.identity import this_host
from console.records.uploads import NewUpload
from console.settings import Settings, flag_of
from console.settings.key_template import KeyFacts, KeyTemplate, clean_key
from console.settings.schedule import ScheduleSettings
from console.settings.upload_rules import SelectSettings
from console.transfer.intake import KeptAs

_FOR_FILES: Final = frozenset(
    {
        *(f"select.{name}" for name in SelectSettings.model_fields),
        *("schedule.start_at", "schedule.between", "schedule.max_files", "schedule.max_bytes", "schedule.max_failures"),
        *("transfer.sha256sums", "transfer.delete_at_most_percent"),
    }
)


def require_sense(given: Collection[str]) -> None:
    """Raises UsageError where flags (by their settings) say what nobody can do with a pipe."""
    if senseless := sorted(flag_of(name) for name in _FOR_FILES.intersection(given)):
        raise UsageError(
            f"upload -: {', '.join(senseless)} cannot be done with a pipe, which comes once and goes at once."
        )


def schedule_of(settings: Settings) -> ScheduleSettings:
    """What of `[schedule]` holds for a pipe, which cannot wait: how fast, and what crawls."""
    schedule = settings.schedule
    return ScheduleSettings(
        bandwidth=schedule.bandwidth, slowest=schedule.slowest, slowest_seconds=schedule.slowest_seconds
    )


def _is_closed(descriptor: int) -> bool:
    """Whether it was closed when the program began, and is the null device since, open for both (`__main__`); as it may
    be where a service has no input. What somebody redirects from /dev/null is open for reading alone."""
    is_for_both = fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDWR
    return is_for_both and os.path.samestat(os.fstat(descriptor), Path(os.devnull).stat())


def from_pipe(
    settings: Settings,
    name: str,
    *,
    endpoint: str,
    batch: ObjectId,
    duplicates: DuplicatePolicy | None,
    kept: KeptAs,
) -> NewUpload:
    """The upload of standard input, as if it were a file of that name.

    Raises:
        UsageError: standard input is a terminal or closed, the name is none, or duplicates cannot be skipped.
        ConfigurationError: no bucket is set. KeyRefused: the name gives no valid key.
    """
    if sys.stdin.isatty():
        raise UsageError("upload -: standard input is a terminal; put a pipe or a file there.")
    if _is_closed(sys.stdin.fileno()):
        raise UsageError("upload -: standard input is closed; put a pipe or a file there.")
    if (duplicates or settings.transfer.duplicates) == "skip_identical":
        raise UsageError(
            "upload -: skip_identical compares before it sends, and a pipe can be read only once.",
            advice="Choose --duplicates overwrite, new_name or fail.",
        )
    if not settings.s3.bucket:
        raise ConfigurationError("s3.bucket: no bucket is set", advice="Set it in the configuration, --bucket or --to.")
    text = as_text(name.strip("/"))
    if not text:
        raise UsageError("upload -: give the object a name (--name NAME), or all of its key with --to s3://bucket/key.")
    now = time.time_ns()
    facts = KeyFacts(text, 0, now, this_host(), settings.s3.prefix)
    filename = text.rpartition("/")[2]
    kind = kept.content_type(text) or by_name(os.fspath(filename)) or UNKNOWN
    storage, suffix = kept.storage(text, kind)
    return NewUpload(
        filename=filename,
        path=f"{FROM_PIPE}/{text}",
        path_bytes=None,
        host=this_host(),
        size=0,
        mtime_ns=now,
        fingerprint=f"1-0-{now:x}",
        content_type=kind,
        bucket=settings.s3.bucket,
        key=clean_key(KeyTemplate.parse(settings.transfer.key_template).key(facts) + suffix),
        source=Source.COMMAND,
        batch=batch,
        storage=storage,
        duplicates=duplicates,
        endpoint=endpoint,
    )
