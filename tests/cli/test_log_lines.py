"""What goes wrong inside, as a person at a terminal sees it."""

from __future__ import annotations

import logging

import pytest

from console.cli.output import tell_in_lines


def test_a_fault_is_one_line_without_traceback_and_without_escapes(capsys: pytest.CaptureFixture[str]) -> None:
    logger = logging.getLogger("console.somewhere")
    tell_in_lines()
    tell_in_lines()
    try:
        raise ValueError("a name with \x1b[31m in it")
    except ValueError:
        logger.exception("sending %s", "6b0a49b2")
    logger.info("of no interest")
    assert capsys.readouterr().err == "sending 6b0a49b2: ValueError: a name with \\x1b[31m in it\n"
