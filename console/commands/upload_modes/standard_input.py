"""`upload -`: standard input as one object, with a record like any other.

The record names no file that anybody could open (`transfer.sources.pipe`), and this process carries it out itself.
"""

from __future__ import annotations

import os
import sys
import time

from bson import ObjectId

from console.choices import DuplicatePolicy
from console.errors import ConfigurationError, UsageError
from console.files.content_type import UNKNOWN, by_name
from console.formatting import as_text
from console.models import Source, Storage
from console.records.identity import this_host
from console.records.uploads import NewUpload
from console.settings import Settings
from console.settings.key_template import KeyFacts, KeyTemplate
from console.transfer.sources.pipe import FOLDER


def from_pipe(
    settings: Settings,
    name: str,
    *,
    endpoint: str,
    batch: ObjectId,
    duplicates: DuplicatePolicy | None,
    storage: Storage | None,
) -> NewUpload:
    """The upload of standard input, as if it were a file of that name.

    Raises:
        UsageError: standard input is a terminal, the name is none, or duplicates cannot be skipped.
        ConfigurationError: no bucket is set. KeyRefused: the name gives no valid key.
    """
    if sys.stdin.isatty():
        raise UsageError("upload -: standard input is a terminal; put a pipe or a file there.")
    if (duplicates or settings.transfer.duplicates) == "skip_identical":
        raise UsageError(
            "upload -: skip_identical compares before it sends, and a pipe can be read only once.",
            advice="Choose --duplicates overwrite, new_name or fail.",
        )
    if settings.s3.compress != "none" or settings.s3.encrypt_to:
        raise UsageError(
            "upload -: a pipe is neither compressed nor encrypted here.",
            advice="Do it in the pipe (… | zstd | age -r …), and give --compress none, or no encrypt_to.",
        )
    if not settings.s3.bucket:
        raise ConfigurationError("s3.bucket: no bucket is set", advice="Set it in the configuration, --bucket or --to.")
    text = as_text(name.strip("/"))
    if not text:
        raise UsageError("upload -: give the object a name (--name NAME), or all of its key with --to s3://bucket/key.")
    now = time.time_ns()
    facts = KeyFacts(text, 0, now, this_host(), settings.s3.prefix)
    filename = text.rpartition("/")[2]
    return NewUpload(
        filename=filename,
        path=f"{FOLDER}/{text}",
        path_bytes=None,
        host=this_host(),
        size=0,
        mtime_ns=now,
        fingerprint=f"1-0-{now:x}",
        content_type=by_name(os.fspath(filename)) or UNKNOWN,
        bucket=settings.s3.bucket,
        key=KeyTemplate.parse(settings.transfer.key_template).key(facts),
        source=Source.COMMAND,
        batch=batch,
        storage=storage,
        duplicates=duplicates,
        endpoint=endpoint,
    )
