"""Flags that several commands have: what they are called, what they say, and how they come together.

Owns the groups `shared` (where the servers are) and `chosen` (which uploads). Not here: the commands (`cli`).
"""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer

if TYPE_CHECKING:
    from console.commands.selection import Selection
    from console.config import Settings

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
    str | None, typer.Option("--mongodb-uri", help="MongoDB connection string. Default: mongodb.uri.", metavar="URI")
]
S3Endpoint = Annotated[
    str | None, typer.Option("--s3-endpoint", help="S3 endpoint. Default: s3.endpoint_url, else AWS.", metavar="URL")
]
Bucket = Annotated[
    str | None, typer.Option("--bucket", help="Bucket to upload to. Default: s3.bucket.", metavar="NAME")
]
AsJson = Annotated[bool, typer.Option("--json", help="JSON lines instead of text.")]
Ids = Annotated[list[str] | None, typer.Argument(help="Upload ids, or their last characters if unique.", metavar="ID")]
All = Annotated[bool, typer.Option("--all", help="Every upload that the command applies to.")]
Status = Annotated[
    list[str] | None,
    typer.Option(
        "--status",
        # As `models` has them, which takes long to import.
        help="Only uploads of this status (pending, uploading, paused, completed, failed, cancelled); may be repeated.",
        metavar="STATUS",
    ),
]
Match = Annotated[
    str | None, typer.Option("--match", help="Only uploads whose documents match this MongoDB query.", metavar="JSON")
]
Detach = Annotated[
    bool, typer.Option("--detach", help="Record the intent and end; a runner on this host carries it out.")
]
Duplicates = Annotated[
    Literal["overwrite", "skip_identical", "new_name", "fail"] | None,  # as `models` has it, which takes long to import
    typer.Option(help="What to do if the key exists. Default: transfer.duplicates."),
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


@dataclass(frozen=True, slots=True)
class Chosen:
    """The flags that say which uploads a command is about."""

    ids: list[str] | None
    everything: bool
    status: list[str] | None
    match: str | None

    @property
    def selection(self) -> Selection:
        """As the commands take it."""
        from console.commands.selection import Selection

        return Selection(self.ids or (), self.status or (), self.match, all=self.everything)


_GROUPS: Final[dict[str, tuple[type[Shared | Chosen], dict[str, tuple[Any, Any]]]]] = {
    "shared": (
        Shared,
        {
            "config": (ConfigFile, None),
            "mongodb_uri": (MongoUri, None),
            "s3_endpoint": (S3Endpoint, None),
            "bucket": (Bucket, None),
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
