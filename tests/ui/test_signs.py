"""Signs tell the truth: silent servers, bytes on their way, what is only claimed, care in proportion."""

from __future__ import annotations

import threading

import pytest

from console.models import Requested
from console.ui.backend import ServerHealth
from console.ui.main import polling
from tests.ui.rest import Typed

from .conftest import Opener
from .fake_backend import document

MIB = 1024 * 1024


@pytest.mark.parametrize(("server", "words"), [("mongodb", "◌ MongoDB silent for"), ("s3", "◌ S3 silent for")])
async def test_a_server_that_does_not_answer_is_silent(
    opened: Opener, monkeypatch: pytest.MonkeyPatch, server: str, words: str
) -> None:
    monkeypatch.setattr(polling, "PING_SECONDS", 0.01)
    monkeypatch.setattr(polling, "HEALTH_SECONDS", 0.01)
    monkeypatch.setattr(polling, "SILENT_SECONDS", 0.5)
    running = document(1, status="uploading", rate=5.0 * MIB, current=MIB)
    async with opened(documents=[running], size=(200, 50)) as console:
        goes, healthy = threading.Event(), getattr(console.backend, f"{server}_health")

        def stopped() -> ServerHealth:
            goes.wait(60)
            health: ServerHealth = healthy()
            return health

        await console.until(lambda: "5.00 MiB/s" in console.lines[1])
        monkeypatch.setattr(getattr(console.screen._polling, f"_{server}"), "_question", stopped)
        await console.until(lambda: words in console.text)
        if server == "mongodb":
            assert "– B/s" in console.lines[1]  # what was last heard of is not how fast it is now
        goes.set()
        await console.until(lambda: words not in console.text)


async def test_bytes_on_their_way_count(opened: Opener) -> None:
    sending = document(1, status="uploading", size=100 * MIB, current=0, sent=50 * MIB, rate=10.0 * MIB)
    async with opened(documents=[sending], size=(200, 50)) as console:
        await console.until(lambda: "50%" in console.text and " 5s " in console.text)


async def test_what_is_only_claimed_is_queued(opened: Opener) -> None:
    documents = [document(n, status="uploading", sent=None if n > 1 else 5, rate=0.0) for n in range(1, 4)]
    async with opened(documents=documents, size=(200, 50)) as console:
        await console.until(lambda: "↑ 1 uploading" in console.text and "⋯ 2 queued" in console.text)
        assert console.text.count("queued") == 3


async def test_many_deletions_ask_for_their_number(opened: Opener) -> None:
    async with opened(documents=[document(n, status="completed") for n in range(1, 26)]) as console:
        await console.press("2", "asterisk", "d", "y", "enter")
        await console.until(lambda: "expected 25" in console.text)
        assert not console.backend.asked
        await console.press("backspace", Typed("25"), "enter")
        await console.until(lambda: [asked[0] for asked in console.backend.asked] == ["delete"])


async def test_a_pause_is_undone(opened: Opener) -> None:
    async with opened(documents=[document(1, status="uploading")]) as console:
        await console.press("2", "p")
        await console.until(lambda: console.backend.asked)
        await console.press("U")
        await console.until(lambda: len(console.backend.asked) == 2)
        assert console.backend.asked[1][2] is Requested.RUN
        await console.press("U")  # and what was undone is done again
        await console.until(lambda: len(console.backend.asked) == 3)
        assert console.backend.asked[2][2] is Requested.PAUSE


async def test_progress_is_hidden_in_the_log_until_it_is_asked_for(opened: Opener) -> None:
    async with opened(documents=[document(1, status="uploading")]) as console:
        for number in range(1, 4):
            console.backend.change(document(1)["_id"], current=number * MIB, rate=2.0 * MIB, percentage=5.0)
        console.backend.change(document(1)["_id"], status="paused")
        await console.until(lambda: "3 of progress hidden (p)" in console.text)
        assert "MiB→" not in console.text
        await console.press("3", "p")
        await console.until(lambda: "current 2.00 MiB→3.00 MiB" in console.text)
