"""How a file is cut into parts. Pure arithmetic; all sizes in bytes.

The limits are Amazon S3's (https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html). Compatible
servers may allow less and say so with `EntityTooLarge`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from console.choices import GIBIBYTE, MEBIBYTE
from console.s3.transfer_errors import TransferError

MIN_PART_SIZE: Final = 5 * MEBIBYTE
"""The last part may be smaller."""
MAX_PART_SIZE: Final = 5 * GIBIBYTE
MAX_PARTS: Final = 10_000
MAX_PUT_SIZE: Final = 5 * GIBIBYTE
"""The largest body of a single PutObject."""
MAX_OBJECT_SIZE: Final = MAX_PARTS * MAX_PART_SIZE
"""48.8 TiB, as documented since December 2025; it was 5 TiB before."""

USUAL_PART_SIZE: Final = 8 * MEBIBYTE
OTHERS_PART_SIZES: Final = tuple(MEBIBYTE * size for size in (5, 10, 15, 16, 25, 32, 50, 64, 100, 128, 256, 512))
"""Other programs', as of rclone, s3cmd, mc and s5cmd, where the server tells only how many parts an object has."""
_LARGEST_USUAL: Final = 32 * MEBIBYTE
_USUAL_PARTS: Final = 128
"""Each part costs some milliseconds of processor, whatever its size, and what is lost with a connection is a part: a
file of some GiB goes faster in larger ones, a small one does not."""


@dataclass(frozen=True, slots=True)
class Part:
    """One part: its number from 1, where it begins in the file, and how long it is."""

    number: int
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class PartPlan:
    """The parts of a file of `size` bytes, all `part_size` long but the last. Holds no list, whatever the size."""

    size: int
    part_size: int

    def __len__(self) -> int:
        return max(1, -(-self.size // self.part_size))

    def __iter__(self) -> Iterator[Part]:
        return (self.part(number) for number in range(1, len(self) + 1))

    def part(self, number: int) -> Part:
        """The part with that number, from 1 to `len(self)`."""
        if not 1 <= number <= len(self):
            raise IndexError(number)
        offset = (number - 1) * self.part_size
        return Part(number, offset, min(self.part_size, self.size - offset))


def plan_parts(size: int, preferred_part_size: int | None, most_parts: int | None = None) -> PartPlan:
    """Parts of the preferred size, or of larger ones (in whole MiB) where those would be more than 10,000, or than
    `most_parts`. Without a preference: of 8 MiB up to 1 GiB, then of what makes 128 parts, up to 32 MiB.

    Raises:
        TransferError: `EntityTooLarge`, no part size is large enough.
    """
    if size > MAX_OBJECT_SIZE:
        raise TransferError("EntityTooLarge", f"the file has {size} bytes, S3 takes at most {MAX_OBJECT_SIZE}")
    if preferred_part_size is None:
        part_size = min(max(USUAL_PART_SIZE, _part_size(size, _USUAL_PARTS)), _LARGEST_USUAL)
    else:
        part_size = min(max(preferred_part_size, MIN_PART_SIZE), MAX_PART_SIZE)
    part_size = max(part_size, _part_size(size, most_parts or MAX_PARTS))
    if part_size > MAX_PART_SIZE:
        raise TransferError("EntityTooLarge", f"the file has {size} bytes, the server takes at most {most_parts} parts")
    return PartPlan(size, part_size)


def _part_size(size: int, parts: int) -> int:
    """The smallest part size in whole MiB with which there are at most so many parts."""
    return -(-size // (parts * MEBIBYTE)) * MEBIBYTE


def is_single_put(size: int, threshold: int) -> bool:
    """Whether a file goes up as one PutObject: it is smaller than the threshold, and than S3's limit for that."""
    return size == 0 or (size < threshold and size <= MAX_PUT_SIZE)
