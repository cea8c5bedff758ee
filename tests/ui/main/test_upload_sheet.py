"""What `u` shows before it uploads."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from console.errors import UsageError
from console.files.refusals import Refusal
from console.ui.backend import UploadChoices, UploadPlan
from console.ui.main import upload_sheet
from console.ui.main.upload_sheet import (
    UploadSheet,
    plan_lines,
    read_class,
    read_destination,
    read_metadata,
    read_policy,
)
from tests.ui.conftest import WAIT_SECONDS, Console, Opener
from tests.ui.test_typing import bunch

A, B = "a.jpg", "b.jpg"


def is_open(console: Console) -> bool:
    return isinstance(console.app.screen, UploadSheet)


async def shown(console: Console, words: str) -> None:
    """Wait until it is; an application that holds keys is not at rest."""
    async with asyncio.timeout(WAIT_SECONDS):
        while words not in console.text:
            await asyncio.sleep(0.01)


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload_sheet, "LOOK_SECONDS", 60.0)


def added(console: Console) -> list[tuple[object, ...]]:
    return [asked[1:] for asked in console.backend.asked if asked[0] == "add_uploads"]


async def test_it_says_what_is_uploaded_where_to_and_that_nothing_is_overwritten(opened: Opener, photos: Path) -> None:
    async with opened(documents=[]) as console:
        await console.press("j", "j", "space", "space", "u")
        await console.until(lambda: "Nothing is there under these keys." in console.text)
        for words in ("Upload 2 marked", "2 files, 1.96 KiB", "a.jpg → s3://archive/photos/a.jpg", "overwrite"):
            assert words in console.text, words
        assert "Metadata" not in console.text
        assert "Storage class" not in console.text
        assert not added(console)
        await console.press("enter")
        await console.until(lambda: added(console) == [((str(photos / A), str(photos / B)),)])
        assert not is_open(console)


async def test_escape_uploads_nothing_and_leaves_the_marks(opened: Opener, photos: Path) -> None:
    async with opened(documents=[]) as console:
        await console.press("j", "j", "space", "u", "escape")
        await console.until(lambda: not is_open(console))
        assert console.screen.files.rows.marks == {str(photos / A)}
        assert not added(console)


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ("2026\r", UploadChoices("archive", "photos/2026")),
        ("2\t\r", UploadChoices("archive", "photos/2025")),
        ("←s3://other/\r", UploadChoices("other")),
        ("↓new_name\r", UploadChoices("archive", "photos", "new_name")),
        ("↓n\r", UploadChoices("archive", "photos", "new_name")),
        ("↓\t\r", UploadChoices("archive", "photos", "skip_identical")),
        ("↓↓GLACIER↓a=1, b=2\r", UploadChoices("archive", "photos", "overwrite", "GLACIER", {"a": "1", "b": "2"})),
    ],
)
async def test_what_is_typed_in_a_bunch_is_what_is_done(
    opened: Opener, photos: Path, keys: str, expected: UploadChoices
) -> None:
    async with opened(documents=[]) as console:
        console.backend.known_prefixes = ["photos/2025/"]
        bunch(console, f"jju{keys}")
        await console.until(lambda: added(console))
        assert added(console) == [((str(photos / A),), expected)]


async def test_what_would_be_overwritten_is_said_before(opened: Opener, photos: Path) -> None:
    async with opened(documents=[]) as console:
        console.backend.keys = {"photos/a.jpg"}
        await console.press("j", "j", "u")
        await console.until(lambda: "1 would be overwritten: a.jpg" in console.text)
        await console.press("enter")
        await console.until(lambda: added(console) == [((str(photos / A),),)])


async def test_uploads_that_wait_under_the_same_keys_are_said_before(opened: Opener) -> None:
    async with opened(documents=[]) as console:
        console.backend.plan = {"awaited": 1}
        console.backend.may_look.clear()
        bunch(console, "jju\r")
        await shown(console, "looking what is there already")
        console.backend.may_look.set()
        await console.until(lambda: "enter once more uploads" in console.text)
        assert "Of 1 key another upload waits or runs already." in console.text
        assert not added(console)


@pytest.mark.parametrize("behind", ["", "\r", "\r\r", "2p"])
async def test_what_is_typed_ahead_overwrites_nothing(opened: Opener, behind: str) -> None:
    """Enter, and what comes behind it, before it was seen that something would be overwritten."""
    async with opened(documents=[]) as console:
        console.backend.keys = {"photos/a.jpg"}
        console.backend.may_look.clear()
        bunch(console, f"jju\r{behind}")
        await shown(console, "looking what is there already")
        console.backend.may_look.set()
        await console.until(lambda: "enter once more uploads" in console.text)
        assert "1 would be overwritten: a.jpg" in console.text
        assert "s3://archive/photos/ " in console.text
        assert not added(console)
        await console.press("enter")
        await console.until(lambda: len(added(console)) == 1)


async def test_keys_behind_an_enter_that_waits_are_for_what_comes_behind_the_sheet(opened: Opener) -> None:
    async with opened(documents=[]) as console:
        console.backend.may_look.clear()
        bunch(console, "jju\r" + "2/b")
        await shown(console, "looking what is there already")
        console.backend.may_look.set()
        await console.until(lambda: len(added(console)) == 1)
        await console.until(lambda: console.screen.table.filter_line.text == "b")


async def test_escape_behind_an_enter_that_had_to_ask_leaves(opened: Opener) -> None:
    async with opened(documents=[]) as console:
        console.backend.keys = {"photos/a.jpg"}
        console.backend.may_look.clear()
        bunch(console, "jju\r\x1b")
        await shown(console, "looking what is there already")
        console.backend.may_look.set()
        await console.until(lambda: not is_open(console))
        assert not added(console)


async def test_s3_that_says_nothing_is_not_waited_for(opened: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload_sheet, "LOOK_SECONDS", 0.05)
    async with opened(documents=[]) as console:
        console.backend.may_look.clear()
        bunch(console, "jju\r\r")
        await console.until(lambda: "S3 has not said yet what is there" in console.text)
        assert not added(console)
        await console.press("enter")
        await console.until(lambda: len(added(console)) == 1)
        console.backend.may_look.set()


@pytest.mark.parametrize("policy", ["new_name", "fail"])
async def test_what_overwrites_nothing_waits_for_nothing(opened: Opener, policy: str) -> None:
    usual = UploadChoices("archive", "photos", policy)  # type: ignore[arg-type]
    async with opened(documents=[], usual=usual) as console:
        console.backend.may_look.clear()
        bunch(console, "jju\r")
        await console.until(lambda: len(added(console)) == 1)
        console.backend.may_look.set()


async def test_a_setting_skips_it(opened: Opener, photos: Path) -> None:
    async with opened(documents=[], has_sheet=False) as console:
        bunch(console, "jju")
        await console.until(lambda: added(console) == [((str(photos / A),),)])
        assert not is_open(console)


async def test_what_makes_no_sense_is_said_and_nothing_is_uploaded(opened: Opener) -> None:
    async with opened(documents=[]) as console:
        bunch(console, "jju←s3:/\r")
        await console.until(lambda: "expected s3://bucket or s3://bucket/prefix" in console.text)
        assert is_open(console)
        assert not added(console)


async def test_where_no_bucket_is_set_it_asks_for_one(opened: Opener, photos: Path) -> None:
    async with opened(documents=[], usual=UploadChoices()) as console:
        assert "no bucket" in console.lines[0]
        bunch(console, "jjus3://archive/x\r")
        await console.until(lambda: added(console) == [((str(photos / A),), UploadChoices("archive", "x"))])


async def test_prefixes_of_the_bucket_are_shown_and_completed(opened: Opener) -> None:
    async with opened(documents=[]) as console:
        console.backend.known_prefixes = ["photos/2025/", "photos/2026/", "video/"]
        await console.press("j", "j", "u", "2")
        await console.until(lambda: "s3://archive/photos/2025/" in console.text)
        assert "s3://archive/photos/2026/" in console.text
        await console.press("tab")
        await console.until(lambda: "s3://archive/photos/202 " in console.text)
        await console.press("5", "tab")
        await console.until(lambda: "a.jpg → s3://archive/photos/2025/a.jpg" in console.text)


def test_the_plan_in_words() -> None:
    refusals = tuple(Refusal(f"/srv/{name}", "another file of these has its key already (a)") for name in "abcd")
    choices = UploadChoices("archive", "photos", "skip_identical")
    plan = UploadPlan(480, 1_610_612_736, "/srv/x", "photos/x", 4, refusals, 2, True, 480, 12, ("p/a", "p/b"), 3, 5)
    text = [line.plain for line in plan_lines(plan, choices)]
    assert text == [
        "480 files, 1.50 GiB",
        "x → s3://archive/photos/x",
        "2 files would get the key of another one, and a number instead",
        "4 files will not be uploaded:",
        *(f"  {name}: another file of these has its key already (a)" for name in "abc"),
        "  and 1 more",
        "Of 5 keys another upload waits or runs already.",
        "12 of the first 480 (3 of another size) would be skipped if identical, and else overwritten: a, b, …",
    ]


def test_what_is_typed_is_read() -> None:
    assert read_destination("s3://b/p/q/", "archive") == ("b", "p/q")
    assert read_destination("p/q/", "archive") == ("archive", "p/q")
    assert read_policy("s") == "skip_identical"
    assert read_metadata("a=1, b=x=y") == {"a": "1", "b": "x=y"}
    assert read_metadata("") == {}
    for read, text in ((read_policy, "x"), (read_class, "A B"), (read_metadata, "a"), (read_metadata, "ä=1")):
        with pytest.raises(UsageError, match="expected"):
            read(text)
