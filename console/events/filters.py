"""Filters of the event log, as they are typed in one line.

    op:update ns:uploads key:65f0 field:status some words {"fullDocument.size": {"$gt": 5}}

Owns the line's grammar and the stack of clauses. Not here: what a clause asks (`clauses`).

    line    = clause, separated by spaces; all must hold
    clause  = [-] name:words | [-] word | [-] {match expression}        a leading - turns it round
    name    = op | ns | key | field | text
    words   = word, separated by commas; one must hold; in quotes with \\" and \\\\ for the signs themselves

A word that no operation fits is an error: it would pass nothing, and nobody would learn why.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import bson
from bson import json_util
from bson.errors import BSONError

from console.errors import UsageError
from console.events.clauses import (
    Clause,
    FieldClause,
    KeyClause,
    MatchClause,
    NamespaceClause,
    OperationClause,
    TextClause,
    Word,
    WordClause,
)
from console.events.event import ChangeEvent
from console.events.match_conditions import MatchError
from console.events.text import RELAXED
from console.events.values import MAX_DEPTH, is_deep
from console.formatting import visible

_NAMED: Final[Mapping[str, type[WordClause]]] = {
    clause.name: clause for clause in (OperationClause, NamespaceClause, KeyClause, FieldClause, TextClause)
}
# MongoDB manual, "Change Events", expanded ones included.
_OPERATIONS: Final = (
    *("insert", "update", "replace", "delete", "drop", "rename", "dropDatabase", "invalidate", "create"),
    *("createIndexes", "dropIndexes", "modify", "shardCollection", "reshardCollection", "refineCollectionShardKey"),
)
# The last one names none and is shown as unknown.
_OF_EACH: Final = tuple(ChangeEvent.from_raw({"operationType": name}) for name in (*_OPERATIONS, None))
_NAME: Final = re.compile(rf"({'|'.join(_NAMED)}):", re.IGNORECASE)
_ESCAPED: Final = re.compile(r"\\(.)")
_QUOTED: Final = re.compile(r'"((?:[^"\\]|\\.)*)"')
_BARE_TEXT: Final = re.compile(r'[^\s"]+')
_BARE_WORD: Final = re.compile(r'[^\s",]+')
_ELEMENT: Final = re.compile(r"\[(\d+)\]")


class FilterError(UsageError):
    """A line that is no filter; `position` counts characters from 0 to where it goes wrong."""

    title = "Filter"

    def __init__(self, message: str, position: int, *, advice: str = "") -> None:
        super().__init__(f"{message} (at character {position + 1})", advice=advice)
        self.reason = message
        self.position = position


@dataclass(frozen=True, slots=True)
class Filter:
    """Clauses that must all hold. The empty filter passes everything."""

    clauses: tuple[Clause, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.clauses)

    def __add__(self, other: Filter) -> Filter:
        """Both stacked; a clause that is there already is not put twice."""
        return Filter((*self.clauses, *(clause for clause in other.clauses if clause not in self.clauses)))

    def without(self, clause: Clause) -> Filter:
        """All other clauses."""
        return Filter(tuple(kept for kept in self.clauses if kept != clause))

    @property
    def text(self) -> str:
        """The line from which `parse_filter` reads this filter again; not yet made visible."""
        return " ".join(clause.typed for clause in self.clauses)

    @property
    def description(self) -> str:
        """What passes, in words; "" where everything does."""
        return ", ".join(clause.description for clause in self.clauses)

    @property
    def needs_documents(self) -> bool:
        """Whether operation, namespace and document key do not suffice to decide."""
        return any(clause.needs_documents for clause in self.clauses)

    def head(self) -> Filter:
        """The clauses that operation, namespace and document key suffice to decide: the cheap ones."""
        return Filter(tuple(clause for clause in self.clauses if not clause.needs_documents))

    def body(self) -> Filter:
        """The clauses that need the documents."""
        return Filter(tuple(clause for clause in self.clauses if clause.needs_documents))

    def matches(self, event: Any) -> bool:
        """Whether a `ChangeEvent` passes (or, for a filter that needs no documents, a `clauses.Head`)."""
        return all(clause.matches(event) for clause in self.clauses)

    def server_part(self) -> tuple[list[dict[str, Any]], Filter]:
        """The stages that have the server send less, and the filter that remains to be applied here."""
        queries = [(clause, clause.server_query()) for clause in self.clauses]
        asked = [dict(query) for _, query in queries if query is not None]
        stages = [{"$match": {"$and": asked} if len(asked) > 1 else asked[0]}] if asked else []
        return stages, Filter(tuple(clause for clause, query in queries if query is None))


def parse_filter(line: str) -> Filter:
    """Read a typed line. Raises `FilterError` with what is wrong and where."""
    clauses: list[Clause] = []
    position = 0
    while (position := _skip_spaces(line, position)) < len(line):
        clause, position = _clause(line, position)
        if clause not in clauses:
            clauses.append(clause)
    return Filter(tuple(clauses))


def _skip_spaces(line: str, position: int) -> int:
    while position < len(line) and line[position].isspace():
        position += 1
    return position


def _clause(line: str, start: int) -> tuple[Clause, int]:
    negated = line[start] == "-"
    position = start + negated
    if line.startswith("{", position):
        return _match_clause(line, position, negated)
    named = _NAME.match(line, position)
    kind = _NAMED[named[1].lower()] if named else TextClause
    is_text = kind is TextClause
    if named:
        position = named.end()
    words = []
    while True:
        begin = position
        word, position = _word(line, position, is_text)
        if kind is OperationClause:
            _check_operation(word, begin)
        words.append(_read_path(word) if kind is FieldClause else word)
        if is_text or not line.startswith(",", position):
            break
        position += 1
    if position < len(line) and not line[position].isspace():
        raise FilterError(f"unexpected {visible(line[position])}", position, advice="Separate clauses by spaces.")
    return kind(tuple(words), negated), position


def _word(line: str, position: int, is_text: bool) -> tuple[Word, int]:
    if line.startswith('"', position):
        match = _QUOTED.match(line, position)
        if match is None:
            raise FilterError("a quote that nothing closes", position)
        text = _ESCAPED.sub(r"\1", match[1])
        return Word(text, in_quotes=True), match.end()
    match = (_BARE_TEXT if is_text else _BARE_WORD).match(line, position)
    if match is None:
        raise FilterError("a word is missing", position)
    # What was copied from a column that cut it has an ellipsis.
    return Word(match[0].strip("…") or match[0]), match.end()


def _check_operation(word: Word, position: int) -> None:
    clause = OperationClause((word,))
    if not any(map(clause.matches, _OF_EACH)):
        known = ", ".join(_OPERATIONS)
        raise FilterError(f"{visible(word.typed)} is not a valid operation; valid: {known}", position)


def _read_path(word: Word) -> Word:
    """A path may be typed as the log shows it, `parts[3].etag`; it is compared with dots."""
    return Word(_ELEMENT.sub(r".\1", word.text), word.in_quotes)


def _match_clause(line: str, start: int, negated: bool) -> tuple[Clause, int]:
    decoder = json.JSONDecoder(object_pairs_hook=_read_document)
    try:
        expression, end = decoder.raw_decode(line, start)
    except json.JSONDecodeError as error:
        raise FilterError(f"not valid JSON: {visible(error.msg)}", error.pos) from error
    except (ValueError, TypeError, KeyError, ArithmeticError, AttributeError, RecursionError, BSONError) as error:
        raise FilterError(f"not valid extended JSON: {visible(str(error))}", start) from error
    if end < len(line) and not line[end].isspace():
        raise FilterError(f"unexpected {visible(line[end])}", end, advice="Separate clauses by spaces.")
    if is_deep(expression):
        raise FilterError(f"nested deeper than {MAX_DEPTH} levels", start)
    try:
        clause = MatchClause(line[start:end], expression, negated)
    except MatchError as error:
        raise FilterError(error.message, start, advice=error.advice) from error
    _check_bson(expression, start)
    return clause, end


def _check_bson(expression: Mapping[str, Any], position: int) -> None:
    """What is no BSON no document has, and no server can be asked for it."""
    for name, argument in expression.items():
        try:
            bson.encode({name: argument})
        except (BSONError, UnicodeError, OverflowError) as error:
            reason = f"{visible(name[:60])}: not valid BSON: {visible(str(error)[:100])}"
            raise FilterError(reason, position) from error


def _read_document(pairs: list[tuple[str, Any]]) -> Any:
    """Extended JSON, but for `$regex` with a text: that is the query operator, which may stand among others."""
    document = dict(pairs)
    return document if isinstance(document.get("$regex"), str) else json_util.object_hook(document, RELAXED)
