"""What works behind the full-screen console, on real servers: a folder that is watched from the screen."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from console.commands.console.session import Session
from console.errors import UsageError
from console.models import UploadStatus
from console.records.database import Records
from console.records.watches import Presence
from console.settings import load
from console.transfer.sender import S3Sender

WAIT_SECONDS = 60.0


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def test_a_folder_is_watched_as_long_as_the_console_runs(
    environment: dict[str, str], tmp_path: Path, records: Records
) -> None:
    inbox, other = tmp_path / "inbox", tmp_path / "other"
    for folder in (inbox, other):
        folder.mkdir()
    (inbox / "there.txt").write_text("there")
    settings = load(None, environment, {})
    session = Session(settings, Records.open(settings.mongodb), S3Sender(settings.s3, settings.transfer))
    try:
        session.start()
        session.backend.watch_folder(str(inbox))
        session.backend.watch_folder(str(other))
        with pytest.raises(UsageError, match="is watched already"):
            session.backend.watch_folder(str(inbox))
        assert {watch.folder for watch in session.backend.watches() if watch.is_alive} == {str(inbox), str(other)}
        (other / "came.txt").write_text("came")
        until(lambda: records.uploads.counts()[UploadStatus.COMPLETED] == 2)
    finally:
        session.close()
    assert not [watch for watch in Presence.of(records.uploads).known() if watch.is_alive]
