"""The unit of docs/watch.md gives the service no more than it needs."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs" / "watch.md"


def test_the_exposure_of_the_unit_is_low(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("there is no systemd-analyze")
    (unit,) = re.findall(r"```ini\n(# /etc/systemd/.*?)```", DOCS.read_text(), re.DOTALL)
    file = tmp_path / "upload-console-watch.service"
    file.write_text(unit)
    asked = ["systemd-analyze", "security", "--offline=true", "--no-pager", file]
    answer = subprocess.run(asked, capture_output=True, text=True)
    if "unrecognized option" in answer.stderr:
        pytest.skip("this systemd-analyze is too old to judge a file")
    assert "UMask=0077" in unit
    assert float(re.findall(r"Overall exposure level for .*: ([\d.]+)", answer.stdout)[0]) <= 3
