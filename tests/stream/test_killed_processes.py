"""Whose streams are ended: those of processes that ran here, under this start of the system, and are gone."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from typing import Any

import pytest
from pymongo.database import Database

from console.stream.server import end_streams_of_the_dead, mark_of_process


@pytest.fixture(scope="module")
def gone() -> int:
    """The number of a process that has ended."""
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


@pytest.mark.parametrize(
    ("changed", "is_ended"),
    [
        ({}, True),
        ({"process": os.getpid()}, False),
        ({"process": 1}, False),  # perhaps of a user whose processes we may not see
        ({"boot": "another machine of the same name, or this one before it started again"}, False),
        ({"namespace": "another container"}, False),
        ({"host": "another host"}, False),
        ({"program": "another program"}, False),
        ({"process": "no number"}, False),
    ],
    ids=["gone", "this one", "of another user", "of another boot", "container", "host", "program", "no number"],
)
def test_only_streams_of_processes_that_are_gone_are_ended(
    database: Database[Any], gone: int, changed: Mapping[str, Any], is_ended: bool
) -> None:
    mark = {**mark_of_process(), "process": gone, **changed}
    things = database.create_collection("things")
    with things.watch(comment=mark, max_await_time_ms=100) as stream:
        assert stream.try_next() is None
        assert end_streams_of_the_dead(database.client) == is_ended
