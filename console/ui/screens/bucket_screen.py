"""What is in the bucket: prefixes and objects in a list as the files have it, which of them our uploads made, and what
can be done with one: copy its key, download it into a folder.

A prefix is read page by page as the cursor comes near the end. Nothing here changes the bucket.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any, ClassVar, Final

from textual import on
from textual.binding import Binding, BindingType

from console.formatting import age, byte_size, count, visible
from console.models import BucketEntry, BucketPage, Upload, UploadStatus
from console.ui.backend import Backend
from console.ui.background import run_in_background, title_and_text
from console.ui.uploads.uploads_window import UploadRows
from console.ui.widgets.cells import Column, Cut, Span, Tone
from console.ui.widgets.dialogs import Choice, ChoiceDialog, Field, FormDialog
from console.ui.widgets.list_screen import ListScreen
from console.ui.widgets.list_view import Key, RowSource, RowsView
from console.ui.widgets.text_screen import copy

_NEAR: Final = 50
_TELL_SECONDS: Final = 0.5

COLUMNS: Final = (
    Column("sign", "", 1, 1, rank=0),
    Column("name", "Key", 14, 400, rank=0, share=3, cut=Cut.ALIKE, names=True),
    Column("size", "Size", 8, 10, rank=1, right=True),
    Column("age", "Age", 4, 5, rank=2, right=True),
    Column("modified", "Modified", 16, 16, rank=4),
    Column("storage", "Storage", 8, 20, rank=5, share=1),
)


class BucketRows(RowSource):
    """Entries under one prefix; the key of a row is the object's key."""

    columns: Sequence[Column] = COLUMNS

    def __init__(self, now: Callable[[], datetime], is_ours: Callable[[str], bool]) -> None:
        self.prefix = ""
        self.entries: list[BucketEntry] = []
        self.words = "asking S3…"
        self._now = now
        self._is_ours = is_ours
        self._places: dict[str, int] = {}

    def fill(self, entries: Iterable[BucketEntry]) -> None:
        """Add entries behind those that are there."""
        for entry in entries:
            self._places[entry.key] = len(self.entries)
            self.entries.append(entry)

    def clear(self, prefix: str, words: str) -> None:
        self.prefix, self.words = prefix, words
        self.entries.clear()
        self._places.clear()

    def __len__(self) -> int:
        return len(self.entries)

    def key(self, index: int) -> Key:
        return self.entries[index].key

    def index_of(self, key: Key) -> int | None:
        return self._places.get(key) if isinstance(key, str) else None

    def empty_text(self) -> str:
        return self.words

    def cell(self, index: int, column: str, width: int) -> Sequence[Span]:
        entry = self.entries[index]
        match column:
            case "sign":
                return [Span("✓", Tone.GOOD) if self._is_ours(entry.key) else Span(" ")]
            case "name":
                name = visible(entry.key.removeprefix(self.prefix))
                return [Span(name, Tone.ACCENT if entry.is_prefix else Tone.PLAIN)]
            case "size":
                return [Span("" if entry.is_prefix else byte_size(entry.size))]
            case "age":
                return [Span(age(entry.modified_at, self._now()) if entry.modified_at else "", Tone.MUTED)]
            case "modified":
                moment = entry.modified_at.astimezone() if entry.modified_at else None
                return [Span(f"{moment:%Y-%m-%d %H:%M}" if moment else "", Tone.MUTED)]
        return [Span(visible(entry.storage_class), Tone.MUTED)]


