"""A file that is compressed or encrypted on the way: what is sent of it is made first, in a temporary file.

So it has a length and checksums as any file has, and can be read again for a retry. The temporary file has no name, is
this user's alone, and is gone with the process. Compression gives the same bytes for the same content, so an upload can
be resumed and verified; age takes a new key each time, so neither is possible with it.
"""

from __future__ import annotations

import io
import os
import tempfile
import threading
import zlib
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import IO, TYPE_CHECKING, Any, Final, Protocol, cast

from console.choices import MEBIBYTE
from console.formatting import visible
from console.s3.control import Control
from console.s3.engines.source import SourceFile
from console.s3.transfer_errors import TransferError, classify_file_error

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_PIECE: Final = MEBIBYTE
_ON_DISK: Final = "/var/tmp"  # noqa: S108 - the files there have no name
_GZIP: Final = 16 + zlib.MAX_WBITS
"""For zlib: with a head of gzip, in which no time and no name stands."""
SUFFIXES: Final = {"gzip": ".gz", "zstd": ".zst", "age": ".age"}
CONTENT_TYPES: Final = {"gzip": "application/gzip", "zstd": "application/zstd", "age": "application/octet-stream"}
_COMPRESSED: Final = (
    *("video/", "audio/", "image/jpeg", "image/png", "image/webp", "image/avif", "image/heic", "image/gif"),
    *("application/zip", "application/gzip", "application/zstd", "application/x-xz", "application/x-bzip2"),
    *("application/x-7z-compressed", "application/vnd.rar", "application/epub+zip", "application/vnd.openxmlformats"),
    *("application/vnd.oasis.opendocument", "application/java-archive", "font/woff"),
)
"""What begins so is compressed already, and stays as it is."""


def steps(content_type: str, compress: str | None, encrypt_to: Sequence[str]) -> tuple[str, ...]:
    """What is done to a file of that type, in order: names of `SUFFIXES`."""
    is_wanted = compress in ("gzip", "zstd") and not content_type.startswith(_COMPRESSED)
    return (*((compress,) if is_wanted and compress else ()), *(("age",) if encrypt_to else ()))


def suffixes(todo: Sequence[str], content_encoding: str | None) -> str:
    """What the object's name gets behind it: nothing for a compression that its Content-Encoding tells of."""
    return "".join(SUFFIXES[step] for step in todo if not is_encoding(todo, content_encoding))


def is_encoding(todo: Sequence[str], content_encoding: str | None) -> bool:
    """Whether the object stays what it is for whoever reads it, as its Content-Encoding says how it was compressed."""
    return tuple(todo) == (content_encoding,)


class StagedSource(SourceFile):
    """What is sent of a file. To close it closes that file too."""

    def __init__(self, original: SourceFile, staged: IO[bytes]) -> None:
        self._staged = staged
        super().__init__(original.path, staged.fileno(), os.fstat(staged.fileno()))
        self._original = original
        self.status = original.status

    def check_unchanged(self) -> None:
        self._original.check_unchanged()

    def close(self) -> None:
        self.drop()
        self._original.close()

    def drop(self) -> None:
        """Close what was made, and leave the file open."""
        self._staged.close()


def stage(original: SourceFile, todo: Sequence[str], encrypt_to: Sequence[str], control: Control) -> SourceFile:
    """What is sent of the file: itself, where nothing is to be done.

    Raises:
        TransferError: the library is not installed, a recipient is none, there is no room, or the file changed. The
            file stays open then. Stopped: `control` said so.
    """
    if not todo:
        return original
    folder = _folder()
    try:
        staged: IO[bytes] = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed with the source
    except OSError as error:
        raise classify_file_error(error, folder) from None
    try:
        pieces = _all_compressed(_pieces(original, control), todo)
        if "age" in todo:
            _encrypt(pieces, staged, encrypt_to)
        else:
            for piece in pieces:
                staged.write(piece)
        staged.flush()
        original.check_unchanged()
        return StagedSource(original, staged)
    except OSError as error:
        staged.close()
        raise classify_file_error(error, f"{folder} (for {original.path})") from None
    except BaseException:
        staged.close()
        raise


