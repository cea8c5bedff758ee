"""Which names below a watched folder are meant at all.

Owns the patterns in gitignore syntax, and the names of files that are not finished. What is left out here was never
meant: it is neither sent nor counted as refused (`acceptance` refuses). Pure.
"""

from __future__ import annotations

import os
from typing import Final

from console.settings.watch_rules import WatchRule

TEMPORARY_SUFFIXES: Final = (
    *(".part", ".partial", ".filepart", ".tmp", ".temp", ".crdownload", ".download", ".opdownload"),
    *(".swp", ".swx", "~"),
)
"""What browsers, WinSCP, FileZilla, editors and scripts append to the name of a file they are still writing."""
TEMPORARY_PREFIXES: Final = (".", "~$")
"""Dotfiles (rsync's temporary files are such) and the lock files of office programs."""


class Patterns:
    """Answers for one rule. Paths are relative to the watched folder, with `/`."""

    def __init__(self, rule: WatchRule) -> None:
        from pathspec import GitIgnoreSpec  # for watches alone: an upload walks folders too

        self._include = GitIgnoreSpec.from_lines(rule.include) if rule.include else None
        self._exclude = GitIgnoreSpec.from_lines(rule.exclude) if rule.exclude else None
        self._ignores_temporary = rule.ignore_temporary
        self._marker = rule.marker_suffix if rule.complete_when == "marked" else None
        self._sent = _below(str(rule.move_to), str(rule.folder)) if rule.move_to is not None else None

    def leaves_out(self, relative: str, *, is_folder: bool) -> str:
        """Why a path is not meant, in words; empty if it is."""
        name = relative.rpartition("/")[2]
        if self._ignores_temporary and is_temporary(name, is_folder=is_folder):
            return "a temporary or hidden name"
        if is_folder and self._sent is not None and relative == self._sent:
            return "the folder for files that were sent"
        if self._exclude is not None and self._exclude.match_file(f"{relative}/" if is_folder else relative):
            return "excluded by a pattern"
        if is_folder:
            return ""
        if self._marker is not None and name.endswith(self._marker):
            return "a marker"
        if self._include is not None and not self._include.match_file(relative):
            return "not included by a pattern"
        return ""


def is_temporary(name: str, *, is_folder: bool = False) -> bool:
    """Whether a file of that name is one that somebody is still writing, or a hidden one."""
    if name.startswith(TEMPORARY_PREFIXES):
        return True
    return not is_folder and name.lower().endswith(TEMPORARY_SUFFIXES)


def _below(path: str, folder: str) -> str | None:
    inside = f"{folder.rstrip('/')}/"
    return os.path.relpath(path, folder) if path.startswith(inside) else None
