"""Carrying out uploads in the foreground: `upload`, `resume` and `retry` wait here until theirs are at their end.

A live runner of this host carries them out, else one of our own does. The change feed says what becomes of them, so it
is the same whoever does it; where an event does not say everything, the documents are read, many at once. How it looks
is in `upload_report`, how a signal ends it in `interruption`.
"""

from __future__ import annotations

import os
import sys
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from itertools import chain, islice
from pathlib import Path
from typing import Final

from bson import ObjectId
from pymongo.errors import PyMongoError

from console.choices import DuplicatePolicy
from console.cli.output import tell_in_lines, tell_notes
from console.cli.process import exit_code
from console.commands.interruption import STOP_SECONDS, Interruption
from console.commands.upload_modes.dry_run import DryRunReport, dry_run
from console.commands.upload_modes.manifest import Proof, file_of_job
from console.commands.upload_modes.report_file import FileReport
from console.commands.upload_modes.same_as_there import Surplus, delete_surplus, without_identical
from console.commands.upload_modes.standard_input import from_pipe, require_sense, schedule_of
from console.commands.upload_report import JsonReport, Report, TextReport, all_out_of_reach
from console.errors import ServerUnreachable, UsageError
from console.events.event import ChangeEvent
from console.events.feed_items import FeedState, Gap
from console.files.acceptance import Acceptance
from console.files.file_filter import FileFilter
from console.files.file_list import listed_paths
from console.files.walk import LeftOut, ListedPath
from console.formatting import byte_size, count, visible
from console.models import (
    OpenHours,
    Requested,
    Source,
    Storage,
    Upload,
    UploadStatus,
    are_open,
    changed_upload,
    clock_times,
    read_upload,
)
from console.records.connection import describe_error, explain
from console.records.database import Records
from console.records.identity import lives_here, this_host
from console.records.requests import request_all
from console.records.runners import Limits, RunnerState
from console.records.transitions import Filter
from console.records.uploads import NewUpload
from console.runner.job_limits import limited
from console.runner.policy import Policy
from console.runner.runner import Runner
from console.runner.wakeups import runner_interest
from console.runner.working_hours import ALWAYS, WorkingHours, minute_of_day
from console.s3.object_listing import ListedObject
from console.settings import Settings, flag_of
from console.settings.key_template import parse_destination
from console.settings.messages import repeated
from console.settings.object_rules import HeaderRule, beneath
from console.settings.schedule import ScheduleSettings
from console.stream.feed import ChangeFeed, Interest, pipeline_for
from console.transfer.intake import Intake, KeptAs
from console.transfer.sender import S3Sender
from console.transfer.sources.pipe import PipeSender
from console.transfer.threads import ahead

_SIGNALS: Final = 128  # exit codes above it are those of signals
_TICK_SECONDS: Final = 0.1
_MANY: Final = 100
_SWITCH_SECONDS: Final = 0.02
"""A thread that waits for Python's lock asks for it so often. With Python's own 5 ms hundreds of threads that send
small files spent a third of the processor time on asking, and nobody types into this program."""
_GATHER_SECONDS: Final = 0.05
"""While many uploads are waited for their events are taken together: to be woken for each costs those that send."""
_LOOK_FOR_RUNNER_SECONDS: Final = 3.0
_MOST_LOOKED_AT: Final = 1_000
_ENDS: Final = ("drop", "rename", "dropDatabase", "invalidate")  # of the collection, or of its documents
_CLOCK_STEPS: Final = timedelta(hours=1)


Batches = Iterable[Sequence[Upload]]
"""Uploads whose documents exist by the time they are handed over, some at a time."""


