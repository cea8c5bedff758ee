"""A manifest: what one job put into S3, signed off by the user's key; and checksums in the format of `sha256sum`.

JSON lines: a head, a line for each object, and a foot with the SHA-256 of all lines before it and their seal
(`records.seals`). It is made of the records once the job is at its end, and checked against S3 alone.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Self, TextIO, cast

from bson import ObjectId
from pydantic import BaseModel, ValidationError
from pymongo.errors import PyMongoError

from console.commands.verify import VerifyLine, verify_text
from console.errors import UsageError
from console.formatting import count, visible
from console.models import Checksum, Upload, UploadStatus, read_upload
from console.private_files import naming
from console.records.connection import describe_error
from console.records.seals import Seals
from console.records.uploads import Uploads
from console.s3.checksums import Algorithm
from console.s3.control import Unattended
from console.s3.engines.source import SourceFile
from console.s3.operations import StoredObject
from console.s3.transfer_errors import TransferError
from console.settings import Settings
from console.transfer.sender import S3Sender

_VERSION: Final = 1
_ESCAPED: Final = {"\\": "\\\\", "\n": "\\n", "\r": "\\r"}


class ManifestHead(BaseModel):
    """The first line."""

    manifest: int
    job: str
    created_at: datetime
    endpoint: str
    objects: int
    not_completed: int


class ManifestEntry(BaseModel):
    """One object. `size` in bytes is the file's, which is not the object's where it was transformed (compressed or
    encrypted); `checksum` is the object's."""

    id: str
    path: str
    bucket: str
    key: str
    size: int
    is_transformed: bool = False
    checksum: Checksum | None
    etag: str | None
    version_id: str | None

    @property
    def destination(self) -> str:
        return f"s3://{self.bucket}/{self.key}"


class ManifestFoot(BaseModel):
    """The last line."""

    sha256: str
    seal: str


@dataclass(frozen=True, slots=True)
class Proof:
    """What a job leaves behind when it is at its end: files, or None for those that nobody wants."""

    job: ObjectId
    manifest: Path | None
    sha256sums: Path | None

    @classmethod
    def wanted(cls, job: ObjectId, manifest: Path | None, sha256sums: Path | None) -> Self:
        """Before anything is sent it is seen that they can be written. Raises UsageError."""
        return cls(
            job,
            file_of_job(manifest, job, "jsonl", "--manifest") if manifest is not None else None,
            file_of_job(sha256sums, job, "sha256", "--sha256sums") if sha256sums is not None else None,
        )

    def write(self, uploads: Uploads, endpoint: str) -> int:
        """Write them; gives the exit code."""
        try:
            unproven = 0
            if self.manifest is not None:
                unproven = write_manifest(self.manifest, uploads, self.job, endpoint)
            if unproven:
                says = "says" if unproven == 1 else "say"
                sys.stderr.write(
                    f"{count(unproven, 'record')} of the job {says} completed without the seal of this user's "
                    "processes (docs/security.md): not in the manifest\n"
                )
                return 1
            if self.sha256sums is not None and write_sha256sums(self.sha256sums, uploads, self.job):
                return 1
        except OSError as error:
            sys.stderr.write(f"{visible(str(error.filename))} could not be written: {error.strerror}\n")
            return 1
        except PyMongoError as error:
            sys.stderr.write(f"The manifest could not be written: {describe_error(error)}\n")
            return 1
        return 0


def file_of_job(named: Path, job: ObjectId, suffix: str, flag: str) -> Path:
    """The file that is meant: a folder has one for each job. Raises UsageError where this user may not write there."""
    path = named.expanduser()
    path = path / f"{job}.{suffix}" if path.is_dir() else path
    if not os.access(path.absolute().parent, os.W_OK):
        raise UsageError(f"{flag}: {visible(str(path.absolute().parent))} is no folder where this user may write")
    return path


def write_manifest(path: Path, uploads: Uploads, job: ObjectId, endpoint: str) -> int:
    """Write what the job completed. All of it, or nothing: it gets its name when it is whole. Gives how many records
    say that they completed, and nothing shows it: anybody may write one, and a manifest is this user's word."""
    wanted = {"batch": job}
    done = sum(1 for _ in _completed(uploads, job))
    told = uploads.collection.count_documents({**wanted, "status": UploadStatus.COMPLETED.value})
    others = uploads.collection.count_documents(wanted) - done
    head = ManifestHead(
        manifest=_VERSION,
        job=str(job),
        created_at=datetime.now(UTC),
        endpoint=endpoint,
        objects=done,
        not_completed=others,
    )
    digest = hashlib.sha256()
    with _whole(path) as stream:
        for line in _lines(head, uploads, job):
            text = json.dumps(line.model_dump(mode="json"))
            digest.update(f"{text}\n".encode())
            stream.write(f"{text}\n")
        foot = ManifestFoot(sha256=digest.hexdigest(), seal=uploads.seals.manifest(digest.hexdigest()))
        stream.write(f"{foot.model_dump_json()}\n")
    return told - done


def _lines(head: ManifestHead, uploads: Uploads, job: ObjectId) -> Iterator[BaseModel]:
    yield head
    for upload in _completed(uploads, job):
        yield ManifestEntry(
            id=str(upload.id),
            path=upload.path,
            bucket=upload.bucket,
            key=upload.key,
            size=upload.size,
            is_transformed=upload.is_transformed,
            checksum=upload.checksum,
            etag=upload.etag,
            version_id=upload.version_id,
        )


