"""The flags of `upload` that are settings too: each has the name and the meaning of its key in the configuration.

Owns what they are called and say. Which key each one overrides is in `SETTING_FLAGS`; flags without a key are in
`cli.flags`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

import typer


class SettingFlags:
    """Those that were given, by the keys that they override."""

    def __init__(self, **values: Any) -> None:
        self.overrides: Mapping[str, Any] = {
            SETTING_FLAGS[name][0]: value for name, value in values.items() if value is not None and value != []
        }


def _texts(flag: str, help_text: str, metavar: str) -> Any:
    return Annotated[list[str] | None, typer.Option(flag, help=help_text, metavar=metavar)]


def _text(flag: str, help_text: str, metavar: str) -> Any:
    return Annotated[str | None, typer.Option(flag, help=help_text, metavar=metavar)]


def _switch(flag: str, help_text: str) -> Any:
    return Annotated[bool | None, typer.Option(flag, help=help_text)]


SETTING_FLAGS: Final[Mapping[str, tuple[str, Any]]] = {
    "include": (
        "select.include",
        _texts("--include", "Only files of this pattern, as in .gitignore; may be repeated.", "PATTERN"),
    ),
    "exclude": (
        "select.exclude",
        _texts("--exclude", "No files of this pattern, as in .gitignore; may be repeated.", "PATTERN"),
    ),
    "newer": (
        "select.newer",
        _text("--newer", "Only files changed since then: a date, or an age such as 36h or 2d.", "WHEN"),
    ),
    "larger": ("select.larger", _text("--larger", "Only files larger than this.", "SIZE")),
    "smaller": ("select.smaller", _text("--smaller", "Only files smaller than this.", "SIZE")),
    "ignore_temporary": (
        "select.ignore_temporary",
        _switch("--ignore-temporary/--no-ignore-temporary", "Leave out hidden and temporary names."),
    ),
    "follow_symlinks": (
        "select.follow_symlinks",
        _switch("--follow-symlinks/--no-follow-symlinks", "Follow links below folders, wherever they lead."),
    ),
    "extensions": (
        "accept.extensions",
        _texts("--extensions", "Refuse files without this extension; may be repeated.", "EXT"),
    ),
    "content_types": (
        "accept.content_types",
        _texts("--content-types", "Refuse files of other types, judged by content; may be repeated.", "TYPE"),
    ),
    "max_size": ("accept.max_size", _text("--max-size", "Refuse larger files.", "SIZE")),
}
