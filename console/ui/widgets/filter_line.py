"""The line under a list in which a filter is typed. It is hidden while it is empty and nobody types.

Over a slow line keys arrive in bunches: `/foo`, enter and the key of an action, say. So the line passes its text on
by calls and not by messages, which would be handled after the keys that follow. Its input takes keys and pasted text
from the application (`press`, `put`) before that looks at the next key: Textual sends a letter to the widget with the
focus, but finds what other keys do only after they have passed all widgets, so that of backspace and `c` typed at once
the `c` would be deleted again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.geometry import Size
from textual.reactive import Reactive
from textual.widgets import Input, Label

from console.formatting import visible


class OrderedInput(Input):
    """Textual's input without a blinking cursor. Whoever gives it the focus selects its text: Textual would do so with
    a message, behind the letter that replaces it."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options, select_on_focus=False)
        self.cursor_blink = False

    def put(self, text: str) -> None:
        """Put a text in the place of what is selected, or where the cursor is."""
        if self.selection.is_empty:
            self.insert_text_at_cursor(text)
        else:
            self.replace(text, *self.selection)

    def press(self, event: events.Key) -> bool:
        """Insert what a key stands for; False where it stands for no letter."""
        if event.character is None or not event.is_printable:
            return False
        self.put(event.character)
        return True


class _Typing(OrderedInput):
    """The input: enter and down leave it, escape empties it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,down", "keep", "Keep the filter", key_display="⏎", priority=True),
        Binding("escape", "clear", "Clear it", key_display="esc", priority=True),
    ]

    # A new size of other widgets may move the rest. This one's is the length of the text, which moves nothing; and to
    # lay out the whole screen took longer than all else that a key makes.
    virtual_size = Reactive(Size(0, 0))

    def __init__(self, hint: str, keep: Callable[[], None], clear: Callable[[], None]) -> None:
        super().__init__(placeholder=hint, compact=True)
        self.action_keep = keep
        self.action_clear = clear


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
        yield self._sign
        yield self.input
        yield self._complaint

    def on_mount(self) -> None:
        self.display = False

    def open(self) -> None:
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
