"""Every end has words, and every word is true: one line a way in which the world around a command can be odd."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from console.records.database import Records
from tests.faults.breaking import Answer, EditAnswer, Fault, Hold
from tests.faults.proxy import FaultProxy

from .conftest import Command
from .running import Running

Run = Callable[..., "Ended"]
CONSOLE = (sys.executable, "-m", "console")
FEW_THREADS = Path(__file__).with_name("few_threads.py")
COMMANDS = {
    "upload": ("upload", "{file}"),
    "list": ("list",),
    "pause": ("pause", "--all"),
    "resume": ("resume", "--all"),
    "retry": ("retry", "--all"),
    "cancel": ("cancel", "--all"),
    "verify": ("verify", "--all"),
    "sweep": ("sweep", "--yes"),
    "doctor": ("doctor",),
    "setup": ("setup",),
    "limits": ("limits",),
    "watch": ("watch", "--once", "{folder}"),
    "events": ("events", "--json", "--since", "5m", "--until", "1s"),
    "delete": ("delete", "--all", "--yes"),
}
NO_RUNNER = {"limits": 1}  # there is nobody whose limits could be shown


class Ended(subprocess.CompletedProcess[str]):
    @property
    def said(self) -> str:
        return f"{self.stdout or ''}{self.stderr or ''}"


@pytest.fixture
def run(environment: dict[str, str], tmp_path: Path) -> Run:
    """Runs a command in a process of its own, in a shell's words where `shell` is given; no traceback ever shows."""
    folder = tmp_path / "watched"
    folder.mkdir()
    (folder / "ünï.txt").write_text("abc")
    file = tmp_path / "ä name.txt"
    file.write_text("abc")

    def call(
        *arguments: str,
        shell: str = 'exec "$@"',
        program: Sequence[str] = CONSOLE,
        changed: Mapping[str, str | None] | None = None,
    ) -> Ended:
        argv = [argument.format(file=file, folder=folder, tmp=tmp_path) for argument in arguments]
        known = {**os.environ, **environment, **(changed or {})}
        done = subprocess.run(
            ["/bin/sh", "-c", shell, "sh", *program, *argv],
            env={key: value for key, value in known.items() if value is not None},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=150,
            check=False,
        )
        ended = Ended(done.args, done.returncode, done.stdout, done.stderr)
        assert "Traceback" not in ended.said, ended.said
        return ended

    return call


@pytest.fixture
def here(run: Run, command: Command, tmp_path: Path) -> Run:
    """The same within this process, which is faster: for what does not depend on how a process began."""
    assert run

    def call(*arguments: str) -> Ended:
        places = {"file": tmp_path / "ä name.txt", "folder": tmp_path / "watched", "tmp": tmp_path}
        answer = command(*(argument.format(**places) for argument in arguments))
        error = f"{answer.error}\n{answer.error.advice}\n" if answer.error is not None else ""
        return Ended(arguments, answer.code, answer.out, f"{answer.err}{error}")

    return call


# --- where a process begins

AROUND: dict[str, tuple[str, dict[str, str | None]]] = {
    "standard output closed": ('exec "$@" >&-', {}),
    "standard error closed": ('exec "$@" 2>&-', {}),
    "standard input closed": ('exec "$@" <&-', {}),
    "all three closed": ('exec "$@" <&- >&- 2>&-', {}),
    "the working directory removed": ('mkdir "$HOME/gone" && cd "$HOME/gone" && rmdir "$HOME/gone" && exec "$@"', {}),
    "HOME unset": ('unset HOME XDG_STATE_HOME XDG_CONFIG_HOME; exec "$@"', {}),
    "HOME not writable": ('exec "$@"', {"HOME": "/dev/null", "XDG_STATE_HOME": None, "XDG_CONFIG_HOME": None}),
    "an ASCII locale": (
        'exec "$@"',
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"},
    ),
}


# Each costs a process: all commands where most is away, a few of them elsewhere.
SOME = ("upload", "list", "doctor", "watch")
BEGINNINGS = [(around, name) for around in AROUND for name in (COMMANDS if around == "all three closed" else SOME)]


@pytest.mark.parametrize(("around", "name"), BEGINNINGS)
def test_commands_work_wherever_they_begin(run: Run, around: str, name: str) -> None:
    shell, changed = AROUND[around]
    ended = run(*COMMANDS[name], shell=shell, changed=changed)
    assert ended.returncode == NO_RUNNER.get(name, 0), ended.said


