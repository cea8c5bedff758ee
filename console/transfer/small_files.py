"""Small files, many on their way at once, without a thread for each.

Owns the case in which nothing is to be decided: a first attempt, a file that is what it was when it was added, no
question about duplicates, a server whose checksums are known. Whatever else comes up is handed back, and `send` does it
from the beginning, with its retries.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

from console.models import Upload
from console.records.uploads import NewUpload
from console.s3.checksums import digest_bytes
from console.s3.confirmation import confirm_body
from console.s3.control import Control, Journal
from console.s3.engines.engine import PipeliningEngine, PutRequest, StoredBody
from console.s3.engines.source import SourceFile
from console.s3.transfer_errors import TransferError
from console.transfer.job import Confirmation, SendOptions
from console.transfer.transport import Transport

LARGEST: Final = 256 * 1024
"""Files up to this size, in bytes, are small."""
_MOST_AT_ONCE: Final = 64
_LOOK_AGAIN_SECONDS: Final = 0.2

Ended = Callable[[Confirmation | None], None]
Cancel = Callable[[], None]


class SmallFiles:
    """Begins to send small files. Thread-safe."""

    def __init__(self, transport: Transport, options: SendOptions) -> None:
        self._engine = transport.engine if isinstance(transport.engine, PipeliningEngine) else None
        self._server = transport.server
        self._options = options
        self._changed = threading.Condition()
        self._under_way = 0

    def takes(self, upload: Upload) -> bool:
        """Whether it is small, and may be tried; `begin` can still say no."""
        return upload.attempts <= 1 and upload.multipart is None and self.takes_new(upload)

    def takes_new(self, upload: NewUpload | Upload) -> bool:
        """The same of one that has no document yet."""
        return (
            self._engine is not None
            and upload.size <= LARGEST
            and upload.size < self._options.multipart_threshold
            and self._options.wanted_by(upload).duplicates == "overwrite"
            and self._server.returns_checksums is not None
            and self._server.confirms_bodies
            and _takes_at_once(self._engine, upload.bucket)
        )

    def begin(self, upload: Upload, journal: Journal, control: Control, ended: Ended) -> Cancel | None:
        """Begin to send one that `takes` it, waiting for a place; gives what cancels it, or None: nothing was begun.

        `ended` is called once, perhaps before this returns, on a thread of the engine: with what S3 confirmed, or with
        None where `send` has to do it.

        Raises:
            Stopped: `control` said so while it waited for a place.
        """
        if self._engine is None:
            return None
        try:
            content = _read(upload)
        except TransferError:
            return None
        if content is None:
            return None
        digests = {algorithm: digest_bytes(algorithm, content) for algorithm in self._server.algorithms()}
        settings = self._options.wanted_by(upload).settings
        request = PutRequest(upload.bucket, upload.key, upload.content_type, settings)

        def finished(answer: StoredBody | BaseException) -> None:
            confirmation = None
            if isinstance(answer, StoredBody):
                try:
                    checksum = confirm_body(self._server.without_md5(answer), digests)
                    if checksum is None:  # the next ones go where an object is looked at, and are not sent twice
                        self._server.learn_confirmation(by_answer=False)
                except TransferError:
                    checksum = None
                if checksum is not None:
                    confirmation = Confirmation(upload.key, answer.etag, answer.version_id, checksum, len(content))
            if confirmation is None:
                journal.sent(-len(content))
            self._leave()
            ended(confirmation)

        self._enter(control)
        try:
            journal.sent(len(content))
            return self._engine.begin_put(request, content, digests, finished)
        except Exception:  # noqa: BLE001 - whatever it is, `send` meets it too and sorts it
            journal.sent(-len(content))
            self._leave()
            return None

    def _enter(self, control: Control) -> None:
        with self._changed:
            while self._under_way >= _MOST_AT_ONCE:
                control.check()
                self._changed.wait(_LOOK_AGAIN_SECONDS)
            control.check()
            self._under_way += 1

    def _leave(self) -> None:
        with self._changed:
            self._under_way -= 1
            self._changed.notify()


def _takes_at_once(engine: PipeliningEngine, bucket: str) -> bool:
    try:
        return engine.takes_at_once(bucket)
    except Exception:  # noqa: BLE001 - a certificate, or credentials that ran out: `send` meets it too and sorts it
        return False


def _read(upload: Upload) -> bytes | None:
    """The file's bytes, read as one; None where it is not the file that was added."""
    with SourceFile.open(upload.os_path, upload.below) as source:
        if source.state.fingerprint != upload.fingerprint:
            return None
        content = source.read(0, source.state.size)
        source.check_unchanged()
    return content
