"""Small files, many on their way at once, each as one request over a connection that is kept.

Owns the case in which nothing is to be decided: a first attempt, a file that is what it was when it was added, no
question about duplicates. Where an answer confirms nothing, what has arrived is looked at over the same connections.
What passes by itself, or teaches something of the server, is handed back: `send` does it with its retries.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from console.error_codes import Recovery
from console.models import Checksum, Upload
from console.records.uploads import NewUpload
from console.s3.checksums import Algorithm, Digests, digest_bytes
from console.s3.confirmation import EtagMismatch, confirm_body, size_alone
from console.s3.control import Control, Journal
from console.s3.engines.engine import ObjectSettings, PutRequest, StoredBody
from console.s3.engines.http_engine import Cancel
from console.s3.engines.source import SourceFile
from console.s3.operations import OWNER
from console.s3.transfer_errors import Stopped, TransferError
from console.transfer.job import Arrived, Confirmation, SendOptions, with_preserved
from console.transfer.send import send
from console.transfer.transport import Transport

LARGEST: Final = 1024 * 1024
"""Files up to this size, in bytes, are small: they are held in memory while they are sent."""

_ELSEWHERE: Final = frozenset(
    {
        *("301", "302", "307", "308", "400", "PermanentRedirect", "TemporaryRedirect"),
        *("AuthorizationHeaderMalformed", "IllegalLocationConstraintException"),
    }
)
"""The bucket is in another region, as it seems: boto3 knows how to follow."""
_TEACHES: Final = frozenset(
    {"NotImplemented", "InvalidArgument", "InvalidRequest", "FileChanged", "CertificateRefused", "NotEncrypted"}
)
"""S3 may not know a header, which `send` leaves out then; the file is another one, which it says; boto3 may trust
whom we do not; or what is there in the clear has to be deleted."""
_ELSEWHERE_SECONDS: Final = 600.0
_LOOK_AGAIN_SECONDS: Final = 0.2


class SmallFiles:
    """Sends small files. Thread-safe."""

    def __init__(self, transport: Transport, options: SendOptions) -> None:
        self._transport = transport
        self._options = options
        self._first = threading.Lock()
        self._has_answered = False
        self._elsewhere: dict[str, float] = {}

    @property
    def at_once(self) -> int:
        """How many may be sent at once now, each by a thread."""
        return self._transport.small.limit

    @property
    def largest(self) -> int | None:
        """The size in bytes up to which files may be tried now, where they replace what is there; None for no file."""
        transport, options = self._transport, self._options
        is_used = transport.http is not None and not transport.bandwidth.bytes_per_second
        if not is_used or options.duplicates != "overwrite":
            return None
        return min(LARGEST, options.multipart_threshold - 1)

    def takes(self, upload: Upload) -> bool:
        """Whether it is small, and may be tried; `send` can still say no."""
        return upload.attempts <= 1 and upload.multipart is None and self.takes_new(upload)

    def takes_new(self, upload: NewUpload | Upload) -> bool:
        """The same of one that has no document yet."""
        return (
            self._transport.http is not None
            and upload.size <= LARGEST
            and upload.size < self._options.multipart_threshold
            and self._options.duplicates_of(upload) == "overwrite"
            and not (upload.storage is not None and upload.storage.transforms)
            and not self._transport.bandwidth.bytes_per_second
            and (not self._elsewhere or time.monotonic() >= self._elsewhere.get(upload.bucket, 0.0))
        )

    def send(
        self, upload: Upload, journal: Journal, control: Control, on_the_way: Callable[[Cancel], None]
    ) -> Confirmation | None:
        """Send one that `takes` it; None where `send.send` has to do it. `on_the_way` gets what breaks it off.

        Raises:
            TransferError: what trying again does not help. Stopped: `control` said so before it was sent.
        """
        small = self._transport.small
        small.acquire(control, upload.size)
        try:
            # What the first answer shows holds for the others: none of them is sent in vain.
            while not self._has_answered:
                if not self._first.acquire(timeout=_LOOK_AGAIN_SECONDS):
                    control.check()
                    continue
                try:
                    if not self._has_answered:
                        return self._send(upload, journal, control, on_the_way)
                finally:
                    self._has_answered = True
                    self._first.release()
            return self._send(upload, journal, control, on_the_way)
        finally:
            small.release(upload.size)

    def _send(
        self, upload: Upload, journal: Journal, control: Control, on_the_way: Callable[[Cancel], None]
    ) -> Confirmation | None:
        server, http = self._transport.server, self._transport.http
        counted = 0
        checksum = None
        try:
            control.check()
            # The same object for all of them where nothing is special about this one: its headers are made once.
            settings, mark = self._options.settings, {OWNER: str(upload.id)}
            if upload.storage is not None or settings.preserve:
                settings = self._options.settings_of(upload)
            found = _read(upload, settings, control)
            if found is None or http is None:
                return None
            content, settings = found
            digests = {algorithm: digest_bytes(algorithm, content) for algorithm in server.algorithms()}
            request = PutRequest(upload.bucket, upload.key, upload.content_type, settings)
            counted = len(content)
            journal.sent(counted)
            answer = self._transport.small.send(lambda: http.put(request, content, digests, on_the_way, mark), counted)
            if server.algorithm in digests:
                server.learn(server.algorithm in answer.checksums)
            checksum = self._confirm(upload, answer, digests, content, on_the_way)
        except Stopped:
            raise
        except TransferError as error:
            if counted:
                journal.sent(-counted)
            self._hand_back(upload, error, journal, control)
            return None
        except Exception:  # noqa: BLE001 - credentials, a certificate: `send` meets it too, and sorts it
            if counted:
                journal.sent(-counted)
            return None
        if checksum is None:  # it arrived, and is not sent again: what S3 shows of it tells
            arrived = Arrived(answer, digests)
            transport, options = self._transport, self._options
            return send(upload, transport=transport, options=options, journal=journal, control=control, arrived=arrived)
        return Confirmation(upload.key, answer.etag, answer.version_id, checksum, counted)

    def _confirm(
        self,
        upload: Upload,
        answer: StoredBody,
        digests: Digests,
        content: bytes,
        on_the_way: Callable[[Cancel], None],
    ) -> Checksum | None:
        """What the answer vouches for, or what S3 shows of the object; None where `send` has to look closer."""
        server, http = self._transport.server, self._transport.http
        with suppress(EtagMismatch):
            if (checksum := confirm_body(server.without_md5(answer), digests)) is not None:
                return checksum
            if Algorithm.MD5 not in digests:
                digests = {**digests, Algorithm.MD5: digest_bytes(Algorithm.MD5, content)}
                if (checksum := confirm_body(server.without_md5(answer), digests)) is not None:
                    return checksum
            with suppress(TransferError):
                stored = http.head(upload.bucket, upload.key, on_the_way) if http is not None else None
                if stored is not None and stored.size == len(content):
                    checksum = confirm_body(server.without_md5(stored.answer), digests)
                    return checksum if checksum is not None or stored.answer.checksums else size_alone(digests)
        return None

    def _hand_back(self, upload: Upload, error: TransferError, journal: Journal, control: Control) -> None:
        """Raises the error where `send` could do no better: to ask again helps nothing, and may lock an account."""
        control.check()  # it may have been broken off
        if error.code == "OutOfResources":
            self._transport.small.ran_short()
        if error.code in _ELSEWHERE:
            self._elsewhere[upload.bucket] = time.monotonic() + _ELSEWHERE_SECONDS
        elif error.recovery is Recovery.RETRY:
            retries = self._options.retry.retries
            if not retries:
                raise error
            journal.noted(error.code, f"{error.message} (attempt 1 of {retries + 1})")
        elif error.code not in _TEACHES:
            raise error


def _read(upload: Upload, settings: ObjectSettings, control: Control) -> tuple[bytes, ObjectSettings] | None:
    """The file's bytes, read as one, and its settings with what they preserve of it; None where it is not the file that
    was added."""
    with SourceFile.open(upload.os_path, upload.below) as source:
        if source.state.fingerprint != upload.fingerprint or source.state.size > LARGEST:
            return None
        content = source.read(0, source.state.size)
        settings = with_preserved(settings, source, control, in_parts=False)
        source.check_unchanged()
    return content, settings
