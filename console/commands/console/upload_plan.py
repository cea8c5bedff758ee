"""What uploading some paths would come to, before anything is written: how many files and bytes, under which keys, what
of it is refused, and which keys are in the bucket already.

The files are counted first; then S3 is asked in the order of the keys, which takes the fewest requests.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from bson import ObjectId

from console.choices import DuplicatePolicy
from console.errors import ConsoleError
from console.files.acceptance import Acceptance
from console.files.file_filter import FileFilter
from console.models import Source, Storage
from console.s3.object_listing import ObjectListing
from console.s3.transfer_errors import TransferError
from console.settings import Settings
from console.transfer.intake import BATCH, Intake
from console.ui.backend import UploadChoices, UploadPlan

MOST_LOOKED_FOR: Final = 100_000
_TOLD_SECONDS: Final = 0.2
_SHOWN: Final = 5
_S3S_OWN_CLASS: Final = "STANDARD"


class _Ended(Exception):
    """Nobody wants to know any more."""


def usual_choices(settings: Settings) -> UploadChoices:
    """Where the settings have uploads go."""
    s3 = settings.s3
    return UploadChoices(
        s3.bucket, s3.prefix.strip("/"), settings.transfer.duplicates, s3.storage_class or "", dict(s3.metadata)
    )


def intake_for(
    settings: Settings, choices: UploadChoices | None, *, host: str, endpoint: str, batch: ObjectId | None = None
) -> Intake:
    """The intake of the console; what is chosen as the settings have it is not written into records.

    Raises:
        ConfigurationError: no bucket is set.
    """
    s3 = settings.s3
    duplicates, storage = None, None
    if choices is not None:
        s3 = s3.model_copy(update={"bucket": choices.bucket, "prefix": choices.prefix})
        duplicates, storage = _chosen(choices, usual_choices(settings))
    return Intake(
        s3,
        settings.transfer,
        host=host,
        source=Source.BROWSER,
        endpoint=endpoint,
        duplicates=duplicates,
        storage=storage,
        headers=settings.headers,
        schedule=settings.schedule,
        wanted=FileFilter(settings.select),
        acceptance=Acceptance(settings.accept),
        batch=batch,
    )


def _chosen(choices: UploadChoices, usual: UploadChoices) -> tuple[DuplicatePolicy | None, Storage | None]:
    told: dict[str, Any] = {}
    if choices.storage_class != usual.storage_class:
        told["storage_class"] = choices.storage_class or _S3S_OWN_CLASS
    if dict(choices.metadata) != dict(usual.metadata):
        told["metadata"] = dict(choices.metadata)
    duplicates = choices.duplicates if choices.duplicates != usual.duplicates else None
    return duplicates, Storage(**told) if told else None


def plan(
    intake: Intake,
    paths: Sequence[str],
    listing: Callable[[], ObjectListing],
    awaited: Callable[[Sequence[str]], int],
    told: Callable[[UploadPlan], bool],
) -> UploadPlan:
    """Count what the paths mean, and look which keys are there; `awaited` tells of how many keys uploads are on their
    way."""
    return _Planning(intake, told).run(paths, listing, awaited)


class _Planning:
    def __init__(self, intake: Intake, told: Callable[[UploadPlan], bool]) -> None:
        self._intake = intake
        self._told = told
        self._told_at = time.monotonic()
        self.plan = UploadPlan()

    def run(
        self, paths: Sequence[str], listing: Callable[[], ObjectListing], awaited: Callable[[Sequence[str]], int]
    ) -> UploadPlan:
        try:
            keys = self._count(paths)
            self._know(is_counted=True)
            self._tell()
            in_order = sorted(keys, key=str.encode)
            self._look_for_uploads(in_order, awaited)
            self._look(in_order, keys, listing)
            self._know(is_whole=True)
        except _Ended:
            pass
        return self.plan

    def _count(self, paths: Sequence[str]) -> dict[str, int]:
        """The keys with the sizes of their files."""
        keys: dict[str, int] = {}
        for batch in self._intake.batches(paths):
            if not self.plan.first_key:
                self._know(first_path=batch[0].path, first_key=batch[0].key)
                self._tell()
            numbered = 0
            for upload in batch:
                numbered += upload.key in keys
                if len(keys) < MOST_LOOKED_FOR:
                    keys.setdefault(upload.key, upload.size)
            self._know(
                files=self.plan.files + len(batch),
                total_bytes=self.plan.total_bytes + sum(upload.size for upload in batch),
                numbered=self.plan.numbered + numbered,
            )
            self._refused()
            self._tell_if_due()
        self._refused()
        return keys

    def _refused(self) -> None:
        refusals = self._intake.refusals
        self._know(refused=len(refusals), refusals=tuple(refusals[:_SHOWN]))

    def _look_for_uploads(self, keys: Sequence[str], awaited: Callable[[Sequence[str]], int]) -> None:
        try:
            for start in range(0, len(keys), BATCH):
                self._know(awaited=self.plan.awaited + awaited(keys[start : start + BATCH]))
                self._tell_if_due()
        except ConsoleError as error:
            self._know(unknown=error.message)

    def _look(self, in_order: Sequence[str], keys: Mapping[str, int], listing: Callable[[], ObjectListing]) -> None:
        try:
            objects = listing()
            for key in in_order:
                if (there := objects.find(key)) is not None:
                    self._know(
                        existing=self.plan.existing + 1,
                        existing_keys=(*self.plan.existing_keys, key)[:_SHOWN],
                        other_size=self.plan.other_size + (there.size != keys[key]),
                    )
                self._know(looked_for=self.plan.looked_for + 1)
                self._tell_if_due()
        except TransferError as error:
            self._know(unknown=error.message)

    def _know(self, **fields: Any) -> None:
        self.plan = replace(self.plan, **fields)

    def _tell_if_due(self) -> None:
        if time.monotonic() - self._told_at >= _TOLD_SECONDS:
            self._tell()

    def _tell(self) -> None:
        self._told_at = time.monotonic()
        if not self._told(self.plan):
            raise _Ended
