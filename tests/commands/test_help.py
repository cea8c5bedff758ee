"""What `--help` says of commands and flags."""

from __future__ import annotations

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from console.cli import app

COMMANDS = sorted(get_command(app).commands)  # type: ignore[attr-defined]


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_names_no_type_of_python_and_loses_nothing_to_markup(command: str) -> None:
    answer = CliRunner().invoke(app, [*filter(None, [command]), "--help"], env={"COLUMNS": "200", "TERM": "dumb"})
    assert answer.exit_code == 0
    for word in ("<bool>", "list[", "Path]", "<str>"):
        assert word not in answer.output
    assert "[]" not in answer.output
    if command == "watch":
        assert "[[watch]]" in answer.output
