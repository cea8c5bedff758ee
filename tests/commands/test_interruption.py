"""What a signal sets off in a command that carries out uploads: pure, and no process ends."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from typing import Any

import pytest
from bson import ObjectId
from pymongo.errors import AutoReconnect

from console.cli import process
from console.commands import interruption
from console.commands.interruption import Interruption
from console.models import Requested

PATIENCE = 60.0
IDS = [ObjectId(), ObjectId()]
NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Heard:
    """A report that keeps what it is told."""

    def __init__(self) -> None:
        self.interruptions: list[tuple[Any, ...]] = []
        self.lost: list[str] = []

    def interrupted(self, ids: Any, number: signal.Signals, *, is_paused: bool) -> None:
        self.interruptions.append((ids, number, is_paused))

    def connection(self, connected: bool, message: str) -> None:
        assert not connected
        self.lost.append(message)


class World:
    """An interruption, with all that it is between; `exits` are the codes with which the program would have ended."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.exits: SimpleQueue[int] = SimpleQueue()
        self.asked: list[tuple[Any, ...]] = []
        self.stops: list[str] = []
        self.report = Heard()
        self.answer: Callable[[], object] = lambda: None
        monkeypatch.setattr(process.os, "_exit", self.exits.put)
        monkeypatch.setattr(interruption, "request_all", self._request)
        self.interruption = Interruption(
            "the uploads",  # type: ignore[arg-type]
            self.report,  # type: ignore[arg-type]
            lambda: self.stops.append(threading.current_thread().name),
        )

    def _request(self, *what: Any) -> None:
        self.asked.append(what)
        self.answer()

    def interrupt(self, *numbers: signal.Signals) -> None:
        with self.interruption.awaited():
            for number in numbers:
                signal.raise_signal(number)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr(interruption, "LAST_RESORT_SECONDS", 0.0)
    monkeypatch.setattr(interruption, "_NOTICE_SECONDS", 0.0)
    yield World(monkeypatch)
    for thread in threading.enumerate():
        if thread.name in ("signal", "pause"):
            thread.join(PATIENCE)  # it must not meet the true `os._exit`


@pytest.mark.parametrize("number", NUMBERS)
def test_the_program_ends_whatever_the_main_thread_waits_for(world: World, number: signal.Signals) -> None:
    world.interrupt(number)
    assert world.exits.get(timeout=PATIENCE) == 128 + number
    assert world.stops == ["signal"]


def test_who_leaves_in_time_stops_the_runner_itself(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interruption, "_NOTICE_SECONDS", PATIENCE)
    world.interrupt(signal.SIGTERM)
    world.interruption.leave(signal.SIGTERM, IDS)
    assert world.exits.get(timeout=PATIENCE) == 143
    assert world.stops == []


def test_the_first_signal_counts(world: World) -> None:
    world.interrupt(signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    assert world.interruption.number is signal.SIGTERM
    assert world.exits.get(timeout=PATIENCE) == 143
    assert world.stops == ["signal"]
    assert world.exits.empty()


def test_without_a_signal_nothing_happens_and_former_handlers_are_back(world: World) -> None:
    before = [signal.getsignal(number) for number in NUMBERS]
    world.interrupt()
    assert [signal.getsignal(number) for number in NUMBERS] == before
    assert world.interruption.number is None
    assert "signal" not in [thread.name for thread in threading.enumerate()]


def test_after_ctrl_c_what_is_not_done_is_paused(world: World) -> None:
    world.interruption.leave(signal.SIGINT, IDS)
    assert world.asked == [("the uploads", IDS, Requested.PAUSE)]
    assert world.report.interruptions == [(IDS, signal.SIGINT, True)]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_another_signal_is_no_wish_for_a_pause(world: World, number: signal.Signals) -> None:
    world.interruption.leave(number, IDS)
    assert world.asked == []
    assert world.report.interruptions == [(IDS, number, False)]


def test_a_pause_that_mongodb_refuses_is_said_not_to_be(world: World) -> None:
    def fail() -> None:
        raise AutoReconnect("away")

    world.answer = fail
    world.interruption.leave(signal.SIGINT, IDS)
    assert world.report.interruptions == [(IDS, signal.SIGINT, False)]
    assert world.report.lost == ["away"]


def test_a_mongodb_that_says_nothing_is_not_waited_for(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interruption, "_TELL_SECONDS", 0.01)
    silent = threading.Event()
    world.answer = silent.wait
    world.interruption.leave(signal.SIGINT, IDS)
    silent.set()
    assert world.report.interruptions == [(IDS, signal.SIGINT, False)]


def test_a_terminal_that_has_gone_is_no_error(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: Any, **__: Any) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(world.report, "interrupted", gone)
    world.interruption.leave(signal.SIGTERM, IDS)
