"""The full-screen console as a Textual application.

Owns the application: its themes, its screens, the keys that hold on every screen. It takes what it needs as
arguments and reads no settings. Not here: panes and screens.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from typing import ClassVar

from textual.app import App
from textual.binding import Binding, BindingType

from console.ui import themes
from console.ui.backend import Backend, Leave
from console.ui.console_screen import ConsoleScreen


def utc_now() -> datetime:
    """The time by which ages and leases are judged."""
    return datetime.now(UTC)


class UploadConsole(App[Leave]):
    """The console on a backend. `run()` returns how the person left."""

    TITLE = "Upload console"
    CSS_PATH = "app.tcss"
    ENABLE_COMMAND_PALETTE = True
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+c,ctrl+q", "leave", "Leave", show=False, priority=True, tooltip="Leave the console."),
    ]

    def __init__(
        self,
        backend: Backend,
        *,
        directory: str,
        host: str,
        theme: str = themes.DARK,
        show_hidden: bool = False,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        super().__init__()
        self.animation_level = "none"
        for known in themes.THEMES:
            self.register_theme(known)
        colours = self.console.color_system
        self.theme = themes.suitable(theme, os.environ, 16 if colours in ("standard", "windows") else None)
        self._console_screen = ConsoleScreen(backend, directory=directory, host=host, now=now, show_hidden=show_hidden)

    def get_default_screen(self) -> ConsoleScreen:
        """The main screen is the bottom one."""
        return self._console_screen

    def action_leave(self) -> None:
        """Leave, from whatever screen."""
        while len(self.screen_stack) > 1:
            self.pop_screen()
        self._console_screen.action_leave()