def make_report(*, as_json: bool) -> Report:
    """JSON lines where somebody asked for them, else lines for people, with bars below them on a terminal."""
    if as_json:
        return JsonReport()
    if not sys.stdout.isatty():
        return TextReport()
    from console.commands.terminal_report import TerminalReport

    return TerminalReport()


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which uploads are carried out: a filter for documents, and one for events that lets a few others through.
    `is_new`: nobody else can be at work on them."""

    documents: Filter
    events: Filter
    is_new: bool

    @classmethod
    def batch(cls, batch: ObjectId) -> Wanted:
        """Those that one command adds from now on."""
        # Not by `batch` itself, which is made from a clock that may be set back meanwhile.
        first = ObjectId.from_datetime(batch.generation_time - _CLOCK_STEPS)
        return cls({"batch": batch}, {"documentKey._id": {"$gte": first}}, is_new=True)

    @classmethod
    def ids(cls, ids: list[ObjectId]) -> Wanted:
        """Those with these ids."""
        return cls({"_id": {"$in": ids}}, {"documentKey._id": {"$in": ids}}, is_new=False)

    def interest(self, *, with_completed: bool) -> Interest:
        """In the change stream: which uploads changed, and how, and whether they are all gone. Without those that
        completed nobody reads back what its own runner wrote."""
        changes: Filter = {**self.events, "operationType": {"$in": ["update", "replace", "delete"]}}
        if not with_completed:
            changes["updateDescription.updatedFields.status"] = {"$ne": UploadStatus.COMPLETED.value}
        ends = {"operationType": {"$in": list(_ENDS)}}
        fields = ("operationType", "clusterTime", "documentKey", "updateDescription.updatedFields")
        return Interest({"$or": [changes, ends]}, fields)


class Carrier:
    """Waits for uploads; starts a runner where none of this host is there to take them."""

    def __init__(
        self,
        records: Records,
        sender: S3Sender,
        settings: Settings,
        wanted: Wanted,
        report: Report,
        *,
        given: Sequence[str] = (),
        is_alone: bool = False,
        here: bool = False,
        can_be_resumed: bool = True,
        schedule: ScheduleSettings = ALWAYS,
    ) -> None:
        """`given` are the paths of the command. `is_alone`: no other runner can carry them out; `here`: none may.
        What `can_be_resumed` is paused by Ctrl+C. Where `schedule` keeps hours nothing is recorded outside of them."""
        self._records = records
        self._sender = sender
        self._settings = settings
        self._wanted = wanted
        self._given = given
        self._report = report
        self._here = here
        self._can_be_resumed = can_be_resumed
        self._is_said = False
        self._schedule = schedule
        self._hours = WorkingHours(schedule)
        self._is_over = False
        self._is_alone = is_alone or here or (wanted.is_new and self._is_nobody_here())
        # For a runner of our own as well: where there is another one now, it may end.
        interest = wanted.interest(with_completed=not self._is_alone)
        pipeline = pipeline_for(interest, runner_interest(this_host()))
        self._feed = ChangeFeed(records.uploads.collection, pipeline=pipeline, images=False)
        self._runner: Runner | None = None
        self._interruption = Interruption(records.uploads, report, self._stop_runner)
        self._open: dict[ObjectId, Upload] = {}
        self._waited_for: set[ObjectId] = set()
        self._ended: dict[ObjectId, Upload] = {}
        self._deleted: set[ObjectId] = set()
        self._refused: set[ObjectId] = set()
        self._hours_told: set[str] = set()
        self._completed: deque[Upload] = deque()
        self._changed: set[ObjectId] = set()
        self._next_look = 0.0
        self._look_for_runner_at = 0.0

    def run(self, batches: Batches) -> int:
        """Carry out what the batches bring; the first is asked for once no change of it can be missed.

        Gives the exit code: 0 if all completed, 1 if not, 3 if S3 could not be reached for any that failed, 128 +
        number if ended by a signal.
        """
        tell_in_lines()
        try:
            return self._run(batches)
        finally:
            with suppress(OSError):
                self._report.close()

    def _run(self, batches: Batches) -> int:
        feed = self._feed
        feed.start()
        try:
            with self._interruption.awaited():
                self._wait_until_connected(feed)
                self._follow(feed, batches)
                if self._is_over:
                    self._give_up()
                if self._interruption.number is not None:
                    left = list(self._open) if self._can_be_resumed else []
                    self._interruption.leave(self._interruption.number, left)
        finally:
            is_written = self._stop_runner()
            feed.close()
        with suppress(OSError, PyMongoError):  # the terminal may be gone
            if self._open and is_written:  # else MongoDB may not answer for long, and this is the end
                self._changed.update(self._open)
                self._look()
            if self._interruption.number is None:  # else what it means for them has been said
                self._report.ended([*self._ended.values(), *self._open.values()])
        if self._interruption.number is not None:
            return exit_code(self._interruption.number)
        failed = [end for end in self._ended.values() if end.status is not UploadStatus.COMPLETED]
        if not (failed or self._open or self._deleted):
            return 0
        return ServerUnreachable.exit_code if failed and all_out_of_reach(failed) else 1

    def _give_up(self) -> None:
        """Too many failed: the others wait for somebody to resume them."""
        with suppress(PyMongoError):
            request_all(self._records.uploads, list(self._open), Requested.PAUSE)
        sys.stderr.write(
            f"{count(self._schedule.max_failures or 0, 'upload')} failed: nothing more is sent, and "
            f"{len(self._open):,} wait as paused. To go on: upload-console resume --status paused\n"
        )

    def insert(self, uploads: Sequence[NewUpload]) -> list[Upload]:
        """Insert documents for new uploads, ready for whoever will carry them out. Raises `PyMongoError`."""
        if self._runner is None:
            self._start_runner_if_needed()
        return (self._records.uploads if self._runner is None else self._runner).insert(uploads)

    def _wait_until_connected(self, feed: ChangeFeed) -> None:
        while self._interruption.number is None and feed.error is None:
            if any(isinstance(item, FeedState) and item.connected for item in feed.take(0.1)):
                return

    def _follow(self, feed: ChangeFeed, batches: Batches) -> None:
        coming = iter(batches)
        is_more = True
        told = ""
        while self._interruption.number is None and not self._is_over:
            closed = self._hours.why_closed if is_more else ""
            if closed and closed != told:
                sys.stderr.write(f"Waiting: {closed}.\n")
            told = closed
            has_room = self._runner is None or self._runner.has_room
            if is_more and has_room and not closed:
                is_more = self._note_next(coming)
            if is_more and has_room and not closed:
                self._take(feed, 0.0)
            else:
                self._wait(feed)
            if not is_more and not self._waited_for:
                return
            self._look_for_runners()
            self._report.tick()

    def _note_next(self, coming: Iterator[Sequence[Upload]]) -> bool:
        """Note the next batch; False where there is none."""
        batch = next(coming, None)
        for upload in batch or ():
            self._note(upload)
        return batch is not None

    def _wait(self, feed: ChangeFeed) -> None:
        if len(self._waited_for) > _MANY:
            time.sleep(_GATHER_SECONDS)
        self._take(feed, _TICK_SECONDS)

    def _look_for_runners(self) -> None:
        if time.monotonic() < self._look_for_runner_at:
            return
        if self._runner is None:
            self._start_runner_if_needed()
        else:
            self._look_for_others()
        self._leave_to_other_hosts()

    def _take(self, feed: ChangeFeed, seconds: float) -> None:
        """Take what the feed has, and look at the documents a few times a second, or when that may be the end."""
        items = feed.take(seconds)
        while self._completed:
            upload = self._completed.popleft()
            if upload.id in self._open:
                self._note(upload)
        for item in items:
            if isinstance(item, ChangeEvent):
                self._hear(item)
            elif isinstance(item, Gap):
                self._changed.update(self._open)
            elif isinstance(item, FeedState):
                self._report.connection(item.connected, item.message)
        if feed.error is not None:
            raise feed.error
        is_time = time.monotonic() >= self._next_look or len(self._changed) >= len(self._waited_for)
        if self._changed and is_time:
            try:
                self._look()
            except PyMongoError as error:
                self._report.connection(connected=False, message=describe_error(error))
            self._next_look = time.monotonic() + _TICK_SECONDS

    def _hear(self, event: ChangeEvent) -> None:
        upload_id = event.document_id
        if event.document_key is None:  # of the whole collection; or one that is for the runner alone
            self._changed.update(self._open if event.operation in _ENDS else ())
        if not isinstance(upload_id, ObjectId):
            return
        before = self._open.get(upload_id) or self._ended.get(upload_id)
        if before is None:
            return
        updated = (event.update or {}).get("updatedFields") if event.operation == "update" else None
        upload = changed_upload(before, updated) if updated is not None else None
        if upload is None:
            self._changed.add(upload_id)
        else:
            self._note(upload)

    def _look(self) -> None:
        """Read what changed."""
        found = {document["_id"]: document for document in self._records.uploads.get(list(self._changed))}
        for upload_id in self._changed:
            if upload_id in found:
                upload = read_upload(found[upload_id])
                if isinstance(upload, Upload):
                    self._note(upload)
                elif upload_id in self._waited_for:  # somebody wrote into it: no runner carries that out
                    self._waited_for.discard(upload_id)
                    self._report.refused(self._open[upload_id].os_path, f"cannot be read any more: {upload.problem}")
            elif (gone := self._open.pop(upload_id, None)) is not None:
                self._waited_for.discard(upload_id)
                self._deleted.add(upload_id)
                self._report.deleted(gone)
        self._changed.clear()

    def _note(self, upload: Upload) -> None:
        before = self._open.pop(upload.id, None) or self._ended.pop(upload.id, None)
        (self._ended if upload.status.is_terminal else self._open)[upload.id] = upload
        if _is_waited_for(upload) and not self._refuses(upload):
            self._waited_for.add(upload.id)
        else:
            self._waited_for.discard(upload.id)
        self._report.changed(before, upload)
        if upload.hours and upload.status is UploadStatus.PENDING:
            self._say_hours(upload.hours)
        most = self._schedule.max_failures
        if most is not None and upload.status is UploadStatus.FAILED and not self._is_over:
            failed = sum(end.status is UploadStatus.FAILED for end in self._ended.values())
            self._is_over = failed >= most
        if upload.is_left and self._runner is None:  # by a runner that we counted on: ours may be another user's
            self._start_runner()

    def _say_hours(self, hours: Sequence[OpenHours]) -> None:
        """Once for each: somebody resumed what waits for its hours."""
        start, end = clock_times(hours)
        words = f"uploads run between {start}-{end}"
        if words not in self._hours_told and words != self._hours.why_closed and not are_open(hours, minute_of_day()):
            self._hours_told.add(words)
            sys.stderr.write(f"Waiting: {words}.\n")

    def _refuses(self, upload: Upload) -> bool:
        """Whether not even the runner of this command may carry it out; then nobody here will."""
        if self._runner is None or not upload.is_left or self._runner.gate.name not in upload.refused_by:
            return False
        self._leave(upload, upload.error.message if upload.error is not None else "not allowed")
        return True

    def _leave(self, upload: Upload, reason: str) -> None:
        """Nobody here will carry it out, so it is not waited for."""
        self._waited_for.discard(upload.id)
        if upload.id not in self._refused:
            self._refused.add(upload.id)
            self._report.refused(upload.os_path, reason)

    def _start_runner_if_needed(self) -> None:
        self._look_for_runner_at = time.monotonic() + _LOOK_FOR_RUNNER_SECONDS
        if self._is_alone or self._is_nobody_here():
            self._start_runner()

    def _is_nobody_here(self) -> bool:
        """Whether there is no runner on this host that may be counted on; False where MongoDB does not answer."""
        if self._here:
            return True
        try:
            live = self._records.runners.live(this_host(), ["console", "watch"], self._sender.endpoint)
        except PyMongoError:
            return False
        # Anybody may write that a runner lives, and one of another user may not read our files.
        ours = [state for state in live if lives_here(state.runner)]
        if ours and not self._is_said:
            self._is_said = True
            sys.stderr.write(f"{_who(ours, is_new=self._wanted.is_new)}\n")
        return not ours

    def _look_for_others(self) -> None:
        """An upload that our runner lost may be completed by another one, of which no event tells."""
        self._look_for_runner_at = time.monotonic() + _LOOK_FOR_RUNNER_SECONDS
        if self._is_alone and self._runner is not None:
            self._changed.update(islice(self._open.keys() - self._runner.holds(), _MOST_LOOKED_AT))

    def _leave_to_other_hosts(self) -> None:
        """An upload of another host is carried out there. Where no runner lives nobody would ever end the wait."""
        elsewhere = [upload_id for upload_id in self._waited_for if self._open[upload_id].host != this_host()]
        if not elsewhere:
            return
        try:
            live = self._records.runners.live(kinds=["console", "watch", "command"], endpoint=self._sender.endpoint)
            left = self._records.uploads.nobodys(elsewhere, {this_host(), *(state.host for state in live)})
        except PyMongoError:
            return
        refused = [upload_id for upload_id in elsewhere if self._open[upload_id].is_left]
        for upload in (self._open[upload_id] for upload_id in {*left, *refused}):
            told = f": {upload.error.message}" if upload.is_left and upload.error is not None else ""
            self._leave(upload, f"waits for a runner on {visible(upload.host)}{visible(told)}")

    def _start_runner(self) -> None:
        self._runner = Runner(
            self._records,
            self._sender,
            Limits.of(self._settings.transfer),
            kind="command",
            only=self._wanted.documents,
            policy=Policy.of(self._settings, self._given),
            feed=self._feed,
            keeps_all=self._here,
            completed=self._is_completed,
            schedule=self._schedule,
            most_failures=self._schedule.max_failures,
        )
        self._runner.start()

    def _is_completed(self, upload: Upload) -> None:
        """Called by the runner, in a thread of its own."""
        self._completed.append(upload)
        if len(self._completed) == 1:
            self._feed.nudge()

    def _stop_runner(self) -> bool:
        """Whether there was one of our own, and all that it did is written."""
        return self._runner is not None and self._runner.stop(STOP_SECONDS)


def _who(runners: Sequence[RunnerState], *, is_new: bool) -> str:
    """Who carries the uploads out, and by which limits."""
    first = runners[0]
    limit = f"at most {byte_size(first.limits.bandwidth)}/s" if first.limits.bandwidth else "no bandwidth limit"
    more = f" or {count(len(runners) - 1, 'other')}" if len(runners) > 1 else ""
    waits = visible(str(first.details.get("waits") or ""))
    hours = f" It waits: {waits}." if waits else ""
    own = " `--here` would do it in this process, by this command's own limits." if is_new else ""
    return (
        f"Carried out by {visible(first.runner)} ({visible(first.kind)}){more}, with its limits: {limit}.{hours}{own}"
    )


def _is_waited_for(upload: Upload) -> bool:
    """Not at its end, and not paused by somebody: nobody would ever end such a wait."""
    is_put_off = upload.status is UploadStatus.PAUSED and upload.requested is not Requested.RUN
    return not upload.status.is_terminal and not is_put_off


@dataclass(frozen=True, slots=True)
class UploadOptions:
    """The flags of `upload` that are no settings. `duplicates` is for this destination, whoever carries the uploads
    out; None as the settings have it. `given` are the settings that flags override, as `s3.acl`."""

    to: str | None = None
    name: str | None = None
    size: int | None = None
    files_from: str | None = None
    report: Path | None = None
    dry_run: bool = False
    delete: bool = False
    yes: bool = False
    as_json: bool = False
    detach: bool = False
    here: bool = False
    duplicates: DuplicatePolicy | None = None
    given: Collection[str] = ()


def run(settings: Settings, paths: Sequence[Path], options: UploadOptions) -> int:
    """Add an upload for each file and carry them out, unless detached. Returns 0 only if all completed."""
    sys.setswitchinterval(_SWITCH_SECONDS)
    if options.to is not None:
        settings = _redirected(settings, options.to)
    if options.here and options.detach:
        raise UsageError("--here and --detach exclude each other: one carries the uploads out, the other does not.")
    if any(os.fspath(path) == "-" for path in paths):
        return _run_pipe(settings, paths, options)
    if options.name is not None or options.size is not None:
        flag = "--name" if options.name is not None else "--size"
        raise UsageError(f"{flag} is for what comes from a pipe: upload - --name NAME")
    if options.report is not None and (options.dry_run or options.detach):
        raise UsageError("--report says what became of the files: not with --dry-run, and not with --detach.")
    typed, named = _named(paths, options.files_from)
    # Made before anything is recorded: without credentials nothing could be carried out.
    with S3Sender(settings.s3, settings.transfer) as sender:
        policy = options.duplicates or settings.transfer.duplicates
        surplus = None
        if options.delete:
            surplus = Surplus.of(settings, typed, policy, is_whole=options.files_from is None and not options.detach)
        noted = surplus.noting if surplus is not None else _as_they_are
        if options.dry_run:
            told = DryRunReport(as_json=options.as_json)
            intake = _intake(settings, sender, options, left_out=told.left_out)
            code = dry_run(
                sender,
                intake,
                noted(intake.batches(named)),
                policy,
                told,
                part_size=settings.transfer.part_size,
                schedule=settings.schedule,
            )
            if surplus is not None and code:
                sys.stderr.write("Nothing would be deleted, as not all would be uploaded.\n")
            return _delete(surplus, sender, settings, options) if surplus is not None and not code else code
        if options.detach and {"transfer.manifest", "transfer.sha256sums"} & set(options.given):
            raise UsageError("--detach ends before there is anything to prove: no --manifest and --sha256sums with it.")
        of_others = {name for name in options.given if name.startswith("schedule.")} - {"schedule.between"}
        if options.detach and (hours := sorted(of_others)):
            raise UsageError(
                f"--detach leaves uploads to a console or watch, whose own [schedule] counts: no "
                f"{', '.join(map(flag_of, hours))} with it."
            )
        batch = ObjectId()
        proof = Proof.wanted(batch, settings.transfer.manifest, settings.transfer.sha256sums)
        with Records.open(settings.mongodb, endpoint=sender.endpoint) as records:
            tell_notes(records.notes)
            intake = _intake(settings, sender, options, batch)
            if options.detach:
                return _detach(records, intake, named, as_json=options.as_json)
            report = report_of(options, batch)
            carrier = Carrier(
                records,
                sender,
                settings,
                Wanted.batch(batch),
                report,
                given=typed,
                here=options.here or settings.schedule.is_for_sending,
                schedule=settings.schedule,
            )
            batches: Iterable[list[NewUpload]] = noted(ahead(intake.batches(named)))
            if policy == "skip_identical":

                def found(upload: NewUpload, there: ListedObject) -> None:
                    report.identical(upload)
                    proof.found(upload, there)

                batches = without_identical(batches, sender, settings.transfer.part_size, found)
            batches = limited(batches, settings.schedule)
            code = carrier.run(_reported(_recorded(records, batches, carrier.insert), intake, report))
            code = code or _is_incomplete(report)
            code = proof.write(records.uploads, sender.endpoint.name) or code
        code = code or (1 if intake.refusals else 0)
        if surplus is not None and code:
            sys.stderr.write("Nothing is deleted, as not all was uploaded.\n")
        elif surplus is not None:
            code = _delete(surplus, sender, settings, options)
    return code


def report_of(options: UploadOptions, job: ObjectId) -> Report:
    """What people and programs are told of a job, and the file that is to say it too. Raises UsageError."""
    told = make_report(as_json=options.as_json)
    if options.report is None:
        return told
    try:
        return FileReport(file_of_job(options.report, job, "report.jsonl", "--report"), job, told)
    except BaseException:
        told.close()
        raise


def _is_incomplete(report: Report) -> int:
    """The exit code that a report's file calls for."""
    return 1 if isinstance(report, FileReport) and report.problem is not None else 0


