"""What there is no more of: recognised however a library wraps it, said in words, and a reason to do less."""

from __future__ import annotations

import _thread
import errno
import resource
import subprocess
import sys
import threading
from collections.abc import Callable

import botocore.exceptions as aws
import pytest
from pymongo.errors import AutoReconnect

from console.capacity import bodies_at_once, shortage, start_thread, start_worker
from console.error_codes import Recovery
from console.s3.transfer_errors import classify, classify_file_error
from console.ui.background import title_and_text


def test_a_screen_that_gets_no_thread_says_why() -> None:
    title, text = title_and_text(RuntimeError("can't start new thread"))
    assert title == "Out of resources"
    assert "ulimit -u" in text


def wrapped(error: Exception) -> Exception:
    try:
        try:
            raise error
        except Exception as cause:
            raise AutoReconnect("127.0.0.1:27017") from cause
    except AutoReconnect as outer:
        return outer


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.EMFILE, "Too many open files"), "no further open file"),
        (OSError(errno.ENFILE, "Too many open files in system"), "no further open file"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "no memory left"),
        (MemoryError(), "no memory left"),
        (RuntimeError("can't start new thread"), "no further thread"),
        (
            aws.EndpointConnectionError(endpoint_url="http://h", error=OSError(errno.EMFILE, "x")),
            "no further open file",
        ),
        (wrapped(OSError(errno.EMFILE, "x")), "no further open file"),
        (AutoReconnect("h:1: [Errno 24] Too many open files"), "no further open file"),
    ],
)
def test_a_shortage_is_told_from_other_errors(error: Exception, words: str) -> None:
    assert words in shortage(error)
    sorted_ = classify(error)
    assert sorted_.code == "OutOfResources"
    assert sorted_.recovery is Recovery.RETRY
    assert words in sorted_.message


@pytest.mark.parametrize("error", [OSError(errno.ENOENT, "x"), RuntimeError("x"), BlockingIOError(errno.EAGAIN, "x")])
def test_other_errors_are_none(error: Exception) -> None:
    assert shortage(error) == ""


def test_a_file_that_cannot_be_opened_for_it_is_not_at_fault() -> None:
    error = classify_file_error(OSError(errno.EMFILE, "Too many open files"), "/a/file")
    assert (error.code, error.recovery) == ("OutOfResources", Recovery.RETRY)
    assert error.message.startswith("/a/file: this machine allows no further open file")


@pytest.mark.parametrize(
    ("descriptors", "memory", "most"), [(20_000, -1, 64), (64, -1, 12), (8, -1, 1), (-1, 400_000_000, 7), (-1, -1, 64)]
)
def test_as_many_bodies_go_at_once_as_the_limits_allow(
    monkeypatch: pytest.MonkeyPatch, descriptors: int, memory: int, most: int
) -> None:
    limits = {resource.RLIMIT_NOFILE: descriptors, resource.RLIMIT_AS: memory}
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (limits[kind], resource.RLIM_INFINITY))
    assert bodies_at_once(64) == most


def refuse(error: Exception) -> Callable[[threading.Thread], None]:
    def start(_: threading.Thread) -> None:
        raise error

    return start


def test_a_thread_that_cannot_be_started_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    done = threading.Event()
    assert start_thread(done.set, "a test's")
    assert done.wait(60)
    monkeypatch.setattr(threading.Thread, "start", refuse(RuntimeError("can't start new thread")))
    assert not start_thread(done.set, "a test's")
    monkeypatch.setattr(threading.Thread, "start", refuse(RuntimeError("something else")))
    with pytest.raises(RuntimeError, match="something else"):
        start_thread(done.set, "a test's")


def test_a_worker_that_cannot_be_started_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    done = threading.Event()
    assert start_worker(done.set)
    assert done.wait(60)

    def refuse(*_: object) -> int:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(_thread, "start_new_thread", refuse)
    assert not start_worker(done.set)


def test_a_command_without_a_further_descriptor_says_so_in_words() -> None:
    # The limit comes once Python runs: what its own start needs depends on what is installed beside us.
    code = (
        "import resource, sys; from console.__main__ import main; sys.argv = ['upload-console', 'list'];"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3)); main()"
    )
    command = [sys.executable, "-c", code]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert answer.returncode == 1
    assert answer.stderr.startswith("Out of resources: ")
