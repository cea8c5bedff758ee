"""`config` and `init`, and the ids that a shell completes, on the real servers."""

from __future__ import annotations

import json
import stat
import sys
from pathlib import Path
from typing import Any

from console.cli.completion import complete_id
from tests.terminal import Terminal

from .conftest import Command


def test_init_writes_a_file_that_doctor_passes(
    command: Command, environment: dict[str, str], tmp_path: Path, monkeypatch: Any
) -> None:
    file = tmp_path / "new" / "config.toml"
    given = (
        *("--config", str(file)),
        *("--mongodb-uri", environment["UPLOAD_CONSOLE_MONGODB__URI"]),
        *("--s3-endpoint", environment["UPLOAD_CONSOLE_S3__ENDPOINT_URL"]),
        *("--bucket", environment["UPLOAD_CONSOLE_S3__BUCKET"]),
    )
    answer = command("init", *given)
    assert answer.code == 0, answer
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    for name in [name for name in environment if name.startswith("UPLOAD_CONSOLE_")]:
        del environment[name]
        monkeypatch.delenv(name, raising=False)
    findings = [json.loads(line) for line in command("doctor", "--json", "--config", str(file)).out.splitlines()]
    assert max(finding["grade"] for finding in findings if finding["check"] != "terminal") < 2, findings
    again = command("init", *given)
    assert "is there already" in str(again.error)
    shown = command("config", "--config", str(file), "--json").out
    values = {line["key"]: line for line in map(json.loads, shown.splitlines())}
    assert values["s3.bucket"]["origin"] == str(file)


def test_init_that_cannot_ask_and_does_not_know_says_what_is_missing(command: Command, tmp_path: Path) -> None:
    answer = command("init", "--config", str(tmp_path / "c.toml"))
    assert "s3.bucket is not given" in str(answer.error)
    assert list(tmp_path.glob("c.toml")) == []


def test_init_asks_in_a_terminal(environment: dict[str, str], tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    arguments = [sys.executable, "-m", "console", "init", "--config", str(file)]
    with Terminal(arguments, columns=120, lines=40, environment=environment) as terminal:
        for question, text in (
            ("MongoDB connection string", environment["UPLOAD_CONSOLE_MONGODB__URI"]),
            ("Address of S3", environment["UPLOAD_CONSOLE_S3__ENDPOINT_URL"]),
            ("Region", ""),
            ("Bucket", environment["UPLOAD_CONSOLE_S3__BUCKET"]),
            ("Prefix", "in"),
        ):
            terminal.wait_for(question)
            terminal.press(*text, "enter")
        terminal.wait_for("is written")
    assert 'prefix = "in"' in file.read_text()


def test_the_example_is_printed(command: Command) -> None:
    assert "[[watch]]" in command("config", "--example").out


def test_ids_are_completed_with_status_and_name(records: Any, environment: dict[str, str], monkeypatch: Any) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    records.uploads.collection.insert_one({"status": "failed", "filename": "a.bin"})
    upload_id = str(records.uploads.collection.find_one()["_id"])

    class Context:
        params: dict[str, Any] = {}  # noqa: RUF012

    assert complete_id(Context(), upload_id[:6]) == [(upload_id, "failed a.bin")]
