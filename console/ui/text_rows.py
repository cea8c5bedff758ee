"""A text as rows of a list, wrapped to its width, so that nothing of it is cut away.

Owns the wrapping in terminal cells. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from rich.cells import cell_len

from console.ui.cells import Span, head
from console.ui.columns import Column
from console.ui.row_source import Key

_COLUMNS: Final = (Column("text", "", 1, 100_000, rank=0, share=1),)


class TextRows:
    """Lines to scroll through. The text is `visible()` but for its line ends."""

    columns: Sequence[Column] = _COLUMNS

    def __init__(self, text: str, width: int, words: str = "") -> None:
        self.text = text
        self._lines = list(wrapped(text, max(1, width)))
        self._words = words

    def __len__(self) -> int:
        return len(self._lines)

    def key(self, index: int) -> Key:
        """The line's number."""
        return index

    def index_of(self, key: Key) -> int | None:
        """The number itself, while there is such a line."""
        return key if isinstance(key, int) and key < len(self._lines) else None

    def whole(self, index: int) -> Sequence[Span] | None:
        """Every line goes across."""
        return [Span(self._lines[index])]

    def may_mark(self, index: int) -> bool:
        """Lines are not marked."""
        return False

    def empty_words(self) -> str:
        """Why there is no text."""
        return self._words

    def cell(self, index: int, column: str, width: int) -> Sequence[Span]:
        """The line."""
        return [Span(self._lines[index])]


def folded(text: str, width: int) -> Iterator[str]:
    """The lines of a text, broken at blanks where there are any, in at most `width` cells."""
    for line in text.split("\n"):
        rest = line
        while cell_len(rest) > width:
            part = head(rest, width) or rest[:1]
            blank = part.rfind(" ")
            if blank > 0 and not rest[len(part) :].startswith(" "):
                part = part[:blank]
            yield part
            rest = rest[len(part) :].removeprefix(" ")
        yield rest


def wrapped(text: str, width: int) -> Iterator[str]:
    """The lines of a text, those that are too long continued on the next; joined by nothing they are the text again."""
    for line in text.split("\n"):
        rest = line
        while True:
            part = head(rest, width) or rest[:1]
            yield part
            rest = rest[len(part) :]
            if not rest:
                break
