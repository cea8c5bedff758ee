"""`limits`: what runners that are at work may use, and changing it while uploads run, on whichever host."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace

from pydantic import BaseModel, ByteSize, TypeAdapter, ValidationError

from console.config import Settings
from console.errors import UsageError
from console.formatting import byte_rate, count, visible
from console.records.database import Records
from console.records.runners import Limits, RunnerState


@dataclass(frozen=True, slots=True)
class Change:
    """What shall be another; None stays. `bandwidth` as it was typed, a second, 0 for no limit."""

    bandwidth: str | None = None
    uploads: int | None = None
    parts: int | None = None

    def of(self, limits: Limits) -> Limits:
        """The limits with the change.

        Raises:
            UsageError: the bandwidth is no size.
        """
        if self.bandwidth is not None:
            limits = replace(limits, bandwidth=_size(self.bandwidth))
        return replace(limits, uploads=self.uploads or limits.uploads, parts=self.parts or limits.parts)


class LimitsLine(BaseModel):
    """One line of `limits --json`. `bandwidth` in bytes a second, 0 for none."""

    runner: str
    host: str
    kind: str
    bandwidth: int
    uploads: int
    parts: int


def run(settings: Settings, runners: Sequence[str], change: Change, *, as_json: bool) -> int:
    """Change the limits of live runners (all, or those whose names begin so) and show them. Returns 1 if none is meant.

    A runner obeys with its next heartbeat, within two seconds.
    """
    change.of(Limits(0, 1, 1))  # what cannot be understood changes nobody
    with Records.open(settings.mongodb) as records:
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


def _size(text: str) -> int:
    try:
        size = TypeAdapter(ByteSize).validate_python(text)
    except ValidationError:
        raise UsageError(f"--bandwidth: expected a size such as 5MiB, got {visible(text)}") from None
    if not 0 <= size < 2**63:
        raise UsageError(f"--bandwidth: {visible(text)} is out of range")
    return size


def _line(state: RunnerState, *, as_json: bool) -> str:
    limits = state.limits
    if as_json:
        line = LimitsLine(runner=state.runner, host=state.host, kind=state.kind, **limits.document())
        return line.model_dump_json() + "\n"
    rate = byte_rate(limits.bandwidth) or "no limit"
    at_once = f"{count(limits.uploads, 'upload')}  {count(limits.parts, 'part')}"
    return f"{visible(state.runner)}  {visible(state.kind)}  {rate}  {at_once}\n"
