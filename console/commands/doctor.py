"""`doctor`: what works, what does not, and how to fix it; and `setup`, which fixes the collection.

Each check tries what the console will do, on keys of its own that it removes again. A check changes nothing else.
"""

from __future__ import annotations

import errno
import locale
import os
import secrets
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel
from pymongo.errors import OperationFailure, PyMongoError
from rich.console import Console
from rich.text import Text

from console.cli.output import json_line
from console.cli.selection import agreed, can_ask
from console.error_codes import CREDENTIAL_CODES, DENIED
from console.error_codes import explain as explain_code
from console.errors import ConsoleError, UsageError
from console.events.event import ChangeEvent
from console.events.feed_items import FeedState
from console.formatting import visible
from console.models import ACCESS, Storage
from console.private_files import make_private_folder
from console.records.connection import (
    WIRE_VERSION_6_0,
    Connection,
    check,
    connect,
    explain,
    how_to_get_images,
)
from console.records.database import Records
from console.records.seals import key_file
from console.s3.client import make_client, object_parameters
from console.s3.engines.engine import ObjectSettings
from console.s3.probes import ConditionSupport, Probe, probe_bucket, probe_conditions, refused_rights, why_refused
from console.s3.transfer_errors import TransferError, classify
from console.settings import MongoSettings, Settings
from console.settings.key_template import KeyTemplate
from console.settings.watch_rules import WatchRule
from console.stream.feed import ChangeFeed
from console.transfer.sender import S3Sender, client_options, require_endpoint_without_bucket
from console.ui import themes

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client


_EVENT_SECONDS: Final = 10.0
_ANSWER_SECONDS: Final = 10.0
_CLOCK_SECONDS: Final = 300  # AWS refuses requests more than 15 minutes off; warn long before
_REFUSED_CLOCK_SECONDS: Final = 890
_NTP: Final = "Set the clock (NTP: `timedatectl set-ntp true`)."
_PURPOSES: Final = {
    "s3:ListBucket": "finding out whether an object is there already",
    "s3:ListBucketMultipartUploads": "`sweep`, and for removing what a crash left behind",
    "s3:PutObject": "every upload",
    "s3:GetObject": "checksums, `verify`, download links, watched folders and `duplicates` other than overwrite",
    "s3:DeleteObject": "`delete`",
    "s3:DeleteObjectVersion": "`delete` in a bucket with versions",
}
_WITHOUT: Final = {
    "ListParts": (
        "an interrupted upload starts again from its beginning",
        "Ask for s3:ListMultipartUploadParts on the destination, or do without.",
    ),
    "AbortMultipartUpload": (
        "parts of uploads that are cancelled or start again stay in the bucket",
        "Ask for s3:AbortMultipartUpload, or give the bucket a rule that aborts incomplete multipart uploads.",
    ),
}
"""What an upload can do without: what becomes of it then, and what to do about that."""
# What a user needs on the collection, by what it is for.
_TO_READ: Final = frozenset({"find", "changeStream"})
_TO_WRITE: Final = frozenset({"insert", "update", "remove"})


class Grade(IntEnum):
    GOOD = 0
    WARNING = 1
    BAD = 2


class Finding(BaseModel):
    """One thing that was checked, and a line of `doctor --json`; `mend` says what to do where something is wrong."""

    check: str
    grade: Grade
    words: str
    mend: str = ""


def _good(name: str, message: str) -> Finding:
    return Finding(check=name, grade=Grade.GOOD, words=message)


def _warning(name: str, message: str, fix: str) -> Finding:
    return Finding(check=name, grade=Grade.WARNING, words=message, mend=fix)


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
        refusal = _check_user(connection, settings)
    except ConsoleError as error:
        yield _bad("MongoDB", error)
        return
    except PyMongoError as error:
        yield _bad("MongoDB", explain(error, connection))
        return
    finally:
        connection.close()
    if refusal is not None:
        yield refusal
        return
    yield from _check_collection(settings, wire_version, version)


