"""An event in full: what changed, raw, its history; copied and saved."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from bson import Int64, ObjectId
from bson.json_util import loads

from console.events.event import ChangeEvent
from console.events.feed_items import FeedItem
from console.events.recording import replay
from console.ui.events.event_detail import EventDetail, Tab
from tests.ui.rest import Typed

from .conftest import Inspecting
from .fake_backend import FakeBackend
from .test_event_log import Inspected, events

KEY = ObjectId("65f000000000000000000001")


def an_update(**changes: Any) -> FeedItem:
    before = {"_id": KEY, "name": "Ann", "age": 41, "tags": ["a", "b"], **{f"same{n}": n for n in range(8)}}
    after = before | {"age": Int64(42), "tags": ["a", "c", "b"]} | changes
    update = {"updatedFields": {"age": Int64(42), "tags": after["tags"]}, "removedFields": []}
    return FakeBackend().event("update", KEY, before, after, update, ("shop", "people"))


def detail(inspecting: Inspecting) -> EventDetail:
    screen = inspecting.app.screen
    assert isinstance(screen, EventDetail)
    return screen


def line_with(inspecting: Inspecting, *words: str) -> bool:
    return any(all(word in line for word in words) for line in inspecting.lines)


async def test_before_and_after_stand_side_by_side_where_there_is_room(inspected: Inspected) -> None:
    async with inspected(an_update(), size=(120, 36)) as inspecting:
        await inspecting.press("enter")
        await inspecting.until(lambda: line_with(inspecting, "~ age", "41", "42"))
        assert line_with(inspecting, "Int32", "Int64")
        assert line_with(inspecting, "+", "[1]", '"c"')
        assert line_with(inspecting, "unchanged")
        assert not line_with(inspecting, "same7")


async def test_one_stands_under_the_other_where_it_is_narrow(inspected: Inspected) -> None:
    async with inspected(an_update(), size=(80, 24)) as inspecting:
        await inspecting.press("enter")
        await inspecting.until(lambda: line_with(inspecting, "- age", "41"))
        assert line_with(inspecting, "+", "42", "Int64")
        await inspecting.pilot.resize_terminal(120, 36)
        await inspecting.until(lambda: line_with(inspecting, "~ age", "41", "42"))


async def test_a_long_text_shows_where_it_differs_and_opens_in_full(inspected: Inspected) -> None:
    before = {"_id": KEY, "text": "x" * 900 + "old" + "y" * 900}
    after = before | {"text": "x" * 900 + "new" + "y" * 900}
    changed = FakeBackend().event("update", KEY, before, after, {"updatedFields": {}}, ("shop", "people"))
    for size in ((120, 36), (80, 24)):
        async with inspected(changed, size=size) as inspecting:
            await inspecting.press("enter")
            await inspecting.until(lambda shown=inspecting: "xold" in shown.text and "xnew" in shown.text)
            await inspecting.press("enter")
            await inspecting.until(lambda inspecting=inspecting: line_with(inspecting, "before", "String"))
            await inspecting.press("y")
            assert json.loads(inspecting.app.clipboard) in (before["text"], after["text"])
            await inspecting.press("escape")
            await inspecting.until(lambda inspecting=inspecting: line_with(inspecting, "[Compare]"))


async def test_what_is_folded_opens_by_enter_or_all_at_once(inspected: Inspected) -> None:
    async with inspected(an_update()) as inspecting:
        await inspecting.press("enter")
        await inspecting.until(lambda: line_with(inspecting, "unchanged"))
        await inspecting.press("a")
        await inspecting.until(lambda: line_with(inspecting, "same7"))
        await inspecting.press("a", "end", "enter")
        await inspecting.until(lambda: line_with(inspecting, "same7"))


async def test_the_raw_event_is_valid_json_relaxed_and_canonical_and_copied_whole(inspected: Inspected) -> None:
    async with inspected(an_update(note="x" * 500 + "\x1b[2J")) as inspecting:
        await inspecting.press("enter", "2")
        await inspecting.until(lambda: line_with(inspecting, '"operationType": "update"'))
        await inspecting.press("y")
        assert json.loads(inspecting.app.clipboard)["fullDocument"]["age"] == 42
        await inspecting.press("t", "y")
        assert '"$numberLong": "42"' in inspecting.app.clipboard
        assert loads(inspecting.app.clipboard)["fullDocument"]["note"].endswith("\x1b[2J")
        assert "\x1b" not in inspecting.text


async def test_the_value_under_the_cursor_is_copied(inspected: Inspected) -> None:
    async with inspected(an_update()) as inspecting:
        await inspecting.press("enter")
        await inspecting.until(lambda: line_with(inspecting, "~ age"))
        await inspecting.press("y")
        assert inspecting.app.clipboard == "42"
        await inspecting.press("Y")
        assert loads(inspecting.app.clipboard)["documentKey"]["_id"] == KEY


async def test_one_steps_through_the_history_of_a_document_while_it_grows(inspected: Inspected) -> None:
    async with inspected(*events(30)) as inspecting:
        await inspecting.press("enter")
        await inspecting.until(lambda: "3 of 3" in inspecting.lines[0])
        await inspecting.press("left_square_bracket")
        await inspecting.until(lambda: "2 of 3" in inspecting.lines[0] and line_with(inspecting, "n", "9", "19"))
        inspecting.source.backend.bring(*events(10, start=30))
        await inspecting.until(lambda: "2 of 4" in inspecting.lines[0])
        await inspecting.press("4")
        await inspecting.until(lambda: line_with(inspecting, "n 29→39") and line_with(inspecting, "n -1→9"))
        await inspecting.press("end", "enter")
        await inspecting.until(lambda: "4 of 4" in inspecting.lines[0])
        assert detail(inspecting).tab is Tab.COMPARE


async def test_tabs_are_walked_by_tab_and_clicked(inspected: Inspected) -> None:
    async with inspected(an_update()) as inspecting:
        await inspecting.press("enter", "tab", "tab")
        await inspecting.until(lambda: line_with(inspecting, '"updatedFields"'))
        assert detail(inspecting).tab is Tab.UPDATE
        await inspecting.press("tab", "tab", "shift+tab")
        assert detail(inspecting).tab is Tab.HISTORY
        await inspecting.pilot.click(offset=(6, 1))
        await inspecting.until(lambda: detail(inspecting).tab is Tab.COMPARE)


async def test_an_image_that_did_not_come_is_said_with_the_reason_and_turned_on_after_asking(
    inspected: Inspected,
) -> None:
    update = {"updatedFields": {"age": 42}, "removedFields": []}
    bare = FakeBackend().event("update", KEY, None, None, update, ("shop", "people"))
    async with inspected(bare, size=(120, 36)) as inspecting:
        await inspecting.press("enter")
        await inspecting.until(lambda: line_with(inspecting, "The documents before and after are missing", "keeps no"))
        assert line_with(inspecting, "To have it from now on (or press e)", 'collMod: "people"')
        assert line_with(inspecting, "age", "42")
        await inspecting.press("e", "enter")
        assert inspecting.source.enabled == []
        await inspecting.press("e", "y")
        await inspecting.until(lambda: inspecting.source.enabled == ["shop.people"])
        await inspecting.until(lambda: line_with(inspecting, "kept no images when this happened"))
        assert not line_with(inspecting, "To have it from now on")


async def test_events_of_no_document_show_what_there_is(inspected: Inspected) -> None:
    raw = {"operationType": "dropDatabase", "ns": {"db": "shop"}, "_id": {"_data": "00"}}
    async with inspected(ChangeEvent.from_raw(raw)) as inspecting:
        await inspecting.press("enter")
        await inspecting.until(lambda: line_with(inspecting, "dropDatabase is not about a document"))
        await inspecting.press("4")
        await inspecting.until(lambda: line_with(inspecting, "not about one document"))


@pytest.mark.parametrize(("tab", "name"), [("3", "update.json"), ("4", "history.jsonl")])
async def test_what_the_tab_is_about_is_saved(
    inspected: Inspected, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tab: str, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    async with inspected(*events(30)) as inspecting:
        await inspecting.press("enter", tab, "s")
        await inspecting.until(lambda: f"Save the {name.partition('.')[0]}" in inspecting.text)
        await inspecting.press("ctrl+u", Typed(name), "enter")
        await inspecting.until(lambda: "Saved" in inspecting.text)
    if tab == "4":
        saved = [event for event in replay(tmp_path / name) if isinstance(event, ChangeEvent)]
        assert [event.raw["fullDocument"]["n"] for event in saved] == [9, 19, 29]
    else:
        assert loads((tmp_path / name).read_text())["updatedFields"] == {"n": 29}


async def test_the_event_under_the_cursor_of_the_history_is_copied(inspected: Inspected) -> None:
    async with inspected(*events(30)) as inspecting:
        await inspecting.press("enter", "4", "home", "y")
        assert loads(inspecting.app.clipboard)["fullDocument"]["n"] == 9


@pytest.mark.parametrize("name", ["event.json", "there.json"])
async def test_saving_writes_a_new_file_and_never_over_one(
    inspected: Inspected, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.json").write_text("mine")
    async with inspected(an_update()) as inspecting:
        await inspecting.press("enter", "s", "ctrl+u", Typed(name), "enter")
        await inspecting.until(lambda: "Saved" in inspecting.text or "Nothing was written" in inspecting.text)
    if name == "there.json":
        assert (tmp_path / name).read_text() == "mine"
    else:
        assert loads((tmp_path / name).read_text())["fullDocument"]["_id"] == KEY
