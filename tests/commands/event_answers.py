"""What `events` is given and what it answers, as its tests say it."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from bson import json_util

if TYPE_CHECKING:
    from pymongo.database import Database

    from tests.commands.conftest import Answer

Events = Callable[..., "Answer"]


def place_of(database: Database[dict[str, Any]]) -> str:
    """Where its change stream stands, as `--since` takes it."""
    with database.watch() as stream:
        return json.dumps(stream.resume_token)


def lines(answer: Answer) -> list[dict[str, Any]]:
    assert answer.code == 0, answer.err
    return [json_util.loads(line) for line in answer.out.splitlines()]


def ids(answer: Answer) -> list[Any]:
    return [line["documentKey"]["_id"] for line in lines(answer) if "documentKey" in line]


def soon() -> str:
    """The next second: everything that has happened is before it."""
    return second(datetime.now(UTC) + timedelta(seconds=1))


def second(moment: datetime) -> str:
    """The beginning of that second, as `--until` and `--since` take it."""
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"
