"""Which files are meant, by name, age and size: `[select]` and its flags.

What is left out here was never meant, so it is no refusal; a dry run says why. A watch asks the same about age and size
of the files that it finds.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from console.files.patterns import PathPatterns
from console.formatting import byte_size, visible
from console.settings.types import since
from console.settings.upload_rules import SelectSettings
from console.settings.watch_rules import WatchRule

_NS: Final = 1_000_000_000


def _now() -> datetime:
    return datetime.now(UTC)


class SizeAndAge:
    """What a rule says of size and age. An age (`2d`) moves on with the clock."""

    def __init__(self, rule: WatchRule | SelectSettings, clock: Callable[[], datetime] = _now) -> None:
        self._newer = rule.newer
        self._larger = int(rule.larger) if rule.larger is not None else None
        self._smaller = int(rule.smaller) if rule.smaller is not None else None
        self._clock = clock

    def leaves_out(self, size: int, mtime_ns: int) -> str:
        """Why a file is not meant, in words; empty if it is."""
        if self._larger is not None and size <= self._larger:
            return f"not larger than {byte_size(self._larger)}"
        if self._smaller is not None and size >= self._smaller:
            return f"not smaller than {byte_size(self._smaller)}"
        if self._newer is not None and mtime_ns < since(self._newer, self._clock()).timestamp() * _NS:
            return f"not changed since {visible(self._newer)}"
        return ""


class FileFilter:
    """Answers for what `[select]` means. Paths relative to the folder that was chosen, with `/`."""

    def __init__(self, settings: SelectSettings, clock: Callable[[], datetime] = _now) -> None:
        self.follows = settings.follow_symlinks
        self._patterns = PathPatterns(settings.include, settings.exclude, ignores_temporary=settings.ignore_temporary)
        self._size_and_age = SizeAndAge(settings, clock)

    def leaves_out_path(self, relative: str, *, is_folder: bool) -> str:
        """Why a path is not meant, in words; empty if it is. Of a folder that is left out nothing more is asked."""
        return self._patterns.leaves_out(relative, is_folder=is_folder)

    def leaves_out_file(self, size: int, mtime_ns: int) -> str:
        """The same of a regular file, by its size and age."""
        return self._size_and_age.leaves_out(size, mtime_ns)


EVERYTHING: Final = FileFilter(SelectSettings())
