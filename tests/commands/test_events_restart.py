"""`events --json` killed and restarted, told to end, left alone by its reader."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from pymongo.database import Database

from tests.commands.running import PATIENCE, Running, is_filled

Documents = Database[dict[str, Any]]


def numbers(path: Path) -> list[int]:
    return [event["documentKey"]["_id"] for event in map(json.loads, path.read_text().splitlines())]


def test_killed_again_and_again_it_writes_each_number_once(
    environment: Mapping[str, str], database: Documents, tmp_path: Path
) -> None:
    """10,000 numbered inserts in ten rounds; in each the reader is killed somewhere, while they go on."""
    total, rounds, out, place = 10_000, 10, tmp_path / "out.jsonl", tmp_path / "place"
    chance = random.Random(1)
    database.create_collection("numbers")
    arguments = ("events", "--json", "--namespace", f"{database.name}.numbers", "--resume-file", str(place))

    def insert(first: int, last: int) -> None:
        for start in range(first, last, 20):
            database.numbers.insert_many([{"_id": number} for number in range(start, start + 20)])

    for ends in range(total // rounds, total + 1, total // rounds):
        begins = ends - total // rounds
        writer = threading.Thread(target=insert, args=(begins, ends))
        with out.open("ab") as append, Running(*arguments, environment=environment, out=append) as running:
            running.wait_for(lambda: is_filled(place))
            writer.start()
            goal = chance.randint(begins + 1, ends)
            running.wait_for(lambda goal=goal: out.read_bytes().count(b"\n") >= goal)
            running.signal(signal.SIGKILL)
        writer.join(PATIENCE)
    with out.open("ab") as append, Running(*arguments, "--until", "1s", environment=environment, out=append) as running:
        assert running.end() == 0
    assert numbers(out) == list(range(total))


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
    place_before = place.read_text()
    assert place_before
    # As if the kill had come before the place was kept.
    second = json.loads(whole.splitlines()[1])["_id"]
    place.write_text(json.dumps(second))
    with out.open("ab") as append, Running(*arguments, "--limit", "1", environment=environment, out=append) as running:
        assert running.end() == 0
    assert numbers(out) == list(range(10))


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
            # The first alone is more than a pipe holds.
            database.things.insert_many([{"_id": number, "pad": "x" * 100_000} for number in range(20)])
            assert running.out.read(1)
            running.signal(signal.SIGTERM)
            assert running.end() == 0
            assert running.errors() == ""
        out = tmp_path / "out.jsonl"
        with (
            out.open("wb") as again,
            Running(*arguments, "--limit", "20", environment=environment, out=again) as running,
        ):
            assert running.end() == 0
        assert numbers(out) == list(range(20))  # what nobody took was not kept as read

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
    arguments = ("events", "--namespace", f"{database.name}.things", "--resume-file", str(place))
    database.create_collection("things")
    with Running(*arguments, environment=environment) as running:
        running.wait_for(lambda: is_filled(place))
        for number in range(5):
            database.things.insert_one({"_id": number})
            assert json.loads(running.out.readline())["documentKey"] == {"_id": number}


def test_through_a_shell_pipe(environment: Mapping[str, str], database: Documents) -> None:
    with database.watch() as stream:
        token = json.dumps(stream.resume_token)
    database.things.insert_many([{"_id": number} for number in range(2000)])
    import os
    import shlex
    import sys

    command = shlex.join([sys.executable, "-m", "console", "events", "--namespace", database.name, "--since", token])
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
