"""Wrapping loses nothing."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from console.formatting import visible
from console.ui.widgets.text_screen import TextRows, folded, wrapped

texts = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=120).map(
    lambda text: "\n".join(visible(line) for line in text.split("\n"))
)


@given(texts, st.integers(2, 40))
def test_wrapped_lines_fit_and_join_to_the_text(text: str, width: int) -> None:
    lines = list(wrapped(text, width))
    assert all(cell_len(line) <= width for line in lines)
    assert "".join(lines) == text.replace("\n", "")


@given(texts, st.integers(2, 40))
def test_folded_lines_fit_and_keep_every_letter(text: str, width: int) -> None:
    lines = list(folded(text, width))
    assert all(cell_len(line) <= width for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace("\n", "").replace(" ", "")


def test_folding_breaks_at_blanks() -> None:
    assert list(folded("what arrived is kept for the retry", 12)) == ["what arrived", "is kept for", "the retry"]


def test_an_empty_text_says_why() -> None:
    assert TextRows("", 10, "nothing here").empty_text() == "nothing here"