def _as_they_are(batches: Iterable[list[NewUpload]]) -> Iterable[list[NewUpload]]:
    return batches


def _delete(surplus: Surplus, sender: S3Sender, settings: Settings, options: UploadOptions) -> int:
    most = settings.transfer.delete_at_most_percent
    return delete_surplus(
        surplus, sender, most_percent=most, yes=options.yes, dry_run=options.dry_run, as_json=options.as_json
    )


def _run_pipe(settings: Settings, paths: Sequence[Path], options: UploadOptions) -> int:
    if len(paths) > 1 or options.files_from is not None or options.dry_run or options.detach or options.delete:
        raise UsageError("upload -: standard input goes alone, without --files-from, --dry-run, --delete and --detach.")
    require_sense(options.given)
    name = options.name
    if name is None:  # all of the key is in the destination
        is_folder = options.to is not None and options.to.endswith("/")
        prefix, _, name = ("", "", "") if is_folder else settings.s3.prefix.rpartition("/")
        settings = settings.model_copy(update={"s3": settings.s3.model_copy(update={"prefix": prefix})})
    acceptance = Acceptance(settings.accept)
    batch = ObjectId()
    proof = Proof.wanted(batch, settings.transfer.manifest, None)
    with (
        PipeSender(settings.s3, settings.transfer, sys.stdin.fileno(), acceptance, options.size) as sender,
        Records.open(settings.mongodb, endpoint=sender.endpoint) as records,
    ):
        tell_notes(records.notes)
        upload = from_pipe(
            settings,
            name,
            endpoint=sender.endpoint.name,
            batch=batch,
            duplicates=options.duplicates,
            kept=KeptAs(settings.s3, _asked_for(settings, options.given), _headers(settings, options.given)),
        )
        report = report_of(options, batch)
        if reason := acceptance.refuses_name(upload.filename):
            report.refused(upload.path, reason)
            report.ended([])
            report.close()
            return 1
        carrier = Carrier(
            records,
            sender,
            settings,
            Wanted.batch(batch),
            report,
            is_alone=True,
            can_be_resumed=False,
            schedule=schedule_of(settings),
        )
        code = carrier.run(_recorded(records, [[upload]], carrier.insert))
        code = code or _is_incomplete(report)
        code = proof.write(records.uploads, sender.endpoint.name) or code
    if code > _SIGNALS:
        sys.stderr.write("What came from the pipe cannot be resumed: run the command again.\n")
    return code


