"""The command line: commands, flags and exit codes.

Owns what is typed and how it is explained. No logic: each command calls `console.commands.<name>.run`, imported only
then, so that `--help` and `--version` start no server library.

Exit codes: 0 done, 1 an upload failed, 2 wrong usage or configuration, 3 a server cannot be reached, 130 interrupted.
"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from console import __version__
from console.cli import flags
from console.cli.flags import AsJson, Chosen, Commands, Detach, Shared, with_flags
from console.cli.upload_flags import SettingFlags

app = typer.Typer(
    name="upload-console",
    cls=Commands,
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
    config: flags.ConfigFile = None,
    mongodb_uri: flags.MongoUri = None,
    s3_endpoint: flags.S3Endpoint = None,
    bucket: flags.Bucket = None,
    verbose: flags.Verbose = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Without a command: the full-screen console on the configured MongoDB and S3."""
    if context.invoked_subcommand is not None:
        if verbose or any(value is not None for value in (config, mongodb_uri, s3_endpoint, bucket)):
            command = context.invoked_subcommand
            raise typer.BadParameter(
                f"put these options after the command: `upload-console {command} --bucket …`", param_hint="options"
            )
        return
    from console.commands.console import run

    raise typer.Exit(run(Shared(config, mongodb_uri, s3_endpoint, bucket, verbose).settings()))


@app.command()
def demo(directory: flags.Directory = None) -> None:
    """The console on an embedded MongoDB and S3, with sample files. Nothing to configure."""
    from console.commands.demo import run

    raise typer.Exit(run(directory))


@app.command()
def services(directory: flags.Directory = None, as_json: AsJson = False) -> None:
    """Run only the embedded servers, until interrupted; --json prints one line when both answer."""
    from console.commands.demo import run_services

    raise typer.Exit(run_services(directory=directory, as_json=as_json))


@app.command()
@with_flags
def upload(
    shared: Shared,
    given: SettingFlags,
    paths: flags.Paths = None,
    to: flags.Destination = None,
    name: flags.PipeName = None,
    size: flags.PipeSize = None,
    files_from: flags.FilesFrom = None,
    report: flags.ReportFile = None,
    dry_run: flags.UploadDryRun = False,
    delete: flags.DeleteSurplus = False,
    yes: flags.Yes = False,
    duplicates: flags.Duplicates = None,
    as_json: AsJson = False,
    detach: Detach = False,
    here: flags.Here = False,
) -> int:
    """Upload files and folders without a screen; exit 0 only if all completed."""
    from console.commands.upload import UploadOptions, run

    options = UploadOptions(
        to=to,
        name=name,
        size=size,
        files_from=files_from,
        report=report,
        dry_run=dry_run,
        delete=delete,
        yes=yes,
        as_json=as_json,
        detach=detach,
        here=here,
        duplicates=duplicates,
        given=frozenset(given.overrides),
    )
    return run(shared.settings(**given.overrides), paths or [], options)


@app.command()
@with_flags
def events(
    shared: Shared,
    namespace: flags.Namespace = None,
    since: flags.Since = None,
    until: flags.Until = None,
    match: flags.EventMatch = None,
    limit: flags.EventLimit = None,
    resume_file: flags.ResumeFile = None,
    record: flags.Record = None,
    replay: flags.Replay = None,
    speed: flags.Speed = 0.0,
    as_json: AsJson = False,
    canonical: flags.Canonical = False,
) -> int:
    """Inspect change events of any namespace: full screen, lines in a pipe, extended-JSON lines with --json."""
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
    ids: flags.Ids = None,
    status: flags.Status = None,
    match: flags.Match = None,
    limit: flags.ListLimit = 100,
    as_json: AsJson = False,
) -> int:
    """List uploads, newest first."""
    from console.cli.selection import Selection
    from console.commands.list import run

    return run(shared.settings(), Selection(ids or (), status or (), match, all=True), limit=limit, as_json=as_json)


def _change(shared: Shared, name: str, chosen: Chosen, **more: Any) -> int:
    from console.commands.change_uploads import UploadCommand, run

    return run(shared.settings(), UploadCommand(name), chosen.selection, **more)


@app.command()
@with_flags
def pause(shared: Shared, chosen: Chosen, as_json: AsJson = False) -> int:
    """Pause uploads, on whichever host they run; parts already in S3 are kept."""
    return _change(shared, "pause", chosen, as_json=as_json)


@app.command()
@with_flags
def resume(shared: Shared, chosen: Chosen, detach: Detach = False, as_json: AsJson = False) -> int:
    """Resume paused uploads from the first missing part, and wait until they finish (unless --detach)."""
    return _change(shared, "resume", chosen, detach=detach, as_json=as_json)


@app.command()
@with_flags
def cancel(shared: Shared, chosen: Chosen, as_json: AsJson = False) -> int:
    """Cancel uploads; parts already in S3 are removed."""
    return _change(shared, "cancel", chosen, as_json=as_json)


