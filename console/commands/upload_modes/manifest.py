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
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Final, Self, TextIO, cast

from bson import ObjectId
from pydantic import BaseModel, ValidationError
from pymongo.errors import PyMongoError

from console.choices import MEBIBYTE
from console.cli.selection import Selection
from console.commands.verify import VerifyLine, verify_text
from console.errors import UsageError
from console.formatting import count, visible
from console.models import Checksum, Upload, UploadStatus, chosen_folder, path_to_open, read_upload
from console.private_files import naming
from console.records.connection import describe_error
from console.records.database import Records
from console.records.schema import OURS
from console.records.seals import Seals
from console.records.transitions import Filter, at_endpoint
from console.records.uploads import NewUpload, Uploads
from console.s3.checksums import Algorithm
from console.s3.control import Unattended
from console.s3.engines.source import SourceFile
from console.s3.object_listing import ListedObject
from console.s3.operations import StoredObject
from console.s3.transfer_errors import TransferError
from console.settings import Settings
from console.transfer.sender import S3Sender

_VERSION: Final = 1
_SPOOLED_BYTES: Final = 4 * MEBIBYTE
_COMPLETED: Final[Filter] = {"status": UploadStatus.COMPLETED.value}
_UNPROVEN: Final = (
    "{} of the job {} completed without the seal of this user's processes (docs/security.md): not in the manifest\n"
)
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
    encrypted); `checksum` is the object's. `is_identical`: it was there already, as far as a listing told, and no
    upload of the job made it; it has no `id` then."""

    id: str
    path: str
    bucket: str
    key: str
    size: int
    is_transformed: bool = False
    is_identical: bool = False
    checksum: Checksum | None = None
    etag: str | None
    version_id: str | None

    @property
    def destination(self) -> str:
        return f"s3://{self.bucket}/{self.key}"


class ManifestFoot(BaseModel):
    """The last line."""

    sha256: str
    seal: str


class FoundThere:
    """Files whose objects were there already, and so got no record. They lie in a file: there may be very many."""

    def __init__(self) -> None:
        self._file: IO[str] | None = None
        self.number = 0

    def add(self, upload: NewUpload, there: ListedObject) -> None:
        entry = ManifestEntry(
            id="",
            path=upload.path,
            bucket=upload.bucket,
            key=upload.key,
            size=upload.size,
            is_identical=True,
            etag=there.etag,
            version_id=None,
        )
        opened = path_to_open(upload.path, upload.path_bytes)
        below = chosen_folder(upload.path, upload.path_bytes, upload.folder_length)
        if self._file is None:
            spooled = tempfile.SpooledTemporaryFile(_SPOOLED_BYTES, "w+", encoding="utf-8")  # noqa: SIM115
            self._file = cast(IO[str], spooled)
        self._file.write(json.dumps([entry.model_dump(mode="json"), opened, below, upload.fingerprint]) + "\n")
        self.number += 1

    def entries(self) -> Iterator[ManifestEntry]:
        for entry, *_ in self._read():
            yield ManifestEntry.model_validate(entry)

    def files(self) -> Iterator[tuple[str, str | None, str]]:
        """Path, the folder below which no link is followed, and fingerprint of each."""
        for _, path, below, fingerprint in self._read():
            yield path, below, fingerprint

    def _read(self) -> Iterator[list[Any]]:
        if self._file is not None:
            self._file.seek(0)
            yield from map(json.loads, self._file)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


@dataclass(frozen=True, slots=True)
class Proof:
    """What a job leaves behind when it is at its end: files, or None for those that nobody wants. `rules`: only of
    these watches."""

    job: ObjectId
    manifest: Path | None
    sha256sums: Path | None
    rules: Sequence[str] | None = None
    there: FoundThere = field(default_factory=FoundThere)

    @classmethod
    def wanted(
        cls, job: ObjectId, manifest: Path | None, sha256sums: Path | None, rules: Sequence[str] | None = None
    ) -> Self:
        """Before anything is sent it is seen that they can be written. Raises UsageError."""
        return cls(
            job,
            file_of_job(manifest, job, "jsonl", "--manifest") if manifest is not None else None,
            file_of_job(sha256sums, job, "sha256", "--sha256sums") if sha256sums is not None else None,
            rules,
        )

    def found(self, upload: NewUpload, there: ListedObject) -> None:
        """A file whose object is there already: it is proven with what the job sent."""
        if self.manifest is not None or self.sha256sums is not None:
            self.there.add(upload, there)

    def write(self, uploads: Uploads, endpoint: str) -> int:
        """Write them; gives the exit code."""
        wanted: Filter = {"batch": self.job}
        if self.rules is not None:
            wanted["watch.rule"] = {"$in": list(self.rules)}
        try:
            unproven = 0
            if self.manifest is not None:
                unproven = write_manifest(self.manifest, uploads, wanted, str(self.job), endpoint, self.there)
            if unproven:
                sys.stderr.write(_UNPROVEN.format(count(unproven, "record"), "says" if unproven == 1 else "say"))
                return 1
            if self.sha256sums is not None and write_sha256sums(self.sha256sums, uploads, wanted, self.there):
                return 1
        except OSError as error:
            sys.stderr.write(f"{visible(str(error.filename))} could not be written: {error.strerror}\n")
            return 1
        except PyMongoError as error:
            sys.stderr.write(f"The manifest could not be written: {describe_error(error)}\n")
            return 1
        finally:
            self.there.close()
        return 0


def file_of_job(named: Path, job: ObjectId, suffix: str, flag: str) -> Path:
    """The file that is meant: a folder has one for each job. Raises UsageError where this user may not write there."""
    path = named.expanduser()
    path = path / f"{job}.{suffix}" if path.is_dir() else path
    if not os.access(path.absolute().parent, os.W_OK):
        raise UsageError(f"{flag}: {visible(str(path.absolute().parent))} is no folder where this user may write")
    return path


def write_manifest(
    path: Path, uploads: Uploads, wanted: Filter, job: str, endpoint: str, there: FoundThere | None = None
) -> int:
    """Write what is completed of the uploads that are `wanted`, and what was there. All of it, or nothing: it gets its
    name when it is whole. Gives how many records say that they completed, and nothing shows it: anybody may write one,
    and a manifest is this user's word."""
    done = sum(1 for _ in _completed(uploads, wanted))
    told = uploads.collection.count_documents({"$and": [wanted, _COMPLETED]})
    others = uploads.collection.count_documents(wanted) - done
    head = ManifestHead(
        manifest=_VERSION,
        job=job,
        created_at=datetime.now(UTC),
        endpoint=endpoint,
        objects=done + (there.number if there is not None else 0),
        not_completed=others,
    )
    digest = hashlib.sha256()
    with _whole(path) as stream:
        for line in _lines(head, uploads, wanted, there):
            text = json.dumps(line.model_dump(mode="json"))
            digest.update(f"{text}\n".encode())
            stream.write(f"{text}\n")
        foot = ManifestFoot(sha256=digest.hexdigest(), seal=uploads.seals.manifest(digest.hexdigest()))
        stream.write(f"{foot.model_dump_json()}\n")
    return told - done