def _completed(uploads: Uploads, job: ObjectId) -> Iterator[Upload]:
    """Those of which this user's processes asked for the upload, and saw S3 confirm it."""
    wanted = {"batch": job, "status": UploadStatus.COMPLETED.value}
    for document in uploads.read(wanted, order=[("_id", 1)]):
        upload = read_upload(document)
        if isinstance(upload, Upload) and uploads.seals.is_own_request(upload) and uploads.seals.is_own_result(upload):
            yield upload


def read_manifest(path: Path, seals: Seals) -> tuple[ManifestHead, list[ManifestEntry]]:
    """What a manifest says, if it is whole and as this user's process wrote it.

    Raises:
        UsageError: it is none, was changed, or is somebody else's.
    """
    shown = visible(str(path))
    try:
        *lines, last = path.read_text().splitlines(keepends=True)
        head = ManifestHead.model_validate_json(lines[0])
        entries = [ManifestEntry.model_validate_json(line) for line in lines[1:]]
        foot = ManifestFoot.model_validate_json(last)
    except OSError as error:
        raise UsageError(f"--manifest: {shown}: {error.strerror}") from None
    except (ValidationError, ValueError, IndexError):
        raise UsageError(f"--manifest: {shown} is no manifest, or not whole") from None
    digest = hashlib.sha256("".join(lines).encode()).hexdigest()
    if digest != foot.sha256 or len(entries) != head.objects:
        raise UsageError(f"--manifest: {shown} was changed since it was written")
    if not seals.is_own_manifest(digest, foot.seal):
        raise UsageError(
            f"--manifest: {shown} is not sealed by the key of this user",
            advice="Whoever wrote it can check it, and so can whom they gave their seal.key (docs/security.md).",
        )
    return head, entries


def verify_manifest(settings: Settings, path: Path, *, as_json: bool) -> int:
    """Compare what S3 has with a manifest, object by object; no file is read. Returns 0 if all are the same, else 1.

    Raises:
        UsageError: it is no manifest of this user and of this S3 service.
    """
    head, entries = read_manifest(path, Seals.of_this_user())
    all_same = True
    with S3Sender(settings.s3, settings.transfer) as sender:
        if head.endpoint not in sender.endpoint.names:
            raise UsageError(
                f"--manifest: its objects are at {visible(head.endpoint)}, and this works for "
                f"{visible(sender.endpoint.name)}"
            )
        for entry in entries:
            try:
                same, words = _compared(entry, sender.stored(entry.bucket, entry.key, entry.version_id))
            except TransferError as error:
                same, words = None, error.message
            all_same = all_same and same is True
            line = VerifyLine(id=entry.id, path=entry.path, destination=entry.destination, same=same, words=words)
            sys.stdout.write(verify_text(line, as_json=as_json))
    if not as_json:
        sys.stdout.write(f"{count(len(entries), 'object')} of job {head.job}, sealed by this user.\n")
    return 0 if all_same else 1


def _compared(entry: ManifestEntry, stored: StoredObject | None) -> tuple[bool | None, str]:
    if stored is None:
        return False, "it no longer exists"
    if stored.size != entry.size and not entry.is_transformed:
        return False, f"the object has {stored.size} bytes, the manifest says {entry.size}"
    answer, checksum = stored.answer, entry.checksum
    if checksum is not None:
        found = {algorithm.value: value for algorithm, value in answer.checksums.items()}.get(checksum.algorithm)
        if found is not None:
            return found == checksum.value, f"{checksum.algorithm}: {found}, the manifest says {checksum.value}"
    if entry.etag and answer.etag and ("-" in entry.etag) == ("-" in answer.etag):
        return entry.etag == answer.etag, f"ETag: {answer.etag}, the manifest says {entry.etag}"
    return None, "only the size can be compared: S3 tells no checksum of it"


def write_sha256sums(path: Path, uploads: Uploads, job: ObjectId) -> int:
    """Write a line for each file that was sent, as `sha256sum` does; gives how many could not be read as they were.

    S3's own checksum is taken where it is the SHA-256 of the whole; else the file is read once more.
    """
    left_out = 0
    with _whole(path) as stream:
        for upload in _completed(uploads, job):
            digest = _sha256_of(upload)
            if digest is None:
                sys.stderr.write(f"{visible(upload.path)}: it is not there as it was sent: no SHA-256\n")
                left_out += 1
            else:
                stream.write(sha256sum_line(digest, upload.os_path))
    return left_out


def sha256sum_line(digest: str, path: str) -> str:
    """As coreutils writes it: a name with a line break or a backslash is escaped, and the line begins with one."""
    escaped = "".join(_ESCAPED.get(character, character) for character in path)
    return f"{chr(92) if escaped != path else ''}{digest}  {escaped}\n"


def _sha256_of(upload: Upload) -> str | None:
    checksum = upload.checksum
    if (
        checksum is not None
        and not upload.is_transformed
        and checksum.algorithm == Algorithm.SHA256
        and checksum.kind == "FULL_OBJECT"
    ):
        return base64.b64decode(checksum.value).hex()
    try:
        with SourceFile.open(upload.os_path, upload.below) as source:
            if source.state.fingerprint != upload.fingerprint:
                return None
            digests = source.digests(0, source.state.size, (Algorithm.SHA256,), Unattended())
            source.check_unchanged()
    except TransferError:
        return None
    return digests[Algorithm.SHA256].hex()


@contextmanager
def _whole(path: Path) -> Iterator[TextIO]:
    """A text file that appears under its name once all of it is written."""
    folder = path.absolute().parent
    with (
        naming(path),
        tempfile.NamedTemporaryFile(
            "w", dir=folder, delete=False, encoding="utf-8", errors="surrogateescape"
        ) as stream,
    ):
        draft = Path(stream.name)
        try:
            yield cast(TextIO, stream)
            stream.flush()
            draft.replace(path)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
