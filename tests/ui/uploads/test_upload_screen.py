"""One place for one upload: its record, its past, its object, and what can be done with it."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from syrupy.assertion import SnapshotAssertion

from console.errors import UsageError
from console.events.event import ChangeEvent
from console.models import ObjectFacts, ObjectVersion, read_upload
from console.ui.events.event_detail import EventDetail
from console.ui.uploads.upload_detail import object_lines, object_url
from console.ui.uploads.upload_screen import UploadScreen
from tests.ui.conftest import SIZES, Console, Opener, _fixed_surroundings, opened, photos
from tests.ui.fake_backend import HOST, NOW, FakeBackend, document

__all__ = ["_fixed_surroundings", "opened", "photos"]


def past_of(backend: FakeBackend, number: int) -> list[ChangeEvent]:
    """An upload's life: recorded, begun, half done, failed."""
    first = document(number)
    begun = first | {"status": "uploading", "started_at": NOW}
    half = begun | {"current": 5_000_000, "percentage": 28.7}
    failed = half | {"status": "failed", "error": {"code": "AccessDenied", "message": "no", "at": NOW}}
    found = [backend.event("insert", first["_id"], None, first)]
    for before, after in ((first, begun), (begun, half), (half, failed)):
        changed = {name: value for name, value in after.items() if before[name] != value}
        found.append(
            backend.event("update", first["_id"], before, after, {"updatedFields": changed, "removedFields": []})
        )
    return found


async def on_events(console: Console) -> UploadScreen:
    backend = console.backend
    backend.pasts[document(8)["_id"]] = past_of(backend, 8)
    await console.press("2", "enter")
    await console.press("2")
    await console.until(lambda: "3 events" in console.text)
    screen = console.app.screen
    assert isinstance(screen, UploadScreen)
    return screen


FAILED: dict[str, Any] = {
    "status": "failed",
    "error": {"code": "AccessDenied", "message": "no", "at": NOW},
}


async def test_the_whole_past_of_an_upload_is_two_keys_away_and_goes_on(opened: Opener) -> None:
    async with opened(documents=[document(8, **FAILED)]) as console:
        await on_events(console)
        assert "1 of progress hidden (P)" in console.text
        console.backend.change(document(8)["_id"], priority=3)
        await console.until(lambda: "priority 0→3" in console.text)
        await console.press("P")
        await console.until(lambda: "5 events" in console.text)


async def test_an_event_of_the_past_is_shown_in_full_and_leads_back(opened: Opener) -> None:
    async with opened(documents=[document(8, **FAILED)]) as console:
        screen = await on_events(console)
        await console.press("enter")
        assert isinstance(console.app.screen, EventDetail)
        await console.until(lambda: "AccessDenied" in console.text)
        await console.press("u")  # its upload is the one below
        assert console.app.screen is screen
        await console.press("escape")
        assert console.app.screen is console.screen


async def test_one_key_leads_from_the_log_to_the_upload_and_one_back(opened: Opener) -> None:
    async with opened(documents=[document(8, **FAILED)]) as console:
        console.backend.change(document(8)["_id"], priority=3)
        await console.press("3")
        await console.until(lambda: "priority 0→3" in console.text)
        await console.press("u")
        await console.until(lambda: isinstance(console.app.screen, UploadScreen) and "photo-0008.jpg" in console.text)
        await console.press("escape")
        assert console.app.screen is console.screen


async def test_an_upload_that_the_table_does_not_hold_is_read(opened: Opener) -> None:
    async with opened(documents=[document(8)]) as console:
        backend = console.backend
        other = document(99, filename="elsewhere.bin", status="completed")
        backend.documents[other["_id"]] = other
        backend.bring(backend.event("update", other["_id"], None, None, {"updatedFields": {"seal": "x"}}))
        await console.press("3")
        await console.until(lambda: re.search("▌.*seal", console.text))
        await console.press("u")
        await console.until(lambda: "elsewhere.bin" in console.text)
        await console.press("escape", "g", "u")  # a line of the console's own
        await console.until(lambda: "this line is not about an upload" in console.text)


