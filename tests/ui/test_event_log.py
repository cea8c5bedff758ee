"""The event log: follow, hold, filter, find; in the console and in the inspector."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

import pytest
from bson import ObjectId
from textual.events import Key

from console.events.event import ChangeEvent
from console.events.feed_items import FeedItem, FeedState, Gap
from console.ui.events import log_rows
from console.ui.inspector import Inspector
from console.ui.widgets.list_view import RowsView
from tests.ui.rest import Typed

from .conftest import Events, Inspecting
from .fake_backend import NOW, FakeBackend, unreachable
from .rest import Rest

Inspected = Callable[..., AbstractAsyncContextManager[Inspecting]]


def events(number: int, *, start: int = 0, namespace: tuple[str, str] = ("shop", "orders")) -> list[FeedItem]:
    """Updates of ten documents in turn, each with a number of its own."""
    backend = FakeBackend()
    made: list[FeedItem] = []
    for n in range(start, start + number):
        key = ObjectId(f"{n % 10:024x}")
        before, after = {"_id": key, "n": n - 10, "state": "old"}, {"_id": key, "n": n, "state": "old"}
        update = {"updatedFields": {"n": n}, "removedFields": []}
        made.append(backend.event("update", key, before, after, update, namespace))
    return made


@dataclass
class Failing:
    """A feed that fails."""

    feed_take: Callable[[float], list[FeedItem]]


def rows(inspecting: Inspecting) -> RowsView:
    return inspecting.log_pane.rows


async def test_the_log_follows_its_end_until_one_scrolls_up_and_counts_what_is_new(inspected: Inspected) -> None:
    async with inspected(*events(100), size=(80, 24)) as inspecting:
        await inspecting.until(lambda: "n 89→99" in inspecting.text)
        assert rows(inspecting).following
        await inspecting.press("pageup")
        top = rows(inspecting).top
        inspecting.source.backend.bring(*events(28, start=100))
        await inspecting.until(lambda: "+28 new" in inspecting.text)
        assert rows(inspecting).top == top
        await inspecting.press("end")
        await inspecting.until(lambda: "n 117→127" in inspecting.text and "new" not in inspecting.lines[1])


async def test_holding_stops_the_view_and_not_the_reading(inspected: Inspected) -> None:
    async with inspected(*events(5)) as inspecting:
        await inspecting.press("space")
        await inspecting.until(lambda: "held" in inspecting.text)
        inspecting.source.backend.bring(*events(3, start=5))
        await inspecting.until(lambda: "held · +3 new" in inspecting.text)
        assert "n -3→7" not in inspecting.text
        await inspecting.press("space")
        await inspecting.until(lambda: "n -3→7" in inspecting.text and "held" not in inspecting.text)


async def test_the_filter_hides_the_rest_and_x_clears_it(inspected: Inspected) -> None:
    backend = FakeBackend()
    other = backend.event("insert", 7, None, {"_id": 7, "state": "fresh"}, None, ("shop", "orders"))
    async with inspected(*events(2_000), other, capacity=5_000) as inspecting:
        await inspecting.press("slash", Typed("op:insert"), "enter")
        await inspecting.until(lambda: "fresh" in inspecting.text and "n 1,989" not in inspecting.text)
        await inspecting.until(lambda: inspecting.log_pane.log_rows.scan() == 0)
        await inspecting.until(lambda: "2 of 2,002" in inspecting.text)
        await inspecting.press("x")
        await inspecting.until(lambda: "n 1989→1999" in inspecting.text)


async def test_a_filter_that_is_none_yet_says_what_is_wrong_and_keeps_the_last(inspected: Inspected) -> None:
    async with inspected(*events(20)) as inspecting:
        await inspecting.press("slash", Typed("n"), "space", Typed('"open'))
        await inspecting.until(lambda: "a quote that nothing closes" in inspecting.text)
        assert "n 9→19" in inspecting.text


async def test_only_the_document_under_the_cursor(inspected: Inspected) -> None:
    async with inspected(*events(30)) as inspecting:
        await inspecting.press("up", "i")
        await inspecting.until(lambda: "4 of 31" in inspecting.text)
        assert 'key:"000000000000000000000008"' in inspecting.text
        await inspecting.press("escape")
        await inspecting.until(lambda: "n 9→19" in inspecting.text)


async def test_finding_goes_up_first_then_on_and_back_and_says_when_there_is_no_more(inspected: Inspected) -> None:
    async with inspected(*events(1_000), size=(80, 24)) as inspecting:

        def found(number: int) -> bool:
            key = rows(inspecting).cursor_key
            entry = inspecting.log_pane.log_rows.entry(key) if isinstance(key, int) else None
            return isinstance(entry, ChangeEvent) and entry.after is not None and entry.after["n"] == number

        await inspecting.press("f", Typed('{"fullDocument.n": {"$in": [50, 500]}}'), "enter")
        await inspecting.until(lambda: found(500))
        await inspecting.press("N")
        await inspecting.until(lambda: found(50))
        await inspecting.press("n")
        await inspecting.until(lambda: found(500))
        await inspecting.press("n")
        await inspecting.until(lambda: "nothing below" in inspecting.text)


async def test_memory_is_bounded_and_what_went_is_counted(inspected: Inspected) -> None:
    async with inspected(capacity=50) as inspecting:
        inspecting.source.backend.bring(*events(120))
        await inspecting.until(lambda: "71 older gone" in inspecting.text)
        assert len(inspecting.log_pane.log_rows) == 50


async def test_the_view_stays_on_its_event_while_the_oldest_go(inspected: Inspected) -> None:
    async with inspected(*events(60), size=(80, 24), capacity=100) as inspecting:
        await inspecting.until(lambda: "n 49→59" in inspecting.text)
        await inspecting.press("up", "up")
        key, line = rows(inspecting).cursor_key, rows(inspecting).cursor - rows(inspecting).top
        inspecting.source.backend.bring(*events(80, start=60))
        await inspecting.until(lambda: "+80 new" in inspecting.text)
        assert (rows(inspecting).cursor_key, rows(inspecting).cursor - rows(inspecting).top) == (key, line)


async def test_the_namespace_is_shown_where_there_are_several(inspected: Inspected) -> None:
    async with inspected(*events(2)) as inspecting:
        assert "Namespace" not in inspecting.text
        inspecting.source.backend.bring(*events(1, start=2, namespace=("shop", "customers")))
        await inspecting.until(lambda: "Namespace" in inspecting.text and " customers " in inspecting.text)
        assert "shop.customers" not in inspecting.text  # the database is always the same one
        inspecting.source.backend.bring(*events(1, start=3, namespace=("stock", "parts")))
        await inspecting.until(lambda: "stock.parts" in inspecting.text and "shop.customers" in inspecting.text)


async def test_gaps_and_connections_are_lines_and_the_end_of_a_feed_is_said(inspected: Inspected) -> None:
    async with inspected(*events(1)) as inspecting:
        inspecting.source.backend.bring(Gap("the oplog no longer has it", NOW, None))
        inspecting.source.backend.bring(FeedState(False, "primary stepped down"), FeedState(True))
        await inspecting.until(lambda: "! gap  the oplog no longer has it (12:00:00 to ?)" in inspecting.text)
        await inspecting.until(lambda: "◌ reconnecting  primary stepped down" in inspecting.text)
        inspecting.source.backend.bring(FeedState(False, "end of the recording", ended=True))
        await inspecting.until(lambda: "■ ended: end of the recording" in inspecting.lines[0])


@pytest.mark.parametrize(("speed", "words"), [(0.0, "▶ replay"), (2.5, "▶ replay at 2.5×")])
async def test_a_recording_connects_to_nothing(speed: float, words: str) -> None:
    source = Events()
    source.speed = speed  # type: ignore[attr-defined]
    app = Inspector(source, now=lambda: NOW)
    async with app.run_test(size=(120, 36)) as pilot:
        inspecting = Inspecting(app, pilot, Rest(), source)
        source.backend.bring(*events(3))
        await inspecting.until(lambda: "n -8→2" in inspecting.text)
        assert inspecting.lines[0].rstrip().endswith(words)
        source.backend.bring(FeedState(False, "end of the recording", ended=True))
        await inspecting.until(lambda: "■ ended: end of the recording" in inspecting.lines[0])


async def test_a_feed_that_fails_is_said_in_a_notice_and_in_the_header(inspected: Inspected) -> None:
    async with inspected(*events(1)) as inspecting:

        def fail(timeout_seconds: float) -> list[FeedItem]:
            raise unreachable()

        inspecting.log_pane.screen._pump._feed = Failing(fail)
        await inspecting.until(lambda: "Is mongod running?" in inspecting.text)
        await inspecting.until(lambda: "■ ended: db.example.com:27017 does not answer" in inspecting.lines[0])
        assert "■ ended" in inspecting.text


async def test_what_scrolls_past_in_a_burst_is_counted_until_one_looks(inspected: Inspected) -> None:
    async with inspected(*events(5), capacity=5_000) as inspecting:
        pace = inspecting.log_pane._throttle
        await inspecting.until(lambda: pace._timer is None)  # one that is due already would draw in the midst of it
        pace.interval = 3600.0
        inspecting.source.backend.bring(*events(1_000, start=5))
        await inspecting.until(lambda: inspecting.log_pane.log_rows.buffer.total == 1_006)
        inspecting.log_pane.draw()
        past = 1_000 - rows(inspecting).page_rows
        await inspecting.until(lambda: f"{past} scrolled past" in inspecting.text)
        await inspecting.press("up")
        await inspecting.until(lambda: "scrolled past" not in inspecting.text)


async def test_typing_a_filter_scans_the_past_in_one_chain_of_slices(
    inspected: Inspected, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with inspected(*events(1_000), capacity=5_000) as inspecting:
        pane, waiting = inspecting.log_pane, list[Callable[[], None]]()
        set_timer = pane.set_timer

        def hold_scans(delay: float, callback: Callable[[], None]) -> object:
            return waiting.append(callback) if callback == pane._scan else set_timer(delay, callback)

        monkeypatch.setattr(log_rows, "SLICE_SECONDS", 0.0)
        monkeypatch.setattr(pane, "set_timer", hold_scans)
        await inspecting.press("slash", Typed("field:n"))
        await inspecting.until(lambda: "0 of 1,001" in inspecting.text and "1 to scan" in inspecting.text)
        assert len(waiting) == 1
        monkeypatch.undo()
        waiting[0]()
        await inspecting.until(lambda: "1,001 of 1,001" in inspecting.text)
        assert "to scan" not in inspecting.text


@pytest.mark.parametrize("key", ["enter", "i"])
async def test_a_key_on_an_event_that_a_busy_log_has_let_go_of_says_so(inspected: Inspected, key: str) -> None:
    async with inspected(*events(60), capacity=50) as inspecting:
        pace = inspecting.log_pane._throttle
        await inspecting.until(lambda: pace._timer is None)
        pace.interval = 3600.0  # what is seen stays, as between two drawings
        await inspecting.press("home")
        inspecting.source.backend.bring(*events(3, start=60))
        await inspecting.until(lambda: inspecting.log_pane.log_rows.buffer.total == 64)
        inspecting.log_pane.log_rows._entries.clear()
        await inspecting.press(key)
        await inspecting.until(lambda: "no longer in the log" in inspecting.text)
        assert len(inspecting.app.screen_stack) == 1
        assert not inspecting.log_pane.filter_line.text


async def test_an_event_that_goes_before_it_is_opened_is_no_crash(inspected: Inspected) -> None:
    async with inspected(*events(60), capacity=50) as inspecting:
        inspecting.log_pane.row_activated(3)
        await inspecting.until(lambda: "no longer in the log" in inspecting.text)
        assert len(inspecting.app.screen_stack) == 1


async def test_enter_on_a_notice_and_down_in_a_bunch_open_nothing(inspected: Inspected) -> None:
    async with inspected(*events(5)) as inspecting:
        await inspecting.press("home")
        for key in ("enter", "down"):
            inspecting.app.post_message(Key(key, None))
        await inspecting.until(lambda: rows(inspecting).cursor_key == 1)
        assert len(inspecting.app.screen_stack) == 1


async def test_a_filter_whose_matches_are_far_up_keeps_the_place_and_follows_nothing(
    inspected: Inspected, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_rows, "SLICE_SECONDS", 0.0)
    async with inspected(*events(1_000), capacity=5_000) as inspecting:
        pane = inspecting.log_pane
        await inspecting.press("home", *["down"] * 30)
        await inspecting.press("slash", Typed('{"fullDocument.n": {"$lt": 40}}'), "enter")
        await inspecting.until(lambda: "41 of 1,001" in inspecting.text and not pane.log_rows.unseen)
        assert (rows(inspecting).cursor_key, rows(inspecting).following) == (30, False)
        inspecting.source.backend.bring(*events(3, start=1_000))
        await inspecting.until(lambda: "of 1,004" in inspecting.text)
        assert rows(inspecting).cursor_key == 30


async def test_a_filter_that_nothing_passes_loses_no_place(inspected: Inspected) -> None:
    async with inspected(*events(500)) as inspecting:
        pane = inspecting.log_pane
        await inspecting.press("home", *["down"] * 30)
        await inspecting.press("slash", Typed("op:drop"), "enter")
        await inspecting.until(lambda: " 1 of 501" in inspecting.text and not pane.log_rows.unseen)
        await inspecting.press("x")
        await inspecting.until(lambda: "n 19→29" in inspecting.text)
        assert (rows(inspecting).cursor_key, rows(inspecting).following) == (30, False)


async def test_whoever_moves_while_the_past_is_looked_at_stays_there(
    inspected: Inspected, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with inspected(*events(1_000), capacity=5_000) as inspecting:
        pane, waiting = inspecting.log_pane, list[Callable[[], None]]()
        set_timer = pane.set_timer

        def hold_scans(delay: float, callback: Callable[[], None]) -> object:
            return waiting.append(callback) if callback == pane._scan else set_timer(delay, callback)

        await inspecting.press("home", *["down"] * 30)
        monkeypatch.setattr(log_rows, "SLICE_SECONDS", 0.0)
        monkeypatch.setattr(pane, "set_timer", hold_scans)
        await inspecting.press("slash", Typed("op:update"), "enter")
        await inspecting.until(lambda: "to scan" in inspecting.text)
        await inspecting.press("down")
        key = rows(inspecting).cursor_key
        monkeypatch.undo()
        waiting[0]()
        await inspecting.until(lambda: "1,000 of 1,001" in inspecting.text or "1,001 of 1,001" in inspecting.text)
        assert rows(inspecting).cursor_key == key


async def test_time_of_day_or_of_the_cluster(inspected: Inspected) -> None:
    async with inspected(*events(3), size=(80, 24)) as inspecting:
        assert "12:00:00" in inspecting.text
        await inspecting.press("t")
        await inspecting.until(lambda: "Cluster time" in inspecting.text and "1795521600:1" in inspecting.text)
        await inspecting.press("t")
        await inspecting.until(lambda: "12:00:00" in inspecting.text)


async def test_a_burst_is_shown_whole(inspected: Inspected) -> None:
    async with inspected(capacity=50_000) as inspecting:
        inspecting.source.backend.bring(*events(5_000))
        await inspecting.press("up")
        await inspecting.until(lambda: inspecting.log_pane.log_rows.buffer.total == 5_001)
        await inspecting.press("end")
        await inspecting.until(lambda: "n 4989→4999" in inspecting.text)
