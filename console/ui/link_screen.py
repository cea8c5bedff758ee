"""A download link, shown once.

Owns the screen and the copying. The link is kept nowhere: it is gone when the screen closes.
"""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from console.formatting import visible


class LinkScreen(ModalScreen[None]):
    """The whole link, and that it was copied."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,enter,q", "dismiss", "Back", tooltip="Close; the link is shown only once."),
        Binding("y", "copy", "Copy", tooltip="Copy the link to your terminal's clipboard (OSC 52)."),
    ]

    def __init__(self, name: str, link: str, lifetime: str) -> None:
        super().__init__()
        self._name = name
        self._link = link
        self._lifetime = lifetime

    def compose(self) -> ComposeResult:
        """The link in full, over as many lines as it takes."""
        with VerticalScroll(classes="dialog") as dialog:
            dialog.border_title = Content(f"Link to {self._name}")
            dialog.border_subtitle = "y copies · escape closes"
            yield Static(Content(visible(self._link)), classes="dialog--link")
            yield Static(
                f"Works for {self._lifetime}, for whoever has it. Sent to your terminal's clipboard; stored nowhere.",
                markup=False,
                classes="dialog--text",
            )

    def on_mount(self) -> None:
        """Copied at once: that is what it was made for."""
        self.action_copy()

    def action_copy(self) -> None:
        """Copy the link."""
        self.app.copy_to_clipboard(self._link)
