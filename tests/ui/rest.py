"""When an application has nothing left to do: every widget has handled its messages, and none was sent meanwhile.

Textual's own pilot waits until the process takes no time of the processor. On a busy machine it gets none before it is
at rest, and one with threads is waited for a second with each key. Not here: what threads and servers bring
(`Console.until`).
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from textual.app import App
from textual.events import Key
from textual.keys import _character_to_key, key_to_character
from textual.message import Message
from textual.message_pump import MessagePump

# An application that is never at rest (an animation, say) is looked at as it is, as the pilot does.
_LONGEST_SECONDS = 30.0


class Rest:
    """The rest of one application; to be its `message_hook`, which hears of every message that is handled."""

    def __init__(self) -> None:
        self._handled = 0
        self._left: set[MessagePump] = set()

    def __call__(self, message: Message) -> None:
        self._handled += 1

    async def reached(self, app: App[Any]) -> None:
        """Wait for it. Two rounds: what was sent behind the first is handled in the second."""
        end = time.monotonic() + _LONGEST_SECONDS
        silent = 0
        while silent < 2 and app.is_running and time.monotonic() < end:
            silent = silent + 1 if await self._is_silent(app) else 0
            if app.screen_stack:
                app.screen._on_timer_update()

    async def _is_silent(self, app: App[Any]) -> bool:
        """Whether everybody had only our own message to handle."""
        pumps: set[MessagePump] = {app}
        for screen in app.screen_stack:
            pumps.update(screen.walk_children(with_self=True))
        before = self._handled
        self._left = {pump for pump in pumps if pump.call_later(self._has_passed, pump)}
        asked = len(self._left)
        end = time.monotonic() + _LONGEST_SECONDS
        while any(pump.is_running for pump in self._left) and not app._exit and time.monotonic() < end:
            await asyncio.sleep(0)
        return self._handled - before <= asked

    def _has_passed(self, pump: MessagePump) -> None:
        self._left.discard(pump)


class Typed(str):
    """A text that is typed in one go, without a look at the screen between its characters."""

    __slots__ = ()


async def press(app: App[Any], rest: Rest, *keys: str) -> None:
    """Press keys one by one, each when the one before has done what it does; a `Typed` text counts as one."""
    for key in keys:
        for pressed in key if isinstance(key, Typed) else [key]:
            name = _character_to_key(pressed) if len(pressed) == 1 and not pressed.isalnum() else pressed
            event = Key(name, pressed if len(pressed) == 1 else key_to_character(name))
            event.set_sender(app)
            app.post_message(event)
        await rest.reached(app)
