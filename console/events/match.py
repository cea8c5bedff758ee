"""MongoDB match expressions, evaluated here: what `find` would match, on one document.

Operators that are not in `OPERATORS` or `LOGICAL` are refused by name. A library would be better, but there is none:
mongoquery compares by Python's equality (`true` matches 1) and knows no BSON types, and mongomock's filtering cannot
be had without its client. The tests compare this module with a real mongod; dotted paths walk through arrays as in
the server's `src/mongo/db/matcher/path.cpp`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from typing import Any, Final, Protocol

from bson import Int64, Regex

from console.errors import UsageError
from console.events.bson_values import (
    MAX_DEPTH,
    NUMBER,
    as_document,
    bson_type,
    is_document,
    is_nan,
    number,
    order,
    order_class,
)
from console.formatting import visible


class MissingField(Enum):
    """Stands for a field that is not there, which some operators match."""

    FIELD = "no such field"


MISSING: Final = MissingField.FIELD


def values_at(document: Mapping[str, Any], steps: Sequence[str], into_arrays: bool) -> Iterator[Any]:
    """The values at a path; `MISSING` once for each place where it reaches none.

    `into_arrays`: where an array ends the path, its elements are values too, before the array itself.
    """
    value: Any = document
    for index, step in enumerate(steps):
        if not is_document(value):
            yield MISSING
            return
        value = as_document(value).get(step, MISSING)
        if isinstance(value, list):
            yield from _array_values(value, steps[index + 1 :], into_arrays)
            return
    yield value


def by_position(array: Sequence[Any]) -> Mapping[str, Any]:
    """An array as the document that it is in BSON: its elements under "0", "1", ..."""
    return {str(index): element for index, element in enumerate(array)}


def _array_values(array: list[Any], rest: Sequence[str], into_arrays: bool) -> Iterator[Any]:
    """What a path reaches in an array: in each subdocument, and in the element that a step of digits numbers."""
    if not rest:
        if into_arrays:
            yield from array
        yield array
        return
    for index, element in enumerate(array):
        if is_document(element):
            yield from values_at(as_document(element), rest, into_arrays)
        if rest[0] != str(index):
            continue
        if len(rest) == 1:
            yield element
        elif is_document(element):
            yield from values_at(as_document(element), rest[1:], into_arrays)
        elif isinstance(element, list):
            yield from _array_values(element, rest[1:], into_arrays)


class MatchError(UsageError):
    """A match expression is not one, or uses an operator that cannot be evaluated here."""

    title = "Match expression"


class Condition(Protocol):
    """A condition on a field: asked at a path of a document, or of one value (an element, in `$elemMatch`)."""

    def at(self, document: Mapping[str, Any], steps: Sequence[str]) -> bool:
        """Whether the document has it at the path."""

    def single(self, value: Any) -> bool:
        """Whether the value itself has it."""


@dataclass(frozen=True, slots=True)
class Test:
    """Some value at the path passes; `into_arrays`: elements of an array that ends the path are values too."""

    passes: Callable[[Any], bool]
    into_arrays: bool = True

    def at(self, document: Mapping[str, Any], steps: Sequence[str]) -> bool:
        return any(self.passes(value) for value in values_at(document, steps, self.into_arrays))

    def single(self, value: Any) -> bool:
        return self.passes(value)


@dataclass(frozen=True, slots=True)
class All:
    """Every condition holds, each perhaps by another value at the path."""

    conditions: tuple[Condition, ...]

    def at(self, document: Mapping[str, Any], steps: Sequence[str]) -> bool:
        return all(condition.at(document, steps) for condition in self.conditions)

    def single(self, value: Any) -> bool:
        return all(condition.single(value) for condition in self.conditions)


@dataclass(frozen=True, slots=True)
class Not:
    """The condition does not hold, by any value at the path."""

    condition: Condition

    def at(self, document: Mapping[str, Any], steps: Sequence[str]) -> bool:
        return not self.condition.at(document, steps)

    def single(self, value: Any) -> bool:
        return not self.condition.single(value)


def equal(wanted: Any) -> Callable[[Any], bool]:
    """A test for the server's equality: numbers by value, null also for a missing field."""
    if wanted is None:
        return lambda value: value is None or value is MISSING
    return lambda value: value is not MISSING and order(value, wanted) == 0


def ordered(name: str, accept: Callable[[int], bool]) -> Callable[[Any], Condition]:
    """`$gt` and its like: only within one class of types, but for null (as missing), MinKey and MaxKey."""

    def condition(wanted: Any) -> Condition:
        kind = bson_type(wanted)
        if kind == "regex":
            raise MatchError(f"{name} takes no regular expression")
        group = order_class(wanted)
        with_equal = accept(0)

        def passes(value: Any) -> bool:
            if value is MISSING or order_class(value) != group:
                beyond = (kind == "minKey" and accept(1)) or (kind == "maxKey" and accept(-1))
                return beyond or (value is MISSING and kind == "null" and with_equal)
            if group == NUMBER and (is_nan(value) or is_nan(wanted)):
                return with_equal and is_nan(value) and is_nan(wanted)
            return accept(order(value, wanted))

        return Test(passes)

    return condition


def member(argument: Any) -> Condition:
    """`$in`: equal to one of the values, or matched by one of the patterns."""
    if not isinstance(argument, list):
        raise MatchError(f"$in and $nin take a list, not {named(argument)}")
    if any(has_operators(wanted) for wanted in argument):
        raise MatchError("$in and $nin take values, no operators")
    tests = [pattern(wanted).passes if bson_type(wanted) == "regex" else equal(wanted) for wanted in argument]
    return Test(lambda value: any(test(value) for test in tests))


