"""What `--help` says of commands and flags."""

from __future__ import annotations

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from console.cli import app
from console.cli.upload_flags import SETTING_FLAGS

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


def test_in_80_columns_no_flag_of_upload_is_cut() -> None:
    shown = CliRunner().invoke(app, ["upload", "--help"], env={"COLUMNS": "80", "TERM": "dumb"}).output
    flags = [name for setting in SETTING_FLAGS.values() for name in setting[1].__metadata__[0].default.split("/")]
    assert not [flag for flag in flags if f" {flag} " not in shown]
