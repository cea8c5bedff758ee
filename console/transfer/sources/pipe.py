"""From a pipe: a length that nobody knows, read once, in bounded memory, with the checksums that a file would get.

What has been read cannot be read again: parts are retried while they are held, but an upload that ends before its time
is failed, and its parts are dropped. So it cannot be resumed. What is compressed or encrypted on the way is so as it
comes, without a temporary file.
"""

from __future__ import annotations

import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import closing, suppress
from dataclasses import replace
from typing import Final

from console.choices import MEBIBYTE
from console.error_codes import Recovery
from console.files.acceptance import Acceptance
from console.models import FileState, Multipart, Upload
from console.records.uploads import NewUpload
from console.s3.confirmation import SentPart
from console.s3.control import Control, Journal
from console.s3.engines.http_engine import Cancel
from console.s3.engines.source import SourceFile
from console.s3.engines.staged import CONTENT_TYPES, is_encoding, steps, transformed
from console.s3.part_size import MAX_OBJECT_SIZE, MAX_PARTS, Part
from console.s3.transfer_errors import Stopped, TransferError
from console.settings import S3Settings, TransferSettings
from console.transfer.duplicates import resolve_duplicate
from console.transfer.job import Confirmation, Job, SendOptions, seconds_text
from console.transfer.multipart import PartsAsTheyCome, close_multipart
from console.transfer.send import put
from console.transfer.sender import S3Sender

_ONCE: Final = "what comes from a pipe cannot be resumed, or sent again"
_READ_BYTES: Final = MEBIBYTE
_HELD_BYTES: Final = 64 * MEBIBYTE
_FIRST_PART: Final = 8 * MEBIBYTE
_PARTS_OF_A_SIZE: Final = 1_000
_LOOK_SECONDS: Final = 0.2
_TELL_SECONDS: Final = 2.0


class PipeEnded(TransferError):
    """It ended before all was sent, and what was read is gone."""

    def __init__(self, message: str) -> None:
        super().__init__("PipeEnded", message)


class PipeSource(SourceFile):
    """The pieces of a pipe that are held, by their offset. Thread-safe."""

    def __init__(self, path: str, mtime_ns: int) -> None:
        self.path = path
        self.state = FileState(0, mtime_ns, "")
        self._pieces: dict[int, bytes] = {}

    def hold(self, offset: int, piece: bytes) -> None:
        """Held until it is dropped; the size is what was held so far."""
        self._pieces[offset] = piece
        size = offset + len(piece)
        self.state = FileState(size, self.state.mtime_ns, f"1-{size:x}-{self.state.mtime_ns:x}")

    def drop(self, offset: int) -> None:
        self._pieces.pop(offset, None)

    def read(self, offset: int, length: int) -> bytes:
        buffer = bytearray(length)
        self.read_into(memoryview(buffer), offset)
        return bytes(buffer)

    def read_into(self, buffer: memoryview, offset: int) -> None:
        start = next((start for start, piece in list(self._pieces.items()) if start <= offset < start + len(piece)), 0)
        piece = self._pieces.get(start, b"")
        found = memoryview(piece)[offset - start : offset - start + len(buffer)]
        if len(found) < len(buffer):
            raise PipeEnded("bytes are needed again that are held no more")
        buffer[:] = found

    def check_unchanged(self) -> None:
        """It is what was read."""

    def close(self) -> None:
        self._pieces.clear()