def has_operators(argument: Any) -> bool:
    """Whether what stands after a field are operators, not a value to be equal to."""
    return isinstance(argument, Mapping) and next(iter(argument), "").startswith("$")


def not_equal(argument: Any) -> Condition:
    if bson_type(argument) == "regex":
        raise MatchError("$ne takes no regular expression; use $not")
    return Not(Test(equal(argument)))


def exists(argument: Any) -> Condition:
    """`$exists`; the server takes any value for yes or no."""
    present = Test(lambda value: value is not MISSING, into_arrays=False)
    if order_class(argument) == NUMBER:
        # A signalling NaN cannot be compared with 0, and is as little 0 as any other.
        return present if is_nan(argument) or number(argument) != 0 else Not(present)
    return Not(present) if argument is None or argument is False else present


def of_type(argument: Any) -> Condition:
    """`$type`, by alias or number, one or several."""
    names: set[str] = set()
    for wanted in argument if isinstance(argument, list) else [argument]:
        if isinstance(wanted, float) and wanted.is_integer():
            wanted = int(wanted)
        # Asked of its BSON type: Code is a str for Python, one that cannot even be looked up.
        is_known = bson_type(wanted) in ("string", "int", "long") and wanted in _TYPE_NAMES
        if not is_known:
            raise MatchError(f"$type does not know {named(wanted)}")
        names.update(_TYPE_NAMES[wanted])
    if not names:
        raise MatchError("$type takes at least one type")
    return Test(lambda value: value is not MISSING and _type_name(value) in names)


def regex(argument: Any, options: Any) -> Test:
    """`$regex` with its `$options`."""
    if options is not None and bson_type(options) != "string":
        raise MatchError(f"$options takes a text, not {named(options)}")
    if unknown := set(options or "") - set("imsxu"):
        raise MatchError(f"$options does not know {visible(min(unknown))}")
    if isinstance(argument, str):
        return pattern(Regex(argument, options or ""))
    if isinstance(argument, Regex) and not (options and argument.flags):
        return pattern(Regex(argument.pattern, options) if options else argument)
    raise MatchError("$regex takes a text or a regular expression, with its options in one place")


def pattern(wanted: Any) -> Test:
    """Text that a regular expression finds, or the same regular expression as a value."""
    regex = wanted if isinstance(wanted, Regex) else Regex.from_native(wanted)
    if bson_type(regex.pattern) != "string":
        raise MatchError(f"$regex takes a text, not {named(regex.pattern)}")
    try:
        compiled = re.compile(regex.pattern, regex.flags)
    except (re.error, OverflowError, RecursionError, ValueError) as error:
        raise MatchError(f"$regex {visible(str(regex.pattern))}: {visible(str(error))}") from error

    def passes(value: Any) -> bool:
        if bson_type(value) == "string":
            return compiled.search(value) is not None
        return value is not MISSING and bson_type(value) == "regex" and order(value, regex) == 0

    return Test(passes)


def size(argument: Any) -> Condition:
    wanted = _whole(argument)
    if wanted is None or wanted < 0:
        raise MatchError(f"$size takes a whole number from 0, not {named(argument)}")
    return Test(lambda value: isinstance(value, list) and len(value) == wanted, into_arrays=False)


def modulo(argument: Any) -> Condition:
    """`$mod`, on whole parts as the server cuts them."""
    if not isinstance(argument, list) or len(argument) != 2:
        raise MatchError("$mod takes a list of divisor and remainder")
    divisor, remainder = (_truncated(part) for part in argument)
    if not divisor or remainder is None:
        raise MatchError("$mod takes two numbers, the divisor not 0")

    def passes(value: Any) -> bool:
        whole = _truncated(value)
        return whole is not None and whole - divisor * _quotient(whole, divisor) == remainder

    return Test(passes)


def _whole(value: Any) -> int | None:
    """A number that has no fraction, as int."""
    whole = _truncated(value)
    return whole if whole is not None and whole == number(value) else None


def _truncated(value: Any) -> int | None:
    """The whole part of a BSON number that a long can hold; None for everything else."""
    if value is MISSING or order_class(value) != NUMBER:
        return None
    exact = number(value)
    if (isinstance(exact, float) and not math.isfinite(exact)) or (
        isinstance(exact, Decimal) and not exact.is_finite()
    ):
        return None
    whole = int(exact)
    return whole if -(2**63) <= whole < 2**63 else None


def _quotient(dividend: int, divisor: int) -> int:
    """Division that cuts towards zero, as C's; Python's rounds down."""
    quotient = abs(dividend) // abs(divisor)
    return quotient if (dividend < 0) == (divisor < 0) else -quotient


def _type_name(value: Any) -> str:
    name = bson_type(value)
    return "object" if name == "dbRef" else name


def named(value: Any) -> str:
    """A value as an error names it."""
    return visible(repr(int(value) if isinstance(value, Int64) else value)[:60])


# Aliases and numbers of $type (manual, "BSON Types"); those that no decoded document can have match nothing.
_ALIASES: Final = {
    "double": 1,
    "string": 2,
    "object": 3,
    "array": 4,
    "binData": 5,
    "undefined": 6,
    "objectId": 7,
    "bool": 8,
    "date": 9,
    "null": 10,
    "regex": 11,
    "dbPointer": 12,
    "javascript": 13,
    "symbol": 14,
    "javascriptWithScope": 15,
    "int": 16,
    "timestamp": 17,
    "long": 18,
    "decimal": 19,
    "minKey": -1,
    "maxKey": 127,
}
_TYPE_NAMES: Final[Mapping[str | int, tuple[str, ...]]] = {
    **{name: (name,) for name in _ALIASES},
    **{code: (name,) for name, code in _ALIASES.items()},
    "number": ("int", "long", "double", "decimal"),
}


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
