"""The main screen: status on top, files and uploads side by side, the event log below, keys at the bottom.

Owns the layout, and the hand-over of what the feed brings to the panes. Not here: what a pane draws, what becomes of a
wish (`requests`), how it reaches the servers (`backend`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from typing import Any, ClassVar, Final

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.dom import DOMNode
from textual.screen import Screen
from textual.widgets import Input

from console.events.buffer import CAPACITY
from console.events.event import ChangeEvent
from console.events.feed_items import FeedItem, FeedState, Snapshot
from console.formatting import count
from console.models import Upload, UploadStatus
from console.ui import leaving
from console.ui.backend import Backend, Leave, Link, PageQuery, ServerHealth, Servers
from console.ui.blocking import ask, tell
from console.ui.browser import FileBrowser
from console.ui.event_detail import EventDetail
from console.ui.event_log import EventLog
from console.ui.feed_pump import FeedArrived, FeedPump
from console.ui.key_bar import KeyBar
from console.ui.leaving import Answer
from console.ui.pace import Pace
from console.ui.pane import Pane
from console.ui.requests import Requests
from console.ui.status_bar import StatusBar
from console.ui.upload_cells import is_stalled
from console.ui.upload_detail import UploadDetail
from console.ui.upload_rows import UploadRows
from console.ui.uploads import UploadsPane

DRAW_SECONDS: Final = 0.125
TICK_SECONDS: Final = 1.0
HEALTH_SECONDS: Final = 5.0
COUNT_SECONDS: Final = 1.0


class ConsoleScreen(Screen[None]):
    """Three panes on one backend."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("tab", "next_pane(1)", "Next pane", show=False, priority=True, tooltip="Go to the next pane."),
        Binding(
            "shift+tab", "next_pane(-1)", "Pane before", show=False, priority=True, tooltip="Go to the pane before."
        ),
        Binding("1", "pane('files')", "Files", show=False, priority=True, tooltip="Go to the files."),
        Binding("2", "pane('uploads')", "Uploads", show=False, priority=True, tooltip="Go to the uploads."),
        Binding("3", "pane('events')", "Events", show=False, priority=True, tooltip="Go to the events."),
        Binding("z", "zoom", "Zoom", tooltip="Give the pane the whole screen, or put it back."),
        Binding("b", "limits", "Limits", show=False, tooltip="Bandwidth, uploads and parts at the same time."),
        Binding("o", "sweep", "Sweep", show=False, tooltip="Find multipart uploads in the bucket that nobody owns."),
        Binding("question_mark", "app.keys", "Keys", key_display="?", tooltip="Show all keys."),
        Binding("q", "leave", "Leave", tooltip="Leave the console; asks first while uploads run here."),
    ]

    def __init__(
        self,
        backend: Backend,
        *,
        directory: str,
        host: str,
        now: Callable[[], datetime],
        show_hidden: bool = False,
        event_capacity: int = CAPACITY,
    ) -> None:
        super().__init__()
        self.backend = backend
        self.now = now
        self.uploads = UploadRows()
        self.status = StatusBar(host, id="status")
        self.files = FileBrowser(directory, show_hidden=show_hidden, id="files")
        self.table = UploadsPane(self.uploads, now, id="uploads")
        self.log_pane = EventLog(now, capacity=event_capacity, id="events")
        self.requests = Requests(self, backend, self.uploads)
        self._pump = FeedPump(backend, self, self._feed_failed)
        self._pace = Pace(self, self._draw, DRAW_SECONDS)
        self._count_pace = Pace(self, self._ask_counts, COUNT_SECONDS)
        self._feed_state = FeedState(False, "connecting")
        self._zoomed: Pane | None = None
        self._paging = False
        self._finishing = False

    def compose(self) -> ComposeResult:
        """From top to bottom."""
        yield self.status
        with Horizontal(id="upper"):
            yield self.files
            yield self.table
        yield self.log_pane
        yield KeyBar()

    def on_mount(self) -> None:
        """Begin to read the feed, and to ask the servers how they are."""
        self.files.focus_list()
        self._pump.start()
        self.set_interval(TICK_SECONDS, self._pace.mark)
        self.set_interval(HEALTH_SECONDS, self._ask_health)
        self._ask_health()
        ask(self.app, self.backend.limits, self._limits_known)

    def on_unmount(self) -> None:
        """End the feed."""
        self._pump.stop()

    # ---- what the feed brings

    @on(FeedArrived)
    def _arrived(self, event: FeedArrived) -> None:
        event.stop()
        for item in event.items:
            self.uploads.apply(item)
            if isinstance(item, FeedState):
                self._feed_state = item
                self._link_changed()
            elif isinstance(item, Snapshot) or _changes_status(item):
                self._count_pace.mark()
        self.log_pane.add(event.items)
        event.applied()
        self._pace.mark()

    def _feed_failed(self, error: Exception) -> None:
        tell(self.app, error)

    def _draw(self) -> None:
        """Everything that shows uploads. Skipped while another screen is on top; it is made good on return."""
        if not self.is_current:
            return
        now = self.now()
        self.table.changed()
        self.status.rate = sum(
            row.rate
            for row in self.uploads.rows()
            if isinstance(row, Upload) and row.status is UploadStatus.UPLOADING and not is_stalled(row, now)
        )
        self.status.redraw()
        self._ask_page()
        if self._finishing:
            self._finish_if_done()

    def on_screen_resume(self, event: events.ScreenResume) -> None:
        """Draw what happened meanwhile."""
        self._pace.mark()
        self.log_pane.draw()

    # ---- servers, counts, pages

    def _ask_health(self) -> None:
        ask(self.app, self.backend.servers, self._health_known)

    def _health_known(self, servers: Servers) -> None:
        self.status.mongodb, self.status.s3 = servers.mongodb, servers.s3
        self._link_changed()

    def _link_changed(self) -> None:
        """The feed knows sooner than the next question whether MongoDB is there."""
        health = self.status.mongodb
        state = self._feed_state
        if state.connected:
            self.status.mongodb = ServerHealth(Link.CONNECTED, health.address)
        elif state.ended or health.link is Link.CONNECTED:
            link = Link.LOST if state.ended else Link.RECONNECTING
            self.status.mongodb = ServerHealth(link, health.address, state.message)
        self.status.redraw()

    def _ask_counts(self) -> None:
        ask(self.app, self.backend.counts, self._counts_known)

    def _counts_known(self, counts: Mapping[UploadStatus, int]) -> None:
        self.status.counts = counts
        self.status.redraw()

    def _limits_known(self, limits: Any) -> None:
        self.status.limits = limits
        self.status.redraw()

    def _ask_page(self) -> None:
        query = self.uploads.wanted_page(self.table.rows.cursor)
        if query is not None and not self._paging:
            self._paging = True
            ask(self.app, partial(self.backend.page, query), partial(self._page_known, query))

    def _page_known(self, query: PageQuery, documents: list[Any]) -> None:
        self._paging = False
        self.uploads.extend(query, documents)
        self._pace.mark()

    @on(UploadsPane.FilterChanged)
    def _filter_changed(self, event: UploadsPane.FilterChanged) -> None:
        for query in self.uploads.wanted_matches():
            ask(self.app, partial(self.backend.page, query), partial(self._matches_known, query))

    def _matches_known(self, query: PageQuery, documents: list[Any]) -> None:
        if query.text == self.uploads.text:
            self.uploads.extend(query, documents)
            self._pace.mark()

    # ---- what the panes ask for

    @on(FileBrowser.UploadAsked)
    def _upload_asked(self, event: FileBrowser.UploadAsked) -> None:
        self.requests.upload(event.paths)

    @on(UploadsPane.Intended)
    def _intended(self, event: UploadsPane.Intended) -> None:
        self.requests.intend(event.intent, event.ids)

    @on(UploadsPane.Opened)
    def _upload_opened(self, event: UploadsPane.Opened) -> None:
        self.app.push_screen(UploadDetail(self.uploads, event.key, self.now))

    @on(EventLog.Opened)
    def _event_opened(self, event: EventLog.Opened) -> None:
        self.app.push_screen(EventDetail(event.number, self.log_pane.log_rows.buffer))

    # ---- keys

    @property
    def focused_pane(self) -> Pane | None:
        """The pane with the focus."""
        node: DOMNode | None = self.focused
        while node is not None and not isinstance(node, Pane):
            node = node.parent
        return node

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Numbers are typed into an input, and go to a pane everywhere else; at once, for the keys that follow."""
        return action != "pane" or not isinstance(self.focused, Input)

    def action_pane(self, name: str) -> None:
        """Go to a pane; a zoomed one gives way to it."""
        pane = self.query_one(f"#{name}", Pane)
        if self._zoomed is not None:
            self._zoom(pane)
        pane.focus_list()

    def action_next_pane(self, steps: int) -> None:
        """Go to the next pane, or the one before."""
        panes = list(self.query(Pane))
        place = panes.index(self.focused_pane) if self.focused_pane is not None else 0
        self.action_pane(str(panes[(place + steps) % len(panes)].id))

    def action_zoom(self) -> None:
        """Give the pane the whole screen, or put it back."""
        self._zoom(self.focused_pane if self._zoomed is None else None)

    def _zoom(self, zoomed: Pane | None) -> None:
        self._zoomed = zoomed
        for pane in self.query(Pane):
            pane.display = zoomed is None or pane is zoomed
            pane.set_class(pane is zoomed, "-zoomed")
        self.query_one("#upper").display = zoomed is not self.log_pane

    def action_limits(self) -> None:
        """Change the limits."""
        self.requests.change_limits()

    def action_sweep(self) -> None:
        """Find multipart uploads without an owner."""
        self.requests.sweep()

    def key_sections(self) -> list[tuple[str, DOMNode]]:
        """What the list of keys tells about, the focused pane first."""
        panes = sorted(self.query(Pane), key=lambda pane: pane is not self.focused_pane)
        sections: list[tuple[str, DOMNode]] = [(pane.NAME, pane) for pane in panes]
        return [*sections, ("In every list", self.files.rows), ("Everywhere", self)]

    # ---- leaving

    def action_leave(self) -> None:
        """Leave; ask first while uploads run here."""
        running = leaving.running_here(self.uploads.rows(), self.backend.runner)
        if running:
            self.app.push_screen(leaving.question(len(running)), self._leave_answered)
        else:
            self.app.exit(Leave.NOW)

    def _leave_answered(self, answer: Answer | None) -> None:
        match answer:
            case Answer.PAUSE:
                self.app.exit(Leave.PAUSE)
            case Answer.CANCEL:
                self.app.exit(Leave.CANCEL)
            case Answer.FINISH:
                self._finishing = True
                ask(self.app, self.backend.drain)
                self._finish_if_done()

    def _finish_if_done(self) -> None:
        running = leaving.running_here(self.uploads.rows(), self.backend.runner)
        if not running:
            self.app.exit(Leave.NOW)
        self.status.notice = f"leaving after {count(len(running), 'upload')}"
        self.status.redraw()


def _changes_status(item: FeedItem) -> bool:
    """Whether an event moves an upload from one total to another."""
    if not isinstance(item, ChangeEvent):
        return False
    before = item.before.get("status") if item.before is not None else None
    after = item.after.get("status") if item.after is not None else None
    return before != after or before is None
