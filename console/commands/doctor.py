"""`doctor`: every check with what was found and, where something is wrong, how to fix it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Final

from rich.console import Console
from rich.text import Text

from console.commands.checks import Finding, Grade, check_mongodb, check_s3, check_settings, check_terminal
from console.commands.json_lines import json_line
from console.config import Settings

_SIGNS: Final = {Grade.GOOD: ("✓", "green"), Grade.WARNING: ("!", "yellow"), Grade.BAD: ("✗", "red")}


def run(settings: Settings, *, as_json: bool) -> int:
    """Check everything and print each finding as it comes. Returns 0, or 3 where something cannot work."""
    worst = Grade.GOOD
    console = Console(highlight=False, soft_wrap=True)
    for finding in _findings(settings):
        worst = max(worst, finding.grade)
        if as_json:
            sys.stdout.write(json_line(finding, with_nulls=True) + "\n")
            sys.stdout.flush()
            continue
        sign, style = _SIGNS[finding.grade]
        console.print(Text.assemble((sign, style), " ", (f"{finding.check:<16}", "bold"), finding.words))
        if finding.mend:
            console.print(Text(f"  {'':<16}→ {finding.mend}"))
    return 3 if worst is Grade.BAD else 0


def _findings(settings: Settings) -> Iterator[Finding]:
    yield from check_settings(settings)
    yield from check_mongodb(settings.mongodb)
    yield from check_s3(settings)
    yield from check_terminal()
