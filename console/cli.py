"""The command line: commands, flags and exit codes.

Owns what is typed and how it is explained. No logic: each command calls `console.commands.<name>.run`, imported only
then, so that `--help` and `--version` start no server library.

Exit codes: 0 done, 1 an upload failed, 2 wrong usage or configuration, 3 a server cannot be reached, 130 interrupted.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from console import __version__
from console.flags import (
    AsJson,
    Bucket,
    Chosen,
    ConfigFile,
    Detach,
    Directory,
    Duplicates,
    Ids,
    Match,
    MongoUri,
    S3Endpoint,
    Shared,
    Status,
    with_flags,
)


class _Group(TyperGroup):
    """Says no type beside the options that take no value; typer would write `<bool>`."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Those of the program itself."""
        return _without_types(super().get_params(ctx))

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """A command, with its options; `--help` too, which typer adds by itself."""
        command = super().get_command(ctx, cmd_name)
        if command is not None:
            _without_types(command.get_params(ctx))
        return command


def _without_types(params: list[Any]) -> list[Any]:
    for param in params:
        if getattr(param, "is_flag", False):
            param.metavar = ""
    return params


app = typer.Typer(
    name="upload-console",
    cls=_Group,
    help="A full-screen console for uploads to S3. Without a command it opens on the configured MongoDB and S3.",
    epilog="Exit codes: 0 done, 1 an upload failed, 2 wrong usage or configuration, 3 a server cannot be reached, "
    "130 interrupted.",
    no_args_is_help=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


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
            command = context.invoked_subcommand
            raise typer.BadParameter(
                f"put these options after the command: `upload-console {command} --bucket …`", param_hint="options"
            )
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
@with_flags
def upload(
    shared: Shared,
    paths: Annotated[list[Path], typer.Argument(help="Files and folders to upload.", metavar="PATH")],
    to: Annotated[
        str | None,
        typer.Option("--to", help="Destination, s3://bucket/prefix. Default: s3.bucket and s3.prefix.", metavar="URL"),
    ] = None,
    duplicates: Duplicates = None,
    as_json: AsJson = False,
    detach: Detach = False,
) -> int:
    """Upload files and folders without a screen; exit 0 only if all completed."""
    from console.commands.upload import run

    return run(shared.settings(), paths, to=to, as_json=as_json, detach=detach, duplicates=duplicates)


@app.command()
@with_flags
def events(
    shared: Shared,
    namespace: Annotated[
        str | None, typer.Option(help="db or db.collection; '*' for the whole deployment.", metavar="NAME")
    ] = None,
    since: Annotated[
        str | None, typer.Option(help="Begin here: 15m or 2h (before now), a date, or a resume token.", metavar="WHEN")
    ] = None,
    until: Annotated[
        str | None, typer.Option(help="End before this time: a date, or 5m from now.", metavar="WHEN")
    ] = None,
    match: Annotated[
        str | None, typer.Option(help="Only events that match: a filter line, or JSON.", metavar="FILTER")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="End after N events.", metavar="N")] = None,
    resume_file: Annotated[
        Path | None, typer.Option(help="Save the resume token in this file, and resume from it.", metavar="FILE")
    ] = None,
    record: Annotated[Path | None, typer.Option(help="Also write all events to this file.", metavar="FILE")] = None,
    replay: Annotated[
        Path | None, typer.Option(help="Show a recorded file instead of a server.", metavar="FILE")
    ] = None,
    speed: Annotated[
        float, typer.Option(min=0, help="Replay speed: 1 is real time, 0 as fast as possible.", metavar="X")
    ] = 0.0,
    as_json: AsJson = False,
    canonical: Annotated[
        bool, typer.Option("--canonical", help="Canonical extended JSON: every type is explicit.")
    ] = False,
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
        canonical=canonical,
    )
    return run(shared.settings(), options)


@app.command(name="list")
@with_flags
def list_uploads(
    shared: Shared,
    ids: Ids = None,
    status: Status = None,
    match: Match = None,
    limit: Annotated[int, typer.Option(min=0, help="At most N, newest first; 0 for all.", metavar="N")] = 100,
    as_json: AsJson = False,
) -> int:
    """List uploads, newest first."""
    from console.commands.listing import run
    from console.commands.selection import Selection

    return run(shared.settings(), Selection(ids or (), status or (), match, all=True), limit=limit, as_json=as_json)


def _intent(shared: Shared, name: str, chosen: Chosen, **more: Any) -> int:
    from console.commands.intents import Intent, run

    return run(shared.settings(), Intent(name), chosen.selection, **more)


@app.command()
@with_flags
def pause(shared: Shared, chosen: Chosen, as_json: AsJson = False) -> int:
    """Pause uploads, on whichever host they run; parts already in S3 are kept."""
    return _intent(shared, "pause", chosen, as_json=as_json)


