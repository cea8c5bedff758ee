"""Walking folders: every file below a watched one, or all that a person means by some paths.

Both refuse, with a reason, links that lead out, loops, special files and what cannot be read. Memory is bounded by
the folders that are still to be entered and by `HELD` files where their order matters, not by the number of files.
"""

from __future__ import annotations

import errno
import heapq
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from console.files.beneath import THROUGH_A_LINK, listed, status_of
from console.files.file_filter import EVERYTHING, FileFilter, SizeAndAge
from console.files.patterns import Patterns
from console.files.refusals import (
    CONTAINS_ITSELF,
    LEADS_NOWHERE,
    MAY_NOT_BE_READ,
    Refusal,
    kind_refused,
    link_target,
    os_error_message,
)
from console.formatting import visible
from console.settings.types import absolute as absolute_path
from console.settings.watch_rules import Order, WatchRule

HELD: Final = 32_768
"""How many files a pass holds to bring them into order; about 10 MB."""
_PULSE_EVERY: Final = 500


@dataclass(frozen=True, slots=True)
class Found:
    """A regular file as it was seen. `path` as `open()` takes it, `relative` to the watched folder with `/`.

    Size in bytes, times in nanoseconds since the epoch. `identity` is device and inode.
    """

    path: str
    relative: str
    size: int
    mtime_ns: int
    ctime_ns: int
    identity: tuple[int, int]


@dataclass(frozen=True, slots=True)
class _Above:
    """The folders that hold one, innermost first: device and inode of each."""

    identity: tuple[int, int]
    next: _Above | None

    def __contains__(self, identity: tuple[int, int]) -> bool:
        above: _Above | None = self
        while above is not None:
            if above.identity == identity:
                return True
            above = above.next
        return False


@dataclass(frozen=True, slots=True)
class _Folder:
    path: str
    relative: str
    above: _Above | None


@dataclass(slots=True)
class Seen:
    folders: int = 0
    files: int = 0


def _nothing(*_: object) -> None:
    pass


