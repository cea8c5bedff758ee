"""What is answered to a wish: verifications and deletions of many, and questions that fail again and again."""

from __future__ import annotations

import threading

import pytest
from bson import ObjectId

from console.errors import UsageError
from console.models import Comparison
from console.records.requests import Outcome
from console.ui.main import actions
from console.ui.main.console_screen import question
from console.ui.screens.watches_screen import WatchesScreen

from .conftest import Opener
from .fake_backend import document, unreachable


def key(number: int) -> ObjectId:
    return ObjectId(f"{number:024x}")


async def test_many_are_compared_one_after_the_other_and_told_together(
    opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    documents = [document(number, status="completed") for number in range(1, 21)]
    async with opened(documents=documents) as console:
        busy, most = threading.Semaphore(1), []

        def verify(upload_id: ObjectId) -> Comparison:
            most.append(busy.acquire(blocking=False))
            if upload_id == key(3):
                raise UsageError("it is not completed any more")
            busy.release()
            return Comparison(upload_id != key(7), "size and CRC32 differ" if upload_id == key(7) else "the same")

        def verify_and_give_back(upload_id: ObjectId) -> Comparison:
            try:
                return verify(upload_id)
            except UsageError:
                busy.release()
                raise

        monkeypatch.setattr(console.backend, "verify", verify_and_give_back)
        await console.press("2", "asterisk", "v")
        await console.until(lambda: "18 of 20 objects the same" in console.text)
        assert "photo-0007.jpg: size and CRC32 differ" in console.text
        assert "photo-0003.jpg: cannot be compared: it is not completed" in console.text
        assert "Differs" in console.text
        assert most == [True] * 20  # never two at once


async def test_one_refusal_does_not_hide_what_was_deleted(opened: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(documents=[document(number, status="completed") for number in (1, 2)]) as console:
        outcome = Outcome(1, {key(2): "S3 refuses"}, {key(1): "the object is that of a later upload"})
        monkeypatch.setattr(console.backend, "delete", lambda ids: outcome)
        await console.press("2", "asterisk", "d", "y")
        await console.until(lambda: "photo-0002.jpg: S3 refuses" in console.text)
        assert "deleted: 1 upload" in console.text
        assert "of 1 only the record" in console.text


async def test_an_outage_is_told_once_by_the_watches(opened: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened() as console:
        asked: list[str] = []

        def fail() -> None:
            asked.append("")
            raise unreachable()

        monkeypatch.setattr(console.backend, "watches", fail)
        await console.press("w")
        screen = console.app.screen
        assert isinstance(screen, WatchesScreen)
        for number in range(1, 4):
            await console.until(lambda number=number: len(asked) >= number and not screen.is_asking)  # type: ignore[misc]
            screen.ask()
        await console.until(lambda: len(asked) >= 4 and not screen.is_asking)
        assert len(console.app._notifications) == 1


async def test_a_wish_that_mongodb_lets_wait_is_said_to_wait_and_then_not_to_be_done(
    opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(actions, "_SLOW_SECONDS", 0.05)
    async with opened(documents=[document(1, status="uploading")]) as console:
        answers = threading.Event()

        def hang(*_: object) -> None:
            answers.wait(60)
            raise unreachable()

        monkeypatch.setattr(console.backend, "request", hang)
        await console.press("2", "p")
        await console.until(lambda: "photo-0001.jpg: waiting for MongoDB" in console.text)
        assert "not done" not in console.text
        answers.set()
        await console.until(lambda: "Pause: not done" in console.text)
        assert "Server out of reach" in console.text


async def test_what_is_over_is_not_counted_among_those_to_be_cancelled(opened: Opener) -> None:
    documents = [document(n, status="uploading" if n < 3 else "completed") for n in range(1, 6)]
    async with opened(documents=documents) as console:
        await console.press("2", "asterisk", "c")
        await console.until(lambda: "Cancel 2 uploads?" in console.text)
        assert "3 more are over" in console.text


@pytest.mark.parametrize(
    ("number", "text"), [(1, "Pause it and leave: it continues later"), (2, "Pause them and leave")]
)
def test_one_upload_is_it(number: int, text: str) -> None:
    assert any(text in choice.text for choice in question(number, print)._choices)