class BucketScreen(ListScreen):
    """The bucket of the configuration."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("backspace,h,left", "up", "Up", key_display="⌫", tooltip="Go to the prefix above."),
        Binding("d", "download", "Download", tooltip="Download the object under the cursor into a folder."),
        Binding("y", "copy", "Copy", tooltip="Copy the key, or the S3 address: y, then k or s."),
        Binding("u", "upload", "Its upload", tooltip="Go to the upload that made the object, if the table holds it."),
        Binding("ctrl+r,f5", "reread", "Read again", show=False, tooltip="Ask S3 again."),
        Binding("escape,q", "dismiss", "Back", key_display="esc", tooltip="Back; a download goes on."),
        Binding("question_mark", "app.keys", "Keys", key_display="?", tooltip="Show all keys."),
    ]

    def __init__(
        self,
        backend: Backend,
        uploads: UploadRows,
        now: Callable[[], datetime],
        *,
        folder: str,
        opened: Callable[[Key], object],
    ) -> None:
        """`folder` is offered for downloads; `opened` shows an upload."""
        completed = [row for row in uploads.rows() if isinstance(row, Upload) and row.status is UploadStatus.COMPLETED]
        self._ours = {row.key: row.id for row in completed}
        self._source = BucketRows(now, self._ours.__contains__)
        super().__init__("Bucket", RowsView(self._source, activated=self._enter))
        self._backend = backend
        self._opened = opened
        self._folder = folder
        self._page: BucketPage | None = None
        self._is_asking = False
        self._readings = 0
        self._wanted_cursor: str | None = None

    def on_mount(self) -> None:
        super().on_mount()
        self._open("")

    # ---- reading

    def _open(self, prefix: str, cursor: str | None = None) -> None:
        self._source.clear(prefix, "asking S3…")
        self._page, self._is_asking, self._wanted_cursor = None, False, cursor
        self._readings += 1
        self._rows.show(self._source)
        self._ask("")

    def _ask(self, after: str) -> None:
        self._is_asking = True
        call = partial(self._backend.bucket_page, self._source.prefix, after)
        number = self._readings
        run_in_background(self.app, call, partial(self._known, number), partial(self._failed, number))

    def _known(self, reading: int, page: BucketPage) -> None:
        if reading != self._readings or not self.is_attached:
            return
        self._is_asking = False
        self._page = page
        self._source.fill(page.entries)
        self._source.words = "nothing is here"
        self._rows.reload()
        self._rows.fit_again()
        if self._wanted_cursor is not None and (place := self._source.index_of(self._wanted_cursor)) is not None:
            self._rows.move_to(place)
        self._wanted_cursor = None
        self._show_title()

    def _failed(self, reading: int, error: Exception) -> None:
        if reading == self._readings and self.is_attached:
            self._is_asking = False
            self._source.words = ": ".join(title_and_text(error)).replace("\n", " ")
            self._rows.reload()

    def _show_title(self) -> None:
        page = self._page
        if page is not None:
            size = sum(entry.size for entry in self._source.entries)
            more = " and more" if page.more else ""
            where = f"s3://{visible(page.bucket)}/{visible(page.prefix)}"
            self._title.show("Bucket", f"{len(self._source):,}{more} · {byte_size(size)}", where, keeps_where=True)

    @on(RowsView.CursorMoved)
    def _moved(self, event: RowsView.CursorMoved) -> None:
        event.stop()
        page = self._page
        if page is not None and page.more and not self._is_asking and self._rows.cursor > len(self._source) - _NEAR:
            self._ask(page.more)

    # ---- keys

    def _entry(self) -> BucketEntry | None:
        cursor = self._rows.cursor
        return self._source.entries[cursor] if cursor < len(self._source) else None

    def _enter(self, key: Key) -> None:
        entry = self._entry()
        if entry is not None and entry.is_prefix:
            self._open(entry.key)
        elif entry is not None:
            self.action_upload()

    def action_up(self) -> None:
        """Go to the prefix above, with the cursor on the one that was left."""
        here = self._source.prefix
        if here:
            above, _, _ = here.rstrip("/").rpartition("/")
            self._open(f"{above}/" if above else "", here)

    def action_reread(self) -> None:
        self._open(self._source.prefix)

    def action_upload(self) -> None:
        """Go to the upload that made the object."""
        entry = self._entry()
        if entry is None or entry.is_prefix:
            return
        upload_id = self._ours.get(entry.key)
        if upload_id is not None:
            self._opened(upload_id)
        else:
            self.notify("none of the uploads that the table holds made it", title="Upload", markup=False)

    def action_copy(self) -> None:
        """Ask what to copy."""
        entry, page = self._entry(), self._page
        if entry is None or page is None:
            return
        texts = {"k": ("the key", entry.key), "s": ("the S3 address", f"s3://{page.bucket}/{entry.key}")}

        def answered(key: str | None) -> None:
            if key is not None:
                copy(self.app, texts[key][1], texts[key][0])

        choices = [Choice("k", "Key", "k"), Choice("s", "S3 address", "s")]
        self.app.push_screen(ChoiceDialog("Copy", visible(entry.key), choices, answered))

    def action_download(self) -> None:
        """Ask for a folder, and download there."""
        entry = self._entry()
        if entry is None or entry.is_prefix:
            return
        key = entry.key
        app = self.app

        def answered(values: Mapping[str, Any] | None) -> None:
            if values is not None:
                folder: Path = values["folder"]
                self._folder = str(folder)
                file = folder.expanduser() / (Path(key).name or "object")
                told = _Progress(app, file, entry.size)
                call = partial(self._backend.download, key, str(file), told)
                run_in_background(app, call, partial(_downloaded, app, file))

        title = f"Download {visible(Path(key).name)}, {byte_size(entry.size)}"
        self.app.push_screen(FormDialog(title, [Field("folder", "Into the folder", self._folder, Path)], answered))


class _Progress:
    """Says now and then how far a download is; called in its thread."""

    def __init__(self, app: Any, file: Path, size: int) -> None:
        self._app = app
        self._file = file
        self._size = size
        self._next = monotonic() + _TELL_SECONDS

    def __call__(self, done: int) -> bool:
        if monotonic() >= self._next and done < self._size:
            self._next = monotonic() + 10 * _TELL_SECONDS
            words = f"{visible(self._file.name)}: {byte_size(done)} of {byte_size(self._size)}"
            self._app.notify(words, title="Downloading", timeout=4, markup=False)
        return bool(self._app.is_running)


def _downloaded(app: Any, file: Path, size: int) -> None:
    app.notify(f"{visible(str(file))}, {count(size, 'byte')}", title="Downloaded", markup=False)
