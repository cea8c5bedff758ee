"""Trees that are there already: what is identical is not sent again, and, where that is asked for, what is there and
not here is deleted.

The bucket is listed once, in the order in which the files come, and each file is compared with what the listing says:
no request for a file that is identical. Where the listing cannot tell (an ETag that is no MD5, parts of unknown size),
the upload compares by itself, as under `skip_identical` anywhere.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Literal

from pydantic import BaseModel

from console.choices import DuplicatePolicy
from console.cli.output import json_line
from console.cli.selection import agreed, can_ask
from console.errors import UsageError
from console.files.file_filter import FileFilter
from console.formatting import byte_size, count, visible
from console.records.identity import this_host
from console.records.uploads import NewUpload
from console.s3.control import Unattended
from console.s3.engines.engine import StoredBody
from console.s3.engines.source import SourceFile
from console.s3.engines.staged import SUFFIXES
from console.s3.object_listing import ListedObject, ObjectListing
from console.s3.operations import StoredObject
from console.s3.transfer_errors import TransferError
from console.settings import Settings
from console.settings.key_template import KeyFacts, KeyTemplate, name_of
from console.settings.types import absolute
from console.transfer.comparison import compare
from console.transfer.sender import S3Sender

_THREADS: Final = 4
_SHOWN: Final = 20


def without_identical(
    batches: Iterable[list[NewUpload]],
    sender: S3Sender,
    part_size: int | None,
    identical: Callable[[NewUpload, ListedObject], None],
) -> Iterator[list[NewUpload]]:
    """The uploads but for those whose object is there with the file's content; `identical` is told those."""
    listing: ObjectListing | None = None
    may_list = True
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="compare") as threads:
        for batch in batches:
            there: list[ListedObject | None] = [None] * len(batch)
            if may_list and batch:
                listing = listing or sender.listing(batch[0].bucket)
                try:
                    there = [listing.find(upload.key) for upload in batch]
                except TransferError:
                    may_list = False  # who may not list asks for each object
            same = threads.map(partial(is_identical, part_size), batch, there)
            left: list[NewUpload] = []
            for upload, found, is_same in zip(batch, there, same, strict=True):
                if is_same and found is not None:
                    identical(upload, found)
                else:
                    left.append(upload)
            if left:
                yield left


def is_identical(part_size: int | None, upload: NewUpload, there: ListedObject | None) -> bool:
    """Whether the listed object has the file's content, as far as a listing tells."""
    if there is None or there.size != upload.size:
        return False
    try:
        with SourceFile.open(upload.os_path, upload.below) as source:
            stored = StoredObject(there.size, StoredBody(there.etag))
            return compare(source, stored, part_size, Unattended()).same is True
    except TransferError:
        return False  # the upload says what is wrong with it


@dataclass(slots=True)
class Surplus:
    """What is below the destination of one folder and not in that folder. `kept` are hashes of keys: there may be very
    many. `identity` tells the folder from another one in its place, as where a disk is unmounted meanwhile."""

    bucket: str
    root: str
    folder: str
    identity: tuple[int, int]
    wanted: FileFilter
    is_transformed: bool = False
    kept: set[int] = field(default_factory=set)

    @classmethod
    def of(cls, settings: Settings, typed: Sequence[str], policy: DuplicatePolicy, *, is_whole: bool) -> Surplus:
        """Of the folder that was named.

        Raises:
            UsageError: it is not clear which objects would belong to it.
        """
        select, schedule = settings.select, settings.schedule
        by_age_or_size = (select.newer, select.larger, select.smaller, schedule.max_files, schedule.max_bytes)
        if not is_whole or len(typed) != 1 or any(bound is not None for bound in by_age_or_size):
            raise UsageError(
                "--delete is for one whole folder: without --files-from, --newer, --larger, --smaller, --max-files, "
                "--max-bytes and --detach."
            )
        path = absolute(typed[0])
        if not os.path.isdir(path):  # noqa: PTH112 - names stay as the system has them
            raise UsageError(f"--delete is for one whole folder, and {visible(path)} is none.")
        if policy == "new_name":
            raise UsageError("--delete and new_name exclude each other: what just got a number would be deleted.")
        template = KeyTemplate.parse(settings.transfer.key_template)
        name = path.rpartition("/")[2]
        facts = KeyFacts(f"{name}/x", 1, 0, this_host(), settings.s3.prefix)
        if not template.keeps_paths_apart or not template.key(facts).endswith(f"{name}/x"):
            raise UsageError("--delete needs a key_template that ends in {relative_path}, as the usual one does.")
        root = template.key(facts).removesuffix("x")
        is_transformed = settings.s3.compress != "none" or bool(settings.s3.encrypt_to)
        return cls(settings.s3.bucket, root, path, _identity(path), FileFilter(settings.select), is_transformed)

    def noting(self, batches: Iterable[list[NewUpload]]) -> Iterator[list[NewUpload]]:
        """The same batches; their keys are kept."""
        for batch in batches:
            self.kept.update(hash(upload.key) for upload in batch)
            yield batch

    @property
    def doubt(self) -> str:
        """Why what was seen of the folder may not be all that is in it; empty where nothing speaks for that."""
        if not self.kept:
            return f"no file was found in {visible(self.folder)}: is its disk mounted?"
        if _identity(self.folder) != self.identity:
            return f"{visible(self.folder)} is another folder than at the beginning: was a disk unmounted?"
        return ""

    def objects(self, sender: S3Sender) -> tuple[list[ListedObject], int]:
        """What is there and not here, and how many objects there are at all. What a pattern leaves out here is left
        alone there."""
        surplus: list[ListedObject] = []
        number = 0
        for found in sender.listing(self.bucket).below(self.root):
            number += 1
            relative = found.key.removeprefix(self.root)
            if hash(found.key) not in self.kept and not self._belongs_here(name_of(relative)):
                surplus.append(found)
        return surplus, number

    def _belongs_here(self, relative: str) -> bool:
        """Whether it is of a file that a pattern leaves out here, or that came meanwhile."""
        names = {relative}
        for suffix in reversed(SUFFIXES.values()) if self.is_transformed else ():  # as its file was called
            relative = relative.removesuffix(suffix)
            names.add(relative)
        if any(map(self._is_left_out, names)):
            return True
        # What is compressed or encrypted from now on has another key than its file had until now.
        return not self.is_transformed and os.path.lexists(f"{self.folder}/{relative}")

    def _is_left_out(self, relative: str) -> bool:
        steps = relative.split("/")
        folders = ["/".join(steps[:length]) for length in range(1, len(steps))]
        if any(self.wanted.leaves_out_path(folder, is_folder=True) for folder in folders):
            return True
        return bool(self.wanted.leaves_out_path(relative, is_folder=False))


