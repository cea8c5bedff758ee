"""The body of one request: a stretch of the file as a stream, read piece by piece while it is sent.

Owns what happens on the way: the bandwidth limit, the question whether to stop, the count of bytes, the checksums, and
the last look at the file before its last piece leaves. Holds one piece in memory, never the part.
"""

from __future__ import annotations

import io
import time
from collections.abc import Collection
from typing import Final

from console.s3.checksums import Algorithm, Digests
from console.s3.control import Control, Journal
from console.s3.engines.bandwidth import BandwidthLimit
from console.s3.engines.source import SourceFile
from console.s3.part_size import Part
from console.s3.transfer_errors import Stopped, TransferError

LARGEST_PIECE: Final = 1024 * 1024
_SMALLEST_PIECE: Final = 64 * 1024
_FIRST_PIECE: Final = 128 * 1024
_BUFFERED: Final = 1024 * 1024
_QUICK_SECONDS: Final = 0.05
_SLOW_SECONDS: Final = 0.2


class _PieceSize:
    """How many bytes go to the socket at once: many, for each time costs; but no more than it takes in a moment, for a
    stop is noticed only in between. The first megabyte tells little: it lies in buffers of the system."""

    def __init__(self) -> None:
        self._size = _FIRST_PIECE
        self._given = 0
        self._given_at: float | None = None

    def next(self) -> int:
        now = time.monotonic()
        if self._given_at is not None:
            seconds = now - self._given_at
            if seconds < _QUICK_SECONDS and self._given >= _BUFFERED:
                self._size = min(LARGEST_PIECE, 2 * self._size)
            elif seconds > _SLOW_SECONDS:
                self._size = max(_SMALLEST_PIECE, self._size // 2)
        self._given_at = now
        self._given += self._size
        return self._size


class Body(io.RawIOBase):
    """A file-like object over one part. `failure` is what a read raised: HTTP libraries wrap it beyond recognition.

    `algorithms` are those of its checksums; `known`, where somebody has computed them before.
    """

    def __init__(
        self,
        source: SourceFile,
        part: Part,
        *,
        algorithms: Collection[Algorithm] = (),
        known: Digests | None = None,
        bandwidth: BandwidthLimit,
        journal: Journal,
        control: Control,
    ) -> None:
        super().__init__()
        self._source = source
        self._part = part
        self.algorithms = tuple(algorithms)
        self._digests = known
        self._piece_size = _PieceSize()
        self._bandwidth = bandwidth
        self._journal = journal
        self._control = control
        self._position = 0
        self._counted = 0
        self.failure: TransferError | Stopped | None = None

    def __len__(self) -> int:
        return self._part.length

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def digests(self) -> Digests:
        """Its checksums, for which the file is read. Raises as `SourceFile.digests`."""
        if self._digests is None:
            part = self._part
            self._digests = self._source.digests(part.offset, part.length, self.algorithms, self._control)
        return self._digests

    def check(self) -> None:
        """Raises a `Stopped` when the transfer must stop."""
        self._control.check()

    def tell(self) -> int:
        """Position from the beginning of the part."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move; going back takes back what was counted as sent."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._part.length}[whence]
        self._position = min(max(0, base + offset), self._part.length)
        self.take_back(self._position)
        return self._position

    def read(self, size: int = -1, /) -> bytes:
        """Up to `size` bytes, as many as should go at once; all the rest for a negative one; empty at the end."""
        if size >= 0:
            left = self._part.length - self._position
            return self._piece(min(size, left, self._piece_size.next()))
        pieces = []
        while left := self._part.length - self._position:
            pieces.append(self._piece(left))
        return b"".join(pieces)

    def take_back(self, position: int = 0) -> None:
        """Count what lies after `position` as not sent: the request failed or starts over."""
        if self._counted > position:
            self._journal.sent(position - self._counted)
            self._counted = position

    def _piece(self, wanted: int) -> bytes:
        if not wanted:
            return b""
        length = self._admit(wanted)
        try:
            data = self._source.read(self._part.offset + self._position, length)
            self._passed(len(data))
        except TransferError as error:
            self.failure = error
            raise
        return data

    def _admit(self, wanted: int) -> int:
        """Wait for the bandwidth; how many bytes may go."""
        length = self._bandwidth.chunk_size(min(wanted, LARGEST_PIECE))
        length = min(length, wanted)
        try:
            self._bandwidth.take(length, self._control)
        except Stopped as stopped:
            self.failure = stopped
            raise
        return length

    def _passed(self, count: int) -> None:
        self._position += count
        if self._position == self._part.length:
            # Without its last piece S3 stores nothing: bytes of a file that changed never become an object or part.
            self._source.check_unchanged()
        if self._position > self._counted:
            self._journal.sent(self._position - self._counted)
            self._counted = self._position
