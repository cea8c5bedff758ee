"""What people type into forms."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.errors import UsageError
from console.records.runners import Limits
from console.ui.widgets.dialogs import (
    LONGEST_LINK_SECONDS,
    lifetime_fields,
    limit_fields,
    limit_texts,
)

MIB = 1024 * 1024
BANDWIDTH, UPLOADS, PARTS = limit_fields()
(LIFETIME,) = lifetime_fields()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", 0),
        ("none", 0),
        ("0", 0),
        ("500", 500),
        ("500k", 500_000),
        ("500KiB", 512_000),
        ("20 MiB/s", 20 * MIB),
        ("1,5 GiB", 1536 * MIB),
    ],
)
def test_rates(text: str, expected: int) -> None:
    assert BANDWIDTH.read(text) == expected


@pytest.mark.parametrize(("text", "expected"), [("90m", 5400), ("1h 30m", 5400), ("7D", 604_800), ("45 s", 45)])
def test_times(text: str, expected: int) -> None:
    assert LIFETIME.read(text) == expected


@pytest.mark.parametrize("text", ["fast", "-1", "1 parsec", "١k", "9" * 400 + "x", "1e3"])
def test_rates_that_make_no_sense(text: str) -> None:
    with pytest.raises(UsageError, match="expected a rate"):
        BANDWIDTH.read(text)


@pytest.mark.parametrize("text", ["", "soon", "8d", "0s", "1h soon", "5", "９d"])
def test_times_that_make_no_sense(text: str) -> None:
    with pytest.raises(UsageError):
        LIFETIME.read(text)


@pytest.mark.parametrize("text", ["", "0", "257", "-3", "four", "²", "1.5"])
def test_numbers_that_make_no_sense(text: str) -> None:
    with pytest.raises(UsageError, match="1 to 256"):
        UPLOADS.read(text)


@given(st.integers(1, LONGEST_LINK_SECONDS))
def test_every_time_in_seconds_can_be_said(seconds: int) -> None:
    assert LIFETIME.read(f"{seconds}s") == seconds


@given(st.sampled_from([0, 1024, 10 * MIB, 999 * MIB]), st.integers(1, 256), st.integers(1, 256))
def test_limits_are_read_as_they_are_shown(bandwidth: int, uploads: int, parts: int) -> None:
    limits = Limits(bandwidth, uploads, parts)
    texts = limit_texts(limits)
    assert Limits(**{field.name: field.read(texts[field.name]) for field in limit_fields()}) == limits