def _identity(folder: str) -> tuple[int, int]:
    try:
        status = os.stat(folder)  # noqa: PTH116 - names stay as the system has them
    except OSError:
        return 0, 0
    return status.st_dev, status.st_ino


SurplusEvent = Literal["would_delete", "object_deleted", "object_kept"]


class SurplusLine(BaseModel):
    """One line of `upload --delete --json` about an object that is there and not here. `size` in bytes."""

    event: SurplusEvent
    destination: str
    size: int
    message: str | None = None


def delete_surplus(
    surplus: Surplus, sender: S3Sender, *, most_percent: float, yes: bool, dry_run: bool, as_json: bool = False
) -> int:
    """Delete what is there and not here, once it was shown and somebody agreed. Gives the exit code: 1 where something
    is left that would have to go."""
    if surplus.doubt:
        sys.stderr.write(f"Nothing is deleted: {surplus.doubt}\n")
        return 1
    found, number = surplus.objects(sender)
    below = f"s3://{surplus.bucket}/{visible(surplus.root)}"
    say = _nothing if as_json else sys.stdout.write
    if not found:
        say(f"Nothing to delete below {below}.\n")
        return 0
    if dry_run:
        for each in found:
            _tell(surplus, "would_delete", each, as_json=as_json)
    what = f"{count(len(found), 'object')} ({byte_size(sum(each.size for each in found))}) of {number:,} below {below}"
    if 100 * len(found) > most_percent * number:
        sys.stderr.write(
            f"Not deleted: {what} are more than {most_percent:g} %. If that is meant: --delete-at-most-percent.\n"
        )
        return 1
    if dry_run:
        say(f"Would delete {what}.\n")
        return 0
    if not yes and not can_ask():
        sys.stderr.write(f"Not deleted: {what}. There is no terminal to ask on: add --yes.\n")
        return 1
    if not yes and not _agreed(surplus, found, what):
        return 1
    failed = dict(sender.delete_keys(surplus.bucket, [each.key for each in found]))
    for each in found:
        event: SurplusEvent = "object_deleted" if each.key not in failed else "object_kept"
        _tell(surplus, event, each, as_json=as_json, message=failed.get(each.key))
    say(f"Deleted {count(len(found) - len(failed), 'object')}.\n")
    return 1 if failed else 0


def _nothing(text: str) -> None:
    pass


def _agreed(surplus: Surplus, found: Sequence[ListedObject], what: str) -> bool:
    """Ask; what it is about stands above the question, wherever standard output goes."""
    for each in found[:_SHOWN]:
        sys.stderr.write(f"delete s3://{surplus.bucket}/{visible(each.key)}\n")
    if len(found) > _SHOWN:
        sys.stderr.write(f"… and {len(found) - _SHOWN:,} more\n")
    return agreed(f"Delete {what}?")


def _tell(
    surplus: Surplus, event: SurplusEvent, each: ListedObject, *, as_json: bool, message: str | None = None
) -> None:
    destination = f"s3://{surplus.bucket}/{each.key}"
    if as_json:
        line = SurplusLine(event=event, destination=destination, size=each.size, message=message)
        sys.stdout.write(f"{json_line(line)}\n")
    elif message is not None:
        sys.stderr.write(f"not deleted {visible(destination)}: {visible(message)}\n")
    else:
        sys.stdout.write(f"{'would delete' if event == 'would_delete' else 'deleted'} {visible(destination)}\n")
