"""Bandwidth and slots: limits that hold, can be changed, and are waited for in vain when told to stop."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.s3.engines.bandwidth import BandwidthLimit
from console.s3.transfer_errors import Stopped, TransferError
from console.transfer.threads import Slots

from .doubles import Commands


class FakeTime:
    """A clock that `wait` moves on: a `Control` too."""

    def __init__(self) -> None:
        self.now = 0.0
        self.waits = 0

    def __call__(self) -> float:
        return self.now

    def check(self) -> None:
        pass

    def wait(self, seconds: float) -> None:
        assert seconds > 0
        self.waits += 1
        self.now += seconds


@given(st.integers(1000, 10**8), st.lists(st.integers(1, 300_000), min_size=1, max_size=60))
def test_the_bandwidth_limit_holds(rate: int, chunks: list[int]) -> None:
    time = FakeTime()
    limit = BandwidthLimit(rate, clock=time)
    for chunk in chunks:
        limit.take(chunk, time)
    # The last chunk leaves when those before it have; a tenth of a second's worth may go at once.
    expected = max(0.0, sum(chunks[:-1]) / rate - 0.1)
    assert time.now == pytest.approx(expected, abs=1e-6)
    assert time.waits <= 4 * expected + len(chunks) + 1


def test_an_idle_limit_saves_nothing_up() -> None:
    time = FakeTime()
    limit = BandwidthLimit(1000, clock=time)
    limit.take(100, time)
    time.now += 3600
    start = time.now
    for _ in range(11):
        limit.take(100, time)
    assert time.now - start == pytest.approx(0.9)


def test_a_changed_limit_holds_for_those_who_wait() -> None:
    time = FakeTime()
    limit = BandwidthLimit(1000, clock=time)
    limit.take(100_000, time)
    real_wait = time.wait

    def wait_and_change(seconds: float) -> None:
        real_wait(seconds)
        limit.change(0)

    time.wait = wait_and_change  # type: ignore[method-assign]
    limit.take(1, time)
    assert time.now == 0.25


def test_what_was_queued_does_not_count_any_more_once_the_limit_was_lifted() -> None:
    time = FakeTime()
    limit = BandwidthLimit(1000, clock=time)
    limit.take(100_000, time)
    limit.change(0)
    limit.change(1000)
    limit.take(1, time)
    assert time.now == 0.0


def test_waiting_for_bandwidth_can_be_stopped() -> None:
    limit = BandwidthLimit(1)
    commands = Commands()
    limit.take(1_000_000, commands)
    threading.Timer(0.05, commands.stop).start()
    with pytest.raises(Stopped):
        limit.take(1, commands)


def test_chunks_shrink_with_the_limit() -> None:
    assert BandwidthLimit(0).chunk_size(1 << 20) == 1 << 20
    assert BandwidthLimit(80_000).chunk_size(1 << 20) == 10_000
    assert BandwidthLimit(10).chunk_size(1 << 20) == 4096


def takes_one(slots: Slots) -> bool:
    """Whether a slot was free; it is not any more."""
    impatient = Commands()
    impatient.stop()
    try:
        slots.acquire(impatient)
    except Stopped:
        return False
    return True


def test_slots_can_be_resized() -> None:
    slots = Slots(1)
    assert takes_one(slots)
    assert not takes_one(slots)
    slots.resize(2)
    assert takes_one(slots)
    slots.resize(1)
    slots.release()
    assert not takes_one(slots)
    slots.release()
    assert takes_one(slots)


def test_a_waiting_thread_gets_a_slot_that_resize_made() -> None:
    slots = Slots(1)
    slots.acquire(Commands())
    waits, got = threading.Event(), threading.Event()

    class Waiting(Commands):
        def check(self) -> None:
            waits.set()  # asked only where no slot is free

    def wait() -> None:
        slots.acquire(Waiting())
        got.set()

    thread = threading.Thread(target=wait)
    thread.start()
    assert waits.wait(60)
    slots.resize(2)
    assert got.wait(60)
    thread.join()
    assert not takes_one(slots)


def test_a_wait_for_a_slot_that_was_stopped_has_taken_none() -> None:
    slots = Slots(1)
    assert takes_one(slots)
    assert not takes_one(slots)
    slots.release()
    assert takes_one(slots)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Answers:
    """A request that takes a while, and comes to that end."""

    clock: Clock
    seconds: float
    code: str = ""

    def __call__(self) -> None:
        self.clock.now += self.seconds
        if self.code:
            raise TransferError(self.code, "too many")


@pytest.mark.parametrize("code", ["SlowDown", "503", "ReadTimeout", "ServiceUnavailable"])
def test_an_answer_that_asks_for_less_leaves_fewer_slots(code: str) -> None:
    clock = Clock()
    slots = Slots(8, clock=clock)
    with pytest.raises(TransferError):
        slots.send(Answers(clock, 0.1, code), 100)
    assert slots.limit == 4


def test_other_errors_leave_the_slots_as_they_are() -> None:
    clock = Clock()
    slots = Slots(8, clock=clock)
    with pytest.raises(TransferError):
        slots.send(Answers(clock, 0.1, "AccessDenied"), 100)
    assert slots.limit == 8


def test_a_lack_on_this_machine_leaves_fewer_slots() -> None:
    clock = Clock()
    clock.now = 1.0
    slots = Slots(8, clock=clock)
    for _ in range(6):
        assert takes_one(slots)
    slots.ran_short()
    assert slots.limit == 3


def test_slots_grow_while_more_at_once_carry_more() -> None:
    clock = Clock()
    slots = Slots(1, 64, clock=clock)
    for _ in range(200):
        slots.send(Answers(clock, 0.1), 100)
    assert slots.limit > 1
    slots.resize(2)
    assert slots.limit == 2
