"""What the screen of one upload says of its checksum."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest

from console.models import Upload, read_upload
from console.ui.uploads.upload_detail import record_lines
from tests.ui.samples import document


@pytest.mark.parametrize(
    ("confirmed", "words"),
    [
        ("checksum", "confirmed by S3"),
        ("etag", "confirmed by S3's ETag"),
        ("size", "of the file; S3 returned its size only"),
        ("somehow", "somehow"),  # a later version's
    ],
)
def test_what_s3_vouched_for_is_said(confirmed: str, words: str) -> None:
    checksum = {"algorithm": "CRC32", "value": "AAAAAA==", "kind": "FULL_OBJECT", "confirmed": confirmed}
    upload = read_upload(document(1, status="completed", checksum=checksum))
    assert isinstance(upload, Upload)
    assert dict(record_lines(upload, datetime.now(UTC)))["checksum"] == f"CRC32 AAAAAA== FULL_OBJECT, {words}"


@pytest.mark.parametrize("zone", ["America/New_York", "Pacific/Auckland"])
@pytest.mark.parametrize("year", [1, 9999])
def test_dates_at_the_ends_of_time_are_said(monkeypatch: pytest.MonkeyPatch, zone: str, year: int) -> None:
    """Somebody else may have written them; a zone west or east of UTC has no such moment."""
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        moment = datetime(year, 1, 1, tzinfo=UTC) if year == 1 else datetime(year, 12, 31, 23, 59, tzinfo=UTC)
        upload = read_upload(document(1, created_at=moment))
        assert isinstance(upload, Upload)
        assert any(f"{year:04}" in words.zfill(4) for _, words in record_lines(upload, datetime.now(UTC)))
    finally:
        monkeypatch.undo()
        time.tzset()
