"""The file that is sent: what it was when it was added, what it is now, and its bytes.

Owns opening, recognising and reading one regular file. Bytes are read by offset (`pread`), never through `mmap`: a
file that shrinks under a map ends the process with SIGBUS, here it ends the upload with `FileChanged`.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Collection
from typing import Final, Self

from console.files.beneath import open_file
from console.formatting import visible
from console.models import FROM_PIPE, FileState
from console.s3.checksums import Algorithm, Digests, new_digest
from console.s3.control import Control
from console.s3.transfer_errors import TransferError, classify_file_error

_HASHING_CHUNK: Final = 1024 * 1024
_SAMPLED_FROM: Final = 1024 * 1024
"""Files from this size on have their ends in the fingerprint; smaller ones are sent again rather than resumed."""
_SAMPLE: Final = 4096
_NO_SIZE: Final = "its file system does not tell how large it is (as below /proc and /sys), so it cannot be sent whole"


def file_state(path: str, below: str | None = None) -> FileState:
    """The state of a file that is to be uploaded, reached as `SourceFile.open` does.

    Raises:
        TransferError: it is gone, may not be read or is no regular file.
    """
    with SourceFile.open(path, below) as source:
        return source.state


def state_by_status(size: int, mtime_ns: int) -> FileState | None:
    """The state of a file of which only the status is known; None where it takes a look into the file.

    For many small files each system call counts: with several threads at work each may wait for Python's lock. Of one
    that is empty by its status, only reading tells whether it is.
    """
    return FileState(size, mtime_ns, _fingerprint(size, mtime_ns)) if 0 < size < _SAMPLED_FROM else None


class SourceFile:
    """A regular file, open for reading, that must not change. Safe to use from several threads."""

    def __init__(self, path: str, descriptor: int, status: os.stat_result) -> None:
        self.path = path
        self._descriptor = descriptor
        self._identity = (status.st_dev, status.st_ino)
        self._size = status.st_size
        self._mtime_ns = status.st_mtime_ns
        self.status = status
        if not self._size:
            self._check_empty()
        ends = b"" if self._size < _SAMPLED_FROM else self.read(0, _SAMPLE) + self.read(self._size - _SAMPLE, _SAMPLE)
        self.state = FileState(self._size, self._mtime_ns, _fingerprint(self._size, self._mtime_ns, ends))

    @classmethod
    def open(cls, path: str, below: str | None = None) -> Self:
        """Open a path as `open()` takes it. Below the folder `below` no link is followed: see `files.beneath`.

        Raises:
            TransferError: FileNotFound, PermissionDenied, NotARegularFile, ReadFailed, PipeEnded.
        """
        if path.startswith(f"{FROM_PIPE}/"):
            raise TransferError("PipeEnded", f"{visible(path)} came from a pipe, which cannot be read again")
        try:
            descriptor = open_file(path, below)
        except OSError as error:
            raise classify_file_error(error, path) from None
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise TransferError("NotARegularFile", f"{visible(path)} is not a regular file")
            return cls(path, descriptor, status)
        except OSError as error:
            os.close(descriptor)
            raise classify_file_error(error, path) from None
        except BaseException:
            os.close(descriptor)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close it. No thread may be reading it any more: the descriptor could be another file's by then."""
        os.close(self._descriptor)

    def read(self, offset: int, length: int) -> bytes:
        """Exactly `length` bytes from `offset`.

        Raises:
            TransferError: FileChanged where the file has become shorter, ReadFailed.
        """
        data = self._pread(offset, length)
        while len(data) < length:
            more = self._pread(offset + len(data), length - len(data))
            if not more:
                raise self._shrunk(offset + len(data))
            data += more
        return data

    def read_into(self, buffer: memoryview, offset: int) -> None:
        """Fill `buffer` from `offset`. Raises as `read`."""
        filled = 0
        while filled < len(buffer):
            try:
                count = os.preadv(self._descriptor, [buffer[filled:]], offset + filled)
            except OSError as error:
                raise classify_file_error(error, self.path) from None
            if count == 0:
                raise self._shrunk(offset + filled)
            filled += count

    def digests(self, offset: int, length: int, algorithms: Collection[Algorithm], control: Control) -> Digests:
        """Checksums of `length` bytes from `offset`, in one pass."""
        running = {algorithm: new_digest(algorithm) for algorithm in algorithms}
        buffer = memoryview(bytearray(min(_HASHING_CHUNK, length)))
        end = offset + length
        while offset < end and running:
            control.check()
            chunk = buffer[: end - offset]
            self.read_into(chunk, offset)
            for digest in running.values():
                digest.update(chunk)
            offset += len(chunk)
        return {algorithm: digest.digest() for algorithm, digest in running.items()}

    def check_unchanged(self) -> None:
        """Make sure that the open file, and the one under its path, are still what was opened.

        Raises:
            TransferError: FileChanged, FileNotFound, ReadFailed.
        """
        try:
            there = os.stat(self.path)  # noqa: PTH116 - paths stay as the system has them
            is_same = (there.st_dev, there.st_ino) == self._identity
            here = there if is_same else os.fstat(self._descriptor)
        except OSError as error:
            raise classify_file_error(error, self.path) from None
        if here.st_size != self._size:
            raise TransferError(
                "FileChanged", f"{visible(self.path)} had {self._size} bytes when it was opened, now {here.st_size}"
            )
        if here.st_mtime_ns != self._mtime_ns:
            raise TransferError("FileChanged", f"{visible(self.path)} was written to while it was being sent")
        if not is_same:
            raise TransferError("FileChanged", f"{visible(self.path)} was replaced while it was being sent")

    def _check_empty(self) -> None:
        """Files below /proc, and of some other file systems, say that they have 0 bytes and have more."""
        if os.pread(self._descriptor, 1, 0) and os.fstat(self._descriptor).st_size == 0:
            raise TransferError("NotARegularFile", f"{visible(self.path)} has bytes though its size is 0: {_NO_SIZE}")

    def _pread(self, offset: int, length: int) -> bytes:
        try:
            return os.pread(self._descriptor, length, offset)
        except OSError as error:
            raise classify_file_error(error, self.path) from None

    def _shrunk(self, size: int) -> TransferError:
        if os.fstat(self._descriptor).st_size == self._size:
            words = f"{visible(self.path)} ends after {size} of {self._size} bytes: {_NO_SIZE}"
            return TransferError("NotARegularFile", words)
        return TransferError("FileChanged", f"{visible(self.path)} had {self._size} bytes, now ends after {size}")


def _fingerprint(size: int, mtime_ns: int, ends: bytes = b"") -> str:
    fingerprint = f"1-{size:x}-{mtime_ns:x}"
    return f"{fingerprint}-{hashlib.blake2b(ends, digest_size=8).hexdigest()}" if ends else fingerprint
