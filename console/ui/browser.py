"""The file browser: what is on this host, and what of it is marked for uploading.

Owns the keys of the pane and the marks, which stay while one goes from directory to directory. Not here: reading
directories (`listing`), uploading (the screen asks the backend).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import ClassVar, Final

from textual import on
from textual.binding import Binding, BindingType
from textual.message import Message

from console.formatting import byte_size, count, visible
from console.ui.blocking import ask
from console.ui.cells import Cut, Span, Tone
from console.ui.columns import Column
from console.ui.listing import Entry, Kind, Listing, Sort, changed_at, chosen, in_order, natural, read_directory
from console.ui.pane import Pane, PaneRows
from console.ui.row_source import Key
from console.ui.rows import RowsView

LOOK_SECONDS: Final = 2.0

COLUMNS: Final = (
    Column("name", "Name", 14, 400, rank=0, share=3, cut=Cut.MIDDLE),
    Column("size", "Size", 8, 8, rank=1, right=True),
    Column("modified", "Modified", 5, 16, rank=2, share=2, short="Date"),
)


class FileRows:
    """The entries of one directory as rows; the key of a row is its path."""

    columns = COLUMNS

    def __init__(self, entries: Sequence[Entry] = (), words: str = "") -> None:
        self.entries = entries
        self._words = words
        self._places: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self.entries)

    def key(self, index: int) -> str:
        """The path."""
        return self.entries[index].path

    def index_of(self, key: Key) -> int | None:
        """Where that path stands."""
        if not self._places and self.entries:
            self._places = {entry.path: place for place, entry in enumerate(self.entries)}
        return self._places.get(key) if isinstance(key, str) else None

    def whole(self, index: int) -> Sequence[Span] | None:
        """What is wrong with the directory itself goes across; all else has columns."""
        entry = self.entries[index]
        return None if entry.name else [Span(entry.problem, Tone.BAD)]

    def may_mark(self, index: int) -> bool:
        """What can be uploaded."""
        return not self.entries[index].problem and self.entries[index].kind in (Kind.FILE, Kind.DIRECTORY)

    def empty_words(self) -> str:
        """Why nothing is shown."""
        return self._words

    def cell(self, index: int, column: str, width: int) -> Sequence[Span]:
        """Name, size or time of one entry."""
        entry = self.entries[index]
        if column == "name":
            return _name(entry)
        if column == "size":
            return [Span(byte_size(entry.size) if entry.kind is Kind.FILE else "", Tone.PLAIN)]
        return [Span(_time(entry.mtime, width) if entry.mtime else "", Tone.MUTED)]


def _read_in_order(directory: str, sort: Sort, stopped: Callable[[], bool]) -> tuple[Listing, list[Entry]]:
    listing = read_directory(directory, stopped)
    return listing, in_order(listing.entries, sort)


def _time(mtime: float, width: int) -> str:
    """Local time, as `ls` has it where it is narrow: without the year this year, the time alone today."""
    moment = datetime.fromtimestamp(mtime, UTC).astimezone()
    if width >= 16:
        return f"{moment:%Y-%m-%d %H:%M}"
    today = datetime.now(UTC).astimezone()
    if width >= 11:
        return f"{moment:%m-%d %H:%M}" if moment.year == today.year else f"{moment:%Y-%m-%d}"
    if moment.date() == today.date():
        return f"{moment:%H:%M}"
    return f"{moment:%m-%d}" if moment.year == today.year else f"{moment:%Y}"


def _name(entry: Entry) -> list[Span]:
    name = visible(entry.name)
    if entry.kind in (Kind.PARENT, Kind.DIRECTORY):
        shown = Span(f"{name}/", Tone.ACCENT)
    else:
        shown = Span(name, Tone.MUTED if entry.problem else Tone.PLAIN)
    spans = [shown]
    if entry.is_link:
        spans.append(Span("@", Tone.MUTED))
    if entry.problem:
        spans.append(Span(f"  {entry.problem}", Tone.BAD))
    return spans


class FileBrowser(Pane):
    """The pane on the left."""

    NAME = "Files"
    FILTER_HINT = "part of a name"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("u", "upload", "Upload", tooltip="Upload the marked rows, or the one under the cursor."),
        Binding("backspace,h,left", "up", "Up", key_display="⌫", tooltip="Go to the parent folder."),
        Binding("l,right", "enter", "Enter", show=False, tooltip="Open the folder under the cursor."),
        Binding("s", "sort", "Sort", tooltip="Sort by name, size or time of change, in turn."),
        Binding("full_stop", "hidden", "Hidden", tooltip="Show hidden files, or hide them."),
        Binding("ctrl+r,f5", "reread", "Read again", show=False, tooltip="Read the folder again."),
    ]

    @dataclass
    class UploadAsked(Message):
        """Files and folders are to be uploaded: paths as `open()` takes them."""

        paths: tuple[str, ...]

    def __init__(self, directory: str, *, show_hidden: bool = False, id: str | None = None) -> None:
        super().__init__(FileRows(words="reading…"), id=id)
        self.directory = directory
        self.show_hidden = show_hidden
        self.sort = Sort.NAME
        self._listing = Listing(directory, ())
        self._entries: list[Entry] = []
        self._marked: dict[str, Entry] = {}
        self._reads = 0
        self._looking = False

    def on_mount(self) -> None:
        """Read the first directory, and look now and then whether it is still the same."""
        self.open(self.directory)
        self.set_interval(LOOK_SECONDS, self._look)

    def open(self, directory: str, cursor: str | None = None) -> None:
        """Show a directory, with the cursor on that path. Keys mean nothing until it has been read."""
        self.directory = directory
        self._listing, self._entries = Listing(directory, ()), []
        self.rows.show(FileRows(words="reading…"))
        self._tell()
        self._read(cursor)

    def _read(self, cursor: Key | None) -> None:
        self._reads += 1
        number = self._reads
        call = partial(_read_in_order, self.directory, self.sort, lambda: number != self._reads)
        ask(self.app, call, partial(self._known, number, cursor))

    def _known(self, number: int, cursor: Key | None, read: tuple[Listing, list[Entry]]) -> None:
        if number == self._reads:
            is_first = not self._entries
            self._listing, self._entries = read
            self._show(cursor if is_first else None)

    def _look(self) -> None:
        """Read again if something came or went; a file system that hangs is asked only once."""
        if not self._looking and self._entries:
            self._looking = True
            ask(self.app, partial(changed_at, self.directory), self._looked, self._looked)

    def _looked(self, moment: int | Exception) -> None:
        self._looking = False
        if moment != self._listing.changed_at and self._entries:
            self._read(None)

    def _show(self, cursor: Key | None = None) -> None:
        """Show what passes the filter; without a cursor it stays on its row, and the view where it is."""
        entries = chosen(self._entries, hidden=self.show_hidden, text=self.filter_line.text)
        if self._listing.problem:
            entries.append(Entry(self.directory, "", Kind.SPECIAL, problem=self._listing.problem))
        source = FileRows(entries, "nothing matches" if self.filter_line.text else "empty folder")
        if cursor is not None:
            self.rows.show(source, cursor=cursor)
        else:
            self.rows.source = source
            self.rows.reload()
        self._tell()

    def _tell(self) -> None:
        shown = sum(entry.kind is not Kind.PARENT for entry in self._shown_entries())
        parts = [] if self._listing.problem else [f"{shown:,}"]
        if self.sort is not Sort.NAME:
            parts.append(f"by {self.sort}")
        if self._marked:
            total = sum(entry.size for entry in self._marked.values())
            folders = sum(entry.kind is Kind.DIRECTORY for entry in self._marked.values())
            size = byte_size(total) + (f" + {count(folders, 'folder')}" if folders else "")
            parts = [f"{len(self._marked):,} marked {size}"]
        self.title_line.show(self.NAME, " · ".join(parts), _home_as_tilde(visible(self.directory)))

    def _shown_entries(self) -> Sequence[Entry]:
        source = self.rows.source
        return source.entries if isinstance(source, FileRows) else ()

    def filter_changed(self, text: str) -> None:
        """Show what matches."""
        self._show()

    @on(RowsView.Activated)
    def _activated(self, event: RowsView.Activated) -> None:
        event.stop()
        entry = self._entry(event.key)
        if entry is not None and entry.kind is Kind.FILE and isinstance(self.rows, PaneRows):
            self.rows.action_mark()
        else:
            self.action_enter()

    @on(PaneRows.MarksChanged)
    def _marks_changed(self, event: PaneRows.MarksChanged) -> None:
        event.stop()
        self._gather_marked()
        self._tell()

    def _gather_marked(self) -> None:
        entries = {entry.path: entry for entry in self._shown_entries()} | self._marked
        marked = sorted((str(path) for path in self.rows.marks if path in entries), key=natural)
        self._marked = {path: entries[path] for path in marked}

    def _entry(self, key: Key | None) -> Entry | None:
        place = self.rows.source.index_of(key) if key is not None else None
        return self._shown_entries()[place] if place is not None else None

    def action_enter(self) -> None:
        """Go into the directory under the cursor."""
        entry = self._entry(self.rows.cursor_key)
        if entry is None:
            return
        if entry.kind is Kind.PARENT:
            self.action_up()
        elif entry.kind is Kind.DIRECTORY:
            self._leave_filter()
            self.open(entry.path)

    def action_up(self) -> None:
        """Go to the directory above, with the cursor on the one that was left."""
        parent = str(Path(self.directory).parent)
        if parent != self.directory:
            self._leave_filter()
            self.open(parent, cursor=self.directory)

    def _leave_filter(self) -> None:
        if self.filter_line.text:
            self.filter_line.show("")

    def action_sort(self) -> None:
        """Sort by the next of name, size, time."""
        self.sort = self.sort.next
        self._entries = in_order(self._entries, self.sort)
        self._show()

    def action_hidden(self) -> None:
        """Show or hide dot files."""
        self.show_hidden = not self.show_hidden
        self._show()

    def action_reread(self) -> None:
        """Read the directory again."""
        self._read(None)

    def action_upload(self) -> None:
        """Ask for the upload of what is marked, or of the row under the cursor."""
        self._gather_marked()
        paths = tuple(self._marked)
        if not paths:
            entry = self._entry(self.rows.cursor_key)
            if entry is None or entry.kind is Kind.PARENT:
                return
            if entry.problem:
                self.notify(
                    f"{visible(entry.name)}: {entry.problem}", title="Not uploaded", severity="warning", markup=False
                )
                return
            paths = (entry.path,)
        self.post_message(self.UploadAsked(paths))
        if isinstance(self.rows, PaneRows):
            self.rows.clear_marks()


def _home_as_tilde(path: str) -> str:
    home = str(Path.home())
    return "~" + path[len(home) :] if path == home or path.startswith(home.rstrip("/") + "/") else path
