"""`watch`: folders that upload themselves, without a screen: as a service, once (for cron), or as a dry run.

Signals, readiness, exit codes and the lines for people are here; the watching is in `watch`.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from bson import ObjectId
from pydantic import BaseModel
from pymongo.errors import PyMongoError

from console.cli.output import OutputFailed, json_line, tell_notes
from console.cli.process import INTERRUPTED, TERMINATION, handling
from console.commands.upload_modes.manifest import Proof
from console.commands.upload_report import all_out_of_reach
from console.errors import ConsoleError, ServerUnreachable, UsageError
from console.formatting import byte_size, count, visible
from console.records.connection import explain
from console.records.database import Records
from console.records.identity import RunnerIdentity, this_host
from console.records.runners import Limits
from console.runner.policy import Policy
from console.runner.runner import Runner
from console.runner.wakeups import runner_interest
from console.settings import Settings
from console.settings.messages import repeated
from console.settings.object_rules import HeaderRules
from console.settings.watch_rules import WatchRule
from console.stream.feed import ChangeFeed, pipeline_for
from console.transfer.sender import S3Sender, customer_key
from console.watch.once import DryRun, WatchOnce
from console.watch.reporting import Listener, MetricsServer, Note, NoteKind, Notifier, WatchReading
from console.watch.service import WatchService, watch_interest
from console.watch.watcher import State, Surroundings

_LOUD: Final = frozenset({NoteKind.TROUBLE, NoteKind.MISSING, NoteKind.FAILED, NoteKind.REFUSED, NoteKind.OVERFLOW})


class WatchLine(BaseModel):
    """One line of `watch --json`. `size` in bytes, `at` in UTC."""

    event: str
    at: datetime
    rule: str
    path: str | None = None
    destination: str | None = None
    size: int | None = None
    message: str | None = None
    id: str | None = None


class WatchReport:
    """Lines on standard output. For people they begin with the time, unless the journal adds it anyway.

    Called by the threads of watches, which go on where nothing can be written any more: then `problem` is set, and
    `on_problem` called once.
    """

    def __init__(self, *, as_json: bool, environment: Mapping[str, str] = os.environ) -> None:
        self.problem: OSError | None = None
        self.on_problem: Callable[[], None] = _nothing
        self._as_json = as_json
        self._has_clock = "JOURNAL_STREAM" in environment
        self._lock = threading.Lock()

    def __call__(self, note: Note) -> None:
        try:
            self.write(note)
        except OSError as error:
            with self._lock:
                is_first, self.problem = self.problem is None, self.problem or error
            if is_first:
                self.on_problem()

    def write(self, note: Note) -> None:
        """Write it. Raises OSError where that cannot be: the reader has gone, or the disk is full."""
        line = _json(note) if self._as_json else describe_note(note)
        if not self._as_json and not self._has_clock:
            line = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%SZ}  {line}"
        with self._lock:
            if self.problem is None:
                sys.stdout.write(f"{line}\n")
                sys.stdout.flush()


def _nothing() -> None:
    pass


def describe_note(note: Note) -> str:
    """A note as people read it."""
    subject = visible(note.path) or note.rule
    size = f" ({byte_size(note.size)})" if note.size is not None else ""
    arrow = f" → {note.destination}" if note.destination else ""
    said = f": {note.message}" if note.message else ""
    sign = "! " if note.kind in _LOUD else "  "
    return f"{sign}{note.kind.value:<12} {subject}{size}{arrow}{said}"


def _json(note: Note) -> str:
    line = WatchLine.model_construct(  # not validated: a name need not be UTF-8
        event=note.kind.value.replace(" ", "_"),
        at=datetime.now(UTC),
        rule=note.rule,
        path=note.path or None,
        destination=note.destination or None,
        size=note.size,
        message=note.message or None,
        id=note.upload_id or None,
    )
    return json_line(line)


_STOP_SECONDS: Final = 10.0
_TICK_SECONDS: Final = 1.0
_WORKING: Final = frozenset({State.STARTING, State.SCANNING, State.WATCHING, State.POLLING})

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class WatchOptions:
    """How `watch` was called. `folders` and `to` as typed; without folders the rules of the configuration hold."""

    folders: Sequence[Path] = ()
    to: str | None = None
    once: bool = False
    dry_run: bool = False
    as_json: bool = False
    metrics_port: int | None = None
    metrics_host: str = "127.0.0.1"


def run(read_settings: Callable[[], Settings], options: WatchOptions) -> int:
    """Watch until told to stop; `read_settings` is called again on SIGHUP.

    Returns the exit code: 0 after SIGTERM, 130 after Ctrl+C; with `once` 0 if all that was sent completed, 3
    if S3 could not be reached for any that failed, else 1, also where a folder is away or cannot be read.
    Must be called in the main thread: signals are its business until it returns.

    Raises:
        ConsoleError: a rule or setting is wrong, a typed folder of a single run is missing, a server is away, or
            standard output takes no more.
    """
    settings = read_settings()
    rules = rules_of(settings, options)
    if options.once or options.dry_run:
        _require_folders(options.folders)
    report = WatchReport(as_json=options.as_json)
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s", level=logging.WARNING)
    with (
        S3Sender(settings.s3, settings.transfer) as sender,
        Records.open(settings.mongodb, sets_up=not options.dry_run, endpoint=sender.endpoint) as records,
    ):
        _require_keys(rules)
        if not options.dry_run:
            tell_notes(records.notes)
        try:
            if options.dry_run:
                return _run_dry(records, sender, settings, rules, report.write)
            if options.once:
                code = _run_once(records, sender, settings, rules, report)
            else:
                code = _Service(records, sender, settings, read_settings, options, report).run(rules)
        except PyMongoError as error:
            raise explain(error, records.connection) from error
    if report.problem is not None and not (options.once and isinstance(report.problem, BrokenPipeError)):
        why = "nobody reads any more" if isinstance(report.problem, BrokenPipeError) else report.problem.strerror
        raise OutputFailed(f"cannot be written: {why or report.problem}")
    return code


def _require_keys(rules: Sequence[WatchRule]) -> None:
    """Raises ConfigurationError where a rule names a key of SSE-C that cannot be read."""
    for rule in rules:
        if rule.sse_customer_key_file is not None:
            customer_key(rule.sse_customer_key_file, f"{rule.title}: sse_customer_key_file")


def rules_of(settings: Settings, options: WatchOptions) -> list[WatchRule]:
    """The rules for the folders on the command line, or all of the configuration.

    A folder that has a rule in the configuration is watched by it.

    Raises:
        UsageError: there is nothing to watch.
    """
    if not options.folders:
        if options.to is not None:
            raise UsageError("--to is for folders on the command line; each rule of the configuration has its own `to`")
        if not settings.watch:
            raise UsageError(
                "there is nothing to watch", advice="Name folders, or write [[watch]] tables: see docs/watch.md."
            )
        return list(settings.watch)
    configured = {rule.folder: rule for rule in settings.watch}
    rules: dict[str, WatchRule] = {}
    for folder in options.folders:
        typed = _typed_rule(folder, options.to, settings.headers)
        rule = configured.get(typed.folder, typed) if options.to is None else typed
        rules[rule.title] = rule
    return list(rules.values())


def _typed_rule(folder: Path, to: str | None, headers: HeaderRules) -> WatchRule:
    try:
        return WatchRule(folder=folder, to=to, headers=headers)
    except ValueError:
        raise UsageError(f"--to: expected s3://bucket or s3://bucket/prefix{repeated(str(to))}") from None


def _surroundings(records: Records, sender: S3Sender, settings: Settings, notify: Listener) -> Surroundings:
    """For a single run."""
    return Surroundings(
        records.uploads,
        settings.s3,
        settings.transfer,
        this_host(),
        sender,
        notify,
        lambda host: bool(records.runners.live(host)),
        batch=ObjectId(),
    )


def _require_folders(folders: Sequence[Path]) -> None:
    """Those that were typed; one of the configuration may be away for now, and the others are watched all the same."""
    for folder in folders:
        if not _is_there(folder):
            raise UsageError(f"{visible(str(folder))} does not exist, or is not a folder")


def _is_there(folder: Path) -> bool:
    """As `Path.is_dir`, which raises where this user may not see that."""
    return os.path.isdir(folder)  # noqa: PTH112


def _run_dry(
    records: Records, sender: S3Sender, settings: Settings, rules: Sequence[WatchRule], notify: Listener
) -> int:
    around = _surroundings(records, sender, settings, notify)
    missing = 0
    for rule in rules:
        try:
            DryRun(rule, around).run()
        except OSError as error:
            missing += 1
            notify(Note(NoteKind.MISSING, rule.title, str(rule.folder), error.strerror or str(error)))
    return 1 if missing else 0


def _run_once(
    records: Records, sender: S3Sender, settings: Settings, rules: Sequence[WatchRule], notify: Listener
) -> int:
    interrupted = _Signals()
    around = _surroundings(records, sender, settings, notify)
    single = WatchOnce(records, around, rules)
    proofs = _proofs(settings, rules, around.batch) if around.batch is not None else []
    policy = Policy.of(settings, rules=rules)
    runner = Runner(
        records,
        sender,
        Limits.of(settings.transfer),
        kind="command",
        only=single.uploads,
        policy=policy,
        schedule=settings.schedule,
    )
    missing = [rule for rule in rules if not _is_there(rule.folder)]
    with interrupted.handled():
        runner.start()
        try:
            single.run(interrupted.ending)
        finally:
            runner.stop(_STOP_SECONDS)
    failed = single.report_endings()
    if not records.uploads.ids({"batch": around.batch}, limit=1):
        proofs = []  # a run that found nothing new overwrites no proof
    unproven = max([proof.write(records.uploads, sender.endpoint.name) for proof in proofs], default=0)
    if interrupted.ending.is_set():
        return INTERRUPTED
    for title in single.unseen:
        _log.error("%s was not scanned completely: its folder is missing or cannot be read", title)
    if failed and not (missing or single.unseen) and all_out_of_reach(failed):
        return ServerUnreachable.exit_code
    return 1 if failed or missing or single.unseen or unproven else 0


def _proofs(settings: Settings, rules: Sequence[WatchRule], job: ObjectId) -> list[Proof]:
    """What a single run writes at its end: a file for all rules that name the same. Raises UsageError."""
    manifests: dict[Path, list[str]] = {}
    sums: dict[Path, list[str]] = {}
    for rule in rules:
        if (manifest := rule.manifest or settings.transfer.manifest) is not None:
            manifests.setdefault(manifest, []).append(rule.title)
        if (named := rule.sha256sums or settings.transfer.sha256sums) is not None:
            sums.setdefault(named, []).append(rule.title)
    return [
        *(Proof.wanted(job, path, None, titles) for path, titles in manifests.items()),
        *(Proof.wanted(job, None, path, titles) for path, titles in sums.items()),
    ]


@dataclass(slots=True)
class _Signals:
    """SIGTERM and SIGINT end, SIGHUP reloads; all wake the main thread."""

    ending: threading.Event = field(default_factory=threading.Event)
    woken: threading.Event = field(default_factory=threading.Event)
    shall_reload: bool = False
    received: signal.Signals | None = None

    def handled(self) -> AbstractContextManager[None]:
        return handling((signal.SIGINT, *TERMINATION), self._handle)

    def _handle(self, number: signal.Signals) -> None:
        if number is signal.SIGHUP:
            self.shall_reload = True
        else:
            self.received = number
            self.ending.set()
        self.woken.set()

    def end(self) -> None:
        self.ending.set()
        self.woken.set()


class _Service:
    """The headless service: a runner, the watches, and what the system wants to know of them."""

    def __init__(
        self,
        records: Records,
        sender: S3Sender,
        settings: Settings,
        read_settings: Callable[[], Settings],
        options: WatchOptions,
        report: WatchReport,
    ) -> None:
        self._report = report
        self._read_settings = read_settings
        self._options = options
        self._notifier = Notifier(os.environ)
        identity = RunnerIdentity(deployment=records.deployment)
        self._settings = settings
        pipeline = pipeline_for(runner_interest(identity.host), watch_interest(identity.host))
        self._feed = ChangeFeed(records.uploads.collection, pipeline=pipeline, before=False, capacity=0)
        self._runner = Runner(
            records,
            sender,
            Limits.of(settings.transfer),
            kind="watch",
            identity=identity,
            feed=self._feed,
            schedule=settings.schedule,
        )
        self._watches = WatchService(
            records,
            sender,
            settings.s3,
            settings.transfer,
            host=identity.host,
            holder=identity.name,
            notify=report,
            feed=self._feed,
        )

    def run(self, rules: Sequence[WatchRule]) -> int:
        """Until a signal; gives the exit code."""
        signals = _Signals()
        self._report.on_problem = signals.end  # a service that nobody hears is better started again
        with signals.handled(), ExitStack() as stack:
            if self._options.metrics_port is not None:
                server = MetricsServer(
                    self._options.metrics_host, self._options.metrics_port, read=self._read, health=self._health
                )
                stack.callback(server.close)
            stack.callback(self._feed.close)
            stack.callback(self._runner.stop, _STOP_SECONDS)
            stack.callback(self._watches.stop, _STOP_SECONDS)
            self._runner.follow(Policy.of(self._settings, rules=rules))
            self._watches.start(rules)
            self._runner.start()
            self._notifier.ready(self._health()[1])
            self._wait(signals)
            self._notifier.stopping()
        return INTERRUPTED if signals.received is signal.SIGINT else 0

    def _wait(self, signals: _Signals) -> None:
        while not signals.ending.is_set():
            signals.woken.wait(self._tick_seconds())
            signals.woken.clear()
            if signals.shall_reload:
                signals.shall_reload = False
                self._reload()
            is_well, line = self._health()
            if is_well:
                self._notifier.alive(line)

    def _tick_seconds(self) -> float:
        watchdog = self._notifier.watchdog_seconds
        return _TICK_SECONDS if watchdog is None else min(_TICK_SECONDS, watchdog / 3)

    def _reload(self) -> None:
        """Rules alone: what is wrong in the new ones is said, and the old ones hold."""
        self._notifier.reloading()
        try:
            rules = rules_of(self._read_settings(), self._options)
            _require_keys(rules)
            self._watches.follow(rules)
            self._runner.follow(Policy.of(self._settings, rules=rules))
        except (ConsoleError, PyMongoError) as error:
            message = error.message if isinstance(error, ConsoleError) else str(error)
            _log.error("the rules stay as they are: %s", message)
        self._notifier.ready(self._health()[1])

    def _health(self) -> tuple[bool, str]:
        """Whether every watch has its thread, and a line that tells how they are."""
        watchers = self._watches.watchers()
        working = sum(watcher.state in _WORKING for watcher in watchers)
        queued = sum(watcher.pending.queued for watcher in watchers)
        line = f"{working} of {count(len(watchers), 'folder')} watched, {count(queued, 'upload')} queued"
        return all(watcher.is_alive for watcher in watchers), line

    def _read(self) -> list[WatchReading]:
        return [
            WatchReading(
                watcher.rule.title,
                self._watches.last_heartbeat(watcher),
                watcher.state in _WORKING,
                watcher.pending.queued,
                watcher.counters.overflows,
                watcher.counters.scans,
                watcher.counters.scan_seconds,
            )
            for watcher in self._watches.watchers()
        ]
