"""Marks after every action, undoing, and questions that are not asked because they cannot be answered."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest

from console.models import Requested
from console.records.requests import Outcome
from tests.ui.conftest import Console, Opener
from tests.ui.fake_backend import NOW, document
from tests.ui.test_console import key
from tests.ui.test_typing import bunch

DONE = ["uploading", "pending", "failed", "completed", "completed"]


def asked(console: Console) -> list[tuple[object, ...]]:
    return [call for call in console.backend.asked if call[0] != "page"]


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ("p", "request"),
        ("r", "request"),
        ("cy", "request"),
        ("cn", None),
        ("R", "retry"),
        ("+", "set_priority"),
        ("-", "set_priority"),
        ("v", "verify"),
        ("dn", None),
        ("d\x1b", None),
        ("l", None),
    ],
)
async def test_marks_of_uploads_stay_whatever_was_done(opened: Opener, keys: str, expected: str | None) -> None:
    documents = [document(number, status=status) for number, status in enumerate(DONE, 1)]
    async with opened(documents=documents) as console:
        await console.press("2", "asterisk")
        marked = set(console.screen.table.rows.marks)
        assert len(marked) == len(DONE)
        bunch(console, keys)
        await console.until(lambda: expected is None or expected in [call[0] for call in asked(console)])
        await console.until(lambda: console.app.screen is console.screen)
        assert console.screen.table.rows.marks == marked
        assert expected is not None or not asked(console)
        await console.press("escape")
        assert not console.screen.table.rows.marks


async def test_marks_go_with_their_rows(opened: Opener) -> None:
    async with opened(documents=[document(n, status="completed") for n in range(1, 4)]) as console:
        await console.press("2", "space", "space", "d", "y")
        await console.until(lambda: console.screen.uploads.held == 1)
        await console.until(lambda: not console.screen.table.rows.marks)


@pytest.mark.parametrize("keys", ["u\r", "u\x1b", "Wn"])
async def test_marks_of_files_stay_whatever_was_done(opened: Opener, keys: str) -> None:
    async with opened(documents=[]) as console:
        await console.press("j", "j", "space", "space")
        marked = set(console.screen.files.rows.marks)
        bunch(console, keys)
        await console.until(lambda: ("add_uploads" in [call[0] for call in asked(console)]) == (keys == "u\r"))
        await console.until(lambda: console.app.screen is console.screen)
        assert console.screen.files.rows.marks == marked
        await console.press("escape")
        assert not console.screen.files.rows.marks


async def test_what_is_undone_is_what_was_asked_last_also_before_it_was_answered(
    opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(documents=[document(n, status="uploading") for n in (1, 2)]) as console:
        await console.press("2", "p")
        await console.until(lambda: len(asked(console)) == 1)
        request, may_answer = console.backend.request, threading.Event()

        def held(ids: list[object], requested: Requested) -> Outcome:
            may_answer.wait(60)
            return request(ids, requested)  # type: ignore[arg-type]

        monkeypatch.setattr(console.backend, "request", held)
        cursor = console.screen.table.rows.cursor_key
        other = key(2) if cursor == key(1) else key(1)
        bunch(console, "j" if cursor == key(1) else "k")
        bunch(console, "pU")
        may_answer.set()
        await console.until(lambda: len(asked(console)) == 3)
        assert asked(console)[1:] == [("request", (other,), Requested.PAUSE), ("request", (other,), Requested.RUN)]


async def test_undoing_a_cancellation_starts_what_ran_and_pauses_what_was_paused(opened: Opener) -> None:
    documents = [document(1, status="uploading"), document(2, status="paused", requested="pause")]
    async with opened(documents=documents) as console:
        await console.press("2", "asterisk", "c", "y")
        await console.until(lambda: console.backend.counts()["cancelled"] == 2)
        await console.press("U")
        await console.until(lambda: len(asked(console)) == 3)
        assert asked(console)[1][0] == "retry"
        assert set(asked(console)[1][1]) == {key(1), key(2)}  # type: ignore[call-overload]
        assert asked(console)[2] == ("request", (key(2),), Requested.PAUSE)


async def test_undoing_a_pause_leaves_what_was_paused_before(opened: Opener) -> None:
    documents = [document(1, status="uploading"), document(2, status="paused", requested="pause")]
    async with opened(documents=documents) as console:
        await console.press("2", "asterisk", "p")
        await console.until(lambda: len(asked(console)) == 1)
        await console.press("U")
        await console.until(lambda: len(asked(console)) == 2)
        assert asked(console)[1] == ("request", (key(1),), Requested.RUN)


@pytest.mark.parametrize(
    ("status", "keys", "said"),
    [
        ("uploading", "d", "all 2 are being uploaded: cancel first"),
        ("completed", "c", "all 2 are completed or cancelled already"),
        ("completed", "l", "a link leads to one object, and 2 uploads are marked"),
    ],
)
async def test_what_cannot_be_answered_is_not_asked(opened: Opener, status: str, keys: str, said: str) -> None:
    async with opened(documents=[document(n, status=status) for n in (1, 2)]) as console:
        await console.press("2", "asterisk", *keys)
        await console.until(lambda: said in console.text)
        assert console.app.screen is console.screen
        assert not asked(console)


async def test_what_nobody_is_at_work_on_any_more_can_be_deleted(opened: Opener) -> None:
    lease = {"runner": "beta:1", "expires_at": NOW - timedelta(minutes=5)}
    async with opened(documents=[document(1, status="uploading", lease=lease)]) as console:
        await console.press("2", "d")
        await console.until(lambda: "Delete it" in console.text)
