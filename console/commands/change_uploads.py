"""`pause`, `resume`, `cancel`, `retry`, `priority`, `delete`: what people want of uploads, on any host."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from enum import StrEnum
from typing import Final

from bson import ObjectId
from pydantic import BaseModel
from pymongo.errors import PyMongoError

from console.cli.output import SILENT_S3, json_line, telling_if_long
from console.cli.selection import Selection, agreed, can_ask
from console.commands.upload import Carrier, Wanted, make_report
from console.errors import ConfigurationError, ServerUnreachable, UsageError
from console.formatting import count, visible
from console.models import Requested, UnreadableUpload, Upload, read_upload
from console.records.database import Records
from console.records.identity import RunnerIdentity
from console.records.requests import Outcome, change_priority, request_all, retry_all
from console.runner.cleanup import clean_up
from console.runner.deletion import delete_all
from console.settings import Settings
from console.transfer.sender import S3Sender


class UploadCommand(StrEnum):
    PAUSE = "pause"
    RESUME = "resume"
    CANCEL = "cancel"
    RETRY = "retry"
    PRIORITY = "priority"
    DELETE = "delete"


class OutcomeLine(BaseModel):
    """The line that `--json` prints: how many follow, and why others do not. `kept`, of `delete` alone: whose record
    is gone while the object stays, and why."""

    intent: UploadCommand
    changed: int
    refused: dict[str, str]
    kept: dict[str, str] | None = None


_PAST: Final = {
    UploadCommand.PAUSE: "told to pause",
    UploadCommand.RESUME: "resumed",
    UploadCommand.CANCEL: "told to cancel",
    UploadCommand.RETRY: "to be tried again",
    UploadCommand.PRIORITY: "given another priority",
    UploadCommand.DELETE: "deleted",
}


def run(
    settings: Settings,
    command: UploadCommand,
    selection: Selection,
    *,
    as_json: bool,
    detach: bool = False,
    yes: bool = False,
    by: int = 0,
) -> int:
    """Record what is wanted; `resume` and `retry` then carry the uploads out unless `detach`ed. `by` is added to the
    priority.

    Returns 0 if all that were named follow, 3 if a server did not answer, else 1.
    """
    with Records.open(settings.mongodb, sets_up=False) as records:
        ids = selection.find(records.uploads)
        if command is UploadCommand.DELETE and ids and not yes and not _agreed(len(ids)):
            return 1
        outcome = _change(settings, records, command, ids, by)
        stays = command in (UploadCommand.RESUME, UploadCommand.RETRY) and not detach
        # With --all, those to which it does not apply are no news; but `delete` applies to all that is there.
        refused = {} if selection.all and command is not UploadCommand.DELETE else outcome.refused
        _report(command, replace(outcome, refused=refused), as_json=as_json)
        code = ServerUnreachable.exit_code if outcome.is_out_of_reach else 1 if refused else 0
        followers = [upload_id for upload_id in ids if upload_id not in outcome.refused]
        if stays and followers:
            code = _carry_out(settings, records, followers, as_json=as_json) or code
        return code


def _change(settings: Settings, records: Records, command: UploadCommand, ids: list[ObjectId], by: int) -> Outcome:
    match command:
        case UploadCommand.DELETE:
            with S3Sender(settings.s3, settings.transfer) as sender, telling_if_long(SILENT_S3):
                return delete_all(records, sender, ids)
        case UploadCommand.RETRY:
            return retry_all(records.uploads, ids)
        case UploadCommand.PRIORITY:
            return change_priority(records.uploads, ids, by)
        case UploadCommand.RESUME:
            return request_all(records.uploads, ids, Requested.RUN)
        case UploadCommand.PAUSE | UploadCommand.CANCEL:
            requested = Requested.PAUSE if command is UploadCommand.PAUSE else Requested.CANCEL
            outcome = request_all(records.uploads, ids, requested)
            _act_for_dead_runners(settings, records)
            return outcome


def _carry_out(settings: Settings, records: Records, ids: list[ObjectId], *, as_json: bool) -> int:
    """Wait for these uploads until they end; returns the exit code."""
    with S3Sender(settings.s3, settings.transfer) as sender:
        here = _that_can_be_sent(records, sender, ids)
        code = 0 if len(here) == len(ids) else 1
        if here:
            report = make_report(as_json=as_json)
            wanted = Wanted.ids(here)
            carrier = Carrier(records, sender, settings, wanted, report, schedule=settings.schedule)
            code = carrier.run(_uploads(records, here)) or code
        return code


def _that_can_be_sent(records: Records, sender: S3Sender, ids: list[ObjectId]) -> list[ObjectId]:
    """Those that can be read, and whose object belongs to this S3 service (a runner for theirs finds the others); why
    the others are not carried out is told."""
    here: list[ObjectId] = []
    for document in records.uploads.get(ids):
        upload = read_upload(document)
        if isinstance(upload, UnreadableUpload):
            sys.stderr.write(f"  {upload.id}: not carried out: its record cannot be read: {visible(upload.problem)}\n")
        elif (words := sender.refusal(upload)) is not None:
            sys.stderr.write(f"  {upload.id}: not carried out here: {words}\n")
        else:
            here.append(document["_id"])
    return here


def _uploads(records: Records, ids: list[ObjectId]) -> Iterator[list[Upload]]:
    """Read when they are asked for."""
    found = (read_upload(document) for document in records.uploads.get(ids))
    yield [upload for upload in found if isinstance(upload, Upload)]


def _act_for_dead_runners(settings: Settings, records: Records) -> None:
    """Do what runners would do, if there were any: also for those that died, where this host knows that they did."""
    identity = RunnerIdentity(deployment=records.deployment)
    try:
        dead = identity.dead_among(records.uploads.lease_holders(identity.host))
        records.uploads.settle(dead)
        if records.uploads.has_cleanup():
            with S3Sender(settings.s3, settings.transfer) as sender:
                with telling_if_long(SILENT_S3):
                    clean_up(records, sender, identity.name, dead=dead)
                elsewhere = set(records.uploads.cleanup_endpoints()) - set(sender.endpoint.names)
            sys.stderr.writelines(
                f"Parts stay in S3 until a console or `watch` runs with --s3-endpoint {visible(str(endpoint))}\n"
                for endpoint in elsewhere
            )
    except (ConfigurationError, PyMongoError) as error:
        sys.stderr.write(f"Parts may stay in S3 until a console or `watch` runs: {visible(str(error))}\n")
    finally:
        identity.release()


def _agreed(number: int) -> bool:
    if not can_ask():
        raise UsageError("delete asks before it removes objects, and there is no terminal", advice="Add --yes.")
    return agreed(f"Delete {count(number, 'upload')}, objects in S3 included?")


def _report(command: UploadCommand, outcome: Outcome, *, as_json: bool) -> None:
    if as_json:
        line = OutcomeLine(
            intent=command,
            changed=outcome.changed,
            refused=_named(outcome.refused),
            kept=_named(outcome.kept) if command is UploadCommand.DELETE else None,
        )
        sys.stdout.write(json_line(line) + "\n")
        return
    sys.stdout.write(f"{count(outcome.changed, 'upload')} {_PAST[command]}.\n")
    sys.stdout.flush()  # before what is said elsewhere
    sys.stderr.writelines(f"  {upload_id}: {visible(reason)}\n" for upload_id, reason in outcome.refused.items())
    sys.stderr.writelines(
        f"  {upload_id}: only the record: {visible(why)}\n" for upload_id, why in outcome.kept.items()
    )


def _named(reasons: Mapping[ObjectId, str]) -> dict[str, str]:
    return {str(upload_id): reason for upload_id, reason in reasons.items()}
