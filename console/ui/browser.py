"""The file browser: what is on this host, and what of it is marked for uploading.

Owns the keys of the pane and the marks, which stay while one goes from directory to directory. Not here: reading
directories (`listing`), uploading (the screen asks the backend).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar, Final

from textual import on
from textual.binding import Binding, BindingType
from textual.message import Message

from console.formatting import byte_size, count, visible
from console.ui.blocking import ask, tell
from console.ui.file_rows import FileRows
from console.ui.hidden_marks import ask_which, marks_sign, marks_words
from console.ui.listing import Entry, Kind, Listing, Sort, changed_at, chosen, in_order, natural, read_directory
from console.ui.pane import Pane, PaneRows
from console.ui.row_source import Key, RowSource
from console.ui.rows import RowsView
from console.ui.title_line import count_forms

LOOK_SECONDS: Final = 2.0


def _read_in_order(directory: str, sort: Sort, stopped: Callable[[], bool]) -> tuple[Listing, list[Entry]]:
    listing = read_directory(directory, stopped)
    return listing, in_order(listing.entries, sort)


class FileList(PaneRows):
    """The list; enter acts at once, for the keys that follow, which a message would come behind."""

    def __init__(self, source: RowSource, activated: Callable[[], None], is_marked: Callable[[], bool]) -> None:
        super().__init__(source)
        self._activated = activated
        self._is_marked = is_marked

    @property
    def enter_word(self) -> str:
        """What the pane does."""
        return "Mark" if self._is_marked() else super().enter_word

    def action_activate(self) -> None:
        """As the pane says."""
        self._activated()


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
        self._is_reading = False
        self._wanted_cursor: Key | None = None
        self._looking = False

    def make_rows(self, source: RowSource, follow: bool) -> RowsView:
        """Enter goes into a directory, and marks a file."""
        return FileList(source, self.action_activate, self._enter_marks)

    def on_mount(self) -> None:
        """Read the first directory, and look now and then whether it is still the same."""
        self.open(self.directory)
        self.set_interval(LOOK_SECONDS, self._look)

    def open(self, directory: str, cursor: str | None = None) -> None:
        """Show a directory, with the cursor on that path. Keys mean nothing until it has been read."""
        self._gather_marked()
        self.directory = directory
        self._listing, self._entries = Listing(directory, ()), []
        self._wanted_cursor = cursor
        self.rows.show(FileRows(words="reading…"))
        self._tell()
        self._read()

    def _read(self) -> None:
        self._reads += 1
        self._is_reading = True
        number, sort = self._reads, self.sort
        call = partial(_read_in_order, self.directory, sort, lambda: number != self._reads)
        ask(self.app, call, partial(self._known, number, sort), partial(self._not_known, number))

    def _known(self, number: int, sort: Sort, read: tuple[Listing, list[Entry]]) -> None:
        if number != self._reads:
            return
        self._is_reading = False
        self._gather_marked()
        self._listing, self._entries = read
        if sort is not self.sort:  # another one was asked for meanwhile
            self._entries = in_order(self._entries, self.sort)
        cursor, self._wanted_cursor = self._wanted_cursor, None
        self._show(cursor)

    def _not_known(self, number: int, error: Exception) -> None:
        self._is_reading = self._is_reading and number != self._reads
        tell(self.app, error)

    def _look(self) -> None:
        """Read again if something came or went; a file system that hangs is asked only once.

        While the directory is read there is nothing to compare with, and another reading would end this one: of a
        directory that takes longer than the time between two looks nothing would ever be shown.
        """
        if not self._looking and not self._is_reading and self._entries:
            self._looking = True
            looked = partial(self._looked, self.directory)
            ask(self.app, partial(changed_at, self.directory), looked, looked)

    def _looked(self, directory: str, moment: int | Exception) -> None:
        self._looking = False
        is_of_this = directory == self.directory and not self._is_reading
        if is_of_this and moment != self._listing.changed_at and self._entries:
            self._read()

    def _show(self, cursor: Key | None = None) -> None:
        """Show what passes the filter; without a cursor it stays on its row, and the view where it is."""
        self._gather_marked()
        entries = chosen(self._entries, hidden=self.show_hidden, text=self.filter_line.text)
        if self._listing.problem:
            entries.append(Entry(self.directory, "", Kind.SPECIAL, problem=self._listing.problem))
        source = FileRows(entries, self._empty_words())
        if cursor is not None:
            self.rows.show(source, cursor=cursor)
        else:
            self.rows.source = source
            self.rows.reload()
        self._tell()

    def _empty_words(self) -> str:
        if self._is_reading and not self._entries:
            return "reading…"
        return "nothing matches" if self.filter_line.text else "empty folder"

    def _tell(self) -> None:
        shown = sum(entry.kind is not Kind.PARENT for entry in self._shown_entries())
        parts = [] if self._listing.problem else [(0, f"{shown:,}")]
        if self.sort is not Sort.NAME:
            parts.append((1, f"by {self.sort}"))
        counts = count_forms(parts)
        if self._marked:
            total = sum(entry.size for entry in self._marked.values())
            folders = sum(entry.kind is Kind.DIRECTORY for entry in self._marked.values())
            size = byte_size(total) + (f" + {count(folders, 'folder')}" if folders else "")
            marks = len(self._marked), len(self._hidden())
            words = marks_words(*marks)
            counts = [f"{words}{' ·' if marks[1] else ''} {size}", words, marks_sign(*marks)]
        self.title_line.show(self.NAME, counts, _home_as_tilde(visible(self.directory)), keeps_where=True)

    def _hidden(self) -> list[Entry]:
        """What is marked and not shown."""
        return [entry for path, entry in self._marked.items() if self.rows.source.index_of(path) is None]

    def _shown_entries(self) -> Sequence[Entry]:
        source = self.rows.source
        return source.entries if isinstance(source, FileRows) else ()

    def filter_changed(self, text: str) -> None:
        """Show what matches."""
        self._show()

    @on(PaneRows.MarksChanged)
    def _marks_changed(self, event: PaneRows.MarksChanged) -> None:
        event.stop()
        self._gather_marked()
        self._tell()

    def _gather_marked(self) -> None:
        """Keep what is known of the marked rows, before the list they stand in is another one.

        The message of a mark comes behind the keys that arrived with it, which may have hidden its row.
        """
        new = self.rows.marks - self._marked.keys()
        known = {entry.path: entry for entry in self._entries if entry.path in new} | self._marked
        marked = sorted((str(path) for path in self.rows.marks if path in known), key=natural)
        self._marked = {path: known[path] for path in marked}

    def _entry(self, key: Key | None) -> Entry | None:
        place = self.rows.source.index_of(key) if key is not None else None
        return self._shown_entries()[place] if place is not None else None

    def _enter_marks(self) -> bool:
        entry = self._entry(self.rows.cursor_key)
        return entry is not None and entry.kind is Kind.FILE

    def action_activate(self) -> None:
        """Mark the file under the cursor, or go into the directory."""
        if self._enter_marks() and isinstance(self.rows, PaneRows):
            self.rows.action_mark()
        else:
            self.action_enter()

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
        self._read()

    def action_upload(self) -> None:
        """Ask for the upload of what is marked, or of the row under the cursor."""
        self._gather_marked()
        paths = tuple(self._marked)
        if not paths:
            entry = self._entry(self.rows.cursor_key)
            if entry is None:
                return
            problem = "the parent folder cannot be uploaded from here" if entry.kind is Kind.PARENT else entry.problem
            if problem:
                self.notify(f"{visible(entry.name)}: {problem}", title="Not uploaded", severity="warning", markup=False)
                return
            paths = (entry.path,)
        elif hidden := self._hidden():
            self._ask_which(paths, hidden)
            return
        self._ask_for(paths)

    def _ask_which(self, paths: tuple[str, ...], hidden: Sequence[Entry]) -> None:
        """Marks of another folder are easily forgotten."""
        are_elsewhere = all(str(Path(path).parent) != self.directory for path in paths)
        where = f" of {'another folder' if len(paths) == 1 else 'other folders'}" if are_elsewhere else ""
        are_folders = {entry.kind is Kind.DIRECTORY for entry in self._marked.values()}
        noun = "row" if len(are_folders) > 1 else "folder" if are_folders == {True} else "file"
        names = {entry.path: _home_as_tilde(entry.path) for entry in hidden}
        ask_which(self.app, f"Upload {count(len(paths), f'marked {noun}')}{where}?", paths, names, self._ask_for)

    def _ask_for(self, paths: tuple[str, ...]) -> None:
        self.post_message(self.UploadAsked(paths))
        if isinstance(self.rows, PaneRows):
            self.rows.unmark(paths)


def _home_as_tilde(path: str) -> str:
    home = str(Path.home())
    return "~" + path[len(home) :] if path == home or path.startswith(home.rstrip("/") + "/") else path
