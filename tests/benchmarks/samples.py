"""The files that are uploaded in the benchmark: random bytes, the same sizes each time."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

KIBIBYTE: Final = 1024
MEBIBYTE: Final = 1024 * KIBIBYTE
_SEED: Final = 20261124


@dataclass(frozen=True, slots=True)
class Files:
    """What one case uploads: a file or a folder, how many files those are, and their bytes."""

    path: Path
    count: int
    size: int


Make = Callable[[Path], Files]


def one_file(size: int) -> Make:
    """A single file of `size` bytes."""

    def make(folder: Path) -> Files:
        path = folder / f"one-{size // MEBIBYTE}-MiB.bin"
        with path.open("wb") as file:
            for _ in range(size // MEBIBYTE):
                file.write(os.urandom(MEBIBYTE))
        return Files(path, 1, size)

    return make


def small_files(count: int, size: int = 16 * KIBIBYTE) -> Make:
    """A folder of `count` files of the same size."""

    def make(folder: Path) -> Files:
        top = folder / f"small-{count}"
        top.mkdir()
        for number in range(count):
            (top / f"file-{number:05}.bin").write_bytes(os.urandom(size))
        return Files(top, count, count * size)

    return make


def mixed_tree(count: int) -> Make:
    """A tree of files from 1 KiB to 64 MiB, most of them small (log-normal), a few making up most of the bytes."""

    def make(folder: Path) -> Files:
        top = folder / f"mixed-{count}"
        sizes = random.Random(_SEED)
        total = 0
        for number in range(count):
            size = int(min(64 * MEBIBYTE, max(KIBIBYTE, sizes.lognormvariate(11.5, 2.4))))
            path = top / f"part-{number % 10}" / f"branch-{number % 7}" / f"file-{number:04}.bin"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(os.urandom(size))
            total += size
        return Files(top, count, total)

    return make
