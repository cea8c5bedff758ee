"""Text in cells: exact widths, whatever the characters."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from console.formatting import visible
from console.ui.widgets.cells import ELLIPSIS, Cut, Span, fit_spans, head, padded, shorten, tail

texts = st.text(max_size=40).map(visible)
widths = st.integers(0, 50)


@given(texts, widths, st.sampled_from(Cut), st.booleans())
def test_padded_text_has_exactly_the_width(text: str, width: int, cut: Cut, right: bool) -> None:
    assert cell_len(padded(text, width, right=right, cut=cut)) == width


@given(texts, widths, st.sampled_from(Cut))
def test_what_is_cut_says_so_and_what_fits_is_whole(text: str, width: int, cut: Cut) -> None:
    short = shorten(text, width, cut)
    assert cell_len(short) <= width
    if cell_len(text) <= width:
        assert short == text
    elif width:
        assert ELLIPSIS in short


@given(texts, widths)
def test_head_and_tail_are_the_longest_that_fit(text: str, width: int) -> None:
    start, end = head(text, width), tail(text, width)
    assert text.startswith(start)
    assert text.endswith(end)
    assert cell_len(start) <= width >= cell_len(end)
    if start != text:
        assert cell_len(start + text[len(start)]) > width
    if end != text:
        assert cell_len(text[len(text) - len(end) - 1] + end) > width


@given(st.lists(texts.map(Span), min_size=1, max_size=5), widths, st.booleans())
def test_spans_fill_exactly_the_width(spans: list[Span], width: int, right: bool) -> None:
    fitted = fit_spans(spans, width, right=right)
    assert sum(cell_len(span.text) for span in fitted) == width


@pytest.mark.parametrize(
    ("cut", "expected"),
    [(Cut.END, "photo-0…"), (Cut.START, "…007.jpg"), (Cut.MIDDLE, "phot….jpg"[:4] + "…" + "jpg")],
)
def test_each_cut_keeps_its_end(cut: Cut, expected: str) -> None:
    assert shorten("photo-0007.jpg", 8, cut) == expected


def test_a_wide_character_is_not_halved() -> None:
    assert shorten("写真写真", 4) == "写…"
    assert padded("写真写真", 4) == "写… "


def test_a_name_that_its_beginning_tells_apart_is_cut_once() -> None:
    assert shorten("read me first.md", 15, Cut.ALIKE, differs=2) == shorten("read me first.md", 15, Cut.MIDDLE)
