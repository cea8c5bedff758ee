"""A list that fills the terminal, under a title and above its keys; and one that reads its rows every few seconds."""

from __future__ import annotations

from abc import abstractmethod
from typing import Final, Generic, TypeVar

from textual.app import ComposeResult
from textual.containers import Vertical

from console.ui.background import notify_error, run_in_background
from console.ui.widgets.full_screen import FullScreen
from console.ui.widgets.keys import KeyBar
from console.ui.widgets.list_view import RowsView
from console.ui.widgets.pane import TitleLine

ASK_SECONDS: Final = 2.0

T = TypeVar("T")


class ListScreen(FullScreen):
    """One list, which has the focus."""

    def __init__(self, title: str, rows: RowsView) -> None:
        super().__init__()
        self._title = TitleLine(title)
        self._title.add_class("-focused")
        self._rows = rows

    def compose(self) -> ComposeResult:
        with Vertical(classes="pane"):
            yield self._title
            with Vertical(classes="pane--body"):
                yield self._rows
        yield KeyBar()

    def on_mount(self) -> None:
        self.set_focus(self._rows)


class PolledListScreen(ListScreen, Generic[T]):
    """A list whose rows are read again while it is open."""

    def __init__(self, title: str, rows: RowsView) -> None:
        super().__init__(title, rows)
        self.is_asking = self._has_failed = False

    @abstractmethod
    def read(self) -> T:
        """Ask the backend; in another thread."""

    @abstractmethod
    def show(self, values: T) -> None:
        """Show what it said."""

    def on_mount(self) -> None:
        super().on_mount()
        self.ask()
        self.set_interval(ASK_SECONDS, self.ask)

    def ask(self) -> None:
        if not self.is_asking:  # an answer may take longer than the next question
            self.is_asking = True
            run_in_background(self.app, self.read, self._answered, self._failed)

    def _answered(self, values: T) -> None:
        self.is_asking = self._has_failed = False
        if self.is_attached:
            self.show(values)

    def _failed(self, error: Exception) -> None:
        self.is_asking = False
        if not self._has_failed:  # once for an outage, not with each question
            notify_error(self.app, error)
        self._has_failed = True
