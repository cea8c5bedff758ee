"""How the program's process ends: its exit code, its last output, and what is waited for."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

AS_THE_PROGRAM = """
import sys, threading
from console import cli
def app():
{body}
cli.app = app
from console.__main__ import main
main()
"""


def run(body: str, **options: object) -> subprocess.CompletedProcess[str]:
    """The program with another command line: the lines of a function that does what the command does."""
    code = AS_THE_PROGRAM.format(body="\n".join(f"    {line}" for line in body.splitlines()))
    values: dict[str, object] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "timeout": 60} | options
    done: subprocess.CompletedProcess[str] = subprocess.run([sys.executable, "-c", code], text=True, **values)  # type: ignore[call-overload]
    return done


@pytest.mark.parametrize(
    ("body", "code"), [("pass", 0), ("sys.exit()", 0), ("sys.exit(3)", 3), ("sys.exit('why')", 1), ("1 / 0", 1)]
)
def test_the_exit_code(body: str, code: int) -> None:
    assert run(body).returncode == code


def test_what_was_printed_is_out_before_the_end() -> None:
    done = run("print('x' * 10_000)\nsys.stderr.write('and this')")
    assert (len(done.stdout), done.stderr) == (10_001, "and this")


def test_a_thread_that_is_no_daemon_is_waited_for() -> None:
    body = "read = lambda: print(sys.stdin.readline(), flush=True)\nthreading.Thread(target=read).start()"
    assert run(body, input="the last words").stdout == "the last words\n"


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_disk_is_told_without_a_traceback(unbuffered: str) -> None:
    with Path("/dev/full").open("w") as full:
        done = run("print('some')", stdout=full, env=os.environ | {"PYTHONUNBUFFERED": unbuffered})
    assert (done.returncode, done.stderr) == (1, "Output could not be written: the disk is full\n")
