"""What is to happen to a file, by its rule and its newest record: no server, no disk."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from bson import ObjectId

from console.files.walk import Found
from console.models import UploadStatus
from console.records.watched_files import Record
from console.s3.control import Unattended
from console.settings.watch_rules import WatchRule
from console.watch.decisions import Action, Decision, Decisions

NOW = datetime.now(UTC)
FILE = Found("/in/a", "a", 5, 1_000, 1_000, (1, 1))
PENDING, PAUSED, FAILED = UploadStatus.PENDING, UploadStatus.PAUSED, UploadStatus.FAILED
CANCELLED, COMPLETED = UploadStatus.CANCELLED, UploadStatus.COMPLETED


def record(status: UploadStatus, *, size: int = 5, wanted: bool = True, host: str = "here", error: str = "") -> Record:
    times = (NOW - timedelta(days=2), NOW - timedelta(days=1))
    return Record(
        id=ObjectId(),
        path="/in/a",
        path_bytes=None,
        host=host,
        key="plain",
        scope=host,
        digest="digest",
        size=size,
        mtime_ns=1_000,
        ctime_ns=1_000,
        found_as=None,
        fingerprint="print",
        status=status,
        is_wanted=wanted,
        has_parts=False,
        error_code=error,
        error_message="",
        created_at=times[0],
        finished_at=times[1],
    )


def decided(newest: Record | None, *, alive: str = "", at: datetime | None = None, **settings: Any) -> Decision:
    """About a file of five bytes, whose key is `plain` and that of a version `versioned`."""
    key = SimpleNamespace(size=5, mtime_ns=1_000, key="plain")
    destination: Any = SimpleNamespace(
        duplicates="overwrite",
        upload=lambda file: key,
        claimed=lambda upload, after: upload,
        versioned=lambda upload: SimpleNamespace(key="versioned"),
    )
    sent: Any = SimpleNamespace(
        newest=lambda paths: {"/in/a": newest} if newest else {}, upload=lambda upload_id: None, holders=lambda keys: {}
    )
    nothing: Any = None  # no file looks like one that was sent
    rule = WatchRule.model_validate({"folder": "/in", **settings})
    decisions = Decisions(
        rule,
        destination,
        sent,
        host="here",
        verifier=nothing,
        control=Unattended(),
        is_host_alive=alive.split().__contains__,
        clock=lambda: at or datetime.now(UTC),
    )
    [decision] = decisions.decide([FILE])
    return decision


@pytest.mark.parametrize(
    ("hour", "action"), [(21, Action.UPLOAD), (5, Action.UPLOAD), (6, Action.WAIT), (12, Action.WAIT)]
)
def test_outside_the_hours_of_its_rule_a_file_waits(hour: int, action: Action) -> None:
    decision = decided(None, at=datetime(2026, 12, 1, hour, tzinfo=UTC), between="20:00-06:00", renamed="upload")
    assert decision.action is action
    assert decision.message == ("" if action is Action.UPLOAD else "uploads run between 20:00-06:00")


def test_only_what_another_host_was_to_send_is_taken_over_and_only_where_that_is_away() -> None:
    """This host's own runner may not have begun yet."""
    assert decided(record(PENDING)).action is Action.QUEUED
    assert decided(record(PENDING, host="there"), alive="there").action is Action.QUEUED
    assert decided(record(PENDING, host="there"), alive="here").action is Action.RETARGET


@pytest.mark.parametrize(
    ("status", "wanted", "step"),
    [
        (PENDING, True, Action.RETARGET),
        (PAUSED, False, Action.SKIP),
        (PENDING, False, Action.SKIP),
        (FAILED, False, Action.RETARGET),
    ],
)
def test_a_changed_file_whose_upload_somebody_paused_waits_but_not_after_a_failure(
    status: UploadStatus, wanted: bool, step: Action
) -> None:
    assert decided(record(status, size=4, wanted=wanted)).action is step


@pytest.mark.parametrize(("status", "key"), [(COMPLETED, "versioned"), (CANCELLED, "plain")])
def test_only_what_was_sent_has_versions(status: UploadStatus, key: str) -> None:
    decision = decided(record(status, size=4), changed="version")
    assert decision.action is Action.UPLOAD
    assert decision.upload is not None
    assert decision.upload.key == key
