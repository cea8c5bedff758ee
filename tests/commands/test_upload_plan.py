"""What uploading would come to, against a real S3 server."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from console.commands.console.upload_plan import intake_for, plan, usual_choices
from console.s3.transfer_errors import TransferError
from console.settings import Settings
from console.transfer.sender import S3Sender
from console.ui.backend import UploadChoices, UploadPlan

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

    from console.embedded.services import EmbeddedServices

SAME_KEY = "another file of these has its key already"


@pytest.fixture
def settings(services: EmbeddedServices, bucket: str) -> Settings:
    s3 = {"bucket": bucket, "prefix": "in", "endpoint_url": services.s3_endpoint, "storage_class": "STANDARD_IA"}
    return Settings.model_validate({"s3": s3})


@pytest.fixture
def sender(settings: Settings) -> Iterator[S3Sender]:
    with S3Sender(settings.s3, settings.transfer) as sender:
        yield sender


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "scans"
    (folder / "deep").mkdir(parents=True)
    for name, size in (("a.txt", 1), ("b.txt", 2), ("deep/c.txt", 3)):
        (folder / name).write_bytes(b"x" * size)
    return folder


def planned(settings: Settings, sender: S3Sender, *paths: Path, **changed: Any) -> UploadPlan:
    choices = replace(usual_choices(settings), **changed)
    intake = intake_for(settings, choices, host="here", endpoint="there")

    def awaited(keys: Sequence[str]) -> int:
        return sum(key.endswith("/a.txt") for key in keys)

    return plan(intake, [str(path) for path in paths], lambda: sender.listing(choices.bucket), awaited, lambda _: True)


def test_what_is_there_is_known_before(
    settings: Settings, sender: S3Sender, s3: S3Client, bucket: str, folder: Path
) -> None:
    s3.put_object(Bucket=bucket, Key="in/scans/deep/c.txt", Body=b"xxx")
    s3.put_object(Bucket=bucket, Key="in/scans/b.txt", Body=b"another size")
    s3.put_object(Bucket=bucket, Key="in/scans/z.txt", Body=b"not of these")
    known = planned(settings, sender, folder)
    assert (known.files, known.total_bytes, known.first_key) == (3, 6, "in/scans/a.txt")
    assert known.existing_keys == ("in/scans/b.txt", "in/scans/deep/c.txt")
    assert (known.existing, known.other_size, known.looked_for) == (2, 1, 3)
    assert known.awaited == 1
    assert known.is_counted
    assert known.is_whole
    assert planned(settings, sender, folder, prefix="elsewhere").existing == 0


def test_files_that_get_one_key_are_told(settings: Settings, sender: S3Sender, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "same.txt").write_text(name)
    paths = [tmp_path / name / "same.txt" for name in ("one", "two")]
    known = planned(settings, sender, *paths)
    assert (known.files, known.refused, known.numbered) == (1, 1, 0)
    assert SAME_KEY in known.refusals[0].reason
    known = planned(settings, sender, *paths, duplicates="new_name")
    assert (known.files, known.refused, known.numbered) == (2, 0, 1)


def test_a_bucket_that_cannot_be_seen_is_said(settings: Settings, sender: S3Sender, folder: Path) -> None:
    known = planned(settings, sender, folder, bucket="there-is-no-such-bucket")
    assert known.unknown
    assert (known.files, known.is_whole) == (3, True)


def test_whoever_has_seen_enough_ends_it(settings: Settings, sender: S3Sender, folder: Path) -> None:
    intake = intake_for(settings, usual_choices(settings), host="here", endpoint="there")
    known = plan(intake, [str(folder)], lambda: sender.listing(settings.s3.bucket), len, lambda _: False)
    assert not known.is_whole


@pytest.mark.parametrize(
    ("changed", "duplicates", "storage"),
    [
        ({}, None, None),
        ({"duplicates": "fail"}, "fail", None),
        ({"storage_class": "GLACIER"}, None, {"storage_class": "GLACIER"}),
        ({"storage_class": ""}, None, {"storage_class": "STANDARD"}),
        ({"metadata": {"a": "b"}}, None, {"metadata": {"a": "b"}}),
    ],
)
def test_only_what_is_not_as_usual_is_recorded(
    settings: Settings, folder: Path, changed: dict[str, Any], duplicates: str | None, storage: dict[str, Any] | None
) -> None:
    choices = replace(usual_choices(settings), **changed)
    [batch] = intake_for(settings, choices, host="here", endpoint="there").batches([str(folder / "a.txt")])
    assert batch[0].duplicates == duplicates
    assert (batch[0].storage.model_dump(exclude_none=True) if batch[0].storage else None) == storage


def test_another_destination(settings: Settings, folder: Path) -> None:
    intake = intake_for(settings, UploadChoices("other", "x/y"), host="here", endpoint="there")
    [batch] = intake.batches([str(folder / "a.txt")])
    assert (batch[0].bucket, batch[0].key) == ("other", "x/y/a.txt")


def test_prefixes_go_on_from_a_beginning(sender: S3Sender, s3: S3Client, bucket: str) -> None:
    for key in ("2024.txt", "2025/a", "2025/b/c", "2026/a", "video/a"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"")
    assert sender.prefixes(bucket, "") == ["2025/", "2026/", "video/"]
    assert sender.prefixes(bucket, "20") == ["2025/", "2026/"]
    assert sender.prefixes(bucket, "2025/") == ["2025/b/"]
    assert sender.prefixes(bucket, "none") == []
    with pytest.raises(TransferError):
        sender.prefixes("there-is-no-such-bucket", "")
