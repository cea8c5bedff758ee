"""The keys that hold now, from the live bindings of the widgets: all of them with a sentence each (`?`), and the line
at the bottom with as many as fit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import ClassVar, Final, Protocol, runtime_checkable

from rich.cells import cell_len
from rich.segment import Segment
from textual import on
from textual.app import ComposeResult
from textual.binding import ActiveBinding, Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.dom import DOMNode
from textual.screen import ModalScreen, Screen
from textual.strip import Strip
from textual.widgets import Input, Static

from console.ui.widgets.filter_line import OrderedInput
from console.ui.widgets.key_map import KeyMap, mapped
from console.ui.widgets.list_view import LinesWidget, RowsView
from console.ui.widgets.pane import Pane


@runtime_checkable
class HasKeySections(Protocol):
    """A screen that says which widgets' keys it is about."""

    def key_sections(self) -> list[tuple[str, DOMNode]]:
        """Titles and widgets, the nearest first."""


class KeysScreen(ModalScreen[None]):
    """Sections of keys: the part with the focus first. What is typed is looked for in keys and sentences."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,enter", "dismiss", "Back", priority=True, tooltip="Close the list of keys."),
        Binding("down", "scroll(1)", priority=True, show=False),
        Binding("up", "scroll(-1)", priority=True, show=False),
        Binding("pagedown", "scroll(10)", priority=True, show=False),
        Binding("pageup", "scroll(-10)", priority=True, show=False),
    ]

    def __init__(
        self, sections: Iterable[tuple[str, DOMNode]], facts: Sequence[tuple[str, str]] = (), keys: KeyMap | None = None
    ) -> None:
        """`facts` are further sections: titles and texts. `keys` are those that the person set."""
        super().__init__()
        self._keys = keys or {}
        self._sections = list(sections)
        self._facts = facts
        self._input = OrderedInput(placeholder="type what to look for", compact=True, classes="dialog--input")
        self._text = Static(classes="keys--lines")

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog keys") as dialog:
            dialog.border_title = "Keys"
            dialog.border_subtitle = "escape closes"
            yield self._input
            with VerticalScroll(can_focus=False):
                yield self._text

    def on_mount(self) -> None:
        self.set_focus(self._input)
        self._show("")

    @on(Input.Changed)
    def _changed(self, event: Input.Changed) -> None:
        event.stop()
        self._show(event.value)

    def _show(self, text: str) -> None:
        words = text.casefold().split()
        shown: set[tuple[str, str]] = set()
        found: list[Content] = []
        for title, node in self._sections:
            lines = [
                line
                for line in self._lines(node, shown)
                if all(word in f"{line.plain} {title}".casefold() for word in words)
            ]
            if lines:
                found += [Content.styled(title, "bold $accent"), *lines, Content("")]
        for title, fact in self._facts:
            if all(word in f"{fact} {title}".casefold() for word in words):
                found += [Content.styled(title, "bold $accent"), Content(fact), Content("")]
        self._text.update(Content("\n").join(found[:-1] or [Content("no key does that; ctrl+p searches all commands")]))
        self.query_one(VerticalScroll).scroll_home(animate=False)

    def _lines(self, node: DOMNode, shown: set[tuple[str, str]]) -> Iterator[Content]:
        """A line for each key that was not shown already: what several panes share is said once."""
        for binding, keys in bindings_of(node, self._keys):
            if (binding.key, binding.tooltip) in shown:
                continue
            shown.add((binding.key, binding.tooltip))
            names = " ".join(self.app.get_key_display(key) for key in keys)
            yield Content.assemble((f"{names:<14} ", "bold"), binding.tooltip)

    def action_scroll(self, lines: int) -> None:
        self.query_one(VerticalScroll).scroll_relative(y=lines, animate=False)


def bindings_of(node: DOMNode, keys: KeyMap) -> Iterator[tuple[Binding, list[Binding]]]:
    """The bindings declared by a widget's classes of this program, with a sentence, one for each action."""
    actions: dict[str, list[Binding]] = {}
    for binding in mapped(declared(node), keys):
        if binding.tooltip and node.check_action(binding.action.partition("(")[0], ()) is not False:
            actions.setdefault(binding.action, []).append(binding)
    for found in actions.values():
        # The keys of one declaration are alternatives; those with a display of their own show it once.
        yield found[0], found[:1] if found[0].key_display else found


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
        self.screen.bindings_updated_signal.subscribe(self, self._updated)

    def _updated(self, screen: Screen[object]) -> None:
        self.redraw()

    def make_line(self, y: int) -> Strip:
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
    found = sorted(seen.values(), key=lambda active: _rank(active, _first(screen)))
    return [_in_words(active) for active in found]


def _first(screen: Screen[object]) -> Sequence[str]:
    """What matters most where the focus is."""
    focused = screen.focused
    nodes = focused.ancestors_with_self if focused is not None else [screen]
    return next((node.FIRST_KEYS for node in nodes if isinstance(node, Pane)), ())


def _rank(active: ActiveBinding, first: Sequence[str]) -> tuple[int, bool]:
    """What matters most; then what a pane can do, before what every list can."""
    action = active.binding.action
    return first.index(action) if action in first else len(first), isinstance(active.node, RowsView)


def _in_words(active: ActiveBinding) -> Binding:
    """Enter does not the same with every row."""
    if active.binding.action == "activate" and isinstance(active.node, RowsView):
        return replace(active.binding, description=active.node.enter_word)
    return active.binding


def _length(entry: tuple[str, str]) -> int:
    return cell_len(entry[0]) + cell_len(entry[1]) + 3
