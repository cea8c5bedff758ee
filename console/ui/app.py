"""The full-screen console as a Textual application.

Owns what it takes as arguments: it reads no settings. Not here: panes and screens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar, Final

from textual.binding import Binding, BindingType

from console.events.buffer import CAPACITY
from console.formatting import visible
from console.ui import themes
from console.ui.backend import Backend, Leave, UploadChoices
from console.ui.base_app import BaseApp
from console.ui.events.event_log import EventLog
from console.ui.main.console_screen import ConsoleScreen
from console.ui.main.file_browser import FileBrowser
from console.ui.remembered import Remembered
from console.ui.screens.tour import TourScreen
from console.ui.uploads.uploads_pane import UploadsPane
from console.ui.widgets.key_map import key_map, named
from console.ui.widgets.list_view import RowsView
from console.ui.widgets.pane import Pane, PaneRows
from console.ui.widgets.text_screen import TextScreen

TOUR_SECONDS: Final = 6.0


def utc_now() -> datetime:
    """The time by which ages and leases are judged."""
    return datetime.now(UTC)


class UploadConsole(BaseApp[Leave]):
    """The console on a backend. `run()` returns how the person left.

    `state_file` keeps how the person likes to look at things, from one start to the next. `notes` are shown for a while
    at the start; `drawn` is called when the first picture is on the terminal.
    """

    TITLE = "Upload console"
    BINDINGS: ClassVar[list[BindingType]] = named(
        "everywhere",
        [
            Binding("comma", "settings", "Settings", show=False, tooltip="Show which settings hold, and where from."),
            Binding("f1", "tour", "Tour", show=False, tooltip="The tour of the first start: five steps."),
        ],
    )

    def __init__(
        self,
        backend: Backend,
        *,
        directory: str,
        host: str,
        theme: str = themes.DARK,
        show_hidden: bool = False,
        event_capacity: int = CAPACITY,
        state_file: Path | None = None,
        notes: Sequence[str] = (),
        facts: Sequence[tuple[str, str]] = (),
        drawn: Callable[[], None] | None = None,
        now: Callable[[], datetime] = utc_now,
        settings: Callable[[], Sequence[tuple[str, str]]] = list,
        has_tour: bool = False,
        usual: UploadChoices | None = None,
        has_sheet: bool = True,
        keys: Mapping[str, Mapping[str, str]] | None = None,
    ) -> None:
        """`settings` gives names and values with their origins; with `has_tour` the first start offers one.
        `usual` is where uploads go as the settings have it; without `has_sheet` they start without a question.
        `keys` are other keys than the usual ones: by area and name."""
        remembered = Remembered(state_file)
        chosen = str(remembered.get("theme", str))
        super().__init__(chosen if chosen in themes.names() else theme, facts, key_map(keys or {}, KEY_OWNERS))
        self._remembered = remembered
        self._notes = notes
        self._settings = settings
        self._has_tour = has_tour
        self._drawn = drawn
        self._console_screen = ConsoleScreen(
            backend,
            directory=directory,
            host=host,
            now=now,
            show_hidden=show_hidden,
            event_capacity=event_capacity,
            remembered=remembered,
            usual=usual or UploadChoices(),
            has_sheet=has_sheet,
        )

    def get_default_screen(self) -> ConsoleScreen:
        return self._console_screen

    def on_mount(self) -> None:
        self.show_notes(self._notes)
        self.theme_changed_signal.subscribe(self, lambda theme: self._remembered.keep("theme", theme.name))
        if self._has_tour and not self._remembered.get("tour", bool):
            # It is offered and does not open by itself: keys that were typed ahead are for the console.
            self._remembered.keep("tour", True)
            self.notify("F1 shows it; ? shows all keys.", title="A tour in five steps", timeout=TOUR_SECONDS)
        if self._drawn is not None:
            self.call_after_refresh(self._drawn)

    def action_settings(self) -> None:
        """Show which settings hold, and why."""
        self.push_screen(TextScreen("Settings", [*self._settings(), *self._own()]))

    def _own(self) -> list[tuple[str, str]]:
        """What this person has chosen on the screen, which is no setting."""
        path = self._remembered.path
        return [("", ""), ("remembered", visible(str(path)) if path is not None else "for this start alone")]

    def action_tour(self) -> None:
        self.push_screen(TourScreen())

    def show_notes(self, notes: Sequence[str]) -> None:
        for note in notes:
            self.notify(note, timeout=10, markup=False)

    def action_leave(self) -> None:
        """Leave, from whatever screen; the main one asks first while uploads run here."""
        while len(self.screen_stack) > 1:
            self.pop_screen()
        self._console_screen.action_leave()


KEY_OWNERS: Final[Mapping[str, Sequence[type]]] = {
    "files": (FileBrowser,),
    "uploads": (UploadsPane,),
    "events": (EventLog,),
    "lists": (RowsView, PaneRows, Pane),
    "everywhere": (ConsoleScreen, UploadConsole, BaseApp),
}
"""Who declares the keys of an area, as `[keys]` in the configuration names it."""
