"""The main states as they look at three sizes: text pictures, to be read in a review.

Written again by `pytest tests/ui/test_pictures.py --snapshot-update`; look at the difference before committing it.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from rich.cells import cell_len
from syrupy.assertion import SnapshotAssertion

from console.events.feed_items import Gap
from console.ui.events.event_detail import EventDetail
from console.ui.uploads.upload_screen import UploadScreen
from tests.ui.rest import Typed

from .conftest import SIZES, Console, Inspecting, Opener
from .fake_backend import NOW, RUNNER, document, unreachable
from .test_event_detail import an_update
from .test_event_log import Inspected, events

sizes = pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
Size = tuple[int, int]


def picture(shown: Console | Inspecting) -> str:
    """The screen with its right edge, after looking that every line is as wide as the screen."""
    width, height = shown.app.size
    assert len(shown.lines) == height
    assert {cell_len(line) for line in shown.lines} == {width}
    return "\n".join(f"{line}|" for line in shown.lines)


async def live(console: Console) -> None:
    """A few things happen."""
    backend = console.backend
    backend.change(document(1)["_id"], current=960_000_000, percentage=44.7, rate=17_000_000.0)
    lease = {"runner": RUNNER, "expires_at": NOW + timedelta(days=1)}
    backend.change(document(5)["_id"], status="uploading", started_at=NOW, lease=lease)
    done: dict[str, Any] = {"status": "completed", "percentage": 100.0, "finished_at": NOW, "lease": None, "rate": 0.0}
    backend.change(document(2)["_id"], **done)
    backend.insert(document(77, filename="new.txt"))
    backend.remove(document(40)["_id"])
    backend.bring(Gap("the oplog no longer reaches back", NOW, NOW + timedelta(minutes=3)))
    await console.until(lambda: console.screen.log_pane.log_rows.buffer.total == 8)
    await console.until(lambda: console.screen.status.counts == backend.counts())
    await console.until(lambda: "gap" in console.text and "16.2 MiB/s" in console.lines[1])


@sizes
async def test_upload_sheet(opened: Opener, size: Size, snapshot: SnapshotAssertion) -> None:
    async with opened(size=size) as console:
        console.backend.keys = {"photos/b.jpg"}
        console.backend.known_prefixes = ["photos/2025/", "photos/2026/"]
        await console.press("j", "j", "space", "space", "u", "down", "down", "up", "up", "2", "backspace")
        await console.until(lambda: "would be overwritten" in console.text and "photos/2026/" in console.text)
        assert picture(console) == snapshot


@sizes
async def test_console(opened: Opener, size: Size, snapshot: SnapshotAssertion) -> None:
    async with opened(size=size) as console:
        await live(console)
        await console.press("2", "space", "space")
        await console.until(lambda: "2 marked" in console.text)
        assert picture(console) == snapshot


@sizes
async def test_console_without_uploads(opened: Opener, size: Size, snapshot: SnapshotAssertion) -> None:
    async with opened(size=size, documents=[]) as console:
        await console.until(lambda: "no uploads yet" in console.text and "snapshot" in console.text)
        assert picture(console) == snapshot


@sizes
async def test_zoomed_event_log_with_a_filter(opened: Opener, size: Size, snapshot: SnapshotAssertion) -> None:
    async with opened(size=size) as console:
        await live(console)
        await console.press("3", "z", "slash", Typed("op:insert,delete"), "enter")
        await console.until(lambda: "5 of 8" in console.text)
        assert picture(console) == snapshot


@sizes
async def test_failed_upload_in_full(opened: Opener, size: Size, snapshot: SnapshotAssertion) -> None:
    error = {"code": "AccessDenied", "message": "User is not authorized to perform s3:PutObject", "at": NOW}
    async with opened(size=size, documents=[document(8, status="failed", error=error, attempts=3)]) as console:
        await console.press("2", "enter")
        assert isinstance(console.app.screen, UploadScreen)
        await console.until(lambda: "Ask for s3:PutObject" in console.text)
        assert picture(console) == snapshot


@sizes
async def test_a_question_and_a_notice(opened: Opener, size: Size, snapshot: SnapshotAssertion) -> None:
    async with opened(size=size, documents=[document(1, status="completed")]) as console:
        console.backend.fails = unreachable()
        await console.press("2", "p")
        await console.until(lambda: "Is mongod running?" in console.text)
        await console.press("d")
        await console.until(lambda: "Delete it" in console.text)
        assert picture(console) == snapshot


@sizes
async def test_keys(opened: Opener, size: Size, snapshot: SnapshotAssertion) -> None:
    async with opened(size=size) as console:
        await console.press("question_mark")
        await console.until(lambda: "Upload the marked rows" in console.text)
        assert picture(console) == snapshot


@sizes
async def test_event_compared(inspected: Inspected, size: Size, snapshot: SnapshotAssertion) -> None:
    async with inspected(an_update(address={"city": "Zürich", "lines": ["a", None, 1.5]}), size=size) as inspecting:
        await inspecting.press("enter")
        assert isinstance(inspecting.app.screen, EventDetail)
        await inspecting.until(lambda: "Zürich" in inspecting.text)
        assert picture(inspecting) == snapshot


@pytest.mark.parametrize(("tab", "shown"), [("2", '"documentKey"'), ("3", "updatedFields"), ("4", "of 3")])
async def test_other_tabs_of_an_event(inspected: Inspected, tab: str, shown: str, snapshot: SnapshotAssertion) -> None:
    three = [an_update(address={"city": city}) for city in ("Zürich", "Bern", "Basel")]
    async with inspected(*three, size=(120, 36)) as inspecting:
        await inspecting.press("enter", tab)
        await inspecting.until(lambda: shown in inspecting.text)
        assert picture(inspecting) == snapshot


@sizes
async def test_inspector(inspected: Inspected, size: Size, snapshot: SnapshotAssertion) -> None:
    other = events(1, start=60, namespace=("shop", "customers"))
    async with inspected(*events(60), *other, size=size) as inspecting:
        await inspecting.until(lambda: "customers" in inspecting.text)
        await inspecting.press("up")
        assert picture(inspecting) == snapshot