def _check_user(connection: Connection, settings: MongoSettings) -> Finding | None:
    """What a user who may not write can still do; None for one who may, and where nobody has to log in."""
    name = f"{settings.database}.{settings.collection}"
    try:
        info = connection.client.admin.command("connectionStatus", showPrivileges=True)["authInfo"]
    except OperationFailure:  # not every compatible server knows it; what is refused shows later
        return None
    if not info.get("authenticatedUsers"):
        return None
    actions: set[str] = set()
    for privilege in info.get("authenticatedUserPrivileges", []):
        resource = privilege["resource"]
        is_meant = resource.get("db") in ("", settings.database) and resource.get("collection") in (
            "",
            settings.collection,
        )
        if is_meant or resource.get("anyResource"):
            actions.update(privilege["actions"])
    if actions >= _TO_READ | _TO_WRITE:
        return None
    if not actions & _TO_WRITE and actions >= _TO_READ:
        message = (
            f"the user may only read {name}: `list` and `events` work once others have set it up; uploading, watching, "
            "pausing and all else that changes a record do not"
        )
    else:
        message = f"the user lacks rights on {name}: {', '.join(sorted((_TO_READ | _TO_WRITE) - actions))}"
    advice = f"Let an administrator run: db.grantRolesToUser(USER, [{{role: 'readWrite', db: '{settings.database}'}}])"
    return _bad("rights", ConsoleError(message, advice=advice))


def _check_collection(settings: MongoSettings, wire_version: int, version: str) -> Iterator[Finding]:
    try:
        records = Records.open(settings, sets_up=False)
    except ConsoleError as error:
        yield _bad("collection", error)
        return
    with records:
        state = records.state
        if state.is_shared:
            yield _warning("collection", state.words, "Or use a collection of our own: mongodb.collection.")
        elif state.options and state.exists:
            yield _warning(
                "collection",
                state.words,
                "Where the user may not do so: grant the role dbAdmin on the database, at least for one start.",
            )
        else:
            yield _good("collection", state.words)
        if state.validator is not None:
            yield _warning(
                "validator",
                f"{state.name} has a validator of others: {visible(str(state.validator))[:200]}",
                "Let it take uploads too, or use another mongodb.collection.",
            )
        if wire_version < WIRE_VERSION_6_0:
            yield _warning(
                "images",
                "older than 6.0, or runs as if: events do not show documents before a change",
                how_to_get_images(version),
            )
        yield _check_change_stream(records, records.connection)


def _check_change_stream(records: Records, connection: Connection) -> Finding:
    """Write a document, see its events, remove it: on the collection of runners, where it disturbs nobody."""
    collection = records.runners.collection
    try:
        is_there = bool(collection.database.list_collection_names(filter={"name": collection.name}))
    except PyMongoError as error:
        return _bad("change stream", explain(error, connection))
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
        if not is_there:
            with suppress(PyMongoError):  # no right to do so: then an empty collection stays
                collection.drop()
    if feed.error is not None:
        return _bad("change stream", explain(feed.error, connection))
    return _bad("change stream", ConsoleError("no event arrived within 10 s", advice="Is the replica set healthy?"))


def check_settings(settings: Settings) -> Iterator[Finding]:
    """Where they were read, and what only the command that uses a setting would refuse."""
    if settings.remarks:
        yield _warning(
            "configuration", "; ".join((settings.origin, *settings.remarks)), "Make it readable by you alone."
        )
    else:
        yield _good("configuration", settings.origin)
    yield from _check_state()
    try:
        KeyTemplate.parse(settings.transfer.key_template)
    except ConsoleError as error:
        yield _bad("key template", error)
    try:
        themes.suitable(settings.ui.theme, os.environ, None)
    except ConsoleError as error:
        yield _bad("theme", error)
    directory = settings.ui.directory
    if directory is not None and not directory.is_dir():
        yield _bad("directory", ConsoleError(f"ui.directory: {visible(str(directory))} is not a folder"))
    for rule in settings.watch:
        for folder in filter(None, (rule.folder, rule.move_to)):
            if not os.access(folder, os.R_OK | os.X_OK):
                yield _warning(
                    "watch",
                    f"{visible(rule.title)}: {visible(str(folder))} is not there, or may not be read",
                    "Make it, or correct the rule: until it is there nothing of it is sent.",
                )