class Scanner:
    """Walks the folder of a rule.

    `entering` is called with each folder before it is read: events of it are asked for first, so that no file can come
    between. `refused` gets what cannot be sent. `pulse` is called every few hundred entries and may raise to end a
    walk. `left_out` gets what the patterns leave out.
    """

    def __init__(
        self,
        rule: WatchRule,
        *,
        entering: Callable[[str], None] = _nothing,
        refused: Callable[[Refusal], None] = _nothing,
        left_out: Callable[[str, str], None] = _nothing,
        pulse: Callable[[], None] = _nothing,
    ) -> None:
        self.folder = str(rule.folder)
        self.progress = Seen()
        self._patterns = Patterns(rule)
        self._size_and_age = SizeAndAge(rule)
        self._recursive = rule.recursive
        self._follows = rule.follow_symlinks
        self._below = rule.below
        self._entering = entering
        self._refused = refused
        self._left_out = left_out
        self._pulse = pulse
        self._top = self.folder.rstrip("/") + "/"

    def files(self) -> Iterator[Found]:
        """Every regular file that is meant, folder by folder, in the order in which the system lists them.

        Raises:
            OSError: the watched folder itself cannot be read.
        """
        self.progress = Seen()
        os.stat(self.folder)  # noqa: PTH116 - raises where it is missing
        return self._walk(_Folder(self.folder, "", None), is_top=True)

    def below(self, path: str) -> Iterator[Found]:
        """As `files`, for a folder below the watched one; nothing where it is gone or not meant."""
        relative = self._relative(path)
        if relative is None or not self._recursive or self._is_left_out(relative, path):
            return iter(())
        return self._walk(_Folder(path, relative, None))

    def look(self, path: str) -> Found | None:
        """One path as it is now; None where it is gone, not meant, a folder, or refused."""
        relative = self._relative(path)
        if not relative or ("/" in relative and not self._recursive) or self._is_left_out(relative, path):
            return None
        try:
            status = status_of(path, self._below)
        except OSError as error:
            if error.errno == errno.ELOOP:
                self._refused(Refusal(path, THROUGH_A_LINK))
            return None
        if stat.S_ISDIR(status.st_mode):
            return None
        return self._file(path, relative, status)

    def is_folder(self, path: str) -> bool:
        """Whether the path is a folder now, not through a link."""
        try:
            return stat.S_ISDIR(status_of(path, self._below).st_mode)
        except OSError:
            return False

    def _relative(self, path: str) -> str | None:
        if path == self.folder:
            return ""
        return path.removeprefix(self._top) if path.startswith(self._top) else None

    def _is_left_out(self, relative: str, path: str) -> bool:
        """By itself or by a folder that holds it."""
        steps = [position for position, character in enumerate(relative) if character == "/"]
        if any(self._patterns.leaves_out(relative[:step], is_folder=True) for step in steps):
            return True
        is_folder = self.is_folder(path)
        return bool(relative) and bool(self._patterns.leaves_out(relative, is_folder=is_folder))

    def _walk(self, start: _Folder, *, is_top: bool = False) -> Iterator[Found]:
        waiting = [start]
        while waiting:
            folder = waiting.pop()
            self._pulse()
            try:
                status = os.stat(folder.path)  # noqa: PTH116
                identity = (status.st_dev, status.st_ino)
                if folder.above is not None and identity in folder.above:
                    self._refused(Refusal(folder.path, CONTAINS_ITSELF))
                    continue
                self._entering(folder.path)
                self.progress.folders += 1
                yield from self._entries(folder, _Above(identity, folder.above), waiting)
            except OSError as error:
                if is_top and folder is start:
                    raise
                self._refused(Refusal(folder.path, os_error_message(error)))

    def _entries(self, folder: _Folder, above: _Above, waiting: list[_Folder]) -> Iterator[Found]:
        with listed(folder.path, self._below) as entries:
            for number, entry in enumerate(entries, 1):
                if number % _PULSE_EVERY == 0:
                    self._pulse()
                path = f"{folder.path.rstrip('/')}/{entry.name}"
                relative = f"{folder.relative}/{entry.name}" if folder.relative else entry.name
                try:
                    found = self._entry(entry, path, relative, above, waiting)
                except OSError as error:
                    if not isinstance(error, FileNotFoundError):  # gone since it was listed
                        self._refused(Refusal(path, os_error_message(error)))
                    continue
                except (ValueError, OverflowError) as error:
                    self._refused(Refusal(path, f"cannot be looked at: {visible(str(error))}"))
                    continue
                if found is not None:
                    self.progress.files += 1
                    yield found

    def _entry(
        self, entry: os.DirEntry[str], path: str, relative: str, above: _Above, waiting: list[_Folder]
    ) -> Found | None:
        is_folder = entry.is_dir(follow_symlinks=False)
        if words := self._patterns.leaves_out(relative, is_folder=is_folder):
            self._left_out(path, words)
            return None
        if is_folder:
            if self._recursive:
                waiting.append(_Folder(path, relative, above))
            return None
        if self._follows and entry.is_symlink() and entry.is_dir():
            if self._recursive:
                waiting.append(_Folder(path, relative, above))
            return None
        return self._file(path, relative, entry.stat(follow_symlinks=False))

    def _file(self, path: str, relative: str, status: os.stat_result) -> Found | None:
        if stat.S_ISLNK(status.st_mode):
            target = self._target(path)
            if isinstance(target, str):
                self._refused(Refusal(path, target))
                return None
            status = target
        if kind := kind_refused(status.st_mode):
            self._refused(Refusal(path, kind))
            return None
        if words := self._size_and_age.leaves_out(status.st_size, status.st_mtime_ns):
            self._left_out(path, words)
            return None
        identity = (status.st_dev, status.st_ino)
        return Found(path, relative, status.st_size, status.st_mtime_ns, status.st_ctime_ns, identity)

    def _target(self, path: str) -> os.stat_result | str:
        """What a symbolic link leads to, or why it is not followed."""
        if not self._follows:
            return link_target(path, self.folder)
        try:
            return os.stat(path)  # noqa: PTH116
        except OSError:
            return LEADS_NOWHERE


