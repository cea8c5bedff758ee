"""`events --json` killed and restarted, told to end, left alone by its reader."""

from __future__ import annotations

import json
import os
import random
import shlex
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from pymongo.database import Database

from tests.commands.running import PATIENCE, Running, is_filled

Documents = Database[dict[str, Any]]


def numbers(path: Path) -> list[int]:
    return [event["documentKey"]["_id"] for event in map(json.loads, path.read_text().splitlines())]


class Written:
    """The whole lines of a file that grows, and of which a restarted reader takes back what is no whole line."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._end = self._count = 0

    def count(self) -> int:
        with self._path.open("rb") as file:
            file.seek(self._end)
            new = file.read()
        self._count += new.count(b"\n")
        self._end += new.rfind(b"\n") + 1
        return self._count


@pytest.mark.timeout(600)  # six programs, one after the other
def test_killed_again_and_again_it_writes_each_number_once(
    environment: Mapping[str, str], database: Documents, tmp_path: Path
) -> None:
    """10,000 numbered inserts in five rounds; in each the reader is killed behind some of them, before the others."""
    rounds, share, out, place = 5, 2_000, tmp_path / "out.jsonl", tmp_path / "place"
    chance = random.Random(1)
    database.create_collection("numbers")
    arguments = ("events", "--json", "--namespace", f"{database.name}.numbers", "--resume-file", str(place))

    def insert(first: int, last: int) -> None:
        for start in range(first, last, 50):
            database.numbers.insert_many([{"_id": number} for number in range(start, min(start + 50, last))])

    for begins in range(0, rounds * share, share):
        with out.open("ab") as append, Running(*arguments, environment=environment, out=append) as running:
            running.wait_for(lambda: is_filled(place))
            goal, written = begins + chance.randint(1, share), Written(out)
            insert(begins, goal)
            running.wait_for(lambda goal=goal, written=written: written.count() >= goal)
            insert(goal, begins + share)
            running.signal(signal.SIGKILL)  # wherever it is by now
    with out.open("ab") as append, Running(*arguments, "--until", "0s", environment=environment, out=append) as running:
        assert running.end() == 0
    assert numbers(out) == list(range(rounds * share))


def test_killed_in_the_middle_of_a_line(environment: Mapping[str, str], database: Documents, tmp_path: Path) -> None:
    out, place = tmp_path / "out.jsonl", tmp_path / "place"
    database.create_collection("numbers")
    arguments = ("events", "--json", "--namespace", f"{database.name}.numbers", "--resume-file", str(place))
    with out.open("ab") as append, Running(*arguments, environment=environment, out=append) as running:
        running.wait_for(lambda: is_filled(place))
        database.numbers.insert_many([{"_id": number} for number in range(10)])
        running.wait_for(lambda: out.read_bytes().count(b"\n") == 10)
    whole = out.read_bytes()
    out.write_bytes(whole[: len(whole) - 40])
    # As if the kill had come before the place was kept.
    second = json.loads(whole.splitlines()[1])["_id"]
    place.write_text(json.dumps(second))
    with out.open("ab") as append, Running(*arguments, "--limit", "1", environment=environment, out=append) as running:
        assert running.end() == 0
    assert numbers(out) == list(range(10))


@pytest.mark.parametrize("by", ["filter", "namespace"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_two_readers_append_to_one_file_and_one_is_restarted(
    environment: Mapping[str, str], database: Documents, tmp_path: Path, by: str, number: signal.Signals
) -> None:
    """Each has a resume file of its own, and finds its own last line among those of the other one."""
    out, rounds, share = tmp_path / "out.jsonl", 3, 40
    for name in ("a", "b"):
        database.create_collection(name)

    def arguments(which: int) -> tuple[str, ...]:
        name = f"{database.name}.{'ab'[which] if by == 'namespace' else 'a'}"
        match = ("--match", f"op:{('insert', 'delete')[which]}") if by == "filter" else ()
        return ("events", "--json", "--namespace", name, *match, "--resume-file", str(tmp_path / f"place-{which}"))

    def write(first: int) -> None:
        for each in range(first, first + share):
            database.a.insert_one({"_id": each})
            if by == "namespace":
                database.b.insert_one({"_id": each})
            else:
                database.a.delete_one({"_id": each})

    def seen(which: int) -> list[int]:
        lines = [json.loads(line) for line in out.read_text().splitlines()]
        mine = [each for each in lines if (each["operationType"], each["ns"]["coll"]) == wanted[which]]
        return [each["documentKey"]["_id"] for each in mine]

    wanted = [("insert", "a"), ("insert", "b") if by == "namespace" else ("delete", "a")]
    with out.open("ab") as append, Running(*arguments(1), environment=environment, out=append) as other:
        other.wait_for(lambda: is_filled(tmp_path / "place-1"))
        for begins in range(0, rounds * share, share):
            with Running(*arguments(0), environment=environment, out=append) as running:
                running.wait_for(lambda: is_filled(tmp_path / "place-0"))
                write(begins)
                running.wait_for(lambda begins=begins: len(set(seen(0))) > begins)
                running.signal(number)
                running.end()
        with Running(*arguments(0), "--until", "0s", environment=environment, out=append) as running:
            assert running.end() == 0
        other.wait_for(lambda: len(seen(1)) >= rounds * share)
    assert seen(0) == list(range(rounds * share))
    assert seen(1) == list(range(rounds * share))


class TestEnds:
    """Every way to end, while nothing happens and while the reader takes nothing."""

    @pytest.fixture
    def arguments(self, database: Documents, tmp_path: Path) -> tuple[str, ...]:
        return ("events", "--json", "--namespace", database.name, "--resume-file", str(tmp_path / "place"))

    @pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0), (signal.SIGHUP, 0)])
    def test_a_signal_while_idle(
        self,
        environment: Mapping[str, str],
        arguments: tuple[str, ...],
        tmp_path: Path,
        number: signal.Signals,
        code: int,
    ) -> None:
        with Running(*arguments, environment=environment) as running:
            running.wait_for(lambda: is_filled(tmp_path / "place"))
            running.signal(number)
            assert running.end() == code
            assert running.errors() == ""

    def test_a_signal_while_the_reader_takes_nothing(
        self, environment: Mapping[str, str], arguments: tuple[str, ...], database: Documents, tmp_path: Path
    ) -> None:
        database.create_collection("things")
        with Running(*arguments, environment=environment) as running:
            running.wait_for(lambda: is_filled(tmp_path / "place"))
            # The first alone is more than the pipe and the buffer of who reads it hold.
            database.things.insert_many([{"_id": number, "pad": "x" * 500_000} for number in range(3)])
            assert running.out.read(1)
            running.signal(signal.SIGTERM)
            assert running.end() == 0
            assert running.errors() == ""
        out = tmp_path / "out.jsonl"
        with (
            out.open("wb") as again,
            Running(*arguments, "--limit", "3", environment=environment, out=again) as running,
        ):
            assert running.end() == 0
        assert numbers(out) == list(range(3))  # what nobody took was not kept as read

    def test_ctrl_c_while_the_server_is_looked_for(self, environment: Mapping[str, str]) -> None:
        away = {
            **environment,
            "UPLOAD_CONSOLE_MONGODB__URI": "mongodb://127.0.0.1:1/",
            "UPLOAD_CONSOLE_MONGODB__TIMEOUT_SECONDS": "300",
        }
        with Running("events", "--json", environment=away) as running:
            running.wait_for(lambda: "pymongo" in Path(f"/proc/{running.process.pid}/maps").read_text())
            running.wait_for(lambda: _threads(running) > 1)
            running.signal(signal.SIGINT)
            assert running.end() == 130
            assert "Traceback" not in running.errors()

    def test_a_pipe_that_is_closed_while_idle(
        self, environment: Mapping[str, str], arguments: tuple[str, ...], tmp_path: Path
    ) -> None:
        with Running(*arguments, environment=environment) as running:
            running.wait_for(lambda: is_filled(tmp_path / "place"))
            running.out.close()
            assert running.end() == 0
            assert running.errors() == ""

    def test_a_reader_that_takes_the_first_line_only(
        self, environment: Mapping[str, str], arguments: tuple[str, ...], database: Documents, tmp_path: Path
    ) -> None:
        with Running(*arguments, environment=environment) as running:
            running.wait_for(lambda: is_filled(tmp_path / "place"))
            database.things.insert_many([{"_id": number, "pad": "x" * 10_000} for number in range(100)])
            assert json.loads(running.out.readline())["operationType"] == "create"
            running.out.close()
            assert running.end() == 0
            assert running.errors() == ""

    def test_a_full_disk(
        self, environment: Mapping[str, str], arguments: tuple[str, ...], database: Documents, tmp_path: Path
    ) -> None:
        with Path("/dev/full").open("wb") as full, Running(*arguments, environment=environment, out=full) as running:
            running.wait_for(lambda: is_filled(tmp_path / "place"))
            database.things.insert_one({"_id": 1})
            assert running.end() == 1
            assert "No space left on device" in running.errors()
            assert "Traceback" not in running.errors()


def _threads(running: Running) -> int:
    return len(list(Path(f"/proc/{running.process.pid}/task").iterdir()))


def test_lines_come_as_they_happen(environment: Mapping[str, str], database: Documents, tmp_path: Path) -> None:
    place = tmp_path / "place"
    arguments = ("events", "--json", "--namespace", f"{database.name}.things", "--resume-file", str(place))
    database.create_collection("things")
    with Running(*arguments, environment=environment) as running:
        running.wait_for(lambda: is_filled(place))
        for number in range(5):
            database.things.insert_one({"_id": number})
            assert json.loads(running.out.readline())["documentKey"] == {"_id": number}


def test_through_a_shell_pipe(environment: Mapping[str, str], database: Documents) -> None:
    with database.watch() as stream:
        token = json.dumps(stream.resume_token)
    database.things.insert_many([{"_id": number} for number in range(1000)])
    command = shlex.join(
        [sys.executable, "-m", "console", "events", "--json", "--namespace", database.name, "--since", token]
    )
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command} | head -3"],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert len(done.stdout.splitlines()) == 3
    assert done.stderr == ""
    assert done.returncode == 0
