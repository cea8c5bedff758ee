"""Twenty-five things that an operator does in a day, by keys alone, each with the number of keys that it may take.

A task that needs more keys than its number says is mended in the product, not here. Texts that are typed (a path, a
rate, a name) count by their letters where the number includes them, and are set apart (`typed`) where it does not.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from console.models import BucketEntry, BucketPage, ObjectFacts
from console.ui.events.event_detail import EventDetail
from console.ui.uploads.upload_detail import UploadTab
from console.ui.uploads.upload_screen import UploadScreen

from .conftest import Console, Opener
from .fake_backend import NOW, document

DOCUMENTS = [
    document(1, status="uploading", filename="backup.tar", current=9_000_000, started_at=NOW, key="backups/backup.tar"),
    document(2, status="uploading", filename="film.mp4", started_at=NOW + timedelta(seconds=1)),
    document(3, status="pending", filename="next.bin", host="beta"),
    document(4, status="failed", filename="secret.bin", error={"code": "AccessDenied", "message": "no", "at": NOW}),
    document(5, status="failed", filename="gone.bin", error={"code": "FileGone", "message": "gone", "at": NOW}),
    document(6, status="completed", filename="large.iso", size=9_000_000_000),
    document(7, status="completed", filename="small.txt", size=12),
]
Done = Callable[[Console], object]


def asked(*call: Any) -> Done:
    """The backend was asked for that."""
    return lambda console: call in console.backend.asked


def shows(*texts: str) -> Done:
    return lambda console: all(text in console.text for text in texts)


def statuses(console: Console) -> list[str]:
    return [doc["status"] for doc in console.backend.documents.values()]


def ids(*numbers: int) -> tuple[Any, ...]:
    return tuple(document(number)["_id"] for number in numbers)


def names_shown(console: Console) -> list[str]:
    uploads = console.screen.uploads
    rows = [uploads.row(uploads.key(place)) for place in range(len(uploads))]
    return [getattr(row, "filename", "") for row in rows]


def remembers(console: Console, name: str, value: object) -> bool:
    path = Path(console.screen.files.directory).parent / "screen.json"
    return path.exists() and json.loads(path.read_text()).get(name) == value


def has_tab(console: Console, tab: UploadTab) -> bool:
    return isinstance(console.app.screen, UploadScreen) and console.app.screen.tab is tab


def are_uploaded(console: Console, *names: str) -> bool:
    return [(call[0], *map(Path, call[1])) for call in console.backend.asked if call[0] == "add_uploads"] == [
        ("add_uploads", *(Path(console.screen.files.directory) / name for name in names))
    ]


@dataclass(frozen=True)
class Task:
    """What is wanted; the pane in which the person is; the most keys; the keys; how it is seen that it is done.
    `typed` is put in the place of the key `TEXT`, `before` is pressed first and not counted."""

    name: str
    pane: str
    most: int
    keys: str
    done: Done
    typed: str = ""
    before: str = ""


TASKS = [
    Task(
        "upload two files", "1", 6, "j j space space u enter", lambda console: are_uploaded(console, "a.jpg", "b.jpg")
    ),
    Task(
        "find an upload by its name", "1", 6, "2 / s e c enter", lambda console: names_shown(console) == ["secret.bin"]
    ),
    Task("show only what failed", "1", 1, "F", lambda console: set(names_shown(console)) == {"secret.bin", "gone.bin"}),
    Task("show only what is active", "1", 1, "A", lambda console: len(names_shown(console)) == 3),
    Task("pause all that runs", "1", 3, "A * p", lambda console: "uploading" not in statuses(console)),
    Task(
        "retry all that failed, with the result told",
        *("1", 3, "F * R"),
        lambda console: "failed" not in statuses(console) and "2 uploads waiting again" in console.text,
    ),
    Task("change the colours for good", "1", 5, ": l i g enter", lambda c: remembers(c, "theme", "console-light")),
    Task("see all that happened to an upload", "1", 2, "2 e", lambda console: has_tab(console, UploadTab.EVENTS)),
    Task("see the object of an upload", "2", 2, "enter 3", lambda console: has_tab(console, UploadTab.OBJECT)),
    Task("copy the key of an object", "2", 2, "y k", lambda console: console.app.clipboard == "backups/backup.tar"),
    Task("go to a path", "1", 2, "p TEXT enter", lambda console: shows("inner.txt")(console), typed="2026"),
    Task("watch a folder", "1", 3, "j W y", lambda c: asked("watch_folder", f"{c.screen.files.directory}/2026")(c)),
    Task("go from an event to its upload", "3", 1, "u", lambda console: has_tab(console, UploadTab.DETAIL)),
    Task("compare a document before and after", "3", 1, "enter", lambda c: isinstance(c.app.screen, EventDetail)),
    Task("find out which key does something", "1", 1, "? TEXT", shows("b   ", "Limit bandwidth"), typed="bandwidth"),
    Task("limit the bandwidth", "1", 2, "b TEXT enter", shows("≤ 5.00 MiB/s"), typed="5MiB"),
    Task("let an upload start earlier", "2", 1, "+", asked("set_priority", ids(1), 1)),
    Task("pause an upload and take that back", "2", 2, "p U", lambda console: statuses(console)[0] == "pending"),
    Task("sort by size", "2", 2, "s z", lambda console: names_shown(console)[0] == "large.iso"),
    Task(
        "save a filter as a view",
        "2",
        3,
        "V s enter",
        lambda c: remembers(c, "uploads.views", [BACKUPS]),
        before="/ b a c k enter",
    ),
    Task(
        "show a view of one's own",
        "2",
        2,
        "V 1",
        lambda c: names_shown(c) == ["backup.tar"],
        before="/ b a c k enter V s enter V 0",
    ),
    Task("make a download link", "2", 2, "l enter", shows("https://s3.example.com"), before="/ l a r g e enter"),
    Task("compare an object with its file", "2", 1, "v", asked("verify", *ids(6)), before="/ l a r g e enter"),
    Task("delete an upload", "2", 2, "d y", asked("delete", ids(7)), before="/ s m a l l enter"),
    Task(
        "download an object of the bucket",
        "1",
        4,
        "4 j d enter",
        lambda c: any(call[:2] == ("download", "a.bin") for call in c.backend.asked),
    ),
    Task(
        "give the log the whole screen",
        "1",
        2,
        "3 z",
        lambda c: not c.screen.table.display and c.screen.log_pane.display,
    ),
    Task("leave and let what runs go on later", "1", 2, "q p", lambda console: not console.app.is_running),
]
BACKUPS = {"name": "back", "filter": "back"}


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name.replace(" ", "-"))
async def test_a_task_takes_no_more_keys_than_its_number(opened: Opener, tmp_path: Path, task: Task) -> None:
    keys = task.keys.split()
    assert len(keys) - keys.count("TEXT") <= task.most
    async with opened(size=(80, 24), documents=DOCUMENTS, state_file=tmp_path / "screen.json") as console:
        console.backend.facts = ObjectFacts(exists=True, size=9)
        entries = (BucketEntry("photos/", is_prefix=True), BucketEntry("a.bin", size=5, modified_at=NOW))
        console.backend.pages = {("", ""): BucketPage("archive", "", entries)}
        console.backend.change(document(1)["_id"], attempts=2)
        await console.until(lambda: len(console.screen.log_pane.log_rows) > 1)
        await console.press(task.pane, *task.before.split())
        for key in keys:
            await console.press(*(task.typed if key == "TEXT" else [key]))
        await console.until(lambda: task.done(console), task.name)


def test_there_are_at_least_twenty_five_tasks() -> None:
    assert len({task.name for task in TASKS}) >= 25
