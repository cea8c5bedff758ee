"""Programs that are told to end while they send: uploads are paused in time, and nothing that arrived is sent again."""

from __future__ import annotations

import fcntl
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from console.models import UploadStatus
from console.records.identity import lock_directory, this_host
from tests.faults.conftest import MakeWorld
from tests.faults.gate import Gate
from tests.faults.world import MIB, World, wait_for
from tests.terminal import Terminal

PROGRAM = (sys.executable, "-m", "console")
SIZE = 60 * MIB
IN_FLIGHT = 4 * 5 * MIB
IN_TIME = 15.0  # seconds; five are promised, a busy machine is given more
PAUSED = UploadStatus.PAUSED


def environment(world: World, **others: Any) -> dict[str, str]:
    settings = {
        "MONGODB__URI": world.mongodb.uri.get_secret_value(),
        "MONGODB__DATABASE": world.mongodb.database,
        "S3__ENDPOINT_URL": world.proxy.url,
        "S3__BUCKET": world.bucket,
        "TRANSFER__PART_SIZE": 5 * MIB,
        "TRANSFER__PARALLEL_PARTS": 4,
        "UI__DIRECTORY": world.folder / "files",
        **others,
    }
    return {f"UPLOAD_CONSOLE_{name}": str(value) for name, value in settings.items()}


def at_work(world: World) -> Any:
    """Wait until the only upload is on its way; its id."""
    wait_for(lambda: [d for d in world.records.uploads.find({}) if d["multipart"]], "an upload at work")
    [document] = world.records.uploads.find({})
    world.expect(document["_id"], world.folder / "files" / "file.bin")
    world.wait_parts(document["_id"], 1)
    return document["_id"]


@contextmanager
def upload_command(world: World, path: Path | None = None, **others: Any) -> Iterator[subprocess.Popen[str]]:
    """`upload --json` as a script starts it."""
    command = [*PROGRAM, "upload", str(path or world.folder / "files" / "file.bin"), "--json"]
    with subprocess.Popen(
        command,
        env={**os.environ, **environment(world, **others)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def goes_on(world: World, upload_id: Any) -> None:
    """The next runner of this host goes on with it, behind what arrived."""
    world.hurry()
    world.start_runner(this_host(), locks=lock_directory())
    world.wait_completed([upload_id])
    assert world.proxy.passed_bytes <= SIZE + IN_FLIGHT
    world.check()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_pauses_what_the_upload_command_sends(world: World, number: signal.Signals) -> None:
    world.file(SIZE)
    world.let(1)
    with upload_command(world) as process:
        upload_id = at_work(world)
        process.send_signal(number)
        seconds = world.wait_status([upload_id], PAUSED)
        _, told = process.communicate(timeout=60)
    print(f"paused {seconds:.2f} s after {number.name}")
    assert seconds < IN_TIME
    assert process.returncode == 128 + number
    assert number.name in told
    document = world.document(upload_id)
    assert document["requested"] == "run"
    assert sum(world.parts(upload_id).values()) >= 5 * MIB
    world.check()
    goes_on(world, upload_id)


def test_ctrl_c_pauses_and_says_how_to_go_on(world: World) -> None:
    world.file(SIZE)
    world.let(1)
    command = [*PROGRAM, "upload", str(world.folder / "files" / "file.bin")]
    with Terminal(command, columns=120, lines=24, environment=environment(world)) as terminal:
        upload_id = at_work(world)
        terminal.press("ctrl+c")
        seconds = world.wait_status([upload_id], PAUSED)
        code = terminal.wait_end(60)
        text = terminal.text
    print(f"paused {seconds:.2f} s after Ctrl+C")
    assert seconds < IN_TIME
    assert code == 130
    assert world.document(upload_id)["requested"] == "pause"
    found = re.search(r"upload-console (resume .*\S)", text)
    assert found, text
    world.check()
    world.hurry()
    resumed = subprocess.run(
        [*PROGRAM, *shlex.split(found[1])],
        env={**os.environ, **environment(world)},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert resumed.returncode == 0, resumed.stderr
    assert world.proxy.passed_bytes <= SIZE + IN_FLIGHT
    world.check()


@pytest.mark.parametrize("end", ["SIGTERM", "SIGHUP", "terminal closed"])
def test_the_console_pauses_what_it_sends(world: World, end: str) -> None:
    path = world.file(SIZE)
    [upload_id] = world.add(path, host=this_host())
    world.let(1)
    with Terminal(PROGRAM, columns=120, lines=36, environment=environment(world)) as terminal:
        terminal.wait_for("file.bin")
        world.wait_parts(upload_id, 1)
        if end == "terminal closed":
            terminal.hang_up()
        else:
            terminal.signal(signal.Signals[end])
        seconds = world.wait_status([upload_id], PAUSED)
        terminal.process.wait(60)
    print(f"paused {seconds:.2f} s after {end}")
    assert seconds < IN_TIME
    assert world.document(upload_id)["requested"] == "run"
    assert sum(world.parts(upload_id).values()) >= 5 * MIB
    world.check()
    goes_on(world, upload_id)


def test_a_signal_while_nobody_reads_what_is_told(world: World) -> None:
    """The command hangs in a write to a full pipe: uploads pause and it ends all the same."""
    world.file(SIZE)
    world.let(1)
    for small in range(100):
        (world.folder / "files" / f"{small}.txt").write_text("a line about each is more than the pipe holds")
    with upload_command(world, path=world.folder / "files") as process:
        assert process.stdout is not None
        fcntl.fcntl(process.stdout, fcntl.F_SETPIPE_SZ, 4096)
        for _ in range(101):  # `added`: with the first of them it would wait already
            process.stdout.readline()
        wait_for(lambda: world.records.uploads.counts()[UploadStatus.COMPLETED] == 100, "much to tell")
        [large] = world.records.uploads.find({"filename": "file.bin"})
        world.wait_parts(large["_id"], 1)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 128 + signal.SIGTERM
    document = world.document(large["_id"])
    assert document["status"] == "paused"
    assert document["requested"] == "run"
    assert sum(world.parts(large["_id"]).values()) >= 5 * MIB


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (signal.SIGTERM, "Ended by SIGTERM; 1 upload not done."),
        (signal.SIGINT, "so nothing is paused; 1 upload not done."),
    ],
)
def test_a_signal_while_mongodb_says_nothing(
    make_world: MakeWorld, services: Any, number: signal.Signals, words: str
) -> None:
    """The pause cannot be written; the program ends all the same, and the next runner adopts the upload at once."""
    with Gate(services.mongodb_uri) as gate:
        world = make_world()
        world.file(SIZE)
        world.let(1)
        with upload_command(world, MONGODB__URI=gate.uri) as process:
            upload_id = at_work(world)
            gate.freeze()
            begun = time.monotonic()
            process.send_signal(number)
            _, told = process.communicate(timeout=60)
            seconds = time.monotonic() - begun
    print(f"ended {seconds:.2f} s after {number.name}, without MongoDB")
    assert process.returncode == 128 + number
    assert words in told
    assert "next console, `watch` or `resume` on this host" in told
    assert world.statuses([upload_id]) == ["uploading"]
    goes_on(world, upload_id)
