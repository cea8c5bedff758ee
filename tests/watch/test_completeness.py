"""When a file is complete, on clocks of the test's own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from console.files.walk import Found
from console.watch.completeness import PendingFiles
from tests.watch.clocks import SECOND, START, Time


def pending_files(time: Time, **settings: Any) -> PendingFiles:
    return PendingFiles(clock=time.monotonic, wall_clock_ns=time.wall, **settings)


def file(time: Time, path: str = "/in/a", *, size: int = 1, age: float = 0.0) -> Found:
    moment = time.wall() - int(age * SECOND)
    return Found(path, path.removeprefix("/in/"), size, moment, moment, (1, 1))


def test_a_file_is_complete_once_it_was_still_for_the_quiet_time() -> None:
    time = Time()
    rest = pending_files(time, quiet_seconds=5)
    found = file(time)
    assert not rest.look(found)
    assert (rest.due(), rest.next_due()) == ([], 5)
    time.passed = 4.9
    assert not rest.look(found)
    time.passed = 5.0
    assert rest.due() == ["/in/a"]
    assert rest.look(found)
    assert len(rest) == 0


def test_a_write_begins_the_quiet_time_again() -> None:
    time = Time()
    rest = pending_files(time, quiet_seconds=5)
    rest.look(file(time, size=1))
    time.passed = 4.0
    grown = file(time, size=2)
    assert not rest.look(grown)
    time.passed = 8.9
    assert not rest.look(grown)
    time.passed = 9.0
    assert rest.look(grown)


def test_an_old_file_is_complete_at_first_sight_and_a_copy_that_keeps_its_time_is_not() -> None:
    time = Time()
    rest = pending_files(time, quiet_seconds=5)
    old = file(time, age=60)
    assert rest.look(old)
    assert not rest.look(replace(old, ctime_ns=time.wall()))


def test_on_a_share_the_clock_of_the_server_is_believed_only_within_bounds() -> None:
    time = Time()
    rest = pending_files(time, quiet_seconds=5, skew_seconds=600)
    assert not rest.look(file(time, age=60))
    assert rest.look(file(time, age=700))
    ahead = file(time, "/in/b", age=-3600)
    assert not rest.look(ahead)
    time.passed = 5.0
    assert rest.look(ahead)


def test_minimum_age_counts_from_the_last_change() -> None:
    time = Time()
    rest = pending_files(time, quiet_seconds=5, minimum_age_seconds=60)
    found = file(time, age=30)
    assert not rest.look(found)
    assert rest.next_due() == 30
    time.passed = 30.0
    assert rest.look(found)


def test_a_rename_into_place_is_complete_at_once() -> None:
    time = Time()
    assert pending_files(time, complete_when="renamed").look(file(time))


def test_a_marker_says_complete_unless_it_is_older_than_the_file() -> None:
    time = Time()
    rest = pending_files(time, complete_when="marked")
    found = file(time)
    assert not rest.look(found)
    assert len(rest) == 0  # waiting does not help: the marker is an event of its own
    assert not rest.look(found, found.mtime_ns - 1)
    assert rest.look(found, found.mtime_ns)


def test_a_file_that_somebody_has_open_is_looked_at_again_after_the_quiet_time() -> None:
    time = Time()
    rest = pending_files(time, quiet_seconds=5)
    old = file(time, age=60)
    rest.again(old)
    assert rest.due() == []
    time.passed = 5.0
    assert rest.due() == ["/in/a"]


def test_memory_is_bounded_and_what_did_not_fit_is_said() -> None:
    time = Time()
    rest = pending_files(time, quiet_seconds=5, capacity=2)
    for name in ("a", "b", "c"):
        rest.look(file(time, f"/in/{name}"))
    assert len(rest) == 2
    assert rest.take_overflow()
    assert not rest.take_overflow()


def test_files_that_have_to_wait_beyond_the_next_scan_are_left_to_it() -> None:
    time = Time()
    rest = pending_files(time, quiet_seconds=5, minimum_age_seconds=3600, horizon_seconds=300)
    assert not rest.look(file(time))
    assert len(rest) == 0
    assert not rest.take_overflow()


@given(st.lists(st.tuples(st.floats(0.01, 20.0), st.booleans()), min_size=1, max_size=40), st.floats(0.5, 10.0))
def test_never_complete_less_than_the_quiet_time_after_a_write(steps: list[tuple[float, bool]], quiet: float) -> None:
    """Whatever the rhythm of writes and looks."""
    time = Time()
    rest = pending_files(time, quiet_seconds=quiet)
    size, written_at, changed_at = 0, 0.0, START
    for passed, writes in steps:
        time.passed += passed
        if writes:
            size, written_at, changed_at = size + 1, time.passed, time.wall()
        if rest.look(Found("/in/a", "a", size, changed_at, changed_at, (1, 1))):
            assert time.passed - written_at >= quiet - 1e-6
