"""A machine that allows little: less goes at once, and all of it arrives."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from console.records.database import Records

FEW = 60


def limited(kind: int, amount: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(kind, (amount, amount))


@pytest.mark.parametrize(
    "limit",
    [limited(resource.RLIMIT_NOFILE, 64), limited(resource.RLIMIT_AS, 400_000_000)],
    ids=["descriptors", "memory"],
)
def test_all_arrives_with_few(
    environment: dict[str, str], records: Records, tmp_path: Path, limit: Callable[[], None]
) -> None:
    for number in range(FEW):
        (tmp_path / f"small-{number}").write_bytes(b"abc")
    (tmp_path / "large").write_bytes(os.urandom(20_000_000))
    answer = subprocess.run(
        [sys.executable, "-m", "console", "upload", str(tmp_path), "--json"],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=150,
        preexec_fn=limit,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    assert "Traceback" not in answer.stderr
    assert records.uploads.counts()["completed"] == FEW + 1
