"""What is allowed of the files that are meant: by extension, size and type, the type by content.

What is not allowed is refused, and each refusal is shown with its reason; what was never meant (`file_filter`) is not.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Final

from console.files.content_type import by_content, by_name, of_bytes
from console.formatting import byte_size, visible
from console.settings.upload_rules import AcceptSettings
from console.settings.watch_rules import WatchRule

_BY_CONTENT_ALONE: Final = ("image/", "audio/", "video/")
"""Types whose files always begin with a signature: a name that claims one counts for nothing."""
_SAYS_LITTLE: Final = frozenset({None, "text/plain", "application/zip", "application/octet-stream"})
"""What content tells of a CSV file, a script, an office document: there the name may say more."""


class Acceptance:
    """The limits of one rule, or of `[accept]`. Below the folder `below` no link is followed."""

    def __init__(self, rule: WatchRule | AcceptSettings) -> None:
        self._extensions = rule.extensions
        self._types = rule.content_types
        self._below = rule.below if isinstance(rule, WatchRule) else None
        self._max_size = int(rule.max_size) if rule.max_size is not None else None

    def refuses(self, path: str, size: int, below: str | None = None) -> str:
        """Why a file may not be sent, in words; empty if it may. `path` as `open()` takes it, size in bytes."""
        name = path.rpartition("/")[2]
        if reason := self.refuses_name(name) or self.refuses_size(size):
            return reason
        return self._refuses_types(types_of(path, below or self._below)) if self._types else ""

    def refuses_name(self, name: str) -> str:
        """The same by the end of the name alone."""
        if self._extensions and not name.lower().endswith(self._extensions):
            return f"its extension is not allowed ({', '.join(self._extensions)})"
        return ""

    def refuses_size(self, size: int) -> str:
        """The same by the size in bytes, or by as much as is known of it."""
        if self._max_size is not None and size > self._max_size:
            return f"larger than allowed ({byte_size(size)}, at most {byte_size(self._max_size)})"
        return ""

    def refuses_content(self, name: str, head: bytes) -> str:
        """The same by how the content begins."""
        return self._refuses_types(_types(name, of_bytes(head))) if self._types else ""

    def _refuses_types(self, found_types: tuple[str, ...]) -> str:
        if any(fnmatchcase(kind, wanted) for kind in found_types for wanted in self._types):
            return ""
        found = next(iter(found_types), "unknown")
        return f"its type is not allowed ({visible(found)} by content, allowed: {', '.join(self._types)})"


def types_of(path: str, below: str | None = None) -> tuple[str, ...]:
    """The MIME types that a file counts as: by content and, where content says little, by name."""
    return _types(path.rpartition("/")[2], by_content(path, below))


def _types(name: str, content: str | None) -> tuple[str, ...]:
    named = by_name(name)
    if named is not None and content in _SAYS_LITTLE and not named.startswith(_BY_CONTENT_ALONE):
        return (named,) if content is None else (content, named)
    return (content,) if content is not None else ()
