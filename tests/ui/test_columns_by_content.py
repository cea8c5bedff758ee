"""The table shows what it is about: columns by what rows hold, cuts where names are alike, order, matches."""

from __future__ import annotations

from pathlib import Path

import pytest

from console.models import Upload
from console.ui.remembered import Remembered
from console.ui.uploads.upload_cells import COLUMNS
from console.ui.widgets.cells import Cut, Span, Tone, differences, fit_columns, highlighted, shorten
from tests.ui.rest import Typed

from .conftest import Opener
from .fake_backend import document

NAMES = [f"invoice-2026-11-{word}-of-the-northern-branch.pdf" for word in ("breakfast", "lunch", "dinner")]


def test_names_are_cut_where_they_are_alike() -> None:
    places = differences(NAMES)
    cut = [shorten(name, 22, Cut.ALIKE, place) for name, place in zip(NAMES, places, strict=True)]
    assert len(set(cut)) == 3
    assert all(word in name for word, name in zip(("break", "lunch", "dinne"), cut, strict=True))
    assert all(len(name) <= 22 for name in cut)


def test_an_empty_column_gives_its_room_to_names() -> None:
    held = {"sign": 1, "name": 60, "status": 9, "size": 8, "age": 3, "destination": 20, "host": 5}
    fitted = {each.column.key: each.width for each in fit_columns(COLUMNS, 79, held)}
    assert "rate" not in fitted
    assert "left" not in fitted
    assert fitted["name"] >= 39
    assert fit_columns(COLUMNS, 160, held)[1].width == 60


def test_found_words_are_marked() -> None:
    spans = highlighted([Span("Report of REPORTS", Tone.MUTED)], ("report",))
    assert [span.text for span in spans if span.tone is Tone.FOUND] == ["Report", "REPORT"]
    assert "".join(span.text for span in spans) == "Report of REPORTS"


async def test_what_a_filter_finds_is_seen_in_a_long_name(opened: Opener) -> None:
    name = "a" * 90 + "-needle-" + "b" * 90
    async with opened(documents=[document(1, filename=name)], size=(100, 30)) as console:
        await console.press("2", "slash", Typed("needle"), "enter")
        await console.until(lambda: "needle" in "\n".join(line for line in console.lines if "…" in line))


async def test_a_column_sorts_by_key_and_by_click_and_is_remembered(opened: Opener, tmp_path: Path) -> None:
    documents = [document(n, status="completed", filename=f"{n}.bin", size=n % 3 * 1000 + n) for n in range(1, 7)]
    state = tmp_path / "screen.json"
    async with opened(documents=documents, state_file=state, size=(200, 50)) as console:
        table = console.screen.table

        def names() -> list[str]:
            return [
                row.filename
                for place in range(len(table.source))
                if isinstance(row := console.screen.uploads.row(table.source.key(place)), Upload)
            ]

        await console.press("2", "s", "z")
        assert names() == ["5.bin", "2.bin", "4.bin", "1.bin", "6.bin", "3.bin"]
        await console.until(lambda: "Size↓" in console.text)
        await console.press("s", "z")
        assert names() == ["3.bin", "6.bin", "1.bin", "4.bin", "2.bin", "5.bin"]
        table.post_message(table.rows.HeadClicked(table.rows, "name"))
        await console.until(lambda: "Name↑" in console.text)
        assert names() == [f"{n}.bin" for n in range(1, 7)]
        await console.press("C", "d")
        await console.until(lambda: "Destination" not in console.text)
    async with opened(documents=documents, state_file=state, size=(200, 50)) as console:
        await console.until(lambda: "Name↑" in console.text)
        assert "Destination" not in console.text
        await console.press("2", "s", "o")
        await console.until(lambda: "Name↑" not in console.text)


async def test_priority_is_a_column_once_any_differs(opened: Opener) -> None:
    async with opened(documents=[document(1), document(2)]) as console:
        assert "Prio" not in console.text
        console.backend.change(document(2)["_id"], priority=3)
        await console.until(lambda: "Prio" in console.text and "+3" in console.text)


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"uploads.sorted_by": 3, "uploads.hidden_columns": "x"}'])
def test_a_broken_state_file_is_as_good_as_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / "screen.json"
    path.write_text(text)
    remembered = Remembered(path)
    assert remembered.get("uploads.sorted_by", str) == ""
    assert remembered.get("uploads.hidden_columns", list) == []
    remembered.keep("uploads.sorted_by", "name")
    assert Remembered(path).get("uploads.sorted_by", str) == "name"


async def test_keys_are_searched(opened: Opener) -> None:
    async with opened() as console:
        await console.press("question_mark", Typed("priority"))
        await console.until(lambda: "Raise the priority" in console.text and "Show hidden files" not in console.text)