def _lines(head: ManifestHead, uploads: Uploads, wanted: Filter, there: FoundThere | None) -> Iterator[BaseModel]:
    yield head
    for upload in _completed(uploads, wanted):
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
    if there is not None:
        yield from there.entries()


def _completed(uploads: Uploads, wanted: Filter) -> Iterator[Upload]:
    """Those of which this user's processes asked for the upload, and saw S3 confirm it."""
    for document in uploads.read({"$and": [wanted, _COMPLETED]}, order=[("_id", 1)]):
        upload = read_upload(document)
        if isinstance(upload, Upload) and uploads.seals.is_own_request(upload) and uploads.seals.is_own_result(upload):
            yield upload


def export_manifest(settings: Settings, file: Path, selection: Selection) -> int:
    """Write a manifest of the completed uploads that are selected, whoever asked for them: watches, consoles, jobs.
    Gives the exit code. Raises UsageError."""
    with Records.open(settings.mongodb, sets_up=False) as records, S3Sender(settings.s3, settings.transfer) as sender:
        path = file_of_job(file, ObjectId(), "jsonl", "manifest")
        if missing := selection.missing(records.uploads):
            sys.stderr.writelines(f"  {upload_id}: no such upload\n" for upload_id in missing)
            return 1
        wanted = {"$and": [OURS, at_endpoint(sender.endpoint), selection.filter(records.uploads), _COMPLETED]}
        try:
            unproven = write_manifest(path, records.uploads, wanted, "", sender.endpoint.name)
        except OSError as error:
            raise UsageError(f"{visible(str(error.filename))} could not be written: {error.strerror}") from None
        number = records.uploads.collection.count_documents(wanted) - unproven
    sys.stdout.write(f"{visible(str(path))}: {count(number, 'object')}, sealed by this user.\n")
    if unproven:
        sys.stderr.write(_UNPROVEN.format(count(unproven, "record"), "says" if unproven == 1 else "say"))
    return 1 if unproven else 0


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
        sys.stdout.write(
            f"{count(len(entries), 'object')}{f' of job {head.job}' if head.job else ''}, sealed by this user.\n"
        )
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


def write_sha256sums(path: Path, uploads: Uploads, wanted: Filter, there: FoundThere) -> int:
    """Write a line for each file that was sent, or is there, as `sha256sum` does; gives how many could not be read as
    they were.

    S3's own checksum is taken where it is the SHA-256 of the whole; else the file is read once more.
    """
    left_out = 0

    def line(path: str, digest: str | None) -> str:
        nonlocal left_out
        if digest is not None:
            return sha256sum_line(digest, path)
        left_out += 1
        sys.stderr.write(f"{visible(path)}: it is not there as it was sent: no SHA-256\n")
        return ""

    with _whole(path) as stream:
        for upload in _completed(uploads, wanted):
            stream.write(line(upload.os_path, _sha256_of(upload)))
        for name, below, fingerprint in there.files():
            stream.write(line(name, _sha256_of_file(name, below, fingerprint)))
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
    return _sha256_of_file(upload.os_path, upload.below, upload.fingerprint)


def _sha256_of_file(path: str, below: str | None, fingerprint: str) -> str | None:
    """None where the file is another one by now, or cannot be read."""
    try:
        with SourceFile.open(path, below) as source:
            if source.state.fingerprint != fingerprint:
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
