"""How far a look at everything has come, for people who wait for it.

Owns the counting and the words, told every few seconds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Final

from console.formatting import count, duration
from console.watch.at_rest import Found
from console.watch.scanning import Scanner

TELL_SECONDS: Final = 2.0


class ScanProgress:
    """One look after the other. A walk finds all files; then they are looked at in their order."""

    def __init__(self, scanner: Scanner, tell: Callable[[str], None]) -> None:
        self._scanner = scanner
        self._tell = tell
        self._began = 0.0
        self._tell_at = 0.0
        self._looked_at = 0
        self._found = 0

    def of(self, files: Iterator[Found]) -> Iterator[Found]:
        """The same files, counted as they are taken."""
        self._began = time.monotonic()
        self._tell_at = self._began + TELL_SECONDS
        self._looked_at = self._found = 0
        for file in files:
            self._looked_at += 1
            yield file

    def tell(self) -> None:
        """Tell how far it is, if that was not done just now."""
        if time.monotonic() >= self._tell_at:
            self._tell_at = time.monotonic() + TELL_SECONDS
            self._tell(self.words)

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.monotonic() - self._began

    @property
    def words(self) -> str:
        """While it goes on."""
        self._found = max(self._found, self._scanner.progress.files)  # of several walks the first has found all
        if not self._looked_at:
            return f"{self._folders} found so far"
        return f"{self._looked_at:,} of {count(self._found, 'file')}"

    @property
    def percent(self) -> str:
        """While it goes on, where there is little room; empty until all files are found."""
        return f"{100 * self._looked_at // max(self._found, 1)}%" if self._looked_at else ""

    @property
    def result(self) -> str:
        """At its end."""
        return f"{self._folders} in {duration(self.seconds)}"

    @property
    def _folders(self) -> str:
        progress = self._scanner.progress
        return f"{count(progress.files, 'file')} in {count(progress.folders, 'folder')}"
