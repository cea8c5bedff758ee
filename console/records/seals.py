"""Seals: what this user's own processes vouch for, among documents that anybody with access to MongoDB may write.

A seal is a keyed hash over the fields that decide which file is read, where it goes and what S3 holds of it. The key
lies in this user's state folder and is read by nobody else; a document carries the seals, never the key. There are
three, each for one question: did one of this user's processes ask for this upload; did one open this multipart upload;
did one see S3 confirm this object. A field that others change breaks the seal, and the document is judged by what it
says (`runner.policy`).

Hosts that are to vouch for each other share the key's file, as they would share an SSH key.
"""

from __future__ import annotations

import hmac
import json
import logging
import os
import secrets
import stat
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Final, Self

import platformdirs

from console.formatting import visible
from console.models import Multipart, Upload
from console.private_files import make_private_folder, naming, open_private

_KEY_BYTES: Final = 32
_OTHERS: Final = 0o077
_FACTS: Final = json.JSONEncoder(sort_keys=True, default=bytes.hex)
_QUOTED: Final = json.encoder.encode_basestring_ascii
_REQUEST: Final = "request"
_MULTIPART: Final = "multipart"
_MADE: Final = "made"
_FOUND: Final = "found"
_MANIFEST: Final = "manifest"

_log = logging.getLogger(__name__)


def key_file() -> Path:
    return platformdirs.user_state_path("upload-console") / "seal.key"


class Seals:
    """Makes and checks seals with one key. Thread-safe.

    The host is in none of them: who shares the key sees to it that a path means the same file (a home folder on NFS).
    """

    def __init__(self, key: bytes) -> None:
        self._keyed = hmac.new(key, digestmod="sha256")
        self.prefix = f"{self._mac('key', [])[:16]}:"
        """What the seals of requests begin with: tells by which key they were made, and gives nothing of it away."""

    @classmethod
    def of_this_user(cls) -> Self:
        """With the key of the state folder, made at its first use. Where that folder cannot be written, a key of this
        process alone: what it seals holds until it ends."""
        return cls(_key_in(key_file()))

    def request(self, upload: Upload) -> str:
        """The seal of what is asked for: this file, as it is, to this place, kept like this."""
        return self.prefix + self._mac(_REQUEST, _request_of(upload))

    def is_own_request(self, upload: Upload) -> bool:
        """Whether one of this user's processes asked for just this upload."""
        return _is_same(upload.seal, lambda: self.request(upload))

    def multipart(self, upload: Upload, multipart: Multipart) -> Multipart:
        """A multipart upload that was just opened under the upload's key, sealed."""
        return multipart.model_copy(update={"seal": self._mac(_MULTIPART, _multipart_of(upload, multipart))})

    def is_own_multipart(self, upload: Upload) -> bool:
        """Whether one of this user's processes opened the upload's multipart upload, for it and under its key."""
        multipart = upload.multipart
        if multipart is None:
            return False
        return _is_same(multipart.seal, lambda: self._mac(_MULTIPART, _multipart_of(upload, multipart)))

    def result(self, upload: Upload, *, was_found: bool) -> str:
        """The seal of what was confirmed: this file, as it was, is this object (`was_found`: it was there before)."""
        seal = self._mac(_FOUND if was_found else _MADE, [*_request_of(upload), *_object_of(upload)])
        return f"{_FOUND if was_found else _MADE}:{seal}"

    def is_own_result(self, upload: Upload) -> bool:
        """Whether one of this user's processes saw S3 confirm the object that the upload names, for this file."""
        return self.made(upload) or _is_same(upload.result_seal, lambda: self.result(upload, was_found=True))

    def made(self, upload: Upload) -> bool:
        """Whether it also made that object, and did not find it there."""
        return _is_same(upload.result_seal, lambda: self.result(upload, was_found=False))

    def manifest(self, digest: str) -> str:
        """The seal of a list of objects, by the digest of its lines: one of this user's processes wrote it."""
        return self.prefix + self._mac(_MANIFEST, [digest])

    def is_own_manifest(self, digest: str, seal: str) -> bool:
        """Whether it is just as one of this user's processes wrote it."""
        return _is_same(seal, lambda: self.manifest(digest))

    def _mac(self, purpose: str, facts: list[object]) -> str:
        # Just as `_FACTS` writes the list, which would make an encoder for each: a third of the time.
        told = ", ".join(map(_as_json, facts))
        text = f"[{_QUOTED(purpose)}, {told}]" if facts else f"[{_QUOTED(purpose)}]"
        # `hmac.digest` gives Python's lock up, for which then a hundred threads wait.
        digest = self._keyed.copy()
        digest.update(text.encode())
        return digest.hexdigest()


def _as_json(fact: object) -> str:
    if fact is None:
        return "null"
    return _QUOTED(fact) if isinstance(fact, str) else _FACTS.encode(fact)


def _is_same(seal: str | None, expected: Callable[[], str]) -> bool:
    return seal is not None and hmac.compare_digest(seal.encode("utf-8", "replace"), expected().encode())


def _request_of(upload: Upload) -> list[object]:
    return [
        str(upload.id),
        (upload.path_bytes if upload.path_bytes is not None else upload.path.encode()).hex(),
        upload.filename,
        str(upload.folder_length),
        str(upload.size),
        str(upload.mtime_ns),
        upload.fingerprint,
        upload.content_type,
        *_place_of(upload),
        upload.duplicates,
        upload.storage.model_dump(exclude_none=True) if upload.storage is not None else None,
        upload.watch.model_dump() if upload.watch is not None else None,
        *([[each.model_dump() for each in upload.hours]] if upload.hours else []),
    ]


def _place_of(upload: Upload) -> list[object]:
    return [upload.endpoint, upload.bucket, upload.key]


def _multipart_of(upload: Upload, multipart: Multipart) -> list[object]:
    return [str(upload.id), *_place_of(upload), multipart.upload_id, str(multipart.part_size)]


def _object_of(upload: Upload) -> list[object]:
    return [upload.etag, upload.version_id, upload.checksum.model_dump() if upload.checksum is not None else None]


@cache
def _key_in(file: Path) -> bytes:
    try:
        return _read_or_make(file)
    except OSError as error:
        reason = f"{visible(str(error.filename))}: {error.strerror}" if error.filename else str(error)
        _log.warning("uploads that are recorded now cannot be told from those of others later: %s", reason)
        return secrets.token_bytes(_KEY_BYTES)


def _read_or_make(file: Path) -> bytes:
    """The key; made whole under another name and linked, so that of several processes that begin at once all have the
    same one."""
    make_private_folder(file.parent)
    for _ in range(2):
        with suppress(FileNotFoundError):
            return _read(file)
        draft = file.with_name(f".{file.name}.{secrets.token_hex(6)}")
        descriptor = open_private(draft, os.O_WRONLY | os.O_EXCL)
        try:
            with naming(file), os.fdopen(descriptor, "wb") as stream:
                stream.write(secrets.token_bytes(_KEY_BYTES))
            with suppress(FileExistsError):
                os.link(draft, file)
        finally:
            draft.unlink()
    return _read(file)


def _read(file: Path) -> bytes:
    """The key, if nobody else can know it.

    Raises:
        OSError: it cannot be read, belongs to somebody else, others may read or write it, or it is no key.
    """
    descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as stream:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & _OTHERS:
            raise PermissionError(f"{file} must be this user's own, with mode 0600")
        key = stream.read(_KEY_BYTES + 1)
    if len(key) != _KEY_BYTES:
        raise OSError(f"{file} must hold {_KEY_BYTES} bytes: remove it, and a new one is made")
    return key
