"""Keys typed ahead in a real terminal, over a slow line to MongoDB, and after the terminal has lost the focus."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pymongo.uri_parser import parse_uri

from tests.slow_line import SlowLine
from tests.terminal import Terminal

from .test_console import console

if TYPE_CHECKING:
    from pymongo.database import Database

    from console.embedded.services import EmbeddedServices

FOCUS_LOST, FOCUS_GAINED = "\x1b[O", "\x1b[I"  # as xterm and tmux report it (focus-events on)
LINE_SECONDS = 1.0


@pytest.fixture
def line(services: EmbeddedServices) -> Iterator[SlowLine]:
    ((_, port),) = parse_uri(services.mongodb_uri)["nodelist"]
    assert port is not None
    with SlowLine(port) as line:
        yield line


@pytest.fixture
def terminal(
    services: EmbeddedServices, database: Database[dict[str, Any]], bucket: str, line: SlowLine, tmp_path: Path
) -> Iterator[Terminal]:
    """A console with some files, and a slow line to MongoDB once it is open."""
    ((host, port),) = parse_uri(services.mongodb_uri)["nodelist"]
    folder = tmp_path / "outgoing"
    (folder / "aaa").mkdir(parents=True)
    for name in ("alpha.txt", "beta.txt", "delta.txt", "gamma.txt", "omega.txt"):
        (folder / name).write_text(name)
    uri = services.mongodb_uri.replace(f"{host}:{port}", f"127.0.0.1:{line.port}")
    uri = re.sub(r"replicaSet=[^&]*", "directConnection=true", uri)
    environment = {
        "UPLOAD_CONSOLE_MONGODB__URI": uri,
        "UPLOAD_CONSOLE_MONGODB__DATABASE": database.name,
        "UPLOAD_CONSOLE_MONGODB__TIMEOUT_SECONDS": "60",
        "UPLOAD_CONSOLE_S3__ENDPOINT_URL": services.s3_endpoint,
        "UPLOAD_CONSOLE_S3__BUCKET": bucket,
    }
    with console(environment, folder) as terminal:
        line.seconds = LINE_SECONDS
        yield terminal


def marked(text: str) -> list[str]:
    return re.findall(r"●(\w+\.txt|aaa/)", text)


def test_a_form_and_what_is_typed_into_it(terminal: Terminal) -> None:
    terminal.press("b9mib\t1\r\r" + "2")  # the second enter is one more key for the list of files
    terminal.wait_for("9.00 MiB/s")
    terminal.wait_for("┏━ Uploads")
    terminal.press("b")
    terminal.wait_for(lambda text: "9.00 MiB/s" in text and "Uploads at the same time" in text and "asking" not in text)


def test_the_focus_of_the_terminal_moves_no_key(terminal: Terminal, database: Database[dict[str, Any]]) -> None:
    terminal.press(FOCUS_LOST + "Gkkk  ")
    text = terminal.wait_for("2 marked")
    assert marked(text) == ["beta.txt", "delta.txt"]
    terminal.press(FOCUS_GAINED + FOCUS_LOST + "kkk u\r")
    terminal.wait_for(lambda text: len(re.findall(r"✓ \w+\.txt", text)) == 3)
    names = {document["filename"] for document in database["uploads"].find()}
    assert names == {"alpha.txt", "beta.txt", "delta.txt"}


def test_an_upload_and_its_detail(terminal: Terminal) -> None:
    terminal.press("jj u\r")
    terminal.wait_for(re.compile(r"✓ alpha\.txt"))
    terminal.press(FOCUS_LOST + "2/alpha\r\r")
    terminal.wait_for("destination")
    terminal.press("qd" + "ny")  # back, delete, no; nothing is asked any more
    terminal.press("d\r" + "1")  # the first answer is the harmless one
    terminal.wait_for("┏━ Files")
    assert "✓ alpha.txt" in terminal.text
