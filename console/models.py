"""What the rest of the program passes around about an upload: the document of `uploads` and its parts.

Owns the field names, their types and the two vocabularies `status` and `requested` (design, rule 2).
Not here: how documents are written (`records`), what a change event is (`events`).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, Final, Self

from bson import ObjectId
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    InstanceOf,
    Strict,
    ValidationError,
    create_model,
    model_validator,
)

from console.bson_decoding import malformed_path
from console.choices import DuplicatePolicy
from console.formatting import as_text

NOT_ALLOWED: Final = "NotAllowed"
"""The `error.code` of an upload that a runner left for one that may carry it out."""
_CODES: Final = ("utf-8", "ascii")


class UploadStatus(StrEnum):
    """What is so. Written only by the runner that holds the lease, or by whoever acts where nobody does."""

    PENDING = "pending"
    UPLOADING = "uploading"
    PAUSED = "paused"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_terminal(self) -> bool:
        """Nothing more happens to the upload unless somebody asks for a retry."""
        return self in TERMINAL


TERMINAL = frozenset({UploadStatus.COMPLETED, UploadStatus.FAILED, UploadStatus.CANCELLED})


class Requested(StrEnum):
    """What somebody wants. Anybody may write it, from any host."""

    RUN = "run"
    PAUSE = "pause"
    CANCEL = "cancel"


class Source(StrEnum):
    """Who asked for the upload."""

    BROWSER = "browser"
    WATCH = "watch"
    COMMAND = "command"


def _in_utc(moment: datetime) -> datetime:
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _no_text(value: Any) -> Any:
    if isinstance(value, (str, bytes, bool)):
        raise ValueError("Input should be a number")
    return value


# The types of BSON are taken as they are: a text of 400 digits is no size, `true` is not 1. Others may have written a
# moment without a zone, or numbers that no arithmetic survives. What is a double by way of mongosh is a whole number.
Text = Annotated[str, Strict()]
Moment = Annotated[datetime, Strict(), AfterValidator(_in_utc)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Count = Annotated[int, Field(strict=True, ge=0, le=2**63 - 1)]
Whole = Annotated[int, BeforeValidator(_no_text), Field(ge=-(2**63), le=2**63 - 1)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Multipart(_Part):
    """The multipart upload that is open for this upload. `part_size` in bytes. `seal`: see `records.seals`."""

    upload_id: Text
    part_size: int = Field(strict=True, gt=0, le=2**63 - 1)
    seal: Text | None = None


class Failure(_Part):
    """The last failure, until the upload completes. `code` is S3's where S3 gave one."""

    code: Text
    message: Text
    at: Moment


class Checksum(_Part):
    """The checksum of the object, and what S3 vouched for.

    `algorithm` is one of CRC64NVME, CRC32C, CRC32, SHA256, MD5; `value` is base64 of the big-endian digest as in
    the `x-amz-checksum-*` headers (hexadecimal for MD5, as in an ETag); `kind` is FULL_OBJECT or COMPOSITE;
    `confirmed` says what the server returned: `checksum` (this value), `etag` (MD5 of the body), `parts` (a checksum or
    MD5 of each part, and nothing of the whole but perhaps its size), `content` (the bytes themselves, read once) or
    `size` (nothing else that could be compared: the value was computed from the file alone).
    """

    algorithm: Text
    value: Text
    kind: Text = "FULL_OBJECT"
    confirmed: Text = "checksum"

    @property
    def is_confirmed(self) -> bool:
        """Whether S3 returned what only these bytes give."""
        return self.confirmed in ("checksum", "etag", "parts", "content")


class Lease(_Part):
    """Which runner works on the upload, and until when (server time) nobody else may."""

    runner: Text
    expires_at: Moment


class Watched(_Part):
    """Which watch asked for the upload. `scope` is the host, or what several hosts call a folder that they share.

    `digest` stands for the file as it was found; it is unique, so that of several watchers only one adds it. `ctime_ns`
    tells the file that was found from one that looks like it; `found_as` is the path from which the watch has moved it.
    """

    rule: Text
    scope: Text
    digest: Text
    ctime_ns: Whole | None = None
    found_as: Annotated[bytes, Strict()] | None = None


