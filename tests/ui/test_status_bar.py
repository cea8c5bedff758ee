"""The two lines at the top."""

from __future__ import annotations

from console.events.feed_items import FeedState

from .conftest import Opener


async def test_no_rate_is_shown_as_if_it_were_now_while_mongodb_is_away(opened: Opener) -> None:
    async with opened() as console:
        await console.until(lambda: "21.6 MiB/s" in console.lines[1])
        console.backend.bring(FeedState(False, "primary stepped down"))
        await console.until(lambda: "– B/s" in console.lines[1] and "21.6 MiB/s" not in console.lines[1])
        console.backend.bring(FeedState(True))
        await console.until(lambda: "21.6 MiB/s" in console.lines[1])


async def test_it_says_until_when_uploads_wait(opened: Opener) -> None:
    async with opened(size=(80, 24)) as console:
        console.backend.waiting_until = "waits until 20:00"
        await console.until(lambda: "waits until 20:00" in console.lines[1])
