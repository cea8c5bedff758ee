"""Processes that end when we end, and folders that go when the last of those has gone.

Owns how an embedded server is started, watched and ended, and the private or kept folder that it works in. Knows
nothing about MongoDB or S3. The other half, the program that outlives us by a moment, is `supervisor`.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from threading import Event
from typing import Final, Self

from console.embedded import supervisor
from console.errors import EmbeddedServerFailed
from console.formatting import visible
from console.private_files import make_private_folder, open_private

LOOPBACK: Final = "127.0.0.1"
# Below Linux's range for outgoing connections (32768 and up), so that a port stays ours while its server restarts.
_PORTS: Final = range(20_000, 32_000)
_given: deque[int] = deque(maxlen=100)
_POLL_SECONDS: Final = 0.01
_LOG_LINES: Final = 8
_LOCK: Final = "lock"


class StartInterrupted(Exception):
    """Starting was called off by the event that the caller gave."""


class SupervisedProcess:
    """One server process with its supervisor; ends with `stop`, or with us."""

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        log: Path,
        grace_seconds: float,
        folder: ServiceFolder,
        environment: Mapping[str, str] | None = None,
        read_log_line: Callable[[str], str] = str,
    ) -> None:
        """Start it. `log` is written again. `grace_seconds` lie between SIGTERM and SIGKILL; 0 is SIGKILL at once.

        `read_log_line` gives what a line of the log says to a person, empty for nothing.

        Raises:
            EmbeddedServerFailed: the program could not be started.
        """
        self.name = Path(command[0]).name
        self._log = log
        self._read_log_line = read_log_line
        with os.fdopen(open_private(log), "wb") as log_stream:
            self._supervisor = _start_supervisor(
                ["--grace", str(grace_seconds), "--", *map(str, command)],
                log_stream.fileno(),
                folder.descriptors,
                environment,
            )
        assert self._supervisor.stdout is not None  # noqa: S101
        answer = self._supervisor.stdout.readline().strip()
        if not answer.isdigit():
            self.stop()
            reason = answer.removeprefix("!") or self.last_output()
            raise EmbeddedServerFailed(f"{command[0]} could not be started: {reason}")
        self.pid = int(answer)

    @property
    def exit_code(self) -> int | None:
        """None while it runs; as a shell says it (128 + signal)."""
        return self._supervisor.poll()

    def check(self) -> None:
        """Return if it runs.

        Raises:
            EmbeddedServerFailed: it has ended by itself.
        """
        if self.exit_code is not None:
            raise EmbeddedServerFailed(
                f"{self.name} ended by itself (exit code {self.exit_code}). Its last lines:\n{self.last_output()}"
            )

    def kill(self) -> None:
        """SIGKILL, as a crash would be; returns when it has ended."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        self.stop()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the server, SIGSTOP say, without waiting."""
        os.kill(self.pid, number)

    def stop(self) -> None:
        """End it, cleanly if it lets itself be ended in time; returns when it has ended. May be called twice."""
        for stream in (self._supervisor.stdin, self._supervisor.stdout):
            if stream is not None:
                stream.close()
        self._supervisor.wait()

    def last_output(self) -> str:
        """The last lines of its log that say something, for an error message."""
        try:
            lines = self._log.read_text("utf-8", "replace").splitlines()
        except OSError as error:
            return f"(its log {self._log} cannot be read: {error.strerror})"
        telling = list(filter(None, map(self._read_log_line, lines))) or lines or ["(its log is empty)"]
        return "\n".join(visible(line) for line in telling[-_LOG_LINES:])


def _start_supervisor(
    arguments: Sequence[str],
    error_descriptor: int,
    keep: Sequence[int],
    environment: Mapping[str, str] | None = None,
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-I", "-S", supervisor.__file__, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=error_descriptor,
        text=True,
        cwd="/",  # hold no folder of the person's
        env=environment,
        pass_fds=keep,
        start_new_session=True,  # Ctrl+C and a closed terminal reach us, not the servers
    )


