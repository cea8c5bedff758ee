"""The checks of `doctor`: MongoDB, S3, the terminal.

Owns what is tried and what is said of it. Each check tries what the console will do, on things of its own that it
removes again. Not here: how findings are printed (`doctor`).
"""

from __future__ import annotations

import locale
import os
import secrets
import shutil
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import IntEnum
from typing import Final

from pydantic import BaseModel
from pymongo.errors import PyMongoError

from console.config import MongoSettings, S3Settings, TransferSettings
from console.errors import ConsoleError
from console.events.event import ChangeEvent
from console.events.feed_items import FeedState
from console.formatting import visible
from console.records.connection import WIRE_VERSION_6_0, Connection, check, connect, explain
from console.records.database import Records
from console.records.feed import ChangeFeed
from console.transfer.client import make_client
from console.transfer.errors import TransferError, classify
from console.transfer.probe import probe_bucket
from console.transfer.sender import client_options

_EVENT_SECONDS: Final = 10.0
_CLOCK_SECONDS: Final = 300  # AWS refuses requests more than 15 minutes off; warn long before


class Grade(IntEnum):
    """How bad a finding is."""

    GOOD = 0
    WARNING = 1
    BAD = 2


class Finding(BaseModel):
    """One thing that was checked; `mend` says what to do where something is wrong."""

    check: str
    grade: Grade
    words: str
    mend: str = ""


def _good(name: str, words: str) -> Finding:
    return Finding(check=name, grade=Grade.GOOD, words=words)


def _warning(name: str, words: str, mend: str) -> Finding:
    return Finding(check=name, grade=Grade.WARNING, words=words, mend=mend)


def _bad(name: str, error: ConsoleError) -> Finding:
    return Finding(check=name, grade=Grade.BAD, words=error.message, mend=error.advice)


def check_mongodb(settings: MongoSettings) -> Iterator[Finding]:
    """Server, replica set, collection, change stream with images."""
    try:
        connection = connect(settings)
    except ConsoleError as error:
        yield _bad("MongoDB", error)
        return
    try:
        wire_version = check(connection)
        version = connection.client.server_info()["version"]
        yield _good("MongoDB", f"{version} at {connection.address}")
    except ConsoleError as error:
        yield _bad("MongoDB", error)
        return
    except PyMongoError as error:
        yield _bad("MongoDB", explain(error, connection))
        return
    finally:
        connection.close()
    yield from _check_collection(settings, wire_version)


def _check_collection(settings: MongoSettings, wire_version: int) -> Iterator[Finding]:
    try:
        records = Records.open(settings)
    except ConsoleError as error:
        yield _bad("collection", error)
        return
    with records:
        name = f"{settings.database}.{settings.collection}"
        notes = [note for note in records.notes if note.startswith("no right")]
        if notes:
            yield _warning(
                "collection",
                "; ".join(notes),
                "Grant the role dbAdmin on the database, at least for one start, or run collMod.",
            )
        else:
            yield _good("collection", "; ".join(records.notes) or f"{name} is set up")
        if wire_version < WIRE_VERSION_6_0:
            yield _warning(
                "images",
                "older than 6.0: events do not show documents before a change",
                "Upgrade MongoDB to 6.0 or later.",
            )
        yield _check_change_stream(records, records.connection)


def _check_change_stream(records: Records, connection: Connection) -> Finding:
    """Write a document, see its events, remove it: on the collection of runners, where it disturbs nobody."""
    collection = records.runners.collection
    probe = f"doctor:{secrets.token_hex(4)}"
    feed = ChangeFeed(collection, pipeline=[{"$match": {"documentKey._id": probe}}])
    feed.start()
    try:
        until = time.monotonic() + _EVENT_SECONDS
        while time.monotonic() < until and feed.error is None:
            for item in feed.take(0.2):
                if isinstance(item, ChangeEvent):
                    return _good("change stream", "events arrive")
                if isinstance(item, FeedState) and item.connected:
                    collection.insert_one({"_id": probe})
                    collection.delete_one({"_id": probe})
    except PyMongoError as error:
        return _bad("change stream", explain(error, connection))
    finally:
        feed.close(timeout=0)
    if feed.error is not None:
        return _bad("change stream", explain(feed.error, connection))
    return _bad("change stream", ConsoleError("no event arrived within 10 s", advice="Is the replica set healthy?"))


def check_s3(s3: S3Settings, transfer: TransferSettings) -> Iterator[Finding]:
    """Credentials, bucket, clock, and the requests of a multipart upload with a checksum."""
    if not s3.bucket:
        yield _bad("bucket", ConsoleError("s3.bucket is not set", advice="Set it in the configuration, or --bucket."))
        return
    try:
        client = make_client(client_options(s3, transfer))
    except ConsoleError as error:
        yield _bad("S3", error)
        return
    try:
        answer = client.head_bucket(Bucket=s3.bucket)
        yield _good("bucket", f"{visible(s3.bucket)} at {client.meta.endpoint_url}")
        yield from _check_clock(answer["ResponseMetadata"]["HTTPHeaders"].get("date"))
    except Exception as error:  # noqa: BLE001 - `classify` raises again what it does not know
        yield _bad("bucket", classify(error))
        return
    key = "/".join(filter(None, (s3.prefix.strip("/"), f".upload-console-doctor-{secrets.token_hex(4)}")))
    try:
        probe = probe_bucket(client, s3.bucket, key)
    except TransferError as error:
        yield _bad("multipart", error)
        return
    yield _good("multipart", "create, upload part, list parts and abort work")
    if probe.checksums:
        yield _good("checksums", f"the server returns {', '.join(probe.checksums)}")
    else:
        yield _good("checksums", "the server returns none; MD5 and ETag are compared instead")


def _check_clock(date: str | None) -> Iterator[Finding]:
    if not date:
        return
    off = abs((datetime.now(UTC) - parsedate_to_datetime(date)).total_seconds())
    if off > _CLOCK_SECONDS:
        yield _warning("clock", f"this host's clock and the server's differ by {off:.0f} s", "Set the clock (NTP).")
    else:
        yield _good("clock", "agrees with the server's")


def check_terminal() -> Iterator[Finding]:
    """Size, characters, colours."""
    encoding = locale.getpreferredencoding(do_setlocale=False)
    if not sys.stdout.isatty():
        yield _warning("terminal", "standard output is not a terminal", "The full-screen console needs one.")
        return
    size = shutil.get_terminal_size()
    term = os.environ.get("TERM", "")
    words = f"{size.columns}x{size.lines}, TERM={visible(term)}, {encoding}"
    if size.columns < 80 or size.lines < 24:
        yield _warning("terminal", words, "Make it at least 80x24.")
    elif term in ("", "dumb"):
        yield _warning("terminal", words, "Set TERM to what your terminal is, xterm-256color say.")
    elif "utf" not in encoding.lower():
        yield _warning("terminal", words, "Set a UTF-8 locale: export LANG=C.UTF-8.")
    else:
        yield _good("terminal", words)
