"""What is said about a wrong setting: where it stands, its key, what was expected, what was found.

This module has the words; which settings there are is in `settings/__init__.py`. Nothing that may hold a password is
repeated.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, get_args

from pydantic import BaseModel, ByteSize
from pydantic_core import ErrorDetails

from console.formatting import byte_size, visible

Location = tuple[str | int, ...]
Sections = Mapping[str, type[BaseModel]]

_LONGEST_VALUE: Final = 80
_SECRET: Final = ("mongodb", "uri")
_ZEROS: Final = re.compile(r"\.0+(?= )")  # 5.00 MiB is meant exactly
# A URI with its password, a query with its token, whole or cut: an address is shown up to its port, all else is not.
_SUSPICIOUS: Final = re.compile(r"[@?#=]|:/|^[\w.-]+:(?!\d{1,5}$)")
_TIME: Final = re.compile(r"\d{1,4}[\d:.,–/TtoZ +-]{0,40}")
"""Hours and moments, right or wrong: digits and what stands between them."""
_HARMLESS: Final = re.compile(r"(?:[a-z0-9+]+:/{1,2})?[\w.-]+(?::\d+)?(?=[/?#]|$)")

# pydantic's error types (documentation, "Validation Errors") in the words of somebody who writes a TOML file.
_EXPECTED: Final = (
    (("int_type", "int_parsing", "int_parsing_size", "int_from_float"), "expected a whole number"),
    (("float_type", "float_parsing", "finite_number"), "expected a number"),
    (("bool_type", "bool_parsing"), "expected true or false"),
    (("string_type", "string_unicode"), "expected text"),
    (("string_too_short",), "must not be empty"),
    (("byte_size", "byte_size_unit"), "expected a size such as 8 MiB, or bytes as a whole number"),
    (("path_type",), "expected a path"),
    (("model_type", "model_attributes_type", "dict_type"), "expected a table of settings"),
    (("tuple_type", "list_type"), "expected a list of tables"),
    (("missing",), "is missing"),
)
_WORDS: Final[Mapping[str, str]] = {kind: words for kinds, words in _EXPECTED for kind in kinds}
_BOUNDS: Final = {
    "greater_than_equal": ("ge", "at least"),
    "less_than_equal": ("le", "at most"),
    "greater_than": ("gt", "more than"),
    "less_than": ("lt", "less than"),
}


@dataclass(frozen=True, slots=True)
class Layer:
    """Settings of one origin. `names` are what single keys are called there; `prefix` that of environment variables."""

    origin: str
    values: Mapping[str, Any]
    names: Mapping[tuple[str, ...], str] = field(default_factory=dict)
    prefix: str = ""

    def speaks_of(self, location: Location) -> bool:
        """Whether the key stands here or, where it is missing, the table around it."""
        values: Any = self.values
        for depth, step in enumerate(location):
            try:
                values = values[step]
            except (KeyError, IndexError, TypeError):
                return depth == len(location) - 1 and depth > 1
        return True

    def holds(self, location: Location) -> bool:
        """Whether the key itself stands here."""
        values: Any = self.values
        for step in location:
            try:
                values = values[step]
            except (KeyError, IndexError, TypeError):
                return False
        return True

    def called(self, location: Location) -> str:
        """How a person finds the key here."""
        steps = tuple(str(step) for step in location)
        at_or_above = (self.names.get(steps[:length]) for length in range(len(steps), 0, -1))
        below = (name for key, name in self.names.items() if key[: len(steps)] == steps and self.holds(key))
        return next(filter(None, (*at_or_above, *below)), self.origin)


def complaint(detail: ErrorDetails, layers: Sequence[Layer], sections: Sections) -> str:
    """One error of pydantic, as a line. The strongest of the `layers`, which is the last, is the one to blame."""
    location: Location = detail["loc"]
    layer = next((layer for layer in reversed(layers) if layer.speaks_of(location)), Layer("settings", {}))
    where = f"{layer.called(location)}: {_key(location)}"
    if detail["type"] == "extra_forbidden":
        return f"{where}: unknown key{_suggestion(location, layer, sections)}"
    return f"{where}: {_expectation(detail, sections)}{_found(detail)}"


def _key(location: Location) -> str:
    steps = (f"[{step}]" if isinstance(step, int) else f".{without_secrets(step) or '…'}" for step in location)
    return visible("".join(steps).removeprefix("."))


def _expectation(detail: ErrorDetails, sections: Sections) -> str:
    kind, context = detail["type"], detail.get("ctx", {})
    if kind in _BOUNDS:
        name, words = _BOUNDS[kind]
        bound = context[name]
        if _is_size(detail["loc"], sections):
            return f"expected {words} {_ZEROS.sub('', byte_size(bound))}"
        return f"expected {words} {bound:,g}"
    if kind == "literal_error":
        return f"expected {context['expected']}"
    if kind == "string_too_long":
        return f"expected at most {context['max_length']} characters"
    return _WORDS.get(kind, detail["msg"].removeprefix("Value error, "))


def _is_size(location: Location, sections: Sections) -> bool:
    section = sections.get(str(location[0]))
    known = section.model_fields.get(str(location[-1])) if section is not None else None
    return known is not None and ByteSize in _alternatives(known.annotation)


def _alternatives(annotation: Any) -> Iterator[Any]:
    """The types that may stand there: those of a union, without what is annotated."""
    yield annotation
    for argument in get_args(annotation):
        yield from _alternatives(argument)


def _found(detail: ErrorDetails) -> str:
    location, value = detail["loc"], detail["input"]
    if detail["type"] == "missing" or location[:2] == _SECRET:
        return ""
    if isinstance(value, Mapping):
        return " (got a table)"
    if isinstance(value, list | tuple):
        return " (got a list)"
    if len(location) == 1:  # a whole section: what stands there instead may be anything, a URI with its password too
        return f" (got {'text' if isinstance(value, str) else 'a single value'})"
    if isinstance(value, bool):
        return f" (got {str(value).lower()})"
    if not isinstance(value, str):
        return f" (got {visible(repr(value)[:_LONGEST_VALUE])})"
    return repeated(value)


def repeated(text: str) -> str:
    """The end of a complaint about this text."""
    shown = without_secrets(text)
    return f" (got {visible(repr(shown))})" if shown else " (got text that is not repeated, as it may hold a secret)"


def without_secrets(text: str) -> str:
    """As much of a wrong value as can hold no password or token; empty where any of it might be part of one."""
    if "@" in text:
        return ""
    if _TIME.fullmatch(text):
        return text
    if _SUSPICIOUS.search(text):
        address = _HARMLESS.match(text)
        return f"{address[0]}{'…' if address.end() < len(text) else ''}" if address is not None else ""
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}…"


def _suggestion(location: Location, layer: Layer, sections: Sections) -> str:
    """The key that was meant: of the same section or, at the top, of any."""
    key = str(location[-1])
    if len(location) == 1:
        dotted = {
            f"{name}.{key}": f"{name}.{key}" for name, section in sections.items() for key in section.model_fields
        }
        bare = {full.partition(".")[2]: full for full in dotted}
        known = {**bare, **dotted, **{name: name for name in sections}}
        shown = sorted(sections)
    else:
        section = sections.get(str(location[0]))
        fields = section.model_fields if section is not None else {}
        known = {name: f"{location[0]}.{name}" if layer.prefix else name for name in fields}
        shown = sorted(fields)
    import difflib  # only somebody who mistyped waits for it

    if close := difflib.get_close_matches(key, known, n=1):
        meant = known[close[0]]
        name = f"{layer.prefix}{meant.upper().replace('.', '__')}" if layer.prefix else meant
        return f"; did you mean {name}?"
    return f"; known here: {', '.join(shown)}" if shown else ""
