"""The main screen: status on top, files and uploads side by side, the event log below, keys at the bottom.

It lays out the panes, gives one of them the whole screen where the terminal is small, hands the items of the feed to
them, and asks before it is left while uploads run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from functools import partial
from typing import ClassVar, Final

from bson import ObjectId
from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.dom import DOMNode
from textual.geometry import Size, clamp
from textual.widgets import Input

from console.events.buffer import CAPACITY
from console.events.event import ChangeEvent
from console.events.feed_items import FeedItem, FeedState, Snapshot
from console.formatting import count
from console.job_totals import JobTotals
from console.models import Upload, UploadStatus
from console.ui.backend import Backend, ImageSource, Leave, Link, UploadChoices
from console.ui.background import notify_error, run_in_background
from console.ui.events.event_detail import show_event
from console.ui.events.event_log import EventLog
from console.ui.feed_pump import FeedArrived, FeedPump, Throttle
from console.ui.main.actions import UploadActions
from console.ui.main.file_browser import FileBrowser
from console.ui.main.finished_jobs import FinishedJobs
from console.ui.main.polling import Polling, changes_status
from console.ui.main.status_bar import StatusBar
from console.ui.remembered import Remembered
from console.ui.screens.bucket_screen import BucketScreen
from console.ui.screens.jobs_screen import JobsScreen
from console.ui.screens.runners_screen import RunnersScreen
from console.ui.screens.watches_screen import WatchesScreen
from console.ui.uploads.upload_cells import is_stalled
from console.ui.uploads.upload_detail import UploadTab
from console.ui.uploads.upload_screen import UploadScreen
from console.ui.uploads.uploads_pane import UploadsPane
from console.ui.uploads.uploads_window import UploadRows
from console.ui.widgets.dialogs import Choice, ChoiceDialog
from console.ui.widgets.full_screen import FullScreen
from console.ui.widgets.key_map import named
from console.ui.widgets.keys import KeyBar
from console.ui.widgets.list_view import Key, RowsView
from console.ui.widgets.pane import Pane


class LeaveAnswer(Enum):
    STAY = "stay"
    PAUSE = "pause"
    FINISH = "finish"
    CANCEL = "cancel"


def running_here(uploading: Iterable[Upload], runner: str) -> list[Upload]:
    """The uploads that this process is sending."""
    return [upload for upload in uploading if upload.lease is not None and runner and upload.lease.runner == runner]


def question(number: int, answered: Callable[[LeaveAnswer | None], object]) -> ChoiceDialog[LeaveAnswer]:
    """Asks what to do with so many uploads."""
    verb, them, go_on = ("runs", "it", "it continues") if number == 1 else ("run", "them", "they continue")
    choices = (
        Choice("s", "Stay here", LeaveAnswer.STAY),
        Choice("p", f"Pause {them} and leave: {go_on} later", LeaveAnswer.PAUSE),
        Choice("f", f"Finish {them} first, then leave", LeaveAnswer.FINISH),
        Choice("c", f"Cancel {them} and leave: what arrived is removed from S3", LeaveAnswer.CANCEL),
    )
    return ChoiceDialog("Leave?", f"{count(number, 'upload')} still {verb} in this console.", choices, answered)


LEAST_ROWS: Final = 3
LEAST_WIDTH: Final = 20
# The header and the line of keys; title, headings and lower edge of a pane.
_OTHER_LINES: Final = 3
_FRAME_LINES: Final = 3


FILES_PERCENT: Final = 32  # as in app.tcss
LOG_PERCENT: Final = 30
_STEP_PERCENT: Final = 4
_LEAST_PERCENT: Final = 12
_MOST_PERCENT: Final = 72


@dataclass(frozen=True, slots=True)
class Layout:
    """How much of the width the files have, and of the height the log."""

    files: int = FILES_PERCENT
    log: int = LOG_PERCENT

    @classmethod
    def of(cls, remembered: Remembered) -> Layout:
        def read(name: str, usual: int) -> int:
            percent = remembered.get(name, int)
            return clamp(percent, _LEAST_PERCENT, _MOST_PERCENT) if percent else usual

        return cls(read("layout.files", FILES_PERCENT), read("layout.log", LOG_PERCENT))


def has_room(name: str, terminal: Size, layout: Layout = Layout()) -> bool:
    """Whether the pane of that name, with the focus, shows enough to act on while the others are shown too."""
    files = clamp(terminal.width * layout.files // 100, 29, 70 if layout.files == FILES_PERCENT else terminal.width)
    width = {"files": files, "uploads": terminal.width - files}.get(name, terminal.width)
    lines = terminal.height - _OTHER_LINES
    log = max(6, terminal.height * layout.log // 100)
    rows = (min(log, lines) if name == "events" else lines - log) - _FRAME_LINES
    return width >= LEAST_WIDTH and rows >= LEAST_ROWS


DRAW_SECONDS: Final = 0.1
TICK_SECONDS: Final = 1.0


class ConsoleScreen(FullScreen):
    """Three panes on one backend."""

    VERTICAL_BREAKPOINTS = [(0, "-short"), (30, "-tall")]  # noqa: RUF012 - Textual declares it so

    BINDINGS: ClassVar[list[BindingType]] = named(
        "everywhere",
        [
            Binding("tab", "next_pane(1)", "Next pane", show=False, priority=True, tooltip="Go to the next pane."),
            Binding(
                "shift+tab",
                "next_pane(-1)",
                "Previous pane",
                show=False,
                priority=True,
                tooltip="Go to the previous pane.",
            ),
            Binding("1", "pane('files')", "Files", show=False, priority=True, tooltip="Go to the files."),
            Binding("2", "pane('uploads')", "Uploads", show=False, priority=True, tooltip="Go to the uploads."),
            Binding("3", "pane('events')", "Events", show=False, priority=True, tooltip="Go to the events."),
            Binding("F", "view('failed')", "Failed", show=False, tooltip="Show only failed uploads, or all again."),
            Binding(
                "A", "view('active')", "Active", show=False, tooltip="Show only uploads that are not over, or all."
            ),
            Binding("T", "view('today')", "Today", show=False, tooltip="Show only what changed today, or all again."),
            Binding(
                "M", "view('host')", "This host", show=False, tooltip="Show only this host's uploads, or all again."
            ),
            Binding("z", "zoom", "Zoom", tooltip="Give the pane the whole screen, or restore the layout."),
            Binding(
                "less_than_sign", "size(-1, 0)", "Narrower", show=False, key_display="<", tooltip="Narrow the files."
            ),
            Binding(
                "greater_than_sign", "size(1, 0)", "Wider", show=False, key_display=">", tooltip="Widen the files."
            ),
            Binding("ctrl+up", "size(0, 1)", "Higher", show=False, tooltip="Give the log more lines."),
            Binding("ctrl+down", "size(0, -1)", "Lower", show=False, tooltip="Give the log fewer lines."),
            Binding(
                "b", "limits", "Limits", show=False, tooltip="Limit bandwidth, parallel uploads and parallel parts."
            ),
            Binding("U", "undo", "Undo", show=False, tooltip="Undo the last pause, resume, cancellation or priority."),
            Binding(
                "o", "sweep", "Sweep", show=False, tooltip="Find multipart uploads in the bucket that no record owns."
            ),
            Binding("w", "watches", "Watches", show=False, tooltip="Show the watched folders of every host."),
            Binding("4", "bucket", "Bucket", show=False, tooltip="Show what is in the bucket; download objects."),
            Binding(
                "J", "jobs", "Jobs", show=False, tooltip="Show jobs: what was added together, how much of it is done."
            ),
            Binding(
                "H,h", "runners", "Runners", show=False, tooltip="Show hosts and processes, what each holds and may."
            ),
            Binding("question_mark", "app.keys", "Keys", key_display="?", tooltip="Show all keys."),
            Binding("q", "leave", "Leave", tooltip="Leave the console; asks first while uploads run here."),
        ],
    )

    def __init__(
        self,
        backend: Backend,
        *,
        directory: str,
        host: str,
        now: Callable[[], datetime],
        show_hidden: bool = False,
        event_capacity: int = CAPACITY,
        remembered: Remembered | None = None,
        usual: UploadChoices,
        has_sheet: bool = True,
    ) -> None:
        super().__init__()
        self.backend = backend
        self.now = now
        self._heard_at = now()
        self.uploads = UploadRows()
        self.status = StatusBar(host, usual.destination, id="status")
        self._remembered = remembered = remembered if remembered is not None else Remembered()
        self._layout = Layout.of(remembered)
        self.actions = UploadActions(self, backend, self.uploads, usual, has_sheet=has_sheet, now=self._known_at)
        self.files = FileBrowser(
            directory,
            upload=self._upload,
            watch=self.actions.watch,
            remembered=remembered,
            sent=partial(self._sent_from, host),
            show_hidden=show_hidden,
            id="files",
        )
        self.table = UploadsPane(
            self.uploads,
            self._known_at,
            host=host,
            remembered=remembered,
            opened=self._open_upload,
            act=self.actions.act,
            id="uploads",
        )
        self.log_pane = EventLog(
            now,
            opened=self._open_event,
            capacity=event_capacity,
            hides_progress=True,
            to_upload=self._upload_of,
            id="events",
        )
        self._keys = KeyBar()
        self._pump = FeedPump(backend, self, self._feed_failed)
        self._throttle = Throttle(self, self._draw, DRAW_SECONDS)
        self._polling = Polling(self, backend, self.status, self.uploads, self._throttle.mark)
        self._finished_jobs = FinishedJobs(self, backend, self.uploads, now)
        self._is_zoomed = False
        self._alone: Pane | None = None
        self._finishing = False

    def compose(self) -> ComposeResult:
        # Textual finds the same at the first resize, and would then style everything once more.
        fitting = [name for least, name in self.VERTICAL_BREAKPOINTS if self.app.size.height >= least]
        self.add_class(fitting[-1], update=False)
        yield self.status
        with Horizontal(id="upper"):
            yield self.files
            yield self.table
        yield self.log_pane
        yield self._keys

    def on_mount(self) -> None:
        self._lay_out()
        self._is_zoomed = bool(self._remembered.get("layout.zoomed", bool))
        pane = next((pane for pane in self.query(Pane) if pane.id == self._remembered.get("layout.pane", str)), None)
        (pane if pane is not None and self._is_zoomed else self.files).focus_list()
        self._pump.start()
        self.set_interval(TICK_SECONDS, self._throttle.mark)
        self._polling.ask_health()

    def on_unmount(self) -> None:
        self._pump.stop()

    # ---- what the feed brings

    @on(FeedArrived)
    def _arrived(self, event: FeedArrived) -> None:
        event.stop()
        try:
            self._apply(event.items)
        finally:
            event.applied()  # else no more would come
            self._throttle.mark()

    def _apply(self, items: Sequence[FeedItem]) -> None:
        self.log_pane.add(items)
        self.uploads.apply_all(items)
        for screen in self.app.screen_stack:
            if isinstance(screen, UploadScreen):
                screen.add(items)
        for item in items:
            if isinstance(item, FeedState):
                self._polling.feed_changed(item)
            elif isinstance(item, Snapshot) or changes_status(item):
                self.table.source.arrived = True
                self._polling.count_soon()
                self._finished_jobs.see(item)

    def _known_at(self) -> datetime:
        """Of when the table tells: while MongoDB is away leases run out whose runners are at work."""
        if self.status.mongodb.link is Link.CONNECTED:
            self._heard_at = self.now()
        return self._heard_at

    def _feed_failed(self, error: Exception) -> None:
        notify_error(self.app, error)

    def _draw(self) -> None:
        """Everything that shows uploads. Skipped while another screen is on top; it is made good on return."""
        self._polling.see_link()
        if self._finishing:
            self._finish_if_done()
        if not self.is_current:
            return
        now = self._known_at()
        self.table.source.is_fed = self.status.mongodb.link is Link.CONNECTED
        self.status.queued = sum(row.is_queued for row in self.uploads.uploading())
        self.uploads.counted = sum(self.status.counts.values())
        self.table.changed()
        self.status.rate = sum(row.rate for row in self.uploads.uploading() if not is_stalled(row, now))
        self.status.redraw()
        self._polling.ask_page(self.table.rows.cursor)

    def on_screen_resume(self, event: events.ScreenResume) -> None:
        self._throttle.mark()
        self.log_pane.draw()

    # ---- what the panes ask for

    @on(UploadsPane.FilterChanged)
    def _filter_changed(self, event: UploadsPane.FilterChanged) -> None:
        self._polling.ask_matches()

    def _upload(self, paths: tuple[str, ...]) -> None:
        self.actions.upload(paths)

    def _open_upload(self, key: Key, tab: UploadTab = UploadTab.DETAIL) -> None:
        self.app.push_screen(
            UploadScreen(
                key,
                self.uploads,
                self.backend,
                self._known_at,
                act=self.actions.act,
                tab=tab,
                to_upload=self._upload_of,
            )
        )

    def _sent_from(self, host: str) -> Mapping[str, tuple[int, int]]:
        """Files of this host that were uploaded, as far as the table holds it: their size and time of change then."""
        return {
            row.os_path: (row.size, row.mtime_ns)
            for row in self.uploads.rows()
            if isinstance(row, Upload) and row.status is UploadStatus.COMPLETED and row.host == host
        }

    def _upload_of(self, event: ChangeEvent) -> None:
        """Go to the upload of an event; one that is shown already is come back to."""
        below = self.app.screen_stack[-2] if len(self.app.screen_stack) > 1 else None
        if isinstance(below, UploadScreen) and below.key == event.document_id:
            self.app.pop_screen()
        elif isinstance(event.document_id, ObjectId):
            self._open_upload(event.document_id)
        else:
            self.notify("this event is not about an upload", title="Upload", markup=False)

    def _open_event(self, number: int) -> None:
        images = self.backend if isinstance(self.backend, ImageSource) else None
        show_event(self, number, self.log_pane.log_rows.buffer, self.now, images, self._upload_of)

    # ---- keys

    @on(RowsView.CursorMoved)
    def _cursor_moved(self, event: RowsView.CursorMoved) -> None:
        event.stop()
        if event.rows is self.files.rows:
            self._keys.redraw()  # enter goes into a folder and marks a file

    @property
    def focused_pane(self) -> Pane | None:
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
        self._arrange(pane)
        pane.focus_list()

    def action_view(self, name: str) -> None:
        """Go to the uploads and show those alone; once more, there, shows all again."""
        if self.focused_pane is self.table:
            self.table.show_view(name)
        else:
            self.action_pane("uploads")
            self.table.show_view(name, again=False)

    def action_next_pane(self, steps: int) -> None:
        panes = list(self.query(Pane))
        place = panes.index(self.focused_pane) if self.focused_pane is not None else 0
        self.action_pane(str(panes[(place + steps) % len(panes)].id))

    def action_zoom(self) -> None:
        self._is_zoomed = not self._is_zoomed
        self._remembered.keep("layout.zoomed", self._is_zoomed)
        if self._is_zoomed and self.focused_pane is not None:
            self._remembered.keep("layout.pane", self.focused_pane.id)
        self._arrange(self.focused_pane)

    def action_size(self, files: int, log: int) -> None:
        """Give the files so many steps more of the width, and the log of the height; that is remembered."""
        before = self._layout
        self._layout = Layout(
            clamp(before.files + files * _STEP_PERCENT, _LEAST_PERCENT, _MOST_PERCENT),
            clamp(before.log + log * _STEP_PERCENT, _LEAST_PERCENT, _MOST_PERCENT),
        )
        self._remembered.keep("layout.files", self._layout.files)
        self._remembered.keep("layout.log", self._layout.log)
        self._lay_out()
        self._arrange(self.focused_pane)

    def _lay_out(self) -> None:
        """Sizes that the person chose are stronger than the style sheet, but for a pane that has the whole screen."""
        chosen, files, log = self._layout, self.files.styles, self.log_pane.styles
        is_alone = self._alone is not None
        files.width = None if is_alone or chosen.files == FILES_PERCENT else f"{chosen.files}%"
        files.max_width = None if is_alone or chosen.files == FILES_PERCENT else "100%"
        log.height = None if is_alone or chosen.log == LOG_PERCENT else f"{chosen.log}%"

    def on_resize(self, event: events.Resize) -> None:
        """There may be room for one pane only, or for all again."""
        self._arrange(self.focused_pane)

    def on_descendant_focus(self) -> None:
        """Another pane may have too little room."""
        self._arrange(self.focused_pane)

    def _arrange(self, focused: Pane | None) -> None:
        """Show all panes, or the one with the focus alone: keys act on its rows, and so these have to be seen."""
        if focused is None:
            return
        alone = focused if self._is_zoomed or not has_room(str(focused.id), self.app.size, self._layout) else None
        if alone is self._alone:
            return
        self._alone = alone
        for pane in self.query(Pane):
            pane.display = alone is None or pane is alone
            pane.set_class(pane is alone, "-zoomed")
        self.query_one("#upper").display = alone is not self.log_pane
        self._lay_out()

    def action_limits(self) -> None:
        self.actions.change_limits()

    def action_undo(self) -> None:
        self.actions.undo()

    def action_watches(self) -> None:
        self.app.push_screen(WatchesScreen(self.backend, self.now))

    def action_bucket(self) -> None:
        self.app.push_screen(
            BucketScreen(self.backend, self.uploads, self.now, folder=self.files.directory, opened=self._open_upload)
        )

    def action_jobs(self) -> None:
        """Show jobs, first that of the upload under the cursor."""
        row = self.uploads.row(self.table.rows.cursor_key)
        start = row.batch if isinstance(row, Upload) and self.focused_pane is self.table else None
        act = self.actions.act_on_job
        self.app.push_screen(JobsScreen(self.backend, self.now, start=start, opened=self._open_job, act=act))

    def _open_job(self, job: JobTotals) -> None:
        """Show the uploads of a job in the table, and nothing else; escape shows all again."""
        self.app.pop_screen()
        self.action_pane("uploads")
        self.table.filter_line.show(f"job:{job.id}")

    def action_runners(self) -> None:
        self.app.push_screen(RunnersScreen(self.backend, self.now))

    def action_sweep(self) -> None:
        self.actions.sweep()

    def key_sections(self) -> list[tuple[str, DOMNode]]:
        panes = sorted(self.query(Pane), key=lambda pane: pane is not self.focused_pane)
        sections: list[tuple[str, DOMNode]] = [(pane.NAME, pane) for pane in panes]
        return [*sections, ("In every list", self.files.rows), ("Everywhere", self)]

    # ---- leaving

    def action_leave(self) -> None:
        """Leave; ask first while uploads run here."""
        running = running_here(self.uploads.uploading(), self.backend.runner)
        if running:
            self.app.push_screen(question(len(running), self._leave_answered))
        else:
            self.app.exit(Leave.NOW)

    def _leave_answered(self, answer: LeaveAnswer | None) -> None:
        match answer:
            case LeaveAnswer.PAUSE:
                self.app.exit(Leave.PAUSE)
            case LeaveAnswer.CANCEL:
                self.app.exit(Leave.CANCEL)
            case LeaveAnswer.FINISH:
                self._finishing = True
                run_in_background(self.app, self.backend.drain)
                self._finish_if_done()

    def _finish_if_done(self) -> None:
        running = running_here(self.uploads.uploading(), self.backend.runner)
        if not running:
            self.app.exit(Leave.NOW)
        self.status.notice = f"leaving after {count(len(running), 'upload')}"
        self.status.redraw()
