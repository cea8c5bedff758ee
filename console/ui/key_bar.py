"""The line at the bottom: the keys of what has the focus.

Owns choosing as many as fit, from the live bindings; `?` and `q` are always there. Not here: the full list (`help`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Final

from rich.cells import cell_len
from rich.segment import Segment
from textual.binding import ActiveBinding, Binding
from textual.screen import Screen
from textual.strip import Strip
from textual.widgets import Input

from console.ui.lines import LinesWidget
from console.ui.rows import RowsView

_ALWAYS: Final = ("keys", "leave", "dismiss")


class KeyBar(LinesWidget):
    """`u Upload  ⌫ Up  s Sort …  ? Keys  q Leave`."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"keys--key", "keys--word"}

    def on_mount(self) -> None:
        """Follow the focus."""
        self.screen.bindings_updated_signal.subscribe(self, self._updated)

    def _updated(self, screen: Screen[object]) -> None:
        self.redraw()

    def make_line(self, y: int) -> Strip:
        """One line, whole entries only."""
        width = self.size.width
        own: list[tuple[str, str]] = []
        always: list[tuple[str, str]] = []
        for binding in shown_bindings(self.screen):
            entry = (self.app.get_key_display(binding), binding.description)
            (always if binding.action.rpartition(".")[2] in _ALWAYS else own).append(entry)
        room = width - 1 - sum(_length(entry) for entry in always)
        kept: list[tuple[str, str]] = []
        for entry in own:
            if _length(entry) > room:
                break
            room -= _length(entry)
            kept.append(entry)
        segments = [Segment(" ", self.look())]
        for key, word in kept + always:
            segments += [Segment(key, self.look("keys--key")), Segment(f" {word}  ", self.look("keys--word"))]
        return Strip(segments).crop_extend(0, width, self.look())


def shown_bindings(screen: Screen[object]) -> list[Binding]:
    """The bindings that the line names, nearest to the focus first, one for each action."""
    seen: dict[str, ActiveBinding] = {}
    for active in screen.active_bindings.values():
        is_typed = isinstance(screen.focused, Input) and active.node is not screen.focused
        if active.binding.show and active.enabled and not is_typed:
            seen.setdefault(active.binding.action, active)
    # What a pane can do, before what every list can.
    return [_in_words(active) for active in sorted(seen.values(), key=lambda active: isinstance(active.node, RowsView))]


def _in_words(active: ActiveBinding) -> Binding:
    """Enter does not the same with every row."""
    if active.binding.action == "activate" and isinstance(active.node, RowsView):
        return replace(active.binding, description=active.node.enter_word)
    return active.binding


def _length(entry: tuple[str, str]) -> int:
    return cell_len(entry[0]) + cell_len(entry[1]) + 3