class Actor(_Part):
    """Who asked for something: user and process (its number) on a host; `sudo_user` is who became that user by sudo."""

    user: Text
    host: Text
    process: Whole
    sudo_user: Text | None = None

    def __str__(self) -> str:
        by = f" (sudo by {self.sudo_user})" if self.sudo_user else ""
        return f"{self.user}{by} on {self.host}, process {self.process}"


class OpenHours(_Part):
    """Minutes since midnight; at `end` they are over."""

    start: Count
    end: Count


def are_open(hours: Sequence[OpenHours] | None, minute: int) -> bool:
    """Whether an upload that has these may be carried out at this minute of the day."""
    return not hours or any(each.start <= minute < each.end for each in hours)


def clock_times(hours: Sequence[OpenHours]) -> tuple[str, str]:
    """When they begin and end, as a clock shows it."""
    start, end = hours[0].start, hours[-1].end
    return f"{start // 60:02}:{start % 60:02}", f"{end // 60:02}:{end % 60:02}"


ACCESS: Final = ("sse_customer_key_file", "requester_pays", "expected_bucket_owner")


class Storage(_Part):
    """How the object is kept, where that is not as the settings have it. Names and values as S3 has them; `preserve`
    names what of the file itself goes into its metadata; `compress` and `encrypt_to` (recipients of age) say what is
    done to it on the way; the names of `ACCESS` what every request for it says."""

    storage_class: Text | None = None
    server_side_encryption: Text | None = None
    kms_key_id: Text | None = None
    kms_context: dict[Text, Text] | None = None
    metadata: dict[Text, Text] | None = None
    tags: dict[Text, Text] | None = None
    cache_control: Text | None = None
    content_disposition: Text | None = None
    content_encoding: Text | None = None
    content_language: Text | None = None
    acl: Text | None = None
    object_lock_mode: Text | None = None
    object_lock_days: Count | None = None
    legal_hold: Annotated[bool, Strict()] | None = None
    preserve: tuple[Text, ...] | None = None
    compress: Text | None = None
    encrypt_to: tuple[Text, ...] | None = None
    sse_customer_key_file: Text | None = None
    requester_pays: Annotated[bool, Strict()] | None = None
    expected_bucket_owner: Text | None = None

    @property
    def transforms(self) -> bool:
        """Whether the object holds other bytes than the file: compressed, or encrypted, ones."""
        return bool(self.compress or self.encrypt_to)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The S3 service that this process works for, by the names under which records know it.

    The first one is written into new records: its normalised address, unless people gave it another name.
    """

    names: tuple[str, ...]

    @property
    def name(self) -> str:
        """What new records call it."""
        return self.names[0]

    def holds(self, upload: Upload) -> bool:
        """Whether the upload's object belongs there. Older versions knew one service, and named none."""
        return upload.endpoint is None or upload.endpoint in self.names


FROM_PIPE: Final = "/dev/stdin"
"""Below it stand the names of what came from pipes: no file has such a path, so nobody opens one for it."""


def path_to_open(path: str, path_bytes: bytes | None) -> str:
    """The path as `open()` takes it: `path_bytes` where its name is no UTF-8."""
    return os.fsdecode(path_bytes) if path_bytes is not None else path


def chosen_folder(path: str, path_bytes: bytes | None, length: int | None) -> str | None:
    """The folder that was chosen, below which no link is followed; None where the file itself was chosen.

    `length` is how many bytes of the path it has. One that is wrong gives the root folder.
    """
    if length is None:
        return None
    whole = path_bytes if path_bytes is not None else os.fsencode(path)
    length = max(length, 0)
    return os.fsdecode(whole[:length]) if whole[length : length + 1] == b"/" and length else "/"