def _check_state() -> Iterator[Finding]:
    """The folder of what is kept between two starts: this user's key, and the locks of runners."""
    folder = key_file().parent
    try:
        make_private_folder(folder)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))
    except OSError as error:
        yield _warning(
            "state",
            f"{visible(str(folder))} cannot be written: {error.strerror or error}. After a crash the leases of uploads "
            "have to run out, and uploads recorded now are those of a stranger to the next start",
            "Set XDG_STATE_HOME, or HOME, to a folder that this user can write.",
        )
    else:
        yield _good("state", visible(str(folder)))


def check_s3(settings: Settings) -> Iterator[Finding]:
    """Each bucket that something is configured for: credentials, clock, rights, and what a part comes back with."""
    if not settings.s3.bucket and not all(rule.to for rule in settings.watch or [WatchRule(folder=Path())]):
        yield _bad("bucket", ConsoleError("s3.bucket is not set", advice="Set it in the configuration, or --bucket."))
        return
    try:
        require_endpoint_without_bucket(settings.s3)
        clients = {access: _client(settings, access) for *_, access in _destinations(settings)}
    except ConsoleError as error:
        yield _bad("S3", error)
        return
    policies = {settings.transfer.duplicates, *(rule.duplicates for rule in settings.watch if rule.duplicates)}
    needs_condition = policies != {"overwrite"}
    needs_reading = bool(settings.watch) or needs_condition
    for bucket, prefix, parameters, access in _destinations(settings):
        key = "/".join(filter(None, (prefix.strip("/"), f".upload-console-doctor-{secrets.token_hex(4)}")))
        yield from _check_bucket(
            clients[access],
            bucket,
            key,
            parameters,
            needs_reading=needs_reading,
            needs_condition=needs_condition,
            has_key=dict(access)["sse_customer_key_file"] is not None,
        )


_Access = tuple[tuple[str, Any], ...]


def _client(settings: Settings, access: _Access) -> S3Client:
    options = client_options(settings.s3.model_copy(update=dict(access)), settings.transfer)
    # Somebody sits there and waits: a server that takes longer to answer such small requests is not well.
    return make_client(replace(options, read_timeout_seconds=min(options.read_timeout_seconds, _ANSWER_SECONDS)))


def _destinations(settings: Settings) -> list[tuple[str, str, dict[str, Any], _Access]]:
    """Buckets and prefixes, with what is asked for of the objects there, and what every request says; each once."""
    found: list[tuple[str, str, dict[str, Any], _Access]] = []
    rules: list[WatchRule | None] = [None] if settings.s3.bucket else []
    for rule in [*rules, *settings.watch]:
        s3 = settings.s3
        bucket, prefix = (rule.destination if rule is not None else None) or (s3.bucket, s3.prefix)
        chosen = {
            name: own if (own := getattr(rule, name, None)) is not None else getattr(s3, name)
            for name in Storage.model_fields
            if not name.startswith(("object_lock", "legal_hold", "preserve"))  # nobody could remove what it tries
        }
        access = tuple((name, chosen.pop(name)) for name in ACCESS)
        destination = (bucket, prefix, object_parameters("text/plain", ObjectSettings(**chosen)), access)
        if destination not in found:
            found.append(destination)
    return found


