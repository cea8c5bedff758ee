"""The keys of the uploads table never mean an upload that nobody chose, and what the table lacks is asked for again."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from bson import ObjectId

from console.events.feed_items import SNAPSHOT_WINDOW, FeedState, Snapshot
from console.ui.backend import PageQuery
from console.ui.main import polling
from tests.ui.rest import Typed

from .conftest import Console, Opener
from .fake_backend import NOW, document, unreachable


def key(number: int) -> ObjectId:
    return ObjectId(f"{number:024x}")


def waiting(many: int) -> list[dict[str, Any]]:
    return [document(n, created_at=NOW + timedelta(minutes=n)) for n in range(1, many + 1)]


def asked(console: Console, name: str) -> list[list[int]]:
    """The numbers of the uploads that each such call was about."""
    return [sorted(int(str(each), 16) for each in call[1]) for call in console.backend.asked if call[0] == name]


def priority_of(console: Console, number: int) -> Any:
    """As the table has it; None where it does not hold the upload."""
    return (console.screen.uploads.document(key(number)) or {}).get("priority")


async def hold_the_first(console: Console) -> None:
    """The table holds what a snapshot of a long collection has."""
    console.backend.bring(Snapshot(list(console.backend.documents.values())[:SNAPSHOT_WINDOW]))
    await console.until(lambda: console.screen.uploads.held == SNAPSHOT_WINDOW)


@pytest.mark.parametrize(("marks", "meant"), [(["space", "space"], [1, 2]), ([], [1])])
async def test_a_key_pressed_again_means_the_same_uploads(opened: Opener, marks: list[str], meant: list[int]) -> None:
    """Also where the first press sends them behind all that is held."""
    async with opened(documents=waiting(700)) as console:
        await hold_the_first(console)
        await console.press("2", *marks)
        for priority in (-1, -2, -3):
            await console.press("minus")
            await console.until(lambda priority=priority: priority_of(console, 1) == priority)  # type: ignore[misc]
        assert asked(console, "set_priority") == [meant] * 3
        assert len(console.screen.table.rows.marks) == len(marks)


async def test_where_all_marked_uploads_are_gone_the_next_key_only_says_so(opened: Opener) -> None:
    async with opened(documents=waiting(4)) as console:
        await console.press("2", "space", "space")
        console.backend.remove(key(1))
        console.backend.remove(key(2))
        await console.until(lambda: "marked gone" in console.text)
        await console.press("c")
        await console.until(lambda: "The marked uploads are no longer in the table" in console.text)
        assert "Now under the cursor: photo-0003.jpg" in console.text
        assert "marked gone" not in console.text
        assert asked(console, "request") == []
        await console.press("c")
        await console.until(lambda: asked(console, "request") == [[3]])


@pytest.mark.parametrize("keys", [["escape"], ["space", "space", "k"]])
async def test_whoever_cleared_or_made_marks_knows_that_others_are_gone(opened: Opener, keys: list[str]) -> None:
    async with opened(documents=waiting(4)) as console:
        await console.press("2", "space")
        console.backend.remove(key(1))
        await console.until(lambda: "marked gone" in console.text)
        await console.press(*keys, "p")
        await console.until(lambda: asked(console, "request"))


@pytest.mark.parametrize(
    "vanish",
    [lambda console: console.backend.remove(key(2)), lambda console: console.backend.bring(Snapshot(waiting(1)))],
)
async def test_where_the_upload_under_the_cursor_is_gone_the_next_key_only_says_so(
    opened: Opener, vanish: Callable[[Console], None]
) -> None:
    async with opened(documents=waiting(4)) as console:
        await console.press("2", "j")
        vanish(console)
        await console.until(lambda: console.screen.uploads.row(key(2)) is None)
        await console.until(lambda: console.screen.table.rows.cursor_key != key(2))
        await console.press("c")
        await console.until(lambda: "The upload under the cursor is no longer in the table" in console.text)
        assert asked(console, "request") == []
        await console.press("c")
        await console.until(lambda: len(asked(console, "request")) == 1)


async def test_a_key_that_takes_the_upload_out_of_the_filter_does_not_mean_the_next_one(opened: Opener) -> None:
    async with opened(documents=waiting(4)) as console:
        await console.press("2", "slash", Typed("pending"), "enter", "c")
        await console.until(lambda: len(console.screen.uploads) == 3)
        await console.until(lambda: console.screen.table.rows.cursor_key == key(2))
        await console.press("c")
        await console.until(lambda: "no longer in the table" in console.text)
        assert asked(console, "request") == [[1]]
        await console.press("c")
        await console.until(lambda: asked(console, "request") == [[1], [2]])


async def test_whoever_moved_the_cursor_or_is_asked_by_name_needs_no_other_word(opened: Opener) -> None:
    async with opened(documents=waiting(5)) as console:
        for number in (1, 2):
            await console.press("2", "d", "y")
            await console.until(lambda number=number: len(console.screen.uploads) == 5 - number)  # type: ignore[misc]
            await console.until(lambda number=number: console.screen.table.rows.cursor_key == key(number + 1))  # type: ignore[misc]
        await console.press("j", "p")
        await console.until(lambda: asked(console, "request") == [[4]])


async def test_a_table_that_ends_before_its_rows_do_says_what_finds_them(opened: Opener) -> None:
    documents = [document(n, status="completed") for n in range(1, 1_501)]
    async with opened(documents=documents, size=(160, 36)) as console:
        console.screen.uploads.capacity = 100
        await hold_the_first(console)
        assert "more by a filter" not in console.text
        await console.press("2", "end")
        await console.until(lambda: "more by a filter (/)" in console.text)
        await console.press("home")
        await console.until(lambda: "more by a filter" not in console.text)


async def test_what_the_filter_asks_for_is_asked_again_where_it_failed(
    opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(polling, "RETRY_SECONDS", 0.05)
    documents = [document(n, status="completed", host="beta" if n > 1_000 else "alpha") for n in range(1, 1_801)]
    async with opened(documents=documents) as console:
        await hold_the_first(console)
        page, failures = console.backend.page, [unreachable(), unreachable()]

        def fails_at_first(query: PageQuery) -> list[Any]:
            if failures:
                raise failures.pop()
            console.backend.asked.append(("found",))
            return page(query)

        monkeypatch.setattr(console.backend, "page", fails_at_first)
        await console.press("2", "slash", Typed("beta"), "enter")
        await console.until(lambda: len(console.screen.uploads) == 500)
        assert failures == []
        await console.press("end")
        await console.until(lambda: len(console.screen.uploads) == 800)
        # A snapshot begins the table again, and with it what the filter finds.
        before = console.backend.asked.count(("found",))
        console.backend.bring(Snapshot(documents[:SNAPSHOT_WINDOW]))
        await console.until(lambda: console.backend.asked.count(("found",)) > before)
        await console.until(lambda: len(console.screen.uploads) >= 500)


async def test_counts_that_failed_are_asked_again(opened: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polling, "RETRY_SECONDS", 0.05)
    monkeypatch.setattr(polling, "COUNT_SECONDS", 0.05)
    async with opened(documents=waiting(3)) as console:
        counts, failures, answered = console.backend.counts, [unreachable(), unreachable()], []

        def fails_at_first() -> Any:
            if failures:
                raise failures.pop()
            answered.append(counts())
            return answered[-1]

        monkeypatch.setattr(console.backend, "counts", fails_at_first)
        console.backend.insert(document(9))
        # An earlier question may be under way still, and see the fourth without failing.
        await console.until(lambda: answered and sum(console.screen.status.counts.values()) == 4)
        assert failures == []


async def test_counts_are_asked_again_when_the_feed_is_connected_again(opened: Opener) -> None:
    async with opened(documents=waiting(3)) as console:
        console.backend.documents[key(9)] = document(9)  # nobody tells of it
        console.backend.bring(FeedState(False, "away"), FeedState(True))
        await console.until(lambda: sum(console.screen.status.counts.values()) == 4)


async def test_keys_that_would_act_on_marks_that_are_hidden_ask_first(opened: Opener) -> None:
    async with opened(documents=waiting(4)) as console:
        await console.press("2", "space", "slash", Typed("0003"), "enter")
        await console.until(lambda: "1 of 4 · 1 marked, 1 hidden" in console.text)
        for name, title in (("p", "Pause"), ("d", "Delete"), ("plus", "Raise the priority of"), ("v", "Verify")):
            await console.press(name)
            await console.until(lambda title=title: f"{title} 1 marked upload?" in console.text)  # type: ignore[misc]
            assert "photo-0001.jpg" in console.text
            await console.press("enter")
        assert console.backend.asked == []
        await console.press("space", "p")
        await console.until(lambda: "1 of them is not shown here" in console.text)
        await console.press("s")
        await console.until(lambda: asked(console, "request") == [[3]])
        await console.until(lambda: console.app.screen is console.screen)
        await console.press("p", "a")
        await console.until(lambda: asked(console, "request") == [[3], [1, 3]])


async def test_hidden_marks_are_counted_also_where_there_is_little_room(opened: Opener) -> None:
    async with opened(documents=waiting(4), size=(60, 15)) as console:
        await console.press("2", "space", "slash", Typed("0003"), "enter")
        await console.until(lambda: "●1, 1 hidden ━┓" in console.text)


async def test_the_title_counts_all_uploads_and_not_only_those_loaded(opened: Opener) -> None:
    documents = [document(n, status="completed") for n in range(1, 941)]
    async with opened(documents=documents) as console:
        await hold_the_first(console)
        await console.until(lambda: f"{SNAPSHOT_WINDOW:,} of 940 ─╮" in console.text)
        await console.press("2", "asterisk", "d")
        await console.until(lambda: f"Delete {SNAPSHOT_WINDOW:,} of 940 uploads?" in console.text)
        await console.press("escape", "asterisk", "slash", Typed("0003"), "enter")
        await console.until(lambda: " 1 of 940 ━┓" in console.text)
        await console.press("escape", "end")
        await console.until(lambda: console.screen.uploads.held == 940)
        await console.until(lambda: " 940 ━┓" in console.text and "of 940" not in console.text)


async def test_what_is_new_or_runs_above_the_view_is_told(opened: Opener) -> None:
    documents = [document(n, status="completed") for n in range(1, 200)]
    async with opened(documents=documents) as console:
        await console.press("2")
        console.backend.insert(document(500))
        await console.until(lambda: "· photo-0500.jpg" in console.text)
        await console.press("end")
        await console.until(lambda: "━ 200 ━┓" in console.text)  # what was seen at the top is not new
        console.backend.insert(document(501))
        await console.until(lambda: "↑ 1 above · 201" in console.text)
        console.backend.change(key(500), status="uploading", started_at=NOW)
        await console.until(lambda: "↑ 2 above" in console.text)
        console.backend.remove(key(501))
        await console.until(lambda: "↑ 1 above · 200" in console.text)
        await console.press("home")
        await console.until(lambda: "━ 200 ━┓" in console.text)


async def test_a_page_that_was_fetched_is_not_new(opened: Opener) -> None:
    documents = [document(n, status="completed") for n in range(1, 941)]
    async with opened(documents=documents) as console:
        await hold_the_first(console)
        await console.press("2", "end")
        await console.until(lambda: console.screen.uploads.held == 940)
        await console.press("end")
        await console.until(lambda: "━ 940 ━┓" in console.text)
