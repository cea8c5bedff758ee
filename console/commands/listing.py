"""`list`: uploads as a table, or as extended-JSON lines."""

from __future__ import annotations

import sys
from datetime import UTC, datetime

from bson import json_util
from rich.console import Console
from rich.table import Table
from rich.text import Text

from console.commands.selection import Selection
from console.config import Settings
from console.formatting import age, byte_size, visible
from console.models import Upload, UploadStatus, read_upload
from console.records.connection import Document
from console.records.database import Records


def run(settings: Settings, selection: Selection, *, limit: int, as_json: bool) -> int:
    """Print the uploads that are selected, newest first."""
    with Records.open(settings.mongodb) as records:
        documents = records.uploads.find(selection.filter(records.uploads), limit=limit)
    if as_json:
        for document in documents:
            sys.stdout.write(json_util.dumps(document, json_options=json_util.RELAXED_JSON_OPTIONS) + "\n")
        return 0
    if not documents:
        sys.stdout.write("No uploads.\n")
        return 0
    Console(soft_wrap=not sys.stdout.isatty()).print(_table(documents))
    return 0


def _table(documents: list[Document]) -> Table:
    now = datetime.now(UTC)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading, justify in (("ID", "left"), ("STATUS", "left"), ("%", "right"), ("SIZE", "right"), ("AGE", "right")):
        table.add_column(heading, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    table.add_column("NAME", overflow="fold")
    table.add_column("DESTINATION", overflow="fold")
    table.add_column("ERROR", overflow="fold")
    for document in documents:
        upload = read_upload(document)
        if isinstance(upload, Upload):
            table.add_row(*(Text(cell) for cell in _cells(upload, now)))
        else:
            table.add_row(Text(visible(str(upload.id))), Text("unreadable"), "", "", "", Text(visible(upload.problem)))
    return table


def _cells(upload: Upload, now: datetime) -> tuple[str, ...]:
    # The last failure is kept after a retry succeeds; here it would read as if it still were one.
    error = upload.error if upload.error and upload.status is not UploadStatus.COMPLETED else None
    return (
        str(upload.id),
        upload.status.value,
        f"{upload.percentage:.0f}",
        byte_size(upload.size),
        age(upload.created_at, now),
        visible(upload.filename),
        visible(upload.destination),
        visible(f"{error.code}: {error.message}") if error else "",
    )
