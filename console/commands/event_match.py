"""`--match` of `events`: a line of the event log's filter language, or a match expression of MongoDB.

Owns dividing it between the server and us. Not here: the language (`events.filters`).

    --match 'op:update,replace ns:orders -field:updated_at'
    --match '{"operationType": "insert", "fullDocument.total": {"$gt": 100}}'
"""

from __future__ import annotations

from typing import Any

from console.commands.selection import read_match
from console.errors import UsageError
from console.events.filters import Filter, FilterError, parse_filter

Stages = list[dict[str, Any]]


def read_server_match(line: str | None) -> tuple[Stages, Filter]:
    """The stages that have the server send less, and what is left to be decided here.

    An expression alone goes to the server as it is, with all operators that the server knows.

    Raises:
        UsageError: it is neither.
    """
    if not line:
        return [], Filter()
    try:
        return parse_filter(line).server_part()
    except FilterError as error:
        complaint = error
    if line.lstrip().startswith("{"):
        try:
            return [{"$match": read_match(line)}], Filter()
        except UsageError:
            pass  # it is not an expression alone; the complaint says more, and where
    raise _refused(complaint) from complaint


def read_local_match(line: str | None) -> Filter:
    """All of it decided here, where there is no server. Raises `UsageError`."""
    try:
        return parse_filter(line or "")
    except FilterError as error:
        raise _refused(error) from error


def _refused(error: FilterError) -> UsageError:
    return UsageError(f"--match: {error.message}", advice=error.advice)
