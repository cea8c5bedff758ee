"""The screen of jobs, and the notice of one that is over."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from bson import ObjectId
from syrupy.assertion import SnapshotAssertion

from console.job_totals import JobTotals
from console.models import Requested, UploadStatus
from console.ui.screens.jobs_screen import JobsScreen

from .conftest import SIZES, Console, Opener
from .fake_backend import HOST, NOW, document

MIB = 1024 * 1024
JOB, OTHER = ObjectId(f"{1:024x}"), ObjectId(f"{2:024x}")


def job(job_id: ObjectId, name: str, numbers: dict[UploadStatus, int], **fields: Any) -> JobTotals:
    files = sum(numbers.values())
    values: dict[str, Any] = {
        "source": "browser",
        "host": HOST,
        "size": files * MIB,
        "done": 0,
        "sent": 0,
        "rate": 0.0,
        "started_at": NOW - timedelta(minutes=12),
        **fields,
    }
    return JobTotals(id=job_id, name=name, numbers=numbers, **values)


RUNNING = job(
    OTHER,
    "/srv/photos/2026",
    {UploadStatus.COMPLETED: 310, UploadStatus.UPLOADING: 4, UploadStatus.PENDING: 166},
    done=312 * MIB,
    rate=3.2 * MIB,
)
FINISHED = job(
    JOB,
    "/srv/scans",
    {UploadStatus.COMPLETED: 478, UploadStatus.FAILED: 2},
    size=1536 * MIB,
    done=1530 * MIB,
    sent=1530 * MIB,
    failures={"FileGone": 2},
    source="command",
    finished_at=NOW,
)


def documents(number: int, **fields: Any) -> list[dict[str, Any]]:
    return [document(index, batch=JOB if index < number else OTHER, **fields) for index in range(number + 2)]


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
async def test_picture(opened: Opener, size: tuple[int, int], snapshot: SnapshotAssertion) -> None:
    async with opened(size=size) as console:
        console.backend.held_jobs = [RUNNING, FINISHED]
        await console.press("J")
        await console.until(lambda: "2 · 1 not over" in console.text)
        assert console.text == snapshot


async def jobs_of(console: Console) -> JobsScreen:
    await console.press("J")
    screen = console.app.screen
    assert isinstance(screen, JobsScreen)
    await console.until(lambda: "/srv/scans" in console.text)
    return screen


async def test_enter_shows_the_uploads_of_a_job(opened: Opener) -> None:
    async with opened(documents=documents(3)) as console:
        console.backend.held_jobs = [FINISHED]
        await jobs_of(console)
        await console.press("enter")
        await console.until(lambda: "3 of 5" in console.text)
        assert f"job:{JOB}" in console.text
        await console.press("x")


async def test_a_key_acts_on_all_uploads_of_a_job_that_it_applies_to(opened: Opener) -> None:
    some = [*documents(3), document(9, batch=JOB, status="completed")]
    async with opened(documents=some) as console:
        console.backend.held_jobs = [FINISHED]
        await jobs_of(console)
        await console.press("p")
        ids = tuple(each["_id"] for each in some[:3])
        await console.until(lambda: ("request", ids, Requested.PAUSE) in console.backend.asked)
        await console.press("R")
        await console.until(lambda: "no upload of it is failed or cancelled" in console.text)


async def test_to_delete_a_job_of_many_uploads_takes_their_number(opened: Opener) -> None:
    some = documents(21, status="completed")
    async with opened(documents=some) as console:
        console.backend.held_jobs = [FINISHED]
        await jobs_of(console)
        await console.press("d")
        await console.until(lambda: "Type their number, 21" in console.text)
        await console.press("2", "1", "enter")
        await console.until(lambda: ("delete", tuple(each["_id"] for each in some[:21])) in console.backend.asked)


async def test_a_job_that_is_over_leaves_its_summary(opened: Opener) -> None:
    some = documents(2, status="uploading")
    async with opened(documents=some) as console:
        console.backend.held_jobs = [FINISHED]
        console.backend.change(some[0]["_id"], status="completed", finished_at=NOW)
        await console.until(lambda: "completed" in console.text)
        assert ("jobs", (JOB,)) not in console.backend.asked  # the table knows of one that runs
        console.backend.change(some[1]["_id"], status="failed", finished_at=NOW)
        await console.until(lambda: "Job finished" in console.text and "480 files, 1.49 GiB, 12 min" in console.text)
        assert "FileGone" in console.text


async def test_a_job_of_a_watch_is_over_only_when_no_more_files_come(opened: Opener) -> None:
    some = documents(2, status="uploading")
    fresh = job(JOB, "/srv/in", {UploadStatus.COMPLETED: 2}, source="watch", finished_at=NOW)
    async with opened(documents=some) as console:
        console.backend.held_jobs = [fresh]
        for each in some[:2]:
            console.backend.change(each["_id"], status="completed", finished_at=NOW)
        await console.until(lambda: ("jobs", (JOB,)) in console.backend.asked)
        assert "Job finished" not in console.text
