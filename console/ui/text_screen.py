"""Labels and values, in full, to scroll through and to copy.

Owns the screen. What it shows is asked for again now and then, so that a record that changes is seen to change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar, Final, TypeAlias

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from console.ui.clipboard import copy
from console.ui.text_rows import folded

REFRESH_SECONDS: Final = 0.5

LABEL: Final = 13

Lines: TypeAlias = Sequence[tuple[str, str]]


class TextScreen(ModalScreen[None]):
    """Lines of label and value; values are `visible()` but for their line ends, and wrap under themselves."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,enter,q", "dismiss", "Back", tooltip="Close."),
        Binding("y", "copy", "Copy", tooltip="Copy it all to your terminal's clipboard (OSC 52)."),
        Binding("down,j", "scroll(1)", "Down", show=False, tooltip="Scroll down."),
        Binding("up,k", "scroll(-1)", "Up", show=False, tooltip="Scroll up."),
    ]

    def __init__(self, title: str, lines: Lines | Callable[[], Lines], copied: Callable[[], str] | None = None) -> None:
        super().__init__()
        self._title = title
        self._lines = lines if callable(lines) else lambda: lines
        self._copied = copied
        self._shown: tuple[Lines, int] = ((), 0)
        self._labels = Static(classes="text--labels", markup=False)

    def compose(self) -> ComposeResult:
        """A scrolling text."""
        with VerticalScroll(classes="dialog detail") as dialog:
            dialog.border_title = Content(self._title)
            dialog.border_subtitle = "y copies · escape closes"
            yield self._labels

    def on_mount(self) -> None:
        """Show, and go on showing what changes."""
        self._show()
        self.set_interval(REFRESH_SECONDS, self._show)

    def on_resize(self) -> None:
        """Wrap anew."""
        self.call_after_refresh(self._show)

    def _show(self) -> None:
        lines, width = self._lines(), self._labels.size.width
        if (lines, width) != self._shown and width > LABEL:
            self._shown = (lines, width)
            self._labels.update(Content("\n").join(_laid_out(lines, width - LABEL)))

    def action_scroll(self, lines: int) -> None:
        """Scroll by lines."""
        self.query_one(VerticalScroll).scroll_relative(y=lines, animate=False)

    def action_copy(self) -> None:
        """Copy what is shown, or the record behind it."""
        text = (
            self._copied() if self._copied is not None else "\n".join(" ".join(line).strip() for line in self._shown[0])
        )
        copy(self.app, text, "the record")


def _laid_out(lines: Lines, width: int) -> Iterator[Content]:
    for label, value in lines:
        for number, part in enumerate(folded(value, width)):
            yield Content.assemble((f"{label if number == 0 else '':<{LABEL}}", "$muted"), part)
