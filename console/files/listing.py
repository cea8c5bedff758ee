"""What is in a directory, for the file browser.

Owns reading one directory, sorting and filtering its entries. No widget; reading blocks, so callers do it in a thread.
Names are Python's own (bytes that are no UTF-8 as lone surrogates) and are shown only through `formatting.visible`.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final


class EntryKind(StrEnum):
    """What an entry is, links followed."""

    PARENT = "parent"
    DIRECTORY = "directory"
    FILE = "file"
    SPECIAL = "special"


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry. `size` in bytes; `mtime` in seconds since 1970; `problem` says why it cannot be uploaded."""

    path: str
    name: str
    kind: EntryKind
    size: int = 0
    mtime: float = 0.0
    is_link: bool = False
    problem: str = ""

    @property
    def is_hidden(self) -> bool:
        return self.name.startswith(".") and self.kind is not EntryKind.PARENT


@dataclass(frozen=True, slots=True)
class Listing:
    """A directory as it was read. `problem` says why it could not be; `changed_at` is its mtime in nanoseconds."""

    directory: str
    entries: tuple[Entry, ...]
    problem: str = ""
    changed_at: int = 0


class Sort(StrEnum):
    """The orders of the list; directories come first in each."""

    NAME = "name"
    SIZE = "size"
    MODIFIED = "modified"

    @property
    def next(self) -> Sort:
        orders = list(Sort)
        return orders[(orders.index(self) + 1) % len(orders)]


_SPECIAL: Final[tuple[tuple[Callable[[int], bool], str], ...]] = (
    (stat.S_ISFIFO, "named pipe"),
    (stat.S_ISSOCK, "socket"),
    (stat.S_ISBLK, "block device"),
    (stat.S_ISCHR, "character device"),
)


def read_directory(directory: str, stopped: Callable[[], bool] = lambda: False) -> Listing:
    """Read a directory. What cannot be read becomes a `problem` in words; nothing is raised.

    `stopped` is asked now and then; once it is true the rest is left unread (nobody waits for it any more).
    """
    entries: list[Entry] = []
    changed = changed_at(directory)
    parent = str(Path(directory).parent)
    if parent != directory:
        entries.append(Entry(parent, "..", EntryKind.PARENT))
    try:
        with os.scandir(directory) as found:
            for number, item in enumerate(found):
                if number % 1000 == 0 and stopped():
                    break
                entries.append(_entry(item))
    except OSError as error:
        return Listing(directory, tuple(entries), reason(error), changed)
    return Listing(directory, tuple(entries), changed_at=changed)


def changed_at(directory: str) -> int:
    """When an entry came or went last, in nanoseconds since 1970; 0 where that cannot be told."""
    try:
        return Path(directory).stat().st_mtime_ns
    except OSError:
        return 0


def reason(error: OSError) -> str:
    """The words of the operating system: `Permission denied`."""
    return error.strerror or type(error).__name__


def _entry(item: os.DirEntry[str]) -> Entry:
    is_link = item.is_symlink()
    try:
        status = item.stat()
    except OSError as error:
        problem = "broken link" if is_link and isinstance(error, FileNotFoundError) else reason(error)
        return Entry(item.path, item.name, EntryKind.SPECIAL, is_link=is_link, problem=problem)
    if stat.S_ISDIR(status.st_mode):
        problem = "" if os.access(item.path, os.R_OK | os.X_OK) else "Permission denied"
        return Entry(item.path, item.name, EntryKind.DIRECTORY, 0, status.st_mtime, is_link, problem)
    if stat.S_ISREG(status.st_mode):
        problem = "" if os.access(item.path, os.R_OK) else "Permission denied"
        return Entry(item.path, item.name, EntryKind.FILE, status.st_size, status.st_mtime, is_link, problem)
    words = next((words for test, words in _SPECIAL if test(status.st_mode)), "special file")
    return Entry(item.path, item.name, EntryKind.SPECIAL, 0, status.st_mtime, is_link, words)


_DIGITS: Final = re.compile(r"(\d{1,18})")


def natural(name: str) -> tuple[tuple[int, int, str], ...]:
    """A sort key by which `part-10` follows `part-9`, whatever the case."""
    pieces = _DIGITS.split(name.casefold())
    return tuple((0, int(piece), "") if place % 2 else (1, 0, piece) for place, piece in enumerate(pieces))


def in_order(entries: Iterable[Entry], sort: Sort) -> list[Entry]:
    """The parent first, then directories, then the rest, each in the order asked for."""
    entries = sorted(entries, key=lambda entry: natural(entry.name))
    if sort is Sort.SIZE:
        entries.sort(key=lambda entry: -entry.size)
    elif sort is Sort.MODIFIED:
        entries.sort(key=lambda entry: -entry.mtime)
    entries.sort(key=lambda entry: (entry.kind is not EntryKind.PARENT, entry.kind is not EntryKind.DIRECTORY))
    return entries


def chosen(entries: Iterable[Entry], *, hidden: bool, text: str) -> list[Entry]:
    """Those to show: with every word of `text` in their name, dot files only if asked for; always the parent."""
    words = text.casefold().split()
    return [
        entry
        for entry in entries
        if entry.kind is EntryKind.PARENT
        or ((hidden or not entry.is_hidden) and all(word in entry.name.casefold() for word in words))
    ]
