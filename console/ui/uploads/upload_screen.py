"""One place for one upload: its record, all that happened to it, its object in S3, and what can be done with it.

What happened comes from the server's memory (its oplog) and goes on with what the console's feed brings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Final

from bson import ObjectId
from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.dom import DOMNode

from console.events.buffer import EventBuffer
from console.events.event import ChangeEvent
from console.events.feed_items import FeedItem
from console.events.filter import Filter
from console.events.text import json_text
from console.formatting import count, visible
from console.models import ObjectFacts, Upload, read_upload
from console.ui.backend import Backend, Document, ImageSource
from console.ui.background import run_in_background, title_and_text
from console.ui.events.event_detail import show_event
from console.ui.events.log_rows import WITHOUT_PROGRESS, HistoryRows, Notice, event_time
from console.ui.main.actions import UploadAction
from console.ui.uploads.upload_cells import row_sign, status_text
from console.ui.uploads.upload_detail import UploadTab, ask_what_to_copy, object_lines, record_lines
from console.ui.uploads.uploads_window import Row, UploadRows
from console.ui.widgets.cells import Column, Span, Tone
from console.ui.widgets.full_screen import FullScreen
from console.ui.widgets.keys import KeyBar
from console.ui.widgets.list_view import Key, RowsView
from console.ui.widgets.pane import TitleLine
from console.ui.widgets.tab_line import TabLine
from console.ui.widgets.text_screen import TextView

if TYPE_CHECKING:
    from console.stream.history import DocumentPast

REFRESH_SECONDS: Final = 0.5
_MOMENT: Final = Column("moment", "Time", 8, 19, rank=1, share=1)
_TABS: Final = tuple(UploadTab)


class PastRows(HistoryRows):
    """Events of one document, with their dates: they may be days apart."""

    columns: Sequence[Column] = (_MOMENT, *HistoryRows.columns[1:])

    def __init__(self, buffer: EventBuffer[Notice], numbers: Sequence[int], words: str) -> None:
        super().__init__(buffer, numbers)
        self._words = words

    def empty_text(self) -> str:
        """That they are asked for, or why there are none."""
        return self._words

    def cell(self, index: int, column: str, width: int) -> Sequence[Span]:
        """As in the log, but for the time."""
        if column != "moment":
            return super().cell(index, column, width)
        event = self._buffer[self.key(index)] if isinstance(self.key(index), int) else None  # type: ignore[index]
        moment = event_time(event) if isinstance(event, ChangeEvent) else None
        if moment is None:
            return [Span("")]
        return [Span(f"{moment:%Y-%m-%d %H:%M:%S}" if width >= _MOMENT.maximum else f"{moment:%H:%M:%S}", Tone.MUTED)]


class UploadScreen(FullScreen):
    """Three tabs on one upload."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "dismiss", "Back", key_display="esc", tooltip="Back to where you came from."),
        Binding("tab", "tab(1)", "Tab", key_display="tab", tooltip="Next tab: detail, events, object."),
        Binding("shift+tab", "tab(-1)", "Previous tab", show=False, tooltip="Previous tab."),
        Binding("1", "show_tab('DETAIL')", "Detail", show=False, tooltip="The record in full."),
        Binding("2,e", "show_tab('EVENTS')", "Events", show=False, tooltip="All that happened to the upload."),
        Binding("3,o", "show_tab('OBJECT')", "Object", show=False, tooltip="The object in S3 and its versions."),
        Binding(
            "y", "copy", "Copy", tooltip="Copy its key, URL, path or JSON: y, then k, u, p or j.", id="uploads.copy"
        ),
        Binding("p", "act('pause')", "Pause", tooltip="Pause the upload; parts in S3 are kept.", id="uploads.pause"),
        Binding(
            "r",
            "act('resume')",
            "Resume",
            tooltip="Resume the upload; parts in S3 are not sent again.",
            id="uploads.resume",
        ),
        Binding(
            "c", "act('cancel')", "Cancel", tooltip="Cancel the upload; parts in S3 are removed.", id="uploads.cancel"
        ),
        Binding("R", "act('retry')", "Retry", tooltip="Retry the failed or cancelled upload.", id="uploads.retry"),
        Binding(
            "d",
            "act('delete')",
            "Delete",
            tooltip="Delete the object and its record, after asking.",
            id="uploads.delete",
        ),
        Binding(
            "l",
            "act('link')",
            "Link",
            tooltip="Make a download link that expires after a time you choose.",
            id="uploads.link",
        ),
        Binding("v", "act('verify')", "Verify", tooltip="Compare checksums of object and file.", id="uploads.verify"),
        Binding(
            "plus,equals_sign",
            "act('sooner')",
            "Sooner",
            show=False,
            tooltip="Raise the priority by one.",
            id="uploads.sooner",
        ),
        Binding("minus", "act('later')", "Later", show=False, tooltip="Lower the priority by one.", id="uploads.later"),
        Binding("P", "progress", "Progress", show=False, tooltip="Show events that only tell of progress, or not."),
        Binding("question_mark", "app.keys", "Keys", key_display="?", tooltip="Show all keys."),
    ]

    def __init__(
        self,
        key: Key,
        uploads: UploadRows,
        backend: Backend,
        now: Callable[[], datetime],
        *,
        act: Callable[[UploadAction, tuple[ObjectId, ...]], None],
        to_upload: Callable[[ChangeEvent], object],
        tab: UploadTab = UploadTab.DETAIL,
    ) -> None:
        """`act` carries out what is wanted of it; `to_upload` goes to the upload of an event."""
        super().__init__()
        self.key = key
        self.tab = tab
        self._uploads = uploads
        self._backend = backend
        self._now = now
        self._act = act
        self._to_upload = to_upload
        self._document: Document | None = None
        self._buffer: EventBuffer[Notice] = EventBuffer()
        self._coming: list[ChangeEvent] | None = []  # until the past is known
        self._asked: set[UploadTab] = set()
        self._lacks = "asking the server…"
        self._hides_progress = True
        self._view = self._buffer.view(WITHOUT_PROGRESS)
        self._facts: ObjectFacts | str = "asking S3…"
        self._title = TitleLine("Upload")
        self._title.add_class("-focused")
        self._tabs = TabLine([tab.value for tab in UploadTab])
        self._text = TextView()
        self._rows = RowsView(PastRows(self._buffer, (), ""), activated=self._open_event)

    def compose(self) -> ComposeResult:
        """A frame with tabs, and the text or the list of one of them; keys below."""
        with Vertical(classes="pane"):
            yield self._title
            with Vertical(classes="pane--body"):
                yield self._tabs
                yield self._text
                yield self._rows
        yield KeyBar()

    def on_mount(self) -> None:
        """Show the tab, and go on showing what changes."""
        if self._row is None and isinstance(self.key, ObjectId):
            run_in_background(self.app, partial(self._backend.document, self.key), self._document_known)
        self._show()
        self.set_interval(REFRESH_SECONDS, self._refresh)

    def on_screen_resume(self, event: events.ScreenResume) -> None:
        """Another screen is no longer before this one."""
        super().on_screen_resume(event)
        self._refresh()

    def key_sections(self) -> list[tuple[str, DOMNode]]:
        """What the list of keys tells about."""
        return [("Upload", self), ("In its tab", self._rows if self.tab is UploadTab.EVENTS else self._text)]

    # ---- what is known

    @property
    def _row(self) -> Row | None:
        """The upload as the table holds it; as the server told it, where the table does not."""
        row = self._uploads.row(self.key)
        return row if row is not None or self._document is None else read_upload(self._document)

    def _document_known(self, document: Document | None) -> None:
        self._document = document
        self._refresh()

    def add(self, items: Iterable[FeedItem]) -> None:
        """What the console's feed brought: events of this upload go on with its past."""
        new = [item for item in items if isinstance(item, ChangeEvent) and item.document_id == self.key]
        if self._coming is not None:
            self._coming += new
        else:
            self._buffer.append(new)
        if self._document is not None and new:
            self._document = new[-1].after

    def _past_known(self, past: DocumentPast) -> None:
        coming, self._coming = self._coming or [], None
        known = {event.token.get("_data") for event in past.events}
        self._buffer.append(past.events)
        self._buffer.append(event for event in coming if event.token.get("_data") not in known)
        self._lacks = past.lacks
        self._refresh()

    def _past_unknown(self, error: Exception) -> None:
        """What comes from now on is shown all the same."""
        coming, self._coming = self._coming or [], None
        self._buffer.append(coming)
        self._lacks = "its past cannot be read: " + ": ".join(title_and_text(error)).replace("\n", " ")
        self._refresh()

    def _facts_known(self, facts: ObjectFacts) -> None:
        self._facts = facts
        self._refresh()

    def _facts_unknown(self, error: Exception) -> None:
        self._facts = ": ".join(title_and_text(error))
        self._refresh()

    # ---- what is shown

    def _show(self) -> None:
        """Show the tab, and ask for what it needs: the past once, the object whenever its tab is opened."""
        is_list = self.tab is UploadTab.EVENTS
        self._rows.display, self._text.display = is_list, not is_list
        self.set_focus(self._rows if is_list else self._text)
        self._tabs.show(_TABS.index(self.tab))
        if isinstance(self.key, ObjectId):
            if is_list and self.tab not in self._asked:
                run_in_background(self.app, partial(self._backend.past, self.key), self._past_known, self._past_unknown)
            elif self.tab is UploadTab.OBJECT:
                run_in_background(
                    self.app, partial(self._backend.object_facts, self.key), self._facts_known, self._facts_unknown
                )
        self._asked.add(self.tab)
        self._text.top = 0
        self._refresh()

    def _refresh(self) -> None:
        if not self.is_current:
            return
        row, now = self._row, self._now()
        name = visible(row.filename) if isinstance(row, Upload) else str(self.key)
        state = "deleted" if row is None else row_sign(row, now).text
        if isinstance(row, Upload):
            state += f" {status_text(row, now).text}"
        match self.tab:
            case UploadTab.DETAIL:
                self._text.show(list(record_lines(row, now)) if row is not None else [("", "deleted")])
            case UploadTab.OBJECT:
                facts = self._facts
                self._text.show([("", facts)] if isinstance(facts, str) else list(object_lines(facts, row, now)))
            case UploadTab.EVENTS:
                state = self._show_events()
        self._title.show(name, state)

    def _show_events(self) -> str:
        """Fill the list; gives what the title says of it."""
        while self._view.scan():
            pass
        numbers = [self._view[place] for place in range(len(self._view))]
        if numbers or self._rows.source.empty_text() != self._lacks:
            at_end = self._rows.cursor >= len(self._rows.source) - 1
            self._rows.source = PastRows(self._buffer, numbers, self._lacks or "no events")
            self._rows.reload()
            if at_end and numbers:
                self._rows.move_to(len(numbers) - 1)
        hidden = len(self._buffer) - len(numbers)
        parts = [count(len(numbers), "event"), f"{hidden:,} of progress hidden (P)" if hidden else "", self._lacks]
        return " · ".join(filter(None, parts))

    def _open_event(self, key: Key) -> None:
        if isinstance(key, int):
            images = self._backend if isinstance(self._backend, ImageSource) else None
            show_event(self, key, self._buffer, self._now, images, self._to_upload)

    # ---- keys

    def action_tab(self, steps: int) -> None:
        """Go to another tab."""
        self.tab = _TABS[(_TABS.index(self.tab) + steps) % len(_TABS)]
        self._show()

    def action_show_tab(self, name: str) -> None:
        """Go to that tab."""
        self.tab = UploadTab[name]
        self._show()

    @on(TabLine.Chosen)
    def _tab_chosen(self, message: TabLine.Chosen) -> None:
        message.stop()
        self.tab = _TABS[message.number]
        self._show()

    def action_progress(self) -> None:
        """Show what only tells of progress, or hide it."""
        self._hides_progress = not self._hides_progress
        self._view = self._buffer.view(WITHOUT_PROGRESS if self._hides_progress else Filter())
        self._refresh()

    def action_copy(self) -> None:
        """Ask what of it to copy."""
        document = self._uploads.document(self.key) or self._document
        ask_what_to_copy(self.app, self._row, json_text(document or {}, relaxed=True))

    def action_act(self, action: str) -> None:
        """Say what is wanted of it."""
        if isinstance(row := self._row, Upload):
            self._act(UploadAction(action), (row.id,))