@app.command()
@with_flags
def resume(shared: Shared, chosen: Chosen, detach: Detach = False, as_json: AsJson = False) -> int:
    """Resume paused uploads from the first missing part, and wait until they finish (unless --detach)."""
    return _intent(shared, "resume", chosen, detach=detach, as_json=as_json)


@app.command()
@with_flags
def cancel(shared: Shared, chosen: Chosen, as_json: AsJson = False) -> int:
    """Cancel uploads; parts already in S3 are removed."""
    return _intent(shared, "cancel", chosen, as_json=as_json)


@app.command()
@with_flags
def retry(shared: Shared, chosen: Chosen, detach: Detach = False, as_json: AsJson = False) -> int:
    """Retry failed and cancelled uploads, and wait until they finish (unless --detach)."""
    return _intent(shared, "retry", chosen, detach=detach, as_json=as_json)


@app.command()
@with_flags
def priority(
    shared: Shared,
    chosen: Chosen,
    by: Annotated[
        int, typer.Option(min=-1000, max=1000, help="Add N to the priority; may be negative.", metavar="N")
    ] = 1,
    as_json: AsJson = False,
) -> int:
    """Raise or lower the priority of uploads."""
    return _intent(shared, "priority", chosen, by=by, as_json=as_json)


@app.command()
@with_flags
def limits(
    shared: Shared,
    runners: Annotated[
        list[str] | None,
        typer.Argument(help="First characters of runners' names. Default: all runners.", metavar="RUNNER"),
    ] = None,
    bandwidth: Annotated[
        str | None, typer.Option(help="Bytes a second for all uploads of a runner; 0 for no limit.", metavar="SIZE")
    ] = None,
    uploads: Annotated[int | None, typer.Option(min=1, max=256, help="Parallel uploads.", metavar="N")] = None,
    parts: Annotated[int | None, typer.Option(min=1, max=256, help="Parallel parts.", metavar="N")] = None,
    as_json: AsJson = False,
) -> int:
    """Show or change what runners may use, on every host, while they work."""
    from console.commands.limits import Change, run

    return run(shared.settings(), runners or (), Change(bandwidth, uploads, parts), as_json=as_json)


@app.command()
@with_flags
def delete(
    shared: Shared,
    chosen: Chosen,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
    as_json: AsJson = False,
) -> int:
    """Remove objects from S3 and their records; asks first."""
    return _intent(shared, "delete", chosen, yes=yes, as_json=as_json)


@app.command()
@with_flags
def watch(
    shared: Shared,
    folders: Annotated[
        list[Path] | None,
        typer.Argument(help="Folders to watch. Default: the [[watch]] tables of the configuration.", metavar="DIR"),
    ] = None,
    to: Annotated[
        str | None, typer.Option("--to", help="Destination of these folders, s3://bucket/prefix.", metavar="URL")
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Send the files that are there, then end.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Report what would be sent and what not, and why; change nothing.")
    ] = False,
    metrics_port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Serve /metrics (OpenMetrics) and /healthz.", metavar="PORT")
    ] = None,
    metrics_host: Annotated[str, typer.Option(help="Address for --metrics-port.", metavar="HOST")] = "127.0.0.1",
    as_json: AsJson = False,
) -> int:
    """Upload new and changed files of folders, without a screen; SIGHUP reads the rules again."""
    from console.commands.watch import WatchOptions, run

    options = WatchOptions(
        folders=folders or (),
        to=to,
        once=once,
        dry_run=dry_run,
        as_json=as_json,
        metrics_port=metrics_port,
        metrics_host=metrics_host,
    )
    return run(shared.settings, options)


@app.command()
@with_flags
def verify(shared: Shared, chosen: Chosen, as_json: AsJson = False) -> int:
    """Compare each object's checksum with its file again; nothing is downloaded."""
    from console.commands.verify import run

    return run(shared.settings(), chosen.selection, as_json=as_json)


@app.command()
@with_flags
def sweep(
    shared: Shared,
    older_than: Annotated[
        float,
        typer.Option(
            "--older-than",
            help="Leave younger ones alone: their records may not be written yet.",
            metavar="SECONDS",
            min=0,
        ),
    ] = 300.0,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
    as_json: AsJson = False,
) -> int:
    """List multipart uploads in the bucket that no record owns, and abort them after asking."""
    from console.commands.sweep import run

    return run(shared.settings(), older_than=older_than, yes=yes, as_json=as_json)


@app.command()
@with_flags
def doctor(shared: Shared, as_json: AsJson = False) -> int:
    """Check MongoDB, change streams, rights, bucket, checksums and terminal, and say how to fix what is wrong."""
    from console.commands.doctor import run

    return run(shared.settings(), as_json=as_json)
