"""Other keys for what has one: the names of the bindings, and what is wrong with keys that a person set (`[keys]`).

A name is the area and what the key is called, `uploads.pause`: an id of Textual's, whose key map changes the keys. Not
here: which keys there are (the widgets), and how they are shown (`widgets.keys`).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from textual.binding import Binding, BindingType
from textual.keys import Keys, key_to_character

from console.errors import ConfigurationError
from console.formatting import visible

KeyMap = Mapping[str, str]
"""Keys by the names of bindings, as Textual has them: `question_mark,f2`."""

_ADVICE: Final = "`?` in the console lists all keys; config.example.toml shows how they are set."
_MODIFIERS: Final = frozenset({"ctrl", "shift", "alt", "meta", "super", "hyper"})
_NAMED: Final = frozenset(str(key.value) for key in Keys)
# A pane's keys hold beside these, and these beside those of every pane.
_SHARED: Final = ("lists", "everywhere")


def named(area: str, bindings: Iterable[Binding]) -> list[BindingType]:
    """The bindings with names that a configuration can use, made of what they are called."""
    return [replace(each, id=each.id or f"{area}.{each.description.lower().replace(' ', '_')}") for each in bindings]


def mapped(bindings: Iterable[Binding], keys: KeyMap) -> Iterator[Binding]:
    """The bindings, one for each key, with the keys that a person set."""
    seen: set[str] = set()
    for binding in bindings:
        key = keys.get(binding.id or "")
        if key is None:
            yield binding
        elif binding.id is not None and binding.id not in seen:
            seen.add(binding.id)
            yield from Binding.make_bindings([replace(binding, key=key, key_display=None)])


def key_map(wanted: Mapping[str, Mapping[str, str]], owners: Mapping[str, Sequence[type]]) -> KeyMap:
    """What `[keys]` asks for. `owners` has the classes that declare the keys of an area.

    Raises:
        ConfigurationError: a name or a key is not known, or a key would mean two things in one place.
    """
    defaults = {area: list(_declared(classes)) for area, classes in owners.items()}
    chosen: dict[str, str] = {}
    for area, keys in wanted.items():
        known = {str(binding.id) for binding in defaults[area]}
        for name, text in keys.items():
            full = f"{area}.{name}"
            if full not in known:
                raise ConfigurationError(
                    f"keys.{visible(full)}: nothing is called so{_meant(full, known)}", advice=_ADVICE
                )
            chosen[full] = ",".join(_keys_of(full, text))
    _find_conflict(defaults, chosen)
    return chosen


def _declared(classes: Sequence[type]) -> Iterator[Binding]:
    for owner in classes:
        for binding in Binding.make_bindings(vars(owner)["BINDINGS"]):
            if binding.id is not None:
                yield binding


def _meant(name: str, known: Iterable[str]) -> str:
    area, _, own = name.partition(".")
    names = sorted(each.partition(".")[2] for each in known)
    close = difflib.get_close_matches(own, names, n=1)
    return f"; did you mean {area}.{close[0]}?" if close else f"; known here: {', '.join(names)}"


def _keys_of(name: str, text: str) -> list[str]:
    keys = [key.strip() for key in text.split(",")] if text != "," else ["comma"]
    for key in keys:
        *modifiers, last = key.split("+") if key != "+" else ["+"]
        is_known = len(last) == 1 or last in _NAMED or key_to_character(last) is not None
        if not is_known or not _MODIFIERS.issuperset(modifiers):
            raise ConfigurationError(
                f"keys.{name}: there is no key {visible(repr(key))}",
                advice="Keys are written as a character, f5, ctrl+x, pagedown, question_mark; several with commas.",
            )
    return [binding.key for binding in Binding.make_bindings([Binding(",".join(keys), name)])]


def _find_conflict(defaults: Mapping[str, Sequence[Binding]], chosen: KeyMap) -> None:
    """Where a key that a person set means something else in the same place."""
    final = {area: list(mapped(bindings, chosen)) for area, bindings in defaults.items()}
    for area, bindings in final.items():
        beside = [area, *_SHARED] if area not in _SHARED else list(final)
        for binding in bindings:
            if binding.id not in chosen:
                continue
            for other in (each for place in dict.fromkeys(beside) for each in final[place]):
                if other.key == binding.key and other.id != binding.id:
                    raise ConfigurationError(
                        f"keys.{binding.id}: {binding.key} is the key of {other.id} too "
                        f"({other.tooltip.rstrip('.').lower()})",
                        advice=f"Choose another key for one of them: keys.{binding.id} or keys.{other.id}.",
                    )
