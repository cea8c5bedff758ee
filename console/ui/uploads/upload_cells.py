"""How one upload looks as a row of the table.

Owns the columns, the signs and the words of each cell. Pure: a document's values and the time go in, spans come out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from rich.cells import cell_len

from console.events.text import value_text
from console.formatting import age, byte_rate, byte_size, duration, visible
from console.models import Requested, Source, UnreadableUpload, Upload, UploadStatus
from console.ui.uploads.uploads_window import Row, order_of
from console.ui.widgets.cells import Column, Cut, Span, Tone

COLUMNS: Final = (
    Column("sign", "", 1, 1, rank=0),
    Column("name", "Name", 12, 255, rank=0, share=4, cut=Cut.ALIKE, least=8, names=True, letter="n"),
    Column("destination", "Destination", 14, 255, rank=7, share=3, cut=Cut.MIDDLE, letter="d"),
    Column("status", "Status", 12, 24, rank=2, share=2, least=9, letter="t"),
    Column("percent", "%", 4, 4, rank=1, right=True, letter="p"),
    Column("size", "Size", 8, 8, rank=5, right=True, letter="z"),
    Column("rate", "Rate", 10, 10, rank=4, right=True, letter="r"),
    Column("left", "Left", 7, 7, rank=3, right=True, letter="l"),
    Column("priority", "Prio", 4, 4, rank=3, right=True, letter="i"),
    Column("source", "From", 7, 7, rank=9, letter="f"),
    Column("host", "Host", 8, 20, rank=8, share=1, letter="h"),
    Column("age", "Age", 4, 4, rank=6, right=True, letter="a"),
)

SIGNS: Final[Mapping[UploadStatus, tuple[str, Tone]]] = {
    UploadStatus.UPLOADING: ("↑", Tone.ACCENT),
    UploadStatus.PENDING: ("·", Tone.PLAIN),
    UploadStatus.PAUSED: ("‖", Tone.WARNING),
    UploadStatus.COMPLETED: ("✓", Tone.GOOD),
    UploadStatus.FAILED: ("✗", Tone.BAD),
    UploadStatus.CANCELLED: ("–", Tone.MUTED),
}
STALLED_SIGN: Final = "!"
QUEUED_SIGN: Final = "⋯"
UNREADABLE_SIGN: Final = "?"
WATCH_SIGN: Final = "» "  # nobody chose this file: a watch found it

_ASKED: Final[Mapping[tuple[UploadStatus, Requested], str]] = {
    (UploadStatus.UPLOADING, Requested.PAUSE): "pausing…",
    (UploadStatus.UPLOADING, Requested.CANCEL): "cancelling…",
    (UploadStatus.PENDING, Requested.PAUSE): "pausing…",
    (UploadStatus.PENDING, Requested.CANCEL): "cancelling…",
    (UploadStatus.PAUSED, Requested.CANCEL): "cancelling…",
    (UploadStatus.PAUSED, Requested.RUN): "resuming…",
}


def is_stalled(upload: Upload, now: datetime) -> bool:
    """It should run, and the runner that holds it has not been heard of since its lease ended."""
    if upload.status is not UploadStatus.UPLOADING:
        return False
    if upload.lease is None:
        return True
    return upload.lease.expires_at < now


def is_retrying(upload: Upload) -> bool:
    """It is being sent, no byte gets through, and the last that was heard of it is a failure."""
    begun = upload.started_at or upload.created_at
    failed = upload.error is not None and upload.error.at >= begun
    return upload.status is UploadStatus.UPLOADING and upload.requested is Requested.RUN and failed and not upload.rate


def progress_bar(percentage: float, width: int, tone: Tone = Tone.BAR) -> list[Span]:
    """A bar of exactly `width` cells; full only at 100."""
    halves = int(max(0.0, min(100.0, percentage)) / 100 * width * 2)
    whole, half = divmod(halves, 2)
    done = "━" * whole + ("╸" if half else "")
    return [Span(done, tone), Span("─" * (width - len(done)), Tone.TROUGH)]


def percent(percentage: float) -> str:
    """Whole percent, rounded down: 100 % is said only when all is there."""
    return f"{int(max(0.0, min(100.0, percentage)))}%"


def row_sign(row: Row, now: datetime) -> Span:
    """The sign in front of a row."""
    if isinstance(row, UnreadableUpload):
        return Span(UNREADABLE_SIGN, Tone.BAD)
    if is_stalled(row, now):
        return Span(STALLED_SIGN, Tone.WARNING)
    if row.is_queued:
        return Span(QUEUED_SIGN, Tone.PLAIN)
    return Span(*SIGNS[row.status])


def status_text(upload: Upload, now: datetime, width: int = 80) -> Span:
    """What the upload is doing, in words that suit the width; a failed one names its error."""
    if is_stalled(upload, now):
        message = f"stalled on {visible(upload.host)}"
        return Span(message if cell_len(message) <= width else f"stalled {visible(upload.host)}", Tone.WARNING)
    asked = _ASKED.get((upload.status, upload.requested))
    if asked is not None:
        return Span(asked, Tone.WARNING)
    if is_retrying(upload) and upload.error is not None:
        message = f"retrying {visible(upload.error.code)}"
        return Span(message if cell_len(message) <= width else "retrying…", Tone.WARNING)
    match upload.status:
        case UploadStatus.UPLOADING if upload.is_queued:
            return Span("queued", Tone.PLAIN)
        case UploadStatus.PENDING if upload.is_left:
            return Span("not allowed", Tone.WARNING)
        case UploadStatus.PENDING:
            return Span("waiting", Tone.PLAIN)
        case UploadStatus.FAILED if upload.error is not None:
            return Span(visible(upload.error.code), Tone.BAD)
        case status:
            return Span(str(status), SIGNS[status][1])


def upload_version(row: Row, now: datetime, *, is_fed: bool = True) -> object:
    """Another value whenever a cell of the row is another one: the row, and all that the time says of it."""
    if isinstance(row, UnreadableUpload):
        return row
    return row, is_fed, is_stalled(row, now), age(row.finished_at or row.created_at, now)


def upload_cell(row: Row, column: str, width: int, now: datetime, *, is_fed: bool = True) -> Sequence[Span]:
    """The content of one cell, to be cut and padded to `width`. What moved when it was last heard of is dimmed where
    nothing is heard of it any more."""
    if not is_fed and isinstance(row, Upload) and row.status is UploadStatus.UPLOADING:
        return [Span(span.text, Tone.MUTED) for span in upload_cell(row, column, width, now)]
    if column == "sign":
        return [row_sign(row, now)]
    if isinstance(row, UnreadableUpload):
        return _unreadable_cell(row, column)
    return _CELLS[column](row, width, now)


def _unreadable_cell(row: UnreadableUpload, column: str) -> Sequence[Span]:
    if column == "name":
        return [Span(value_text(row.id), Tone.MUTED)]
    if column == "destination":
        return [Span(visible(row.problem), Tone.MUTED)]
    return [Span("unreadable", Tone.BAD)] if column == "status" else [Span("")]


def _status(upload: Upload, width: int, now: datetime) -> Sequence[Span]:
    moves = upload.status is UploadStatus.UPLOADING and upload.requested is Requested.RUN
    if moves and not upload.is_queued and not is_stalled(upload, now) and not is_retrying(upload):
        return progress_bar(upload.under_way_percentage, width)
    return [status_text(upload, now, width)]


def _percent(upload: Upload, width: int, now: datetime) -> Sequence[Span]:
    if upload.status is not UploadStatus.UPLOADING and upload.current in (0, upload.size):
        return [Span("")]
    if upload.is_queued and not upload.current:
        return [Span("")]
    return [
        Span(
            percent(upload.under_way_percentage), Tone.PLAIN if upload.status is UploadStatus.UPLOADING else Tone.MUTED
        )
    ]


def _moving(upload: Upload, now: datetime) -> bool:
    return upload.status is UploadStatus.UPLOADING and not upload.is_queued and not is_stalled(upload, now)


def _name(upload: Upload, width: int, now: datetime) -> Sequence[Span]:
    name = Span(visible(upload.filename), Tone.STRONG if _moving(upload, now) else Tone.PLAIN)
    return [Span(WATCH_SIGN, Tone.MUTED), name] if upload.source is Source.WATCH else [name]


def _destination(upload: Upload, width: int, now: datetime) -> Sequence[Span]:
    """Where it goes; without the last part of the key, where that is the name that stands beside it."""
    folder, slash, name = upload.key.rpartition("/")
    key = f"{folder}{slash}" if name == upload.filename else upload.key
    return [Span(visible(f"{upload.bucket}/{key}"), Tone.MUTED)]


def _size(upload: Upload, width: int, now: datetime) -> Sequence[Span]:
    return [Span(byte_size(upload.size))]


def _rate(upload: Upload, width: int, now: datetime) -> Sequence[Span]:
    return [Span(byte_rate(upload.rate) if _moving(upload, now) else "")]


def _left(upload: Upload, width: int, now: datetime) -> Sequence[Span]:
    return [Span(duration(upload.seconds_left) if _moving(upload, now) else "")]


def _priority(upload: Upload, width: int, now: datetime) -> Sequence[Span]:
    return [Span(f"{upload.priority:+d}" if upload.priority else "")]


def _source(upload: Upload, width: int, now: datetime) -> Sequence[Span]:
    return [Span(str(upload.source), Tone.MUTED)]


def _host(upload: Upload, width: int, now: datetime) -> Sequence[Span]:
    return [Span(visible(upload.host), Tone.MUTED)]


def _age(upload: Upload, width: int, now: datetime) -> Sequence[Span]:
    return [Span(age(upload.finished_at or upload.created_at, now), Tone.MUTED)]


def sort_value(row: Row, column: str) -> tuple[float, str, str]:
    """What a column sorts by: a number, or a text, and then the name."""
    if isinstance(row, UnreadableUpload):
        return -math.inf, "", str(row.id)
    name = row.filename.casefold()
    match column:
        case "name":
            return 0.0, name, row.path
        case "status":
            return 0.0, f"{order_of(row)[0]:.0f} {row.error.code if row.error is not None else ''}", name
        case "percent":
            return row.percentage, "", name
        case "size" | "rate" | "priority":
            return float(getattr(row, column)), "", name
        case "left":
            return row.seconds_left if row.seconds_left is not None else math.inf, "", name
        case "age":
            # The oldest is the largest, as the number shown.
            return -(row.finished_at or row.created_at).timestamp(), "", name
    text = {"destination": f"{row.bucket}/{row.key}", "source": str(row.source), "host": row.host}[column]
    return 0.0, text.casefold(), name


_CELLS: Final = {
    "name": _name,
    "destination": _destination,
    "status": _status,
    "percent": _percent,
    "size": _size,
    "rate": _rate,
    "left": _left,
    "priority": _priority,
    "source": _source,
    "host": _host,
    "age": _age,
}
