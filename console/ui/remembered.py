"""What the screen remembers from one start to the next: how a person likes to look at things.

Owns the file. It is no configuration: nobody writes it by hand, a broken one is as good as none, and where it cannot be
written nothing is remembered. Not here: what is remembered, and what it means (the panes).
"""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import platformdirs

from console.private_files import make_private_folder, opened_ours, write_private


def usual_path() -> Path:
    """Where the screen's state is kept for this person."""
    return platformdirs.user_state_path("upload-console") / "screen.json"


class Remembered:
    """Values by name, as JSON has them. Without a path they last as long as the process."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._values: dict[str, Any] = {}
        if path is not None:
            with suppress(OSError, ValueError, RecursionError), opened_ours(path) as stream:
                values = json.load(stream)
                self._values = values if isinstance(values, dict) else {}

    @property
    def path(self) -> Path | None:
        """The file, if there is one."""
        return self._path

    def get(self, name: str, kind: type) -> Any:
        """What is remembered under that name; nothing of that kind where it is something else."""
        value = self._values.get(name)
        return value if isinstance(value, kind) else kind()

    def keep(self, name: str, value: Any) -> None:
        """Remember it. Two consoles of one person: the one that changed something last counts."""
        if self._values.get(name) == value:
            return
        self._values[name] = value
        if self._path is None:
            return
        with suppress(OSError):
            make_private_folder(self._path.parent)
            write_private(self._path, json.dumps(self._values, indent=1))
