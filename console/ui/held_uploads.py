"""Uploads that are held: by their key, in their order, and those of them that match a filter.

Owns how a document is held and let go, the order of the view, and what a filter matches. Pure. Not here: which
documents are held (`upload_rows`), how a row looks (`upload_cells`).
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import Any

from console.models import UnreadableUpload, Upload, UploadStatus
from console.ui.backend import Document
from console.ui.upload_order import Order, Row, order_of


class HeldUploads:
    """Documents, in order, filtered."""

    def __init__(self) -> None:
        self.text = ""
        self._words: list[str] = []
        self._documents: dict[Hashable, Document] = {}
        self._rows: dict[Hashable, Row] = {}
        self._orders: dict[Hashable, Order] = {}
        self._uploading: dict[Hashable, Upload] = {}
        self._view: list[Hashable] = []
        self._places: dict[Hashable, int] = {}
        self._stale = False

    # ---- what the table shows

    def __len__(self) -> int:
        return len(self._sorted())

    def key(self, index: int) -> Hashable:
        """The key of the row at that place."""
        return self._sorted()[index]

    def index_of(self, key: Hashable) -> int | None:
        """Where that row is, None where it is not shown."""
        self._sorted()
        return self._places.get(key)

    def row(self, key: Hashable) -> Row | None:
        """The row with that key, shown or not."""
        return self._rows.get(key)

    def document(self, key: Hashable) -> Document | None:
        """The document as it was delivered."""
        return self._documents.get(key)

    def uploading(self) -> Iterable[Upload]:
        """Those that are being sent, in no order."""
        return self._uploading.values()

    def rows(self) -> Iterable[Row]:
        """All that is held, in no order."""
        return self._rows.values()

    @property
    def held(self) -> int:
        """How many documents are held, filtered out or not."""
        return len(self._rows)

    # ---- for those who know which documents to hold

    def _hold(self, key: Hashable, row: Row, document: Document) -> None:
        order = order_of(row)
        shown_anew = self._orders.get(key) != order or bool(self.text)
        self._documents[key], self._rows[key], self._orders[key] = document, row, order
        if isinstance(row, Upload) and row.status is UploadStatus.UPLOADING:
            self._uploading[key] = row
        else:
            self._uploading.pop(key, None)
        self._stale = self._stale or shown_anew

    def _forget(self, key: Hashable) -> None:
        if self._rows.pop(key, None) is not None:
            self._stale = True
        self._documents.pop(key, None)
        self._orders.pop(key, None)
        self._uploading.pop(key, None)

    def _sorted(self) -> list[Hashable]:
        if self._stale:
            words = self._words
            keys = [key for key, row in self._rows.items() if matches(row, words)] if words else list(self._rows)
            self._view = sorted(keys, key=self._orders.__getitem__)
            self._places = {key: place for place, key in enumerate(self._view)}
            self._stale = False
        return self._view


def matches(row: Row, words: Iterable[str]) -> bool:
    """Whether a row has all of the (case-folded) words."""
    if isinstance(row, UnreadableUpload):
        text = f"{row.id} {row.problem} unreadable"
    else:
        code = row.error.code if row.error is not None else ""
        text = "\n".join((row.path, row.destination, row.host, row.status, row.source, code))
    return all(map(text.casefold().__contains__, words))


def patched(document: Document, update: Mapping[str, Any]) -> Document:
    """The document behind an update that came without its image; the next image makes good what cannot be patched."""
    fields = dict(document)
    for path, value in (update.get("updatedFields") or {}).items():
        name, *inner = path.split(".")
        if inner and isinstance(fields.get(name), Mapping) and len(inner) == 1:
            fields[name] = {**fields[name], inner[0]: value}
        elif not inner:
            fields[name] = value
    for path in update.get("removedFields") or ():
        fields.pop(path, None)
    return fields