@pytest.mark.parametrize(
    ("key", "copied"),
    [
        ("k", "photos/2026/photo-0008.jpg"),
        ("u", "https://s3.example.com/archive/photos/2026/photo-0008.jpg"),
        ("p", "/srv/photos/photo-0008.jpg"),
    ],
)
@pytest.mark.parametrize("place", [[], ["enter"]], ids=["table", "screen"])
async def test_two_keys_copy(opened: Opener, key: str, copied: str, place: list[str]) -> None:
    async with opened(documents=[document(8, endpoint="https://s3.example.com")]) as console:
        await console.press("2", *place, "y", key)
        await console.until(lambda: console.app.clipboard == copied)


async def test_the_record_is_copied_as_json(opened: Opener) -> None:
    async with opened(documents=[document(8)]) as console:
        await console.press("2", "y", "j")
        await console.until(lambda: '"photo-0008.jpg"' in console.app.clipboard)


async def test_keys_act_on_the_upload_that_is_open(opened: Opener) -> None:
    async with opened(documents=[document(8, **FAILED)]) as console:
        await console.press("2", "enter", "R")
        await console.until(lambda: ("retry", (document(8)["_id"],)) in console.backend.asked)
        await console.until(lambda: "waiting" in console.lines[0])


async def test_a_link_to_what_has_no_object_is_not_asked_for(opened: Opener) -> None:
    async with opened(documents=[document(8, **FAILED)]) as console:
        await console.press("2", "enter", "l")
        await console.until(lambda: "there is no object yet" in console.text)
        assert isinstance(console.app.screen, UploadScreen)


async def test_why_the_past_or_the_object_cannot_be_told(opened: Opener) -> None:
    async with opened(documents=[document(8)]) as console:
        console.backend.fails = UsageError("no right to open a change stream")
        await console.press("2", "e")
        await console.until(lambda: "its past cannot be read" in console.text)
        await console.press("3")
        await console.until(lambda: "no right to open a change stream" in console.text)


def facts() -> ObjectFacts:
    return ObjectFacts(
        exists=True,
        size=17_400_000,
        etag="9b2cf535f27731c974343645a3985328",
        version_id="v2",
        modified_at=NOW - timedelta(hours=2),
        owner=str(document(8)["_id"]),
        headers={"type": "image/jpeg", "storage": "STANDARD_IA"},
        metadata={"team": "media", "upload-console-id": str(document(8)["_id"])},
        versions=(
            ObjectVersion("v2", 17_400_000, NOW - timedelta(hours=2), is_latest=True),
            ObjectVersion("v1", 1_000, NOW - timedelta(days=2), is_latest=False),
        ),
    )


def test_what_is_said_of_an_object() -> None:
    row = read_upload(document(8))
    lines = list(object_lines(facts(), row, NOW))
    assert ("made by", "this upload") in lines
    assert ("", "2026-11-22 12:00:00 UTC  0.98 KiB  v1") in lines
    assert ("made by", f"upload {'a' * 24}, not this one") in list(
        object_lines(ObjectFacts(exists=True, owner="a" * 24), row, NOW)
    )
    assert ("object", "there is none under this key") in list(object_lines(ObjectFacts(exists=False), row, NOW))


def test_letters_of_a_key_are_escaped_in_its_url() -> None:
    row = read_upload(document(8, key="a b/ü?.jpg"))
    assert object_url(row) == "https://s3.amazonaws.com/archive/a%20b/%C3%BC%3F.jpg"  # type: ignore[arg-type]


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("tab", ["1", "2", "3"])
async def test_picture(opened: Opener, size: tuple[int, int], tab: str, snapshot: SnapshotAssertion) -> None:
    async with opened(size=size, documents=[document(8, **FAILED)], host=HOST) as console:
        console.backend.facts = facts()
        await on_events(console)
        await console.press(tab)
        await console.until(lambda: "asking" not in console.text)
        assert console.text == snapshot
