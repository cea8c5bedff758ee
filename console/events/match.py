"""MongoDB match expressions, evaluated here: what `find` would match, on one document.

Owns how expressions are put together and which operators there are (`OPERATORS`, `LOGICAL`); everything else is
refused by name. Own code because there is no library to lean on: mongoquery compares by Python's equality (`true`
matches 1) and knows no BSON types, mongomock's filtering is the inside of a mock of the whole client. The tests
compare it with a real mongod.

Not here: the conditions on a field (`match_conditions`), dotted paths (`match_paths`), the order of values (`order`),
the typed filter line (`filters`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from console.events.match_conditions import (
    All,
    Condition,
    MatchError,
    Not,
    Test,
    equal,
    exists,
    has_operators,
    member,
    modulo,
    named,
    not_equal,
    of_type,
    ordered,
    pattern,
    regex,
    size,
)
from console.events.match_paths import by_position
from console.events.order import as_document, is_document
from console.events.values import MAX_DEPTH, bson_type
from console.formatting import visible

Predicate = Callable[[Mapping[str, Any]], bool]


def compile_match(expression: Any) -> Predicate:
    """A function that says whether a document matches. Raises `MatchError`, naming what is wrong."""
    if not isinstance(expression, Mapping):
        raise MatchError(f"a match expression is a document, not {named(expression)}")
    parts = [_part(key, argument) for key, argument in expression.items()]
    return lambda document: all(part(document) for part in parts)


def _part(key: str, argument: Any) -> Predicate:
    if not key.startswith("$"):
        condition, steps = _condition(argument), key.split(".")
        if len(steps) > MAX_DEPTH:
            raise MatchError(f"{visible(key[:60])}…: no document has {len(steps):,} levels")
        return lambda document: condition.at(document, steps)
    if key == "$comment":
        return lambda _document: True
    if key not in LOGICAL:
        raise _unsupported(key)
    if not isinstance(argument, list) or not argument:
        raise MatchError(f"{key} takes a list of at least one expression")
    parts = [compile_match(inner) for inner in argument]
    if key == "$and":
        return lambda document: all(part(document) for part in parts)
    if key == "$or":
        return lambda document: any(part(document) for part in parts)
    return lambda document: not any(part(document) for part in parts)


def _condition(argument: Any) -> Condition:
    """What stands after a field's name: operators, a pattern, or a value to be equal to."""
    if has_operators(argument):
        return _operators(argument)
    return pattern(argument) if bson_type(argument) == "regex" else Test(equal(argument))


def _operators(argument: Mapping[str, Any]) -> Condition:
    conditions = []
    for name, inner in argument.items():
        if name == "$options":
            if "$regex" not in argument:
                raise MatchError("$options needs a $regex")
            continue
        if name not in OPERATORS:
            raise _unsupported(name)
        conditions.append(regex(inner, argument.get("$options")) if name == "$regex" else OPERATORS[name](inner))
    return conditions[0] if len(conditions) == 1 else All(tuple(conditions))


def _all(argument: Any) -> Condition:
    if not isinstance(argument, list):
        raise MatchError(f"$all takes a list, not {named(argument)}")
    if not argument:
        return Test(lambda _value: False)
    elements = [isinstance(inner, Mapping) and next(iter(inner), "") == "$elemMatch" for inner in argument]
    if any(elements) != all(elements) or (not any(elements) and any(map(has_operators, argument))):
        raise MatchError("$all takes values, or $elemMatch in every place")
    return All(tuple(_condition(inner) for inner in argument))


def _element_match(argument: Any) -> Condition:
    if not isinstance(argument, Mapping):
        raise MatchError(f"$elemMatch takes a document, not {named(argument)}")
    if has_operators(argument) and next(iter(argument)) not in LOGICAL:
        condition = _operators(argument)
        return Test(lambda value: isinstance(value, list) and any(map(condition.single, value)), into_arrays=False)
    matches = compile_match(argument)

    def passes(value: Any) -> bool:
        return isinstance(value, list) and any(
            matches(by_position(inner) if isinstance(inner, list) else as_document(inner))
            for inner in value
            if is_document(inner) or isinstance(inner, list)
        )

    return Test(passes, into_arrays=False)


def _not(argument: Any) -> Condition:
    if bson_type(argument) == "regex":
        return Not(pattern(argument))
    if not isinstance(argument, Mapping) or not argument:
        raise MatchError("$not takes operators or a regular expression")
    if not has_operators(argument):
        raise MatchError(f"$not takes operators, not the field {visible(next(iter(argument)))}")
    return Not(_operators(argument))


def _unsupported(name: str) -> MatchError:
    known = ", ".join(sorted([*OPERATORS, *LOGICAL]))
    return MatchError(f"{visible(name)} cannot be evaluated here", advice=f"These can: {known}.")


LOGICAL: Final = frozenset({"$and", "$or", "$nor"})
OPERATORS: Final[Mapping[str, Callable[[Any], Condition]]] = {
    "$eq": lambda wanted: Test(equal(wanted)),
    "$ne": not_equal,
    "$gt": ordered("$gt", lambda sign: sign > 0),
    "$gte": ordered("$gte", lambda sign: sign >= 0),
    "$lt": ordered("$lt", lambda sign: sign < 0),
    "$lte": ordered("$lte", lambda sign: sign <= 0),
    "$in": member,
    "$nin": lambda argument: Not(member(argument)),
    "$exists": exists,
    "$type": of_type,
    "$regex": lambda argument: regex(argument, None),
    "$not": _not,
    "$all": _all,
    "$elemMatch": _element_match,
    "$size": size,
    "$mod": modulo,
}
