"""`limits`: what runners that are at work may use, and changing it while uploads run, on whichever host."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace

from pydantic import BaseModel

from console.choices import MOST_PARALLEL
from console.cli.output import json_line
from console.errors import UsageError
from console.formatting import byte_rate, count_at_once, visible
from console.quantities import read_parallel, read_rate
from console.records.database import Records
from console.records.runners import Limits, RunnerState
from console.settings import Settings


@dataclass(frozen=True, slots=True)
class Change:
    """What shall be another, as it was typed; None stays. `bandwidth` a second, 0 for no limit."""

    bandwidth: str | None = None
    uploads: str | None = None
    parts: str | None = None

    def of(self, limits: Limits) -> Limits:
        """The limits with the change.

        Raises:
            UsageError: the bandwidth is no size, or a number makes no sense.
        """
        if self.bandwidth is not None:
            limits = replace(limits, bandwidth=_rate(self.bandwidth))
        if self.uploads is not None:
            limits = replace(limits, uploads=_at_once("--uploads", self.uploads))
        if self.parts is not None:
            limits = replace(limits, parts=_at_once("--parts", self.parts))
        return limits


class LimitsLine(BaseModel):
    """One line of `limits --json`. `bandwidth` in bytes a second, 0 for none; `uploads`, `parts`: a number or auto."""

    runner: str
    host: str
    kind: str
    bandwidth: int
    uploads: int | str
    parts: int | str


def run(settings: Settings, runners: Sequence[str], change: Change, *, as_json: bool) -> int:
    """Change the limits of live runners (all, or those whose names begin so) and show them. Returns 1 if none is meant.

    A runner obeys with its next heartbeat, within two seconds.
    """
    change.of(Limits(0, 1, 1))  # what cannot be understood changes nobody
    with Records.open(settings.mongodb, sets_up=False) as records:
        live = sorted(records.runners.live(), key=lambda state: state.runner)
        meant = [state for state in live if not runners or state.runner.startswith(tuple(runners))]
        changed = []
        for state in meant:
            limits = change.of(state.limits)
            if limits == state.limits or records.runners.set_limits(state.runner, limits):
                changed.append(replace(state, limits=limits))
    if not changed:
        sys.stderr.write("No runner of that name is at work.\n" if runners else "No runner is at work.\n")
    sys.stdout.writelines(_line(state, as_json=as_json) for state in changed)
    return 0 if changed else 1


def _at_once(flag: str, text: str) -> int | None:
    try:
        return read_parallel(text)
    except ValueError:
        raise UsageError(f"{flag}: expected auto, or a number from 1 to {MOST_PARALLEL}, got {visible(text)}") from None


def _rate(text: str) -> int:
    try:
        return read_rate(text)
    except ValueError:
        raise UsageError(f"--bandwidth: expected a size such as 5MiB, got {visible(text)}") from None


def _line(state: RunnerState, *, as_json: bool) -> str:
    limits = state.limits
    if as_json:
        line = LimitsLine(runner=state.runner, host=state.host, kind=state.kind, **limits.document())
        return json_line(line, with_nulls=True) + "\n"
    rate = byte_rate(limits.bandwidth) or "no limit"
    at_once = f"{count_at_once(limits.uploads, 'upload')}  {count_at_once(limits.parts, 'part')}"
    return f"{visible(state.runner)}  {visible(state.kind)}  {rate}  {at_once}\n"
