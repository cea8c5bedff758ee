"""The controller against simulated links, by a clock of their own: latency, bandwidth, servers that refuse or slow."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from console.transfer.concurrency import ConcurrencyController

MIB = 1024 * 1024


@dataclass
class Link:
    """A path to S3 on which time passes only as requests take it.

    `latency` seconds each; `bandwidth` bytes a second for all together; `rate` requests a second, beyond which they
    queue up; `connecting` seconds more for the first request of a connection; more than `most` at once are refused.
    """

    latency: float = 0.0
    bandwidth: float = float("inf")
    rate: float = float("inf")
    connecting: float = 0.0
    most: int = 1_000_000
    now: float = 0.0
    _link_free: float = 0.0
    _server_free: float = 0.0
    _connections: int = 0
    limits: list[tuple[float, int]] = field(default_factory=list)
    refused: int = 0

    def carry(
        self,
        controller: ConcurrencyController,
        count: int,
        size: int,
        *,
        at: Callable[[float], None] = lambda _: None,
        offered: int | None = None,
    ) -> float:
        """Send `count` bodies of `size` bytes, and tell how long that took. `offered`: no more than that at once."""
        began = self.now
        numbers = itertools.count()
        under_way: list[tuple[float, int, float, int, bool]] = []
        left = count
        while left or under_way:
            room = controller.limit if offered is None else min(controller.limit, offered)
            while left and len(under_way) < room:
                left -= 1
                ends, is_refused = self._request(size, len(under_way) + 1)
                heapq.heappush(under_way, (ends, next(numbers), self.now, len(under_way) + 1, is_refused))
            ends, _, began_at, in_flight, is_refused = heapq.heappop(under_way)
            self.now = max(self.now, ends)
            at(self.now)
            if is_refused:
                self.refused += 1
                left += 1
                controller.slowed_down(began_at=began_at, now=self.now)
            else:
                in_use = len(under_way) + 1
                controller.finished(began_at=began_at, now=self.now, amount=size, in_flight=in_flight, in_use=in_use)
            self.limits.append((self.now, controller.limit))
        return self.now - began

    def _request(self, size: int, in_flight: int) -> tuple[float, bool]:
        connect = 0.0
        if in_flight > self._connections:
            self._connections, connect = in_flight, self.connecting
        if in_flight > self.most:
            return self.now + connect + self.latency, True
        self._link_free = max(self._link_free, self.now + connect) + size / self.bandwidth
        self._server_free = max(self._server_free, self._link_free) + 1 / self.rate
        return self._server_free + self.latency, False

    def typical(self, since: float = 0.0) -> int:
        """The limit that held most often since then."""
        limits = sorted(limit for at, limit in self.limits if at >= since)
        return limits[len(limits) // 2]


def small() -> ConcurrencyController:
    return ConcurrencyController(first=16, most=256)


def test_it_grows_to_all_that_is_allowed_where_only_the_distance_limits() -> None:
    controller, link = small(), Link(latency=0.08)

    seconds = link.carry(controller, 2_000, 4096)

    assert controller.limit == 256
    assert seconds < 1.3 * 2_000 / 256 * 0.08


def test_the_first_answer_tells_how_far_the_server_is() -> None:
    """Few files are sent before a number would have grown step by step."""
    controller, link = small(), Link(latency=0.08)

    seconds = link.carry(controller, 400, 300 * 1024)

    assert seconds < 5 * 0.08


def test_to_a_near_server_no_more_go_at_once_than_are_of_use() -> None:
    """Those that wait for Python's lock count as under way: it seems that more of them carry more."""
    controller = small()
    now = 0.0
    for each in range(2_000):
        now += 0.0005
        limit = controller.limit
        took = 0.001 if each % 8 == 0 else 0.01
        controller.finished(began_at=now - took, now=now, amount=4096, in_flight=limit, in_use=limit)

    assert controller.limit <= 16


def test_the_first_answer_of_a_near_server_changes_nothing() -> None:
    controller, link = small(), Link(latency=0.002)

    link.carry(controller, 15, 4096)

    assert controller.limit == 16


def test_connections_that_have_to_be_made_do_not_keep_it_from_growing() -> None:
    controller, link = small(), Link(latency=0.08, connecting=0.24)  # as TLS takes

    link.carry(controller, 4_000, 4096)

    assert controller.limit == 256


def test_it_begins_low() -> None:
    controller, link = small(), Link(latency=0.08)

    link.carry(controller, 8, 4096)

    assert controller.limit == 16


