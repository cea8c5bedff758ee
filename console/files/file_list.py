"""Paths from a file or a pipe: one a line, or separated by zero bytes as `find -print0` writes them.

Names are read as they are: nothing is a comment, and no blank is cut off. Read piece by piece, however long it is.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

from console.errors import UsageError
from console.files.walk import ListedPath
from console.formatting import visible
from console.private_files import WrittenByOthers, opened_ours
from console.settings.types import absolute

_PIECE: Final = 64 * 1024


def listed_paths(source: str, base: str) -> Iterator[ListedPath]:
    """The paths that a file lists, or standard input where `source` is `-`. Those that are relative start from the
    folder `base`, and what lies below it keeps its folders; what lies elsewhere has its name alone.

    Raises:
        UsageError: the file cannot be read.
    """
    top = absolute(base)
    try:
        if source == "-":
            yield from (_listed(name, top) for name in names_in(sys.stdin.buffer))
        else:
            with opened_ours(Path(source)) as stream:
                yield from (_listed(name, top) for name in names_in(stream))
    except WrittenByOthers as error:
        raise UsageError(
            f"--files-from: {visible(source)} {error.strerror}, so it is not read.",
            advice="Whoever can change it has any file sent that you can read. If it is meant, read it yourself: "
            "--files-from - < FILE",
        ) from None
    except OSError as error:
        raise UsageError(f"--files-from: {visible(source)}: {error.strerror}") from None


def names_in(stream: BinaryIO) -> Iterator[bytes]:
    """What a stream lists. A zero byte in its first 64 KiB says that zero bytes separate the names, else lines do."""
    first = stream.read(_PIECE)
    separator = b"\0" if b"\0" in first else b"\n"
    held = b""
    piece = first
    while piece:
        *whole, held = (held + piece).split(separator)
        yield from filter(None, (_without_return(name, separator) for name in whole))
        piece = stream.read(_PIECE)
    if held := _without_return(held, separator):
        yield held


def _without_return(name: bytes, separator: bytes) -> bytes:
    """Windows ends lines with two characters."""
    return name.removesuffix(b"\r") if separator == b"\n" else name


def _listed(name: bytes, top: str) -> ListedPath:
    path = absolute(os.path.join(top, os.fsdecode(name)))  # noqa: PTH118 - names stay as the system has them
    if path == top:
        return ListedPath(path, "")  # as `find .` has it first: its files keep the keys that they have by themselves
    inside = f"{top.rstrip('/')}/"
    relative = path.removeprefix(inside) if path.startswith(inside) else path.rpartition("/")[2]
    return ListedPath(path, relative)
