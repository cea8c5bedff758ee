"""The threads that send: as many as are needed at once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial

import pytest

from console.transfer.threads import Slots, WorkerPool, wait_for

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
