"""Sample files for the demo: small and large, awkward names, an empty one.

Owns their names, sizes and content, which are the same on every machine. The large ones are sparse, so that they are
there in milliseconds and take a few MiB of disk, yet no two parts of them are alike.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from console.errors import EmbeddedServerFailed
from console.formatting import visible
from console.private_files import make_private_folder, naming, open_private

KIBIBYTE: Final = 1024
MEBIBYTE: Final = 1024 * KIBIBYTE
# Distance between two runs of random bytes in a large file: below the smallest part size of S3 (5 MiB).
_STRIDE: Final = MEBIBYTE
_RUN: Final = 4 * KIBIBYTE

Content = Callable[[random.Random], Iterator[bytes]]


def _readings(randomness: random.Random) -> Iterator[bytes]:
    yield b"time,sensor,temperature,pressure\n"
    for minute in range(24 * 60):
        temperature, pressure = 18 + 4 * randomness.random(), 1013 + randomness.randrange(-9, 9)
        clock = f"{minute // 60:02}:{minute % 60:02}"
        yield f"2026-11-01T{clock}Z,roof,{temperature:.2f},{pressure}\n".encode()


def _requests(randomness: random.Random) -> Iterator[bytes]:
    for number in range(30_000):
        status = randomness.choice((200, 200, 200, 304, 404, 500))
        yield f"10.0.{number % 256}.7 - - GET /item/{randomness.randrange(10**6)} {status}\n".encode()


def _notes(_: random.Random) -> Iterator[bytes]:
    yield b"# Sample files\n\nMade by the demo. Mark some with space and upload them.\n"


def _report(_: random.Random) -> Iterator[bytes]:
    yield '{"city": "Zürich", "quarter": 3, "uploads": 1284, "failed": 2}\n'.encode()


def _nothing(_: random.Random) -> Iterator[bytes]:
    return iter(())


_TEXTS: Final[dict[str, Content]] = {
    "read me first.md": _notes,
    "empty.dat": _nothing,
    "reports/Zürich – Übersicht.json": _report,
    "sensors/2026-11-01.csv": _readings,
    "logs/access.log": _requests,
}
_SPARSE: Final[dict[str, int]] = {
    "thumbnail.bin": 12 * KIBIBYTE,
    "photos/harbour at night.raw": 24 * MEBIBYTE + 321,
    "backups/database.dump": 64 * MEBIBYTE,
    "video/interview.mov": 120 * MEBIBYTE + 7,
    "video/concert, uncut.mov": 200 * MEBIBYTE,
}


def make_samples(directory: Path) -> list[Path]:
    """Make the sample files that are not there yet; returns all of them, the small ones first.

    A file that is there stays as it is, also one that somebody has changed.

    Raises:
        EmbeddedServerFailed: the directory cannot be written.
    """
    try:
        make_private_folder(directory)
        paths = [_make(directory / name, content=content) for name, content in _TEXTS.items()]
        return paths + [_make(directory / name, size=size) for name, size in _SPARSE.items()]
    except OSError as error:
        raise EmbeddedServerFailed(f"no sample file {visible(str(error.filename))}: {error.strerror}") from None


def _make(path: Path, *, content: Content = _nothing, size: int = 0) -> Path:
    if path.exists():
        return path
    make_private_folder(path.parent)
    draft = path.with_name(f".{path.name}.making")  # an interrupted start leaves no half file under the name
    randomness = random.Random(path.name)  # noqa: S311
    with naming(path), os.fdopen(open_private(draft), "wb") as stream:
        stream.writelines(content(randomness))
        for offset in range(0, size, _STRIDE):
            run = randomness.randbytes(min(_RUN, size - offset))
            os.pwrite(stream.fileno(), run, offset)
        if size:
            os.truncate(stream.fileno(), size)
    draft.replace(path)
    return path
