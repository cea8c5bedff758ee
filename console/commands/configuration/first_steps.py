"""`init`: asks where MongoDB and S3 are, tries them, and writes a configuration that `doctor` passes.

The file may hold a password: it is made for its user alone, and one that is there already stays as it is.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import typer

from console.cli.selection import can_ask
from console.commands.doctor import Grade, examine
from console.errors import ConfigurationError, ConsoleError, UsageError
from console.formatting import visible
from console.private_files import make_missing_folders, write_private
from console.settings import Settings, load, user_file

_QUESTIONS: Final = (
    (
        "mongodb.uri",
        "MongoDB connection string (a user of another database than the default one needs ?authSource=…)",
        "mongodb://localhost:27017",
    ),
    ("s3.endpoint_url", "Address of S3 (nothing for AWS), such as https://s3.example.com:9000", ""),
    ("s3.region", "Region (nothing: AWS_REGION or the profile's; us-east-1 where there is an address)", ""),
    ("s3.bucket", "Bucket", None),
    ("s3.prefix", "Prefix of all keys", ""),
)
_HEAD: Final = "# Written by `upload-console init`. `upload-console config --example` explains every setting.\n"


def run(given: Mapping[str, str | None], file: Path | None, *, yes: bool) -> int:
    """Ask for what is not `given`, try it, and write the file. Returns 0, or 3 where it does not work and was not
    written.

    Raises:
        UsageError: the file is there already, or nobody can be asked.
    """
    file = (file or user_file()).expanduser().absolute()
    if file.exists() or file.is_symlink():
        raise UsageError(
            f"{visible(str(file))} is there already",
            advice="Change it (`upload-console config` shows what holds), or name another file with --config.",
        )
    answers: dict[str, str] = {}
    while True:
        answers = _ask(given, answers)
        settings = _settings(answers)
        if settings is not None and examine(settings) is not Grade.BAD:
            break
        if yes and settings is not None:
            break
        if not can_ask() or not typer.confirm("\nAnswer again?", default=True, err=True):
            sys.stderr.write("Nothing was written.\n")
            return 3
        given = {}
    write(file, answers)
    sys.stdout.write(f"\n{visible(str(file))} is written. Next: `upload-console`, or `upload-console upload PATH`.\n")
    return 0


def _ask(given: Mapping[str, str | None], before: Mapping[str, str]) -> dict[str, str]:
    answers: dict[str, str] = {}
    for key, question, default in _QUESTIONS:
        value = given.get(key)
        if value is None and not can_ask():
            if default is None:
                raise UsageError(f"{key} is not given, and there is no terminal to ask", advice="Give it as a flag.")
            value = default
        if value is None:
            known = before.get(key, default)
            shown = (known is not None and key != "mongodb.uri") or not before
            value = typer.prompt(question, default=known, show_default=bool(known) and shown, err=True)
        answers[key] = str(value).strip()
    return answers


def _settings(answers: Mapping[str, str]) -> Settings | None:
    """What the answers make, or None: then it was said what is wrong with them."""
    try:
        return load(None, {}, {key: value for key, value in answers.items() if value})
    except ConfigurationError as error:
        sys.stderr.write(f"{error.message}\n")
    except ConsoleError as error:
        sys.stderr.write(f"{error.title}: {error.message}\n")
    return None


def text_of(answers: Mapping[str, str]) -> str:
    """The file: a table for each section, without what was not answered."""
    lines = [_HEAD]
    table = ""
    for key, value in answers.items():
        section, _, name = key.partition(".")
        if not value:
            continue
        if section != table:
            table = section
            lines.append(f"\n[{section}]\n")
        lines.append(f"{name} = {_text(value)}\n")
    return "".join(lines)


def _text(value: Any) -> str:
    """TOML's basic strings are JSON's."""
    return json.dumps(str(value), ensure_ascii=False)


def write(file: Path, answers: Mapping[str, str]) -> None:
    """Write the file for its user alone.

    Raises:
        UsageError: it cannot be written.
    """
    try:
        make_missing_folders(file.parent)
        write_private(file, text_of(answers), is_new=True)
    except OSError as error:
        raise UsageError(f"{visible(str(file))}: {error.strerror}", advice="Name another file with --config.") from None
