"""One upload as a row: signs and words that tell the truth."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from console.models import UnreadableUpload, Upload, read_upload
from console.ui.uploads.upload_cells import (
    COLUMNS,
    is_stalled,
    percent,
    progress_bar,
    row_sign,
    status_text,
    upload_cell,
    upload_version,
)
from console.ui.widgets.cells import Tone
from tests.ui.fake_backend import NOW, document

ERROR = {"code": "NoSuchBucket", "message": "no", "at": NOW}
OLD = {**ERROR, "at": NOW - timedelta(seconds=1)}
HELD = {"runner": "alpha:1", "expires_at": NOW + timedelta(seconds=5)}
OVER = {"runner": "alpha:1", "expires_at": NOW - timedelta(seconds=5)}


def upload(**fields: Any) -> Upload:
    row = read_upload(document(1, **fields))
    assert isinstance(row, Upload)
    return row


@pytest.mark.parametrize(
    ("fields", "sign", "words"),
    [
        ({"status": "uploading", "lease": HELD}, "↑", "uploading"),
        ({"status": "uploading", "lease": HELD, "error": ERROR}, "↑", "retrying NoSuchBucket"),
        ({"status": "uploading", "lease": HELD, "error": ERROR, "rate": 5.0}, "↑", "uploading"),
        ({"status": "uploading", "lease": HELD, "error": OLD, "started_at": NOW}, "↑", "uploading"),
        ({"status": "uploading", "lease": HELD, "requested": "pause"}, "↑", "pausing…"),
        ({"status": "uploading", "lease": HELD, "requested": "cancel"}, "↑", "cancelling…"),
        ({"status": "uploading", "lease": OVER, "host": "beta"}, "!", "stalled on beta"),
        ({"status": "uploading", "lease": None, "host": "be\x1bta"}, "!", r"stalled on be\x1bta"),
        ({"status": "pending"}, "·", "waiting"),
        ({"status": "pending", "priority": -2}, "·", "waiting"),
        ({"status": "paused", "requested": "pause"}, "‖", "paused"),
        ({"status": "paused", "requested": "run"}, "‖", "resuming…"),
        ({"status": "failed", "error": ERROR}, "✗", "NoSuchBucket"),
        ({"status": "failed"}, "✗", "failed"),
        ({"status": "completed", "error": ERROR}, "✓", "completed"),
        ({"status": "cancelled", "requested": "cancel"}, "–", "cancelled"),
    ],
)
def test_signs_and_words(fields: dict[str, Any], sign: str, words: str) -> None:
    row = upload(**fields)
    assert row_sign(row, NOW).text == sign
    assert status_text(row, NOW).text == words


def test_where_a_bar_has_no_meaning_the_reason_stands_in_its_place() -> None:
    row = upload(status="uploading", lease=HELD, error=ERROR)
    for width, words in ((24, "retrying NoSuchBucket"), (12, "retrying…")):
        assert [span.text for span in upload_cell(row, "status", width, NOW)] == [words]


def test_a_lease_without_a_time_zone_is_in_utc() -> None:
    row = upload(status="uploading", lease={"runner": "a", "expires_at": (NOW + timedelta(1)).replace(tzinfo=None)})
    assert not is_stalled(row, NOW)


@given(st.floats(allow_nan=False), st.integers(0, 60))
def test_a_bar_has_its_width_and_is_full_only_at_the_end(percentage: float, width: int) -> None:
    done, left = progress_bar(percentage, width)
    assert cell_len(done.text + left.text) == width
    assert (done.text == "━" * width) == (percentage >= 100 or width == 0)
    assert (done.tone, left.tone) == (Tone.BAR, Tone.TROUGH)


@given(st.floats(0, 99.999))
def test_a_hundred_percent_is_said_only_when_all_is_there(percentage: float) -> None:
    assert percent(percentage) != "100%"
    assert percent(100.0) == "100%"


@pytest.mark.parametrize("column", [column.key for column in COLUMNS])
@pytest.mark.parametrize("status", ["pending", "uploading", "paused", "completed", "failed", "cancelled"])
def test_every_cell_of_every_status_is_safe_text(column: str, status: str) -> None:
    row = upload(status=status, filename="\x1b[2J\n", key="\x1b[2J\n", host="\x1b[2J", bucket="\x07")
    for span in upload_cell(row, column, 12, NOW):
        assert span.text.isprintable()


def test_a_document_that_others_wrote_is_a_row_with_its_problem() -> None:
    row = read_upload({"_id": "\x1b[2J", "filename": 7})
    assert isinstance(row, UnreadableUpload)
    texts = ["".join(span.text for span in upload_cell(row, column.key, 20, NOW)) for column in COLUMNS]
    assert texts[0] == "?"
    assert "unreadable" in texts
    assert all(text.isprintable() for text in texts)


def test_the_destination_does_not_repeat_the_name() -> None:
    row = upload(filename="a.txt", bucket="b", key="x/y/a.txt")
    assert upload_cell(row, "destination", 40, NOW)[0].text == "b/x/y/"
    renamed = upload(filename="a.txt", bucket="b", key="x/y/2.txt")
    assert upload_cell(renamed, "destination", 40, NOW)[0].text == "b/x/y/2.txt"


@given(
    st.sampled_from([{}, {"status": "uploading", "lease": HELD}, {"status": "completed"}]),
    st.floats(0, 200_000),
    st.floats(0, 200_000),
)
def test_a_row_of_the_same_version_looks_the_same_at_any_time(
    fields: dict[str, Any], first: float, second: float
) -> None:
    row = upload(**fields)
    a, b = NOW + timedelta(seconds=first), NOW + timedelta(seconds=second)
    if upload_version(row, a) == upload_version(row, b):
        assert [upload_cell(row, column.key, 20, a) for column in COLUMNS] == [
            upload_cell(row, column.key, 20, b) for column in COLUMNS
        ]
