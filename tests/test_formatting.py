"""Foreign text made harmless; sizes, rates, times in few characters."""

from __future__ import annotations

import sys
import unicodedata
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from console.formatting import age, byte_rate, byte_size, count, duration, visible

HARMFUL = {"Cc", "Cf", "Cs", "Zl", "Zp"}
UNITS = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40, "PiB": 2**50}
ANY_TEXT = st.text(st.characters(codec=None, exclude_categories=()))


@given(ANY_TEXT)
@example("\x1b]52;c;aGk=\x07")
@example("a\ud800\udcffb")
@example("\u202egpj.exe")
@example("\U000e0041\ufeff\u200d")
def test_visible_text_holds_nothing_a_terminal_acts_on(text):
    shown = visible(text)
    assert not {unicodedata.category(character) for character in shown} & HARMFUL
    assert shown.encode("utf-8").decode() == shown
    assert visible(shown) == shown


def test_visible_over_every_character_there_is():
    shown = visible("".join(map(chr, range(sys.maxunicode + 1))))
    assert not {unicodedata.category(character) for character in shown} & HARMFUL


@given(st.text(st.characters(exclude_categories=tuple(HARMFUL))))
def test_visible_text_stays_as_it_is(text):
    assert visible(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\nb\tc\r", r"a\nb\tc\r"),
        ("\x00\x1b\x7f\x9b", r"\x00\x1b\x7f\x9b"),
        (b"caf\xe9".decode("utf-8", "surrogateescape"), r"caf\xe9"),
        ("\u2028\u202e", r"\u2028\u202e"),
        ("\ud83d", r"\ud83d"),
        ("\U000e0001", r"\U000e0001"),
        ("naïve 文件 🎞 ü", "naïve 文件 🎞 ü"),
    ],
)
def test_what_is_not_shown_is_escaped(text, shown):
    assert visible(text) == shown


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "0.98 KiB"),
        (1024, "1.00 KiB"),
        (10 * 1024 - 1, "10.0 KiB"),
        (1_023_693, "0.98 MiB"),  # 999.7 KiB would be rounded to four digits
        (1023 * 1024, "1.00 MiB"),
        (200 * 2**20, "200 MiB"),
        (5 * 2**40, "5.00 TiB"),
        (2**63 - 1, "8192 PiB"),
    ],
)
def test_sizes(size, shown):
    assert byte_size(size) == shown


@given(st.integers(0, 999 * 2**50))
def test_sizes_are_short_and_within_one_percent(size):
    number, unit = byte_size(size).split()
    assert len(number) <= 4
    assert float(number) * UNITS[unit] == pytest.approx(size, rel=0.01)


def test_rates():
    assert byte_rate(0.4) == ""
    assert byte_rate(1536) == "1.50 KiB/s"


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (None, ""),
        (float("inf"), ""),
        (float("nan"), ""),
        (-1, "0s"),
        (0, "0s"),
        (59.4, "59s"),
        (59.6, "1m 00s"),
        (200, "3m 20s"),
        (3599.6, "1h 00m"),
        (7500, "2h 05m"),
        (4 * 86400 + 6 * 3600, "4d 06h"),
    ],
)
def test_durations(seconds, shown):
    assert duration(seconds) == shown


SCALE = {"d": 86400, "h": 3600, "m": 60, "s": 1}


@given(st.floats(0, 1e9))
def test_durations_are_short_and_lose_less_than_the_second_unit(seconds):
    parts = duration(seconds).split()
    assert len(parts) <= 2
    last = SCALE[parts[-1][-1]]
    assert -0.5 <= seconds - sum(int(part[:-1]) * SCALE[part[-1]] for part in parts) < last + 0.5


NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0s"), (59, "59s"), (60, "1m"), (3599, "59m"), (3600, "1h"), (86399, "23h"), (86400, "1d"), (-5, "0s")],
)
def test_ages(seconds, shown):
    moment = NOW - timedelta(seconds=seconds)
    assert age(moment, NOW) == shown
    assert age(moment.replace(tzinfo=None), NOW) == shown


def test_no_moment_has_no_age():
    assert age(None, NOW) == ""


def test_counts():
    assert [count(0, "upload"), count(1, "upload"), count(12400, "upload")] == [
        "0 uploads",
        "1 upload",
        "12,400 uploads",
    ]
    assert count(2, "index", "indexes") == "2 indexes"
