"""The full-screen console as a Textual application.

Owns the application: its themes, its screens, the keys that hold on every screen. It takes what it needs as
arguments and reads no settings. Not here: panes and screens.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import ClassVar

from textual.app import App
from textual.binding import Binding, BindingType

from console.ui import themes
from console.ui.backend import Backend, Leave
from console.ui.console_screen import ConsoleScreen
from console.ui.help import HasKeySections, KeysScreen
from console.ui.thrift import Thrift, thrifty_driver


def utc_now() -> datetime:
    """The time by which ages and leases are judged."""
    return datetime.now(UTC)


class UploadConsole(App[Leave]):
    """The console on a backend. `run()` returns how the person left. `notes` are shown for a while at the start."""

    TITLE = "Upload console"
    CSS_PATH = "app.tcss"
    ENABLE_COMMAND_PALETTE = True
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+c,ctrl+q", "leave", "Leave", show=False, priority=True, tooltip="Leave the console."),
        Binding("ctrl+l", "redraw", "Redraw", show=False, tooltip="Draw everything again."),
    ]

    def __init__(
        self,
        backend: Backend,
        *,
        directory: str,
        host: str,
        theme: str = themes.DARK,
        show_hidden: bool = False,
        notes: Sequence[str] = (),
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        super().__init__(driver_class=thrifty_driver(thrift := Thrift()))
        self._thrift = thrift
        self._notes = notes
        self.animation_level = "none"
        for known in themes.THEMES:
            self.register_theme(known)
        colours = self.console.color_system
        self.theme = themes.suitable(theme, os.environ, 16 if colours in ("standard", "windows") else None)
        self._console_screen = ConsoleScreen(backend, directory=directory, host=host, now=now, show_hidden=show_hidden)

    def get_default_screen(self) -> ConsoleScreen:
        """The main screen is the bottom one."""
        return self._console_screen

    def on_mount(self) -> None:
        """Say what was set up, and what else is worth knowing at the start."""
        for note in self._notes:
            self.notify(note, timeout=10, markup=False)

    def action_keys(self) -> None:
        """Show all keys of the screen on top."""
        screen = self.screen
        sections = screen.key_sections() if isinstance(screen, HasKeySections) else [("Keys", screen)]
        self.push_screen(KeysScreen(sections))

    def action_redraw(self) -> None:
        """Send all of the picture again, after something else has written to the terminal."""
        self._thrift.forget()
        self.screen.refresh()

    def action_leave(self) -> None:
        """Leave, from whatever screen."""
        while len(self.screen_stack) > 1:
            self.pop_screen()
        self._console_screen.action_leave()
