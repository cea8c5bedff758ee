"""The uploads pane: the table of uploads, and the keys that say what is wanted of them.

This module has marks and messages. Which documents are held is in `uploads_window`, how a row looks in `upload_cells`;
what becomes of an action is in `ui.main.actions`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter
from typing import Any, ClassVar, Final, NamedTuple

from bson import ObjectId
from textual import on
from textual.binding import Binding, BindingType
from textual.message import Message

from console.events.text import json_text
from console.formatting import count, visible
from console.models import Upload
from console.ui.main.actions import UploadAction
from console.ui.remembered import Remembered
from console.ui.uploads.upload_cells import COLUMNS, sort_value, upload_cell, upload_version
from console.ui.uploads.upload_detail import UploadTab, ask_what_to_copy
from console.ui.uploads.uploads_window import UploadRows
from console.ui.widgets.cells import Column, Span
from console.ui.widgets.dialogs import Choice, ChoiceDialog, Field, FormDialog
from console.ui.widgets.key_map import named
from console.ui.widgets.list_view import Key, RowSource, RowsView
from console.ui.widgets.pane import Pane, PaneRows, ask_which, count_forms, marks_sign, marks_text

NOTICE_SECONDS: Final = 8.0
MOST_VIEWS: Final = 9
_SAVE: Final = "\0save"  # no filter: what is typed has no such character
_FORGET: Final = "\0forget"
# These name the upload before they do anything to it.
_NAMES_FIRST: Final = (UploadAction.DELETE, UploadAction.LINK, UploadAction.VERIFY)
_ASKED: Final[Mapping[UploadAction, str]] = {
    UploadAction.LINK: "Make a link to",
    UploadAction.SOONER: "Raise the priority of",
    UploadAction.LATER: "Lower the priority of",
}


class View(NamedTuple):
    """A filter that has a key of its own in the list of views."""

    name: str
    key: str
    words: str
    text: str


def own_views(remembered: Remembered) -> list[tuple[str, str]]:
    """Names and filters of the views that the person saved. The first ones had no names."""
    views: list[tuple[str, str]] = []
    for view in remembered.get("uploads.views", list)[:MOST_VIEWS]:
        if isinstance(view, dict) and view.get("filter"):
            views.append((str(view.get("name") or view["filter"]), str(view["filter"])))
        elif isinstance(view, str):
            views.append((view, view))
    return views


def _words_of(name: str, text: str) -> str:
    return visible(name) if name == text else f"{visible(name)}: {visible(text)}"


class UploadSource(RowSource):
    """The held uploads as rows of a list; the key of a row is the `_id` of its document."""

    def __init__(self, uploads: UploadRows, now: Callable[[], datetime]) -> None:
        self.hidden_columns: set[str] = set()
        self.uploads = uploads
        self.now = now
        self.arrived = False
        self.is_fed = True

    @property
    def columns(self) -> Sequence[Column]:
        """Those that the person has not hidden."""
        return [column for column in COLUMNS if column.key not in self.hidden_columns]

    def __len__(self) -> int:
        return len(self.uploads)

    def key(self, index: int) -> Key:
        return self.uploads.key(index)

    def index_of(self, key: Key) -> int | None:
        return self.uploads.index_of(key)

    def version(self, index: int) -> object:
        """The values of the document, and what the time makes of them."""
        row = self.uploads.row(self.uploads.key(index))
        return upload_version(row, self.now(), is_fed=self.is_fed) if row is not None else None

    def may_mark(self, index: int) -> bool:
        """Documents that others wrote wrongly take no action."""
        return isinstance(self.uploads.row(self.uploads.key(index)), Upload)

    def empty_text(self) -> str:
        if not self.arrived:
            return "waiting for MongoDB…"
        if self.uploads.is_searching:
            return "searching…"
        return "nothing matches" if self.uploads.text else "no uploads yet: mark files and press u"

    def cell(self, index: int, column: str, width: int) -> Sequence[Span]:
        row = self.uploads.row(self.uploads.key(index))
        return upload_cell(row, column, width, self.now(), is_fed=self.is_fed) if row is not None else [Span("")]


class UploadsPane(Pane):
    """The pane on the right."""

    NAME = "Uploads"
    FILTER_HINT = "name, destination, host, status or error; is:active, is:today, host:NAME"
    FIRST_KEYS = (
        *("activate", "act('pause')", "act('resume')", "act('cancel')", "act('retry')", "filter"),
        *("act('delete')", "mark", "act('link')", "sort"),
    )
    BINDINGS: ClassVar[list[BindingType]] = named(
        "uploads",
        [
            Binding("p", "act('pause')", "Pause", tooltip="Pause an upload; parts in S3 are kept."),
            Binding("r", "act('resume')", "Resume", tooltip="Resume a paused upload; parts in S3 are not sent again."),
            Binding("c", "act('cancel')", "Cancel", tooltip="Cancel an upload; parts in S3 are removed."),
            Binding("R", "act('retry')", "Retry", tooltip="Retry a failed or cancelled upload."),
            Binding("d", "act('delete')", "Delete", tooltip="Delete the object and its record, after asking."),
            Binding("l", "act('link')", "Link", tooltip="Make a download link that expires after a time you choose."),
            Binding(
                "v",
                "act('verify')",
                "Verify",
                tooltip="Compare checksums of object and file; nothing is downloaded.",
            ),
            Binding(
                "plus,equals_sign", "act('sooner')", "Sooner", key_display="+", tooltip="Raise the priority by one."
            ),
            Binding("minus", "act('later')", "Later", tooltip="Lower the priority by one."),
            Binding("e", "events", "Events", tooltip="All that happened to the upload, from the server's memory."),
            Binding("y", "copy", "Copy", tooltip="Copy its key, URL, path or JSON: y, then k, u, p or j."),
            Binding(
                "s", "sort", "Sort", tooltip="Sort by a column; a click on its title does so too, again the other way."
            ),
            Binding("V", "views", "Views", show=False, tooltip="Choose a view, save the filter as one, or forget it."),
            Binding("C", "columns", "Columns", show=False, tooltip="Hide or show a column; that is remembered."),
        ],
    )

    @dataclass
    class FilterChanged(Message):
        """The table is filtered by other words: what is not held may match too."""

        text: str

    def __init__(
        self,
        uploads: UploadRows,
        now: Callable[[], datetime],
        *,
        remembered: Remembered,
        host: str = "",
        opened: Callable[[Key, UploadTab], None],
        act: Callable[[UploadAction, tuple[ObjectId, ...]], None],
        id: str | None = None,
    ) -> None:
        """`opened` shows one upload in full, `act` carries out what is wanted of some: at once, for the keys that
        follow."""
        self.uploads = uploads
        self._opened = opened
        self._remembered = remembered
        self._host = host
        self._act = act
        self.source = UploadSource(uploads, now)
        # A key that a person presses again must not mean another upload, only because the one it meant is gone.
        self._marks_are_gone = False
        self._cursor_row_is_gone = False
        self._came_to: Key | None = None
        self._was_running = False
        super().__init__(self.source, id=id)
        known = {column.key for column in COLUMNS if column.letter}
        self.source.hidden_columns = known.intersection(map(str, remembered.get("uploads.hidden_columns", list)))
        column = str(remembered.get("uploads.sorted_by", str))
        if column.lstrip("-") in known:
            self._sort(column.lstrip("-"), descending=column.startswith("-"))

    # ---- order and columns

    def action_sort(self) -> None:
        """Ask by which column to sort; the one in use again turns the order."""
        choices = [Choice(column.letter, _title(column), column.key) for column in self.source.columns if column.letter]
        choices.append(Choice("o", "Their own order: running, paused, waiting, finished", ""))

        def answered(column: str | None) -> None:
            if column is not None:
                self._sort_or_turn(column)

        self.app.push_screen(ChoiceDialog("Sort by", "The same column again turns the order.", choices, answered))

    @on(RowsView.HeadClicked)
    def _head_clicked(self, event: RowsView.HeadClicked) -> None:
        event.stop()
        if event.column != "sign":
            self._sort_or_turn(event.column)

    def _sort_or_turn(self, column: str) -> None:
        before = self.rows.sorted_by
        largest_first = column in ("percent", "size", "rate", "priority")
        self._sort(column, descending=not before[1] if before and before[0] == column else largest_first)
        self.rows.fit_again()
        self.update_title()

    def _sort(self, column: str, *, descending: bool) -> None:
        self.rows.sorted_by = (column, descending) if column else None
        self.uploads.sort((lambda row: sort_value(row, column)) if column else None, descending=descending)
        self._remembered.keep("uploads.sorted_by", f"{'-' if descending else ''}{column}")

    def show_view(self, name: str, *, again: bool = True) -> None:
        """Show that view; with `again`, all where it is the one in force."""
        text = next(view.text for view in self._views() if view.name == name)
        self.filter_line.show("" if again and self.filter_line.text == text else text)

    def action_views(self) -> None:
        """Ask which view to show; the filter in force can become one."""
        own = own_views(self._remembered)
        now = self.filter_line.text
        choices = [Choice(view.key, view.words, view.text) for view in self._views()]
        choices += [Choice(str(number), _words_of(*view), view[1]) for number, view in enumerate(own, 1)]
        choices.append(Choice("0", "All", ""))
        if now and any(text == now for _, text in own):
            choices.append(Choice("x", f"Forget {visible(now)}", _FORGET))
        elif now and len(own) < MOST_VIEWS:
            choices.append(Choice("s", f"Save {visible(now)} as a view", _SAVE))

        def answered(text: str | None) -> None:
            if text == _SAVE:
                self._ask_name(now, own)
            elif text == _FORGET:
                self._keep_views([view for view in own if view[1] != now])
            elif text is not None:
                self.filter_line.show(text)

        self.app.push_screen(ChoiceDialog("Views", "A view is a filter; your own are remembered.", choices, answered))

    def _ask_name(self, text: str, own: Sequence[tuple[str, str]]) -> None:
        def answered(values: Mapping[str, Any] | None) -> None:
            if values is not None:
                self._keep_views([*own, (values["name"] or text, text)])

        field = Field("name", f"The name of the view that shows {visible(text)}", text, str.strip)
        self.app.push_screen(FormDialog("Save a view", [field], answered))

    def _keep_views(self, views: Sequence[tuple[str, str]]) -> None:
        self._remembered.keep("uploads.views", [{"name": name, "filter": text} for name, text in views])

    def _views(self) -> list[View]:
        """Those that everybody has."""
        return [
            View("failed", "f", "Failed", "is:failed"),
            View("active", "a", "Active: uploading, waiting or paused", "is:active"),
            View("today", "t", "Today: what changed since midnight", "is:today"),
            View("host", "h", f"This host, {visible(self._host)}", f"host:{self._host}"),
            View("uploading", "u", "Uploading", "is:uploading"),
            View("waiting", "w", "Waiting", "is:pending"),
            View("paused", "p", "Paused", "is:paused"),
            View("completed", "c", "Completed", "is:completed"),
        ]

    def action_columns(self) -> None:
        hidden = self.source.hidden_columns
        choices = [
            Choice(column.letter, f"{'show' if column.key in hidden else 'hide'} {_title(column)}", column.key)
            for column in COLUMNS
            if column.letter and column.rank
        ]

        def answered(column: str | None) -> None:
            if column is not None:
                hidden.symmetric_difference_update({column})
                self._remembered.keep("uploads.hidden_columns", sorted(hidden))
                self.rows.fit_again()

        text = "A column that holds nothing, or has no room, is not shown."
        self.app.push_screen(ChoiceDialog("Columns", text, choices, answered))

    # ---- what changes

    def changed(self) -> None:
        held = {key for key in self.rows.marks if self.uploads.row(key) is not None}
        if held != self.rows.marks:
            self.rows.marks = held
            self._marks_are_gone = not held
        before = self.rows.cursor_key
        runs = any(True for _ in self.uploads.uploading())
        if self._was_running and not runs:
            self.rows.fit_again()  # rates and times left need no room any more
        self._was_running = runs
        self.rows.reload()
        if self.rows.cursor_key != before:
            self._came_to = self.rows.cursor_key
            self._cursor_row_is_gone |= before is not None and self.uploads.index_of(before) is None
        self.update_title()

    def update_title(self) -> None:
        """Say in the title how many there are, and what keys would act on that is not seen."""
        uploads, rows = self.uploads, self.rows
        if rows.top == 0:
            uploads.fresh.clear()
        parts: list[tuple[int, str]] = []
        if above := uploads.news_above(rows.top):
            parts.append((1, f"↑ {above:,} above"))
        shown, total = len(uploads), uploads.total
        parts.append((2, f"{shown:,} of {total:,}" if uploads.text or shown < total else f"{shown:,}"))
        shortest = []
        if rows.marks:
            marks = len(rows.marks), len(self._hidden(rows.marks))
            parts.append((0, marks_text(*marks)))
            shortest.append(marks_sign(*marks))
        elif self._marks_are_gone:
            parts.append((0, "marked gone"))
        if uploads.is_cut:
            parts.append((3, "more by a filter (/)"))
        self.title_line.show(self.NAME, [*count_forms(parts), *shortest])

    def _hidden(self, keys: Iterable[Key]) -> set[Key]:
        return {key for key in keys if self.source.index_of(key) is None}

    def filter_changed(self, text: str) -> None:
        self.uploads.filter(text, self.rows.marks)
        self.rows.words = tuple(text.casefold().split())
        self.rows.reload()
        self.rows.fit_again()
        self.update_title()
        self.post_message(self.FilterChanged(text))

    @on(PaneRows.MarksChanged)
    def _marks_changed(self, event: PaneRows.MarksChanged) -> None:
        event.stop()
        self._marks_are_gone = False
        self.update_title()

    @on(RowsView.CursorMoved)
    def _cursor_moved(self) -> None:
        if self.rows.cursor_key != self._came_to:
            self._cursor_row_is_gone = False
        self.update_title()

    def action_back(self) -> None:
        """Undo the last narrowing; that marks are gone is known then."""
        if self._marks_are_gone and not self.filter_line.text:
            self._marks_are_gone = False
            self.update_title()
        super().action_back()

    def row_activated(self, key: Key) -> None:
        self._opened(key, UploadTab.DETAIL)

    def action_events(self) -> None:
        """Show all that happened to the upload."""
        if self.rows.cursor_key is not None:
            self._opened(self.rows.cursor_key, UploadTab.EVENTS)

    def action_copy(self) -> None:
        """Ask what of the upload to copy."""
        key = self.rows.cursor_key
        if key is not None:
            ask_what_to_copy(self.app, self.uploads.row(key), json_text(self.uploads.document(key), relaxed=True))

    def action_act(self, action: str) -> None:
        """Say what is wanted of the marked uploads, or of the one under the cursor."""
        if self._is_gone(UploadAction(action)):
            return
        cursor = self.rows.cursor_key
        keys = self.rows.marks or {cursor}
        ids = tuple(row.id for key in keys if key is not None and isinstance(row := self.uploads.row(key), Upload))
        place = self.source.index_of(cursor) if cursor is not None else None
        if not self.rows.marks and place is not None:
            self.rows.move_to(place)  # from now on the cursor goes where this upload goes
        hidden = self._hidden(ids)
        asks = action != UploadAction.LINK or len(ids) == 1  # for many there is no link, shown or not
        if hidden and self.rows.marks and asks:
            self._ask_which(UploadAction(action), ids, hidden)
        elif ids:
            self._act(UploadAction(action), ids)

    def _ask_which(self, action: UploadAction, ids: tuple[ObjectId, ...], hidden: Set[Key]) -> None:
        """Marks that a filter hides are easily forgotten."""
        rows = sorted(
            (row for key in hidden if isinstance(row := self.uploads.row(key), Upload)), key=attrgetter("filename")
        )
        title = f"{_ASKED.get(action, str(action).capitalize())} {count(len(ids), 'marked upload')}?"
        names = {row.id: row.filename for row in rows}
        ask_which(self.app, title, ids, names, lambda meant: self._act(action, meant))

    def _is_gone(self, action: UploadAction) -> bool:
        """Whether what a key was meant for has left the table. It is said once; the next key is for the cursor."""
        marks, row = self._marks_are_gone, self._cursor_row_is_gone and self.rows.cursor_key == self._came_to
        self._marks_are_gone = self._cursor_row_is_gone = False
        if self.rows.marks or not (marks or (row and action not in _NAMES_FIRST)):
            return False
        what = "The marked uploads are" if marks else "The upload under the cursor is"
        upload = self.uploads.row(self.rows.cursor_key)
        now = f"\nNow under the cursor: {visible(upload.filename)}" if isinstance(upload, Upload) else ""
        self.app.notify(
            f"{what} no longer in the table; nothing was done.{now}",
            title=f"No {action}",
            severity="warning",
            timeout=NOTICE_SECONDS,
            markup=False,
        )
        self.update_title()
        return True


def _title(column: Column) -> str:
    return {"percent": "percent", "priority": "priority", "left": "time left"}.get(column.key, column.title.lower())
