"""How much is claimed ahead, by how long it waited before."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from console.runner.active import ClaimAhead

MIB = 1024 * 1024


def after(*waits: float, rounds: int = 1) -> int:
    """What is ahead after so many claims, behind each of which uploads waited so long."""
    pace = ClaimAhead()
    for _ in range(rounds):
        for seconds in waits:
            pace.waited(seconds)
        pace.claimed()
    return pace.bytes_ahead // MIB


def test_it_grows_while_nobody_waits_and_shrinks_where_one_did() -> None:
    assert after() == 8
    assert after(0.01) == 16
    assert after(0.01, rounds=40) == 256
    assert after(0.01, 0.6, 0.01) == 4
    assert after(0.6, rounds=40) == 1
    assert after(0.3, rounds=40) == 8


def test_a_claim_behind_which_nothing_began_tells_nothing() -> None:
    pace = ClaimAhead()
    pace.waited(0.01)
    for _ in range(5):
        pace.claimed()
    assert pace.bytes_ahead == 16 * MIB


@given(st.floats(4 * MIB, 4_000 * MIB), st.integers(MIB // 4, MIB))
def test_whatever_the_speed_nothing_waits_for_long_and_a_claim_lasts(rate: float, size: int) -> None:
    """One after the other at so many bytes a second; the next claim comes when half of what is ahead has begun."""
    pace = ClaimAhead()
    waiting: list[float] = []
    now = 0.0
    for _ in range(60):
        pace.claimed()
        room = pace.bytes_ahead // size - len(waiting)
        waiting += [now] * max(1, room)
        longest, begun = 0.0, len(waiting) - pace.bytes_ahead // size // 2
        for claimed_at in waiting[: max(1, begun)]:
            longest = max(longest, now - claimed_at)
            pace.waited(now - claimed_at)
            now += size / rate
        del waiting[: max(1, begun)]
    assert longest <= 1.0 + size / rate  # the file that is being sent is waited for in any case
    assert pace.bytes_ahead >= min(256 * MIB, rate * 0.07) or pace.bytes_ahead == 256 * MIB
