"""Which files a person means by some paths: files as they are, folders with everything below.

Owns the walk; the words of refusals are in `refusal`. Memory is bounded by the largest single folder and the depth of
the tree, not by the number of files: candidates and refusals are handed out as they are found, in the order of their
names.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from console.files.beneath import absolute as absolute_path
from console.transfer.refusal import (
    CONTAINS_ITSELF,
    LEADS_NOWHERE,
    MAY_NOT_BE_READ,
    Refusal,
    error_words,
    kind_refused,
    link_target,
)

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


Keep = Callable[[str, bool], bool]
"""Asked with a path relative to the chosen folder and whether it is a folder; False leaves it out."""


def select(paths: Iterable[str], keep: Keep | None = None) -> Iterator[Candidate | Refusal]:
    """What `paths` mean. A folder stands for all files below it, under its own name; with a slash at the end, without.

    A symbolic link that is named is followed. Below a folder, one to a file within that folder is sent as that file;
    one that leads out of it, to a folder, or nowhere is refused. `keep` is asked only about what lies below folders.
    """
    for path in paths:
        yield from _select_one(path, keep or _keep_all)


def _select_one(path: str, keep: Keep) -> Iterator[Candidate | Refusal]:
    absolute = absolute_path(path)
    try:
        status = os.stat(absolute)  # noqa: PTH116
    except OSError as error:
        is_dangling = os.path.islink(absolute) and not isinstance(error, PermissionError)  # noqa: PTH114
        yield Refusal(absolute, LEADS_NOWHERE if is_dangling else error_words(error))
        return
    if not stat.S_ISDIR(status.st_mode):
        yield _file(absolute, os.path.basename(absolute), status, None)  # noqa: PTH119
        return
    name = "" if path.endswith("/") else os.path.basename(absolute)  # noqa: PTH119
    yield from _Walk(absolute, keep).files(name)


@dataclass(frozen=True, slots=True)
class _Folder:
    """One being walked. `shown` is its path in keys, `inner` the one below the chosen folder."""

    shown: str
    inner: str
    identity: tuple[int, int]
    entries: Iterator[os.DirEntry[str]]


class _Walk:
    """The walk below one chosen folder. Folders within folders lie on a stack of its own: as calls within calls they
    would come to Python's limit at some hundreds."""

    def __init__(self, top: str, keep: Keep) -> None:
        self._path = top
        self._top = os.path.realpath(top)
        self._keep = keep
        self._open: list[_Folder] = []

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
                found = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            return Refusal(path, error_words(error))
        if any(folder.identity == identity for folder in self._open):  # a bind mount of a folder into itself
            return Refusal(path, CONTAINS_ITSELF)
        self._open.append(_Folder(shown, inner, identity, iter(found)))
        return None

    def _look_at(self, entry: os.DirEntry[str], folder: _Folder) -> Candidate | Refusal | None:
        """What it is; None for what is left out, and for a folder: its files come next."""
        shown, inner = _join(folder.shown, entry.name), _join(folder.inner, entry.name)
        try:
            is_folder = entry.is_dir(follow_symlinks=False)
            if not self._keep(inner, is_folder):
                return None
            if is_folder:
                return self._enter(entry.path, shown, inner)
            if entry.is_symlink():
                target = link_target(entry.path, self._top)
                return Refusal(entry.path, target) if isinstance(target, str) else self._file(entry.path, shown, target)
            return self._file(entry.path, shown, entry.stat(follow_symlinks=False))
        except OSError as error:
            return Refusal(entry.path, error_words(error))

    def _file(self, path: str, shown: str, status: os.stat_result) -> Candidate | Refusal:
        return _file(path, shown, status, self._path)


def _file(path: str, shown: str, status: os.stat_result, below: str | None) -> Candidate | Refusal:
    if kind := kind_refused(status.st_mode):
        return Refusal(path, kind)
    if not os.access(path, os.R_OK, effective_ids=_EFFECTIVE):
        return Refusal(path, MAY_NOT_BE_READ)
    return Candidate(path, shown, status.st_size, status.st_mtime_ns, below)


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def _keep_all(_path: str, _is_folder: bool) -> bool:
    return True
