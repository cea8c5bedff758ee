"""Which settings hold, each with where it comes from; or the example that explains them all."""

from __future__ import annotations

import sys
from typing import Final

from pydantic import BaseModel

from console.cli.output import json_line
from console.formatting import visible
from console.settings import Settings
from console.settings.effective import DEFAULT, effective, example_text

_ORIGIN_COLUMN: Final = 56


class SettingLine(BaseModel):
    """One line of `config --json`. `value` as TOML has it, null where it is not set; no secret is in it."""

    key: str
    value: str | None
    origin: str


def run(settings: Settings, *, as_json: bool) -> int:
    """Print all settings as TOML, the origin of each behind it. Returns 0."""
    if as_json:
        for each in effective(settings):
            line = SettingLine(key=each.key, value=each.value or None, origin=each.origin)
            sys.stdout.write(json_line(line, with_nulls=True) + "\n")
        return 0
    sys.stdout.write(f"# Configuration: {settings.origin}\n")
    table = ""
    for each in effective(settings):
        section, _, name = each.key.rpartition(".")
        if section != table:
            table = section
            head = f"[{section.partition('[')[0]}]" if "[" in section else section
            sys.stdout.write(f"\n[{head}]\n")
        words = visible(f"{name} = {each.value}" if each.value else f"# {name} is not set")
        is_said = each.value or each.origin != DEFAULT
        sys.stdout.write(f"{words:<{_ORIGIN_COLUMN}}  # {visible(each.origin)}\n" if is_said else f"{words}\n")
    return 0


def show_example() -> int:
    """Print the example. Returns 0."""
    sys.stdout.write(example_text())
    return 0
