"""How a transfer is told to stop, and how it tells what it does: the two ports between `send` and its caller.

Owns the protocols; the runner implements them on the records, tests and scripts in a few lines. `Unattended`
is the pair for callers that neither stop a transfer nor keep a record of it.
"""

from __future__ import annotations

import time
from typing import Protocol

from console.models import FileState, Multipart, Upload


class Control(Protocol):
    """Asked between chunks, parts and requests, from several threads."""

    def check(self) -> None:
        """Raises a `Stopped` when the transfer must stop now."""

    def wait(self, seconds: float) -> None:
        """Sleep, but raise at once where `check` would."""


class Journal:
    """Told what happens, and keeps nothing. Methods may block, and may be called from several threads at once."""

    def multipart_opened(self, multipart: Multipart) -> None:
        """A multipart upload is open. Must be durable on return: no part is sent before."""

    def multipart_closed(self) -> None:
        """It was aborted, or found gone; the upload starts again."""

    def completing(self) -> None:
        """All parts are in S3, and the next request makes the object of them. Raises a `Stopped` where somebody else
        has the upload by now."""

    def aborting(self) -> None:
        """The next request drops all parts. Raises a `Stopped` where somebody else has the upload by now."""

    def confirmed(self, total_bytes: int) -> None:
        """Bytes of the file, or of what is sent of it, that S3 has acknowledged so far."""

    def sent(self, byte_count: int) -> None:
        """Bytes handed to the network since the last call; negative where they have to be sent again."""

    def staged(self, size: int) -> None:
        """What is sent of the file has so many bytes, which are those that are acknowledged from now on."""

    def noted(self, code: str, message: str) -> None:
        """Something a person should know that is no end: a retry, a fresh start."""

    def file_changed(self, state: FileState) -> None:
        """The file is another one than recorded; this is what is sent now. Must be durable on return."""

    def key_chosen(self, key: str) -> None:
        """The upload goes to another key than recorded (duplicate policy `new_name`). Must be durable on return."""

    def take_key(self, key: str) -> bool:
        """Whether the key is this upload's until it ends: none of another process or host is at work on it."""
        return True

    def other_file(self, key: str) -> Upload | None:
        """The upload of another file that made the object under the key, where this one may not replace such a one."""
        return None


class Unattended(Journal):
    """A `Control` that never stops and a `Journal` that keeps nothing."""

    def check(self) -> None:
        """Never raises."""

    def wait(self, seconds: float) -> None:
        time.sleep(seconds)