def _named(paths: Sequence[Path], files_from: str | None) -> tuple[list[str], Iterable[str | ListedPath]]:
    """The paths that were typed, and all that are meant.

    Raises:
        UsageError: there is none, or a list with several folders to start from.
    """
    typed = [os.fspath(path) for path in paths]
    if files_from is None:
        if not typed:
            raise UsageError("Name the files and folders to upload, or --files-from.")
        return typed, typed
    if len(typed) > 1:
        raise UsageError("With --files-from name one folder, from which the paths of the list start, or none.")
    base = typed[0] if typed else "."
    return [base], listed_paths(files_from, base)


def _intake(
    settings: Settings,
    sender: S3Sender,
    options: UploadOptions,
    batch: ObjectId | None = None,
    left_out: LeftOut = lambda path, words: None,
) -> Intake:
    return Intake(
        settings.s3,
        settings.transfer,
        host=this_host(),
        source=Source.COMMAND,
        endpoint=sender.endpoint.name,
        batch=batch,
        duplicates=options.duplicates,
        storage=_asked_for(settings, options.given),
        headers=_headers(settings, options.given),
        schedule=settings.schedule,
        wanted=FileFilter(settings.select),
        acceptance=Acceptance(settings.accept),
        left_out=left_out,
    )


def _asked_for(settings: Settings, given: Collection[str]) -> Storage | None:
    """How flags want the objects kept: that holds whoever carries the uploads out."""
    told = {name: getattr(settings.s3, name) for name in Storage.model_fields if f"s3.{name}" in given}
    return Storage(**told) if told else None


