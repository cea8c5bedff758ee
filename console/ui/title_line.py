"""The top edge of a pane: frame, name on the left, counts on the right.

Owns one line of text, and what of it is left out or cut where room is short. Drawn by itself, and not as Textual's
border title, because setting that one repaints the whole pane, and a count changes often.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final

from rich.cells import cell_len
from rich.segment import Segment
from textual.strip import Strip

from console.ui.cells import Cut, shorten
from console.ui.lines import LinesWidget

LEAST_WHERE: Final = 8


class TitleLine(LinesWidget):
    """`╭─ Uploads ─────────── 3 marked ─╮`; heavy lines with the class `-focused`."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"title--name", "title--counts"}

    def __init__(self, title: str) -> None:
        super().__init__()
        self.title = title
        self.where = ""
        self.keeps_where = False
        self.counts: tuple[str, ...] = ("",)

    def show(self, title: str, counts: str | Sequence[str], where: str = "", *, keeps_where: bool = False) -> None:
        """Show other words (plain text, already `visible()`).

        `where` is a path that loses its beginning when cut; its end is always there if `keeps_where`. Of several
        `counts` the first that has room is shown.
        """
        forms = (counts,) if isinstance(counts, str) else tuple(counts)
        if (title, forms, where) != (self.title, self.counts, self.where):
            self.title, self.counts, self.where, self.keeps_where = title, forms, where, keeps_where
            self.redraw()

    def make_line(self, y: int) -> Strip:
        """The whole line."""
        width = self.size.width
        left, line, right = "┏━┓" if self.has_class("-focused") else "╭─╮"
        title, counts = self._fit(max(0, width - 8))
        used = cell_len(title) + 4 + (cell_len(counts) + 3 if counts else 1)
        frame = self.look()
        segments = [
            Segment(left + line, frame),
            Segment(f" {title} ", self.look("title--name")),
            Segment(line * (width - used - 1), frame),
        ]
        if counts:
            segments += [Segment(f" {counts} ", self.look("title--counts")), Segment(line, frame)]
        segments.append(Segment(right, frame))
        return Strip(segments).crop_extend(0, width, frame)

    def _fit(self, room: int) -> tuple[str, str]:
        """What stands at the left and at the right in so many cells.

        What can be left out of the counts goes first. A path that is kept says what the rows are better than the name
        before it, which goes next; any other path goes before the name. Half of the line is for the counts.
        """
        least = min(LEAST_WHERE, cell_len(self.where))
        kept = least if self.keeps_where else 0
        for place, counts in enumerate(self.counts):
            space = room - cell_len(counts) - 1
            beside = space - cell_len(self.title) - 1
            if beside >= (kept or -1):
                where = shorten(self.where, beside, Cut.START) if beside >= least else ""
                return f"{self.title} {where}".rstrip(), counts
            if place and 0 < kept <= space:
                return shorten(self.where, space, Cut.START), counts
        counts = shorten(self.counts[-1], max(room // 2, room - (kept or cell_len(self.title)) - 1))
        space = room - cell_len(counts) - 1
        return shorten(self.where, space, Cut.START) if kept else shorten(self.title, space), counts


def count_forms(parts: Sequence[tuple[int, str]]) -> list[str]:
    """Parts in one text, and shorter ones: as with columns, what has the highest rank goes first, and rank 0 never."""
    kept = list(parts)
    forms = [" · ".join(words for _, words in kept)]
    for rank in sorted({rank for rank, _ in parts if rank}, reverse=True):
        kept = [part for part in kept if part[0] != rank]
        if kept:
            forms.append(" · ".join(words for _, words in kept))
    return forms