def part_length(number: int, chosen: int | None) -> int:
    """The length in bytes of the part with that number, from 1: what was chosen, or 8 MiB, doubled after each 1,000, so
    that 10,000 parts hold the largest object that S3 takes."""
    return chosen or _FIRST_PART << ((number - 1) // _PARTS_OF_A_SIZE)


class PipeSender(S3Sender):
    """Sends the one upload that stands for a pipe; each byte of `descriptor` is read once."""

    def __init__(
        self,
        s3: S3Settings,
        transfer: TransferSettings,
        descriptor: int,
        acceptance: Acceptance | None = None,
        size: int | None = None,
    ) -> None:
        """`size`: so many bytes have to come. A pipe ends in the same way whether its writer is done or died."""
        super().__init__(s3, transfer)
        self._descriptor = descriptor
        self._acceptance = acceptance
        self._size = size
        self._is_taken = threading.Lock()

    def takes_new(self, upload: NewUpload) -> bool:
        """So that this process holds it from the start: no other one has the pipe."""
        return True

    def takes(self, upload: Upload) -> bool:
        return False

    def send_small(
        self, upload: Upload, journal: Journal, control: Control, on_the_way: Callable[[Cancel], None]
    ) -> Confirmation | None:
        return None

    def is_here(self, upload: Upload) -> bool:
        return False

    def send(self, upload: Upload, journal: Journal, control: Control) -> Confirmation:
        """Raises `TransferError`, or `Stopped` where the upload is another runner's."""
        self._require_here(upload)
        if not self._is_taken.acquire(blocking=False):
            raise PipeEnded("it was read already")
        source = PipeSource(upload.os_path, upload.mtime_ns)
        job = Job(
            source=source,
            bucket=upload.bucket,
            key=upload.key,
            content_type=upload.content_type,
            multipart=None,
            begun_before=False,
            transport=self._transport,
            options=_with_time(self._options.wanted_by(upload), upload),
            journal=journal,
            control=control,
        )
        try:
            decided = resolve_duplicate(job)
            if isinstance(decided, Confirmation):
                return decided
            return self._send(job, source, if_absent=decided.if_absent)
        except Stopped as error:
            _give_up(job)
            if str(error) == "lost":
                raise
            raise PipeEnded(f"it was stopped; {_ONCE}") from error
        except TransferError as error:
            _give_up(job)
            raise TransferError(error.code, f"{error.message}; {_ONCE}", Recovery.PERMANENT) from error
        finally:
            self._transport.keys.release(job)

    def _send(self, job: Job, source: PipeSource, *, if_absent: bool) -> Confirmation:
        settings = job.options.settings
        todo = steps(job.content_type, settings.compress, settings.encrypt_to)
        if todo and not is_encoding(todo, settings.content_encoding):
            job.content_type = CONTENT_TYPES[todo[-1]]
        came = _Coming(self._descriptor, self._acceptance, source.path.rpartition("/")[2], self._size)
        with closing(transformed(came.pieces(job.control), todo, settings.encrypt_to)) as pieces:
            sent = _Stretches(pieces)
            piece = sent.next(part_length(1, job.options.part_size))
            following = sent.next(part_length(2, job.options.part_size)) if piece else b""
            source.hold(0, piece)
            if not following:
                _tell_size(job, source, came)
                return put(job, if_absent=if_absent)
            parts = PartsAsTheyCome(job)
            try:
                self._send_parts(job, source, parts, came, sent, piece, following)
                return parts.complete(if_absent=if_absent)
            finally:
                parts.stop()

    def _send_parts(
        self,
        job: Job,
        source: PipeSource,
        parts: PartsAsTheyCome,
        came: _Coming,
        sent: _Stretches,
        piece: bytes,
        following: bytes,
    ) -> None:
        under_way: deque[tuple[int, int, Future[SentPart]]] = deque()
        number, offset, told_at = 1, 0, time.monotonic()
        while piece:
            if number > MAX_PARTS or offset + len(piece) > MAX_OBJECT_SIZE:
                raise TransferError("EntityTooLarge", "more came than an object may hold: choose a larger part_size")
            source.hold(offset, piece)
            if time.monotonic() >= told_at:
                _tell_size(job, source, came)
                told_at = time.monotonic() + _TELL_SECONDS
            under_way.append((offset, len(piece), parts.send(Part(number, offset, len(piece)))))
            number, offset = number + 1, offset + len(piece)
            length = part_length(number + 1, job.options.part_size)
            while under_way and sum(size for _, size, _ in under_way) + len(following) + length > _HELD_BYTES:
                _wait_for_first(under_way, source, parts)
            piece, following = following, sent.next(length) if following else b""
        while under_way:
            _wait_for_first(under_way, source, parts)
        _tell_size(job, source, came)


class _Coming:
    """What comes, as long as it is accepted; `size` bytes so far, `expected` in all."""

    def __init__(self, descriptor: int, acceptance: Acceptance | None, name: str, expected: int | None) -> None:
        self._descriptor = descriptor
        self._acceptance = acceptance
        self._name = name
        self._expected = expected
        self.size = 0

    def pieces(self, control: Control) -> Iterator[bytes]:
        """Until its end. Raises `TransferError`, or as `control` does."""
        head = bytearray()
        while len(head) < _READ_BYTES and (found := self._read(control)):
            head += found
        if self._acceptance is not None:
            _require_accepted(self._acceptance.refuses_content(self._name, bytes(head)))
        if head:
            yield bytes(head)
        while found := self._read(control):
            yield found
        if self._expected is not None and self.size != self._expected:
            raise PipeEnded(f"it ended after {self.size:,} bytes, and --size says {self._expected:,}")

    def _read(self, control: Control) -> bytes:
        control.check()
        while not select.select([self._descriptor], [], [], _LOOK_SECONDS)[0]:
            control.check()
        try:
            found = os.read(self._descriptor, _READ_BYTES)
        except OSError as error:
            raise TransferError("ReadFailed", f"standard input: {error.strerror}") from None
        self.size += len(found)
        if self._acceptance is not None:
            _require_accepted(self._acceptance.refuses_size(self.size))
        return found


class _Stretches:
    """Pieces of any length, in lengths that are asked for."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._held = bytearray()

    def next(self, length: int) -> bytes:
        """The next bytes, fewer only at the end."""
        while len(self._held) < length and (piece := next(self._pieces, None)) is not None:
            self._held += piece
        found = bytes(memoryview(self._held)[:length])
        del self._held[:length]
        return found


def _tell_size(job: Job, source: PipeSource, came: _Coming) -> None:
    """The record has the size of what came, as of a file."""
    state = source.state
    job.journal.file_changed(FileState(came.size, state.mtime_ns, f"1-{came.size:x}-{state.mtime_ns:x}"))
    if job.options.settings.compress or job.options.settings.encrypt_to:
        job.journal.staged(state.size)


def _require_accepted(reason: str) -> None:
    if reason:
        raise TransferError("NotAccepted", f"it is refused: {reason}")


def _with_time(options: SendOptions, upload: Upload) -> SendOptions:
    """With the time of its beginning, where times are preserved: a pipe has no mode and no owner."""
    if "mtime" not in options.settings.preserve:
        return options
    metadata = {**options.settings.metadata, "mtime": seconds_text(upload.mtime_ns)}
    return replace(options, settings=replace(options.settings, metadata=metadata))


def _wait_for_first(
    under_way: deque[tuple[int, int, Future[SentPart]]], source: PipeSource, parts: PartsAsTheyCome
) -> None:
    offset, _, future = under_way[0]
    parts.wait_for(future)
    under_way.popleft()
    source.drop(offset)


def _give_up(job: Job) -> None:
    """Nobody can go on with the parts."""
    multipart: Multipart | None = job.multipart
    if multipart is not None:
        with suppress(TransferError, Stopped):
            close_multipart(job)
