r"""Filters of the event log, as they are typed in one line.

    op:update ns:uploads key:65f0 field:status some words {"fullDocument.size": {"$gt": 5}}

    line    = clause, separated by spaces; all must hold
    clause  = [-] name:words | [-] word | [-] {match expression}        a leading - turns it round
    name    = op | ns | key | field | text
    words   = word, separated by commas; one must hold; in quotes with " and \ for the signs themselves

A word is contained in the text, ignoring case; with `*` or `?` it must fit the whole text, and in quotes it must
equal it. A word that no operation fits is an error: it would pass nothing, and nobody would learn why. Match
expressions are evaluated in `match`.
"""

from __future__ import annotations

import fnmatch
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Protocol

import bson
from bson import Int64, ObjectId, json_util
from bson.errors import BSONError

from console.errors import UsageError
from console.events.bson_values import MAX_DEPTH, is_deep
from console.events.changes import MissingValue, changes, described_changes
from console.events.event import ChangeEvent
from console.events.match import MatchError, Predicate, compile_match
from console.events.text import RELAXED, value_text
from console.formatting import visible

# A bare word that would be read as another clause if it stood alone.
_READS_AS_OTHER: Final = re.compile(r"-|\{|(?:op|ns|key|field|text):", re.IGNORECASE)
_LONGEST: Final = 200
_AS_PYTHON: Final = frozenset({int, Int64, ObjectId})  # the values there are most of


class Head(Protocol):
    """What is known of an event without its documents; a `ChangeEvent` has it all."""

    @property
    def operation(self) -> str: ...
    @property
    def namespace(self) -> str: ...
    @property
    def document_id(self) -> Any: ...


@dataclass(frozen=True, slots=True)
class Word:
    """One word of a clause as it was typed, in quotes or bare."""

    text: str
    in_quotes: bool = False

    @property
    def typed(self) -> str:
        if not self.in_quotes:
            return self.text
        return '"' + self.text.replace("\\", "\\\\").replace('"', '\\"') + '"'

    @property
    def is_wild(self) -> bool:
        return not self.in_quotes and ("*" in self.text or "?" in self.text)

    @property
    def pattern(self) -> re.Pattern[str]:
        """A bare word as a regular expression, to search for."""
        if not self.is_wild:
            return re.compile(re.escape(self.text), re.IGNORECASE)
        # fnmatch's expression takes linear time for any number of stars.
        return re.compile(rf"\A{fnmatch.translate(self.text.replace('[', '[[]'))}", re.IGNORECASE)

    @property
    def server_pattern(self) -> Mapping[str, Any]:
        """A bare word as a query on a field that is a text."""
        expression = "".join({"*": ".*", "?": "."}.get(letter, re.escape(letter)) for letter in self.text)
        return {"$regex": f"^{expression}$" if self.is_wild else re.escape(self.text), "$options": "is"}


