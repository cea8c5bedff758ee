"""From paths to documents: what is uploaded, under which key, and what is refused.

    from console.transfer.intake import Intake
    intake = Intake(settings.s3, settings.transfer, host="me", source=Source.COMMAND, endpoint=sender.endpoint.name)
    for batch in intake.batches(["photos"]): records.uploads.add(batch)

Owns putting together selection, fingerprint, content type and key. Nothing is sent or written here.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Final

from bson import ObjectId

from console.choices import DuplicatePolicy
from console.errors import ConfigurationError
from console.files.acceptance import Acceptance
from console.files.content_type import content_type
from console.files.file_filter import EVERYTHING, FileFilter
from console.files.patterns import PathPatterns
from console.files.refusals import Refusal
from console.files.walk import Candidate, LeftOut, ListedPath, select
from console.formatting import as_text, visible
from console.models import OpenHours, Source, Storage
from console.records.uploads import NewUpload
from console.s3.engines.source import file_state, state_by_status
from console.s3.engines.staged import is_encoding, steps, suffixes
from console.s3.part_size import MAX_OBJECT_SIZE
from console.s3.transfer_errors import TransferError
from console.settings import S3Settings, TransferSettings
from console.settings.key_template import KeyFacts, KeyRefused, KeyTemplate, clean_key
from console.settings.object_rules import HeaderRule
from console.settings.schedule import ScheduleSettings

_SAME_KEY: Final = (
    "another file of these has its key already ({}): upload it to another destination, or with its folder"
)
BATCH: Final = 500
_FIRST_BATCH: Final = 50
"""Fewer at first, so that sending begins early; the others soon know how the server answered."""


class Intake:
    """Turns paths into uploads. `refusals` grows while batches are taken."""

    def __init__(
        self,
        s3: S3Settings,
        transfer: TransferSettings,
        *,
        host: str,
        source: Source,
        endpoint: str,
        batch: ObjectId | None = None,
        duplicates: DuplicatePolicy | None = None,
        storage: Storage | None = None,
        headers: Sequence[HeaderRule] = (),
        schedule: ScheduleSettings | None = None,
        wanted: FileFilter = EVERYTHING,
        acceptance: Acceptance | None = None,
        left_out: LeftOut = lambda path, words: None,
    ) -> None:
        """`endpoint` is the name of the S3 service whose bucket is meant; `batch` marks the uploads of one command;
        `duplicates` is for this destination, None as the settings of whoever carries them out have it.
        `storage` is how objects are kept where that is not as the settings have it; `headers` change it by pattern.
        The hours of the `schedule` are recorded, and hold whoever carries the uploads out.
        Files that are not `wanted` are told to `left_out`; those that `acceptance` refuses become refusals.

        Raises:
            ConfigurationError: no bucket is set, or the key template is wrong.
        """
        if not s3.bucket:
            raise ConfigurationError("s3.bucket: no bucket is set", advice="Set it in the configuration, or --bucket.")
        self._bucket = s3.bucket
        self._prefix = s3.prefix
        self._template = KeyTemplate.parse(transfer.key_template)
        self._host = host
        self._source = source
        self._endpoint = endpoint
        self._batch = batch
        self._duplicates = duplicates
        self._kept = KeptAs(s3, storage, headers)
        spans = schedule.spans if schedule is not None else None
        self._hours = tuple(OpenHours(start=start, end=end) for start, end in spans) if spans else None
        self._wanted = wanted
        self._acceptance = acceptance
        self._left_out = left_out
        self._policy = duplicates or transfer.duplicates
        self.refusals: list[Refusal] = []

    def batches(self, paths: Iterable[str | ListedPath]) -> Iterator[list[NewUpload]]:
        """Uploads for all files that the paths mean, a few hundred at a time.

        Of files that would get one key the first is taken and the others are refused, also where keys that exist are
        overwritten: else all would be called completed, and one object be there. Under `new_name` each gets its own.
        """
        # What is no list may be long, and is read as it is needed.
        is_apart = isinstance(paths, list | tuple) and self._keeps_apart(paths)
        batch: list[NewUpload] = []
        enough = _FIRST_BATCH
        keys: dict[int, int] | None = None if is_apart else {}
        for found in select(paths, self._wanted, self._left_out):
            taken: NewUpload | Refusal | None = found if isinstance(found, Refusal) else self.take(found, is_fresh=True)
            if isinstance(taken, NewUpload) and keys is not None:
                taken = self._with_its_key(taken, keys)
            if isinstance(taken, Refusal):
                self.refusals.append(taken)
            elif taken is not None:
                batch.append(taken)
            if len(batch) == enough:
                yield batch
                batch, enough = [], min(BATCH, 2 * enough)
        if batch:
            yield batch

    def _with_its_key(self, upload: NewUpload, keys: dict[int, int]) -> NewUpload | Refusal | None:
        """The upload, if it is the first with its key; None where its file was named before. `keys` are those that are
        taken, and by which paths: as hashes, since there may be millions.
        """
        path = hash((upload.path, upload.path_bytes))
        first = keys.get(hash(upload.key))
        if first is None:
            keys[hash(upload.key)] = path
            return upload
        if first == path:
            return None
        if self._policy == "new_name":
            return replace(upload, duplicates="new_name")  # whoever carries it out
        return Refusal(os.fsdecode(upload.path_bytes or upload.path), _SAME_KEY.format(visible(upload.key)))

    def _keeps_apart(self, paths: Sequence[str | ListedPath]) -> bool:
        """Whether no two files below the paths can get one key: then nothing need be remembered of any."""
        if not all(isinstance(path, str) for path in paths):
            return False
        if self._kept.transforms:
            return False  # a.txt becomes a.txt.gz, which may be there too
        names = ["" if path.endswith("/") else os.path.basename(os.path.abspath(path)) for path in map(str, paths)]  # noqa: PTH100, PTH119
        is_apart = len(paths) == 1 or (len(set(names)) == len(names) and "" not in names)
        return is_apart and self._template.keeps_paths_apart

    def take(self, candidate: Candidate, *, is_fresh: bool = False) -> NewUpload | Refusal:
        """The upload of one file, or why there is none. What was found a moment ago (`is_fresh`) is not looked at again
        where its status tells all."""
        try:
            known = state_by_status(candidate.size, candidate.mtime_ns) if is_fresh else None
            state = known or file_state(candidate.path, candidate.below)
            key = self._template.key(
                KeyFacts(candidate.relative_path, state.size, state.mtime_ns, self._host, self._prefix)
            )
            kind = self._kept.content_type(candidate.relative_path) or content_type(candidate.path, candidate.below)
            storage, suffix = self._kept.storage(candidate.relative_path, kind)
            key = clean_key(key + suffix) if suffix else key
        except (TransferError, KeyRefused) as error:
            return Refusal(candidate.path, error.message)
        if state.size > MAX_OBJECT_SIZE:
            return Refusal(candidate.path, f"larger than S3 takes ({MAX_OBJECT_SIZE:,} bytes)")
        if self._acceptance is not None:
            reason = self._acceptance.refuses(candidate.path, state.size, candidate.below)
            if reason:
                return Refusal(candidate.path, reason)
        raw = os.fsencode(candidate.path)
        is_utf8 = candidate.path.isascii() or not any("\udc80" <= letter <= "\udcff" for letter in candidate.path)
        return NewUpload(
            filename=as_text(os.path.basename(candidate.path)),  # noqa: PTH119
            path=as_text(candidate.path),
            path_bytes=None if is_utf8 else raw,
            host=self._host,
            size=state.size,
            mtime_ns=state.mtime_ns,
            fingerprint=state.fingerprint,
            content_type=kind,
            bucket=self._bucket,
            key=key,
            source=self._source,
            batch=self._batch,
            duplicates=self._duplicates,
            storage=storage,
            endpoint=self._endpoint,
            hours=self._hours,
            folder_length=None if candidate.below is None else len(os.fsencode(candidate.below.rstrip("/"))),
        )


class KeptAs:
    """How the objects of files are kept: as flags or a watch ask for it (`storage`), changed by pattern (`headers`)."""

    def __init__(self, s3: S3Settings, storage: Storage | None, headers: Sequence[HeaderRule] = ()) -> None:
        self._s3 = s3
        self._storage = on_the_way(s3, storage)
        self._headers = [
            (rule, PathPatterns(rule.pattern, (), ignores_temporary=False)) for rule in headers if rule.pattern
        ]

    @property
    def transforms(self) -> bool:
        return self._storage is not None and self._storage.transforms

    def content_type(self, relative: str) -> str | None:
        """What the last rule says that says anything of it."""
        told = [rule.content_type for rule in self._matching(relative) if rule.content_type is not None]
        return told[-1] if told else None

    def storage(self, relative: str, kind: str) -> tuple[Storage | None, str]:
        """How the object of a file of this type is kept, where that is not as the settings have it, and what its name
        gets behind it. What the last rule says of anything counts; metadata and tags are told one by one."""
        storage = self._storage
        for rule in self._matching(relative):
            told = rule.storage.model_dump(exclude_none=True)
            for name in told.keys() & {"metadata", "tags"}:
                before = getattr(storage, name, None)
                told[name] = {**(getattr(self._s3, name) if before is None else before), **told[name]}
            if told:
                storage = (storage or Storage()).model_copy(update=told)
        if storage is None or not storage.transforms:
            return storage, ""
        encoding = storage.content_encoding or self._s3.content_encoding
        todo = steps(kind, storage.compress, storage.encrypt_to or ())
        if encoding and encoding == storage.compress:  # recorded with the rest, and not where the object has none
            encoding = encoding if is_encoding(todo, encoding) else ""
            storage = storage.model_copy(update={"content_encoding": encoding})
        return storage, suffixes(todo, encoding)

    def _matching(self, relative: str) -> Iterator[HeaderRule]:
        for rule, patterns in self._headers:
            if not patterns.leaves_out(relative, is_folder=False):
                yield rule


def on_the_way(s3: S3Settings, storage: Storage | None) -> Storage | None:
    """With what the settings have done to files on their way. It is recorded, as their keys depend on it."""
    told = {"compress": s3.compress if s3.compress != "none" else None, "encrypt_to": s3.encrypt_to or None}
    own = storage.model_dump(exclude_none=True) if storage is not None else {}
    known = {name: value for name, value in {**told, **own}.items() if value is not None}
    if known.get("compress") == "none":
        del known["compress"]
    if not known.get("encrypt_to", True):
        del known["encrypt_to"]
    return Storage(**known) if known else None
