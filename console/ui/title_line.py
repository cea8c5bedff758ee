"""The top edge of a pane: frame, name on the left, counts on the right.

Owns one line of text and its ellipsis. Drawn by itself, and not as Textual's border title, because setting that one
repaints the whole pane, and a count changes often.
"""

from __future__ import annotations

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
        self.counts = ""

    def show(self, title: str, counts: str, where: str = "") -> None:
        """Show other words (plain text, already `visible()`); `where` is a path that loses its beginning when cut."""
        if (title, counts, where) != (self.title, self.counts, self.where):
            self.title, self.counts, self.where = title, counts, where
            self.redraw()

    def make_line(self, y: int) -> Strip:
        """The whole line; a path after the name loses its beginning first."""
        width = self.size.width
        left, line, right = "┏━┓" if self.has_class("-focused") else "╭─╮"
        room = max(0, width - 8)
        # The path gives way first, then the counts, but half of the line is theirs.
        counts = shorten(self.counts, max(room // 2, room - cell_len(self.title) - 3))
        space = room - (cell_len(counts) + 3 if counts else 0)
        title = shorten(self.title, space)
        beside = space - cell_len(title) - 1
        if self.where and beside >= min(LEAST_WHERE, cell_len(self.where)):
            title += f" {shorten(self.where, beside, Cut.START)}"
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