def marker_time(rule: WatchRule, file: Found) -> int | None:
    """When the file's marker was written, in nanoseconds since the epoch; None where it has none, or needs none."""
    if rule.complete_when != "marked":
        return None
    try:
        return status_of(file.path + rule.marker_suffix, rule.below).st_mtime_ns
    except OSError:
        return None


def in_order(walk: Callable[[], Iterator[Found]], order: Order, *, held: int = HELD) -> Iterator[Found]:
    """Files by their time of change, holding at most `held` at once: the folder is walked once for each `held` files.

    A file that changes meanwhile may come twice or not at all: its change is an event of its own.
    """
    last: tuple[int, str] | None = None
    while True:
        portion = heapq.nsmallest(held, _behind(last, walk(), order))
        yield from (file for _, file in portion)
        if len(portion) < held:
            return
        last = portion[-1][0]


def _behind(
    last: tuple[int, str] | None, files: Iterator[Found], order: Order
) -> Iterator[tuple[tuple[int, str], Found]]:
    sign = 1 if order == "oldest" else -1
    for file in files:
        key = (sign * file.mtime_ns, file.path)
        if last is None or key > last:
            yield key, file


_EFFECTIVE: Final = os.access in os.supports_effective_ids


@dataclass(frozen=True, slots=True)
class Candidate:
    """A regular file that can be read. `path` is absolute and as `open()` takes it; `relative_path` has `/` and
    begins with the chosen folder's name; size in bytes. `below` is that folder: no link is followed below it.
    """

    path: str
    relative_path: str
    size: int
    mtime_ns: int
    below: str | None = None


@dataclass(frozen=True, slots=True)
class ListedPath:
    """A path of a list (`--files-from`): it keeps the folders that it was listed with, as `relative` says."""

    path: str
    relative: str


LeftOut = Callable[[str, str], None]
"""Told a path that is not meant, and why in words."""


def select(
    paths: Iterable[str | ListedPath], wanted: FileFilter = EVERYTHING, left_out: LeftOut = _nothing
) -> Iterator[Candidate | Refusal]:
    """What `paths` mean. A folder stands for all files below it, under its own name; with a slash at the end, without.

    A symbolic link that is named is followed. Below a folder, one to a file within that folder is sent as that file;
    one that leads out of it, to a folder, or nowhere is refused, unless `wanted` follows links. `left_out` is told
    what is not `wanted`. Files come in the order of their keys: bytes, a folder's name with its slash.
    """
    for path in paths:
        yield from _select_one(path, wanted, left_out)


def _select_one(named: str | ListedPath, wanted: FileFilter, left_out: LeftOut) -> Iterator[Candidate | Refusal]:
    path = named if isinstance(named, str) else named.path
    absolute = absolute_path(path)
    try:
        status = os.stat(absolute)  # noqa: PTH116
    except OSError as error:
        is_dangling = os.path.islink(absolute) and not isinstance(error, PermissionError)  # noqa: PTH114
        yield Refusal(absolute, LEADS_NOWHERE if is_dangling else os_error_message(error))
        return
    except ValueError:  # a zero byte, from a list
        yield Refusal(path, "no path: it holds a zero byte")
        return
    name = os.path.basename(absolute) if isinstance(named, str) else named.relative  # noqa: PTH119
    if not stat.S_ISDIR(status.st_mode):
        words = wanted.leaves_out_path(name, is_folder=False)
        if stat.S_ISREG(status.st_mode):
            words = words or wanted.leaves_out_file(status.st_size, status.st_mtime_ns)
        if words:
            left_out(absolute, words)
        else:
            yield _file(absolute, name, status, None)
        return
    if path.endswith("/") and isinstance(named, str):
        name = ""
    yield from _Walk(absolute, wanted, left_out).files(name)


