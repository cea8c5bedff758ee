"""What is answered to a wish: verifications and deletions of many, and questions that fail again and again."""

from __future__ import annotations

import threading

import pytest
from bson import ObjectId

from console.errors import UsageError
from console.records.intents import Outcome
from console.ui.backend import Verification
from console.ui.watches import WatchesScreen

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

        def verify(upload_id: ObjectId) -> Verification:
            most.append(busy.acquire(blocking=False))
            if upload_id == key(3):
                raise UsageError("it is not completed any more")
            busy.release()
            return Verification(upload_id != key(7), "size and CRC32 differ" if upload_id == key(7) else "the same")

        def verify_and_give_back(upload_id: ObjectId) -> Verification:
            try:
                return verify(upload_id)
            except UsageError:
                busy.release()
                raise

        monkeypatch.setattr(console.backend, "verify", verify_and_give_back)
        await console.press("2", "asterisk", "v")
        await console.until(lambda: "18 of 20 objects the same" in console.text)
        assert "photo-0007.jpg: size and CRC32 differ" in console.text
        assert "photo-0003.jpg: it is not completed any more" in console.text
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
            await console.until(lambda number=number: len(asked) >= number and not screen._is_asking)  # type: ignore[misc]
            screen._ask()
        await console.until(lambda: len(asked) >= 4 and not screen._is_asking)
        assert len(console.app._notifications) == 1
