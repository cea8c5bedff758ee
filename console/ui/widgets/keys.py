"""The keys that hold now, from the live bindings of the widgets: all of them with a sentence each (`?`), and the line
at the bottom with as many as fit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import ClassVar, Final, Protocol, runtime_checkable

from rich.cells import cell_len
from rich.segment import Segment
from textual.app import ComposeResult
from textual.binding import ActiveBinding, Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.dom import DOMNode
from textual.screen import ModalScreen, Screen
from textual.strip import Strip
from textual.widgets import Input, Static

from console.ui.widgets.list_view import LinesWidget, RowsView


@runtime_checkable
class HasKeySections(Protocol):
    """A screen that says which widgets' keys it is about."""

    def key_sections(self) -> list[tuple[str, DOMNode]]:
        """Titles and widgets, the nearest first."""
        ...


class KeysScreen(ModalScreen[None]):
    """Sections of keys: the part with the focus first."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,question_mark,q", "dismiss", "Back", tooltip="Close the list of keys."),
        Binding("j", "scroll(1)", show=False),
        Binding("k", "scroll(-1)", show=False),
    ]

    def __init__(self, sections: Iterable[tuple[str, DOMNode]], facts: Sequence[tuple[str, str]] = ()) -> None:
        """`facts` are further sections: titles and texts."""
        super().__init__()
        self._sections = list(sections)
        self._facts = facts

    def compose(self) -> ComposeResult:
        """A scrolling list."""
        with VerticalScroll(classes="dialog keys") as dialog:
            dialog.border_title = "Keys"
            dialog.border_subtitle = "escape closes"
            shown: set[tuple[str, str]] = set()
            for title, node in self._sections:
                lines = list(self._lines(node, shown))
                if lines:
                    yield Static(Content(title), classes="keys--section")
                    yield Static(Content("\n").join(lines), classes="keys--lines")
            for title, text in self._facts:
                yield Static(Content(title), classes="keys--section")
                yield Static(Content(text), classes="keys--lines")

    def _lines(self, node: DOMNode, shown: set[tuple[str, str]]) -> Iterator[Content]:
        """A line for each key that was not shown already: what several panes share is said once."""
        for binding, keys in bindings_of(node):
            if (binding.key, binding.tooltip) in shown:
                continue
            shown.add((binding.key, binding.tooltip))
            names = " ".join(self.app.get_key_display(key) for key in keys)
            yield Content.assemble((f"{names:<14} ", "bold"), binding.tooltip)

    def action_scroll(self, lines: int) -> None:
        """Scroll by lines."""
        self.query_one(VerticalScroll).scroll_relative(y=lines, animate=False)


def bindings_of(node: DOMNode) -> Iterator[tuple[Binding, list[Binding]]]:
    """The bindings declared by a widget's classes of this program, with a sentence, one for each action."""
    actions: dict[str, list[Binding]] = {}
    for binding in declared(node):
        if binding.tooltip and node.check_action(binding.action.partition("(")[0], ()) is not False:
            actions.setdefault(binding.action, []).append(binding)
    for keys in actions.values():
        # The keys of one declaration are alternatives; those with a display of their own show it once.
        shown = keys[:1] if keys[0].key_display else keys
        yield keys[0], shown


def declared(node: DOMNode) -> Iterator[Binding]:
    """All bindings that the classes of this program declare for a widget, one for each key: the most special one's."""
    shown: set[str] = set()
    for owner in type(node).__mro__:
        if owner.__module__.startswith("console.") and "BINDINGS" in vars(owner):
            found = [binding for binding in Binding.make_bindings(vars(owner)["BINDINGS"]) if binding.key not in shown]
            shown.update(binding.key for binding in found)
            yield from found


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
