"""The line under a list in which a filter is typed. It is hidden while it is empty and nobody types.

Over a slow line keys arrive in bunches: `/foo`, enter and the key of an action, say. So the line passes its text on
by calls and not by messages, which would be handled after the keys that follow. And its input handles all keys in
their order: Textual inserts a letter at once, but finds the binding of a key like backspace only after that key has
passed all widgets above, so that of backspace and `c` typed at once the `c` would be deleted again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Final

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.geometry import Size
from textual.reactive import Reactive
from textual.widgets import Input, Label

from console.formatting import visible

_ACTIONS: Final = {binding.key: binding.action for binding in Binding.make_bindings(Input.BINDINGS)}


class OrderedInput(Input):
    """Textual's input; its own keys act as soon as they arrive, as letters do."""

    async def on_key(self, event: events.Key) -> None:
        """Act on a key that moves or deletes. Those that end the line keep their way."""
        action = _ACTIONS.get(event.key)
        if action is not None and event.key != "enter":
            event.stop()
            event.prevent_default()
            await self.run_action(action)


class _Typing(OrderedInput):
    """The input: enter and down leave it, escape empties it. The bindings are for the line of keys; see `on_key`."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down", "keep", "Keep the filter", key_display="⏎"),
        Binding("escape", "clear", "Clear it", key_display="esc"),
    ]

    # A new size of other widgets may move the rest. This one's is the length of the text, which moves nothing; and to
    # lay out the whole screen took longer than all else that a key makes.
    virtual_size = Reactive(Size(0, 0))

    def __init__(self, hint: str, keep: Callable[[], None], clear: Callable[[], None]) -> None:
        super().__init__(placeholder=hint, compact=True, select_on_focus=False)
        self.cursor_blink = False
        self.action_keep = keep
        self.action_clear = clear

    def on_key(self, event: events.Key) -> None:  # type: ignore[override]
        """Keys that were sent here before the focus moved on are sent again, to where it is now."""
        if self.screen.focused is not self:
            event.stop()
            event.prevent_default()
            self.app.post_message(events.Key(event.key, event.character))
        elif event.key in ("enter", "down", "escape"):
            event.stop()
            event.prevent_default()
            (self.action_clear if event.key == "escape" else self.action_keep)()


class FilterLine(Horizontal):
    """`/ words`, with what is wrong about them at the right.

    `typed` is called with every new text, `left` when the person goes back to the list.
    """

    def __init__(self, hint: str, typed: Callable[[str], None], left: Callable[[], None], *, sign: str = "/") -> None:
        super().__init__()
        self._typed = typed
        self._left = left
        self._posted = ""
        self._sign = Label(sign, classes="filter--sign", markup=False)
        self._complaint = Label("", classes="filter--complaint")
        self.input = _Typing(hint, self.keep, self.clear)

    def compose(self) -> ComposeResult:
        """A sign, and the input."""
        yield self._sign
        yield self.input
        yield self._complaint

    def on_mount(self) -> None:
        """Hidden until it is asked for."""
        self.display = False

    def open(self) -> None:
        """Show the line and type into it."""
        self.display = True
        self.screen.set_focus(self.input)

    def show(self, text: str) -> None:
        """Show another text, without typing it."""
        self.input.value = text
        self.display = bool(text)
        self._post_change()

    def show_error(self, words: str) -> None:
        """Say what is wrong with the text; nothing for all is well."""
        self._complaint.update(Content(visible(words)))

    @property
    def text(self) -> str:
        """What is filtered by."""
        return self.input.value

    def keep(self) -> None:
        """Leave the text as it is, and go back."""
        self._post_change()
        self.display = bool(self.text)
        self._left()

    def clear(self) -> None:
        """Empty the text, and go back."""
        self.show("")
        self._left()

    @on(Input.Changed)
    def _changed(self, event: Input.Changed) -> None:
        event.stop()
        self._post_change()

    def _post_change(self) -> None:
        if self.text != self._posted:
            self._posted = self.text
            self._typed(self.text)
