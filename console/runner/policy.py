"""What a runner may carry out: a document is a request, not an order.

Owns the answer to one document: which files may be read, where they may go, and how they may be kept. What this user's
own processes asked for (`records.seals`) they may have from anywhere. All else must lie inside what this process was
given: folders, destinations, and what its rules say of an object. Pure: no file is touched, so a claim never waits for
a share that hangs; what a path leads to is seen when it is opened (`root_of`).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Self

from console.choices import DuplicatePolicy
from console.formatting import visible
from console.models import Storage, Upload
from console.records.seals import Seals
from console.records.uploads import Gate
from console.settings import S3Settings, Settings
from console.settings.key_template import KeyRefused, KeyTemplate, clean_key, parse_destination
from console.settings.object_rules import HeaderRule
from console.settings.schedule import ScheduleSettings
from console.settings.watch_rules import WatchRule
from console.transfer.intake import on_the_way

_CONTROLS: Final = frozenset(map(chr, (*range(32), 127)))


@dataclass(frozen=True, slots=True)
class Policy:
    """What one runner may do. `roots` are folders or files, absolute; `destinations` buckets with what keys begin with;
    `storages` and `duplicates` what a document may ask for beside nothing, and `headers` what it may ask for beside one
    of the `storages`, field by field: patterns decide which files have which. Where files are to be encrypted
    (`encrypt_to`) none goes out otherwise but by a rule. `schedules` are those of watches, by their titles."""

    roots: tuple[str, ...] = ()
    destinations: tuple[tuple[str, str], ...] = ()
    storages: tuple[Storage, ...] = ()
    headers: tuple[Storage, ...] = ()
    encrypt_to: tuple[str, ...] = ()
    duplicates: tuple[DuplicatePolicy, ...] = ()
    schedules: Mapping[str, ScheduleSettings] = field(default_factory=dict, compare=False)
    seals: Seals = field(default_factory=Seals.of_this_user, compare=False)

    @classmethod
    def of(
        cls, settings: Settings, given: Iterable[str | os.PathLike[str]] = (), rules: Iterable[WatchRule] = ()
    ) -> Self:
        """What settings allow, and what the process was `given`: paths of its command, the folders of its `rules`."""
        rules = tuple(rules)
        s3, transfer = settings.s3, settings.transfer
        named = [parse_destination(url) for url in transfer.destinations]
        destinations = {(bucket, f"{prefix}/" if prefix else "") for bucket, prefix in named}
        if s3.bucket:
            destinations.add((s3.bucket, KeyTemplate.parse(transfer.key_template).beginning(s3.prefix)))
        storages: list[Storage] = []
        if (unruled := on_the_way(s3, None)) is not None:
            storages.append(unruled)
        for rule in rules:
            bucket, prefix = rule.destination or (s3.bucket, s3.prefix)
            template = KeyTemplate.parse(rule.key_template or transfer.key_template)
            destinations.add((bucket, template.beginning(prefix)))
            if (storage := on_the_way(s3, rule.storage)) is not None and storage not in storages:
                storages.append(storage)
        header_rules = [*settings.headers, *(header for rule in rules for header in rule.headers or ())]
        offered = [*(rule.storage for rule in header_rules), *_of_settings(s3, storages, header_rules)]
        headers = tuple(dict.fromkeys(json.dumps(_told(storage), sort_keys=True) for storage in offered))
        roots = {os.path.abspath(path) for path in (*given, *transfer.roots, *(rule.folder for rule in rules))}  # noqa: PTH100
        policies = {transfer.duplicates, *(rule.duplicates for rule in rules if rule.duplicates is not None)}
        return cls(
            tuple(sorted(roots)),
            tuple(sorted(destinations)),
            tuple(storages),
            duplicates=tuple(sorted(policies)),
            encrypt_to=s3.encrypt_to,
            headers=tuple(Storage(**json.loads(text)) for text in headers),
            schedules={rule.title: rule.schedule for rule in rules},
        )

    @property
    def gate(self) -> Gate:
        """The policy as claims ask it. Two of the same name answer alike."""
        told = [self.seals.prefix, os.geteuid(), self.roots, self.destinations, self.duplicates, self.encrypt_to]
        storages = [storage.model_dump() for storage in (*self.storages, *self.headers)]
        text = json.dumps([*told, storages], sort_keys=True)
        return Gate(hashlib.sha256(text.encode()).hexdigest()[:16], self.refuses, self.seals.prefix)

    def refuses(self, upload: Upload) -> str | None:
        """Why a runner may not carry it out; None where it may."""
        if self.seals.is_own_request(upload):
            return None
        if (reason := self.refuses_destination(upload)) is not None:
            return reason
        if self.root_of(upload) is None:
            return (
                f"{visible(upload.path)} was recorded by another user or host, and lies outside the folders that this "
                "runner may read: see transfer.roots"
            )
        is_encrypted = upload.storage is not None and upload.storage.encrypt_to == self.encrypt_to
        if self.encrypt_to and not is_encrypted and upload.storage not in self.storages:
            return "it does not ask for the encryption that s3.encrypt_to says"
        if upload.storage is not None and not self._may_be_kept(upload.storage):
            return "it asks for its object to be kept in a way that no rule of this runner has"
        if upload.duplicates is not None and upload.duplicates not in self.duplicates:
            return f"it asks for duplicates = {upload.duplicates!r}, which this runner is not set to"
        if _CONTROLS & set(upload.content_type):
            return "its content type holds control characters"
        return None

    def _may_be_kept(self, storage: Storage) -> bool:
        """As one of the rules says, with what `[[headers]]` may change of it."""
        told = _told(storage)
        offered = [_told(header) for header in self.headers]
        for base in (*(() if self.encrypt_to else (Storage(),)), *self.storages):
            due = _told(base)
            changed = {name for name in due.keys() | told.keys() if told.get(name) != due.get(name)}
            if all(
                _is_offered(told.get(name), due.get(name), [each.get(name) for each in offered]) for name in changed
            ):
                return True
        return False

    def refuses_destination(self, upload: Upload) -> str | None:
        """Why nothing is to be done to its object; None where the place is one of ours, or this user's own choice."""
        if self.seals.is_own_request(upload):
            return None
        if not _is_clean(upload.key):
            return f"its key {visible(repr(upload.key))} is none that this program makes"
        if any(upload.bucket == bucket and upload.key.startswith(start) for bucket, start in self.destinations):
            return None
        return (
            f"{visible(upload.destination)} was chosen by another user or host, and is no destination of this runner: "
            "see transfer.destinations"
        )

    def prepared(self, upload: Upload, *, is_own: bool) -> Upload:
        """The upload as it may be sent, whatever the document says: a multipart upload that may be another program's is
        not gone on with, and a file that others asked for (not `is_own`) is reached below its root through no link."""
        changed: dict[str, Any] = {}
        if upload.multipart is not None and not self.seals.is_own_multipart(upload):
            changed["multipart"] = None
        if not is_own:
            root = self.root_of(upload) or "/"
            folder = root if root != upload.os_path else os.path.dirname(root)  # noqa: PTH120
            changed["folder_length"] = len(os.fsencode(folder.rstrip("/")))
        return upload.model_copy(update=changed) if changed else upload

    def root_of(self, upload: Upload) -> str | None:
        """The folder or file below which the upload's path lies, as it is written; None where there is none."""
        path = upload.os_path
        if "\0" in path or not path.startswith("/") or path != os.path.normpath(path):
            return None
        inside = [root for root in self.roots if path == root or path.startswith(root.rstrip("/") + "/")]
        return min(inside, key=len, default=None)


