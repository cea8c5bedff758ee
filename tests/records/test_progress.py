"""Counters of one upload: what a sample says, and when there is none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.records.writer import RATE_WINDOW_SECONDS, Progress, Sample

SIZE = 1000


class Clock:
    """Stands at the second that it is set to."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


class Counted(Progress):
    """With a clock of its own: `sample_at` a second."""

    def __init__(self, size: int = SIZE, current: int = 0) -> None:
        self.clock = Clock()
        super().__init__(size, current, self.clock)

    def sample_at(self, second: float) -> Sample | None:
        self.clock.now = second
        return self.sample()


def test_nothing_new_gives_no_sample():
    progress = Counted(SIZE, 250)
    assert progress.sample_at(1) is None
    progress.confirmed(500)
    assert progress.sample_at(2) == Sample(500, 50.0, 0.0, 500)
    assert progress.sample_at(3) is None


def test_an_upload_is_under_way_from_its_first_byte_on():
    progress = Counted()
    assert not progress.is_under_way(0)
    progress.sent(1)
    assert progress.is_under_way(0)
    assert not progress.is_under_way(3600)


def test_a_sample_that_was_not_written_comes_again():
    progress = Counted()
    progress.confirmed(500)
    assert progress.sample_at(1) == Sample(500, 50.0, 0.0, 500)
    progress.unwritten()
    assert progress.sample_at(2) == Sample(500, 50.0, 0.0, 500)


def test_the_rate_is_that_of_the_last_seconds():
    progress = Counted()
    for second in range(1, 11):
        progress.sent(100 if second <= 5 else 0)
        progress.sample_at(second)
    progress.sent(40)
    assert progress.sample_at(11) == Sample(0, 0.0, 40 / RATE_WINDOW_SECONDS, 540)
    rates = [sample.rate for second in range(12, 20) if (sample := progress.sample_at(second))]
    assert rates == [0.0]


def test_the_time_of_waiting_does_not_count():
    progress = Counted()
    progress.clock.now = 100
    progress.sent(600)
    assert progress.sample_at(102) == Sample(0, 0.0, 300.0, 600)


def test_bytes_taken_back_make_no_negative_rate():
    progress = Counted()
    progress.sent(-500)
    assert progress.sample_at(1) is None


def test_only_completion_says_100_percent():
    progress = Counted()
    progress.confirmed(SIZE)
    assert progress.sample_at(1) == Sample(SIZE, 99.9, 0.0, SIZE)


def test_what_is_on_its_way_counts_beyond_what_was_acknowledged():
    progress = Counted(SIZE, 200)
    progress.sent(300)
    assert progress.sample_at(1) == Sample(200, 20.0, 300.0, 500)
    progress.confirmed(500)
    progress.sent(100)
    progress.sent(-100)  # a retry takes it back
    progress.sent(250)
    assert progress.sample_at(2) == Sample(500, 50.0, 275.0, 750)
    progress.sent(SIZE)
    sample = progress.sample_at(3)
    assert sample is not None
    assert sample.sent == SIZE


def test_parts_that_s3_has_already_are_not_on_their_way():
    progress = Counted()
    progress.confirmed(600)
    progress.sent(100)
    sample = progress.sample_at(1)
    assert sample is not None
    assert (sample.current, sample.sent) == (600, 700)


def test_another_file_starts_again():
    progress = Counted(SIZE, 700)
    progress.resized(0)
    assert progress.sample_at(1) == Sample(0, 0.0, 0.0)


@given(st.lists(st.tuples(st.integers(0, SIZE), st.integers(-50, 200), st.floats(0, 10)), max_size=30))
def test_samples_are_always_within_bounds(steps):
    progress, now = Counted(), 0.0
    for total, sent, seconds in steps:
        now += seconds
        progress.confirmed(total)
        progress.sent(sent)
        if (sample := progress.sample_at(now)) is not None:
            assert sample.current == total
            assert 0 <= sample.percentage <= 99.9
            assert sample.percentage == pytest.approx(100 * total / SIZE, abs=0.11)
            assert sample.rate >= 0


def test_what_is_compressed_counts_as_its_share_of_the_file():
    progress = Progress(1_000, 500)
    progress.staged(100)
    assert progress.sample() is None  # what the document says of an earlier try
    progress.confirmed(60)
    progress.sent(20)
    sample = progress.sample()
    assert sample is not None
    assert (sample.current, sample.percentage, sample.sent) == (600, 60.0, 800)
    assert progress.moved == 80
    progress.sent(20)
    assert progress.moved is None  # all is on its way
    progress.confirmed(100)
    assert progress.now().current == 1_000
    progress.resized(10)
    assert progress.now().current == 0


def test_what_is_encrypted_is_larger_and_never_more_than_the_file():
    progress = Progress(10)
    progress.staged(210)
    progress.sent(210)
    progress.confirmed(210)
    sample = progress.sample()
    assert sample is not None
    assert (sample.current, sample.sent) == (10, 10)
