"""Who a runner is, and whether a runner of this host still lives.

A runner's name is `host:pid:random`. While it lives it holds a lock on a file of that name, which the kernel lets go
of however the process ends; so after `kill -9` or a reboot the next runner need not wait for the lease to run out.
A runner whose file is not here (another host, container or user) is judged by its lease alone.
"""

from __future__ import annotations

import fcntl
import logging
import os
import pwd
import secrets
import socket
import time
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import IO, Final
from urllib.parse import quote

import platformdirs

from console.formatting import as_text, visible
from console.models import Actor
from console.private_files import make_private_folder, naming, open_private

_SUFFIX: Final = ".lock"
_FORGOTTEN_SECONDS: Final = 7 * 86_400

_log = logging.getLogger(__name__)


def this_actor() -> Actor:
    """Who asks for something through this process."""
    return _actor(os.getpid())


@cache
def _actor(process: int) -> Actor:
    try:
        user = pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:  # a user without an entry, as containers have them
        user = str(os.geteuid())
    sudo_user = os.environ.get("SUDO_USER")
    return Actor(
        user=as_text(user), host=this_host(), process=process, sudo_user=as_text(sudo_user) if sudo_user else None
    )


def this_host() -> str:
    """The host's name as it stands in documents."""
    return socket.gethostname()


def lock_directory() -> Path:
    """Where the lock files of this person's runners are."""
    return platformdirs.user_state_path("upload-console") / "runners"


def lives_here(runner: str, directory: Path | None = None) -> bool:
    """Whether a runner of this user lives on this host: it holds its lock file."""
    path = _path_of(directory or lock_directory(), runner)
    # `Path.exists` raises where a name is longer than any file's: anybody may write one.
    return os.path.exists(path) and not _is_free(path)  # noqa: PTH110


class RunnerIdentity:
    """The name of a runner of this process, and its lock.

    `deployment` says whose documents it works for, in the words of the lock file: runners of several deployments have
    their files side by side, and only those of the same one know whether documents still name a runner.
    """

    def __init__(self, host: str | None = None, directory: Path | None = None, *, deployment: str = "") -> None:
        self.host = host or this_host()
        self.name = f"{self.host}:{os.getpid()}:{secrets.token_hex(4)}"
        self._deployment = deployment
        self._directory = directory or lock_directory()
        self._path = self._path_of(self.name)
        self._file = self._lock()

    def _lock(self) -> IO[str] | None:
        """Made under another name, so that nobody finds it before it is locked; None where none can be made."""
        draft = self._path.with_suffix(".new")
        try:
            make_private_folder(self._directory)
            file = os.fdopen(open_private(draft), "w")
            with naming(self._path):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                file.write(self._deployment)
                file.flush()
                draft.rename(self._path)
        except OSError as error:
            with suppress(OSError):
                draft.unlink(missing_ok=True)
            reason = f"{visible(str(error.filename))}: {error.strerror}" if error.filename else str(error)
            _log.warning("no lock file, so after a crash its lease has to run out: %s", reason)
            return None
        return file

    def dead_among(self, runners: Iterable[object]) -> list[str]:
        """Those that are known to have ended: their lock file is here and nobody holds it."""
        return [
            runner
            for runner in runners
            if isinstance(runner, str) and runner != self.name and _is_free(self._path_of(runner))
        ]

    def forget(self, runners: Iterable[str]) -> None:
        """Remove the lock files of dead runners of this deployment that no document names any more."""
        named = {self._path_of(runner) for runner in runners}
        with suppress(OSError):  # somebody else may have cleaned_up them meanwhile, or be the only one who may
            for path in self._directory.glob(f"*{_SUFFIX}"):
                if path not in named and self._may_forget(path) and _is_free(path):
                    path.unlink(missing_ok=True)

    def _may_forget(self, path: Path) -> bool:
        """One of this deployment, or of one that has not come back for long."""
        return path.read_text() == self._deployment or time.time() - path.stat().st_mtime > _FORGOTTEN_SECONDS

    def release(self) -> None:
        """The runner has ended and holds nothing any more."""
        if self._file is not None:
            with suppress(OSError):
                self._path.unlink(missing_ok=True)
            self._file.close()

    def _path_of(self, runner: str) -> Path:
        return _path_of(self._directory, runner)


def _path_of(directory: Path, runner: str) -> Path:
    return directory / f"{quote(runner, safe='')}{_SUFFIX}"


def _is_free(path: Path) -> bool:
    try:
        with path.open("r") as file:
            # Shared, so that several who look at once do not take each other for the owner.
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