def _check_bucket(
    client: S3Client,
    bucket: str,
    key: str,
    parameters: Mapping[str, Any],
    *,
    needs_reading: bool,
    needs_condition: bool,
    has_key: bool,
) -> Iterator[Finding]:
    try:
        answer: Mapping[str, Any] = client.head_bucket(Bucket=bucket)
        refusal = None
    except Exception as error:  # noqa: BLE001 - `classify` raises again what it does not know
        answer = getattr(error, "response", None) or {}  # of a timeout it is None
        refusal = why_refused(client, bucket, classify(error))
    off = _seconds_off(answer)
    if refusal is not None and (refusal.code == "RequestTimeTooSkewed" or (off or 0.0) > _REFUSED_CLOCK_SECONDS):
        by = "" if off is None else f" by {off:,.0f} s"
        yield _bad(
            "clock", ConsoleError(f"this host's clock and the server's differ{by}: S3 refuses that", advice=_NTP)
        )
        return
    if refusal is not None and refusal.code in CREDENTIAL_CODES:
        message = f"{explain_code(refusal.code).message} ({refusal.code}): {refusal.message}"
        yield _bad("credentials", ConsoleError(message, advice=refusal.advice))
        return
    if refusal is not None and refusal.code not in DENIED:
        yield _bad("bucket", refusal)
        return
    if refusal is None:
        yield _good("bucket", f"{visible(bucket)} at {client.meta.endpoint_url}")
        yield from _check_clock(off)
    # Whoever may not list a bucket may still be allowed to write to it.
    try:
        probe = probe_bucket(client, bucket, key, parameters)
    except TransferError as error:
        yield _bad("multipart", error)
        if error.code not in DENIED:
            return
    else:
        yield from _multipart(probe)
        if has_key and probe.by_customer_key:
            yield _good("encryption", "the server encrypts by the key of sse_customer_key_file")
        elif has_key:
            known = explain_code("NotEncrypted")
            yield _bad("encryption", ConsoleError(f"{known.message} (SSE-C)", advice=known.advice))
        if probe.checksums:
            yield _good("checksums", f"the server returns {', '.join(probe.checksums)}")
        else:
            yield _good("checksums", "the server returns none; MD5 and ETag are compared instead")
    refused = refused_rights(client, bucket, key, parameters)
    yield from _rights(refused, bucket, needs_reading=needs_reading)
    if not refused.keys() & {"s3:PutObject", "s3:DeleteObject", "s3:DeleteObjectVersion"}:
        yield from _check_conditions(client, bucket, key, parameters, needs_condition=needs_condition)


def _multipart(probe: Probe) -> Iterator[Finding]:
    if not probe.missing:
        yield _good("multipart", "create, upload part, list parts and abort work")
        return
    yield _good("multipart", "create and upload part work")
    for operation, error in probe.missing.items():
        what_follows, advice = _WITHOUT[operation]
        yield _warning("multipart", f"{operation} is refused ({error.code}): {what_follows}", advice)


def _check_conditions(
    client: S3Client, bucket: str, key: str, parameters: Mapping[str, Any], *, needs_condition: bool
) -> Iterator[Finding]:
    """Among uploads that share records MongoDB says whose a key is; between them and other programs only S3 can."""
    try:
        found = probe_conditions(client, bucket, key, parameters)
    except TransferError as error:
        yield _warning("conditions", f"If-None-Match could not be tried: {error}", error.advice)
        return
    if set(found.values()) == {ConditionSupport.HONOURED}:
        message = "If-None-Match is honoured by PutObject and CompleteMultipartUpload"
        yield _good("conditions", f"{message}: where duplicates may not overwrite, no object of anybody is replaced")
        return
    told = ", ".join(f"{operation} {condition.value} it" for operation, condition in found.items())
    message = (
        f"If-None-Match: {told}. Uploads recorded in this database replace none of each other; an object that another "
        "program writes at the same moment can be replaced"
    )
    if needs_condition:
        yield _warning("conditions", message, "Let nothing else write to these keys.")
    else:
        yield _good("conditions", message)


