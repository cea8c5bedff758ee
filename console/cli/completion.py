"""What the shell completes besides commands and flags: statuses, and the ids of uploads, newest first.

It runs at each press of tab: it imports the server's library only for ids, waits a second at most, and where
something is wrong it completes nothing and says nothing. Shells put what they are given into the command line, and
Zsh evaluates it before that: of what others wrote nothing gets there that could be a command.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from console.choices import STATUSES

_MOST_IDS: Final = 50
_SECONDS: Final = 1.0
_LONGEST: Final = 120
_UNSAFE: Final = re.compile(r"[^\w ,.@+-]")
"""In a description: all but letters, digits and a few signs that are none of any shell's."""


def complete_status(incomplete: str) -> list[str]:
    return [status for status in STATUSES if status.startswith(incomplete)]


def complete_id(ctx: Any, incomplete: str) -> list[tuple[str, str]]:
    """Ids of the newest uploads that begin so, each with status and name."""
    try:
        return _ids(ctx.params, incomplete.casefold())
    except Exception:  # noqa: BLE001 - a shell that completes has no place for a message
        return []


def described(documents: Iterable[Mapping[str, Any]], incomplete: str) -> list[tuple[str, str]]:
    """Ids that begin so, each with its status and name."""
    from bson import ObjectId

    found = [(str(each["_id"]), each) for each in documents if isinstance(each.get("_id"), ObjectId)]
    return [
        (upload_id, _UNSAFE.sub("·", f"{each.get('status', '')} {each.get('filename', '')}")[:_LONGEST])
        for upload_id, each in found
        if upload_id.startswith(incomplete)
    ][:_MOST_IDS]


def _ids(given: dict[str, Any], incomplete: str) -> list[tuple[str, str]]:
    from pymongo import MongoClient

    from console.settings import FILE_VARIABLE, find_file, load

    named = given.get("config") or os.environ.get(FILE_VARIABLE)
    mongodb = load(
        find_file(Path(named) if named else None), os.environ, {"mongodb.uri": given.get("mongodb_uri")}
    ).mongodb
    milliseconds = int(_SECONDS * 1000)
    with MongoClient[dict[str, Any]](
        mongodb.uri.get_secret_value(), serverSelectionTimeoutMS=milliseconds, timeoutMS=milliseconds
    ) as client:
        uploads = client[mongodb.database][mongodb.collection]
        newest = (
            uploads.find({}, {"status": 1, "filename": 1}).sort("_id", -1).limit(1_000 if incomplete else _MOST_IDS)
        )
        return described(newest, incomplete)