@pytest.mark.parametrize("name", ["upload", "list", "doctor", "watch"])
def test_names_that_the_locale_cannot_show_are_escaped(run: Run, name: str) -> None:
    _, changed = AROUND["an ASCII locale"]
    run("upload", "{file}")
    ended = run(*COMMANDS[name], changed=changed)
    assert ended.returncode == 0
    assert ended.said.isascii()


@pytest.mark.parametrize("name", ["list", "upload", "watch", "doctor", "delete"])
def test_a_disk_that_is_full_is_said_to_be(run: Run, name: str) -> None:
    run("upload", "{file}")
    ended = run(*COMMANDS[name], shell='exec "$@" >/dev/full')
    assert ended.returncode == 1
    assert re.search("disk is full|No space left", ended.stderr)


def test_a_state_folder_that_cannot_be_written_is_named_with_what_it_costs(run: Run) -> None:
    _, changed = AROUND["HOME not writable"]
    ended = run("doctor", changed=changed)
    assert "! state" in ended.stdout
    assert "/dev/null" in ended.stdout
    assert "XDG_STATE_HOME" in ended.stdout


@pytest.mark.parametrize("threads", [0, 4, 8])
@pytest.mark.parametrize("name", ["upload", "watch", "doctor", "events"])
def test_few_threads_are_enough_or_said_to_be_too_few(run: Run, name: str, threads: int) -> None:
    ended = run(str(threads), *COMMANDS[name], program=(sys.executable, str(FEW_THREADS)))
    if ended.returncode:
        assert ended.returncode == 1
        assert "allows no further thread" in ended.said
        assert "ulimit -u" in ended.said


def test_with_few_threads_a_large_file_arrives(run: Run, records: Records, tmp_path: Path) -> None:
    (tmp_path / "watched" / "large").write_bytes(os.urandom(20_000_000))
    ended = run("12", "upload", "{folder}", program=(sys.executable, str(FEW_THREADS)))
    assert ended.returncode == 0, ended.said
    assert records.uploads.counts()["completed"] == 2


# --- what is named on the command line

NAMED: dict[str, tuple[tuple[str, ...], int, str]] = {
    "an empty folder": (("upload", "{tmp}/empty"), 0, "no file was found"),
    "a file of the kernel": (("upload", "/proc/version"), 1, "proc"),
    "a folder of the kernel": (("upload", "/proc/self"), 1, ""),
    "a device": (("upload", "/dev/null"), 1, "device"),
    "what is not there": (("upload", "{tmp}/nothing"), 1, "does not exist"),
    "a folder that is watched and missing": (("watch", "--once", "{tmp}/nothing"), 2, "does not exist"),
    "an endpoint with the bucket": (("upload", "{file}", "--s3-endpoint", "{bucket_endpoint}"), 2, "holds the bucket"),
    "an endpoint without a scheme": (("upload", "{file}", "--s3-endpoint", "127.0.0.1:9000"), 2, "http"),
    "no such bucket": (("upload", "{file}", "--bucket", "nowhere-at-all"), 1, "NoSuchBucket|does not exist"),
    "nothing to verify": (("verify", "--all"), 0, "No completed upload"),
    "no such id": (("pause", "ffffffffffffffffffffffff"), 1, "no such upload"),
    "no id at all": (("pause",), 2, "--all"),
}


@pytest.mark.parametrize("end", NAMED)
def test_what_is_named_is_answered_in_words(here: Run, environment: dict[str, str], tmp_path: Path, end: str) -> None:
    arguments, code, words = NAMED[end]
    (tmp_path / "empty").mkdir()
    bucket = environment["UPLOAD_CONSOLE_S3__BUCKET"]
    within = f"{environment['UPLOAD_CONSOLE_S3__ENDPOINT_URL']}/{bucket}"
    ended = here(*(argument.replace("{bucket_endpoint}", within) for argument in arguments))
    assert ended.returncode == code, ended.said
    assert re.search(words, ended.said, re.IGNORECASE), ended.said


@pytest.mark.parametrize("name", ["upload", "verify", "sweep", "delete", "watch", "resume"])
def test_an_endpoint_with_the_bucket_is_refused_by_each_command(
    here: Run, environment: dict[str, str], name: str
) -> None:
    here("upload", "{file}")
    here("pause", "--all")
    bucket = environment["UPLOAD_CONSOLE_S3__BUCKET"]
    within = f"{environment['UPLOAD_CONSOLE_S3__ENDPOINT_URL']}/{bucket}"
    ended = here(*COMMANDS[name], "--s3-endpoint", within)
    if name == "resume":  # nothing is paused that could be carried out
        assert ended.returncode == 0
    else:
        assert ended.returncode == 2, ended.said
        assert "holds the bucket" in ended.stderr


