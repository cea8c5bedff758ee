"""Other names for a file whose own is taken: a number or a time before its suffixes."""

from __future__ import annotations

import posixpath


def marked(path: str, mark: str) -> str:
    """`dir/name.tar.gz` and `-2` as `dir/name-2.tar.gz`. Dots that a name begins with begin no suffix."""
    folder, name = posixpath.split(path)
    bare = name.lstrip(".")
    stem, dot, suffixes = bare.partition(".")
    return posixpath.join(folder, f"{name[: len(name) - len(bare)]}{stem}{mark}{dot}{suffixes}")


def numbered(path: str, number: int) -> str:
    """The name itself for 1, `dir/name-2.tar.gz` for 2."""
    return path if number == 1 else marked(path, f"-{number}")
