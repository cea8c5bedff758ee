"""What a process costs mongod: one change stream, and none once it has ended."""

from __future__ import annotations

import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

from tests.commands.running import Running

SOON = 5.0


def streams(client: MongoClient[dict[str, Any]], database: str) -> list[Mapping[str, Any]]:
    """Cursors on our collections, waiting or being read."""
    pipeline = [
        {"$currentOp": {"idleCursors": True, "allUsers": True}},
        {"$match": {"ns": {"$regex": rf"^{database}\."}, "cursor.cursorId": {"$exists": True}}},
    ]
    return list(client.admin.aggregate(pipeline))


def left(client: MongoClient[dict[str, Any]], database: str) -> list[Mapping[str, Any]]:
    """Those that are still there some seconds later."""
    until = time.monotonic() + SOON
    while (found := streams(client, database)) and time.monotonic() < until:
        time.sleep(0.05)
    return found


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
@pytest.mark.parametrize("command", ["watch", "events"])
def test_a_process_has_one_stream_and_leaves_none(
    environment: Mapping[str, str], tmp_path: Path, command: str, number: signal.Signals
) -> None:
    if (command, number) == ("watch", signal.SIGHUP):
        pytest.skip("reads its rules again")
    arguments = {"watch": ("watch", str(tmp_path)), "events": ("events", "--json")}[command]
    database = environment["UPLOAD_CONSOLE_MONGODB__DATABASE"]
    with MongoClient[dict[str, Any]](environment["UPLOAD_CONSOLE_MONGODB__URI"]) as client:
        with Running(*arguments, environment=environment) as running:
            running.wait_for(lambda: streams(client, database))
            if command == "watch":  # by then its runner has begun, too
                running.wait_for(lambda: client[database].uploads_runners.count_documents({}))
            assert len(streams(client, database)) == 1
            running.signal(number)
            running.end()
        assert left(client, database) == []


def test_a_command_that_ends_by_itself_leaves_no_stream(environment: Mapping[str, str], tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"x")
    database = environment["UPLOAD_CONSOLE_MONGODB__DATABASE"]
    with MongoClient[dict[str, Any]](environment["UPLOAD_CONSOLE_MONGODB__URI"]) as client:
        with Running("upload", str(file), environment=environment) as running:
            assert running.end() == 0, running.errors()
        assert left(client, database) == []


def test_the_next_process_ends_the_stream_of_one_that_was_killed(
    environment: Mapping[str, str], tmp_path: Path
) -> None:
    database = environment["UPLOAD_CONSOLE_MONGODB__DATABASE"]
    with MongoClient[dict[str, Any]](environment["UPLOAD_CONSOLE_MONGODB__URI"]) as client:
        with Running("watch", str(tmp_path), environment=environment) as running:
            running.wait_for(lambda: streams(client, database))
            [killed] = streams(client, database)
            running.signal(signal.SIGKILL)
            running.end()
        with Running("events", "--json", environment=environment) as running:
            running.wait_for(lambda: streams(client, database))
            running.wait_for(lambda: killed["cursor"]["cursorId"] not in ids_of(streams(client, database)))
            running.wait_for(lambda: len(streams(client, database)) == 1)
            running.signal(signal.SIGTERM)
            running.end()
        assert left(client, database) == []


def ids_of(found: list[Mapping[str, Any]]) -> set[int]:
    return {each["cursor"]["cursorId"] for each in found}
