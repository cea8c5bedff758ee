"""What `upload`, `resume` and `retry` wait for, told by a feed: no server."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from pymongo.errors import OperationFailure, PyMongoError
from rich.console import Console

from console.commands import upload as carry
from console.commands.terminal_report import TerminalReport
from console.commands.upload import Carrier, Wanted
from console.commands.upload_report import JsonReport
from console.events.event import ChangeEvent
from console.events.feed_items import FeedItem, FeedState, Gap
from console.models import Endpoint, Upload, read_upload
from console.records.runners import Limits
from tests.ui.fake_backend import document


class Feed:
    """Gives what it was made to give, and then its error, if it has one."""

    coming: Sequence[Sequence[FeedItem]] = ()
    fails: PyMongoError | None = None

    def __init__(self, *_: object, **__: object) -> None:
        self._left = [*self.coming]
        self.error: PyMongoError | None = None

    def start(self) -> None: ...

    def take(self, _seconds: float) -> Sequence[FeedItem]:
        if self._left:
            return self._left.pop(0)
        self.error = self.fails
        return []

    def close(self, timeout: float = 0.0) -> None: ...


@pytest.fixture
def feed(monkeypatch: pytest.MonkeyPatch) -> type[Feed]:
    class ThisFeed(Feed):
        coming = ([FeedState(True)], [])

    monkeypatch.setattr(carry, "ChangeFeed", ThisFeed)
    monkeypatch.setattr(carry, "lives_here", lambda runner: runner == "somebody")
    return ThisFeed


def carrier(report: Any, documents: Sequence[dict[str, Any]] = ()) -> Carrier:
    live = SimpleNamespace(runner="somebody", host="alpha", kind="console", limits=Limits(0, None, None), details={})
    records: Any = SimpleNamespace(
        uploads=SimpleNamespace(
            collection=None,
            nobodys=lambda ids, hosts: [],
            get=lambda ids: [found for found in documents if found["_id"] in ids],
        ),
        runners=SimpleNamespace(live=lambda host="", kinds=(), endpoint=None: [live]),
    )
    sender: Any = SimpleNamespace(endpoint=Endpoint(("http://s3",)))
    nothing: Any = None
    return Carrier(records, sender, nothing, Wanted.ids([]), report)


def upload(**fields: Any) -> Upload:
    found = read_upload(document(1, **fields))
    assert isinstance(found, Upload)
    return found


def change(operation: str, found: Upload) -> ChangeEvent:
    return ChangeEvent.from_raw(
        {"_id": {"_data": "1"}, "operationType": operation, "documentKey": {"_id": found.id}, "ns": {"db": "d"}}
    )


def test_an_upload_whose_record_is_deleted_is_not_done(feed: type[Feed], capsys: pytest.CaptureFixture[str]) -> None:
    found = upload()
    feed.coming = [*feed.coming, [change("delete", found)]]
    assert carrier(JsonReport()).run(iter([[found]])) == 1
    assert [json.loads(line)["event"] for line in capsys.readouterr().out.splitlines()] == ["added", "deleted"]


def test_one_that_had_completed_before_is(feed: type[Feed]) -> None:
    found = upload()
    done = document(1, status="completed")
    feed.coming = [*feed.coming, [change("replace", found)], [change("delete", found)]]
    assert carrier(JsonReport(), [done]).run(iter([[found]])) == 0


def test_what_a_runner_left_paused_is_waited_for_and_its_end_is_seen_behind_a_gap(feed: type[Feed]) -> None:
    """Nobody asked for that pause: the next runner of the host goes on with it."""
    feed.coming = [*feed.coming, [], [Gap("the oplog has let go of it")]]
    feed.fails = OperationFailure("nothing more comes")
    done = document(1, status="completed")
    assert carrier(JsonReport(), [done]).run(iter([[upload(status="paused", requested="run")]])) == 0


def test_an_error_gives_the_terminal_back(feed: type[Feed], monkeypatch: pytest.MonkeyPatch) -> None:
    stopped: list[str] = []
    report = TerminalReport()
    monkeypatch.setattr(report._progress, "stop", lambda: stopped.append("stop"))
    feed.fails = OperationFailure("not allowed to watch", 13)
    with pytest.raises(OperationFailure, match="not allowed"):
        carrier(report).run(iter([[upload()]]))
    assert stopped == ["stop"]


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_narrow_terminal_has_bar_percentage_rate_and_time_in_one_line(width: int) -> None:
    console = Console(width=width, height=20, force_terminal=True, color_system=None, file=io.StringIO())
    report = TerminalReport(console)
    try:
        name = "a-file-with-a-name-that-is-longer-than-any-terminal-has-room-for.tar.zst"
        running = {"size": 4_000_000_000, "current": 1_000_000_000, "rate": 123_456_789.0}
        report.changed(None, upload(status="uploading", filename=name, **running))
        report.tick()
    finally:
        report.close()
    drawn = io.StringIO()
    Console(width=width, file=drawn, color_system=None).print(report._progress.get_renderable())
    lines = [line for line in drawn.getvalue().splitlines() if line.strip()]
    assert len(lines) == 2
    for line in lines:
        assert len(line) <= width
        assert "118 MiB/s" in line
        assert "24s" in line
        assert "25%" in line
        assert "━" in line
        assert ("3.73 GiB" in line) == (width >= 80)
    assert ".zst" in lines[1]
