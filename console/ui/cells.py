"""Text in terminal cells: pieces of a line with a tone each, cut and padded to an exact width.

Owns the measuring (wide characters take two cells, combining ones none) and the ellipsis. Pure: no widget, no colours;
a tone is a name that the style sheet gives a colour to. Callers pass text through `formatting.visible()` first.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Final, NamedTuple

from rich.cells import cell_len, get_character_cell_size

ELLIPSIS: Final = "…"


class Tone(StrEnum):
    """What a piece of text means; the style sheet's `rows--<tone>` says how it looks."""

    PLAIN = "plain"
    MUTED = "muted"
    STRONG = "strong"
    ACCENT = "accent"
    GOOD = "good"
    WARNING = "warning"
    BAD = "bad"
    BAR = "bar"
    TROUGH = "trough"


class Span(NamedTuple):
    """A piece of a line."""

    text: str
    tone: Tone = Tone.PLAIN


def spans_length(spans: Iterable[Span]) -> int:
    """How many cells spans take."""
    return sum(cell_len(span.text) for span in spans)


class Cut(StrEnum):
    """Where a text that is too long loses its letters."""

    END = "end"
    MIDDLE = "middle"
    START = "start"


def head(text: str, width: int) -> str:
    """The longest beginning of `text` that fits `width` cells."""
    if text.isascii():
        return text[: max(0, width)]
    used = 0
    for index, character in enumerate(text):
        used += get_character_cell_size(character)
        if used > width:
            return text[:index]
    return text


def tail(text: str, width: int) -> str:
    """The longest end of `text` that fits `width` cells."""
    if text.isascii():
        return text[len(text) - width :] if 0 < width < len(text) else text if width > 0 else ""
    used = 0
    for index in range(len(text) - 1, -1, -1):
        used += get_character_cell_size(text[index])
        if used > width:
            return text[index + 1 :]
    return text


def shorten(text: str, width: int, cut: Cut = Cut.END) -> str:
    """`text` in at most `width` cells, with an ellipsis where something is missing."""
    if cell_len(text) <= width:
        return text
    room = width - 1
    if room < 0:
        return ""
    if cut is Cut.END:
        return head(text, room) + ELLIPSIS
    if cut is Cut.START:
        return ELLIPSIS + tail(text, room)
    # The end of a name tells more than its middle: extension, number, last folder.
    end = tail(text, room // 2)
    return head(text, room - cell_len(end)) + ELLIPSIS + end


def padded(text: str, width: int, *, right: bool = False, cut: Cut = Cut.END) -> str:
    """`text` in exactly `width` cells."""
    fitted = shorten(text, width, cut)
    blank = " " * (width - cell_len(fitted))
    return blank + fitted if right else fitted + blank


def fit_spans(spans: Sequence[Span], width: int, *, right: bool = False, cut: Cut = Cut.END) -> list[Span]:
    """Spans in exactly `width` cells. Several spans are cut at their end, a single one as `cut` says."""
    if len(spans) == 1:
        return [Span(padded(spans[0].text, width, right=right, cut=cut), spans[0].tone)]
    total = spans_length(spans)
    if total > width:
        return _cut_end(spans, width)
    blank = Span(" " * (width - total))
    if not blank.text:
        return list(spans)
    return [blank, *spans] if right else [*spans, blank]


def _cut_end(spans: Iterable[Span], width: int) -> list[Span]:
    room = width - 1
    if room < 0:
        return []
    kept: list[Span] = []
    for span in spans:
        part = head(span.text, room)
        room -= cell_len(part)
        if part:
            kept.append(Span(part, span.tone))
        if part != span.text:
            break
    # A wide character that did not fit leaves one cell over.
    return [*kept, Span(ELLIPSIS + " " * room, Tone.MUTED)]
