"""What all screens that fill the terminal have in common.

Owns how they look under a dialog: notices would be seen twice, and the keys at the bottom are not those that count.
"""

from __future__ import annotations

from textual import events
from textual.screen import Screen


class FullScreen(Screen[None]):
    """A screen that fills the terminal."""

    def on_screen_suspend(self, event: events.ScreenSuspend) -> None:
        self.add_class("-covered")

    def on_screen_resume(self, event: events.ScreenResume) -> None:
        self.remove_class("-covered")
