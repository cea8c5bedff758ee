"""How often a request is tried again: pure, no server and no waiting."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from console.s3.control import Unattended
from console.s3.retry import RetryPolicy, with_retries
from console.s3.transfer_errors import TransferError
from tests.transfer.doubles import Notes


class Patient(Unattended):
    """Waits take no time."""

    def wait(self, seconds: float) -> None:
        """Nothing to wait for."""


class Server:
    """Answers with these codes in turn, then well."""

    def __init__(self, *codes: str) -> None:
        self.asked = 0
        self._codes: Iterator[str] = iter(codes)

    def __call__(self) -> str:
        self.asked += 1
        if (code := next(self._codes, None)) is not None:
            raise TransferError(code, "said so")
        return "well"


def tried(server: Server, **policy: float) -> tuple[str, Notes]:
    notes = Notes()
    return with_retries(server, RetryPolicy(retries=2, **policy), Patient(), notes), notes  # type: ignore[arg-type]


@pytest.mark.parametrize("code", ["SlowDown", "ReadTimeout", "ConnectionFailed"])
def test_retries_are_counted(code: str) -> None:
    server = Server(code, code)
    assert tried(server)[0] == "well"
    server = Server(*itertools.repeat(code, 9))
    with pytest.raises(TransferError, match=code):
        tried(server)
    assert server.asked == 3


@pytest.mark.parametrize("code", ["ConnectionFailed", "ConnectTimeout", "ProxyFailed", "ReadTimeout", "WriteTimeout"])
def test_an_outage_is_outlasted_and_floods_no_log(code: str) -> None:
    server = Server(*itertools.repeat(code, 200), "SlowDown", "SlowDown")
    answer, notes = tried(server, outage_seconds=60)
    assert answer == "well"
    assert server.asked == 203
    assert notes.codes == [code] * 3


def test_what_the_server_answers_is_counted_also_after_an_outage() -> None:
    server = Server("ConnectionFailed", *itertools.repeat("SlowDown", 9))
    with pytest.raises(TransferError, match="SlowDown"):
        tried(server, outage_seconds=60)
    assert server.asked == 4


def test_what_does_not_pass_is_not_repeated() -> None:
    server = Server("AccessDenied")
    with pytest.raises(TransferError, match="AccessDenied"):
        tried(server, outage_seconds=60)
    assert server.asked == 1
