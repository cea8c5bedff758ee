"""Supervised processes and folders by themselves, with small programs in the servers' place."""

from __future__ import annotations

import os
import signal
import socket
import sys
from contextlib import closing
from threading import Event

import psutil
import pytest

from console.embedded import lifetime
from console.embedded.lifetime import (
    LOOPBACK,
    ServiceFolder,
    StartInterrupted,
    SupervisedProcess,
    accepts_connections,
    free_port,
    wait_until,
)
from console.errors import EmbeddedServerFailed


@pytest.fixture
def folder(tmp_path):
    with ServiceFolder(tmp_path) as folder:
        yield folder


@pytest.fixture
def start(folder, tmp_path):
    started = []

    def start(program, *, grace_seconds=30.0):
        log = tmp_path / "program.log"
        process = SupervisedProcess(
            [sys.executable, "-c", program], log=log, grace_seconds=grace_seconds, folder=folder
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()


def wait_for_log(process, folder, word):
    wait_until(
        lambda: word in (folder.path / "program.log").read_text(), what=word, process=process, timeout_seconds=60
    )


def test_stop_lets_the_program_end_cleanly(start, folder):
    process = start(
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit('ended cleanly'))\n"
        "print('ready', flush=True)\n"
        "while True: time.sleep(0.01)"  # a signal right before `signal.pause()` would be seen only behind it
    )
    wait_for_log(process, folder, "ready")
    process.stop()
    process.stop()
    assert process.exit_code == 1
    assert process.last_output() == "ready\nended cleanly"


def test_stop_ends_a_program_that_will_not(start, folder):
    process = start(
        "import signal\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "print('ready', flush=True)\n"
        "while True: signal.pause()",
        grace_seconds=0.1,
    )
    wait_for_log(process, folder, "ready")
    process.stop()
    assert process.exit_code == 128 + signal.SIGKILL
    assert not psutil.pid_exists(process.pid)


def test_kill_is_a_crash_and_the_end_is_reported(start):
    process = start("import signal; signal.pause()")
    process.check()
    process.kill()
    with pytest.raises(EmbeddedServerFailed, match=r"ended by itself \(exit code 137\)"):
        process.check()


def test_a_program_that_cannot_be_started_is_named(folder, tmp_path):
    with pytest.raises(EmbeddedServerFailed, match=r"/no/such/program .* No such file"):
        SupervisedProcess(["/no/such/program"], log=tmp_path / "log", grace_seconds=0, folder=folder)


def test_waiting_ends_with_the_program_its_last_lines_shown_as_data(start):
    process = start("print('disk \\x1b[31mfull'); raise SystemExit(3)")
    with pytest.raises(EmbeddedServerFailed, match=r"exit code 3(.|\n)*disk \\x1b\[31mfull"):
        wait_until(lambda: False, what="anything", process=process, timeout_seconds=30)


def test_waiting_ends_when_the_time_is_over_or_when_called_off(start):
    process = start("import signal; signal.pause()")
    with pytest.raises(EmbeddedServerFailed, match="answering did not happen within 0 s"):
        wait_until(lambda: False, what="answering", process=process, timeout_seconds=0)
    called_off = Event()
    called_off.set()
    with pytest.raises(StartInterrupted):
        wait_until(lambda: False, what="x", process=process, timeout_seconds=30, interrupted=called_off)


def test_a_private_folder_goes_when_the_last_process_on_it_has_gone(tmp_path):
    folder = ServiceFolder()
    (folder.path / "data").write_text("x")
    assert folder.path.stat().st_mode & 0o077 == 0
    process = SupervisedProcess(
        [sys.executable, "-c", "import signal; signal.pause()"], log=tmp_path / "log", grace_seconds=0, folder=folder
    )
    assert (folder.path / "data").exists()
    process.stop()
    folder.close()
    assert not folder.path.exists()


def test_a_kept_folder_is_for_one_at_a_time(tmp_path):
    with (
        ServiceFolder(tmp_path / "new/folder"),
        pytest.raises(EmbeddedServerFailed, match=rf"new/folder is in use: .* process {os.getpid()} ") as caught,
    ):
        ServiceFolder(tmp_path / "new/folder")
    assert "another --dir" in caught.value.advice
    with ServiceFolder(tmp_path / "new/folder") as again:
        assert again.path.is_dir()


def test_a_free_port_is_the_preferred_one_only_while_nobody_listens_there(monkeypatch):
    monkeypatch.setattr(lifetime, "_PORTS", range(19_000, 20_000))  # where no other test takes any
    port = free_port()
    assert free_port(port) == port
    assert not accepts_connections(port)
    with closing(socket.create_server((LOOPBACK, port))):
        assert free_port(port) != port
        assert accepts_connections(port)
    # Restarting at once must be possible: connections that were just closed do not count.
    assert free_port(port) == port
