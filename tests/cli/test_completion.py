"""What the shells are given to complete, and the manual page."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from bson import ObjectId

from console.cli.completion import described
from console.cli.man_page import man_page

_PAGE = Path(__file__).parents[2] / "docs" / "upload-console.1"


def completed(shell: str, *words: str) -> str:
    given = {
        "_UPLOAD_CONSOLE_COMPLETE": f"complete_{shell}",
        "COMP_WORDS": " ".join(words),
        "COMP_CWORD": str(len(words) - 1),
        "_TYPER_COMPLETE_ARGS": " ".join(words),
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
        "UPLOAD_CONSOLE_MONGODB__URI": "mongodb://127.0.0.1:1",
    }
    answer = subprocess.run(
        [sys.executable, "-c", "import sys; sys.argv[0] = 'upload-console'; from console.cli import app; app()"],
        env={**os.environ, **given},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert answer.stderr == ""
    return answer.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_commands_and_statuses_are_completed(shell: str) -> None:
    assert "verify" in completed(shell, "upload-console", "ver")
    found = completed(shell, "upload-console", "list", "--status", "pa")
    assert "paused" in found
    assert "failed" not in found


def test_ids_of_a_server_that_is_away_are_none_and_no_message() -> None:
    assert "Traceback" not in completed("bash", "upload-console", "list", "")


def test_nothing_that_others_wrote_can_be_a_command_of_the_shell() -> None:
    own = ObjectId()
    documents = [
        {"_id": "$(touch taken)", "filename": "letter.txt", "status": "failed"},
        {"_id": own, "filename": "a\\`touch taken`$(id);'\"|&<>(){}[]*?!~#:\n\x1b].txt", "status": "$(id)"},
    ]
    [(value, words)] = described(documents, "")
    assert value == str(own)
    assert not set(words) & set("\\`$;'\"|&<>(){}[]*?!~#:\n\x1b")
    assert "touch taken" in words
    assert described(documents, "ffffffffffff") == []


def test_the_manual_page_is_that_of_the_parser() -> None:
    command = "python -m console.cli.man_page > docs/upload-console.1"
    assert _PAGE.read_text() == man_page(), f"write it again: {command}"
