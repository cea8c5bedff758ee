"""The threads that send: as many as are needed at once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial

import pytest

from console.transfer.threads import Slots, WorkerPool, ahead, wait_for

from .doubles import Commands


@pytest.fixture
def pool() -> Iterator[WorkerPool]:
    pool = WorkerPool(Slots(1))
    yield pool
    pool.close()


def test_work_that_is_begun_together_runs_together(pool: WorkerPool) -> None:
    """However many threads were idle before."""
    for together in range(1, 7):
        meeting = threading.Barrier(together)
        futures = [pool.start(partial(meeting.wait, 10)) for _ in range(together)]
        assert sorted(wait_for(future, Commands()) for future in futures) == list(range(together))


# --- what is made ahead


def test_what_is_made_ahead_comes_in_its_order_and_only_so_far_ahead() -> None:
    begun: list[int] = []
    is_far = threading.Event()

    def numbers() -> Iterator[int]:
        for number in range(6):
            begun.append(number)
            if number == 2:
                is_far.set()
            yield number

    coming = ahead(numbers(), most=2)
    assert next(coming) == 0
    assert not is_far.is_set()
    assert list(coming) == [1, 2, 3, 4, 5]


def test_what_goes_wrong_ahead_is_raised_in_its_place() -> None:
    def numbers() -> Iterator[int]:
        yield 1
        raise ValueError("no more of it")

    coming = ahead(numbers())
    assert next(coming) == 1
    with pytest.raises(ValueError, match="no more of it"):
        next(coming)


def test_nothing_more_is_made_for_one_who_has_left() -> None:
    closed = threading.Event()

    def numbers() -> Iterator[int]:
        try:
            yield from range(1_000_000)
        finally:
            closed.set()

    coming = ahead(numbers())
    assert next(coming) == 0
    coming.close()
    del coming
    assert closed.wait(20)


def test_without_a_thread_to_be_had_nothing_is_made_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("console.transfer.threads.start_thread", lambda work, name: False)
    assert list(ahead(range(3))) == [0, 1, 2]