def test_the_file_is_sent_that_cat_shows(here: Run, tmp_path: Path, s3, bucket: str) -> None:
    (tmp_path / "real" / "inner").mkdir(parents=True)
    (tmp_path / "real" / "f").write_text("of the target")
    (tmp_path / "f").write_text("beside the link")
    (tmp_path / "link").symlink_to(tmp_path / "real" / "inner")
    ended = here("upload", f"{tmp_path}/link/../f")
    assert ended.returncode == 0, ended.said
    assert s3.get_object(Bucket=bucket, Key="f")["Body"].read() == b"of the target"


# --- what S3 answers

QUICK = {"UPLOAD_CONSOLE_TRANSFER__OUTAGE_SECONDS": "1", "UPLOAD_CONSOLE_TRANSFER__RETRIES": "1"}


@pytest.mark.parametrize("name", ["upload", "verify", "sweep", "delete", "doctor", "watch"])
def test_an_s3_that_refuses_connections_is_out_of_reach(
    here: Run, environment: dict[str, str], records: Records, name: str
) -> None:
    environment.update(QUICK)
    here("upload", "{file}")
    refusing = "http://127.0.0.1:1"
    records.uploads.collection.update_many({}, {"$set": {"endpoint": refusing}})
    ended = here(*COMMANDS[name], "--s3-endpoint", refusing)
    assert ended.returncode == 3, ended.said
    assert refusing in ended.said


def told(status: int, body: bytes) -> Fault:
    head = b"HTTP/1.1 %d No\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % (status, len(body))
    return EditAnswer(lambda _: head + body)


ANSWERS: dict[str, tuple[Fault, str]] = {
    "a proxy's 413": (told(413, b"<html>413</html>"), "413"),
    "an error without a message": (told(403, b"<Error><Code>AccessDenied</Code></Error>"), "403|AccessDenied"),
    "an error without anything": (told(403, b""), "403"),
    "a refusal": (Answer(403, "AccessDenied"), "403|AccessDenied"),
}


@pytest.mark.parametrize("name", ["upload", "verify", "sweep", "delete", "doctor"])
@pytest.mark.parametrize("answer", ANSWERS)
def test_what_s3_answers_is_a_sentence(
    here: Run, environment: dict[str, str], records: Records, answer: str, name: str
) -> None:
    fault, words = ANSWERS[answer]
    environment.update(QUICK)
    here("upload", "{file}")
    with FaultProxy(environment["UPLOAD_CONSOLE_S3__ENDPOINT_URL"]) as proxy:
        records.uploads.collection.update_many({}, {"$set": {"endpoint": proxy.url}})
        proxy.plan("*", fault, times=1_000)
        ended = here(*COMMANDS[name], "--s3-endpoint", proxy.url)
    assert ended.returncode == (3 if name == "doctor" else 1), ended.said
    assert re.search(words, ended.said), ended.said
    assert not re.search(r": *$", ended.stderr, re.MULTILINE), ended.stderr


@pytest.fixture
def silent_s3() -> Iterator[str]:
    """Takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize("name", ["verify", "sweep", "delete", "doctor"])
def test_an_s3_that_does_not_answer_is_said_not_to(
    environment: dict[str, str], run: Run, records: Records, silent_s3: str, name: str
) -> None:
    run("upload", "{file}")
    records.uploads.collection.update_many({}, {"$set": {"endpoint": silent_s3}})
    with Running(*COMMANDS[name], "--s3-endpoint", silent_s3, environment=environment) as running:
        if name == "doctor":
            assert running.end() == 3
            assert "timeout" in running.out.read().decode().lower()
            return
        running.wait_for_error("S3 does not answer yet")
        running.signal(signal.SIGINT)
        assert running.end() == 130


def test_ctrl_c_while_s3_does_not_answer_names_a_command_that_works(
    environment: dict[str, str], run: Run, records: Records, tmp_path: Path
) -> None:
    file = tmp_path / "ä name.txt"
    with FaultProxy(environment["UPLOAD_CONSOLE_S3__ENDPOINT_URL"]) as proxy:
        environment["UPLOAD_CONSOLE_S3__ENDPOINT_URL"] = proxy.url
        hanging = Hold()
        proxy.plan("*", hanging, times=1_000)
        with Running("upload", str(file), environment=environment) as running:
            running.wait_for(hanging.reached.is_set)
            running.signal(signal.SIGINT)
            assert running.end() == 130
            told = running.errors()
        found = re.search(r"upload-console (resume [0-9a-f]{24})", told)
        assert found is not None, told
        proxy.heal()
        hanging.release.set()
        ended = run(*found[1].split())
    assert ended.returncode == 0, ended.said
    assert records.uploads.counts()["completed"] == 1
