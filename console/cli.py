"""The command line: commands, flags and exit codes.

Owns what is typed and how it is explained. No logic: each command calls `console.commands.<name>.run`, imported only
then, so that `--help` and `--version` start no server library.

Exit codes: 0 done, 1 an upload failed, 2 wrong usage or configuration, 3 a server cannot be reached, 130 interrupted.
"""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from console import __version__

if TYPE_CHECKING:
    from console.config import Settings

app = typer.Typer(
    name="upload-console",
    help="Uploads to S3, each one a MongoDB document, watched through its change stream.",
    epilog="Exit codes: 0 done, 1 an upload failed, 2 wrong usage or settings, 3 server out of reach, 130 interrupted.",
    no_args_is_help=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

ConfigFile = Annotated[Path | None, typer.Option("--config", help="Configuration file (TOML).", metavar="FILE")]
MongoUri = Annotated[str | None, typer.Option("--mongodb-uri", help="MongoDB, as PyMongo takes it.", metavar="URI")]
S3Endpoint = Annotated[str | None, typer.Option("--s3-endpoint", help="S3 endpoint; AWS if none.", metavar="URL")]
Bucket = Annotated[str | None, typer.Option("--bucket", help="Bucket to upload to.", metavar="NAME")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON lines instead of text.")]
Ids = Annotated[list[str] | None, typer.Argument(help="Upload ids, or their unambiguous ends.", metavar="[ID]...")]
All = Annotated[bool, typer.Option("--all", help="Every upload that the command applies to.")]
Status = Annotated[list[str] | None, typer.Option("--status", help="Only uploads of this status.", metavar="STATUS")]
Match = Annotated[str | None, typer.Option("--match", help="Only documents that match.", metavar="JSON")]
Detach = Annotated[
    bool, typer.Option("--detach", help="Only record the intent; some runner of the host carries it out.")
]
Directory = Annotated[Path | None, typer.Option("--dir", help="Keep the servers' data in this folder.", metavar="DIR")]


@dataclass(frozen=True, slots=True)
class Shared:
    """The flags that every command has."""

    config: Path | None
    mongodb_uri: str | None
    s3_endpoint: str | None
    bucket: str | None

    def settings(self, **flags: Any) -> Settings:
        """Settings from file, environment and flags; `flags` as `section__key=value`."""
        from console.config import FILE_VARIABLE, find_file, load

        named = self.config or (Path(value) if (value := os.environ.get(FILE_VARIABLE)) else None)
        given = {name.replace("__", "."): value for name, value in flags.items()}
        shared = {
            "mongodb.uri": self.mongodb_uri,
            "s3.endpoint_url": self.s3_endpoint,
            "s3.bucket": self.bucket,
        }
        return load(find_file(named), os.environ, {**shared, **given})


def _shared_flags(function: Callable[..., int]) -> Callable[..., None]:
    """Add the shared flags to a command, which gets them as its first argument; its result is the exit code."""
    own = list(inspect.signature(function, eval_str=True).parameters.values())[1:]
    flags = {"config": ConfigFile, "mongodb_uri": MongoUri, "s3_endpoint": S3Endpoint, "bucket": Bucket}
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
        for name, annotation in flags.items()
    ]

    @functools.wraps(function)
    def command(**values: Any) -> None:
        shared = Shared(**{name: values.pop(name) for name in flags})
        raise typer.Exit(function(shared, **values))

    keyword_only = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own]
    command.__signature__ = inspect.Signature([*keyword_only, *added])  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in (*keyword_only, *added)}
    return command


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"upload-console {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    config: ConfigFile = None,
    mongodb_uri: MongoUri = None,
    s3_endpoint: S3Endpoint = None,
    bucket: Bucket = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Without a command: the full-screen console on the configured MongoDB and S3."""
    if context.invoked_subcommand is not None:
        if any(value is not None for value in (config, mongodb_uri, s3_endpoint, bucket)):
            raise typer.BadParameter(f"put these flags behind {context.invoked_subcommand}", param_hint="flags")
        return
    from console.commands.fullscreen import run

    raise typer.Exit(run(Shared(config, mongodb_uri, s3_endpoint, bucket).settings()))


@app.command()
def demo(directory: Directory = None) -> None:
    """The console on an embedded MongoDB and S3, with sample files. Nothing to configure."""
    from console.commands.demo import run

    raise typer.Exit(run(directory))


@app.command()
def services(directory: Directory = None, as_json: AsJson = False) -> None:
    """Run only the embedded servers, until interrupted; --json prints one line when both answer."""
    from console.commands.services import run

    raise typer.Exit(run(directory=directory, as_json=as_json))


@app.command()
@_shared_flags
def upload(
    shared: Shared,
    paths: Annotated[list[Path], typer.Argument(help="Files and folders.", metavar="PATH...")],
    to: Annotated[str | None, typer.Option("--to", help="s3://bucket/prefix.", metavar="URL")] = None,
    as_json: AsJson = False,
    detach: Detach = False,
) -> int:
    """Upload files and folders without a screen; exit 0 only if all completed."""
    from console.commands.upload import run

    return run(shared.settings(), paths, to=to, as_json=as_json, detach=detach)


@app.command()
@_shared_flags
def events(
    shared: Shared,
    namespace: Annotated[
        str | None, typer.Option(help="db or db.collection; '*' for the whole deployment.", metavar="NAME")
    ] = None,
    since: Annotated[str | None, typer.Option(help="15m, 2h, a date, or a resume token.", metavar="WHEN")] = None,
    until: Annotated[str | None, typer.Option(help="End at this time: a date, or 5m from now.", metavar="WHEN")] = None,
    match: Match = None,
    limit: Annotated[int | None, typer.Option(min=1, help="End after so many events.")] = None,
    resume_file: Annotated[
        Path | None, typer.Option(help="Keep the place in this file and go on from there.", metavar="FILE")
    ] = None,
    record: Annotated[Path | None, typer.Option(help="Write all events to this file.", metavar="FILE")] = None,
    replay: Annotated[
        Path | None, typer.Option(help="Show a recorded file instead of a server.", metavar="FILE")
    ] = None,
    speed: Annotated[float, typer.Option(min=0, help="Of a replay: 1 as it was, 0 as fast as possible.")] = 0.0,
    as_json: AsJson = False,
) -> int:
    """Inspect change events of any namespace: full screen, or extended-JSON lines with --json."""
    from console.commands.events import EventOptions, run

    options = EventOptions(
        namespace=namespace,
        since=since,
        until=until,
        match=match,
        limit=limit,
        resume_file=resume_file,
        record=record,
        replay=replay,
        speed=speed,
        as_json=as_json,
    )
    return run(shared.settings(), options)


@app.command(name="list")
@_shared_flags
def list_uploads(
    shared: Shared,
    ids: Ids = None,
    status: Status = None,
    match: Match = None,
    limit: Annotated[int, typer.Option(min=0, help="At most so many, newest first; 0 for all.")] = 100,
    as_json: AsJson = False,
) -> int:
    """List uploads, newest first."""
    from console.commands.listing import run
    from console.commands.selection import Selection

    return run(shared.settings(), Selection(ids or (), status or (), match, all=True), limit=limit, as_json=as_json)


def _intent(shared: Shared, name: str, ids: Ids, everything: bool, status: Status, match: Match, **more: Any) -> int:
    from console.commands.intents import Intent, run
    from console.commands.selection import Selection

    return run(shared.settings(), Intent(name), Selection(ids or (), status or (), match, all=everything), **more)


@app.command()
@_shared_flags
def pause(
    shared: Shared,
    ids: Ids = None,
    everything: All = False,
    status: Status = None,
    match: Match = None,
    as_json: AsJson = False,
) -> int:
    """Pause uploads, on whichever host they run; parts that arrived are kept."""
    return _intent(shared, "pause", ids, everything, status, match, as_json=as_json)


@app.command()
@_shared_flags
def resume(
    shared: Shared,
    ids: Ids = None,
    everything: All = False,
    status: Status = None,
    match: Match = None,
    detach: Detach = False,
    as_json: AsJson = False,
) -> int:
    """Resume paused uploads behind the parts that arrived."""
    return _intent(shared, "resume", ids, everything, status, match, detach=detach, as_json=as_json)


@app.command()
@_shared_flags
def cancel(
    shared: Shared,
    ids: Ids = None,
    everything: All = False,
    status: Status = None,
    match: Match = None,
    as_json: AsJson = False,
) -> int:
    """Cancel uploads and drop the parts that arrived."""
    return _intent(shared, "cancel", ids, everything, status, match, as_json=as_json)


@app.command()
@_shared_flags
def retry(
    shared: Shared,
    ids: Ids = None,
    everything: All = False,
    status: Status = None,
    match: Match = None,
    detach: Detach = False,
    as_json: AsJson = False,
) -> int:
    """Start failed and cancelled uploads again."""
    return _intent(shared, "retry", ids, everything, status, match, detach=detach, as_json=as_json)


@app.command()
@_shared_flags
def delete(
    shared: Shared,
    ids: Ids = None,
    everything: All = False,
    status: Status = None,
    match: Match = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> int:
    """Remove objects from S3 and their records; asks first."""
    return _intent(shared, "delete", ids, everything, status, match, yes=yes, as_json=as_json)


@app.command()
@_shared_flags
def verify(
    shared: Shared,
    ids: Ids = None,
    everything: All = False,
    status: Status = None,
    match: Match = None,
    as_json: AsJson = False,
) -> int:
    """Compare objects and files again, byte for byte through their checksums."""
    from console.commands.selection import Selection
    from console.commands.verify import run

    return run(shared.settings(), Selection(ids or (), status or (), match, all=everything), as_json=as_json)


@app.command()
@_shared_flags
def sweep(
    shared: Shared,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> int:
    """List multipart uploads in the bucket that no record owns, and abort them after asking."""
    from console.commands.sweep import run

    return run(shared.settings(), yes=yes, as_json=as_json)


@app.command()
@_shared_flags
def doctor(shared: Shared, as_json: AsJson = False) -> int:
    """Check MongoDB, change streams, rights, bucket, checksums and terminal; each finding with its mend."""
    from console.commands.doctor import run

    return run(shared.settings(), as_json=as_json)
