"""`list`: uploads as a table, or as extended-JSON lines."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from datetime import datetime
from typing import Final, Literal

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from console.cli.selection import SHORT_ID, Selection
from console.events.text import json_line, value_text
from console.formatting import age, byte_size, visible
from console.models import UnreadableUpload, Upload, UploadStatus, read_upload
from console.records.connection import Document
from console.records.database import Records
from console.s3.address import endpoint_of
from console.settings import S3Settings, Settings

_NARROW: Final = 100
_HEADINGS: Final = ("ID", "STATUS", "%", "SIZE", "AGE", "NAME", "DESTINATION", "ERROR")
_NUMBERS: Final = frozenset({"%", "SIZE", "AGE"})
_CUT: Final = frozenset({"NAME", "DESTINATION", "ERROR", "ENDPOINT"})
_OPTIONAL: Final = frozenset({"ERROR", "ENDPOINT"})  # where no upload has one
_LEFT_OUT: Final = ("ENDPOINT", "SIZE", "AGE", "ERROR")  # in this order, where names have too little room
_LEAST_NAME: Final = 12
_UNBOUND: Final = 10_000  # columns; in a pipe nothing is wrapped


def run(settings: Settings, selection: Selection, *, limit: int, as_json: bool) -> int:
    """Print the uploads that are selected, newest first. Returns 1 where one that was named does not exist, else 0."""
    with Records.open(settings.mongodb, sets_up=False) as records:
        now = records.connection.clock.now()
        wanted = selection.filter(records.uploads)
        missing = selection.missing(records.uploads)
        sys.stderr.writelines(f"  {upload_id}: no such upload\n" for upload_id in missing)
        code = 1 if missing else 0
        if as_json:
            for document in records.uploads.newest_first(wanted, limit=limit):
                sys.stdout.write(json_line(document, relaxed=True) + "\n")
            return code
        documents = records.uploads.find(wanted, limit=limit)
    if not documents:
        sys.stdout.write("No uploads.\n")
        return code
    width = None if sys.stdout.isatty() else _UNBOUND
    console = Console(width=width, highlight=False)
    console.print(_table(documents, settings.s3, now, console.width))
    return code


def _table(documents: list[Document], s3: S3Settings, now: datetime, width: int) -> Table:
    """One line for each upload, however narrow the terminal: long texts are cut, what matters least is left out."""
    uploads = [read_upload(document) for document in documents]
    cells = dict(zip(_HEADINGS, zip(*(_cells(upload, now) for upload in uploads), strict=True), strict=True))
    cells["ENDPOINT"] = tuple(_endpoints(uploads, s3))
    shown = [heading for heading, column in cells.items() if heading not in _OPTIONAL or any(column)]
    if width < _NARROW:
        shown = [heading for heading in shown if heading != "DESTINATION"]
    widths = {heading: max(cell_len(heading), *map(cell_len, cells[heading])) for heading in shown}
    for heading in _LEFT_OUT:
        if _room(widths, width) < _LEAST_NAME * sum(heading in _CUT for heading in widths):
            widths.pop(heading, None)
    _cut(widths, _room(widths, width))
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading, cell_width in widths.items():
        justify: Literal["left", "right"] = "right" if heading in _NUMBERS else "left"
        table.add_column(heading, justify=justify, no_wrap=True, overflow="ellipsis", width=cell_width)
    for row in zip(*(cells[heading] for heading in widths), strict=True):
        table.add_row(*map(Text, row))
    return table


def _room(widths: Mapping[str, int], width: int) -> int:
    """What the texts that can be cut have; two spaces lie between columns."""
    return width - sum(least for heading, least in widths.items() if heading not in _CUT) - 2 * (len(widths) - 1)


def _cut(widths: dict[str, int], room: int) -> None:
    """The longest texts lose most."""
    texts = sorted((heading for heading in widths if heading in _CUT), key=widths.__getitem__)
    for place, heading in enumerate(texts):
        widths[heading] = max(1, min(widths[heading], room // (len(texts) - place)))
        room -= widths[heading]


def _endpoints(uploads: list[Upload | UnreadableUpload], s3: S3Settings) -> list[str]:
    """The S3 service of each upload, where it is not the one that the settings name; without one, where there are
    several."""
    names = [str(upload.endpoint or "") if isinstance(upload, Upload) else "" for upload in uploads]
    if s3.endpoint_url is not None:
        here = endpoint_of(s3.endpoint_url, s3.endpoint_names).names
        return ["" if name in here else visible(name) for name in names]
    return [visible(name) for name in names] if len(set(names)) > 1 else [""] * len(names)


def _cells(upload: Upload | UnreadableUpload, now: datetime) -> tuple[str, ...]:
    if isinstance(upload, UnreadableUpload):
        return (value_text(upload.id, 200)[-SHORT_ID:], "unreadable", "", "", "", "", "", visible(upload.problem))
    # Versions before this one kept the last failure of what completed; it would read as if it still were one.
    error = upload.error if upload.status is not UploadStatus.COMPLETED else None
    return (
        str(upload.id)[-SHORT_ID:],
        "queued" if upload.is_queued else upload.status.value,
        f"{upload.under_way_percentage:.0f}",
        byte_size(upload.size),
        age(upload.created_at, now),
        visible(upload.filename),
        visible(upload.destination),
        visible(f"{error.code}: {error.message}") if error else "",
    )
