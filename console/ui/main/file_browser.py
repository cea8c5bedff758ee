"""The file browser: what is on this host, and what of it is marked for uploading. Marks stay while one goes from
directory to directory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import ClassVar, Final

from textual import on
from textual.binding import Binding, BindingType

from console.files.listing import Entry, EntryKind, Listing, Sort, changed_at, chosen, in_order, natural, read_directory
from console.formatting import byte_size, count, visible
from console.ui.background import notify_error, run_in_background
from console.ui.main.path_dialog import PathDialog, kind_of
from console.ui.remembered import Remembered
from console.ui.widgets.cells import Column, Cut, Span, Tone
from console.ui.widgets.key_map import named
from console.ui.widgets.list_view import Key, RowSource, RowsView
from console.ui.widgets.pane import Pane, PaneRows, ask_which, count_forms, marks_sign, marks_text

COLUMNS: Final = (
    Column("name", "Name", 14, 400, rank=0, share=3, cut=Cut.ALIKE, names=True),
    Column("size", "Size", 8, 8, rank=1, right=True),
    Column("modified", "Modified", 5, 16, rank=2, share=2, short="Date"),
)


class FileRows:
    """The entries of one directory as rows; the key of a row is its path."""

    columns = COLUMNS

    def __init__(
        self, entries: Sequence[Entry] = (), words: str = "", sent: Mapping[str, tuple[int, int]] | None = None
    ) -> None:
        """`sent` are files that were uploaded: their paths, with size and time of change in nanoseconds then."""
        self.entries = entries
        self.sent = sent or {}
        self._words = words
        self._places: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self.entries)

    def key(self, index: int) -> str:
        return self.entries[index].path

    def index_of(self, key: Key) -> int | None:
        if not self._places and self.entries:
            self._places = {entry.path: place for place, entry in enumerate(self.entries)}
        return self._places.get(key) if isinstance(key, str) else None

    def whole(self, index: int) -> Sequence[Span] | None:
        entry = self.entries[index]
        return None if entry.name else [Span(entry.problem, Tone.BAD)]

    def may_mark(self, index: int) -> bool:
        return not self.entries[index].problem and self.entries[index].kind in (EntryKind.FILE, EntryKind.DIRECTORY)

    def empty_text(self) -> str:
        return self._words

    def _is_sent(self, entry: Entry) -> bool:
        """Whether it was uploaded as it is now."""
        size, mtime_ns = self.sent.get(entry.path, (-1, 0))
        return size == entry.size and abs(entry.mtime - mtime_ns / 1e9) < _SAME_TIME_SECONDS

    def cell(self, index: int, column: str, width: int) -> Sequence[Span]:
        entry = self.entries[index]
        if column == "name":
            return [*_name(entry), *([Span(" ✓", Tone.GOOD)] if self._is_sent(entry) else [])]
        if column == "size":
            return [Span(byte_size(entry.size) if entry.kind is EntryKind.FILE else "", Tone.PLAIN)]
        return [Span(_time(entry.mtime, width) if entry.mtime else "", Tone.MUTED)]


def _time(mtime: float, width: int) -> str:
    """Local time, as `ls` has it where it is narrow: without the year this year, the time alone today."""
    try:
        moment = datetime.fromtimestamp(mtime, UTC).astimezone()
    except (ValueError, OverflowError, OSError):  # file systems know years after 9999
        return "?"
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
    if entry.kind in (EntryKind.PARENT, EntryKind.DIRECTORY):
        shown = Span(f"{name}/", Tone.ACCENT)
    else:
        shown = Span(name, Tone.MUTED if entry.problem else Tone.PLAIN)
    spans = [shown]
    if entry.is_link:
        spans.append(Span("@", Tone.MUTED))
    if entry.problem:
        spans.append(Span(f"  {entry.problem}", Tone.BAD))
    return spans


LOOK_SECONDS: Final = 2.0
_SAME_TIME_SECONDS: Final = 0.001  # what a float of seconds since 1970 tells for sure
MOST_RECENT: Final = 10


def _read_in_order(directory: str, sort: Sort, stopped: Callable[[], bool]) -> tuple[Listing, list[Entry]]:
    listing = read_directory(directory, stopped)
    return listing, in_order(listing.entries, sort)


class FileList(PaneRows):
    def __init__(self, source: RowSource, activated: Callable[[Key], None], is_marked: Callable[[], bool]) -> None:
        super().__init__(source, activated=activated)
        self._is_marked = is_marked

    @property
    def enter_word(self) -> str:
        return "Mark" if self._is_marked() else super().enter_word


class FileBrowser(Pane):
    """The pane on the left."""

    NAME = "Files"
    FILTER_HINT = "part of a name"
    FIRST_KEYS = ("mark", "upload", "activate", "up", "filter", "sort")
    BINDINGS: ClassVar[list[BindingType]] = named(
        "files",
        [
            Binding("u", "upload", "Upload", tooltip="Upload the marked rows, or the one under the cursor."),
            Binding("backspace,h,left", "up", "Up", key_display="⌫", tooltip="Go to the parent folder."),
            Binding("l,right", "enter", "Enter", show=False, tooltip="Open the folder under the cursor."),
            Binding("s", "sort", "Sort", tooltip="Sort by name, size or time of change, in turn."),
            Binding("p", "path", "Path", tooltip="Go to a path that you type, to a bookmark, or to a recent folder."),
            Binding(
                "B", "bookmark", "Bookmark", show=False, tooltip="Bookmark this folder, or forget it; p shows all."
            ),
            Binding("W", "watch", "Watch", show=False, tooltip="Watch the folder: what comes into it is uploaded."),
            Binding("full_stop", "hidden", "Hidden", tooltip="Show hidden files, or hide them."),
            Binding("ctrl+r,f5", "reread", "Read again", show=False, tooltip="Read the folder again."),
        ],
    )

    def __init__(
        self,
        directory: str,
        *,
        upload: Callable[[tuple[str, ...]], None],
        watch: Callable[[str], None],
        remembered: Remembered,
        sent: Callable[[], Mapping[str, tuple[int, int]]] = dict,
        show_hidden: bool = False,
        id: str | None = None,
    ) -> None:
        """`upload` is called with the paths of files and folders, as `open()` takes them, `watch` with a folder's."""
        super().__init__(FileRows(words="reading…"), id=id)
        self._upload = upload
        self._watch = watch
        self._remembered = remembered
        self._sent = sent
        self._sent_now: Mapping[str, tuple[int, int]] = {}
        self.directory = directory
        self.show_hidden = bool(remembered.get("files.hidden", bool)) or show_hidden
        self.sort = next((sort for sort in Sort if str(sort) == remembered.get("files.sort", str)), Sort.NAME)
        self._listing = Listing(directory, ())
        self._entries: list[Entry] = []
        self._marked: dict[str, Entry] = {}
        self._reads = 0
        self._is_reading = False
        self._wanted_cursor: Key | None = None
        self._looking = False

    def make_rows(self, source: RowSource, follow: bool) -> RowsView:
        """Enter goes into a directory, and marks a file."""
        return FileList(source, self.row_activated, self._enter_marks)

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
        self._update_title()
        self._read()

    def _read(self) -> None:
        self._reads += 1
        self._is_reading = True
        number, sort = self._reads, self.sort
        call = partial(_read_in_order, self.directory, sort, lambda: number != self._reads)
        run_in_background(self.app, call, partial(self._known, number, sort), partial(self._not_known, number))

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
        notify_error(self.app, error)

    def _look(self) -> None:
        """Read again if something came or went; a file system that hangs is asked only once.

        While the directory is read there is nothing to compare with, and another reading would end this one: of a
        directory that takes longer than the time between two looks nothing would ever be shown.
        """
        source = self.rows.source
        if isinstance(source, FileRows) and self.screen.is_current:
            self._sent_now = self._sent()
            if self._sent_now != source.sent:
                source.sent = self._sent_now
                self.rows.redraw()
        if not self._looking and not self._is_reading and self._entries:
            self._looking = True
            looked = partial(self._looked, self.directory)
            run_in_background(self.app, partial(changed_at, self.directory), looked, looked)

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
            entries.append(Entry(self.directory, "", EntryKind.SPECIAL, problem=self._listing.problem))
        source = FileRows(entries, self._empty_text(), self._sent_now)
        if cursor is not None:
            self.rows.show(source, cursor=cursor)
        else:
            self.rows.source = source
            self.rows.reload()
        self._update_title()

    def _empty_text(self) -> str:
        if self._is_reading and not self._entries:
            return "reading…"
        return "nothing matches" if self.filter_line.text else "empty folder"

    def _update_title(self) -> None:
        shown = sum(entry.kind is not EntryKind.PARENT for entry in self._shown_entries())
        parts = [] if self._listing.problem else [(0, f"{shown:,}")]
        if self.sort is not Sort.NAME:
            parts.append((1, f"by {self.sort}"))
        counts = count_forms(parts)
        if self._marked:
            total = sum(entry.size for entry in self._marked.values())
            folders = sum(entry.kind is EntryKind.DIRECTORY for entry in self._marked.values())
            size = byte_size(total) + (f" + {count(folders, 'folder')}" if folders else "")
            marks = len(self._marked), len(self._hidden())
            words = marks_text(*marks)
            counts = [f"{words}{' ·' if marks[1] else ''} {size}", words, marks_sign(*marks)]
        self.title_line.show(self.NAME, counts, _home_as_tilde(visible(self.directory)), keeps_where=True)

    def _hidden(self) -> list[Entry]:
        """What is marked and not shown."""
        return [entry for path, entry in self._marked.items() if self.rows.source.index_of(path) is None]

    def _shown_entries(self) -> Sequence[Entry]:
        source = self.rows.source
        return source.entries if isinstance(source, FileRows) else ()

    def filter_changed(self, text: str) -> None:
        self._show()

    @on(PaneRows.MarksChanged)
    def _marks_changed(self, event: PaneRows.MarksChanged) -> None:
        event.stop()
        self._gather_marked()
        self._update_title()

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
        return entry is not None and entry.kind is EntryKind.FILE

    def row_activated(self, key: Key) -> None:
        """Mark the file under the cursor, or go into the directory."""
        if self._enter_marks() and isinstance(self.rows, PaneRows):
            self.rows.action_mark()
        else:
            self.action_enter()

    def action_enter(self) -> None:
        entry = self._entry(self.rows.cursor_key)
        if entry is None:
            return
        if entry.kind is EntryKind.PARENT:
            self.action_up()
        elif entry.kind is EntryKind.DIRECTORY:
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

    def action_path(self) -> None:
        """Ask for a path to go to."""

        def answered(path: str | None) -> None:
            if path is not None:
                run_in_background(self.app, partial(kind_of, path), self._go, partial(self._cannot_go, path))

        bookmarks, recent = self._folders("files.bookmarks"), self._folders("files.recent")
        places = list(dict.fromkeys([*bookmarks, *recent]))
        self.app.push_screen(PathDialog(self.directory, [_home_as_tilde(place) for place in places], answered))

    def _go(self, place: tuple[str, str | None]) -> None:
        self._leave_filter()
        self.open(*place)
        self._note(place[0])

    def _cannot_go(self, path: str, error: Exception) -> None:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        self.notify(f"{_home_as_tilde(visible(path))}: {reason}", title="Go to", severity="warning", markup=False)

    def _folders(self, name: str) -> list[str]:
        return [str(folder) for folder in self._remembered.get(name, list)]

    def _note(self, folder: str) -> None:
        """Remember a folder as used last."""
        recent = [folder, *(each for each in self._folders("files.recent") if each != folder)]
        self._remembered.keep("files.recent", recent[:MOST_RECENT])

    def action_bookmark(self) -> None:
        """Bookmark the folder shown, or forget it."""
        bookmarks = self._folders("files.bookmarks")
        is_new = self.directory not in bookmarks
        kept = [*bookmarks, self.directory] if is_new else [each for each in bookmarks if each != self.directory]
        self._remembered.keep("files.bookmarks", kept)
        words = "bookmarked; p shows it" if is_new else "no bookmark any more"
        self.notify(f"{_home_as_tilde(visible(self.directory))}: {words}", title="Bookmark", markup=False)

    def action_sort(self) -> None:
        self.sort = self.sort.next
        self._remembered.keep("files.sort", str(self.sort))
        self._entries = in_order(self._entries, self.sort)
        self._show()

    def action_hidden(self) -> None:
        self.show_hidden = not self.show_hidden
        self._remembered.keep("files.hidden", self.show_hidden)
        self._show()

    def action_reread(self) -> None:
        self._read()

    def action_watch(self) -> None:
        """Watch the folder under the cursor, or the one shown."""
        entry = self._entry(self.rows.cursor_key)
        is_folder = entry is not None and entry.kind is EntryKind.DIRECTORY
        self._watch(entry.path if entry is not None and is_folder else self.directory)

    def action_upload(self) -> None:
        self._gather_marked()
        paths = tuple(self._marked)
        if not paths:
            entry = self._entry(self.rows.cursor_key)
            if entry is None:
                return
            problem = (
                "the parent folder cannot be uploaded from here" if entry.kind is EntryKind.PARENT else entry.problem
            )
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
        are_folders = {entry.kind is EntryKind.DIRECTORY for entry in self._marked.values()}
        noun = "row" if len(are_folders) > 1 else "folder" if are_folders == {True} else "file"
        names = {entry.path: _home_as_tilde(entry.path) for entry in hidden}
        ask_which(self.app, f"Upload {count(len(paths), f'marked {noun}')}{where}?", paths, names, self._ask_for)

    def _ask_for(self, paths: tuple[str, ...]) -> None:
        self._note(self.directory)
        self._upload(paths)


def _home_as_tilde(path: str) -> str:
    home = str(Path.home())
    return "~" + path[len(home) :] if path == home or path.startswith(home.rstrip("/") + "/") else path