def _headers(settings: Settings, given: Collection[str]) -> tuple[HeaderRule, ...]:
    """The rules by pattern. Flags for all files are stronger than those of a configuration file."""
    if "headers" in given:
        return settings.headers
    told = {name: getattr(settings.s3, name) for name in HeaderRule.model_fields if f"s3.{name}" in given}
    return beneath(settings.headers, told)


def _detach(records: Records, intake: Intake, named: Iterable[str | ListedPath], *, as_json: bool) -> int:
    report: Report = JsonReport() if as_json else TextReport()
    added = 0
    for uploads in _reported(_recorded(records, intake.batches(named), records.uploads.insert), intake, report):
        added += len(uploads)
        for upload in uploads:
            report.changed(None, upload)
    if not as_json:
        sys.stdout.write(f"{count(added, 'upload')} recorded.\n")
    return 1 if intake.refusals else 0


def _recorded(
    records: Records, batches: Iterable[list[NewUpload]], insert: Callable[[Sequence[NewUpload]], list[Upload]]
) -> Iterator[list[Upload]]:
    """Uploads, recorded as they are asked for: the first uploads run while further files are looked at."""
    try:
        for batch in batches:
            yield insert(batch)
    except PyMongoError as error:
        raise explain(error, records.connection) from error


def _reported(batches: Iterable[list[Upload]], intake: Intake, report: Report) -> Iterator[list[Upload]]:
    """The same, and files that are refused are reported."""
    reported = 0
    for uploads in chain(batches, [[]]):
        refusals = intake.refusals[reported:]  # more may come just now
        reported += len(refusals)
        for refusal in refusals:
            report.refused(refusal.path, refusal.reason)
        yield uploads


def _redirected(settings: Settings, to: str) -> Settings:
    """The same settings with another destination."""
    try:
        bucket, prefix = parse_destination(to)
    except ValueError as error:
        raise UsageError(f"--to: {error}{repeated(to)}") from None
    s3 = settings.s3.model_copy(update={"bucket": bucket, "prefix": prefix})
    return settings.model_copy(update={"s3": s3})
