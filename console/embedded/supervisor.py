"""The program that stands between us and one embedded server, so that the server ends whenever we do.

Run as a script by `lifetime`, with the standard library only (`python -I -S supervisor.py …`): it must start in a
few milliseconds and must work while our own package is being replaced. Its standard input is a pipe whose
other end only the console holds. End of file there means that the console has ended, however it ended, `kill -9`
included; then the server gets SIGTERM, a grace time, SIGKILL. (Linux has PR_SET_PDEATHSIG for this, but it is tied
to the thread that forked, and other systems lack it. It is used here for the other direction: this process has one
thread, and if it is killed, its server shall not outlive it.)

On standard output it writes one line: the server's process id, or `!` and why the server could not be started. Its
exit code is the server's as a shell would say it (128 + signal). Without a command it only waits and removes.
"""

from __future__ import annotations

import argparse
import os
import select
import shutil
import signal
import subprocess
import sys
import time

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_OWNER = 0  # file descriptor of the pipe from the console


def _end_with_supervisor() -> None:
    """In the server's process, before it becomes the server: have it told when the supervisor is killed."""
    import ctypes

    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _start(command: list[str]) -> subprocess.Popen[bytes] | None:
    try:
        server = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr,
            stderr=sys.stderr,
            preexec_fn=_end_with_supervisor if sys.platform == "linux" else None,
        )
    except OSError as error:
        _report(f"!{error.strerror or error}")
        return None
    _report(str(server.pid))
    return server


def _report(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _wait_for_end(server: subprocess.Popen[bytes] | None, wake: int, grace_seconds: float) -> int:
    """Until the owner has gone, somebody terminates us, or the server has ended by itself."""
    while server is None or server.poll() is None:
        readable, _, _ = select.select([_OWNER, wake], [], [])
        is_told = wake in readable and signal.SIGTERM in os.read(wake, 1024)
        has_gone = _OWNER in readable and not os.read(_OWNER, 1024)
        if server is None:
            if has_gone:  # and not for a signal: the folder's users may still be at work
                return 0
        elif is_told or has_gone:
            return _end(server, grace_seconds)
    return server.returncode


def _end(server: subprocess.Popen[bytes], grace_seconds: float) -> int:
    if grace_seconds > 0:
        server.terminate()
        try:
            return server.wait(grace_seconds)
        except subprocess.TimeoutExpired:
            pass
    server.kill()
    return server.wait()


def _remove(folder: str) -> None:
    # A second round, should something have written a file while the first one was reading the folder.
    for _ in range(20):
        shutil.rmtree(folder, ignore_errors=True)
        if not os.path.lexists(folder):
            return
        time.sleep(0.05)


def main() -> int:
    """Start the server, wait for its end or ours, remove the folder if asked to."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--grace", type=float, default=10.0)
    parser.add_argument("--remove")
    parser.add_argument("command", nargs="*")
    arguments = parser.parse_args()

    os.umask(0o077)  # the server's files are for this user alone
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    signal.set_wakeup_fd(wake_write)
    # Handlers of our own, also where nothing is to be done: an ignored signal would stay ignored in the server.
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)

    server = _start(arguments.command) if arguments.command else None
    if arguments.command and server is None:
        return 127
    code = _wait_for_end(server, wake_read, arguments.grace)
    if arguments.remove:
        _remove(arguments.remove)
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main())
