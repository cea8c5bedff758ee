"""What `--delete` takes for surplus, and what makes it leave everything alone: no server, a listing of our own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from console.commands.upload_modes.same_as_there import Surplus, delete_surplus
from console.files.file_filter import FileFilter
from console.models import Source
from console.s3.object_listing import ListedObject
from console.s3.transfer_errors import TransferError
from console.settings import load
from console.transfer.intake import Intake


class Bucket:
    """A sender as far as `--delete` asks it; `breaks_after` so many listed objects."""

    def __init__(self, keys: list[str], breaks_after: int | None = None) -> None:
        self._keys = keys
        self._breaks_after = breaks_after
        self.deleted: list[str] = []

    def listing(self, bucket: str) -> Bucket:
        return self

    def below(self, prefix: str) -> Iterator[ListedObject]:
        for number, key in enumerate(sorted(key for key in self._keys if key.startswith(prefix))):
            if number == self._breaks_after:
                raise TransferError("AccessDenied", "the listing broke off")
            yield ListedObject(key, 1, "", None)

    def delete_keys(self, bucket: str, keys: list[str]) -> list[tuple[str, str]]:
        self.deleted += keys
        return []


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "site"
    (folder / "logs").mkdir(parents=True)
    for name in ("a.txt", "b.txt", "logs/c.log", "packed.gz", "line\nbreak.txt"):
        (folder / name).write_text("content")
    return folder


def deleted(folder: Path, bucket: Bucket, most_percent: float = 100, meanwhile: Any = None, **flags: Any) -> set[str]:
    """What is deleted, by their keys below the folder's destination."""
    told = {name.replace("__", "."): value for name, value in flags.items()}
    settings = load(None, {}, {"s3.bucket": "b", "s3.prefix": "p", **told})
    surplus = Surplus.of(settings, [str(folder)], "skip_identical", is_whole=True)
    intake = Intake(
        settings.s3,
        settings.transfer,
        host="h",
        source=Source.COMMAND,
        endpoint="e",
        wanted=FileFilter(settings.select),
    )
    for _ in surplus.noting(intake.batches([str(folder)])):
        pass
    if meanwhile is not None:
        meanwhile()
    delete_surplus(surplus, bucket, most_percent=most_percent, yes=True, dry_run=False)  # type: ignore[arg-type]
    return {key.removeprefix("p/site/") for key in bucket.deleted}


HERE = ["p/site/a.txt", "p/site/b.txt", "p/site/logs/c.log", "p/site/packed.gz", "p/site/line%0Abreak.txt"]
GONE = ["p/site/old.txt", "p/site/logs/old.log", "p/site/old.gz", "p/site/line%0Aold.txt"]
OTHERS = ["p/site2/x", "p/site.txt", "p/other", "site/x"]


@pytest.mark.parametrize(
    ("flags", "left"),
    [
        ({}, {"old.txt", "logs/old.log", "old.gz", "line%0Aold.txt"}),
        ({"select__exclude": ["*.log"]}, {"old.txt", "old.gz", "line%0Aold.txt"}),
        ({"select__exclude": ["logs/"]}, {"old.txt", "old.gz", "line%0Aold.txt"}),
        ({"select__include": ["*.log"]}, {"logs/old.log"}),
        ({"select__exclude": ["line\nold*"]}, {"old.txt", "logs/old.log", "old.gz"}),
        (
            {"select__exclude": ["*.gz"], "s3__compress": "gzip"},
            {"old.txt", "logs/old.log", "line%0Aold.txt", "a.txt", "b.txt", "logs/c.log", "line%0Abreak.txt"},
        ),
    ],
)
def test_what_patterns_leave_out_here_is_left_alone_there(folder: Path, flags: dict[str, Any], left: set[str]) -> None:
    assert deleted(folder, Bucket([*HERE, *GONE, *OTHERS]), **flags) == left


def test_a_folder_in_which_nothing_is_found_deletes_nothing_whatever_the_share(tmp_path: Path) -> None:
    (empty := tmp_path / "site").mkdir()
    assert not deleted(empty, Bucket(HERE))


def test_another_folder_in_its_place_deletes_nothing(folder: Path) -> None:
    def unmounted() -> None:
        folder.rename(folder.with_name("away"))
        folder.mkdir()

    assert not deleted(folder, Bucket([*HERE, *GONE]), meanwhile=unmounted)


def test_the_object_of_a_file_that_came_meanwhile_stays(folder: Path) -> None:
    def comes() -> None:
        (folder / "line\nold.txt").write_text("of another command")

    found = deleted(folder, Bucket([*HERE, *GONE]), meanwhile=comes)
    assert found == {"old.txt", "logs/old.log", "old.gz"}


@pytest.mark.parametrize("after", [0, 3, 8])
def test_a_listing_that_breaks_off_deletes_nothing(folder: Path, after: int) -> None:
    bucket = Bucket([*HERE, *GONE], breaks_after=after)
    with pytest.raises(TransferError, match="broke off"):
        deleted(folder, bucket)
    assert not bucket.deleted


def test_a_larger_share_than_is_allowed_deletes_nothing(folder: Path) -> None:
    assert not deleted(folder, Bucket([*HERE, *GONE]), most_percent=44)
    assert len(deleted(folder, Bucket([*HERE, *GONE]), most_percent=45)) == 4
