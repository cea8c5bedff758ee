"""Which names below a folder are meant at all.

Owns the patterns in the syntax of gitignore(5), and the names of files that are not finished. What is left out here was
never meant: it is neither sent nor counted as refused (`files.acceptance` refuses). Pure.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Self

from console.settings.watch_rules import WatchRule

TEMPORARY_SUFFIXES: Final = (
    *(".part", ".partial", ".filepart", ".tmp", ".temp", ".crdownload", ".download", ".opdownload"),
    *(".swp", ".swx", "~"),
)
"""What browsers, WinSCP, FileZilla, editors and scripts append to the name of a file they are still writing."""
TEMPORARY_PREFIXES: Final = (".", "~$")
"""Dotfiles (rsync's temporary files are such) and the lock files of office programs."""


class PathPatterns:
    """Answers for lists of patterns. Paths are relative to the folder that is walked, with `/`."""

    def __init__(self, include: Sequence[str], exclude: Sequence[str], *, ignores_temporary: bool) -> None:
        self._include = [GitPattern.parse(line) for line in include]
        self._exclude = [GitPattern.parse(line) for line in exclude]
        self._ignores_temporary = ignores_temporary

    def leaves_out(self, relative: str, *, is_folder: bool) -> str:
        """Why a path is not meant, in words; empty if it is."""
        name = relative.rpartition("/")[2]
        if self._ignores_temporary and is_temporary(name, is_folder=is_folder):
            return "a temporary or hidden name"
        if self._exclude and self._is_excluded(relative, is_folder=is_folder):
            return "excluded by a pattern"
        if not is_folder and self._include and not self._is_included(relative):
            return "not included by a pattern"
        return ""

    def _is_excluded(self, relative: str, *, is_folder: bool) -> bool:
        """As git has it: nothing brings back what lies in a folder that is excluded."""
        above = any(matches(self._exclude, folder, is_folder=True) for folder in _folders(relative))
        return above or matches(self._exclude, relative, is_folder=is_folder)

    def _is_included(self, relative: str) -> bool:
        """Whether the last pattern for the file, or for a folder that holds it, is none that begins with `!`."""
        for pattern in reversed(self._include):
            is_for_it = pattern.matches(relative, is_folder=False)
            if is_for_it or any(pattern.matches(folder, is_folder=True) for folder in _folders(relative)):
                return not pattern.is_negated
        return False


class Patterns(PathPatterns):
    """Answers for the folder of one watch, which may also hold markers and files that were sent."""

    def __init__(self, rule: WatchRule) -> None:
        super().__init__(rule.include, rule.exclude, ignores_temporary=rule.ignore_temporary)
        self._marker = rule.marker_suffix if rule.complete_when == "marked" else None
        self._sent = _below(str(rule.move_to), str(rule.folder)) if rule.move_to is not None else None

    def leaves_out(self, relative: str, *, is_folder: bool) -> str:
        """Why a path is not meant, in words; empty if it is."""
        if is_folder and self._sent is not None and relative == self._sent:
            return "the folder for files that were sent"
        if not is_folder and self._marker is not None and relative.endswith(self._marker):
            return "a marker"
        return super().leaves_out(relative, is_folder=is_folder)


@dataclass(frozen=True, slots=True)
class GitPattern:
    """One line of a .gitignore file. Git compares bytes, and so does this."""

    expression: re.Pattern[bytes] | None  # None: as git has it, such a pattern matches nothing
    is_negated: bool
    for_folders: bool
    for_names: bool

    @classmethod
    def parse(cls, line: str) -> Self:
        """Read a line. Every line is a pattern, but empty ones and comments mean nothing."""
        text = _without_spaces_at_end(os.fsencode(line))
        is_negated = text.startswith(b"!")
        text = text[is_negated:]
        for_folders = text.endswith(b"/")
        text = text[: len(text) - for_folders]
        for_names = b"/" not in text
        expression = _expression(text.removeprefix(b"/"))
        return cls(expression if not line.startswith("#") and text else None, is_negated, for_folders, for_names)

    def matches(self, relative: str, *, is_folder: bool) -> bool:
        """Whether the pattern is for this very path; that it is for a folder above it does not count."""
        if self.expression is None or (self.for_folders and not is_folder):
            return False
        path = relative.rpartition("/")[2] if self.for_names else relative
        return self.expression.fullmatch(os.fsencode(path)) is not None


def matches(patterns: Sequence[GitPattern], relative: str, *, is_folder: bool) -> bool:
    """Whether the last pattern that is for this very path is none that begins with `!`."""
    for pattern in reversed(patterns):
        if pattern.matches(relative, is_folder=is_folder):
            return not pattern.is_negated
    return False


def is_temporary(name: str, *, is_folder: bool = False) -> bool:
    """Whether a file of that name is one that somebody is still writing, or a hidden one."""
    if name.startswith(TEMPORARY_PREFIXES):
        return True
    return not is_folder and name.lower().endswith(TEMPORARY_SUFFIXES)


def _folders(relative: str) -> Iterator[str]:
    """The folders that hold a path, outermost first."""
    return (relative[:position] for position, character in enumerate(relative) if character == "/")


def _below(path: str, folder: str) -> str | None:
    inside = f"{folder.rstrip('/')}/"
    return os.path.relpath(path, folder) if path.startswith(inside) else None


# Patterns as wildmatch.c of git reads them ------------------------------------------------------------------------

_BYTES: Final = [bytes([code]) for code in range(256)]
_CLASSES: Final[dict[bytes, Callable[[bytes], bool]]] = {
    b"alnum": bytes.isalnum,
    b"alpha": bytes.isalpha,
    b"blank": b" \t".__contains__,
    b"cntrl": lambda byte: byte < b" " or byte == b"\x7f",
    b"digit": bytes.isdigit,
    b"graph": lambda byte: b"!" <= byte <= b"~",
    b"lower": bytes.islower,
    b"print": lambda byte: b" " <= byte <= b"~",
    b"punct": lambda byte: b"!" <= byte <= b"~" and not byte.isalnum(),
    b"space": bytes.isspace,
    b"upper": bytes.isupper,
    b"xdigit": lambda byte: byte in b"0123456789abcdefABCDEF",
}


class _NeverMatches(Exception):
    """A pattern that git takes, and that matches nothing."""


def _without_spaces_at_end(text: bytes) -> bytes:
    end = position = 0
    while position < len(text):
        step = 2 if text[position] == ord("\\") else 1
        if text[position : position + 1] != b" ":
            end = position + step
        position += step
    return text[:end]


def _expression(pattern: bytes) -> re.Pattern[bytes] | None:
    """The expression for whole paths, or None where nothing matches."""
    pieces: list[bytes] = []
    position = 0
    try:
        while position < len(pattern):
            piece, position = _piece(pattern, position)
            pieces.append(piece)
    except _NeverMatches:
        return None
    return re.compile(b"".join(pieces), re.DOTALL)


def _piece(pattern: bytes, position: int) -> tuple[bytes, int]:
    """The expression of what begins at a position, and where the next begins."""
    character = pattern[position : position + 1]
    if character == b"*":
        return _stars(pattern, position)
    if character == b"?":
        return b"[^/]", position + 1
    if character == b"[":
        wanted, position = _set(pattern, position + 1)
        return b"[" + b"".join(map(re.escape, wanted)) + b"]" if wanted else b"(?!)", position
    if character == b"\\":
        character = pattern[position + 1 : position + 2]
        if not character:
            raise _NeverMatches
        position += 1
    return re.escape(character), position + 1


def _stars(pattern: bytes, position: int) -> tuple[bytes, int]:
    end = position
    while pattern[end : end + 1] == b"*":
        end += 1
    is_step = position == 0 or pattern[position - 1 : position] == b"/"
    if end - position == 1 or not is_step:
        return b"[^/]*", end
    if pattern[end : end + 1] == b"/":
        return b"(?:.*/)?", end + 1
    is_at_end = end == len(pattern) or pattern[end : end + 2] == b"\\/"
    return b".*" if is_at_end else b"[^/]*", end


def _set(pattern: bytes, position: int) -> tuple[list[bytes], int]:
    """The bytes that a `[…]` stands for, never a slash, and where the next piece begins."""
    is_negated = pattern[position : position + 1] in (b"!", b"^")
    position += is_negated
    wanted: set[bytes] = set()
    previous = b""
    is_first = True
    while True:
        character = pattern[position : position + 1]
        if character == b"]" and not is_first:
            break
        is_first = False
        if character == b"-" and previous and pattern[position + 1 : position + 2] not in (b"", b"]"):
            last, position = _literal(pattern, position + 1)
            wanted.update(byte for byte in _BYTES if previous <= byte <= last)
            previous = b""
        elif character == b"[" and pattern[position + 1 : position + 2] == b":":
            end = pattern.find(b"]", position + 2)
            if end < 0:
                raise _NeverMatches
            if end - position < 3 or pattern[end - 1 : end] != b":":
                wanted.add(character)
                previous = character
                position += 1
                continue
            of_class = _CLASSES.get(pattern[position + 2 : end - 1])
            if of_class is None:
                raise _NeverMatches
            wanted.update(filter(of_class, _BYTES))
            previous, position = b"", end + 1
        else:
            previous, position = _literal(pattern, position)
            wanted.add(previous)
    meant = set(_BYTES) - wanted if is_negated else wanted
    return sorted(meant - {b"/"}), position + 1


def _literal(pattern: bytes, position: int) -> tuple[bytes, int]:
    """A byte of a `[…]`, which may be escaped."""
    position += pattern[position : position + 1] == b"\\"
    character = pattern[position : position + 1]
    if not character:
        raise _NeverMatches
    return character, position + 1