@app.command()
@with_flags
def retry(shared: Shared, chosen: Chosen, detach: Detach = False, as_json: AsJson = False) -> int:
    """Retry failed and cancelled uploads, and wait until they finish (unless --detach)."""
    return _change(shared, "retry", chosen, detach=detach, as_json=as_json)


@app.command()
@with_flags
def priority(
    shared: Shared,
    chosen: Chosen,
    by: flags.By = 1,
    as_json: AsJson = False,
) -> int:
    """Raise or lower the priority of uploads."""
    return _change(shared, "priority", chosen, by=by, as_json=as_json)


@app.command()
@with_flags
def limits(
    shared: Shared,
    runners: flags.Runners = None,
    bandwidth: flags.Bandwidth = None,
    uploads: flags.ParallelUploads = None,
    parts: flags.ParallelParts = None,
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
    yes: flags.Yes = False,
    as_json: AsJson = False,
) -> int:
    """Remove objects from S3 and their records; asks first."""
    return _change(shared, "delete", chosen, yes=yes, as_json=as_json)


@app.command()
@with_flags
def watch(
    shared: Shared,
    folders: flags.Folders = None,
    to: flags.WatchDestination = None,
    once: flags.Once = False,
    dry_run: flags.DryRun = False,
    metrics_port: flags.MetricsPort = None,
    metrics_host: flags.MetricsHost = "127.0.0.1",
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
def verify(shared: Shared, chosen: Chosen, manifest: flags.Manifest = None, as_json: AsJson = False) -> int:
    """Compare each object's checksum with its file again, or with a manifest; nothing is downloaded."""
    if manifest is not None:
        if chosen.ids or chosen.everything or chosen.status or chosen.match:
            raise typer.BadParameter("a manifest says by itself which objects are meant", param_hint="--manifest")
        from console.commands.upload_modes.manifest import verify_manifest

        return verify_manifest(shared.settings(), manifest, as_json=as_json)
    from console.commands.verify import run

    return run(shared.settings(), chosen.selection, as_json=as_json)


@app.command()
@with_flags
def manifest(shared: Shared, file: flags.NewManifest, chosen: Chosen) -> int:
    """Write a sealed manifest of completed uploads: of a watch, a day, a job; `verify --manifest` checks it."""
    from console.commands.upload_modes.manifest import export_manifest

    return export_manifest(shared.settings(), file, chosen.selection)


@app.command()
@with_flags
def sweep(
    shared: Shared,
    older_than: flags.OlderThan = 300.0,
    yes: flags.Yes = False,
    as_json: AsJson = False,
) -> int:
    """List multipart uploads in the bucket that no record owns, and abort them after asking."""
    from console.commands.sweep import run

    return run(shared.settings(), older_than=older_than, yes=yes, as_json=as_json)


@app.command()
@with_flags
def setup(shared: Shared, adopt: flags.Adopt = False) -> int:
    """Set up the collection of uploads; asks first where others use it too. Other commands set up one of our own."""
    from console.commands.doctor import set_up

    return set_up(shared.settings(), adopt=adopt)


@app.command()
@with_flags
def doctor(shared: Shared, as_json: AsJson = False) -> int:
    """Check MongoDB, change streams, rights, bucket, checksums and terminal, and say how to fix what is wrong."""
    from console.commands.doctor import run

    return run(shared.settings(), as_json=as_json)


@app.command(name="config")
@with_flags
def show_config(shared: Shared, example: flags.Example = False, as_json: AsJson = False) -> int:
    """Show which settings hold and where each comes from: file, environment, flag or default; no secret is shown."""
    from console.commands.configuration import show

    return show.show_example() if example else show.run(shared.settings(), as_json=as_json)


@app.command()
@with_flags
def init(shared: Shared, yes: flags.Write = False) -> int:
    """Ask where MongoDB and S3 are, try them, and write a first configuration (--config FILE, or the user's own)."""
    from console.commands.configuration.first_steps import run

    given = {"mongodb.uri": shared.mongodb_uri, "s3.endpoint_url": shared.s3_endpoint, "s3.bucket": shared.bucket}
    return run(given, shared.config, yes=yes)


def make_only(called: str, commands: typer.Typer = app) -> None:
    """Of the commands make the one that is called, if it is one: to make them all is a tenth of a start."""
    alone = [
        each for each in commands.registered_commands if called in (each.name, getattr(each.callback, "__name__", ""))
    ]
    if alone:
        commands.registered_commands = alone


@app.command()
@with_flags
def serve(shared: Shared, port: flags.Port = 8017) -> int:
    """Serve the console to a browser on this host, at an address with a token; needs the extra `serve`."""
    from console.commands.console.served import run

    shared.settings()  # what is wrong is said here, and not in the browser
    named = {"--config": shared.config, "--s3-endpoint": shared.s3_endpoint, "--bucket": shared.bucket}
    arguments = [part for flag, value in named.items() if value is not None for part in (flag, str(value))]
    return run(arguments, mongodb_uri=shared.mongodb_uri, port=port)
