"""What the screen of one upload says of its checksum."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from console.models import Upload, read_upload
from console.ui.upload_detail import record_lines

from .samples import document


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
