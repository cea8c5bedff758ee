"""What a `[[watch]]` table says about one folder.

This module has the rule as a setting: its keys, defaults and what is wrong with a wrong one. What its patterns match is
in `files.patterns`, where its files go in `watch.decisions`, and the watching itself in `watch.watcher`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from console.choices import Acl, Compression, DuplicatePolicy, Encryption, LockMode
from console.errors import ConfigurationError
from console.formatting import visible
from console.settings.key_template import KeyTemplate, parse_destination
from console.settings.object_rules import (
    LOCK_IS_HALF,
    Account,
    HeaderRule,
    HeaderRules,
    HeaderValue,
    KeyFile,
    LockDays,
    Preserve,
    Recipients,
    beneath,
    lock_is_whole,
)
from console.settings.schedule import (
    HoursText,
    MostBytes,
    MostFiles,
    Rates,
    ScheduleSettings,
    Slowest,
    SlowestSeconds,
    StartText,
)
from console.settings.types import MediaTypes, Patterns, Since, Size, Suffixes, absolute

if TYPE_CHECKING:
    from console.models import Storage

_HOUR: Final = 3600.0
_DAY: Final = 86_400.0

CompleteWhen = Literal["quiet", "renamed", "marked"]
After = Literal["keep", "move", "delete"]
Changed = Literal["upload", "version", "ignore"]
Renamed = Literal["ignore", "upload"]
Order = Literal["oldest", "newest"]
Mode = Literal["auto", "events", "polling"]


def _absolute(path: Path) -> Path:
    """`~` is the home folder; what is relative is so to the folder in which the program was started."""
    return Path(absolute(os.fspath(path.expanduser())))  # resolve() would follow links: names stay as written


def _destination(url: str) -> str:
    parse_destination(url)
    return url


def _template(text: str) -> str:
    try:
        KeyTemplate.parse(text, "key_template")
    except ConfigurationError as error:
        said = error.message.removeprefix(f"key_template: {visible(text)}: ")
        raise ValueError(f"{said}. {error.advice}".rstrip(". ")) from None
    return text


def _ending(suffix: str) -> str:
    if not suffix or "/" in suffix:
        raise ValueError("expected an ending for file names, such as .done")
    return suffix


Folder = Annotated[Path, Field(strict=False), AfterValidator(_absolute)]
DestinationUrl = Annotated[str, AfterValidator(_destination)]


class WatchRule(BaseModel):
    """One watched folder. Durations in seconds, sizes in bytes; docs/watch.md explains every key."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    folder: Folder
    name: str = ""
    recursive: bool = True
    include: Patterns = ()
    exclude: Patterns = ()
    ignore_temporary: bool = True
    follow_symlinks: bool = False
    newer: Since | None = None
    larger: Annotated[Size, Field(ge=0)] | None = None
    smaller: Annotated[Size, Field(ge=0)] | None = None

    to: DestinationUrl | None = None
    key_template: Annotated[str, AfterValidator(_template)] | None = None
    storage_class: str | None = None
    server_side_encryption: Encryption | None = None
    kms_key_id: str | None = None
    kms_context: dict[str, str] | None = None
    metadata: dict[str, str] | None = None
    tags: dict[str, str] | None = None
    cache_control: HeaderValue | None = None
    content_disposition: HeaderValue | None = None
    content_encoding: HeaderValue | None = None
    content_language: HeaderValue | None = None
    acl: Acl | None = None
    object_lock_mode: LockMode | None = None
    object_lock_days: LockDays | None = None
    legal_hold: bool | None = None
    preserve: Preserve | None = None
    compress: Compression | None = None
    encrypt_to: Recipients | None = None
    sse_customer_key_file: KeyFile | None = None
    requester_pays: bool | None = None
    expected_bucket_owner: Account | None = None
    headers: HeaderRules | None = None
    duplicates: DuplicatePolicy | None = None
    priority: int = Field(0, ge=-1000, le=1000)

    complete_when: CompleteWhen = "quiet"
    quiet_seconds: float = Field(5.0, gt=0, le=_HOUR)
    marker_suffix: Annotated[str, AfterValidator(_ending)] = ".done"
    minimum_age_seconds: float = Field(0.0, ge=0, le=365 * _DAY)

    after: After = "keep"
    move_to: Folder | None = None
    changed: Changed = "upload"
    renamed: Renamed = "ignore"

    extensions: Suffixes = ()
    content_types: MediaTypes = ()
    max_size: Annotated[Size, Field(ge=0)] | None = None

    start_at: StartText | None = None
    between: HoursText | None = None
    bandwidth: Rates = ()
    slowest: Slowest | None = None
    slowest_seconds: SlowestSeconds = 60.0
    max_files: MostFiles | None = None
    max_bytes: MostBytes | None = None
    max_failures: MostFiles | None = None
    manifest: Folder | None = None
    sha256sums: Folder | None = None
    order: Order = "oldest"
    mode: Mode = "auto"
    poll_seconds: float = Field(10.0, ge=0.1, le=_HOUR)
    rescan_seconds: float = Field(300.0, ge=1, le=_DAY)
    retry_failed_seconds: float = Field(900.0, ge=0, le=_DAY)
    shared_as: str = Field("", max_length=200)

    @field_validator("move_to", mode="after")
    @classmethod
    def _only_to_move(cls, target: Path | None, info: ValidationInfo) -> Path | None:
        if target is not None and info.data.get("after") not in ("move", None):
            raise ValueError('is only used with after = "move"')
        if target is not None and target == info.data.get("folder"):
            raise ValueError("is the watched folder itself")
        return target

    @field_validator("after", mode="after")
    @classmethod
    def _not_with_links(cls, after: After, info: ValidationInfo) -> After:
        if after != "keep" and info.data.get("follow_symlinks"):
            raise ValueError("with follow_symlinks files are only kept: they may belong to somebody else")
        return after

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if self.after == "move" and self.move_to is None:
            raise ValueError('after = "move" needs move_to, the folder for files that were sent')
        if not lock_is_whole(self.object_lock_mode, self.object_lock_days):
            raise ValueError(LOCK_IS_HALF)
        return self

    @property
    def title(self) -> str:
        """The rule's name as people see it, and by which other hosts pause it: unique on its host."""
        return self.name or visible(str(self.folder))

    @property
    def schedule(self) -> ScheduleSettings:
        """When its uploads run, and how fast: `[schedule]` of whoever carries them out holds beside it."""
        return ScheduleSettings(
            start_at=self.start_at,
            between=self.between,
            bandwidth=self.bandwidth,
            slowest=self.slowest,
            slowest_seconds=self.slowest_seconds,
            max_files=self.max_files,
            max_bytes=self.max_bytes,
            max_failures=self.max_failures,
        )

    @property
    def below(self) -> str | None:
        """The folder below which no link is followed; None where they all are."""
        return None if self.follow_symlinks else str(self.folder)

    @property
    def storage(self) -> Storage | None:
        """How its objects are kept, where that is not as the settings have it."""
        from console.models import Storage  # brings BSON, and every start reads a configuration

        chosen = {name: value for name in Storage.model_fields if (value := getattr(self, name)) is not None}
        return Storage(**chosen) if chosen else None

    def with_headers(self, headers: HeaderRules) -> Self:
        """The rule with these, where it has none of its own. What it says itself is stronger."""
        if self.headers is not None:
            return self
        told = {name: getattr(self, name) for name in HeaderRule.model_fields if name in WatchRule.model_fields}
        return self.model_copy(update={"headers": beneath(headers, told)})

    @property
    def destination(self) -> tuple[str, str] | None:
        """Bucket and prefix, or None where those of the `[s3]` table are meant."""
        return None if self.to is None else parse_destination(self.to)


def _distinct(rules: tuple[WatchRule, ...]) -> tuple[WatchRule, ...]:
    seen: set[str] = set()
    for rule in rules:
        if rule.title in seen:
            raise ValueError(f"two rules are called {visible(rule.title)}: give them different names (name = …)")
        seen.add(rule.title)
    return rules


WatchRules = Annotated[tuple[WatchRule, ...], AfterValidator(_distinct)]
"""All rules of a configuration; their titles differ."""
