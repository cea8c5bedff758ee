"""The line of tabs under the title of a screen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from textual import events
from textual.message import Message
from textual.strip import Strip

from console.ui.widgets.cells import Span, Tone
from console.ui.widgets.list_view import LinesWidget


class TabLine(LinesWidget):
    """` 1 [Compare]  2 Raw  3 Update `: brackets as well as colour."""

    @dataclass
    class Chosen(Message):
        """A tab was clicked."""

        number: int

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__()
        self._names = names
        self._open = 0

    def show(self, number: int) -> None:
        """Mark that tab as the open one."""
        self._open = number
        self.redraw()

    def _words(self, number: int) -> str:
        name = self._names[number]
        return f"  {number + 1} [{name}]" if number == self._open else f"  {number + 1}  {name} "

    def make_line(self, y: int) -> Strip:
        """All names."""
        return self.strip(
            Span(self._words(number), Tone.ACCENT if number == self._open else Tone.MUTED)
            for number in range(len(self._names))
        )

    def on_click(self, event: events.Click) -> None:
        """Open the tab under the mouse."""
        event.stop()
        x = 0
        for number in range(len(self._names)):
            x += cell_len(self._words(number))
            if event.x < x:
                self.post_message(self.Chosen(number))
                return
