"""The real program in a pseudo-terminal, on real servers: what a person does on the first morning."""

from __future__ import annotations

import hashlib
import json
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from tests.terminal import Terminal

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from pymongo.database import Database

    from console.embedded.services import EmbeddedServices

PROGRAM = (sys.executable, "-m", "console")
# As the program, without the timer that ends it where it does not end in order: the order is what is tested.
IN_ORDER = (
    "import console.commands.console as fullscreen; fullscreen._LAST_RESORT_SECONDS = 300.0;"
    "from console.__main__ import main; main()"
)
END_SECONDS = 60.0  # longer than servers may take to end in order


@pytest.fixture
def environment(services: EmbeddedServices, database: Database[dict[str, Any]], bucket: str) -> dict[str, str]:
    """What a person sets to reach the servers of the test."""
    return {
        "UPLOAD_CONSOLE_MONGODB__URI": services.mongodb_uri,
        "UPLOAD_CONSOLE_MONGODB__DATABASE": database.name,
        "UPLOAD_CONSOLE_MONGODB__TIMEOUT_SECONDS": "60",  # it is there, only perhaps slow
        "UPLOAD_CONSOLE_S3__ENDPOINT_URL": services.s3_endpoint,
        "UPLOAD_CONSOLE_S3__BUCKET": bucket,
    }


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Two files to upload, one of them in parts."""
    folder = tmp_path / "outgoing"
    folder.mkdir()
    (folder / "alpha.txt").write_bytes(b"first line\n" * 1000)
    (folder / "beta ü.bin").write_bytes(bytes(range(256)) * 4096 * 20)
    return folder


@contextmanager
def console(environment: Mapping[str, str], folder: Path, columns: int = 120, lines: int = 36) -> Iterator[Terminal]:
    settings = {**environment, "UPLOAD_CONSOLE_UI__DIRECTORY": str(folder)}
    with Terminal(PROGRAM, columns=columns, lines=lines, environment=settings) as terminal:
        terminal.wait_for("S3 connected")
        terminal.wait_for(lambda text: "alpha.txt" in text and "beta" in text)
        yield terminal


def run(environment: Mapping[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """The program in a second shell."""
    import os

    return subprocess.run(
        [*PROGRAM, *arguments], env={**os.environ, **environment}, capture_output=True, text=True, timeout=120
    )


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_mark_two_files_upload_them_and_open_an_event(
    environment: dict[str, str], files: Path, database: Database[dict[str, Any]], bucket: str, s3: S3Client
) -> None:
    with console(environment, files) as terminal:
        terminal.press("down", "space", "space")  # below "../"; marking moves to the next row
        terminal.wait_for("2 marked")
        terminal.press("u", "enter")
        terminal.wait_for("✓ 2 completed")
        terminal.wait_for(lambda text: len(re.findall(r"✓ (?:alpha|beta).*completed", text)) == 2)
        terminal.press("3")
        terminal.wait_for("┃  Time")  # the frame of the pane that has the focus
        terminal.press("home")  # the slower the machine, the more progress is told of after them
        terminal.wait_for(re.compile(r"\+ insert"))
        terminal.press("end", "enter")
        # Drawn as a whole: the log behind it cannot be taken for the one that comes back.
        terminal.wait_for(lambda text: "Before" in text and "After" in text and "┃  Time" not in text)
        terminal.press("escape")
        terminal.wait_for("┃  Time")
        terminal.press("q")
        assert terminal.wait_end() == 0
    documents = {document["filename"]: document for document in database["uploads"].find()}
    assert set(documents) == {"alpha.txt", "beta ü.bin"}
    for name, document in documents.items():
        body = s3.get_object(Bucket=bucket, Key=document["key"])["Body"].read()
        assert sha256(body) == sha256((files / name).read_bytes())
        assert document["status"] == "completed"
        assert document["percentage"] == 100
        assert document["current"] == document["size"] == len(body)
        assert document["checksum"]
        assert document["lease"] is None


def test_a_second_shell_adds_a_row_to_the_open_console(environment: dict[str, str], files: Path) -> None:
    other = files.parent / "another.txt"  # not in the folder that is shown
    with console(environment, files) as terminal:
        other.write_text("hello")
        answer = run(environment, "upload", str(other), "--json")
        assert answer.returncode == 0, answer.stderr
        assert [json.loads(line)["event"] for line in answer.stdout.splitlines()][-1] == "completed"
        terminal.wait_for(re.compile(r"another\.txt.*completed"))


def test_a_signal_ends_the_demo_and_its_servers(tmp_path: Path) -> None:
    with Terminal([*PROGRAM, "demo", "--dir", str(tmp_path / "kept")], columns=80, lines=24) as terminal:
        terminal.wait_for("S3 connected")
        children = psutil.Process(terminal.process.pid).children(recursive=True)
        assert {"mongod", "rclone"} <= {child.name() for child in children}
        terminal.signal(signal.SIGTERM)
        terminal.wait_end()
    _, alive = psutil.wait_procs(children, timeout=END_SECONDS)
    assert not alive


def test_a_closed_terminal_ends_the_demo_and_its_servers(tmp_path: Path) -> None:
    with Terminal([*PROGRAM, "demo", "--dir", str(tmp_path / "kept")], columns=80, lines=24) as terminal:
        terminal.wait_for("S3 connected")
        children = psutil.Process(terminal.process.pid).children(recursive=True)
        terminal.hang_up()
        terminal.process.wait(END_SECONDS)
    _, alive = psutil.wait_procs(children, timeout=END_SECONDS)
    assert not alive


class TestConnecting:
    """The first picture is seen while MongoDB does not answer."""

    @pytest.fixture
    def connecting(self, environment: dict[str, str], files: Path) -> Iterator[Terminal]:
        with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections, says nothing
            settings = {
                **environment,
                "UPLOAD_CONSOLE_MONGODB__URI": f"mongodb://127.0.0.1:{silent.getsockname()[1]}/",
                "UPLOAD_CONSOLE_MONGODB__TIMEOUT_SECONDS": "300",  # nobody is waited for so long
                "UPLOAD_CONSOLE_UI__DIRECTORY": str(files),
            }
            with Terminal([sys.executable, "-c", IN_ORDER], columns=80, lines=24, environment=settings) as terminal:
                terminal.wait_for("alpha.txt")
                terminal.wait_for("connecting")
                yield terminal

    def test_q_leaves_at_once(self, connecting: Terminal) -> None:
        connecting.press("q")
        assert connecting.wait_end() == 0
        assert "Traceback" not in connecting.text

    def test_so_does_a_signal(self, connecting: Terminal) -> None:
        connecting.signal(signal.SIGTERM)
        assert connecting.wait_end() == 0
        assert "Traceback" not in connecting.text


def test_80x24_cuts_nothing_without_an_ellipsis(environment: dict[str, str], files: Path) -> None:
    (files / ("a very long name " * 8 + ".txt")).write_text("x")
    with console(environment, files, columns=80, lines=24) as terminal:
        terminal.wait_for(re.compile(r"a v.*….*\.txt"))
        terminal.wait_for(lambda text: "outgoing" in text and "Uploads" in text and "Events" in text)