def _folder() -> str:
    """Where TMPDIR says, else on a disk: /tmp may be memory, and these files may be large."""
    is_chosen = any(os.environ.get(name) for name in ("TMPDIR", "TEMP", "TMP"))
    return _ON_DISK if not is_chosen and os.access(_ON_DISK, os.W_OK) else tempfile.gettempdir()


def _pieces(source: SourceFile, control: Control) -> Iterator[bytes]:
    size, offset = source.state.size, 0
    while offset < size:
        control.check()
        length = min(_PIECE, size - offset)
        yield source.read(offset, length)
        offset += length


def transformed(
    pieces: Iterator[bytes], todo: Sequence[str], encrypt_to: Sequence[str]
) -> Generator[bytes, None, None]:
    """What is made of pieces whose end nobody knows, as they come. To close it ends it. Raises as `stage`, and what the
    pieces raise: what came before is not whole then."""
    pieces = _all_compressed(pieces, todo)
    yield from _encrypted(pieces, encrypt_to) if "age" in todo else pieces


def _all_compressed(pieces: Iterator[bytes], todo: Sequence[str]) -> Iterator[bytes]:
    for step in todo:
        if step != "age":
            pieces = _compressed(pieces, step)
    return pieces


def _encrypted(pieces: Iterator[bytes], recipients: Sequence[str]) -> Iterator[bytes]:
    """age writes into a file as it reads: a thread lets it write into a pipe."""
    read_end, write_end = os.pipe()
    failures: list[Exception] = []

    def encrypt() -> None:
        try:
            with os.fdopen(write_end, "wb") as into:
                _encrypt(pieces, into, recipients)
        except Exception as error:  # noqa: BLE001 - raised where the pieces are taken
            failures.append(error)

    thread = threading.Thread(target=encrypt, name="age", daemon=True)
    with os.fdopen(read_end, "rb") as stream:
        thread.start()
        while piece := stream.read(_PIECE):
            yield piece
    thread.join()
    if failures:
        raise failures[0]


class _Compressor(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...
    def flush(self) -> bytes: ...


def _compressed(pieces: Iterator[bytes], how: str) -> Iterator[bytes]:
    compressor = _compressor(how)
    for piece in pieces:
        yield compressor.compress(piece)
    yield compressor.flush()


def _compressor(how: str) -> _Compressor:
    if how == "gzip":
        return cast(_Compressor, zlib.compressobj(6, zlib.DEFLATED, _GZIP))
    try:
        import zstandard
    except ImportError:
        raise _lacks("zstandard", "compress") from None
    return cast(_Compressor, zstandard.ZstdCompressor(level=3).compressobj())


class _Reader(io.RawIOBase):
    """Pieces, as a file to be read."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._held = b""
        self.failure: Exception | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer)
        try:
            while not self._held:
                self._held = next(self._pieces)
        except StopIteration:
            return 0
        except Exception as error:
            self.failure = error  # the library in between tells less of it
            raise
        length = min(len(view), len(self._held))
        view[:length] = self._held[:length]
        self._held = self._held[length:]
        return length


def _encrypt(pieces: Iterator[bytes], into: IO[bytes], recipients: Sequence[str]) -> None:
    try:
        import pyrage
    except ImportError:
        raise _lacks("pyrage", "encrypt") from None
    reader = _Reader(pieces)
    keys = [_recipient(pyrage, text) for text in recipients]
    try:
        pyrage.encrypt_io(io.BufferedReader(reader, _PIECE), into, keys)
    except Exception as error:  # noqa: BLE001 - it is written in Rust, and raises what it likes
        if reader.failure is not None:
            raise reader.failure from None
        raise TransferError("EncryptionFailed", f"age: {visible(str(error))}") from None


def _recipient(pyrage: Any, text: str) -> Any:
    read: Callable[[str], Any] = (
        pyrage.ssh.Recipient.from_str if text.startswith("ssh-") else pyrage.x25519.Recipient.from_str
    )
    try:
        return read(text)
    except pyrage.RecipientError as error:
        raise TransferError(
            "EncryptionFailed", f"{visible(text)} is no recipient of age: {visible(str(error))}"
        ) from None


def _lacks(package: str, extra: str) -> TransferError:
    return TransferError(
        "EncryptionFailed" if extra == "encrypt" else "CompressionFailed",
        f"{package} is not installed here: pip install 'upload-console[{extra}]'",
    )
