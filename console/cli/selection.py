"""Which uploads a command is about (ids or their ends, a status, a match expression, all), and asking the person at
the terminal before something is removed.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from bson import ObjectId, encode, json_util
from bson.errors import BSONError
from pymongo.errors import OperationFailure

from console.errors import UsageError
from console.formatting import visible
from console.models import UploadStatus
from console.records.connection import UNAUTHORIZED, describe_error
from console.records.schema import OURS
from console.records.uploads import Uploads

SHORT_ID: Final = 8
"""So many characters of an id's end are shown to people; they tell uploads of one day apart."""
_SHORTEST_END: Final = 4


@dataclass(frozen=True, slots=True)
class Selection:
    ids: Sequence[str]
    statuses: Sequence[str]
    match: str | None
    all: bool

    def filter(self, uploads: Uploads) -> dict[str, Any]:
        """The query.

        Raises:
            UsageError: nothing was selected, or an id, status or expression makes no sense.
        """
        if not (self.ids or self.statuses or self.match or self.all):
            raise UsageError("no uploads were named", advice="Give their ids, a filter (--status, --match) or --all.")
        wanted: list[dict[str, Any]] = []
        if self.ids:
            wanted.append({"_id": {"$in": [_find_id(uploads, text) for text in self.ids]}})
        if self.statuses:
            wanted.append({"status": {"$in": [_status(text) for text in self.statuses]}})
        if self.match:
            wanted.append(_checked(uploads, read_match(self.match)))
        return {"$and": wanted} if wanted else {}

    def find(self, uploads: Uploads) -> list[ObjectId]:
        """The ids that are meant; those that were typed also where there is no such document, so that this is said."""
        if self.ids and not (self.statuses or self.match):
            return list(dict.fromkeys(_find_id(uploads, text) for text in self.ids))
        # Many are meant: then only what is an upload beyond doubt, for the collection may be others' too.
        return uploads.ids({"$and": [OURS, self.filter(uploads)]})

    def missing(self, uploads: Uploads) -> list[ObjectId]:
        """Ids that were typed and of which there is no upload."""
        typed = dict.fromkeys(ObjectId(text) for text in self.ids if ObjectId.is_valid(text))  # ends were found, or not
        found = set(uploads.ids({"_id": {"$in": list(typed)}})) if typed else set()
        return [upload_id for upload_id in typed if upload_id not in found]


def read_match(text: str) -> dict[str, Any]:
    """A match expression in extended JSON.

    Raises:
        UsageError: it is none.
    """
    try:
        expression = json_util.loads(text)
    except (ValueError, TypeError, KeyError, ArithmeticError, AttributeError, RecursionError, BSONError) as error:
        raise UsageError(f"--match: not extended JSON: {visible(str(error) or type(error).__name__)}") from None
    if not isinstance(expression, dict):
        raise UsageError(f'--match: expected an object such as {{"size": {{"$gt": 0}}}}, got {visible(text)}')
    try:
        encode(expression)
    except (OverflowError, RecursionError, BSONError) as error:  # numbers of more than 64 bits, say
        raise UsageError(f"--match: not BSON: {visible(str(error))}") from None
    return expression


def _checked(uploads: Uploads, expression: dict[str, Any]) -> dict[str, Any]:
    """The expression, which the server has looked at, but no documents yet."""
    try:
        uploads.ids({"$and": [{"_id": {"$in": []}}, expression]})
    except OperationFailure as error:
        if error.code == UNAUTHORIZED:
            raise
        raise UsageError(f"--match: {describe_error(error)}") from None
    return expression


def _status(text: str) -> str:
    if text not in [status.value for status in UploadStatus]:
        raise UsageError(f"--status: {visible(text)} is not one of {', '.join(UploadStatus)}")
    return text


def _find_id(uploads: Uploads, text: str) -> ObjectId:
    if ObjectId.is_valid(text):
        return ObjectId(text)
    if not re.fullmatch(rf"[0-9a-f]{{{_SHORTEST_END},23}}", text):
        raise UsageError(f"{visible(text)} is not a valid upload id", advice="`upload-console list` shows them.")
    is_ours = {"$eq": [{"$type": "$_id"}, "objectId"]}  # of a document or an array there is no `$toString`
    as_text = {"$cond": [is_ours, {"$toString": "$_id"}, ""]}
    found = uploads.ids({"$expr": {"$regexMatch": {"input": as_text, "regex": f"{text}$"}}}, limit=2)
    if len(found) == 1:
        return found[0]
    if found:
        raise UsageError(f"more than one upload id ends in {text}; give more of it")
    raise UsageError(f"no upload id ends in {text}", advice="`upload-console list` shows them.")


def can_ask() -> bool:
    """Whether somebody is there to answer."""
    return sys.stdin.isatty()


def agreed(question: str) -> bool:
    """Ask on standard error; anything but a yes is a no."""
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")
