"""`list` has one line for each upload, with what tells it from others, however narrow the terminal is."""

from __future__ import annotations

import io

import pytest
from rich.cells import cell_len
from rich.console import Console

from console.commands.list import _table
from console.settings import S3Settings
from tests.ui.fake_backend import NOW, document
from tests.ui.samples import some_uploads

LONG = document(50, status="failed", filename="x" * 90, error={"code": "AccessDenied", "message": "m" * 200, "at": NOW})


@pytest.mark.parametrize("width", [40, 60, 80, 120, 10_000])
@pytest.mark.parametrize("others", [[], [document(51, endpoint="https://s3.eu-central-1.amazonaws.com")]])
def test_one_line_for_each_upload(width: int, others: list[dict[str, object]]) -> None:
    documents = [*some_uploads()[:9], LONG, *others]
    drawn = io.StringIO()
    Console(width=width, file=drawn, color_system=None).print(_table(documents, S3Settings(), NOW, width))
    heading, *lines = drawn.getvalue().splitlines()
    assert len(lines) == len(documents)
    assert all(cell_len(line) <= width for line in [heading, *lines])
    assert heading.split()[:2] == ["ID", "STATUS"]
    for found, line in zip(documents, lines, strict=True):
        assert str(found["_id"])[-6:] in line.split()[0]
        assert found["status"] in line
    assert "backup" in lines[1]
    if width >= 60:
        assert "AccessDenied" in lines[7] or "ERROR" not in heading
    assert ("DESTINATION" in heading) == (width >= 100)