def _told(storage: Storage) -> dict[str, Any]:
    return storage.model_dump(exclude_none=True)


def _of_settings(s3: S3Settings, storages: Sequence[Storage], rules: Sequence[HeaderRule]) -> Iterator[Storage]:
    """What `[s3]` says that gets into records with what `[[headers]]` say: see `transfer.intake.KeptAs`."""
    if rules and (s3.metadata or s3.tags):
        yield Storage(metadata=s3.metadata or None, tags=s3.tags or None)
    encodings = {s3.content_encoding, *(rule.content_encoding for rule in rules)}
    for storage in storages:
        if storage.compress and storage.compress in {storage.content_encoding, *encodings}:
            yield Storage(content_encoding=storage.compress)
            yield Storage(content_encoding="")


def _is_offered(told: Any, due: Any, offered: Sequence[Any]) -> bool:
    """Whether what is told in place of what would be due is one of the values that are offered; of metadata and tags
    each one by itself."""
    if not isinstance(told, dict):
        return told is not None and told in offered
    known = [each for each in (due, *offered) if isinstance(each, dict)]
    return set(due or ()) <= set(told) and all(
        any(name in each and each[name] == value for each in known) for name, value in told.items()
    )


def _is_clean(key: str) -> bool:
    try:
        return clean_key(key) == key
    except KeyRefused:
        return False
