"""How the entries of a directory look."""

from __future__ import annotations

import pytest

from console.files.listing import Entry, EntryKind
from console.ui.main.file_browser import FileRows


@pytest.mark.parametrize("mtime", [253_402_300_800.0, 5e12, 1e300, -1e13, float("inf"), float("nan")])
@pytest.mark.parametrize("width", [5, 11, 16])
def test_a_time_that_no_calendar_has_is_a_question_mark(mtime: float, width: int) -> None:
    rows = FileRows([Entry("/x", "x", EntryKind.FILE, mtime=mtime)])
    assert [span.text for span in rows.cell(0, "modified", width)] == ["?"]


def test_a_time_is_local_and_as_long_as_there_is_room() -> None:
    rows = FileRows([Entry("/x", "x", EntryKind.FILE, mtime=1_600_000_000.0)])
    shown = ["".join(span.text for span in rows.cell(0, "modified", width)) for width in (5, 11, 16)]
    assert shown == ["2020", "2020-09-13", "2020-09-13 12:26"]