class Upload(BaseModel):
    """One document of the collection. Sizes in bytes, `rate` in bytes per second, times in UTC.

    `current` is what S3 has confirmed; `sent` also what is on its way, and None where a runner has claimed the upload
    and not begun to send it.
    `batch` is the job that it belongs to: what one command, one `u` or one find of a watch added together.
    `hours` are those at which alone it may be carried out, by the clock of whoever does.
    `key_claim` is the key that is this upload's while it is being sent (`runner.key_claims`).
    `seal` and `result_seal` are what a user's own processes vouch for (`records.seals`); `refused_by` are runners, by
    what they may do, that may not carry it out (`runner.policy`): it waits for another one.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    id: Annotated[InstanceOf[ObjectId], Field(alias="_id")]
    filename: Text
    path: Text
    path_bytes: Annotated[bytes, Strict()] | None = None
    folder_length: Count | None = None
    host: Text
    size: Count
    mtime_ns: Whole
    fingerprint: Text
    content_type: Text
    endpoint: Text | None = None
    bucket: Text
    key: Text
    source: Source
    batch: InstanceOf[ObjectId] | None = None
    status: UploadStatus
    requested: Requested
    priority: Whole = 0
    current: Count = 0
    percentage: Number = 0.0
    rate: Number = 0.0
    sent: Count | None = 0
    multipart: Multipart | None = None
    attempts: Count = 0
    error: Failure | None = None
    checksum: Checksum | None = None
    etag: Text | None = None
    version_id: Text | None = None
    lease: Lease | None = None
    key_claim: Any = None
    watch: Watched | None = None
    storage: Storage | None = None
    duplicates: DuplicatePolicy | None = None
    hours: tuple[OpenHours, ...] | None = None
    created_by: Actor | None = None
    requested_by: Actor | None = None
    seal: Text | None = None
    result_seal: Text | None = None
    refused_by: tuple[Text, ...] = ()
    created_at: Moment
    started_at: Moment | None = None
    updated_at: Moment
    finished_at: Moment | None = None

    @model_validator(mode="after")
    def _shows_its_path(self) -> Self:
        """People decide by the path that they see: it must be the one that is read."""
        raw = self.path_bytes
        # As it reads where names are UTF-8, and where a locale knows ASCII alone.
        if raw is not None and self.path not in {as_text(raw.decode(code, "surrogateescape")) for code in _CODES}:
            raise ValueError("path is not what path_bytes says")
        return self

    @property
    def os_path(self) -> str:
        """The path as `open()` takes it, also where the name is no UTF-8."""
        return path_to_open(self.path, self.path_bytes)

    @property
    def below(self) -> str | None:
        """As `chosen_folder`."""
        return chosen_folder(self.path, self.path_bytes, self.folder_length)

    @property
    def is_from_pipe(self) -> bool:
        """Whether it came from a pipe: there is no file of it."""
        return self.path.startswith(f"{FROM_PIPE}/")

    @property
    def is_transformed(self) -> bool:
        """As `Storage.transforms`."""
        return self.storage is not None and self.storage.transforms

    @property
    def is_left(self) -> bool:
        """Whether a runner that looked at it may not have it, and none has taken it since."""
        return bool(self.refused_by) and self.error is not None and self.error.code == NOT_ALLOWED

    @property
    def destination(self) -> str:
        """`s3://bucket/key`."""
        return f"s3://{self.bucket}/{self.key}"

    @property
    def seconds_left(self) -> float | None:
        """Time to the end at the current rate, or None where nothing moves."""
        return (self.size - self.under_way) / self.rate if self.rate > 0 else None

    @property
    def is_queued(self) -> bool:
        """A runner holds it, and nothing of it is being sent yet."""
        return self.status is UploadStatus.UPLOADING and self.sent is None

    @property
    def under_way(self) -> int:
        """Bytes in S3 or on their way there."""
        if self.status is not UploadStatus.UPLOADING:
            return self.current
        return min(self.size, max(self.current, self.sent or 0))

    @property
    def under_way_percentage(self) -> float:
        """The same in percent; 100 only when S3 has said so."""
        if self.status is not UploadStatus.UPLOADING or not self.size:
            return self.percentage
        return max(self.percentage, min(99.9, 100 * self.under_way / self.size))


# Nobody changes the path: it would have to be looked at together with its bytes.
_CHANGING: Final[dict[str, Any]] = {
    name: (known.rebuild_annotation(), None)
    for name, known in Upload.model_fields.items()
    if name not in ("id", "path", "path_bytes")
}
_UploadChange: Any = create_model("UploadChange", __config__=ConfigDict(extra="forbid"), **_CHANGING)
"""`updatedFields` of an update event, as far as fields of `Upload` are set whole."""


@dataclass(frozen=True, slots=True, eq=False)
class UnreadableUpload:
    """A document of the collection that is not one of ours, with what is wrong about it.

    Two of them are the same only if they are one: to Python 1 equals true, and NaN does not equal itself.
    """

    id: Any
    problem: str
    document: Mapping[str, Any]


def stored_ns(moment: int) -> int:
    """Nanoseconds since the epoch as BSON holds them, the nearest 64-bit number: some files are of the year 33658."""
    return max(-(2**63), min(moment, 2**63 - 1))


def read_upload(document: Mapping[str, Any]) -> Upload | UnreadableUpload:
    """Read a document; what somebody else wrote wrongly becomes a value that says so, never an exception."""
    try:
        return Upload.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        field = ".".join(str(step) for step in first["loc"]) or "document"
        malformed = malformed_path(document)
        problem = f"{field}: {first['msg']}" if malformed is None else f"{malformed}: no valid BSON"
        return UnreadableUpload(document.get("_id"), problem, document)


def changed_upload(upload: Upload, updated_fields: Mapping[str, Any]) -> Upload | None:
    """The upload behind an update event; None where that takes a look at the document.

    It does where parts of fields changed (`error.at`; but nobody asks how long a lease has been renewed), where a value
    is not ours, and where the upload is already known as it was later.
    """
    fields = {name: value for name, value in updated_fields.items() if not name.startswith("lease.")}
    try:
        change: Any = _UploadChange.model_validate(fields)
    except ValidationError:
        return None
    if change.updated_at is not None and change.updated_at < upload.updated_at:
        return None
    return upload.model_copy(update={name: getattr(change, name) for name in change.model_fields_set})


@dataclass(frozen=True, slots=True)
class FileState:
    """Size in bytes, modification time in nanoseconds since the epoch, and what tells the file from another one.

    The fingerprint is made of size, modification time and, from 1 MiB on, a hash of the first and last 4 KiB. Inode
    and device are left out: several hosts that see the same file over NFS, or one host after a remount, must come to
    the same value. What it cannot see, the checksums of the parts do when an upload is resumed.
    """

    size: int
    mtime_ns: int
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """Whether object and file are the same: None where the object has nothing to compare but its size."""

    same: bool | None
    message: str
    checksum: Checksum | None = None


@dataclass(frozen=True, slots=True)
class OpenMultipart:
    """A multipart upload that was neither completed nor aborted. `initiated_at` in UTC.

    `stored_bytes` is what its parts hold; None where nobody asked or S3 would not say.
    """

    key: str
    upload_id: str
    initiated_at: datetime
    stored_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class ObjectVersion:
    """One version of an object, or the mark that it was deleted then. Sizes in bytes, times in UTC."""

    version_id: str
    size: int
    modified_at: datetime | None
    is_latest: bool
    is_deleted: bool = False


@dataclass(frozen=True, slots=True)
class ObjectFacts:
    """What S3 says of an object. `owner` is the id of the upload that made it, if it says so; `headers` are named for
    people; `versions` newest first, none where the bucket keeps none or `versions_problem` says why not."""

    exists: bool
    size: int = 0
    etag: str = ""
    version_id: str = ""
    modified_at: datetime | None = None
    owner: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    versions: tuple[ObjectVersion, ...] = ()
    versions_problem: str = ""


@dataclass(frozen=True, slots=True)
class BucketEntry:
    """An object in a bucket, or a prefix that several share."""

    key: str
    is_prefix: bool = False
    size: int = 0
    modified_at: datetime | None = None
    etag: str = ""
    storage_class: str = ""


@dataclass(frozen=True, slots=True)
class BucketPage:
    """What lies directly under a prefix; `more` is the place behind it where there is more."""

    bucket: str
    prefix: str
    entries: tuple[BucketEntry, ...]
    more: str = ""
