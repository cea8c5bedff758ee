"""How many requests of one kind go at once: found from what S3 and the link make of them, within a person's limit.

Owns the one number, and every reason to change it: it grows while more requests at once carry more in the same time,
and gives way where S3 asks for fewer, does not answer in time, has become slower, or this machine runs short of
descriptors, threads or memory. Pure: it is told times, asks no clock, and holds no lock (`threads` does both).

What requests carry together is told by Little's law: as many as were under way, divided by how long one took. So it is
known once a few requests of the new number are through, and not only after a second of them. By the same law the first
answer tells how many would be under way if as many were sent a second as this program can send at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

_ROUND_SECONDS: Final = 0.03
"""Requests of a shorter time say little: Python's lock alone can hold one up for so long."""
_LEAST_IN_A_ROUND: Final = 4
_FULL: Final = 0.8
"""So much of the number must have been in use for its requests to say what it is good for."""
_WORTH: Final = 0.2
"""Growth by a factor is kept where the throughput grows by at least so much of it: doubled, by 20 %."""
_STEADY: Final = 0.7
"""Where it grows by so much of the factor, only the distance limits it, and the next step may be a large one."""
_SOON: Final = 0.25
"""A large step is also the first one, where requests are through within so many seconds: should it be too large, it
costs no more than that."""
_MOST_A_SECOND: Final = 1500.0
"""So many small requests a second are the most that one process of this program sends on a fast machine …"""
_USEFUL_A_SECOND: Final = 6000.0
"""… and more at once than would carry so many, were each as quick as the quickest of a round, only wait for Python's
lock, and take processor time for that: with 120 where 16 do it was a fourth of all."""
_MOST_AHEAD: Final = 16 * 1024 * 1024
"""… and with so many bytes on their way a slow link has been filled for a second already."""
_LARGE_STEP, _STEP, _PROBE = 4.0, 2.0, 1.5
_SLOWER: Final = 0.5
"""Where the same number carries less than so much of what it did, S3 or the link is overloaded: try with fewer."""
_ENOUGH: Final = 0.85
_TRIES: Final = 2
"""Rounds until growth is judged: the first requests of a new connection also wait for the connection."""
_FIRST_PAUSE: Final = 1.0  # seconds until a larger number is tried again, doubled each time it was of no use …
_LONGEST_PAUSE: Final = 60.0  # … up to this
_ROUNDS_BETWEEN: Final = 8
"""But no sooner than after so many rounds: a number that is tried out for most of the time is no trial."""
_SHORT_PAUSE: Final = 30.0
"""What this machine lacks it lacks for a while."""


class _Mode(Enum):
    GROW = auto()
    HOLD = auto()
    SHRINK = auto()


@dataclass(slots=True)
class _Round:
    began_at: float
    count: int = 0
    amount: float = 0.0
    seconds: float = 0.0
    in_flight: int = 0
    most_in_flight: int = 0
    quickest: float = float("inf")

    @property
    def mean_in_flight(self) -> float:
        return self.in_flight / self.count

    @property
    def throughput(self) -> float:
        return self.amount / max(self.seconds, 1e-9) * self.mean_in_flight


