"""One upload in full: every field of its record, and what to do about its error.

Owns the screen. It shows the record as the feed keeps it up to date. Not here: the words for errors (`verdicts`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import ClassVar, Final

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from console.events.text import json_text
from console.formatting import age, byte_rate, byte_size, duration, visible
from console.models import UnreadableUpload, Upload
from console.ui.rows import Key
from console.ui.upload_cells import percent, row_sign, status_words
from console.ui.upload_rows import Row, UploadRows

REFRESH_SECONDS: Final = 0.5


class UploadDetail(ModalScreen[None]):
    """Label and value, line by line; values in full, over as many lines as they take."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,enter,q", "dismiss", "Back", tooltip="Close."),
        Binding("y", "copy", "Copy", tooltip="Copy the record as JSON (OSC 52)."),
        Binding("j", "scroll(1)", show=False),
        Binding("k", "scroll(-1)", show=False),
    ]

    def __init__(self, uploads: UploadRows, key: Key, now: Callable[[], datetime]) -> None:
        super().__init__()
        self._uploads = uploads
        self._key = key
        self._now = now
        self._text = Static(markup=False)
        self._shown: tuple[object, ...] = ()

    def compose(self) -> ComposeResult:
        """A scrolling text."""
        with VerticalScroll(classes="dialog detail") as dialog:
            dialog.border_title = "Upload"
            dialog.border_subtitle = "y copies · escape closes"
            yield self._text

    def on_mount(self) -> None:
        """Show, and go on showing what changes."""
        self._refresh_text()
        self.set_interval(REFRESH_SECONDS, self._refresh_text)

    def _refresh_text(self) -> None:
        row = self._uploads.row(self._key)
        lines = tuple(record_lines(row, self._now())) if row is not None else (("", "deleted"),)
        if lines != self._shown:
            self._shown = lines
            self._text.update(
                Content("\n").join(Content.assemble((f"{label:<13}", "$muted"), value) for label, value in lines)
            )

    def action_scroll(self, lines: int) -> None:
        """Scroll by lines."""
        self.query_one(VerticalScroll).scroll_relative(y=lines, animate=False)

    def action_copy(self) -> None:
        """Copy the record."""
        document = self._uploads.document(self._key)
        if document is not None:
            self.app.copy_to_clipboard(json_text(document, relaxed=True))
            self.notify("the record as JSON", title="Copied", markup=False)


def record_lines(row: Row, now: datetime) -> Iterator[tuple[str, str]]:
    """Label and value of everything worth knowing about an upload, the error first."""
    if isinstance(row, UnreadableUpload):
        yield "unreadable", visible(row.problem)
        yield "_id", visible(str(row.id))
        yield "document", "\n" + json_text(row.document, relaxed=True)
        return
    yield "name", visible(row.filename)
    yield "status", f"{row_sign(row, now).text} {status_words(row, now).text}"
    yield from _error_lines(row)
    yield "file", visible(row.path)
    yield "host", visible(row.host)
    yield "destination", visible(row.destination)
    yield (
        "progress",
        f"{percent(row.percentage)}  {byte_size(row.current)} of {byte_size(row.size)} ({row.size:,} bytes)",
    )
    if row.rate:
        yield "rate", f"{byte_rate(row.rate)}, {duration(row.seconds_left)} left"
    yield "type", visible(row.content_type)
    yield from _result_lines(row)
    yield "from", f"{row.source}, priority {row.priority}, {row.attempts} attempts"
    if row.multipart is not None:
        yield "multipart", f"{byte_size(row.multipart.part_size)} parts, {visible(row.multipart.upload_id)}"
    if row.lease is not None:
        yield "lease", f"{visible(row.lease.runner)} until {_time(row.lease.expires_at)}"
    for label in ("created", "started", "updated", "finished"):
        moment = getattr(row, f"{label}_at")
        if moment is not None:
            yield label, f"{_time(moment)}  {age(moment, now)} ago"
    yield "_id", str(row.id)


def _error_lines(row: Upload) -> Iterator[tuple[str, str]]:
    if row.error is None:
        return
    yield "error", f"{visible(row.error.code)}  {_time(row.error.at)}"
    yield "", visible(row.error.message)


def _result_lines(row: Upload) -> Iterator[tuple[str, str]]:
    if row.checksum is not None:
        confirmed = "confirmed by S3" if row.checksum.confirmed == "checksum" else "by its ETag"
        yield "checksum", visible(f"{row.checksum.algorithm} {row.checksum.value} {row.checksum.kind}, {confirmed}")
    if row.etag:
        yield "etag", visible(row.etag)
    if row.version_id:
        yield "version", visible(row.version_id)


def _time(moment: datetime) -> str:
    return f"{moment.astimezone():%Y-%m-%d %H:%M:%S %Z}"
