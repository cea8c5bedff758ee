"""What a job comes to, in numbers and in words."""

from __future__ import annotations

import pytest

from console.formatting import long_duration
from console.job_totals import common_name, summary


def test_a_job_is_told_in_one_sentence() -> None:
    assert summary(480, 1.5 * 1024**3, 725, {}, {"FileGone": 2}) == "480 files, 1.50 GiB, 12 min, 2 failed: FileGone"
    assert summary(1, 0, None, {"paused": 1, "cancelled": 0}, {}) == "1 file, 0 B, 1 paused"


def test_of_many_reasons_the_most_frequent_are_named() -> None:
    failures = {"Slow": 1, "AccessDenied": 5, "FileGone": 2, "NoSuchBucket": 1}
    assert summary(9, 0, 1, {}, failures).endswith("9 failed: AccessDenied, FileGone, NoSuchBucket, …")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "0 s"),
        (7, "7 s"),
        (200, "3 min 20 s"),
        (725, "12 min"),
        (7500, "2 h 5 min"),
        (90000, "1 d 1 h"),
        (86460, "1 d 1 min"),
    ],
)
def test_lengths_of_time_are_read_in_a_sentence(seconds: float, text: str) -> None:
    assert long_duration(seconds) == text


@pytest.mark.parametrize(
    ("first", "last", "name"),
    [
        ("/srv/a", "/srv/a", "/srv/a"),
        ("/srv/photos/1.jpg", "/srv/photos/b/2.jpg", "/srv/photos"),
        ("/srv/ab", "/srv/ac", "/srv"),
        ("/a", "/b", "/"),
        ("", "", ""),
        ("relative", "/absolute", ""),
    ],
)
def test_a_job_has_the_name_of_what_holds_its_files(first: str, last: str, name: str) -> None:
    assert common_name(first, last) == name