def test_a_full_link_gets_no_more_than_fills_it() -> None:
    """100 Mbit/s and 20 ms hold 250 kB on their way: 16 bodies of 1 MiB fill it many times over."""
    controller, link = small(), Link(latency=0.02, bandwidth=12.5e6)

    seconds = link.carry(controller, 1_000, MIB)

    assert seconds < 1.01 * 1_000 * MIB / 12.5e6 + 0.02
    assert link.typical(since=10.0) <= 16


def test_bodies_fill_a_fast_link_that_is_far_away() -> None:
    """1 Gbit/s and 80 ms hold 10 MB: a part of 8 MiB at a time would fill less than half of it."""
    controller, link = ConcurrencyController(first=2, most=64), Link(latency=0.08, bandwidth=125e6)

    seconds = link.carry(controller, 128, 8 * MIB)

    assert seconds < 1.1 * 128 * 8 * MIB / 125e6 + 0.08


def test_a_server_that_refuses_is_given_way_to() -> None:
    controller, link = small(), Link(latency=0.08, most=40)

    link.carry(controller, 8_000, 4096)

    assert link.refused < 400
    assert 10 <= link.typical(since=2.0) <= 40


def test_requests_that_began_together_count_once_when_they_are_refused() -> None:
    controller = ConcurrencyController(first=64, most=256)

    for late in range(50):
        controller.slowed_down(began_at=0.0, now=1.0 + late / 100)

    assert controller.limit == 32


def test_a_server_that_answers_a_fixed_number_a_second_is_not_buried() -> None:
    controller, link = small(), Link(latency=0.01, rate=500)

    seconds = link.carry(controller, 5_000, 4096)

    assert seconds < 1.05 * 5_000 / 500
    assert link.typical(since=2.0) <= 32


def test_a_server_that_becomes_slower_gets_fewer_and_more_again_when_it_is_well() -> None:
    controller, link = small(), Link(latency=0.05)
    link.carry(controller, 4_000, 4096)
    assert controller.limit == 256

    link.rate = 200  # it has become slow: 256 at once would each wait for more than a second
    link.carry(controller, 6_000, 4096)
    assert controller.limit <= 32

    link.rate = float("inf")
    link.carry(controller, 30_000, 4096)
    assert controller.limit >= 128


def test_a_person_s_number_holds_at_once_and_is_never_exceeded() -> None:
    controller, link = small(), Link(latency=0.08)
    controller.set_limit(5)
    assert controller.limit == 5

    link.carry(controller, 500, 4096)

    assert {limit for _, limit in link.limits} == {5}


def test_a_person_s_number_stays_when_the_server_becomes_slower() -> None:
    controller, link = small(), Link(latency=0.02)
    controller.set_limit(32)
    link.carry(controller, 2_000, 4096)

    link.rate = 100
    link.carry(controller, 2_000, 4096)

    assert {limit for _, limit in link.limits} == {32}


def test_a_person_s_number_gives_way_to_a_refusal_and_comes_back() -> None:
    controller, link = small(), Link(latency=0.02)
    controller.set_limit(8)

    controller.slowed_down(began_at=0.0, now=0.1)
    assert controller.limit == 4

    link.now = 0.1
    link.carry(controller, 3_000, 4096)
    assert controller.limit == 8


def test_after_a_person_s_number_it_finds_its_own_again() -> None:
    controller, link = small(), Link(latency=0.08)
    controller.set_limit(3)
    link.carry(controller, 30, 4096)

    controller.set_limit(None)
    link.carry(controller, 4_000, 4096)

    assert controller.limit == 256


def test_a_lack_of_descriptors_halves_what_was_under_way_and_lasts() -> None:
    controller, link = small(), Link(latency=0.08)
    link.carry(controller, 2_000, 4096)

    controller.ran_short(in_flight=200, now=link.now)
    assert controller.limit == 100

    link.limits.clear()
    began = link.now
    link.carry(controller, 80_000, 4096)
    assert {limit for at, limit in link.limits if at < began + 29} == {100}
    assert controller.limit > 100


def test_one_request_at_a_time_is_always_let_through() -> None:
    controller = small()

    for moment in range(20):
        controller.ran_short(in_flight=1, now=float(moment))
        controller.slowed_down(began_at=float(moment), now=moment + 0.5)

    assert controller.limit == 1


def test_what_is_not_used_does_not_grow() -> None:
    controller, link = small(), Link(latency=0.08)

    link.carry(controller, 1_000, 4096, offered=4)

    assert controller.limit == 16


@pytest.mark.parametrize(("first", "most"), [(0, 4), (8, 4)])
def test_a_limit_that_lets_nothing_through_is_refused(first: int, most: int) -> None:
    with pytest.raises(ValueError, match="would let nothing through"):
        ConcurrencyController(first=first, most=most)
