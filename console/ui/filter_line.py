"""The line under a list in which a filter is typed.

Owns the input and its keys. It is hidden while it is empty and nobody types. Not here: what is filtered.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.message import Message
from textual.widgets import Input, Label

from console.formatting import visible


class FilterLine(Horizontal):
    """`/ words`, with what is wrong about them at the right."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,down", "keep", "Keep filter", tooltip="Keep the filter and go back to the list."),
        Binding("escape", "clear", "Clear filter", tooltip="Show everything again."),
    ]

    @dataclass
    class Changed(Message):
        """The text is another one."""

        line: FilterLine
        text: str

    @dataclass
    class Left(Message):
        """The person is done typing."""

        line: FilterLine

    def __init__(self, hint: str, *, sign: str = "/") -> None:
        super().__init__()
        self._sign = sign
        self._complaint = Label("", classes="filter--complaint")
        self.input = Input(placeholder=hint, compact=True, select_on_focus=False)
        self.input.cursor_blink = False

    def compose(self) -> ComposeResult:
        """A slash, and the input."""
        yield Label(self._sign, classes="filter--sign", markup=False)
        yield self.input
        yield self._complaint

    def on_mount(self) -> None:
        """Hidden until it is asked for."""
        self.display = False

    def open(self) -> None:
        """Show the line and type into it."""
        self.display = True
        self.input.focus()

    def show(self, text: str) -> None:
        """Show another text, without typing it."""
        self.input.value = text
        self.display = bool(text)

    def complain(self, words: str) -> None:
        """Say what is wrong with the text; nothing for all is well."""
        self._complaint.update(Content(visible(words)))

    @property
    def text(self) -> str:
        """What is filtered by."""
        return self.input.value

    @on(Input.Changed)
    def _changed(self, event: Input.Changed) -> None:
        event.stop()
        self.post_message(self.Changed(self, event.value))

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.action_keep()

    def action_keep(self) -> None:
        """Leave the text as it is."""
        self.display = bool(self.text)
        self.post_message(self.Left(self))

    def action_clear(self) -> None:
        """Empty the text."""
        self.input.value = ""
        self.display = False
        self.post_message(self.Left(self))
