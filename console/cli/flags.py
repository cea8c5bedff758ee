"""Flags: what they are called, what they say, and how they come together.

Owns each flag, and the groups `shared` (where the servers are) and `chosen` (which uploads). Not here: the commands
(`cli`).
"""

from __future__ import annotations

import functools
import inspect
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from typer.core import TyperGroup

from console.choices import MOST_PARALLEL, DuplicatePolicy
from console.cli.completion import complete_id, complete_status
from console.cli.upload_flags import SETTING_FLAGS, SettingFlags
from console.quantities import read_bytes

if TYPE_CHECKING:
    from console.cli.selection import Selection
    from console.settings import Settings

ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config",
        help="Configuration file (TOML). Default: UPLOAD_CONSOLE_CONFIG, ./config.toml, then the user's configuration "
        "folder.",
        metavar="FILE",
    ),
]
MongoUri = Annotated[
    str | None,
    typer.Option(
        "--mongodb-uri",
        help="MongoDB connection string. A password in it is visible to all users of this host in `ps`: set "
        "UPLOAD_CONSOLE_MONGODB__URI or mongodb.uri_file for that. Default: mongodb.uri.",
        metavar="URI",
    ),
]
S3Endpoint = Annotated[
    str | None, typer.Option("--s3-endpoint", help="S3 endpoint. Default: s3.endpoint_url, else AWS.", metavar="URL")
]
Bucket = Annotated[
    str | None, typer.Option("--bucket", help="Bucket to upload to. Default: s3.bucket.", metavar="NAME")
]
Verbose = Annotated[bool, typer.Option("--verbose", help="Say which configuration file is read, on standard error.")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON lines instead of text.")]
Ids = Annotated[
    list[str] | None,
    typer.Argument(help="Upload ids, or their last characters if unique.", metavar="ID", autocompletion=complete_id),
]
All = Annotated[bool, typer.Option("--all", help="Every upload that the command applies to.")]
Status = Annotated[
    list[str] | None,
    typer.Option(
        "--status",
        # As `models` has them, which takes long to import.
        help="Only uploads of this status (pending, uploading, paused, completed, failed, cancelled); may be repeated.",
        metavar="STATUS",
        autocompletion=complete_status,
    ),
]
Match = Annotated[
    str | None, typer.Option("--match", help="Only uploads whose documents match this MongoDB query.", metavar="JSON")
]
Detach = Annotated[
    bool, typer.Option("--detach", help="Record what is wanted and end; a runner on this host carries it out.")
]
Here = Annotated[
    bool,
    typer.Option(
        "--here", help="Carry them out in this process, by its own limits, also where a console or watch is at work."
    ),
]
Duplicates = Annotated[
    DuplicatePolicy | None,
    typer.Option(help="What to do if the key exists. Default: transfer.duplicates."),
]
Directory = Annotated[Path | None, typer.Option("--dir", help="Keep the servers' data in this folder.", metavar="DIR")]


def _named_path(text: str) -> Path:
    """To `Path` no name at all is the current folder: an unset variable of a script would send everything in it."""
    if not text:
        raise typer.BadParameter("a path is empty: an unset variable? For the current folder name `.`")
    return Path(text)


def _byte_count(text: str) -> int:
    """As sizes are written everywhere: 1000, or 5 GiB."""
    try:
        return read_bytes(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r}: expected a size such as 1048576 or 5 GiB") from None


Paths = Annotated[
    list[Path] | None,
    typer.Argument(help="Files and folders to upload; - is standard input.", metavar="PATH", parser=_named_path),
]
Manifest = Annotated[
    Path | None,
    typer.Option("--manifest", help="Compare the objects of this manifest, without MongoDB.", metavar="FILE"),
]
NewManifest = Annotated[
    Path, typer.Argument(help="The manifest to be written, or a folder for it.", metavar="FILE", show_default=False)
]
PipeName = Annotated[
    str | None, typer.Option("--name", help="Name of what comes from standard input (upload -).", metavar="NAME")
]
PipeSize = Annotated[
    int | None,
    typer.Option(
        "--size",
        help="Of upload -: so many bytes have to come, else it fails and nothing is stored. A program that dies ends "
        "its pipe like one that is done.",
        metavar="SIZE",
        parser=_byte_count,
    ),
]
FilesFrom = Annotated[
    str | None,
    typer.Option(
        "--files-from",
        help="Also the paths in this file, or in standard input (-): one a line, or separated by zero bytes. Relative "
        "ones start from PATH, where one folder is given, and keep their folders.",
        metavar="FILE",
    ),
]
ReportFile = Annotated[
    Path | None,
    typer.Option(
        "--report",
        help="Write what became of each file (sent, skipped, refused, failed) and a summary into this file, as JSON "
        "lines. A folder gets one for each job.",
        metavar="FILE",
    ),
]
DeleteSurplus = Annotated[
    bool,
    typer.Option(
        "--delete",
        help="Afterwards delete what is below the folder's destination and not in the folder: shows it and asks. "
        "Try it with --dry-run first.",
    ),
]
UploadDryRun = Annotated[
    bool,
    typer.Option("--dry-run", help="Say each key, what it would overwrite, and what is left out and why; no more."),
]
Destination = Annotated[
    str | None,
    typer.Option("--to", help="Destination, s3://bucket/prefix. Default: s3.bucket and s3.prefix.", metavar="URL"),
]
Namespace = Annotated[
    str | None, typer.Option(help="db or db.collection; '*' for the whole deployment.", metavar="NAME")
]
Since = Annotated[
    str | None, typer.Option(help="Begin here: 15m or 2h (before now), a date, or a resume token.", metavar="WHEN")
]
Until = Annotated[str | None, typer.Option(help="End before this time: a date, or 5m from now.", metavar="WHEN")]
EventMatch = Annotated[
    str | None, typer.Option(help="Only events that match: a filter line, or JSON.", metavar="FILTER")
]
EventLimit = Annotated[int | None, typer.Option(min=1, help="End after N events.", metavar="N")]
ResumeFile = Annotated[
    Path | None, typer.Option(help="Save the resume token in this file, and resume from it.", metavar="FILE")
]
Record = Annotated[Path | None, typer.Option(help="Also write all events to this file.", metavar="FILE")]
Replay = Annotated[Path | None, typer.Option(help="Show a recorded file instead of a server.", metavar="FILE")]
Speed = Annotated[float, typer.Option(min=0, help="Replay speed: 1 is real time, 0 as fast as possible.", metavar="X")]
Canonical = Annotated[bool, typer.Option("--canonical", help="Canonical extended JSON: every type is explicit.")]
ListLimit = Annotated[int, typer.Option(min=0, help="At most N, newest first; 0 for all.", metavar="N")]
By = Annotated[int, typer.Option(min=-1000, max=1000, help="Add N to the priority; may be negative.", metavar="N")]
Runners = Annotated[
    list[str] | None, typer.Argument(help="First characters of runners' names. Default: all runners.", metavar="RUNNER")
]
Bandwidth = Annotated[
    str | None, typer.Option(help="Bytes a second for all uploads of a runner; 0 for no limit.", metavar="SIZE")
]
ParallelUploads = Annotated[
    str | None, typer.Option(help=f"Parallel uploads: 1 to {MOST_PARALLEL}, or auto.", metavar="N")
]
ParallelParts = Annotated[str | None, typer.Option(help=f"Parallel parts: 1 to {MOST_PARALLEL}, or auto.", metavar="N")]
Adopt = Annotated[
    bool, typer.Option("--adopt", help="Without asking, also where the collection holds documents that are no uploads.")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")]
Folders = Annotated[
    list[Path] | None,
    typer.Argument(
        help="Folders to watch. Default: the \\[\\[watch]] tables of the configuration.",
        metavar="DIR",
        parser=_named_path,
    ),
]
WatchDestination = Annotated[
    str | None, typer.Option("--to", help="Destination of these folders, s3://bucket/prefix.", metavar="URL")
]
Once = Annotated[bool, typer.Option("--once", help="Send the files that are there, then end.")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Report what would be sent and what not, and why; change nothing.")
]
MetricsPort = Annotated[
    int | None, typer.Option(min=0, max=65535, help="Serve /metrics (OpenMetrics) and /healthz.", metavar="PORT")
]
MetricsHost = Annotated[str, typer.Option(help="Address for --metrics-port.", metavar="HOST")]
Example = Annotated[bool, typer.Option("--example", help="Print config.example.toml, which explains every setting.")]
Write = Annotated[bool, typer.Option("--yes", "-y", help="Write the file also where doctor finds something wrong.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="Port on this host; 0 for any free one.", metavar="PORT")]
OlderThan = Annotated[
    float,
    typer.Option(
        "--older-than", help="Leave younger ones alone: their records may not be written yet.", metavar="SECONDS", min=0
    ),
]


@dataclass(frozen=True, slots=True)
class Shared:
    """The flags that every command has."""

    config: Path | None
    mongodb_uri: str | None
    s3_endpoint: str | None
    bucket: str | None
    verbose: bool = False

    def settings(self, **flags: Any) -> Settings:
        """Settings from file, environment and flags; `flags` as `section__key=value`."""
        from console.settings import FILE_VARIABLE, find_file, load

        named = self.config or (Path(value) if (value := os.environ.get(FILE_VARIABLE)) else None)
        given = {name.replace("__", "."): value for name, value in flags.items()}
        shared = {
            "mongodb.uri": self.mongodb_uri,
            "s3.endpoint_url": self.s3_endpoint,
            "s3.bucket": self.bucket,
        }
        settings = load(find_file(named), os.environ, {**shared, **given})
        if self.verbose:
            sys.stderr.write(f"Configuration: {settings.origin}\n")
        for remark in settings.remarks:
            sys.stderr.write(f"Configuration: {remark}\n")
        return settings


@dataclass(frozen=True, slots=True)
class Chosen:
    """The flags that say which uploads a command is about."""

    ids: list[str] | None
    everything: bool
    status: list[str] | None
    match: str | None

    @property
    def selection(self) -> Selection:
        from console.cli.selection import Selection

        return Selection(self.ids or (), self.status or (), self.match, all=self.everything)


_GROUPS: Final[dict[str, tuple[type[Shared | Chosen | SettingFlags], dict[str, tuple[Any, Any]]]]] = {
    "given": (SettingFlags, {name: (annotation, None) for name, (_, annotation) in SETTING_FLAGS.items()}),
    "shared": (
        Shared,
        {
            "config": (ConfigFile, None),
            "mongodb_uri": (MongoUri, None),
            "s3_endpoint": (S3Endpoint, None),
            "bucket": (Bucket, None),
            "verbose": (Verbose, False),
        },
    ),
    "chosen": (
        Chosen,
        {"ids": (Ids, None), "everything": (All, False), "status": (Status, None), "match": (Match, None)},
    ),
}


def with_flags(function: Callable[..., int]) -> Callable[..., None]:
    """A command whose parameters `shared` and `chosen` stand for groups of flags; its result is the exit code."""
    flags: list[inspect.Parameter] = []
    groups: list[str] = []
    for parameter in inspect.signature(function, eval_str=True).parameters.values():
        if parameter.name not in _GROUPS:
            flags.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))
            continue
        groups.append(parameter.name)
        flags += [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
            for name, (annotation, default) in _GROUPS[parameter.name][1].items()
        ]

    @functools.wraps(function)
    def command(**values: Any) -> None:
        for group in groups:
            made, members = _GROUPS[group]
            values[group] = made(**{name: values.pop(name) for name in members})
        raise typer.Exit(function(**values))

    command.__signature__ = inspect.Signature(flags)  # type: ignore[attr-defined]
    command.__annotations__ = {flag.name: flag.annotation for flag in flags}
    return command


class Commands(TyperGroup):
    """The commands of a program, whose help says no type of Python; typer writes `<bool>` and `<list[Path]>`."""

    def get_params(self, ctx: Any) -> list[Any]:
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
        elif param.param_type_name == "argument":
            param.display_type_rich = _no_type
    return params


def _no_type(*_: Any, **__: Any) -> None:
    return None
