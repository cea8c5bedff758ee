"""The console as a whole: what a person does with keys, and what the backend is asked for."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from bson import ObjectId
from rich.cells import cell_len

from console.events.feed_items import FeedState, Gap
from console.models import Comparison, OpenMultipart, Requested
from console.records.runners import Limits
from console.ui.backend import Leave, Link, Refusal, ServerHealth
from console.ui.uploads.upload_detail import LinkScreen
from console.ui.uploads.upload_screen import UploadScreen
from console.ui.widgets.dialogs import ChoiceDialog, FormDialog
from console.ui.widgets.keys import KeysScreen
from console.ui.widgets.pane import TitleLine
from tests.ui.rest import Typed

from .conftest import SIZES, Opener
from .fake_backend import NOW, document, unreachable


def key(number: int) -> ObjectId:
    return ObjectId(f"{number:024x}")


@pytest.mark.parametrize("size", SIZES)
async def test_nothing_overlaps_and_every_line_is_as_wide_as_the_terminal(
    opened: Opener, size: tuple[int, int]
) -> None:
    async with opened(size=size) as console:
        assert {cell_len(line) for line in console.lines} == {size[0]}
        assert len(console.lines) == size[1]
        panes = [console.screen.files.region, console.screen.table.region, console.screen.log_pane.region]
        assert not any(a.overlaps(b) for a in panes for b in panes if a is not b)
        for word in ("Files", "Uploads", "Events", "MongoDB", "S3", "Keys", "Leave"):
            assert word in console.text, word


async def test_marked_files_are_uploaded_and_their_events_appear(opened: Opener, photos: Path) -> None:
    async with opened(size=(80, 24), documents=[]) as console:
        await console.press("down", "down", "space", "space", "u", "enter")
        await console.until(lambda: len(console.screen.uploads) == 2)
        assert console.backend.asked[0] == ("add_uploads", (str(photos / "a.jpg"), str(photos / "b.jpg")))
        await console.until(lambda: "+ insert" in console.text)
        await console.until(lambda: "2 waiting" in console.text or "· 2" in console.text)
        assert len(console.screen.files.rows.marks) == 2  # until escape: u again would mean the same files


async def test_tab_and_numbers_go_from_pane_to_pane(opened: Opener) -> None:
    async with opened() as console:
        panes = [console.screen.files, console.screen.table, console.screen.log_pane]
        for pane in [*panes[1:], panes[0]]:
            await console.press("tab")
            assert console.screen.focused_pane is pane
        await console.press("shift+tab")
        assert console.screen.focused_pane is panes[2]
        for number, pane in enumerate(panes, 1):
            await console.press(str(number))
            assert console.screen.focused_pane is pane


async def test_zoom_gives_the_pane_the_screen_and_takes_it_back(opened: Opener) -> None:
    async with opened(size=(80, 24)) as console:
        await console.press("3", "z")
        await console.until(lambda: console.screen.log_pane.size.height == 21)
        assert "Uploads" not in console.text
        await console.press("2")
        await console.until(lambda: console.screen.table.size == (80, 21))
        await console.press("z")
        await console.until(lambda: "Events" in console.text and "Files" in console.text)
        assert console.screen.table.size.width < 80


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("p", ("request", (key(2),), Requested.PAUSE)),
        ("c", ("request", (key(2),), Requested.CANCEL)),
        ("r", ("request", (key(2),), Requested.RUN)),
        ("R", ("retry", (key(2),))),
        ("plus", ("set_priority", (key(2),), 1)),
        ("minus", ("set_priority", (key(2),), -1)),
        ("v", ("verify", key(2))),
    ],
)
async def test_keys_ask_for_the_upload_under_the_cursor(opened: Opener, name: str, asked: tuple[object, ...]) -> None:
    documents = [document(1, status="uploading"), document(2, status="uploading", started_at=NOW)]
    async with opened(documents=documents) as console:
        await console.press("2", "end", name)
        await console.until(lambda: asked in console.backend.asked)


async def test_cancelling_what_has_arrived_asks_first_and_says_how_much_goes(opened: Opener) -> None:
    async with opened(documents=[document(1, status="uploading", current=5_242_880)]) as console:
        await console.press("2", "c")
        assert isinstance(console.app.screen, ChoiceDialog)
        assert "5.00 MiB arrived" in console.text
        await console.press("enter")
        assert console.backend.asked == []
        await console.press("c", "y")
        await console.until(lambda: ("request", (key(1),), Requested.CANCEL) in console.backend.asked)


async def test_a_refused_intent_names_the_upload_or_says_how_many(opened: Opener) -> None:
    async with opened(documents=[document(n, status="completed") for n in (1, 2)]) as console:
        await console.press("2", "end", "R")
        await console.until(lambda: "photo-0002.jpg: completed" in console.text, "one")
        await console.press("asterisk", "R")
        await console.until(lambda: "2 uploads: completed" in console.text, "two")


async def test_with_few_lines_the_log_takes_half_of_them_while_it_is_read(opened: Opener) -> None:
    async with opened(size=(80, 24)) as console:
        before = console.screen.log_pane.size.height
        await console.press("3")
        await console.until(lambda: console.screen.log_pane.size.height >= 10 > before)
        await console.press("2")
        await console.until(lambda: console.screen.log_pane.size.height == before)


async def test_keys_ask_for_all_marked_uploads_at_once(opened: Opener) -> None:
    async with opened(documents=[document(n) for n in range(1, 5)]) as console:
        await console.press("2", "asterisk", "p")
        await console.until(lambda: console.backend.asked)
        _, ids, requested = console.backend.asked[0]
        assert (set(ids), requested) == ({key(n) for n in range(1, 5)}, Requested.PAUSE)
        await console.until(lambda: console.text.count("paused") >= 4)


async def test_deleting_asks_first_and_no_is_the_answer_that_is_ready(opened: Opener) -> None:
    async with opened(documents=[document(1, status="completed")]) as console:
        await console.press("2", "d")
        assert isinstance(console.app.screen, ChoiceDialog)
        assert "photo-0001.jpg" in console.text
        await console.press("enter")
        assert console.backend.asked == []
        await console.press("d", "y")
        await console.until(lambda: ("delete", (key(1),)) in console.backend.asked)
        await console.until(lambda: len(console.screen.uploads) == 0)


async def test_deleting_says_what_is_there_to_be_deleted_and_what_stays(opened: Opener) -> None:
    async with opened(documents=[document(1, status="cancelled")]) as console:
        console.backend.keeps = "the object is that of a later upload"
        await console.press("2", "d")
        assert "What arrived of it, and the record" in console.text
        await console.press("y")
        await console.until(lambda: "of 1 only the record: the object is that" in console.text)


async def test_what_cannot_be_compared_is_not_called_different(opened: Opener) -> None:
    async with opened(documents=[document(1, status="completed")]) as console:
        console.backend.verification = Comparison(None, "the server tells no checksum")
        await console.press("2", "v")
        await console.until(lambda: "the server tells no checksum" in console.text)
        assert "Unknown" in console.text


async def test_a_link_is_made_for_the_time_asked_and_copied(opened: Opener) -> None:
    async with opened(documents=[document(1, status="completed")]) as console:
        await console.press("2", "l")
        assert isinstance(console.app.screen, FormDialog)
        await console.press(*["backspace"] * 10, Typed("9d"), "enter")
        await console.until(lambda: "S3 takes from 1s to 7d 00h" in console.text)
        await console.press(*["backspace"] * 10, Typed("2h"), "enter")
        await console.until(lambda: isinstance(console.app.screen, LinkScreen))
        assert ("link", key(1), 7200) in console.backend.asked
        assert "X-Amz-Expires=7200" in console.app.clipboard
        await console.press("escape")
        assert console.app.screen is console.screen


async def test_limits_are_shown_changed_and_refused_with_a_reason(opened: Opener) -> None:
    async with opened() as console:
        await console.press("b")
        await console.until(lambda: isinstance(console.app.screen, FormDialog))
        assert "20.0 MiB/s" in console.text
        await console.press(*["backspace"] * 12, Typed("fast"), "enter")
        await console.until(lambda: "expected a rate such as 20 MiB/s" in console.text)
        await console.press(*["backspace"] * 12, Typed("500k"), "enter")
        await console.until(lambda: ("set_limits", Limits(500_000, 4, 8)) in console.backend.asked)


async def test_orphans_are_listed_and_aborted_only_when_told(opened: Opener) -> None:
    async with opened() as console:
        console.backend.found_orphans = [OpenMultipart("left/behind.bin", "u1", NOW - timedelta(days=3), 5_000_000)]
        await console.press("o")
        await console.until(lambda: isinstance(console.app.screen, ChoiceDialog))
        assert "left/behind.bin" in console.text
        await console.press("n", "o")
        await console.until(lambda: isinstance(console.app.screen, ChoiceDialog))
        await console.press("y")
        await console.until(lambda: console.backend.asked[-1][0] == "abort_orphans")


async def test_a_failed_request_is_a_notice_with_advice_and_not_a_traceback(opened: Opener) -> None:
    async with opened(documents=[document(1, status="uploading")]) as console:
        console.backend.fails = unreachable()
        await console.press("2", "p")
        await console.until(lambda: "Is mongod running?" in console.text)
        assert "Server out of reach" in console.text
        console.backend.fails = ValueError("[bold]odd\x1b[31m")
        await console.press("r")
        await console.until(lambda: r"ValueError: [bold]odd\x1b[31m" in console.text)


async def test_what_was_refused_is_named(opened: Opener) -> None:
    async with opened(size=(120, 36)) as console:
        console.backend.refusals = (Refusal("/srv/socket", "a socket cannot be uploaded"),)
        await console.press("1", "down", "u", "enter")
        await console.until(lambda: "/srv/socket: a socket cannot be uploaded" in console.text.replace("\n", ""))


async def test_while_mongodb_is_away_nobody_is_called_stalled(opened: Opener) -> None:
    """Leases run out that cannot be renewed; what is sent here goes on."""
    moment = [NOW]
    lease = {"runner": "alpha:1", "expires_at": NOW + timedelta(seconds=30)}
    documents = [document(1, status="uploading", lease=lease, rate=1_000_000.0)]
    async with opened(documents=documents, now=lambda: moment[0]) as console:
        console.backend.bring(FeedState(False, "primary stepped down"))
        await console.until(lambda: "MongoDB reconnecting" in console.text)
        moment[0] += timedelta(minutes=2)
        console.screen._draw()
        await console.until(lambda: "photo-0001.jpg" in console.text)
        assert "stalled" not in console.text
        console.backend.bring(FeedState(True))
        await console.until(lambda: "stalled" in console.text)


async def test_the_header_says_how_the_servers_are_in_words(opened: Opener) -> None:
    async with opened() as console:
        assert "● MongoDB connected" in console.text
        console.backend.bring(FeedState(False, "primary stepped down"))
        await console.until(lambda: "◌ MongoDB reconnecting: primary stepped down" in console.text)
        await console.until(lambda: "◌ reconnecting  primary stepped down" in console.text)
        console.backend.bring(FeedState(True))
        await console.until(lambda: "● MongoDB connected" in console.text)
        lost = ServerHealth(Link.LOST, "s3.example.com", "connection refused")
        console.backend.s3 = lost
        console.screen._polling.ask_health()
        await console.until(lambda: "✗ S3 lost: connection refused" in console.text)
        told = ServerHealth(Link.LOST, "s3.example.com", "could not connect to " + "a/very/long/name/" * 9)
        console.backend.s3 = told
        console.screen._polling.ask_health()
        await console.until(lambda: "● MongoDB connected   ✗ S3 lost: could not connect to a/very/" in console.lines[0])
        assert console.lines[0].rstrip().endswith("…")


async def test_counts_of_a_pane_are_whole_while_there_is_room(opened: Opener) -> None:
    async with opened() as console:
        line = console.screen.files.query_one(TitleLine)
        line.show("Files", "5 marked 480 MiB", "/srv/a/rather/long/path")
        await console.until(lambda: "5 marked 480 MiB ━┓" in console.text)
        line.show("Files", "5 marked 480 MiB of 1,234,567 that there are", "/srv")
        await console.until(lambda: "┏━ Files ━" in console.text and "… ━┓" in console.text)


async def test_the_end_of_a_path_gives_way_to_no_count(opened: Opener) -> None:
    async with opened(size=(100, 30)) as console:
        line = console.screen.files.query_one(TitleLine)
        line.show("Files", ("7 · by size", "7"), "/srv/pictures/nested", keeps_where=True)
        await console.until(lambda: "┏━ Files …pictures/nested ━ 7 ━┓" in console.text)
        marks = ("1 marked, 1 hidden · 10 B", "1 marked, 1 hidden", "●1, 1 hidden")
        line.show("Files", marks, "/srv/pictures/nested", keeps_where=True)
        await console.until(lambda: "┏━ …res/nested ━ ●1, 1 hidden ━┓" in console.text)
        line.show("Files", marks, "/srv", keeps_where=True)
        await console.until(lambda: "┏━ /srv ━━ 1 marked, 1 hidden ━┓" in console.text)


async def test_a_server_that_vanishes_is_told_before_the_feed_has_noticed(opened: Opener) -> None:
    async with opened() as console:
        await console.until(lambda: "MongoDB connected" in console.text)
        console.backend.is_connected = False
        await console.until(lambda: "MongoDB reconnecting" in console.text)
        console.backend.is_connected = True
        await console.until(lambda: "MongoDB connected" in console.text)


async def test_a_gap_is_a_line_of_the_log(opened: Opener) -> None:
    async with opened() as console:
        console.backend.bring(Gap("the oplog no longer reaches back", NOW, NOW))
        await console.until(lambda: "the oplog no longer reaches back" in console.text)


async def test_the_record_is_shown_in_full_with_its_error(opened: Opener) -> None:
    error = {"code": "AccessDenied", "message": "User is not authorized \x1b[2J to perform: s3:PutObject", "at": NOW}
    async with opened(size=(80, 24), documents=[document(8, status="failed", error=error)]) as console:
        await console.press("2", "enter")
        assert isinstance(console.app.screen, UploadScreen)
        await console.until(lambda: "User is not authorized" in console.text)
        assert r"\x1b[2J" in console.text
        await console.press("escape")
        assert console.app.screen is console.screen


async def test_every_key_is_listed_with_a_sentence(opened: Opener) -> None:
    async with opened(size=(120, 100)) as console:
        await console.press("question_mark")
        assert isinstance(console.app.screen, KeysScreen)
        for words in ("Pause an upload", "Upload the marked rows", "Hold the view still", "Leave the console"):
            assert words in console.text
        # Where a pane means something else by a key than the others do, it says so itself.
        for words in ("Show only rows with all the words", "Show only events that match"):
            assert console.text.count(words) == 1
        await console.press("escape")


async def test_leaving_asks_nothing_where_nothing_runs_here(opened: Opener) -> None:
    async with opened(documents=[document(1), document(2, status="uploading", lease=None)]) as console:
        await console.press("ctrl+c")
    assert console.app.return_value is Leave.NOW


@pytest.mark.parametrize(("answer", "left"), [("p", Leave.PAUSE), ("c", Leave.CANCEL)])
async def test_leaving_while_uploads_run_asks_what_becomes_of_them(opened: Opener, answer: str, left: Leave) -> None:
    async with opened(size=(30, 15), documents=[document(1, status="uploading")]) as console:
        await console.press("q")
        dialog = console.app.screen
        assert isinstance(dialog, ChoiceDialog)
        assert dialog.region.contains_region(dialog.query_one(".dialog").region)
        await console.press("s")
        assert console.app.screen is console.screen
        await console.press("q", answer)
    assert console.app.return_value is left


async def test_finish_first_leaves_when_the_last_one_has_ended(opened: Opener) -> None:
    async with opened(documents=[document(1, status="uploading")]) as console:
        await console.press("q", "f")
        await console.until(lambda: ("drain",) in console.backend.asked)
        await console.until(lambda: "leaving after 1 upload" in console.text)
        console.backend.change(key(1), status="completed", finished_at=NOW, lease=None)
        await console.until(lambda: console.app.return_value is not None)
    assert console.app.return_value is Leave.NOW