@dataclass(frozen=True, slots=True)
class WordClause:
    """A clause of words on a text of the event; one class for each of its names."""

    words: tuple[Word, ...]
    negated: bool = False
    name: ClassVar[str]
    needs_documents: ClassVar[bool] = False
    _patterns: tuple[re.Pattern[str], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_patterns", tuple(self._pattern(word) for word in self.words))

    def _pattern(self, word: Word) -> re.Pattern[str]:
        return re.compile(rf"\A{re.escape(word.text)}\Z") if word.in_quotes else word.pattern

    @property
    def typed(self) -> str:
        return f"{'-' if self.negated else ''}{self.name}:{','.join(word.typed for word in self.words)}"

    def matches(self, event: Any) -> bool:
        return any(pattern.search(text) for text in self.texts(event) for pattern in self._patterns) != self.negated

    def texts(self, event: Any) -> Iterator[str]:
        """The texts of the event of which one must fit."""
        raise NotImplementedError

    def server_query(self) -> Mapping[str, Any] | None:
        """The same as a query on change events, or None where the server cannot ask just this."""
        parts = [self._server_word(word) for word in self.words]
        if None in parts or not all(word.text.isascii() for word in self.words):  # case folds differently there
            return None
        query = {"$or": parts} if len(parts) > 1 else parts[0]
        return {"$nor": [query]} if self.negated else query

    def _server_word(self, word: Word) -> Mapping[str, Any] | None:
        return None


class OperationClause(WordClause):
    """The operation: insert, update, drop, ..."""

    __slots__ = ()
    name = "op"

    def texts(self, event: Head) -> Iterator[str]:
        yield event.operation

    def _server_word(self, word: Word) -> Mapping[str, Any] | None:
        return {"operationType": word.text if word.in_quotes else word.server_pattern}


class NamespaceClause(WordClause):
    """The namespace, "db.collection"."""

    __slots__ = ()
    name = "ns"

    def texts(self, event: Head) -> Iterator[str]:
        yield event.namespace

    def _server_word(self, word: Word) -> Mapping[str, Any] | None:
        database, dot, collection = word.text.partition(".")
        if word.in_quotes and word.text:
            return {"ns.db": database, "ns.coll": collection if dot else {"$exists": False}}
        if dot or word.is_wild or not word.text:
            return None
        return {"$or": [{"ns.db": word.server_pattern}, {"ns.coll": word.server_pattern}]}


class KeyClause(WordClause):
    """The `_id` of the document, as its text."""

    __slots__ = ()
    name = "key"

    def texts(self, event: Head) -> Iterator[str]:
        identity = event.document_id
        if identity is not None:
            yield identity if isinstance(identity, str) else value_text(identity, _LONGEST)

    def _server_word(self, word: Word) -> Mapping[str, Any] | None:
        if word.in_quotes and ObjectId.is_valid(word.text):
            return {"documentKey._id": {"$in": [ObjectId(word.text), word.text]}}
        return None


class FieldClause(WordClause):
    """A field that an update or replace changed, by its path with dots; what is below the path counts as well."""

    __slots__ = ()
    name = "field"
    needs_documents = True

    def texts(self, event: ChangeEvent) -> Iterator[str]:
        """The paths that changed, and (for words that want the whole) those above them."""
        above = any(word.in_quotes or word.is_wild for word in self.words)
        for steps in changed_paths(event):
            yield ".".join(steps)
            if above:
                yield from (".".join(steps[:length]) for length in range(1, len(steps)))


class TextClause(WordClause):
    """Text in any name or value of the event, but for its resume token."""

    __slots__ = ()
    name = "text"
    needs_documents = True

    @property
    def typed(self) -> str:
        """As it is typed: bare where that reads as a text."""
        name = "text:" if _READS_AS_OTHER.match(self.words[0].typed) else ""
        return f"{'-' if self.negated else ''}{name}{self.words[0].typed}"

    def matches(self, event: ChangeEvent) -> bool:
        word = self.words[0]
        if word.is_wild:
            return _somewhere(event, self._patterns[0].search) != self.negated
        wanted = word.text.lower()
        return _somewhere(event, lambda text: wanted in text.lower()) != self.negated


@dataclass(frozen=True, slots=True)
class MatchClause:
    """A match expression on the event as the server delivers it; `source` is how it was typed."""

    source: str
    expression: Mapping[str, Any] = field(compare=False)
    negated: bool = False
    needs_documents: ClassVar[bool] = True
    _predicate: Predicate = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_predicate", compile_match(self.expression))

    @property
    def typed(self) -> str:
        return f"{'-' if self.negated else ''}{self.source}"

    def matches(self, event: ChangeEvent) -> bool:
        return self._predicate(event.raw) != self.negated

    def server_query(self) -> Mapping[str, Any] | None:
        return {"$nor": [self.expression]} if self.negated else self.expression


@dataclass(frozen=True, slots=True)
class FieldsOnlyClause:
    """Leaves out updates that changed nothing but these fields: of an upload, how far it is."""

    fields: frozenset[str]
    typed: ClassVar[str] = ""
    needs_documents: ClassVar[bool] = True

    def matches(self, event: ChangeEvent) -> bool:
        if event.operation != "update" or event.update is None:
            return True
        changed = event.update.get("updatedFields") or {}
        others = event.update.get("removedFields") or event.update.get("truncatedArrays")
        return bool(others) or not changed or not all(name.partition(".")[0] in self.fields for name in changed)

    def server_query(self) -> Mapping[str, Any] | None:
        return None


Clause = WordClause | MatchClause | FieldsOnlyClause


def changed_paths(event: ChangeEvent) -> Iterator[tuple[str, ...]]:
    """The paths of what an update or replace changed, down into values that came or went as a whole."""
    described = event.operation == "update" and event.update is not None
    for change in described_changes(event.update or {}) if described else changes(event):
        steps = tuple(map(str, change.path))
        yield steps
        for value in (change.before, change.after):
            if not isinstance(value, MissingValue):
                yield from _paths_in(value, steps)


def _paths_in(value: Any, above: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    if len(above) >= MAX_DEPTH or not isinstance(value, Mapping | list):
        return
    for step, inner in value.items() if isinstance(value, Mapping) else enumerate(value):
        path = (*above, str(step))
        yield path
        yield from _paths_in(inner, path)


def _somewhere(event: ChangeEvent, fits: Callable[[str], object]) -> bool:
    """Whether a name or a value anywhere in the event fits. A plain loop: it looks at every value there is."""
    left = [event.namespace, *(value for name, value in event.raw.items() if name != "_id")]
    while left:
        value = left.pop()
        if type(value) is dict or isinstance(value, Mapping):
            if any(map(fits, value)):
                return True
            left.extend(value.values())
        elif isinstance(value, list):
            left.extend(value)
        elif fits(value if isinstance(value, str) else _leaf_text(value)):
            return True
    return False


def _leaf_text(value: Any) -> str:
    return str(value) if type(value) in _AS_PYTHON else value_text(value, _LONGEST)


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

    @property
    def text(self) -> str:
        """The line from which `parse_filter` reads this filter again; not yet made visible."""
        return " ".join(clause.typed for clause in self.clauses)

    @property
    def needs_documents(self) -> bool:
        """Whether operation, namespace and document key do not suffice to decide."""
        return any(clause.needs_documents for clause in self.clauses)

    def head(self) -> Filter:
        """The clauses that operation, namespace and document key suffice to decide: the cheap ones."""
        return Filter(tuple(clause for clause in self.clauses if not clause.needs_documents))

    def body(self) -> Filter:
        return Filter(tuple(clause for clause in self.clauses if clause.needs_documents))

    def matches(self, event: Any) -> bool:
        """Whether a `ChangeEvent` passes (or, for a filter that needs no documents, a `Head`)."""
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
