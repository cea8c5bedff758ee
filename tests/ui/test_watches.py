"""The watches of every host: what is seen of each, paused from here, and shown in full."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from syrupy.assertion import SnapshotAssertion

from console.files.refusals import Refusal
from console.records.watches import KnownWatch
from console.ui.screens.watches_screen import WatchesScreen
from console.ui.widgets.text_screen import TextScreen

from .conftest import SIZES, Console, Opener
from .fake_backend import NOW, document
from .test_pictures import picture

INBOX = KnownWatch(
    host="alpha",
    rule="inbox",
    folder="/srv/inbox",
    destination="s3://archive/in/",
    state="watching",
    is_paused=False,
    pending=3,
    sent=1_200,
    refused=2,
    refused_by_reason={"larger than allowed": 1, "its extension is not allowed": 1},
    last_refusals=(
        Refusal("/srv/inbox/\x1b[2J.exe", "its extension is not allowed (.pdf)"),
        Refusal("/srv/inbox/film.pdf", "larger than allowed (9.0 GiB, at most 5.0 GiB)"),
    ),
    last_error="",
    last_error_at=None,
    is_troubled=False,
    is_alive=True,
    heartbeat_at=NOW - timedelta(seconds=2),
    waiting=4,
    failed=1,
)
FULL = replace(
    INBOX,
    rule="full",
    folder="/srv/full",
    state="polling",
    last_error="/srv/full/a.bin cannot be moved to /srv/sent: No space left on device",
    last_error_at=NOW - timedelta(minutes=3),
    is_troubled=True,
)
WATCHES = [
    INBOX,
    replace(INBOX, rule="scans", folder="/srv/scans", state="paused", is_paused=True, failed=0),
    replace(INBOX, rule="first", folder="/srv/first", state="scanning 65%", pending=2_000),
    FULL,
    replace(INBOX, rule="mended", folder="/srv/mended", last_error=FULL.last_error, last_error_at=FULL.last_error_at),
    replace(INBOX, rule="old", host="beta", is_alive=False, heartbeat_at=NOW - timedelta(minutes=9)),
    replace(INBOX, rule="done", host="beta", folder="/srv/done", state="stopped", is_alive=False, refused=0),
]


async def shown(console: Console, *watches: KnownWatch) -> None:
    console.backend.watch_states = list(watches)
    await console.press("w")
    assert isinstance(console.app.screen, WatchesScreen)
    await console.until(lambda: watches[-1].folder in console.text)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
async def test_watches_tell_their_state_counts_and_host(
    opened: Opener, size: tuple[int, int], snapshot: SnapshotAssertion
) -> None:
    async with opened(size=size) as console:
        await shown(console, *WATCHES)
        for words in ("● /srv/inbox", "‖ /srv/scans", "● /srv/first", "✗ /srv/full", "– /srv/done", "! /srv/inbox"):
            assert words in console.text, words
        assert picture(console) == snapshot


async def test_a_watch_is_paused_and_let_go_on_from_here(opened: Opener) -> None:
    async with opened() as console:
        await shown(console, INBOX)
        await console.press("p")
        await console.until(lambda: ("pause_watch", "alpha", "inbox", True) in console.backend.asked)
        console.backend.watch_states = [replace(INBOX, is_paused=True)]
        console.app.screen.ask()  # type: ignore[attr-defined]  # as it does every few seconds
        await console.until(lambda: "‖ /srv/inbox" in console.text)
        await console.press("p")
        await console.until(lambda: ("pause_watch", "alpha", "inbox", False) in console.backend.asked)


async def test_a_watch_in_full_has_its_reasons_and_follows_what_happens(opened: Opener) -> None:
    async with opened() as console:
        await shown(console, FULL)
        await console.press("enter")
        assert isinstance(console.app.screen, TextScreen)
        await console.until(lambda: "1  larger than allowed" in console.text)
        for words in (r"\x1b[2J.exe", "its extension is not allowed (.pdf)", "3m ago: /srv/full/a.bin cannot be moved"):
            assert words in console.text, words
        console.backend.watch_states = [replace(FULL, is_troubled=False, sent=1_201)]
        console.app.screen_stack[-2].ask()  # type: ignore[attr-defined]
        await console.until(lambda: "past error" in console.text and "1,201" in console.text)
        await console.press("escape", "escape")
        assert console.app.screen is console.screen


async def test_without_watches_it_is_said_how_to_get_one(opened: Opener) -> None:
    async with opened() as console:
        console.backend.watch_states = []
        await console.press("w")
        words = "no watches: write [[watch]] tables, or run `upload-console watch DIR`"
        await console.until(lambda: words in console.text)
        await console.press("p", "enter")
        assert isinstance(console.app.screen, WatchesScreen)


async def test_uploads_of_a_watch_are_told_from_others(opened: Opener) -> None:
    watch = {"rule": "scans", "scope": "alpha", "digest": "d"}
    documents = [document(5, source="watch", watch=watch, priority=1), document(6)]
    async with opened(size=(80, 24), documents=documents) as console:
        await console.until(lambda: "· » photo" in console.text and "· photo" in console.text)
        await console.press("2", "enter")
        await console.until(lambda: "watch scans, priority" in console.text)