class ConcurrencyController:
    """The number for one kind of request. Not thread-safe."""

    def __init__(self, *, first: int, most: int) -> None:
        """It begins with `first`; `most` is what memory and descriptors allow in any case."""
        if not 1 <= first <= most:
            raise ValueError(f"a limit of {first}, and at most {most}, would let nothing through")
        self._first = first
        self._most = most
        self._wanted: int | None = None
        self._number = float(first)
        self._mode = _Mode.GROW
        self._step = _STEP
        self._tries = 0
        self._round = _Round(0.0)
        self._good: tuple[float, float] | None = None  # the number that was worth its requests, and what it carried
        self._best = 0.0  # what that number has carried at most
        self._pause = _FIRST_PAUSE
        self._probe_at = 0.0
        self._refused: float | None = None  # the number at which S3 asked for fewer
        self._cut_at = float("-inf")
        self._is_new = True

    @property
    def limit(self) -> int:
        """So many may be under way now."""
        return max(1, int(min(self._number, self._ceiling)))

    @property
    def _ceiling(self) -> int:
        return self._most if self._wanted is None else self._wanted

    @property
    def _useful(self) -> float:
        """The number that growth ends at. A person's is used as it is."""
        if self._wanted is not None:
            return self._wanted
        return min(self._most, max(self._first, _USEFUL_A_SECOND * self._round.quickest))

    def set_limit(self, number: int | None) -> None:
        """A person's number: it is used as it is, and never exceeded; less goes only while there is a reason to give
        way. None: from now on it is found, beginning with what goes now."""
        if number is not None and number < 1:
            raise ValueError(f"a limit of {number} would let nothing through")
        self._wanted = number
        self._number = min(self._number, float(self._most)) if number is None else float(number)
        self._mode, self._step, self._tries, self._good = _Mode.GROW, _STEP, 0, None

    def finished(self, *, began_at: float, now: float, amount: float, in_flight: int, in_use: int = 0) -> None:
        """A request has done its work, `amount` bytes; so many were under way when it began, and so many are, or wait
        for it to end, as it does."""
        if self._is_new:
            self._is_new = False
            self._begin(now - began_at, amount, in_use)
        current = self._round
        if began_at < current.began_at:
            return  # of another number
        current.count += 1
        current.amount += amount
        current.seconds += now - began_at
        current.in_flight += in_flight
        current.most_in_flight = max(in_flight, current.most_in_flight)
        current.quickest = min(now - began_at, current.quickest)
        lasted = now - current.began_at
        is_turn = current.count >= self.limit or lasted > 2 * current.seconds / current.count
        if current.count >= _LEAST_IN_A_ROUND and lasted >= _ROUND_SECONDS and is_turn:
            self._evaluate(current, now)
            self._round = _Round(now)

    def _begin(self, seconds: float, amount: float, in_use: int) -> None:
        """The first answer is here: where requests take long, begin with as many as would be under way then."""
        if self._wanted is None and self._mode is _Mode.GROW and in_use >= _FULL * self.limit:
            number = min(_MOST_A_SECOND * seconds, _MOST_AHEAD / max(amount, 1.0), self._ceiling)
            self._number = max(self._number, number)

    def slowed_down(self, *, began_at: float, now: float) -> None:
        """S3 asks for fewer requests, or did not answer one in time: half as many, once for all that began before."""
        if began_at <= self._cut_at:
            return
        was_expected = self._refused is not None and self._number <= _PROBE * self._refused
        self._refused = min(self._number, float(self._ceiling))
        self._give_way(self._refused / 2, now, 2 * self._pause if was_expected else _FIRST_PAUSE)

    def ran_short(self, *, in_flight: int, now: float) -> None:
        """This machine had no descriptor, thread or memory for one more while so many were under way."""
        if now > self._cut_at:
            self._give_way(min(self._number, in_flight) / 2, now, _SHORT_PAUSE)

    def _give_way(self, number: float, now: float, pause: float) -> None:
        self._number = max(1.0, min(number, self._ceiling))
        self._cut_at = now
        self._pause = min(_LONGEST_PAUSE, pause)
        self._good = None
        self._best = 0.0
        self._round = _Round(now)
        self._hold(now)

    def _evaluate(self, measured: _Round, now: float) -> None:
        if measured.most_in_flight < _FULL * self.limit:
            return  # there was not enough to do for it
        throughput = measured.throughput
        if self._mode is _Mode.GROW:
            self._evaluate_growth(throughput, now)
        elif self._mode is _Mode.SHRINK:
            self._evaluate_less(throughput, now)
        else:
            self._evaluate_steady(throughput, now)

    def _evaluate_growth(self, throughput: float, now: float) -> None:
        factor, gain = 1.0, 1.0
        if self._good is not None:
            factor, gain = self._number / self._good[0], throughput / max(self._good[1], 1e-9)
            if gain < 1 + _WORTH * (factor - 1):
                self._tries += 1
                if self._tries >= _TRIES:
                    self._number = self._good[0]
                    self._best = self._good[1]
                    self._pause = min(_LONGEST_PAUSE, self._pause * 2)
                    self._hold(now)
                return
            if self._refused is None:
                self._pause = _FIRST_PAUSE
        self._good, self._tries = (self._number, throughput), 0
        if self._number >= self._useful:
            self._best = throughput
            self._hold(now)
            return
        if self._step > _PROBE:
            is_far = gain >= _STEADY * factor if factor > 1 else now - self._round.began_at < _SOON
            self._step = _LARGE_STEP if is_far else _STEP
        self._grow(now)

    def _grow(self, now: float) -> None:
        """The next number to try: below one that was refused, half of the way there."""
        number = max(self._number + 1, self._number * self._step)
        if number > self._useful:
            number = min(self._useful, max(self._number + 1, self._number * _PROBE))
        if self._refused is not None:
            if self._number + 1 < self._refused:
                number = min(number, self._number + max(1.0, (self._refused - self._number) / 2))
            elif self._mode is _Mode.GROW:  # as far as it was good; the pause for more is that of a refusal
                self._best = self._good[1] if self._good is not None else 0.0
                self._hold(now)
                return
        self._number = float(min(self._ceiling, number))
        self._mode = _Mode.GROW

    def _evaluate_steady(self, throughput: float, now: float) -> None:
        self._best = max(self._best, throughput)
        self._good = (self._number, throughput)
        if throughput < _SLOWER * self._best and self._number > self._first and self._wanted is None:
            self._mode = _Mode.SHRINK
            self._number = max(1.0, self._number / 2)
        elif now >= self._probe_at and self._number < self._useful:
            self._step, self._tries = _PROBE, 0
            self._grow(now)

    def _evaluate_less(self, throughput: float, now: float) -> None:
        """Fewer requests that carry as much are better: S3 answers each of them sooner."""
        if self._good is not None and throughput < _ENOUGH * self._good[1]:
            self._number, self._best = self._good
            self._hold(now)
            return
        self._good = (self._number, throughput)
        self._best = throughput
        if self._number > self._first:
            self._number = max(1.0, self._number / 2)
        else:
            self._hold(now)

    def _hold(self, now: float) -> None:
        self._mode = _Mode.HOLD
        self._probe_at = now + max(self._pause, _ROUNDS_BETWEEN * (now - self._round.began_at))
        self._round = _Round(now)
