"""What a list of the console shows: the port between `rows`, which draws, and files, uploads, events and watches.

Owns the protocol alone.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Protocol, TypeAlias, runtime_checkable

from console.ui.cells import Span
from console.ui.columns import Column

Key: TypeAlias = Hashable


class RowSource(Protocol):
    """What a list shows. Rows have a key that stays the same while their place changes."""

    @property
    def columns(self) -> Sequence[Column]:
        """Which columns there are; asked again when the width changes or another source is shown."""
        ...

    def __len__(self) -> int: ...

    def key(self, index: int) -> Key:
        """What identifies the row."""
        ...

    def index_of(self, key: Key) -> int | None:
        """Where the row with that key is now, None where it is gone."""
        ...

    def cell(self, index: int, column: str, width: int) -> Sequence[Span]:
        """The text of one cell, already `visible()`; it is cut and padded to `width` afterwards."""
        ...

    def whole(self, index: int) -> Sequence[Span] | None:
        """The text of a row that has no columns, None for one that has."""
        ...

    def may_mark(self, index: int) -> bool:
        """Whether actions on several rows can include this one."""
        ...

    def empty_words(self) -> str:
        """What is said where there is no row."""
        ...


@runtime_checkable
class VersionedRows(Protocol):
    """A source that can tell cheaply whether a row still looks as it did: its lines are kept, and not made again."""

    def version(self, index: int) -> object:
        """A value that is another one whenever a cell of the row is, at the same widths."""
        ...
