"""All keys, with a sentence each.

Owns the screen that `?` opens. It reads the live bindings of the widgets on the screen beneath, so it cannot be out
of date. Not here: the keys themselves, each is declared where its action is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import ClassVar, Protocol, runtime_checkable

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.dom import DOMNode
from textual.screen import ModalScreen
from textual.widgets import Static


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
            told: set[tuple[str, str]] = set()
            for title, node in self._sections:
                lines = list(self._lines(node, told))
                if lines:
                    yield Static(Content(title), classes="keys--section")
                    yield Static(Content("\n").join(lines), classes="keys--lines")
            for title, text in self._facts:
                yield Static(Content(title), classes="keys--section")
                yield Static(Content(text), classes="keys--lines")

    def _lines(self, node: DOMNode, told: set[tuple[str, str]]) -> Iterator[Content]:
        """A line for each key that was not told already: what several panes share is said once."""
        for binding, keys in bindings_of(node):
            if (binding.key, binding.tooltip) in told:
                continue
            told.add((binding.key, binding.tooltip))
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
    told: set[str] = set()
    for owner in type(node).__mro__:
        if owner.__module__.startswith("console.") and "BINDINGS" in vars(owner):
            found = [binding for binding in Binding.make_bindings(vars(owner)["BINDINGS"]) if binding.key not in told]
            told.update(binding.key for binding in found)
            yield from found
