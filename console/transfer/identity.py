"""Who a runner is, and whether a runner of this host still lives.

A runner's name is `host:pid:random`. While it lives it holds a lock on a file of that name, which the kernel lets go
of however the process ends; so after `kill -9` or a reboot the next runner need not wait for the lease to run out.
A runner whose file is not here (another host, container or user) is judged by its lease alone.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Final
from urllib.parse import quote

import platformdirs

_SUFFIX: Final = ".lock"


def this_host() -> str:
    """The host's name as it stands in documents."""
    return socket.gethostname()


def lock_directory() -> Path:
    """Where the lock files of this person's runners are."""
    return platformdirs.user_state_path("upload-console") / "runners"


class RunnerIdentity:
    """The name of a runner of this process, and its lock."""

    def __init__(self, host: str | None = None, directory: Path | None = None) -> None:
        self.host = host or this_host()
        self.name = f"{self.host}:{os.getpid()}:{secrets.token_hex(4)}"
        self._directory = directory or lock_directory()
        self._directory.mkdir(parents=True, exist_ok=True)
        self._path = self._path_of(self.name)
        self._file = self._path.open("w")
        fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def dead_among(self, runners: Iterable[str]) -> list[str]:
        """Those that are known to have ended: their lock file is here and nobody holds it."""
        return [runner for runner in runners if runner != self.name and self._is_dead(runner)]

    def forget(self, runners: Iterable[str]) -> None:
        """Remove the lock files of dead runners that no document names any more."""
        for path in self._directory.glob(f"*{_SUFFIX}"):
            runner = path.name.removesuffix(_SUFFIX)
            if runner not in {quote(name, safe="") for name in runners} and _is_free(path):
                path.unlink(missing_ok=True)

    def release(self) -> None:
        """The runner has ended and holds nothing any more."""
        self._path.unlink(missing_ok=True)
        self._file.close()

    def _is_dead(self, runner: str) -> bool:
        return _is_free(self._path_of(runner))

    def _path_of(self, runner: str) -> Path:
        return self._directory / f"{quote(runner, safe='')}{_SUFFIX}"


def _is_free(path: Path) -> bool:
    try:
        with path.open("r") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
