"""What the console and the inspector have in common as applications.

Owns themes, the frugal driver, the keys that hold on every screen, the command palette, and how a fault of the program
itself ends: with a sentence and a report in a file, never with a traceback on the screen. Not here: screens.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from time import monotonic
from typing import Any, ClassVar, Final, TypeVar

from rich.text import Text
from textual import events
from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.dom import DOMNode
from textual.screen import Screen
from textual.timer import Timer
from textual.widgets import Input

from console.ui import crash, themes
from console.ui.command_search import THEME_SENTENCE, CommandSearch, also
from console.ui.terminal_diff import TerminalDiff, diffing_driver
from console.ui.widgets.dialogs import ChoiceDialog, Dialog
from console.ui.widgets.filter_line import OrderedInput
from console.ui.widgets.key_map import KeyMap, named
from console.ui.widgets.keys import HasKeySections, KeysScreen, bindings_of
from console.ui.widgets.list_view import TONE_CLASSES
from console.ui.widgets.pane import Pane

_COLOURS: Final = {"standard": 16, "windows": 16, "256": 256}
SETTLED_SECONDS: Final = 0.1
# A screen is there within milliseconds; one that cannot be made must not hold up the keys that leave it.
SCREEN_SECONDS: Final = 2.0
FAULT_SECONDS: Final = 30.0

Result = TypeVar("Result")


def is_served() -> bool:
    """Whether a browser is the terminal: textual-serve says so, and Textual then has a driver for it."""
    return "TEXTUAL_DRIVER" in os.environ


class BaseApp(App[Result]):
    CSS_PATH = "app.tcss"
    COMPONENT_CLASSES: ClassVar[set[str]] = set(TONE_CLASSES)
    COMMANDS = {CommandSearch}  # noqa: RUF012 - Textual declares it so
    BINDINGS: ClassVar[list[BindingType]] = named(
        "everywhere",
        [
            Binding(
                "ctrl+c,ctrl+q", "leave", "Leave", show=False, priority=True, tooltip="Leave.", id="everywhere.quit"
            ),
            Binding("ctrl+p,colon", "command_palette", "Commands", show=False, tooltip="Search all commands by words."),
            Binding(
                "ctrl+z", "suspend_process", "Suspend", show=False, tooltip="Back to the shell; `fg` comes back here."
            ),
            Binding("ctrl+l", "redraw", "Redraw", show=False, tooltip="Draw everything again."),
        ],
    )

    def __init__(self, theme: str, facts: Sequence[tuple[str, str]] = (), keys: KeyMap | None = None) -> None:
        """`facts` are said below the keys: titles and texts. `keys` are those that the person set.

        Raises ConfigurationError where there is no such theme.
        """
        terminal_diff = TerminalDiff()
        # With NO_COLOR Textual would turn the theme's colours into greys, and the terminal's own into black on black.
        super().__init__(
            driver_class=None if is_served() else diffing_driver(terminal_diff),
            ansi_color=True if os.environ.get("NO_COLOR") else None,
        )
        self._terminal_diff = terminal_diff
        self._facts = facts
        self._keys = keys or {}
        self._has_size = self._is_drawn = False
        self.faults = crash.Faults(self._tell_fault)
        crash.keep_dispatching()
        self._resized: Timer | None = None
        self.set_keymap(dict(self._keys))
        self.animation_level = "none"
        for known in themes.THEMES:
            self.register_theme(known)
        colours = self.console.color_system
        self.theme = themes.suitable(theme, os.environ, _COLOURS.get(colours or ""))

    def on_ready(self) -> None:
        self._is_drawn = True

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """What Textual's own themes do not say and the style sheet asks for."""
        return themes.own_variables(self.current_theme)

    def on_resize(self) -> None:
        """A terminal that changes its size moves what it shows, and puts what is meant for a line that is gone into its
        last one: what is drawn before all is laid out again may be wrong, and so all is drawn once more after that."""
        self._terminal_diff.forget()
        if self._resized is not None:
            self._resized.stop()
        if self._has_size:
            self._resized = self.set_timer(SETTLED_SECONDS, self._redraw_if_open)
        self._has_size = True

    def _redraw_if_open(self) -> None:
        # Timers outlive the screens of an application that ends.
        if self.screen_stack:
            self.action_redraw()

    async def on_event(self, event: events.Event) -> None:
        """A key acts before the next one is looked at, whatever has the focus, and on the screen that the one before it
        opened: Textual sends a key to a widget, looks up what it does only when it has passed all widgets, and by then
        a later one may have moved the focus or met the screen below."""
        if isinstance(event, (events.Key, events.Paste)) and not event.is_forwarded:
            await self._screen_is_there()
            if isinstance(self.screen, Dialog) and not await self.screen.takes(event):
                return
            if await self._acts_at_once(event):
                return
        await super().on_event(event)

    async def _screen_is_there(self) -> None:
        """The screen on top may have been opened by the key before: wait until it knows what its keys act on."""
        ends = monotonic() + SCREEN_SECONDS
        while self.screen_stack and not self.screen.is_mounted and monotonic() < ends:
            await asyncio.sleep(0)

    async def _acts_at_once(self, event: events.Key | events.Paste) -> bool:
        screen, focused = self.screen, self.focused
        if isinstance(event, events.Paste):
            if isinstance(focused, OrderedInput) and event.text:
                focused.put(event.text.splitlines()[0])
            return isinstance(focused, OrderedInput)
        if isinstance(focused, Input) and not isinstance(focused, OrderedInput):
            return False  # of Textual's own screens
        if isinstance(focused, OrderedInput) and focused.press(event):
            return True
        if isinstance(screen, ChoiceDialog) and event.character is not None and screen.press(event.character):
            return True
        active = screen.active_bindings.get(event.key)
        return active is not None and active.enabled and await self.run_action(active.binding.action, active.node)

    def on_app_blur(self, event: events.AppBlur) -> None:
        """A terminal that lost the focus keeps its picture and sends no keys. Textual would take the focus from the
        list, and give it back with the next key, which then acts behind those that follow it."""
        event.prevent_default()

    def action_keys(self) -> None:
        self.push_screen(KeysScreen(self._key_sections(self.screen), self._facts, self._keys))

    def _key_sections(self, screen: Screen[Any]) -> list[tuple[str, DOMNode]]:
        sections = screen.key_sections() if isinstance(screen, HasKeySections) else [("Here", screen)]
        return [*sections, ("Always", self)]

    def action_redraw(self) -> None:
        """Send all of the picture again, after something else has written to the terminal."""
        self._terminal_diff.forget()
        self.screen.refresh()

    def action_leave(self) -> None:
        self.exit()

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """Everything that has a key, by name, and the choice of colours."""
        yield SystemCommand("Theme", "Choose other colours, dark or light; that is remembered.", self.search_themes)
        for name in self.available_themes:
            # "light" finds ours before those of others that have the word in the midst of theirs.
            own = name.removeprefix("console-")
            title = f"Theme: {own}" + (f" ({name})" if own != name else "")
            yield SystemCommand(title, THEME_SENTENCE, partial(setattr, self, "theme", name))
        for title, node in self._key_sections(screen):
            for binding, keys in bindings_of(node, self._keys):
                if binding.action != "command_palette":
                    shown = " ".join(self.get_key_display(key) for key in keys)
                    words = f"{binding.tooltip} {also(binding.action)}".rstrip()
                    name = f"{title}: {binding.description}  ({shown})"
                    yield SystemCommand(name, words, self._runner(node, binding.action))

    def _runner(self, node: DOMNode, action: str) -> Callable[[], Awaitable[None]]:
        async def run() -> None:
            if isinstance(node, Pane):
                node.focus_list()
            await self.run_action(action, default_namespace=node)

        return run

    def _handle_exception(self, error: Exception) -> None:
        """A fault of this program, in a handler, a timer or a drawing. Before there is a picture nothing can go on."""
        if self._is_drawn:
            if len(self.screen_stack) > 1 and not self.screen.is_mounted:
                self.pop_screen()  # it could not be made, and no key would find the way out of it
            self.faults.survive(error)
        else:
            super()._handle_exception(error)

    def _tell_fault(self, text: str) -> None:
        self.bell()
        self.notify(
            f"{text}\nThe console and its uploads go on.",
            title="Internal error",
            severity="error",
            timeout=FAULT_SECONDS,
            markup=False,
        )

    def _fatal_error(self) -> None:
        """A fault of this program: say so in a sentence, and keep what is known of it in a file."""
        self.bell()
        self.panic(Text(crash.report()))