def _rights(refused: Mapping[str, TransferError], bucket: str, *, needs_reading: bool) -> Iterator[Finding]:
    for action, error in refused.items():
        message = f"{action} on {visible(bucket)} is refused ({error.code}); it is for {_PURPOSES[action]}"
        advice = f"Ask for {action} on the destination, or do without."
        if action == "s3:PutObject" or (action == "s3:GetObject" and needs_reading):
            yield _bad("rights", ConsoleError(message, advice=advice))
        else:
            yield _warning("rights", message, advice)
    if not refused:
        yield _good("rights", "listing, reading and deleting work")


def _seconds_off(answer: Mapping[str, Any]) -> float | None:
    date = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date")
    try:
        return abs((datetime.now(UTC) - parsedate_to_datetime(date)).total_seconds()) if date else None
    except (ValueError, TypeError):
        return None


def _check_clock(off: float | None) -> Iterator[Finding]:
    if off is None:
        return
    if off > _CLOCK_SECONDS:
        yield _warning("clock", f"this host's clock and the server's differ by {off:,.0f} s", _NTP)
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
    message = f"{size.columns}x{size.lines}, TERM={visible(term)}, {encoding}"
    if size.columns < 80 or size.lines < 24:
        yield _warning("terminal", message, "Make it at least 80x24.")
    elif term in ("", "dumb"):
        yield _warning("terminal", message, "Set TERM to what your terminal is, xterm-256color say.")
    elif "utf" not in encoding.lower():
        yield _warning("terminal", message, "Set a UTF-8 locale: export LANG=C.UTF-8.")
    else:
        yield _good("terminal", message)


_SIGNS: Final = {Grade.GOOD: ("✓", "green"), Grade.WARNING: ("!", "yellow"), Grade.BAD: ("✗", "red")}


def run(settings: Settings, *, as_json: bool) -> int:
    """Check everything and print each finding as it comes. Returns 0, or 3 where something cannot work."""
    return 3 if examine(settings, as_json=as_json) is Grade.BAD else 0


def examine(settings: Settings, *, as_json: bool = False) -> Grade:
    """The same; gives the worst that was found."""
    worst = Grade.GOOD
    console = Console(highlight=False, soft_wrap=True)
    for finding in _findings(settings):
        worst = max(worst, finding.grade)
        if as_json:
            sys.stdout.write(json_line(finding, with_nulls=True) + "\n")
            sys.stdout.flush()
            continue
        sign, style = _SIGNS[finding.grade]
        console.print(Text.assemble((sign, style), " ", (f"{finding.check:<16}", "bold"), finding.words))
        if finding.mend:
            console.print(Text(f"  {'':<16}→ {finding.mend}"))
    return worst


def _findings(settings: Settings) -> Iterator[Finding]:
    yield from check_settings(settings)
    yield from check_mongodb(settings.mongodb)
    yield from check_s3(settings)
    yield from check_terminal()


def set_up(settings: Settings, *, adopt: bool) -> int:
    """Set the collection up and say what was done. Where it holds documents of others a person agrees first, or
    `adopt` was given. Returns 1 if nobody agreed, or something is missing still."""
    with Records.open(settings.mongodb, sets_up=False) as records:
        state = records.state
    if state.is_shared and not adopt and not _agree_to_share(state.name):
        return 1
    with (
        S3Sender(settings.s3, settings.transfer) as sender,
        Records.open(settings.mongodb, adopt=True, endpoint=sender.endpoint) as records,
    ):
        notes = records.notes
    sys.stdout.writelines(f"{note}\n" for note in notes or (state.words,))
    return 1 if any(note.startswith("no right") for note in notes) else 0


def _agree_to_share(name: str) -> bool:
    sys.stderr.write(
        f"{name} also holds documents that are no uploads. It would get indexes, pre- and post-images of every change "
        "(they take room), and a validator that looks at uploads alone.\n"
    )
    if not can_ask():
        raise UsageError("setup asks first, and there is no terminal", advice="Add --adopt.")
    return agreed("Set it up?")
