"""A widget that is drawn line by line, and only those lines that differ from what is on the screen.

Owns remembering what is on the screen. Not here: what the lines say; which cells of a line are sent (`thrift`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from console.ui.cells import Span, Tone


class LinesWidget(Widget):
    """Subclasses say what line `y` is (`make_line`) and call `redraw` when something changed."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {f"lines--{tone}" for tone in Tone}

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._lines: dict[int, Strip] = {}
        self._looks: dict[tuple[str, ...], Style] = {}

    def make_line(self, y: int) -> Strip:
        """The line at that height, exactly as wide as the widget."""
        raise NotImplementedError

    def redraw(self) -> None:
        """Draw the lines that differ from what is on the screen."""
        if not self.is_mounted or not self.size:
            return
        for y in range(self.size.height):
            new = self.make_line(y)
            old = self._lines.get(y)
            if old is not new and old != new:
                self.refresh(Region(0, y, self.size.width, 1))
            self._lines[y] = new

    def render_line(self, y: int) -> Strip:
        """What Textual draws."""
        line = self._lines.get(y)
        if line is None:
            line = self._lines[y] = self.make_line(y)
        return line

    def on_resize(self) -> None:
        """Nothing of what was drawn is still right."""
        self._lines.clear()
        self.redraw()

    def notify_style_update(self) -> None:
        """Another theme, or the focus came or went."""
        super().notify_style_update()
        # The component styles are settled only after this: lines are made anew when they are painted.
        self._looks.clear()
        self._lines.clear()
        self.refresh()

    def look(self, *names: str) -> Style:
        """The style of the widget with these component classes on top, in their order."""
        style = self._looks.get(names)
        if style is None:
            style = self.rich_style
            for name in names:
                style += self.get_component_rich_style(name, partial=True)
            self._looks[names] = style
        return style

    def strip(self, spans: Iterable[Span]) -> Strip:
        """Spans as a line, as wide as the widget."""
        line = Strip(self.segments(spans))
        return line.adjust_cell_length(self.size.width, self.look(f"lines--{Tone.PLAIN}"))

    def segments(self, spans: Iterable[Span], *over: str) -> list[Segment]:
        """Spans with their looks; `over` are component classes on top of the tones."""
        segments: list[Segment] = []
        for text, tone in spans:
            # Blanks show no colour: joined to what is before them they cost no escape sequence of their own.
            if segments and (text.isspace() or segments[-1].style is self.look(f"lines--{tone}", *over)):
                last = segments.pop()
                segments.append(Segment(last.text + text, last.style))
            elif text:
                segments.append(Segment(text, self.look(f"lines--{tone}", *over)))
        return segments
