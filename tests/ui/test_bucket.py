"""What is in the bucket."""

from __future__ import annotations

import threading
from datetime import timedelta
from pathlib import Path

import pytest
from syrupy.assertion import SnapshotAssertion

from console.errors import UsageError
from console.models import BucketEntry, BucketPage
from console.ui.screens.bucket_screen import BucketScreen
from console.ui.uploads.upload_screen import UploadScreen

from .conftest import SIZES, Console, Opener
from .fake_backend import NOW, document

OURS = document(9, status="completed", key="a.bin")


async def in_bucket(console: Console) -> None:
    first = BucketEntry("a.bin", size=17_400_000, modified_at=NOW - timedelta(hours=2), storage_class="STANDARD")
    console.backend.pages = {
        ("", ""): BucketPage("archive", "", (BucketEntry("photos/", is_prefix=True), first), "more"),
        ("", "more"): BucketPage("archive", "", (BucketEntry("b.bin", size=2, modified_at=NOW),)),
        ("photos/", ""): BucketPage("archive", "photos/", (BucketEntry("photos/x.jpg", size=5, modified_at=NOW),)),
    }
    await console.press("4")
    assert isinstance(console.app.screen, BucketScreen)
    await console.until(lambda: "a.bin" in console.text)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
async def test_picture(opened: Opener, size: tuple[int, int], snapshot: SnapshotAssertion) -> None:
    async with opened(size=size, documents=[OURS]) as console:
        await in_bucket(console)
        await console.press("j")
        await console.until(lambda: "b.bin" in console.text)
        assert console.text == snapshot


async def test_prefixes_are_entered_and_left(opened: Opener) -> None:
    async with opened(documents=[OURS]) as console:
        await in_bucket(console)
        await console.press("enter")
        await console.until(lambda: "x.jpg" in console.text and "s3://archive/photos/" in console.text)
        await console.press("backspace")
        await console.until(lambda: "a.bin" in console.text)


async def test_an_object_leads_to_the_upload_that_made_it(opened: Opener) -> None:
    async with opened(documents=[OURS]) as console:
        await in_bucket(console)
        await console.press("j", "u")
        await console.until(lambda: isinstance(console.app.screen, UploadScreen))
        await console.press("escape", "y", "k")
        await console.until(lambda: console.app.clipboard == "a.bin")


async def test_an_object_is_downloaded_into_a_folder(opened: Opener, photos: Path) -> None:
    async with opened(documents=[OURS]) as console:
        await in_bucket(console)
        await console.press("j", "d", "enter")
        await console.until(lambda: "Downloaded" in console.text)
        assert ("download", "a.bin", str(photos / "a.bin")) in console.backend.asked


async def test_why_it_cannot_be_listed(opened: Opener) -> None:
    async with opened(documents=[OURS]) as console:
        console.backend.fails = UsageError("no right to list")
        await console.press("4")
        await console.until(lambda: "no right to list" in console.text)


async def test_an_answer_that_comes_after_it_was_read_again_adds_no_row_twice(
    opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened() as console:
        entry = BucketEntry("a.bin", size=1, modified_at=NOW)
        asked = 0
        late, told = threading.Event(), threading.Event()

        def page(prefix: str, after: str) -> BucketPage:
            nonlocal asked
            asked += 1
            if asked == 1:
                late.wait()
                told.set()
            return BucketPage("archive", prefix, (entry,))

        monkeypatch.setattr(console.backend, "bucket_page", page)
        await console.press("4", "f5")
        await console.until(lambda: "a.bin" in console.text)
        late.set()
        await console.until(told.is_set)
        await console.press("j")
        assert console.text.count("a.bin") == 1
