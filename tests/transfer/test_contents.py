"""What a bucket holds, asked of real servers."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import pytest

from console.errors import UsageError
from console.s3.object_listing import bucket_page, download, object_facts
from console.s3.transfer_errors import TransferError

from .conftest import Store, on_each_store


@on_each_store
def test_an_object_is_described(store: Store, bucket: str) -> None:
    store.s3.put_object(Bucket=bucket, Key="a/b.txt", Body=b"hello", ContentType="text/plain", Metadata={"team": "x"})
    facts = object_facts(store.s3, bucket, "a/b.txt")
    assert (facts.exists, facts.size, facts.headers["type"]) == (True, 5, "text/plain")
    assert facts.modified_at is not None
    assert not object_facts(store.s3, bucket, "a/none").exists


@on_each_store
def test_prefixes_and_objects_are_listed_page_by_page(
    store: Store, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key in ("a/1", "a/2", "b", "c", "d"):
        store.s3.put_object(Bucket=bucket, Key=key, Body=b"12")
    monkeypatch.setattr("console.s3.object_listing.PAGE", 2)
    found, more = [], ""
    while True:
        page = bucket_page(store.s3, bucket, "", more)
        found += page.entries
        more = page.more
        if not more:
            break
    assert [(entry.key, entry.is_prefix) for entry in found] == [
        ("a/", True),
        ("b", False),
        ("c", False),
        ("d", False),
    ]
    assert [entry.key for entry in bucket_page(store.s3, bucket, "a/").entries] == ["a/1", "a/2"]
    assert all(entry.size == 2 for entry in found if not entry.is_prefix)


@on_each_store
def test_a_download_is_whole_or_not_there(store: Store, bucket: str, tmp_path: Path) -> None:
    body = bytes(3 * 1024 * 1024)
    store.s3.put_object(Bucket=bucket, Key="big", Body=body)
    seen: list[int] = []
    size = download(store.s3, bucket, "big", tmp_path / "big", lambda done: seen.append(done) is None)
    assert (size, seen[-1]) == (len(body), len(body))
    assert (tmp_path / "big").read_bytes() == body
    with pytest.raises(UsageError, match="is there already"):
        download(store.s3, bucket, "big", tmp_path / "big", lambda _: True)
    assert download(store.s3, bucket, "big", tmp_path / "other", lambda _: False) == 0
    with pytest.raises(TransferError):
        download(store.s3, bucket, "none", tmp_path / "none", lambda _: True)
    assert [path.name for path in tmp_path.iterdir()] == ["big"]


@on_each_store
def test_a_name_is_as_long_as_the_file_system_allows(store: Store, bucket: str, tmp_path: Path) -> None:
    longest = tmp_path / ("n" * 255)
    store.s3.put_object(Bucket=bucket, Key="k", Body=b"hello")
    assert download(store.s3, bucket, "k", longest, lambda _: True) == 5
    with pytest.raises(UsageError, match="File name too long"):
        download(store.s3, bucket, "k", tmp_path / ("n" * 256), lambda _: True)
    assert list(tmp_path.iterdir()) == [longest]


class _OneObject:
    """What `download` asks of S3."""

    def get_object(self, **_: str) -> dict[str, Any]:
        return {"Body": io.BytesIO(b"secret"), "ContentLength": 6}


def test_a_folder_that_is_swapped_for_a_link_leads_a_download_nowhere(tmp_path: Path) -> None:
    (chosen := tmp_path / "chosen").mkdir()
    (home := tmp_path / "home").mkdir()

    def swap(_: int) -> bool:
        chosen.rename(tmp_path / "aside")
        chosen.symlink_to(home)
        return True

    before = os.umask(0)
    try:
        assert download(_OneObject(), "bucket", "authorized_keys", chosen / "authorized_keys", swap) == 6  # type: ignore[arg-type]
    finally:
        os.umask(before)
    assert not list(home.iterdir())
    (file,) = (tmp_path / "aside").iterdir()
    assert (file.name, file.stat().st_mode & 0o777) == ("authorized_keys", 0o600)


def test_a_download_takes_the_place_of_nothing_and_follows_no_link(tmp_path: Path) -> None:
    (tmp_path / "report").symlink_to(tmp_path / "elsewhere")
    for name in ("report", "..", "."):
        with pytest.raises(UsageError, match=r"is there already"):
            download(_OneObject(), "bucket", "k", tmp_path / name, lambda _: True)  # type: ignore[arg-type]
    assert [path.name for path in tmp_path.iterdir()] == ["report"]