class ServiceFolder:
    """The folder of one set of servers: private and removed afterwards, or the person's own, kept and locked."""

    def __init__(self, path: Path | None = None) -> None:
        """Make a private folder, or take the one given.

        Raises:
            EmbeddedServerFailed: the folder cannot be written, or other servers are running on it.
        """
        self.is_kept = path is not None
        self._remover: subprocess.Popen[str] | None = None
        if path is None:
            try:
                self.path = Path(tempfile.mkdtemp(prefix="upload-console-")).resolve()
            except OSError as error:  # `tempfile` calls a full disk "no usable temporary directory"
                raise EmbeddedServerFailed(
                    f"no folder for the servers' data can be made: {error.strerror or error}",
                    advice="Is the disk full? TMPDIR names another place, --dir one to keep.",
                ) from None
            self._remover = _start_supervisor(["--remove", str(self.path)], subprocess.DEVNULL, ())
            assert self._remover.stdin is not None  # noqa: S101
            # Supervisors inherit this end of the pipe: the remover sees its end of file when all of them have gone.
            self.descriptors = [self._remover.stdin.fileno()]
        else:
            self.path = path.expanduser().resolve()
            _make_private(self.path)
            self.descriptors = [_lock(self.path)]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give it up; a private folder is gone when this returns. The servers on it must have been stopped."""
        if self._remover is None:
            for descriptor in self.descriptors:
                os.close(descriptor)
        else:
            for stream in (self._remover.stdin, self._remover.stdout):
                if stream is not None:
                    stream.close()
            self._remover.wait()
        self.descriptors = []


def _make_private(folder: Path) -> None:
    """Close a folder of our own to others. One with a person's things keeps its mode, if only they can change it."""
    try:
        if not folder.exists() or folder.joinpath(_LOCK).exists() or not any(folder.iterdir()):
            make_private_folder(folder)
            return
        status = folder.stat()
    except OSError as error:
        raise EmbeddedServerFailed(f"{visible(str(folder))} cannot be used: {error.strerror}") from None
    if status.st_uid != os.geteuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise EmbeddedServerFailed(
            f"{visible(str(folder))} cannot be used: other users may change what is in it.",
            advice="Give a --dir of your own; it is made if it is missing.",
        )


def _lock(folder: Path, patience_seconds: float = 60.0) -> int:
    """Take the folder's lock, which the supervisors of its servers hold too: it is free when all have ended.

    Waits only for servers whose console has died and which are just ending.
    """
    try:
        descriptor = open_private(folder / _LOCK, os.O_RDWR)
    except OSError as error:
        raise EmbeddedServerFailed(f"{visible(str(folder))} cannot be used: {error.strerror}") from None
    deadline = time.monotonic() + patience_seconds
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
            if time.monotonic() < deadline and not _is_running(owner):
                time.sleep(_POLL_SECONDS)
                continue
            os.close(descriptor)
            raise EmbeddedServerFailed(
                f"{visible(str(folder))} is in use: the servers of process {owner or 'unknown'} run on it.",
                advice="End that process, or give another --dir.",
            ) from None
        break
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    except OSError as error:
        os.close(descriptor)
        raise EmbeddedServerFailed(f"{visible(str(folder))} cannot be used: {error.strerror}") from None
    return descriptor


def _is_running(process_id: str) -> bool:
    if not process_id.isdigit():
        return False
    try:
        os.kill(int(process_id), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def free_port(preferred: int | None = None) -> int:
    """A loopback port that nobody listens on; `preferred` if that is one.

    The next calls give others, so that a server which has yet to listen on its port meets no other one there.
    """
    candidates = [port for port in random.sample(_PORTS, 200) if port not in _given]
    for port in candidates if preferred is None else [preferred, *candidates]:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the servers do: TIME_WAIT is no obstacle
            try:
                probe.bind((LOOPBACK, port))
                probe.listen(1)
            except OSError:
                continue
            _given.append(port)
            return port
    raise EmbeddedServerFailed(f"no free port on {LOOPBACK} between {_PORTS.start} and {_PORTS.stop}")


def accepts_connections(port: int) -> bool:
    """Whether something listens on this loopback port."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((LOOPBACK, port)) == 0


def wait_until(
    condition: Callable[[], bool],
    *,
    what: str,
    process: SupervisedProcess,
    timeout_seconds: float,
    interrupted: Event | None = None,
) -> None:
    """Wait until `condition` holds; `what` says in an error what was waited for.

    Raises:
        EmbeddedServerFailed: the server ended, or the time ran out.
        StartInterrupted: the event was set.
    """
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        process.check()
        if interrupted is not None and interrupted.is_set():
            raise StartInterrupted
        if time.monotonic() > deadline:
            raise EmbeddedServerFailed(
                f"{process.name}: {what} did not happen within {timeout_seconds:.0f} s. Its last lines:\n"
                f"{process.last_output()}"
            )
        time.sleep(_POLL_SECONDS)
