"""A line of text to type into, in which keys that arrive in a bunch act in their order.

Owns that alone. Textual inserts a letter as soon as its key arrives, but finds the binding of a key like backspace only
after the key has passed all widgets above: of backspace and `c` typed at once, the `c` would be deleted again.
"""

from __future__ import annotations

from typing import Final

from textual import events
from textual.binding import Binding
from textual.widgets import Input

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