@dataclass(frozen=True, slots=True)
class _SelectionFolder:
    """One being walked. `shown` is its path in keys, `inner` the one below the chosen folder."""

    shown: str
    inner: str
    identity: tuple[int, int]
    entries: Iterator[os.DirEntry[str]]


class _Walk:
    """The walk below one chosen folder. Folders within folders lie on a stack of its own: as calls within calls they
    would come to Python's limit at some hundreds."""

    def __init__(self, top: str, wanted: FileFilter, left_out: LeftOut) -> None:
        self._path = top
        self._top = os.path.realpath(top)
        self._wanted = wanted
        self._left_out = left_out
        self._open: list[_SelectionFolder] = []

    def files(self, name: str) -> Iterator[Candidate | Refusal]:
        """All that is below; `name` is the chosen folder's in keys."""
        if (refusal := self._enter(self._path, name, "")) is not None:
            yield refusal
        while self._open:
            folder = self._open[-1]
            entry = next(folder.entries, None)
            if entry is None:
                self._open.pop()
            elif (found := self._look_at(entry, folder)) is not None:
                yield found

    def _enter(self, path: str, shown: str, inner: str) -> Refusal | None:
        """Go on with what is in that folder."""
        try:
            status = os.stat(path)  # noqa: PTH116
            identity = (status.st_dev, status.st_ino)
            with os.scandir(path) as entries:
                found = sorted(entries, key=self._place)
        except OSError as error:
            return Refusal(path, os_error_message(error))
        if any(folder.identity == identity for folder in self._open):  # a bind mount of a folder into itself
            return Refusal(path, CONTAINS_ITSELF)
        self._open.append(_SelectionFolder(shown, inner, identity, iter(found)))
        return None

    def _look_at(self, entry: os.DirEntry[str], folder: _SelectionFolder) -> Candidate | Refusal | None:
        """What it is; None for what is left out, and for a folder: its files come next."""
        shown, inner = _join(folder.shown, entry.name), _join(folder.inner, entry.name)
        try:
            is_folder = self._is_folder(entry)
            if words := self._wanted.leaves_out_path(inner, is_folder=is_folder):
                self._left_out(entry.path, words)
                return None
            if is_folder:
                return self._enter(entry.path, shown, inner)
            if entry.is_symlink() and not self._wanted.follows:
                target = link_target(entry.path, self._top)
                return Refusal(entry.path, target) if isinstance(target, str) else self._file(entry.path, shown, target)
            return self._file(entry.path, shown, entry.stat(follow_symlinks=self._wanted.follows))
        except OSError as error:
            if entry.is_symlink() and isinstance(error, FileNotFoundError):
                return Refusal(entry.path, LEADS_NOWHERE)
            return Refusal(entry.path, os_error_message(error))

    def _is_folder(self, entry: os.DirEntry[str]) -> bool:
        return entry.is_dir(follow_symlinks=self._wanted.follows)

    def _place(self, entry: os.DirEntry[str]) -> bytes:
        """As S3 orders keys."""
        try:
            is_folder = self._is_folder(entry)
        except OSError:
            is_folder = False
        return os.fsencode(entry.name) + (b"/" if is_folder else b"")

    def _file(self, path: str, shown: str, status: os.stat_result) -> Candidate | Refusal | None:
        words = self._wanted.leaves_out_file(status.st_size, status.st_mtime_ns)
        if words and stat.S_ISREG(status.st_mode):
            self._left_out(path, words)
            return None
        return _file(path, shown, status, None if self._wanted.follows else self._path)


def _file(path: str, shown: str, status: os.stat_result, below: str | None) -> Candidate | Refusal:
    if kind := kind_refused(status.st_mode):
        return Refusal(path, kind)
    if not os.access(path, os.R_OK, effective_ids=_EFFECTIVE):
        return Refusal(path, MAY_NOT_BE_READ)
    return Candidate(path, shown, status.st_size, status.st_mtime_ns, below)


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name
