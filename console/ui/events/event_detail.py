"""One event in full: the documents before and after, the raw event, the update description, the document's history.

It steps from event to event of one document, copies and saves. Where an event lacks its images it says why, and
offers to turn them on for the next time, after a question.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping
from datetime import datetime
from enum import Enum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import Screen

from console.errors import UsageError
from console.events.buffer import EventBuffer
from console.events.event import ChangeEvent
from console.events.text import json_line, json_text
from console.formatting import visible
from console.private_files import write_private
from console.ui.backend import ImageSource
from console.ui.background import run_in_background
from console.ui.events.compare_rows import CompareRows
from console.ui.events.log_rows import (
    DROPPED,
    HistoryRows,
    Notice,
    cluster_time_text,
    document_name,
    event_time,
    operation_sign,
)
from console.ui.widgets.dialogs import Choice, ChoiceDialog, Field, FormDialog
from console.ui.widgets.full_screen import FullScreen
from console.ui.widgets.keys import KeyBar
from console.ui.widgets.list_view import GUTTER, Key, RowsView
from console.ui.widgets.pane import TitleLine
from console.ui.widgets.tab_line import TabLine
from console.ui.widgets.text_screen import TextRows, TextScreen, copy

if TYPE_CHECKING:
    from console.stream.server import ImagesOf


class MissingImages:
    """What one screen knows about the images of the namespaces that it has shown."""

    def __init__(
        self, screen: Screen[Any], source: ImageSource | None, now: Callable[[], datetime], changed: Callable[[], None]
    ) -> None:
        self._screen = screen
        self._source = source
        self._now = now
        self._changed = changed
        self._known: dict[str, ImagesOf | None] = {}

    def notes(self, event: ChangeEvent) -> list[str]:
        """Sentences about the documents that did not come with an event; asks the server why, once a namespace."""
        lacking = [word for word, lacks in (("before", event.lacks_before), ("after", event.lacks_after)) if lacks]
        if not lacking:
            return []
        self._ask(event.namespace)
        known = self._known.get(event.namespace)
        why = f" {known.why_missing(event, self._now())}" if known is not None else ""
        noun, verb = ("document", "is") if len(lacking) == 1 else ("documents", "are")
        notes = [f"The {noun} {' and '.join(lacking)} {verb} missing.{why}"]
        if known.can_be_enabled if known is not None else "." in event.namespace:
            key = " (or press e)" if self._source is not None else ""
            notes.append(f"To have it from now on{key}: {_command_text(event.namespace)}")
        return notes

    def _ask(self, namespace: str) -> None:
        if self._source is not None and namespace not in self._known:
            self._known[namespace] = None
            # A server that cannot tell why is no reason for a notice: the event is shown without the reason.
            run_in_background(
                self._screen.app, partial(self._source.images_of, namespace), self._answered, lambda _: None
            )

    def _answered(self, images: ImagesOf) -> None:
        self._known[images.namespace] = images
        self._changed()

    def offer(self, namespace: str) -> None:
        """Ask whether images are to be kept from now on, and have them kept."""
        source = self._source
        if source is None or "." not in namespace:
            return

        def answered(sure: bool | None) -> None:
            if sure:
                run_in_background(
                    self._screen.app, partial(source.enable_images, namespace), lambda _: self._enabled(namespace)
                )

        cost = "The server then keeps the documents before and after each change, which takes space."
        text = f"{cost}\n{_command_text(namespace)}"
        choices = (Choice("n", "No", False), Choice("y", "Run this command", True))
        title = f"Keep images of {visible(namespace)}?"
        self._screen.app.push_screen(ChoiceDialog(title, text, choices, answered))

    def _enabled(self, namespace: str) -> None:
        self._known.pop(namespace, None)
        words = f"from now on events of {visible(namespace)} come with their documents"
        self._screen.app.notify(words, title="Images are kept", markup=False)
        self._changed()


def _command_text(namespace: str) -> str:
    from console.stream.server import command_text  # with PyMongo, which nobody needs before the first picture

    return command_text(namespace)


TITLE_SECONDS: Final = 1.0


class Tab(Enum):
    COMPARE = "Compare"
    RAW = "Raw"
    UPDATE = "Update"
    HISTORY = "History"


class EventDetail(FullScreen):
    """A list that shows one tab at a time."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "dismiss", "Back", key_display="esc", tooltip="Back to the log."),
        Binding("tab", "tab(1)", "Tab", key_display="tab", tooltip="Next tab: compare, raw, update, history."),
        Binding("shift+tab", "tab(-1)", "Previous tab", show=False, tooltip="Previous tab."),
        Binding("1", "show_tab('COMPARE')", "Compare", show=False, tooltip="Documents before and after."),
        Binding("2", "show_tab('RAW')", "Raw", show=False, tooltip="The raw event as extended JSON."),
        Binding("3", "show_tab('UPDATE')", "Update", show=False, tooltip="The update description."),
        Binding("4", "show_tab('HISTORY')", "History", show=False, tooltip="All events of this document."),
        Binding(
            "left_square_bracket", "step(-1)", "Previous", key_display="[", tooltip="The document's previous event."
        ),
        Binding("right_square_bracket", "step(1)", "Next", key_display="]", tooltip="The document's next event."),
        Binding("a", "fold", "All", tooltip="Show all fields, or only those near what changed."),
        Binding("t", "relax", "JSON", tooltip="Raw JSON: relaxed, or canonical with every type."),
        Binding("y", "copy", "Copy", tooltip="Copy the value, the event or the text shown (OSC 52)."),
        Binding(
            "Y", "copy_event", "Copy event", show=False, tooltip="Copy the whole event as canonical JSON (OSC 52)."
        ),
        Binding(
            "s",
            "save",
            "Save",
            tooltip="Save the event, the update, or the history as a recording.",
        ),
        Binding("u", "upload", "Upload", tooltip="Go to the upload that this event is about; escape comes back."),
        Binding("e", "images", "Images", show=False, tooltip="Have the server keep pre- and post-images; asks first."),
        Binding("question_mark", "app.keys", "Keys", key_display="?", tooltip="Show all keys."),
    ]

    def __init__(
        self,
        number: int,
        buffer: EventBuffer[Notice],
        now: Callable[[], datetime],
        images: ImageSource | None = None,
        to_upload: Callable[[ChangeEvent], object] | None = None,
    ) -> None:
        """`to_upload` goes to the upload of an event, where there is one to go to."""
        super().__init__()
        self._to_upload = to_upload
        self._images = MissingImages(self, images, now, self.refresh_rows)
        self.number = number
        self.event = _event(buffer, number)
        self.tab = Tab.COMPARE
        self._shown_tab: Tab | None = None
        self.relaxed = True
        self.folded = True
        self._buffer = buffer
        self._title = TitleLine("")
        self._title.add_class("-focused")
        self._tabs = TabLine([tab.value for tab in Tab])
        self._rows = RowsView(TextRows("", 1), activated=self._open_row)

    def compose(self) -> ComposeResult:
        with Vertical(classes="pane"):
            yield self._title
            with Vertical(classes="pane--body"):
                yield self._tabs
                yield self._rows
        yield KeyBar()

    def on_mount(self) -> None:
        self.set_focus(self._rows)
        self.refresh_rows()
        self.set_interval(TITLE_SECONDS, self._grow)

    def on_resize(self) -> None:
        """Side by side or one under the other, and lines wrapped, for this width."""
        self.call_after_refresh(self.refresh_rows)

    # ---- what is shown

    def refresh_rows(self) -> None:
        history = self._update_title()
        cursor = self._rows.cursor_key if self._shown_tab is self.tab else None
        self._shown_tab = self.tab
        match self.tab:
            case Tab.COMPARE:
                notes = self._images.notes(self.event)
                source = CompareRows(self.event, width=self._width, fold_same=self.folded, notes=notes)
                known = cursor is not None and source.index_of(cursor) is not None
                self._rows.show(source, cursor=cursor if known else source.first_change)
            case Tab.RAW:
                self._rows.show(self._text(self.event.raw), cursor=cursor)
            case Tab.UPDATE:
                self._rows.show(self._text(self.event.update, "this event has no update description"), cursor=cursor)
            case Tab.HISTORY:
                self._rows.show(HistoryRows(self._buffer, history), cursor=self.number)

    @property
    def _width(self) -> int:
        """How wide the list is, or will be within the frame once it is laid out."""
        return self._rows.size.width or max(1, self.app.size.width - 2)

    def _grow(self) -> None:
        """Take in events of the document that came meanwhile."""
        history = self._update_title()
        if self.tab is Tab.HISTORY and len(history) != len(self._rows.source):
            self._rows.source = HistoryRows(self._buffer, history)
            self._rows.reload()

    def _update_title(self) -> list[int]:
        """Say in the title which event of how many this is. Returns the history's numbers."""
        history = self._buffer.history(self.event)
        place = history.index(self.number) + 1 if self.number in history else 0
        sign, _ = operation_sign(self.event)
        moment = event_time(self.event)
        name = f"{sign} {visible(self.event.operation)} {document_name(self.event)}"
        time = f"{moment:%Y-%m-%d %H:%M:%S.%f}"[:-3] if moment is not None else ""
        counts = f"{time} · {place} of {len(history)}" if place else time
        cluster = cluster_time_text(self.event)
        places = (cluster and f"at {cluster}", f"in {visible(self.event.namespace)}" if self.event.namespace else "")
        self._title.show(name, counts, " ".join(filter(None, places)))
        self._tabs.show(list(Tab).index(self.tab))
        return history

    def _text(self, value: Mapping[str, Any] | None, words: str = "") -> TextRows:
        text = json_text(value, relaxed=self.relaxed) if value is not None else ""
        return TextRows(text, self._width - GUTTER - 1, words)

    def _open_row(self, key: Key) -> None:
        source = self._rows.source
        if isinstance(source, CompareRows):
            if source.toggle(key):
                self._rows.reload()
            elif whole := source.whole_values(key):
                title, lines = whole
                self.app.push_screen(TextScreen(title, lines, partial(source.value, self._rows.cursor)))
        elif isinstance(source, HistoryRows) and isinstance(key, int):
            self.tab = Tab.COMPARE
            self._go(key)

    # ---- keys

    def action_tab(self, steps: int) -> None:
        tabs = list(Tab)
        self.tab = tabs[(tabs.index(self.tab) + steps) % len(tabs)]
        self.refresh_rows()

    def action_show_tab(self, name: str) -> None:
        self.tab = Tab[name]
        self.refresh_rows()

    @on(TabLine.Chosen)
    def _tab_chosen(self, message: TabLine.Chosen) -> None:
        message.stop()
        self.tab = list(Tab)[message.number]
        self.refresh_rows()

    def action_step(self, steps: int) -> None:
        history = self._buffer.history(self.event)
        place = bisect_left(history, self.number) + steps
        if 0 <= place < len(history):
            self._go(history[place])

    def _go(self, number: int) -> None:
        if number in self._buffer:
            self.number, self.event = number, _event(self._buffer, number)
            self.refresh_rows()

    def action_fold(self) -> None:
        self.folded = not self.folded
        self.refresh_rows()

    def action_relax(self) -> None:
        self.relaxed = not self.relaxed
        self.refresh_rows()

    def action_copy(self) -> None:
        source = self._rows.source
        if isinstance(source, CompareRows):
            self._copy(source.value(self._rows.cursor), "the value")
        elif isinstance(source, TextRows):
            self._copy(source.text, "the text")
        elif isinstance(number := self._rows.cursor_key, int) and number in self._buffer:
            self._copy(json_text(_event(self._buffer, number).raw), "the event")

    def action_copy_event(self) -> None:
        self._copy(json_text(self.event.raw), "the event")

    def _copy(self, text: str, words: str) -> None:
        if text:
            copy(self.app, text, words)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Other people's collections hold no uploads."""
        return action != "upload" or self._to_upload is not None

    def action_upload(self) -> None:
        """Go to the upload."""
        if self._to_upload is not None:
            self._to_upload(self.event)

    def action_images(self) -> None:
        self._images.offer(self.event.namespace)

    def action_save(self) -> None:
        """Ask for a file name, and write there what the tab is about, as canonical JSON."""
        what, ending, text = "event", "json", json_text(self.event.raw)
        if self.tab is Tab.UPDATE and self.event.update is not None:
            what, text = "update", json_text(self.event.update)
        elif self.tab is Tab.HISTORY and (numbers := self._buffer.history(self.event)):
            what, ending = "history", "jsonl"
            text = "\n".join(json_line(_event(self._buffer, number).raw) for number in numbers)
        moment = event_time(self.event)
        name = f"{what}{f'-{moment:%Y%m%d-%H%M%S}' if moment is not None else ''}.{ending}"

        def answered(values: Mapping[str, Any] | None) -> None:
            if values is not None:
                path: Path = values["path"]
                run_in_background(self.app, partial(write_new, path, f"{text}\n"), lambda _: self._saved(path))

        self.app.push_screen(FormDialog(f"Save the {what}", [Field("path", "To a new file", name, Path)], answered))

    def _saved(self, path: Path) -> None:
        self.notify(visible(str(path)), title="Saved", markup=False)


def show_event(
    screen: Screen[Any],
    number: int,
    buffer: EventBuffer[Notice],
    now: Callable[[], datetime],
    images: ImageSource | None = None,
    to_upload: Callable[[ChangeEvent], object] | None = None,
) -> None:
    """Show it over that screen; or say that a busy log has dropped it since it was asked for."""
    if number in buffer:
        screen.app.push_screen(EventDetail(number, buffer, now, images, to_upload))
    else:
        screen.notify(DROPPED, title="Event", severity="warning", markup=False)


def _event(buffer: EventBuffer[Notice], number: int) -> ChangeEvent:
    entry = buffer[number]
    if not isinstance(entry, ChangeEvent):
        raise TypeError(f"entry {number} is no event")
    return entry


def write_new(path: Path, text: str) -> None:
    """Write a file that was not there.

    Raises:
        UsageError: it is there, or cannot be written.
    """
    try:
        write_private(path.expanduser(), text, is_new=True)
    except OSError as error:
        raise UsageError(
            f"{visible(str(path))}: {error.strerror}", advice="Nothing was written; choose another name."
        ) from None
